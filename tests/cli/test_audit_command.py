"""``locard audit``, ``plan``, ``report``, ``show``, ``compare``: exit codes, messages, JSON, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from locard.result import AuditResult


@pytest.fixture
def finished(tiny, tmp_path, cli) -> Path:
    folder = tmp_path / "finished"
    assert cli("audit", tiny(), "--out", folder)[0] == 0
    return folder


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "code", "outcome"),
    [
        ({}, 0, "none"),
        ({"max_auc": 0.999}, 0, "pass"),
        ({"max_auc": 0.51}, 1, "fail"),
        ({"max_tpr": {"0.001": 0.01}}, 3, "inconclusive"),  # not resolvable by so few records: never a pass
        ({"max_auc": 0.51, "max_tpr": {"0.001": 0.01}}, 1, "fail"),
        ({"max_auc": 0.999, "max_tpr": {"0.001": 0.01}}, 3, "inconclusive"),
    ],
)
def test_the_exit_code_is_the_answer_to_the_policy(tiny, tmp_path, cli, policy, code, outcome):
    config = tiny(target={"params": {}}, policy=policy, data={"pool": 78})
    said, out, err = cli("audit", config, "--out", tmp_path / "run", "--json")
    tree = json.loads(out)
    assert (tree["policy"]["outcome"], said) == (outcome, code)
    assert tree["policy"]["reasons"]
    assert err == ""


def test_a_finished_audit_says_where_its_report_is(tiny, tmp_path, cli):
    code, out, err = cli("audit", tiny(), "--out", tmp_path / "run")
    assert code == 0
    assert out.rstrip().endswith(f"Report: {tmp_path / 'run' / 'report.html'}")
    assert err == ""  # quiet where it is no terminal
    assert (tmp_path / "run" / "report.html").stat().st_size < 3_000_000


WRONG = {
    "an unknown key": ({"references": {"modles": 8}}, "references.modles: no such key; did you mean 'models'?"),
    "an unknown attack": ({"attack": ["lyra"]}, "lyra"),
    "an unknown attack setting": ({"attack": [{"name": "lira", "varience": "x"}]}, "varience"),
    "an odd number of models": ({"references": {"models": 7}}, "even number of at least 4"),
    "no such data": ({"data": {"source": "date.npz"}}, "date.npz"),
    "no such estimator": ({"target": {"estimator": "sklearn.tree.Tree"}}, "sklearn.tree"),
    "no such parameter": ({"target": {"params": {"depth": 3}}}, "no parameter 'depth'. Nearest: max_depth."),
    "no probabilities": ({"target": {"estimator": "sklearn.svm.LinearSVC", "params": {}}}, "predict_proba"),
    "a pool too large": ({"data": {"pool": 1000}}, "data.pool"),
    "a pool too small": ({"data": {"pool": 12}}, "at least 20 audited records are needed, found 12 of the "),
    "a released model without file": ({"released": {"model": "m.skops", "members": "ids.txt"}}, "does not exist"),
    "a parameter value out of range": ({"target": {"params": {"max_depth": "deep"}}}, "Got 'deep' instead"),
    "a wrong policy": ({"policy": {"max_tpr": {"1.5": 0.1}}}, "rates between 0 and 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_one_clear_message_and_exit_2_before_anything_is_written(tiny, tmp_path, cli, what):
    sections, said = WRONG[what]
    code, out, err = cli("audit", tiny(**sections), "--out", tmp_path / "run")
    assert code == 2
    assert said in err
    assert err.startswith("locard: ")
    assert out == ""
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_all_problems_are_told_at_once(tiny, tmp_path, cli):
    config = tiny(
        references={"models": 7},
        attack=[{"name": "lyra"}, {"name": "lira", "varience": 1}],
        data={"source": "date.npz"},
        target={"estimator": "sklearn.tree.Tree"},
        released={"model": "m.skops", "members": "ids.txt"},
        measure={"fpr": [0.1], "confidence": 95},
        policy={"max_tpr": {"1.5": 0.1}},
        compute={"workers": 0},
    )
    words = ("even number", "lyra", "varience", "date.npz", "sklearn.tree", "m.skops", "ids.txt", "measure.fpr: no")
    words += ("measure.confidence", "rates between 0 and 1", "compute.workers")
    for command in (["audit", config, "--out", tmp_path / "run"], ["plan", config]):
        code, _, err = cli(*command)
        assert code == 2
        assert all(word in err for word in words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit"], "either CONFIG or --like DIR is needed"),
        (["audit", "x.toml"], "--out DIR is needed"),
        (["audit", "nowhere.toml", "--out", "run"], "nowhere.toml does not exist"),
        (["audit", "--like", "nowhere", "--out", "run"], "does not exist"),
        (["audit", "x.toml", "--out", "run", "--member", "M.npy"], "--member belong to an audit of saved outputs"),
        (["audit", "--observations", "L.npy", "--out", "run"], "--member, --labels needed as well"),
        (["show", "nowhere"], "has no 'result.json'"),
        (["report", "nowhere"], "Run the audit to its end"),
        (["compare", "nowhere", "elsewhere"], "A finished audit is needed"),
        (["plan", "nowhere.toml"], "does not exist"),
        (["auditt"], "No such command"),
        (["audit", "--wrong"], "No such option"),
    ],
)
def test_wrong_words_are_told_with_exit_2(cli, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_a_fit_that_fails_is_one_message_and_exit_2(tiny, npz, tmp_path, cli):
    npz.with_name("failing.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\n"
        "class Failing(DecisionTreeClassifier):\n"
        "    def fit(self, x, y):\n        raise ValueError('the matrix is singular')\n"
    )
    config = tiny(target={"estimator": "failing.Failing"})
    for words in (["audit", config, "--out", tmp_path / "run"], ["plan", config]):
        code, _, err = cli(*words)
        assert code == 2
        assert "raised ValueError: the matrix is singular (failing.py, line 4)" in err
        assert "Mend target.params, the estimator or the data" in err
        assert "Traceback" not in err


def test_a_fault_of_our_own_is_never_taken_for_a_policy_that_is_exceeded(tiny, tmp_path, cli, monkeypatch):
    """Python exits 1 on an error, and 1 means "policy exceeded": it must be 2, with the traceback to report."""
    import locard.pipeline

    monkeypatch.setattr(locard.pipeline, "assess", lambda *_: 1 / 0)
    code, _, err = cli("audit", tiny(), "--out", tmp_path / "run")
    assert code == 2
    assert "ZeroDivisionError" in err
    assert "please report" in err


# -- the settings in use -----------------------------------------------------------------------------------------------


def test_set_changes_any_field(tiny, tmp_path, cli):
    words = ["audit", tiny(), "--out", tmp_path / "run", "--json"]
    words += [
        "--set",
        "references.models=4",
        "--set",
        "attack.0.offline=true",
        "--set",
        "seed=9",
        "--set",
        'attack=["loss"]',
    ]
    code, out, _ = cli(*words)
    tree = json.loads(out)
    assert code == 0
    assert (tree["target"]["models"], tree["seed"]) == (4, 9)
    assert [a["name"] for a in tree["attacks"]] == ["loss"]


def test_like_repeats_an_audit_from_anywhere(tiny, npz, finished, tmp_path, cli, bytes_of, monkeypatch):
    """The settings name data beside them; the run folder is elsewhere, and so is the caller."""
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    assert cli("audit", "--like", finished, "--out", away / "again")[0] == 0
    assert bytes_of(away / "again") == bytes_of(finished)
    assert (away / "again" / "settings.toml").read_bytes() == (finished / "settings.toml").read_bytes()
    assert cli("audit", "--like", away / "again", "--out", away / "third", "--set", "seed=4")[0] == 0
    assert bytes_of(away / "third") != bytes_of(finished)


def test_like_of_a_run_whose_data_are_gone_says_so(npz, finished, tmp_path, cli):
    npz.unlink()
    code, _, err = cli("audit", "--like", finished, "--out", tmp_path / "again")
    assert code == 2
    assert "data.npz" in err


def test_like_of_an_audit_in_memory_says_that_its_records_are_not_there(records, quick, tmp_path, cli):
    from sklearn.tree import DecisionTreeClassifier

    import locard

    locard.audit(records(80), DecisionTreeClassifier(), models=4, attacks=["loss"], out=tmp_path / "run", **quick)
    code, _, err = cli("audit", "--like", tmp_path / "run", "--out", tmp_path / "again")
    assert code == 2
    assert "records in memory" in err


def test_an_estimator_in_a_module_beside_the_settings_is_found_by_every_worker(tiny, npz, tmp_path, cli, bytes_of):
    npz.with_name("near_by.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\ndef make(depth=2):\n"
        "    return DecisionTreeClassifier(max_depth=depth)\n"
    )
    config = tiny(target={"estimator": "near_by:make", "params": {"depth": 3}}, references={"models": 4})
    config.write_text(config.read_text().replace('name = "lira"', 'name = "rmia"'))
    assert cli("audit", config, "--out", tmp_path / "one")[0] == 0
    assert cli("audit", config, "--out", tmp_path / "two", "--set", "compute.workers=2")[0] == 0
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_a_released_model_from_the_command_line(tiny, npz, tmp_path, cli):
    io = pytest.importorskip("skops.io")
    from sklearn.tree import DecisionTreeClassifier

    with np.load(npz) as data:
        x, y, ids = data["features"], data["labels"], data["ids"]
    io.dump(DecisionTreeClassifier(max_depth=4).fit(x[:40], y[:40]), npz.with_name("model.skops"))
    npz.with_name("ids.txt").write_text("\n".join(ids[:40]) + "\n\n")
    config = tiny(released={"model": "model.skops", "members": "ids.txt"})
    code, out, err = cli("audit", config, "--out", tmp_path / "run", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["released"]["model"] == "model.skops"
    npz.with_name("ids.txt").write_text("\n".join(ids) + "\n")
    code, _, err = cli("audit", config, "--out", tmp_path / "run")
    assert code == 2
    assert "known non-members in the data are needed" in err
    npz.with_name("ids.txt").write_text("nobody\n")
    assert "ids of the data are needed, but 1 of 1 are unknown" in cli("audit", config, "--out", tmp_path / "run")[2]
    npz.with_name("ids.txt").write_text("")
    assert "ids.txt is empty" in cli("audit", config, "--out", tmp_path / "run")[2]


# -- saved outputs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    coins = rng.random((4, 50)) < 0.5
    member, labels = np.concatenate([coins, ~coins]), np.arange(50) % 2
    logits = rng.normal(size=(8, 50, 2))
    logits[:, np.arange(50), labels] += 2 * member
    arrays = {"observations": logits, "member": member, "labels": labels}
    arrays |= {"target": logits[0], "target-member": member[0]}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "ids.txt").write_text("\n".join(f"person {i}" for i in range(50)))
    return {name: tmp_path / f"{name}.npy" for name in arrays} | {"ids": tmp_path / "ids.txt"}


def words_for(files: dict[str, Path], *names: str) -> list[object]:
    return [w for n in names for w in (f"--{n}", files[n])]


def test_saved_outputs_from_the_command_line(files, tmp_path, cli):
    words = words_for(files, "observations", "member", "labels", "ids", "target", "target-member")
    code, out, err = cli("audit", *words, "--out", tmp_path / "run", "--set", 'attack=["rmia", "loss"]', "--json")
    assert (code, err) == (0, "")
    tree = json.loads(out)
    assert tree["released"]["model"] == "saved target"
    assert [a["name"] for a in tree["attacks"]] == ["rmia", "loss"]
    assert AuditResult.load(tmp_path / "run").records["id"].tolist()[:2] == ["person 0", "person 1"]
    assert (tmp_path / "run" / "report.html").exists()


def test_settings_for_saved_outputs_need_no_data_section(files, tmp_path, cli):
    config = tmp_path / "few.toml"
    config.write_text('name = "mine"\n[[attack]]\nname = "loss"\n[policy]\nmax_auc = 0.55\n')
    words = words_for(files, "observations", "member", "labels")
    code, out, _ = cli("audit", config, *words, "--out", tmp_path / "run", "--json")
    assert (code, json.loads(out)["name"]) == (1, "mine")


def test_saved_files_that_cannot_be_read_are_told_together(files, tmp_path, cli):
    files["member"].write_bytes(files["member"].read_bytes()[:90])
    files["labels"].unlink()
    np.savez(tmp_path / "observations.npz", a=np.zeros(3))
    files["observations"] = tmp_path / "observations.npz"
    words = words_for(files, "observations", "member", "labels")
    code, _, err = cli("audit", *words, "--out", tmp_path / "run")
    assert code == 2
    assert all(
        n in err for n in ("member.npy cannot be read", "labels.npy cannot be read", "observations.npz holds several")
    )
    np.save(files["member"], np.array([object()]), allow_pickle=True)
    assert "cannot be read" in cli("audit", *words, "--out", tmp_path / "run")[2]


def test_saved_outputs_write_over_nothing_and_say_so_first(files, finished, tmp_path, cli, bytes_of):
    """They once replaced files of the user's own, and mixed with those of an audit with models."""
    words, before = words_for(files, "observations", "member", "labels"), bytes_of(finished)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "records.parquet").write_text("mine")
    for out, said in {
        mine: "holds records.parquet, which no run has made",
        finished: "holds an audit with models",
        files["labels"]: "is a file or lies below one",
    }.items():
        code, _, err = cli("audit", *words, "--out", out, "--set", "attack=lirra")
        assert (code, said in err) == (2, True)
    assert (mine / "records.parquet").read_text() == "mine"
    assert bytes_of(finished) == before
    for _ in range(2):  # its own folder it writes again
        assert cli("audit", *words, "--out", tmp_path / "run", "--set", "attack=loss")[0] == 0


