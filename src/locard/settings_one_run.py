"""The sections ``[one_run]`` and ``[canaries]`` of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from locard.settings_section import Section

CanaryKind = Literal["natural", "mislabelled", "out_of_distribution", "blank", "duplicated"]
NO_REFERENCES = ({"name": "loss"}, {"name": "mentr", "thresholds": "none"}, {"name": "confidence"}, {"name": "entropy"})


class OneRunSettings(Section):
    """Which lower bound on epsilon one training run is asked for (plan 'coin_flips')."""

    delta: float = Field(0.0, ge=0, lt=1, description="the delta of (epsilon, delta); 0 needs no grid of guesses")
    mechanism: Literal["any", "gaussian"] = Field(
        "any", description="'gaussian': training is a Gaussian mechanism (DP-SGD), audited as mu-GDP"
    )
    claimed: float | None = Field(
        None, gt=0, description="the epsilon claimed for this training: is it refuted by this run?"
    )

    @model_validator(mode="after")
    def _a_delta_for_gaussian(self) -> Self:
        if self.mechanism == "gaussian" and not self.delta:
            raise ValueError(
                "a delta above 0 is needed to turn the mu of a Gaussian mechanism into an epsilon, found 0. Write, for "
                "example, delta = 1e-5."
            )
        return self


class CanarySettings(Section):
    """Records that alone are put in or left out by coins; all other records of the pool are in every model."""

    kind: CanaryKind = "natural"
    count: int = Field(ge=20, description="canaries: audited units, drawn at random from the pool")
    copies: int = Field(2, ge=2, description="times that a canary of kind 'duplicated' is in a training set")

    @property
    def plants(self) -> bool:
        """Whether records are replaced by others."""
        return self.kind not in ("natural", "duplicated")


def usual_attacks(tree: Any) -> Any:
    """Settings of one model alone that name no attack get those that need no references.

    >>> tree = usual_attacks({"references": {"plan": "coin_flips", "models": 1}})
    >>> [attack["name"] for attack in tree["attack"]]
    ['loss', 'mentr', 'confidence', 'entropy']
    """
    references = tree.get("references") if isinstance(tree, Mapping) else None
    if not isinstance(references, Mapping) or "attack" in tree:
        return tree
    alone = references.get("plan") == "coin_flips" and references.get("models") == 1
    return {**tree, "attack": [dict(attack) for attack in NO_REFERENCES]} if alone else tree
