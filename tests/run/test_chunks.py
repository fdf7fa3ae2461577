"""Which jobs travel together: written down before training, repeated by a resumed run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locard.plan.designs import pairs
from locard.run.backend import LocalBackend
from locard.run.chunks import FILE, Grouping, even_parts, plan_chunks
from locard.run.folder import RunFolder
from locard.run.training import Watch, train_missing
from locard.seeds import Seed
from locard.train.asked import Answers, AnswersMany, Asked, Choice, Keep, Room, Run
from locard.train.jobs import Training, plan_jobs
from locard.train.recipe import SklearnRecipe


@dataclass(frozen=True)
class Company:
    """A recipe whose answers show who was in the same chunk: the number of models, and the first one's seed."""

    way: str = "many"
    size: int = 4
    asked: list[Room] = field(default_factory=list, compare=False, hash=False)

    name = "company"
    fingerprint = "company"
    probability_floor = None

    def fit(self, records, index, seed):
        raise AssertionError("chunks are answered together")

    def answer(self, records, runs: Sequence[Run], asked: Asked) -> Iterator[Answers]:
        for run in runs:
            said = np.full((len(asked.audited), 1, 2), [len(runs), runs[0].seed % 1000], dtype=np.float32)
            tensors = {"logits": said, "population": said[:0]}
            if asked.keep.losses:
                tensors["losses"] = np.zeros((len(asked.audited), 2), dtype=np.float32)
            weights = {"final": {"w": np.array([float(run.seed)])}} if asked.keep.weights else {}
            yield Answers(tensors, weights, 0.1, 0.2)

    def choose(self, records, runs, room: Room) -> Choice:
        self.asked.append(room)
        return Choice(way=self.way, size=self.size, reason="for the test", seconds=1.0, ask_seconds=0.5, bytes=1)  # type: ignore[arg-type]


def setting(records, folder: RunFolder, recipe, models: int = 10, keep: Keep | None = None):
    r = records(30)
    plan = pairs(r, np.arange(30), models=models, seed=Seed(1))
    jobs = plan_jobs(recipe, r, plan, np.zeros(0, dtype=np.int64), Seed(1), keep=keep)
    return jobs, Training(recipe, r, np.arange(30), np.zeros(0, dtype=np.int64), folder.store, keep or Keep())


def composition(chunks) -> list[list[int]]:
    return [[job.model for job in chunk.jobs] for chunk in chunks]


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 9))
def test_even_parts_cover_all_jobs_in_order_and_are_no_larger_than_asked(jobs, size, workers):
    parts = even_parts(range(jobs), size, workers)
    assert [job for part in parts for job in part] == list(range(jobs))
    lengths = [len(part) for part in parts]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(parts) % workers == 0 or len(parts) == jobs  # all workers end at the same time


def test_a_recipe_that_trains_one_at_a_time_needs_no_file(records, tmp_path):
    recipe = SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier")
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, recipe)
        chunks, chosen = plan_chunks(jobs, [j.key for j in jobs[3:]], work, Grouping(), tmp_path)
    assert composition(chunks) == [[m] for m in range(3, 10)]
    assert chosen == {}
    assert not (tmp_path / FILE).exists()


def test_the_composition_is_written_down_before_anything_is_trained(records, tmp_path):
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, Company())
        chunks, chosen = plan_chunks(jobs, [j.key for j in jobs], work, Grouping(workers=2), tmp_path)
        written = json.loads((tmp_path / FILE).read_text())
        assert not list(tmp_path.glob("observations/*"))
    assert composition(chunks) == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    assert written == [["many", [j.key for j in chunk.jobs]] for chunk in chunks]
    assert chosen == {"way": "many", "size": 4, "reason": "for the test"}


def test_workers_elsewhere_have_their_own_number_and_memory(records, tmp_path):
    """Planted: dividing this machine's memory by ``workers``, wherever they are."""
    with RunFolder(tmp_path) as folder:
        recipe = Company()
        jobs, work = setting(records, folder, recipe)
        there = Grouping(workers=2, elsewhere=lambda: (5, 12_345))
        chunks, _ = plan_chunks(jobs, [j.key for j in jobs], work, there, tmp_path)
    assert [(room.workers, room.memory) for room in recipe.asked] == [(5, 12_345)]
    assert composition(chunks) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_an_unfinished_chunk_comes_again_as_it_was_and_finished_ones_do_not(records, tmp_path):
    """Planted: grouping only what is missing gives model 4 other companions."""
    with RunFolder(tmp_path) as folder:
        recipe = Company()
        jobs, work = setting(records, folder, recipe)
        everything = [j.key for j in jobs]
        first, _ = plan_chunks(jobs, everything, work, Grouping(workers=2), tmp_path)
        again, chosen = plan_chunks(jobs, [jobs[4].key, jobs[9].key], work, Grouping(workers=5), tmp_path)
    assert composition(again) == [[3, 4, 5], [8, 9]]
    assert composition(first)[1] == [3, 4, 5]
    assert chosen == {}
    assert len(recipe.asked) == 1  # nothing is timed again


