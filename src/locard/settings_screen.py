"""The section ``[screen]`` of the settings."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SelectSettings(BaseModel):
    """Which records a screen selects: one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    top: int | None = Field(None, ge=1, description="so many of the most vulnerable")
    fraction: float | None = Field(None, gt=0, le=1, description="this share of the records, at least one")
    above: float | None = Field(None, description="every record of a higher value")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = {k: v for k, v in self.model_dump().items() if v is not None}
        if len(given) != 1:
            raise ValueError(
                f"one of top, fraction and above is needed, found {', '.join(given) or 'none'}. Write, for example, "
                f"select = {{ top = 50 }}."
            )
        return self


class ScreenSettings(BaseModel):
    """Which records are worth attacking: a screen by name, with its own settings."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = "neighbours"
    select: SelectSettings | None = None
    references: float = Field(
        0.5, gt=0, lt=1, description="share of the references, by pairs, that screen; the others test"
    )

    @property
    def own(self) -> dict[str, Any]:
        """The screen's own settings."""
        return dict(self.model_extra or {})
