"""A sequential audit: what each new pair of targets says about the limits, and what may be said where it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from locard.assess.estimates import Scored
from locard.assess.policy import Excess
from locard.assess.scoring import Audited, by_unit, score_targets
from locard.attacks.protocol import Attack
from locard.result import AttackPart, LookPart, Number, PolicyPart, SequentialPart
from locard.settings import PolicySettings
from locard.stats import (
    LEAST_RATE_PAIRS,
    LEAST_TRUE_POSITIVES,
    SEQUENCE_METHOD,
    Outcome,
    Track,
    confidence_sequence,
    fewest_pairs_to_pass,
    log_bets,
    paid_confidence,
    pair_means,
    settled,
    sort_scores,
)
from locard.types import Estimate

LOOKED = "the number of pairs was decided by looking at them, and this interval would not allow for that"


@dataclass(frozen=True, eq=False)
class Looked:
    """The statistics of all pairs so far, in their order: ``values`` and ``found`` (members claimed) by limit, attack.

    A limit is named by its FPR; the AUC by None.
    """

    values: Mapping[tuple[float | None, str], tuple[float, ...]]
    found: Mapping[tuple[float | None, str], tuple[int, ...]]

    @classmethod
    def nothing(cls) -> Looked:
        """Before the first pair."""
        return cls({}, {})

    def more(
        self, attacks: Mapping[str, Attack], audited: Audited, targets: np.ndarray, fprs: Sequence[float]
    ) -> Looked:
        """With the pairs that these targets make, scored with the references of ``audited``, which stay as they are."""
        values, found = dict(self.values), dict(self.found)
        members = audited.unit_member_of(targets)
        pair = np.minimum(audited.plan.partner[targets], targets)
        for label, attack in attacks.items():
            scores = by_unit(score_targets(attack, audited, targets), audited.records)
            ordered = [sort_scores(row, inside) for row, inside in zip(scores, members, strict=True)]
            for fpr in (None, *fprs):
                claimed = np.array([0 if fpr is None else o.members_above(o.conformal_threshold(fpr)) for o in ordered])
                each = np.array([o.auc for o in ordered]) if fpr is None else claimed / members.sum(axis=1)
                both = np.array([claimed[pair == p].sum() for p in np.unique(pair)])
                values[fpr, label] = (*values.get((fpr, label), ()), *pair_means(each, pair).tolist())
                found[fpr, label] = (*found.get((fpr, label), ()), *both.tolist())
        return Looked(values, found)

    def upto(self, pairs: int) -> Looked:
        """The first pairs only."""
        return Looked({k: v[:pairs] for k, v in self.values.items()}, {k: v[:pairs] for k, v in self.found.items()})

    def tracks(self, policy: PolicySettings) -> list[Track]:
        """One a limit and attack, in the order of the limits."""
        limits: list[tuple[float | None, float]] = [(float(f), c) for f, c in _rates(policy)]
        if policy.max_auc is not None:
            limits.append((None, policy.max_auc))
        out = []
        for fpr, limit in limits:
            for (at, label), values in self.values.items():
                if at != fpr:
                    continue
                pairs = np.arange(1, len(values) + 1)
                ready = np.ones(len(values), dtype=bool)
                if fpr is not None:
                    few = np.cumsum(self.found[at, label]) < LEAST_TRUE_POSITIVES
                    ready = (pairs >= LEAST_RATE_PAIRS) & ~few
                out.append(
                    Track(
                        name=named(fpr),
                        attack=label,
                        limit=limit,
                        values=np.array(values, dtype=np.float64),
                        ready=ready,
                    )
                )
        return out


def named(fpr: float | None) -> str:
    """What a limit is on."""
    return "AUC" if fpr is None else f"TPR at FPR {fpr:g}"


def _rates(policy: PolicySettings) -> list[tuple[str, float]]:
    return sorted(policy.max_tpr.items(), key=lambda item: -float(item[0]))


def outcome_of(looked: Looked, policy: PolicySettings, confidence: float) -> tuple[int, Outcome]:
    """(pairs, outcome): the first pair after which the policy is settled, or all of them and "inconclusive"."""
    return settled(looked.tracks(policy), confidence=confidence)


@dataclass(frozen=True, eq=False)
class Sequential:
    """A finished sequential audit: its pairs, and how many there might have been."""

    looked: Looked
    outcome: Outcome
    burn_in: int
    pairs: int
    cap: int
    in_time: bool = True

    def part(self, policy: PolicySettings, confidence: float) -> SequentialPart:
        """The node of ``result.json``."""
        tracks = self.looked.tracks(policy)
        paid = paid_confidence(len(tracks), confidence=confidence)
        trained, most = 2 * (self.burn_in + self.pairs), 2 * (self.burn_in + self.cap)
        return SequentialPart(
            burn_in=self.burn_in,
            pairs=self.pairs,
            cap=self.cap,
            models=trained,
            models_cap=most,
            saved=most - trained,
            outcome=self.outcome,
            method=SEQUENCE_METHOD,
            assumes=_assumes(tracks, paid, confidence, self.burn_in),
            looks=[_look(track, paid, confidence) for track in tracks],
        )

    def policy(self, policy: PolicySettings, confidence: float) -> tuple[PolicyPart, list[Excess]]:
        """The outcome with its reasons, and who exceeds which limit."""
        looks = self.part(policy, confidence).looks
        reasons, excesses = [], []
        for look in looks:
            said = f"{look.name}, {look.attack}: in [{look.low[-1]:.3g}, {look.high[-1]:.3g}] after {self.pairs} pairs"
            end = {"fail": "above its limit", "pass": "below its limit", "open": "not settled against its limit"}
            reasons.append(f"{said}: {end[look.outcome]} {look.limit:g}. Assuming nothing: {_free(look)}.")
            if look.outcome == "fail":
                fpr = None if look.name == named(None) else float(look.name.rsplit(" ", 1)[1])
                track = np.array(look.values)
                excesses.append(Excess(look.attack, fpr, look.limit, Number.of(_estimate(track, confidence))))
        needed = []
        if self.outcome == "inconclusive":
            why = "all pairs that references.models allows were looked at" if self.in_time else "the time was over"
            needed = [f"Nothing was settled when {why}: more models, or a limit farther from the values"]
        return PolicyPart(outcome=self.outcome, reasons=reasons, needed=needed), excesses

    def caveat(self) -> str:
        """What the rest of the result must say."""
        return (
            "The number of pairs was decided by looking (references.until = 'settled'). AUC and TPR have intervals "
            "that allow for it; groups, differences of attacks and balanced accuracy, which would not, are left out; "
            "grades of single records and accuracies count pairs as if their number had been fixed."
        )


def _look(track: Track, paid: float, confidence: float) -> LookPart:
    passing = confidence_sequence(track.values, confidence=confidence)
    failing = confidence_sequence(track.values, confidence=paid)
    above, below = log_bets(track.values, track.limit)
    low, high = np.clip(failing.low, 0, 1), np.clip(passing.high, 0, 1)
    ready = bool(track.ready[-1])
    # a record of 1 or more in a gambler's capital holds whenever it was reached
    level = (1 - confidence) / 2
    sure = math.log(1 / level)
    free = "fail" if above.max() >= math.log((1 - confidence) / (1 - paid)) + sure else "open"
    return LookPart(
        name=track.name,
        limit=track.limit,
        attack=track.attack,
        values=track.values.tolist(),
        low=low.tolist(),
        high=high.tolist(),
        outcome="fail" if ready and low[-1] > track.limit else "pass" if ready and high[-1] < track.limit else "open",
        assumption_free="pass" if below.max() >= sure else free,
        log_above=float(above[-1]),
        log_below=float(below[-1]),
        fewest_to_pass=fewest_pairs_to_pass(track.limit, confidence=confidence) if track.limit < 1 else 1,
    )


def _free(look: LookPart) -> str:
    return {
        "pass": "below as well",
        "fail": "above as well",
        "open": f"not settled (passing takes {look.fewest_to_pass} pairs or more)",
    }[look.assumption_free]


def _assumes(tracks: Sequence[Track], paid: float, confidence: float, burn_in: int) -> list[str]:
    return [
        f"The first {burn_in} pairs are references for good, and every later pair is a target only, so that the values "
        f"are independent draws of one law: that of an attacker with these references.",
        "A pass or a fail rests on the values of the pairs being near normal: look at the dots. For values that are "
        "nearly always the same with rare spikes the intervals are wrong far too often.",
        f"They hold for all looks at once. The lower ends pay for {len(tracks)} limits and attacks (confidence "
        f"{100 * paid:.6g} %); the upper ends, of which all must be below, do not ({100 * confidence:.6g} %).",
        "The column that assumes nothing bets against each limit with values from 0 to 1, whatever their law. It fails "
        "fast and passes slowly, and decides nothing here.",
    ]


def _estimate(values: np.ndarray, confidence: float) -> Estimate:
    """The mean of the pairs with the sequence's interval at its end."""
    sequence = confidence_sequence(values, confidence=confidence)
    mean = float(sequence.mean[-1])
    return Estimate(
        value=mean,
        low=min(mean, max(0.0, float(sequence.low[-1]))),
        high=max(mean, min(1.0, float(sequence.high[-1]))),
        confidence=confidence,
        method=f"{SEQUENCE_METHOD} over {len(values)} pairs",
        n=len(values),
    )


def allowing_for_looks(part: AttackPart, scored: Scored, pair: np.ndarray, confidence: float) -> AttackPart:
    """An attack's node with intervals that hold although one looked: AUC and TPR; what has none such is left out."""
    tpr = []
    for place, at in enumerate(part.tpr):
        if at.estimate.value is not None:
            at = at.model_copy(
                update={"estimate": Number.of(_estimate(pair_means(scored.tpr(place), pair), confidence))}
            )
        tpr.append(at)
    curves = np.stack([s.grid_tpr for s in scored.summaries])
    ends = [confidence_sequence(pair_means(curve, pair), confidence=confidence) for curve in curves.T]
    low = [max(0.0, float(e.low[-1])) for e in ends]
    high = [min(1.0, float(e.high[-1])) for e in ends]
    return part.model_copy(
        update={
            "auc": Number.of(_estimate(pair_means(scored.auc, pair), confidence)),
            "tpr": tpr,
            "balanced_accuracy": Number.of(Estimate.undefined(LOOKED)),
            "roc": part.roc.model_copy(update={"low": low, "high": high}),
            "at_other_floor": None,
        }
    )