def test_more_models_keep_the_chunks_of_the_first(records, tmp_path):
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, Company(), models=4)
        plan_chunks(jobs, [j.key for j in jobs], work, Grouping(), tmp_path)
        more, work = setting(records, folder, Company(), models=10)
        chunks, _ = plan_chunks(more, [j.key for j in more[2:]], work, Grouping(), tmp_path)
    assert composition(chunks) == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[["many", 3]]', "null"])
def test_a_damaged_file_is_made_again(records, tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, Company())
        chunks, _ = plan_chunks(jobs, [j.key for j in jobs], work, Grouping(), tmp_path)
    assert len(json.loads((tmp_path / FILE).read_text())) == len(chunks)


def test_exact_trains_one_at_a_time_without_asking(records, tmp_path):
    recipe = Company()
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, recipe)
        chunks, _ = plan_chunks(jobs, [j.key for j in jobs], work, Grouping(exact=True), tmp_path)
    assert {chunk.way for chunk in chunks} == {"one"}
    assert composition(chunks) == [[m] for m in range(10)]
    assert recipe.asked == []


def test_the_recipe_hears_how_much_room_there_is(records, tmp_path):
    recipe = Company()
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, recipe)
        plan_chunks(jobs, [j.key for j in jobs], work, Grouping(workers=3, size=7), tmp_path)
    (room,) = recipe.asked
    assert (room.workers, room.size, room.device) == (3, 7, "cpu")
    assert room.memory > 2**20


def test_a_run_interrupted_between_two_files_of_a_chunk_ends_with_the_same_answers(records, tmp_path):
    """What a model answers shows its companions, so that another grouping would be seen."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for path in (whole, cut):
        with RunFolder(path) as folder:
            jobs, work = setting(records, folder, Company())
            assert train_missing(work, jobs, folder, LocalBackend(1), Watch(), Grouping(workers=2)) == []
    for job in (jobs[1], jobs[7], jobs[8]):
        (cut / "observations" / f"{job.key}.safetensors").unlink()
    with RunFolder(cut) as folder:
        jobs, work = setting(records, folder, Company())
        train_missing(work, jobs, folder, LocalBackend(1), Watch(), Grouping(workers=7))
    files = sorted(p.name for p in (whole / "observations").iterdir())
    assert [(whole / "observations" / f).read_bytes() for f in files] == [
        (cut / "observations" / f).read_bytes() for f in files
    ]


def test_what_is_kept_besides_answers_is_stored_and_is_part_of_the_key(records, tmp_path):
    with RunFolder(tmp_path) as folder:
        keep = Keep(losses=True, weights=True)
        plain, _ = setting(records, folder, Company())
        jobs, work = setting(records, folder, Company(), keep=keep)
        work = Training(work.recipe, work.records, work.audited, work.population, work.store, keep, folder.weights)
        train_missing(work, jobs, folder, LocalBackend(1), Watch())
        assert {j.key for j in jobs}.isdisjoint(j.key for j in plain)
        assert work.store.read(jobs[3].key, "losses").shape == (30, 2)
        assert folder.weights.read(f"{jobs[3].key}.final", "w").tolist() == [float(jobs[3].seed)]


def test_time_that_is_over_ends_training_with_what_is_finished(records, tmp_path):
    with RunFolder(tmp_path) as folder:
        jobs, work = setting(records, folder, Company())
        left = train_missing(work, jobs, folder, LocalBackend(1), Watch(), Grouping(workers=2), stop_after=0.0)
        assert left == [j.key for j in jobs[3:]]
        assert train_missing(work, jobs, folder, LocalBackend(1), Watch(), Grouping(workers=2)) == []


def test_a_recipe_is_recognised_by_its_methods():
    assert isinstance(Company(), AnswersMany)
    assert not isinstance(SklearnRecipe(estimator="sklearn.tree.DecisionTreeClassifier"), AnswersMany)
