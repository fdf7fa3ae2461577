"""``locard attack``: claims about a model that may only be asked. References are trained on other records; which
candidates are worth asking about is decided without the target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from locard.assess.controls import blind_baseline
from locard.assess.mismatch import answers_alike
from locard.assess.screening import Answered, Tested, select_to_test
from locard.attack_lists import Listed
from locard.attack_report import ChosenToAsk, Made, attack_result
from locard.attack_result import AttackResult
from locard.attacks.gmia import GMIA
from locard.attacks.gmia_indirect import GMIAIndirect
from locard.check import Problems
from locard.data.split import Split
from locard.errors import QueryBudgetSpent, SettingsError
from locard.files import remove
from locard.observe.asking import AskableTarget
from locard.observe.observations import ArrayReader, Observations
from locard.observe.pool import ReferencePool
from locard.observe.references import Population, References
from locard.observe.signals import LogProbability
from locard.observe.target import Target
from locard.prepare import Prepared, describe
from locard.prepare_attack import AttackCase, prepare_attack
from locard.result import NotRun
from locard.run.folder import RunFolder
from locard.run.train_all import train_all
from locard.run.training import Watch
from locard.settings import Settings
from locard.settings_attacked import AttackedSettings
from locard.train.asked import Run
from locard.train.store import StoreReader
from locard.types import Access, Claims


def attack_settings(
    settings: Settings, *, base: Path, out: Path, watch: Watch | None = None, problems: Problems | None = None
) -> AttackResult:
    """``locard attack CONFIG``: prepare, train references, screen, ask the target, claim, write.

    Raises:
        SettingsError, DataError: everything that is wrong, before anything is trained or asked.
        RunStopped: the time was over before all references were trained.
    """
    told = watch or Watch()
    case = prepare_attack(settings, base, problems)
    with RunFolder(out) as folder:
        for stale in ("claims.csv", "result.json", "report.html"):
            remove(out / stale)
        tree = case.prepared.settings.model_dump(mode="json", exclude_none=True)
        folder.begin(tree, case.prepared.plan, describe(case.prepared), case.prepared.base)
        work, jobs = case.prepared.work(folder.store, folder.weights)
        keys = train_all(work, jobs, folder, settings.compute, told, what="references")
        result = _attack(case, folder, keys, told)
        from locard.report.attack_page import write_attack_report

        result.save(out)
        write_attack_report(result, out / "report.html")
    return result


def _attack(case: AttackCase, folder: RunFolder, keys: list[str], watch: Watch) -> AttackResult:
    prepared, attacked = case.prepared, case.attacked
    records, split = prepared.records, prepared.split
    screening = prepared.screening
    assert screening is not None
    floor, workers = prepared.recipe.probability_floor, prepared.settings.compute.workers
    asked_of_all = [keys[m] for m in screening.models]
    watch.progress("screening candidates", 0, 1)
    answered = Answered(records, prepared.plan, split, prepared.asked, floor, folder.store, asked_of_all, workers)
    tested = select_to_test(screening, answered, prepared.seed)
    watch.progress("screening candidates", 1, 1)
    target = AskableTarget.of_model(case.model, records, access=Access[attacked.access.upper()], budget=attacked.budget)
    chosen = _affordable(tested, split, attacked, direct=bool(case.attacks))
    testing = [keys[m] for m in screening.testing]
    seen = _Seen(prepared, folder, testing, floor)
    watch.progress("asking the target", 0, 1)
    said = _Said(
        candidates=target.log_probabilities(records.select(split.audited[chosen.candidates]).features),
        calibration=target.log_probabilities(records.select(split.population[chosen.calibration]).features),
        checks=target.log_probabilities(records.select(split.population[chosen.checks]).features),
    )
    watch.progress("asking the target", 1, 1)
    made = [
        _directly(name, attack, _claimed(attack, said, seen, chosen, case), chosen)
        for name, attack in case.attacks.items()
    ]
    left, not_run = target.left, list[NotRun]()
    for name, method in case.indirect.items():
        watch.progress(f"{name}: other queries", 0, 1)
        try:
            made.append(_indirectly(name, method, case, tested, folder, keys, left))
        except QueryBudgetSpent as spent:  # what the direct attack found stays
            not_run.append(NotRun(name=name, reason=str(spent)))
            continue
        left = None if left is None else left - made[-1].spent
        watch.progress(f"{name}: other queries", 1, 1)
    if not made:
        raise QueryBudgetSpent(not_run[0].reason)
    checks = _checks(said, seen, chosen, case)
    y = records.y[split.audited[chosen.candidates]]
    losses = (
        -said.candidates[np.arange(len(y)), y],
        -seen.candidates(chosen.candidates).signal(LogProbability())[..., 0],
    )
    return attack_result(case, tested, chosen, target, made, checks, losses, not_run)


def _directly(name: str, attack: GMIA, claims: Claims, chosen: ChosenToAsk) -> Made:
    """Each candidate was asked about once."""
    count = len(chosen.candidates)
    once = np.ones(count, dtype=np.int64)
    listed = Listed(name, chosen.candidates, claims, np.full(count, "direct", dtype=object), once, attack.fdr)
    return Made(listed, attack, "direct")


def _indirectly(
    name: str,
    method: GMIAIndirect,
    case: AttackCase,
    tested: Tested,
    folder: RunFolder,
    keys: list[str],
    budget: int | None,
) -> Made:
    """Claims about the first selected candidates, by a target of its own that is never asked about them."""
    from locard.train.neural.stored import StoredNetworks

    prepared = case.prepared
    halves = tested.screening.halves
    models = np.concatenate([halves.screening, halves.testing])
    _, jobs = prepared.work(folder.store, folder.weights)
    runs, device = [Run(job.index, job.seed) for job in jobs], prepared.settings.compute.device
    networks = StoredNetworks(prepared.recipe, prepared.records, runs, folder.weights, keys, device)
    places = np.sort(tested.screened.order[: min(method.records, int(tested.selected.sum()))])
    records = prepared.records.select(prepared.split.audited[places])
    seed = prepared.seed.child("indirect", name)
    outside = tested.calibrating(len(places), method.calibration, seed.child("calibration").generator())
    access = Access[case.attacked.access.upper()]
    target = AskableTarget.of_model(case.model, prepared.records, access=access, budget=budget)
    found = method.claim(
        target,
        records,
        networks.of(models),
        rng=seed.generator(),
        selected=np.ones(len(records), dtype=bool),
        population=prepared.records.select(outside) if len(outside) else None,
        choosing=np.arange(len(halves.screening)),
    )
    queries = np.array([f.queries for f in found.found], dtype=np.int64)
    how = np.full(len(places), "indirect", dtype=object)
    return Made(
        Listed(name, places, found.claims, how, queries, method.fdr),
        method,
        "indirect",
        calibrating=sum(f.queries for f in found.calibration),
        log=target.log.digest,
    )


def _affordable(tested: Tested, split: Split, attacked: AttackedSettings, *, direct: bool) -> ChosenToAsk:
    """As many of the selected candidates, first those that the screen puts first, as the budget allows.

    Calibration records are those that the same screen selects. With fewer candidates the bar is higher, and fewer of
    them pass it: both are cut together, so that they stay alike. Comparing the target with its references comes last.
    """
    screened = tested.screened
    order = screened.order[: int(tested.selected.sum())]
    population = tested.population
    everyone = np.flatnonzero(population) if population is not None else np.zeros(0, dtype=np.int64)
    others = np.setdiff1d(np.arange(len(split.population)), everyone)
    budget = attacked.budget
    if not direct:  # nobody is asked about
        nobody = np.zeros(0, dtype=np.int64)
        most = attacked.check if budget is None else min(attacked.check, budget)
        return ChosenToAsk(nobody, nobody, np.arange(len(split.population))[:most])
    if budget is None or len(order) + len(everyone) <= budget:
        left = len(others) if budget is None else budget - len(order) - len(everyone)
        return ChosenToAsk(np.sort(order), everyone, others[: min(attacked.check, left)])
    low, high = 0, len(order)
    while low < high:  # the largest number of candidates that can be paid for with their calibration
        middle = (low + high + 1) // 2
        if middle + int(tested.alike(middle).sum()) <= budget:
            low = middle
        else:
            high = middle - 1
    if not low:
        raise SettingsError(
            f"attacked.budget: at least {1 + int(tested.alike(1).sum())} queries are needed (one candidate, and the "
            f"held-out records that the screen puts above the next one), found {budget}. Raise it, or lower "
            f"data.population."
        )
    alike = np.flatnonzero(tested.alike(low))
    return ChosenToAsk(np.sort(order[:low]), alike, others[: min(attacked.check, budget - low - len(alike))])


@dataclass(frozen=True, eq=False)
class _Said:
    """Logarithms of the target's probabilities: ``float64[records, classes]`` each."""

    candidates: np.ndarray
    calibration: np.ndarray
    checks: np.ndarray


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the testing references said of some records, read from the store."""

    prepared: Prepared
    folder: RunFolder
    keys: list[str]
    floor: float | None

    def candidates(self, chosen: np.ndarray) -> Observations:
        """Of candidates, by their places among them."""
        reader = StoreReader(self.folder.store, self.keys, "logits")
        y = self.prepared.records.y[self.prepared.split.audited]
        return Observations(reader, y, probability_floor=self.floor).select(chosen)

    def population(self, chosen: np.ndarray) -> Observations:
        """Of held-out records, by their places among them."""
        reader = StoreReader(self.folder.store, self.keys, "population")
        asked, split = self.prepared.asked, self.prepared.split
        said = Observations(reader, self.prepared.records.y[asked], probability_floor=self.floor)
        return said.select(np.searchsorted(asked, split.population[chosen]))


def _claimed(attack: GMIA, said: _Said, seen: _Seen, chosen: ChosenToAsk, case: AttackCase) -> Claims:
    """The claims about the candidates that the target was asked about."""
    prepared = case.prepared
    records = prepared.records.select(prepared.split.audited[chosen.candidates])
    access = Access[case.attacked.access.upper()]
    population = None
    if len(chosen.calibration):
        y = prepared.records.y[prepared.split.population[chosen.calibration]]
        population = Population(y, _target(said.calibration, y, access), _outside(seen.population(chosen.calibration)))
    return attack.claim(
        _target(said.candidates, records.y, access),
        records,
        _outside(seen.candidates(chosen.candidates)),
        population=population,
        selected=np.ones(len(records), dtype=bool),
        population_selected=None if population is None else np.ones(len(population), dtype=bool),
    )


def _target(said: np.ndarray, y: np.ndarray, access: Access) -> Target:
    answers = said.astype(np.float32)[None, :, None, :]
    return Target(Observations(ArrayReader(answers), y, probability_floor=None), access=access)


def _outside(said: Observations) -> References:
    """References that hold none of these records."""
    nobody = np.zeros((said.models, said.records), dtype=bool)
    return References(ReferencePool(said, nobody), np.arange(said.models))


def _checks(said: _Said, seen: _Seen, chosen: ChosenToAsk, case: AttackCase) -> list[Any]:
    """Whether the target is made like its references, and candidates come from their population."""
    prepared = case.prepared
    out = []
    if len(chosen.checks):
        y = prepared.records.y[prepared.split.population[chosen.checks]]
        answers = seen.population(chosen.checks)
        theirs = np.stack([answers.logits(m)[:, 0] for m in range(answers.models)])
        out.append(answers_alike(said.checks, theirs, y))
    places = np.concatenate([prepared.split.audited, prepared.split.population])
    mask = np.arange(len(places)) < len(prepared.split.audited)
    if mask.any() and not mask.all():
        out.append(
            blind_baseline(
                prepared.records.select(np.sort(places)),
                mask[np.argsort(places, kind="stable")],
                prepared.settings.controls,
                prepared.seed,
                what="the list of candidates",
                name="candidates and held-out records are alike",
            )
        )
    return out
