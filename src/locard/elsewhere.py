"""Models of other data sets, for attacks that learn there: prepared and checked before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from locard.assess.choose import Chosen, build_attacks
from locard.data.source import load_source
from locard.errors import LocardError, SettingsError
from locard.prepare import Prepared, prepare_records
from locard.result import NotRun
from locard.settings import make_settings
from locard.train.jobs import explained

MODELS = 4  # two pairs: the fewest that a plan of pairs has
LEFT_OUT = {
    "data",
    "attack",
    "screen",
    "policy",
    "released",
    "attacked",
    "references",
    "traces",
    "controls",
    "exposure",
    "one_run",
    "canaries",
}


def with_elsewhere(prepared: Prepared) -> tuple[Prepared, dict[str, Prepared]]:
    """The case without the attacks whose other data set cannot serve, and a case of its own for each set that can.

    Raises:
        SettingsError: the headline attack's data set cannot serve.
    """
    others: dict[str, Prepared] = {}
    chosen = prepared.chosen
    for label, attack in prepared.chosen.attacks.items():
        source = attack.needs.elsewhere
        if source is None or source in others:
            continue
        try:
            others[source] = _prepared(prepared, source)
        except LocardError as wrong:
            if label == prepared.chosen.headline:
                raise
            chosen = without(chosen, label, str(wrong).removesuffix("."))
    return replace(prepared, chosen=chosen), others


def without(chosen: Chosen, label: str, reason: str) -> Chosen:
    """The attacks without one of them, which is listed with the reason.

    Raises:
        SettingsError: it is the headline.
    """
    if label == chosen.headline:
        raise SettingsError(f"attack: the headline cannot run: {reason}. Declare another attack as the first.")
    return replace(
        chosen,
        attacks={k: v for k, v in chosen.attacks.items() if k != label},
        names={k: v for k, v in chosen.names.items() if k != label},
        not_run=(*chosen.not_run, NotRun(name=label, reason=reason)),
    )


def nothing_elsewhere(chosen: Chosen) -> Chosen:
    """The attacks without those that learn on another data set: where nothing is trained.

    Raises:
        SettingsError: the headline is one of them.
    """
    for label, attack in list(chosen.attacks.items()):
        if attack.needs.elsewhere is not None:
            chosen = without(chosen, label, NOTHING.format(attack.needs.elsewhere))
    return chosen


NOTHING = "models of {!r} are needed, trained by the same recipe, but this audit trains nothing"


def _prepared(prepared: Prepared, source: str) -> Prepared:
    settings = prepared.settings
    if prepared.trains is None:
        raise SettingsError(f"attack: {NOTHING.format(source)}. Leave it out.")
    if source == settings.data.source:
        raise SettingsError(
            f"attack: another data set than the audited one is needed, found {source!r} for both. Name another as "
            f"source (locard data list)."
        )
    tree = settings.model_dump(mode="json", exclude=LEFT_OUT, exclude_none=True)
    tree["compute"].pop("stop_after", None)
    tree |= {
        "data": {"source": source},
        "references": {"models": MODELS},
        "attack": [{"name": "confidence"}],
        "controls": {"redraws": 0, "blind": False},
    }
    own = make_settings(tree)
    records = load_source(**own.data.model_dump(exclude={"pool", "population"}), base_dir=prepared.base)
    made = prepare_records(own, records, prepared.trains, build_attacks(own.attack), base=prepared.base)
    _fits(made)
    return made


def _fits(made: Prepared) -> None:
    """Train on a few records, so that a recipe that these data do not suit is found out now."""
    inside = np.sort(made.plan.train_index[0])
    few = inside[np.linspace(0, len(inside) - 1, min(200, len(inside))).round().astype(np.int64)]
    recipe = made.trains
    assert recipe is not None  # seen to by the caller
    with explained(f"a model of {made.settings.data.source}", len(few)):
        recipe.fit(made.records, few, 0)(made.records.features[few[:2]])
