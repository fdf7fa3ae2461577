from __future__ import annotations

import hashlib
import sys
import textwrap

import pytest

from locard.data.functions import from_function, module_source_hash
from locard.errors import DataError


@pytest.fixture(autouse=True)
def clean():
    """No module or path of these tests stays behind."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - modules:
        if name.startswith("users_"):
            del sys.modules[name]


def module(folder, code: str, name: str = "users_data"):
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(code))
    return path


def problem(reference, folder, **given) -> str:
    with pytest.raises(DataError) as caught:
        from_function(reference, folder, **given)
    return str(caught.value)


RETURNS = {
    "Records(ids=['b', 'a'], features=[[0.0], [1.0]], labels=[0, 1])": ["b", "a"],
    "([[0.0], [1.0]], ['no', 'yes'])": [0, 1],
    "{'features': [[0.0], [1.0]], 'labels': [0, 1], 'ids': ['b', 'a'], 'unit': [1, 1]}": ["b", "a"],
    "{'features': [[0.0], [1.0]], 'labels': [0, 1]}": [0, 1],
    "{'frame': pd.DataFrame({'who': ['b', 'a'], 'x': [1, 2], 'y': [0, 1]}), 'label': 'y', 'id': 'who'}": ["b", "a"],
}


@pytest.mark.parametrize("returned", RETURNS)
def test_what_a_function_may_return(tmp_path, returned):
    module(
        tmp_path, f"import pandas as pd\nfrom locard.data.records import Records\ndef load():\n    return {returned}\n"
    )
    r = from_function("users_data:load", tmp_path)
    assert r.ids.tolist() == RETURNS[returned]
    assert r.features.shape == (2, 1)


def test_a_data_frame_takes_the_settings_of_a_table(tmp_path):
    module(
        tmp_path,
        """
        import pandas as pd
        def load():
            return pd.DataFrame({"who": ["b", "a"], "x": [1, 2], "y": [0, 1]})
        """,
    )
    r = from_function("users_data:load", tmp_path, table={"label": "y", "id": "who", "groups": [], "unit": None})
    assert r.ids.tolist() == ["b", "a"]
    assert "data.label: the label column of the table from 'users_data:load' is needed" in problem(
        "users_data:load", tmp_path
    )


def test_settings_of_tables_do_not_apply_to_arrays(tmp_path):
    module(tmp_path, "def load():\n    return [[0.0], [1.0]], [0, 1]\n")
    said = problem("users_data:load", tmp_path, table={"label": "y", "id": "who"})
    assert said.splitlines()[0].startswith("data.label: it applies to tables only")
    assert said.splitlines()[1].startswith(
        "data.id: it applies to tables only, and 'users_data:load' returned tuple of 2"
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def lod(): pass", "users_data has no 'load'. Nearest: lod."),
        ("load = 3", "users_data:load must be a function or class, found a int"),
        ("def load(): return 3", "found int. Return one of these."),
        ("def load(): return 1, 2, 3", "found tuple of 3"),
        ("def load(): return {'features': [[1]], 'lables': [1]}", "the unknown key 'lables'. Nearest: labels."),
        ("def load(): return {'features': [[1]], 'lables': [1]}", "a mapping without 'labels', which is needed"),
        ("def load(): return {'frame': None}", "a mapping without 'label', which is needed"),
        ("def load(): return [[1.0]], [1]", "at least two classes are needed"),
        ("def load():\n    x = 1\n    return x / 0", "it raised ZeroDivisionError: division by zero"),
        ("def load():\n    x = 1\n    return x / 0", "users_data.py, line 3). Mend the function."),
        ("import no_such_thing", "it raised ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def load(:", "SyntaxError"),
        ("def load(need): pass", "it raised TypeError"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path, code, message):
    module(tmp_path, code)
    assert message in problem("users_data:load", tmp_path)


def test_modules_that_are_not_there_and_words_that_are_no_reference(tmp_path):
    module(tmp_path, "", "users_data")
    assert "found none in" in problem("users_dat:load", tmp_path)
    assert "Nearest: users_data." in problem("users_dat:load", tmp_path)
    assert "'module:function' is needed, found 'a b:c'" in problem("a b:c", tmp_path)
    assert "'module:function' is needed" in problem("users_data:", tmp_path)


def test_a_name_that_is_taken_is_refused(tmp_path):
    module(tmp_path, "def load(): return [[0.0], [1.0]], [0, 1]", "json")
    assert "the name 'json' belongs to another module. Rename the file." in problem("json:load", tmp_path)


def test_a_changed_module_is_read_again_and_folders_do_not_mix(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    module(one, "def load(): return [[0.0], [1.0]], ['a', 'b']")
    module(two, "def load(): return [[0.0], [1.0]], ['other', 'folder']")
    assert from_function("users_data:load", one).classes.tolist() == ["a", "b"]
    assert from_function("users_data:load", two).classes.tolist() == ["folder", "other"]
    module(one, "def load(): return [[0.0], [1.0]], ['changed', 'file']")
    assert from_function("users_data:load", one).classes.tolist() == ["changed", "file"]


def test_modules_in_packages_and_their_neighbours_are_found(tmp_path):
    module(tmp_path, "VALUE = [0, 1]", "users_constants")
    module(tmp_path, "", "users_package.__init__")
    module(
        tmp_path,
        "def load():\n    from users_constants import VALUE\n    return [[0.0], [1.0]], VALUE\n",
        "users_package.loading",
    )
    assert len(from_function("users_package.loading:load", tmp_path)) == 2


def test_the_hash_is_of_the_whole_file_and_runs_nothing(tmp_path):
    path = module(tmp_path, "raise SystemExit('ran')\ndef load(): ...\n")
    first = module_source_hash("users_data:load", tmp_path)
    assert first == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text() + "\ndef helper(): ...\n")
    assert module_source_hash("users_data:load", tmp_path) != first
    assert len(module_source_hash("json:loads", tmp_path)) == 64  # an installed module
    with pytest.raises(DataError, match="found none in"):
        module_source_hash("users_nothing:load", tmp_path)
