"""What another screen would have found on a finished audit with ``gmia``: true claims at the same calibrated rate.

    locard audit examples/gmia/adult.toml --out runs/adult
    python examples/gmia/compare_screens.py runs/adult

No model is trained again. Each screen selects as many records by the same screening references; ``gmia`` tests them
with the others; p-values are calibrated on each target's own non-members among the selected. Printed are the claims at
p <= 0.01 over all targets, and how much larger a share of a target's members ``combined`` lets us claim: the mean over
pairs, with its 95 % interval.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from locard.assess.claims import calibrated_scores
from locard.assess.scoring import Audited, score_targets
from locard.assess.screening import Answered, Screening
from locard.attacks import attack
from locard.observe.observations import Observations
from locard.prepare import Prepared, prepare
from locard.screen import screen
from locard.screen.evidence import Evidence
from locard.screen.protocol import Top
from locard.screen.screened import run_screen
from locard.settings import read_settings
from locard.stats import paired_difference
from locard.train.store import Store, StoreReader

SCREENS = ("combined", "reference_loss", "reference_spread", "neighbours", "random")
LEVEL = 0.01


def opened(run: Path) -> tuple[Prepared, Screening, Evidence, Audited]:
    """The case of a run folder, what screens may look at, and what all models said."""
    case = prepare(read_settings(run / "settings.toml"), Path(), screens=True)
    done = case.screening
    assert done is not None  # it was asked for
    store = Store(run / "observations")
    _, jobs = case.work(store)
    keys = [job.key for job in jobs]
    floor = case.recipe.probability_floor
    screening = [keys[m] for m in done.models]
    answered = Answered(case.records, case.plan, case.split, case.asked, floor, store, screening)
    said = Observations(StoreReader(store, keys, "logits"), case.records.y[case.split.audited], probability_floor=floor)
    audited = Audited(case.records.select(case.split.audited), case.plan, said, None, case.seed)
    return case, done, answered.evidence(done), audited


def compared(run: Path) -> None:
    """Print one table."""
    case, done, evidence, audited = opened(run)
    targets = case.plan.targets[~np.isin(case.plan.targets, done.models)]
    member, pair = case.plan.member[targets], case.plan.pair[np.searchsorted(case.plan.targets, targets)]
    gmia = attack("gmia")
    scores = score_targets(gmia, audited.with_references(done.testing), targets)
    factor = 1.0 if case.plan.design == "out_only" else gmia.variance_factor
    select = done.select or Top(20)
    recalls: dict[str, np.ndarray] = {}
    print(f"{run}: {select}, {len(targets)} targets")
    for name in SCREENS:
        rng = case.seed.child("screen").generator()
        selected = run_screen(screen(name), evidence, select=select, rng=rng).selected
        with np.errstate(invalid="ignore"):
            claimed = calibrated_scores(scores, selected, member) <= LEVEL
        true, false = int((claimed & member).sum()), int((claimed & ~member).sum())
        recalls[name] = (claimed & member).sum(axis=1) / (member & selected).sum(axis=1)
        behind = paired_difference(recalls["combined"], recalls[name], pair, factor=factor)
        print(
            f"  {name:16} {true:5} true {false:4} false, precision {true / max(true + false, 1):.3f}, recall "
            f"{recalls[name].mean():.4f}" + ("" if name == "combined" else f"; combined - it: {behind}")
        )


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        compared(Path(folder))