def test_a_target_without_its_members_is_refused(files, tmp_path, cli):
    words = words_for(files, "observations", "member", "labels", "target")
    code, _, err = cli("audit", *words, "--out", tmp_path / "run")
    assert code == 2
    assert "--target and --target-member go together" in err


# -- the other verbs ---------------------------------------------------------------------------------------------------


def test_show_and_report_read_the_folder_alone(finished, cli, npz):
    npz.unlink()
    code, out, _ = cli("show", finished)
    assert code == 0
    assert "tiny" in out
    assert json.loads(cli("show", finished, "--json")[1])["name"] == "tiny"
    first = AuditResult.load(finished).records["id"].iloc[0]
    assert first in cli("show", finished, "--record", first)[1]
    code, _, err = cli("show", finished, "--record", "nobody")
    assert code == 2
    assert "nobody" in err
    (finished / "report.html").unlink()
    assert cli("report", finished)[0] == 0
    assert (finished / "report.html").exists()
    assert cli("report", finished, "--redact")[0] == 0
    assert first not in (finished / "report-redacted.html").read_text()
    code, _, err = cli("report", finished, "--out", "/proc/none.html")
    assert code == 2
    assert "must be writable" in err


def test_compare_says_what_changed(tiny, finished, tmp_path, cli):
    other = tmp_path / "other"
    assert cli("audit", tiny(target={"params": {"max_depth": 1}}), "--out", other)[0] == 0
    code, out, _ = cli("compare", finished, other)
    assert code == 0
    assert out.strip()
    assert json.loads(cli("compare", finished, other, "--json")[1])


