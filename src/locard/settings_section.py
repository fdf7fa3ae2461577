"""What every section of the settings has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from locard.settings_messages import takes_numbers, truth_in


class Section(BaseModel):
    """A section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if takes_numbers(cls.model_fields[str(info.field_name)].annotation) and (found := truth_in(value)) is not None:
            raise ValueError(f"a number is needed, found {str(found).lower()}. Mend it in the settings or with --set.")
        return value
