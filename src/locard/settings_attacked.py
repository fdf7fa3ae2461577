"""The section ``[attacked]`` of the settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from locard.settings_section import Section


class AttackedSettings(Section):
    """A model that may only be asked, and the records whose membership is in question (``locard attack``)."""

    model: str = Field(description="a skops or ONNX file, or 'module:function'; pickle only with trust_pickle = true")
    candidates: str = Field(description="a text file with the ids of the records in question, one a line")
    access: Literal["labels", "probabilities", "logits"] = Field("probabilities", description="what the model shows")
    budget: int | None = Field(None, ge=1, description="most records that the model may be asked about")
    check: int = Field(200, ge=0, description="population records asked to compare the model with its references")
    drop_known: bool = Field(
        False, description="take records that equal a candidate out of the reference pool, instead of refusing"
    )
    trust_pickle: bool = Field(False, description="loading a pickle runs whatever code is in it")
    trust_types: tuple[str, ...] = Field((), description="types in a skops file that you know to be safe")
