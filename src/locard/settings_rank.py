"""The section ``[rank]`` of the settings."""

from __future__ import annotations

from pydantic import Field, field_validator

from locard.settings_section import Section


class RankSettings(Section):
    """How attacks are compared (``locard rank``); the rates are those of ``[measure]``, the first one sorts."""

    references: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64), description="numbers of references a record for the curves; all of them are added"
    )
    targets: int = Field(16, ge=2, description="targets, in whole pairs, that the curves attack")

    @field_validator("references")
    @classmethod
    def _counts(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(count < 1 for count in value) or len(set(value)) < len(value):
            raise ValueError(
                f"distinct numbers of at least 1 are needed, found {list(value)}. Write, for example, [1, 4, 16]; an "
                f"empty list leaves the curves out."
            )
        return tuple(sorted(value))
