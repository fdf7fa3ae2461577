"""``locard rank``: all attacks on the same models, one table a settings file, and what several of them say together."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from locard import __version__
from locard.assess import rank_study
from locard.assess.choose import ALL_TRACES, build_attacks, runnable, tree_given
from locard.assess.parts import in_threads
from locard.assess.rank_picks import Picked
from locard.assess.rank_study import study
from locard.attacks import ATTACKS, attack
from locard.check import Problems
from locard.data.records import Records
from locard.elsewhere import nothing_elsewhere, with_elsewhere
from locard.errors import SettingsError
from locard.files import make_folder, remove, write_file
from locard.pipeline import saved_case, trained_case
from locard.plan.plan import Plan
from locard.prepare import Prepared, describe, prepare, prepare_records
from locard.rank_result import RankAcross, RankTree, StudyPart
from locard.report.rank_page import write_rank_page
from locard.result import NotRun, Number
from locard.run.choose_backend import local_workers
from locard.run.folder import RunFolder
from locard.run.training import Watch
from locard.settings import AttackSettings, Settings, make_settings
from locard.settings_rank import RankSettings
from locard.settings_text import DEFAULT_ATTACKS
from locard.stats.ranking import mean_ranks
from locard.train.choose_recipe import recipe_given, written_down

if TYPE_CHECKING:
    import pandas as pd

NO_SCORES = "it makes claims about single records and scores none, so that it has no place in a ranking"


@dataclass(frozen=True, eq=False)
class RankResult:
    """What was found: the tree of ``rank.json``, and ``records``, one row for each record and attack that picks it."""

    summary: RankTree
    records: pd.DataFrame

    @property
    def table(self) -> pd.DataFrame:
        """One row an attack and study, in the order of the tables: estimates with their ends, costs, letters."""
        import pandas as pd

        return pd.DataFrame([row for s in self.summary.studies for row in _flat(s)])

    def to_json(self) -> str:
        """``rank.json``: stable key order, one trailing newline."""
        return json.dumps(self.summary.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"

    def report(self, path: str | Path) -> Path:
        """Write the page, and give back its path. It names no record."""
        return write_rank_page(self.summary, Path(path))

    def save(self, folder: str | Path) -> Path:
        """Write ``rank.parquet``, ``rank.html`` and ``rank.json``, the last one last."""
        folder = make_folder(Path(folder))
        remove(folder / "rank.json")
        sink = io.BytesIO()
        self.records.to_parquet(sink, index=False, compression="zstd")
        write_file(folder / "rank.parquet", sink.getvalue())
        self.report(folder / "rank.html")
        write_file(folder / "rank.json", self.to_json().encode())
        return folder

    def __repr__(self) -> str:
        return f"RankResult({' '.join(s.verdict for s in self.summary.studies)})"


Found = tuple[StudyPart, dict[str, Picked], Records]  # a study, what each attack picks, among which records


@dataclass(frozen=True, eq=False)
class Study:
    """One settings file, ready to be run, and the folder with its models."""

    prepared: Prepared
    others: Mapping[str, Prepared]
    written: Settings
    folder: Path


def prepare_ranking(settings: Settings, base: Path, problems: Problems | None = None) -> Prepared:
    """Load and check what the settings name. Attacks that the settings do not choose are all that this plan can serve.

    - the declared headline stays the first; where none is chosen it is the first of the audit's default that can run
    - models are those of ``locard audit`` with the same settings, so that whatever is trained is trained once
    - no claims about single records are made, and no released model is asked

    Raises:
        SettingsError: everything that is wrong with settings or data.
        NotEnoughReferences: the declared headline cannot run on this plan.
    """
    if settings.references.until == "settled":
        raise SettingsError(
            "references.until: all pairs are needed for a ranking, found 'settled', which stops where the policy is "
            "settled and would favour the attack that settled it. Leave it out."
        )
    plain = settings.model_copy(update={"released": None, "rank": settings.rank or RankSettings()})
    if "attack" in settings.model_fields_set:
        return _scoring(prepare(plain, base, problems))
    plain = plain.model_copy(update={"screen": None})
    alone = prepare(plain.model_copy(update={"attack": (AttackSettings(name="loss"),)}), base, problems)
    chosen, left_out = serveable(alone.plan, len(alone.split.population))
    every = prepare(plain.model_copy(update={"attack": tuple(AttackSettings(name=n) for n in chosen)}), base)
    return _with_all(every, left_out)


ASK = "it trains or keeps more than other attacks do, and is ranked where [[attack]] names it"


def serveable(plan: Plan, population: int) -> tuple[list[str], tuple[NotRun, ...]]:
    """Registered attacks, on their defaults, that the plan can serve (the audit's defaults first), and the others."""
    names = [*DEFAULT_ATTACKS, *(name for name in ATTACKS if name not in DEFAULT_ATTACKS)]
    built = build_attacks(["loss", *(name for name in names if name != "loss")])
    chosen = runnable(built, plan, population, dict.fromkeys(ALL_TRACES, ASK))
    return [name for name in names if name in chosen.names.values()], chosen.not_run


def _with_all(prepared: Prepared, left_out: tuple[NotRun, ...]) -> Prepared:
    """Models answer for the records that they do in an audit of these settings, and for no pool of a screen besides."""
    chosen = replace(prepared.chosen, not_run=(*left_out, *prepared.chosen.not_run))
    return replace(prepared, chosen=chosen, screening=None, reference_pool=None)


def _scoring(prepared: Prepared) -> Prepared:
    """Without what makes claims about single records, which is listed."""
    silent = tuple(NotRun(name=label, reason=NO_SCORES) for label in prepared.indirect)
    chosen = replace(prepared.chosen, not_run=(*prepared.chosen.not_run, *silent))
    return replace(prepared, chosen=chosen, screening=None)


def rank_settings(
    files: Sequence[tuple[str, Settings, Path]],
    *,
    out: Path,
    watch: Watch | None = None,
    problems: Problems | None = None,
) -> RankResult:
    """``locard rank CONFIG ...``: check all settings files, then train what is missing of each, attack, compare, write.

    Args:
        files: (name, settings, folder from which its relative paths start).
        out: the run folder of one file; of several, the folder that holds a run folder of each, by name.
        watch: who hears of progress and warnings.
        problems: what is known to be wrong already.

    Raises:
        SettingsError: everything that is wrong in any of them, before anything is trained.
    """
    problems = Problems() if problems is None else problems
    names = [name for name, _, _ in files]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        problems.add(f"rank: settings files of different names are needed, found {twice!r} more than once.")
    ready = []
    for name, settings, base in files:
        own = Problems()
        with own.gather():
            prepared = with_elsewhere(prepare_ranking(settings, base))
            ready.append(Study(*prepared, settings, out if len(files) == 1 else out / name))
        for wrong in own.found:
            problems.add(f"{name}: {wrong}" if len(files) > 1 else wrong)
    problems.settle()
    result = _result([_run(one, watch or Watch()) for one in ready])
    result.save(out)
    return result


def rank(
    records: Records,
    recipe: Any,
    *,
    models: int = 64,
    attacks: Sequence[Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    watch: Watch | None = None,
    **sections: Any,
) -> RankResult:
    """All attacks on the same models: which is best on these records, as far as that can be told.

    Args:
        records: the records; a part is attacked, the rest is population.
        recipe: as in ``locard.audit``.
        models: reference models in all, targets included.
        attacks: names, tables or attack objects, the declared headline first. Default: all that the plan can serve.
        seed: the same seed gives the same numbers.
        out: the run folder; without one, nothing is kept but the result.
        watch: who hears of progress and warnings.
        sections: the other settings sections by name: ``rank={"targets": 8}``, ``measure={...}``, ``data={...}``.

    Returns:
        The result: ``.table`` is one row an attack, ``.report("rank.html")`` writes the page.

    Raises:
        SettingsError: what cannot be used, before any training.

    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> x, y = load_breast_cancer(return_X_y=True)
    >>> records = Records(ids=range(len(y)), features=x, labels=y)
    >>> result = rank(records, DecisionTreeClassifier(max_depth=4), models=8, attacks=["lira", "loss"], seed=7,
    ...               compute={"workers": 1}, measure={"fprs": [0.1]})
    >>> sorted(result.table["attack"])
    ['lira', 'loss']
    """
    tree = tree_given("rank", seed, attacks, sections, models=models)
    problems = Problems()
    used = None
    with problems.gather():
        used = recipe_given(recipe, tree["target"], weights=records.weight is not None)
        tree["target"] |= written_down(used)
    settings: Settings | None = None
    with problems.gather():
        settings = make_settings(tree, problems)
        settings = settings.model_copy(update={"rank": settings.rank or RankSettings()})
    built: list[Any] = []
    with problems.gather():
        built = build_attacks(list(attacks) if attacks is not None else ["loss"])
    if settings is None:
        problems.settle()
    assert settings is not None  # else there were problems
    prepared = prepare_records(settings, records, used, built, problems=problems)
    if attacks is None:
        chosen, left_out = serveable(prepared.plan, len(prepared.split.population))
        settings = settings.model_copy(update={"attack": tuple(AttackSettings(name=n) for n in chosen)})
        every = prepare_records(settings, records, used, [(name, attack(name)) for name in chosen])
        prepared = _with_all(every, left_out)
    ready = with_elsewhere(_scoring(prepared))
    if out is None:
        with tempfile.TemporaryDirectory(prefix="locard-") as folder:
            return _result([_run(Study(*ready, settings, Path(folder)), watch or Watch())])
    result = _result([_run(Study(*ready, settings, Path(out)), watch or Watch())])
    result.save(out)
    return result


def rank_saved(
    *,
    member: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    ids: Sequence[Any] | None = None,
    pairs: np.ndarray | None = None,
    settings: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> RankResult:
    """All attacks on saved outputs of models that were trained elsewhere; arguments as in ``locard.audit_saved``.

    Raises:
        DataError: arrays that do not fit together.

    >>> rng = np.random.default_rng(0)
    >>> coins = rng.random((4, 200)) < 0.5
    >>> mask, y = np.concatenate([coins, ~coins]), rng.integers(2, size=200)
    >>> said = rng.normal(size=(8, 200, 2))
    >>> said[mask, np.broadcast_to(y, mask.shape)[mask]] += 3.0
    >>> result = rank_saved(member=mask, labels=y, logits=said, settings={"measure": {"fprs": [0.1]}})
    >>> len(result.table) > 10, result.summary.studies[0].headline
    (True, 'lira')
    """
    tree = dict(settings or {})
    every = "attack" not in tree
    tree |= {"attack": ["loss"]} if every else {}
    audited, case = saved_case(member, labels, logits, probabilities, ids, pairs, tree)
    if every:
        names, left_out = serveable(audited.plan, 0)
        attacks = tuple(AttackSettings(name=name) for name in names)
        chosen = nothing_elsewhere(runnable(build_attacks(attacks), audited.plan, 0))
        chosen = replace(chosen, not_run=(*left_out, *chosen.not_run))
        case = replace(case, chosen=chosen, settings=case.settings.model_copy(update={"attack": attacks}))
    run = in_threads(case.settings.compute.workers)
    return _result([(*study(audited, case, run, (watch or Watch()).progress), audited.records)])


def _run(one: Study, watch: Watch) -> Found:
    """Train what is missing, attack, compare."""
    settings = one.prepared.settings
    with local_workers(settings, imports=[rank_study.__name__]) as local, RunFolder(one.folder) as folder:
        as_written = {name: getattr(one.written, name) for name in ("attack", "released", "rank")}
        tree = settings.model_copy(update=as_written).model_dump(mode="json", exclude_none=True)
        folder.begin(tree, one.prepared.plan, describe(one.prepared), one.prepared.base)
        finished, audited, case = trained_case(one.prepared, one.others, folder, local, watch)
        if len(finished.plan) < len(one.prepared.plan):  # stopped in time: what could not run before cannot now
            still = (*one.prepared.chosen.not_run, *case.chosen.not_run)
            case = replace(case, chosen=replace(case.chosen, not_run=still))
        made, picked = study(audited, case, local.map, watch.progress)
        folder.end()
    return made, picked, audited.records


def _result(found: list[Found]) -> RankResult:
    import pandas as pd

    studies = [made for made, _, _ in found]
    tree = RankTree(locard_version=__version__, studies=studies, across=across(studies) if len(studies) > 1 else [])
    frames = [_frame(made.name, picked, records.unit_names) for made, picked, records in found]
    return RankResult(tree, pd.concat(frames, ignore_index=True))


def across(studies: Sequence[StudyPart]) -> list[RankAcross]:
    """Each attack's mean rank with the smallest and largest, best first. Ranks are counted: they have no error rate."""
    values = [{r.label: _sorted_by(s, r.label) for r in s.rows} for s in studies]
    out = []
    for label, ranks in mean_ranks(values).items():
        rank_ = Number(
            value=float(ranks.mean()),
            low=float(ranks.min()),
            high=float(ranks.max()),
            confidence=1.0,
            method="counted: mean, smallest and largest",
            n=len(ranks),
        )
        beaten = sum(label in s.unbeaten for s in studies)
        out.append(RankAcross(label=label, rank=rank_, unbeaten=beaten, studies=len(studies)))
    return sorted(out, key=lambda a: a.rank.value or 0.0)


def _sorted_by(made: StudyPart, label: str) -> float:
    """Places are the order of the statistic; equal attacks have no equal places, and are not told apart anyhow."""
    return -float(next(r.place for r in made.rows if r.label == label))


def _frame(name: str, picked: dict[str, Picked], ids: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for label, found in picked.items():
        for place in np.flatnonzero(found.picked.any(axis=0)):
            one, two = (bool(v) for v in found.picked[:, place])
            rows.append({"study": name, "attack": label, "id": str(ids[place]), "first": one, "second": two})
    return pd.DataFrame(rows, columns=["study", "attack", "id", "first", "second"])


def _flat(made: StudyPart) -> list[dict[str, Any]]:
    rows = []
    for r in made.rows:
        row: dict[str, Any] = {"study": made.name, "place": r.place, "attack": r.label, "letters": r.letters}
        numbers = {"auc": r.auc} | {f"tpr_{t.fpr:g}": t.estimate for t in r.tpr}
        numbers["balanced_accuracy"] = r.balanced_accuracy
        for name, number in numbers.items():
            row |= {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}
        row |= {"variance_factor": r.variance_factor, "access": r.access, "uses": r.uses}
        row |= {"references_in": r.cost.references.inside, "references_out": r.cost.references.outside}
        row |= {"queries": r.cost.queries, "auxiliary": r.cost.auxiliary, "seconds": r.cost.seconds}
        rows.append(row)
    return rows


__all__ = ["RankResult", "prepare_ranking", "rank", "rank_saved", "rank_settings"]
