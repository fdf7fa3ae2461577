"""``locard screen``: from settings to the records that are worth attacking. No target is trained or asked."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from locard.assess.looks import describe_selected
from locard.assess.screening import Answered, nearest_places, screen_records
from locard.files import remove, write_file
from locard.prepare import Prepared, describe, prepare
from locard.run.folder import RunFolder
from locard.run.train_all import train_all
from locard.run.training import Watch
from locard.screen.screened import Screened
from locard.settings import AttackSettings, Settings
from locard.settings_screen import ScreenSettings

CARDS = 50  # selected records that are described in screen.json; all are in screen.parquet


def prepare_screening(settings: Settings, base: Path) -> Prepared:
    """Load and check what the settings name, telling all problems at once. Attacks and released models are left aside.

    Raises:
        SettingsError: everything that is wrong with settings or data.
        NotEnoughReferences: the plan leaves some record with too few screening references.
        AccessDenied: the screen reads what this recipe cannot give.
    """
    section = settings.screen or ScreenSettings()
    alone = {"attack": (AttackSettings(name="loss"),), "released": None, "screen": section}
    return prepare(settings.model_copy(update=alone), base, screens=True)


def screen_settings(settings: Settings, *, base: Path, out: Path, watch: Watch | None = None) -> dict[str, Any]:
    """``locard screen CONFIG``: prepare, train the screening references that are missing, screen, write.

    Returns:
        The tree of ``screen.json``.
    """
    case = prepare_screening(settings, base)
    assert case.screening is not None  # it was asked for
    with RunFolder(out) as folder:
        remove(out / "screen.json")
        tree = settings.model_dump(mode="json", exclude_none=True)
        folder.begin(tree, case.plan, describe(case), case.base)
        keys: list[str] = []
        if case.screening.trains:
            work, jobs = case.work(folder.store, folder.weights)
            wanted = [jobs[m] for m in case.screening.models]
            keys = train_all(work, wanted, folder, settings.compute, watch or Watch(), what="screening references")
        floor, workers = case.recipe.probability_floor, settings.compute.workers
        answered = Answered(case.records, case.plan, case.split, case.asked, floor, folder.store, keys, workers)
        screened, evidence = screen_records(case.screening, answered, case.seed)
        written = _tree(case, screened, len(evidence.reference_records.records), evidence.training_size)
        write_file(out / "screen.parquet", _parquet(screened))
        write_file(out / "screen.json", (json.dumps(written, indent=1, ensure_ascii=False) + "\n").encode())
    return written


def _tree(case: Prepared, screened: Screened, pool: int, training_size: float) -> dict[str, Any]:
    """The tree of ``screen.json``."""
    done = case.screening
    assert done is not None  # else nothing is screened
    own = {f.name: getattr(done.screen, f.name) for f in fields(done.screen)}  # type: ignore[arg-type]
    rule = screened.selection
    return {
        "schema_version": "1.0",
        "screen": {"name": done.name, "settings": own},
        "select": {type(rule).__name__.lower(): next(iter(vars(rule).values()))},
        "settled": dict(screened.settled),
        "candidates": len(screened.ids),
        "reference_records": pool,
        "training_size": training_size,
        "models": {
            "screening": done.models.tolist(),
            "testing": done.testing.tolist(),
        },
        "selected": int(screened.selected.sum()),
        "records": describe_selected(
            case.records, case.split.audited, screened, nearest_places(done, case.split, screened), CARDS
        ),
    }


def _parquet(screened: Screened) -> bytes:
    sink = io.BytesIO()
    screened.to_frame().to_parquet(sink, index=False, compression="zstd")
    return sink.getvalue()
