"""The section ``[distil]`` of the settings."""

from __future__ import annotations

from pydantic import Field

from locard.settings_section import Section


class DistilSettings(Section):
    """How students learn what a model says, for attacks that read their snapshots: ``trajectory``, ``sequence`` and
    ``attack_d``."""

    epochs: int = Field(20, ge=1, description="snapshots of a student, and a network's passes over its records")
    records: int | None = Field(None, ge=10, description="auxiliary records; default: the whole population")
    temperature: float = Field(1.0, gt=0, description="divides the logits of teacher and student")
    label_only: bool = Field(False, description="students learn predicted labels, not probabilities")
    students: int = Field(8, ge=2, le=1000, description="students of each target for attack_d, on disjoint records")
