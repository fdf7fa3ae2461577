"""What records are compared by: the answers of all screening references, side by side, or the raw features."""

from __future__ import annotations

from typing import Literal

import numpy as np

from locard.errors import DataError, NotEnoughReferences
from locard.observe.references import References
from locard.screen.cosine import Vectors
from locard.screen.evidence import Observed

Features = Literal["logits", "raw"]
Centre = Literal["auto", "classes", "none"]


def feature_vectors(seen: Observed, features: Features = "logits", centre: Centre = "auto") -> Vectors:
    """The features of each record: ``logits`` [models x queries x classes] side by side, or ``raw`` as they are.

    Logits are given but for one constant a model and record, which no probability shows. ``centre`` says which one:

    - ``"none"``: as the models give them, which is the paper's form for networks
    - ``"classes"``: each answer minus its mean over classes, so that the constant does not matter
    - ``"auto"``: as they are where the models give logits; centred where they give probabilities, whose logarithms have
      a constant that no network's logits have

    All features are in float32, centring in float64; no model is scaled, so that a sure one weighs more.

    Raises:
        NotEnoughReferences: there is no screening reference.
        DataError: raw features are asked for and were not given.

    Source: Long et al. 2018 (arXiv:1802.04889), section 4.3: f(r) = [o_1(r), ..., o_k(r)].
    """
    if features == "raw":
        if seen.raw is None:
            raise DataError("screening: raw features are needed for features = 'raw', found none. Give raw=.")
        return Vectors.of(seen.raw)
    references = seen.references
    if not len(references):
        raise NotEnoughReferences(
            "screening: at least 1 screening reference is needed to compare records by its answers, found none. Train "
            "references, or set features = 'raw'."
        )
    return Vectors.of(_side_by_side(references, centred=_is_centred(references, centre)))


def _is_centred(references: References, centre: Centre) -> bool:
    return centre == "classes" or (centre == "auto" and references.probability_floor is not None)


def _side_by_side(references: References, *, centred: bool) -> np.ndarray:
    """``float32[records, models x queries x classes]``; of two centred classes one says all, so it stands alone."""
    kept = 1 if centred and references.classes == 2 else references.classes
    width = references.queries * kept
    out = np.empty((references.records, len(references) * width), dtype=np.float32)
    for k in references:
        answers = references.logits_of(k)
        if centred:
            wide = answers.astype(np.float64)
            answers = (wide - wide.mean(axis=-1, keepdims=True))[..., -kept:]
        out[:, k * width : (k + 1) * width] = answers.reshape(len(out), width)
    return out