def test_plan_predicts_without_writing(tiny, npz, cli):
    before = sorted(npz.parent.iterdir())
    code, out, err = cli("plan", tiny())
    assert (code, err) == (0, "")
    assert "Models" in out
    told = json.loads(cli("plan", tiny(), "--json", "--set", "references.models=64")[1])
    assert told["models"] == 64
    assert sorted(set(npz.parent.iterdir()) - set(before)) == [npz.with_name("audit.toml")]


def test_the_version_and_help_are_there(cli):
    assert cli("--version")[1].startswith("locard ")
    help_text = cli("--help")[1]
    assert all(verb in help_text for verb in ("audit", "demo", "plan", "report", "show", "compare", "selftest", "data"))


def test_warnings_of_the_estimator_are_one_line_on_stderr(tiny, tmp_path, cli):
    config = tiny(
        target={"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1, "C": 1000.0}},
        references={"models": 4},
        attack=["loss"],
    )
    code, _, err = cli("audit", config, "--out", tmp_path / "run")
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("warning: 4 of 4 models said: ConvergenceWarning")


def test_the_command_runs_as_a_module_too(tmp_path):
    out = subprocess.run([sys.executable, "-m", "locard", "--version"], capture_output=True, text=True, check=True)
    assert out.stdout.startswith("locard ")
