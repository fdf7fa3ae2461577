"""What the code behind a recipe is: own texts, wherever they are imported, and versions of what is installed.

Planted, each seen to fail: only names at the top of a module followed (as it was), only texts and no versions.
"""

from __future__ import annotations

import sys

import pytest

from locard.train import fingerprint
from locard.train.fingerprint import code_of
from locard.train.recipe import import_path


def lines(tmp_path, body: str, files: dict[str, str] | None = None) -> list[str]:
    """What is known of ``body``'s function ``make``; ``files`` are written beside it."""
    for name, text in {"fp_main.py": body, **(files or {})}.items():
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    return code_of(import_path("fp_main:make", "target.estimator", str(tmp_path)))


def modules(told: list[str]) -> set[str]:
    return {line.split()[0] for line in told}


@pytest.mark.parametrize(
    "body",
    [
        "import pandas as pd\ndef make(): ...\n",
        "from pandas import DataFrame\ndef make(): ...\n",
        "def make():\n    import pandas.api.types\n",
        "def make(): ...\nclass Later:\n    def late(self):\n        from pandas import api\n",
        "try:\n    import pandas\nexcept ImportError:\n    pandas = None\ndef make(): ...\n",
    ],
)
def test_the_versions_of_packages_that_a_users_module_imports_are_part_of_it(tmp_path, monkeypatch, body):
    told = lines(tmp_path, body)
    assert modules(told) == {"fp_main", "pandas"}
    monkeypatch.setattr(fingerprint, "_version", lambda package: f"{package} 99")
    changed = lines(tmp_path, body)
    assert [line for line in changed if line not in told] == ["pandas 99"]


@pytest.mark.parametrize("body", ["import os, re, numpy, sklearn.tree, locard\ndef make(): ...\n", "def make(): ...\n"])
def test_pythons_own_modules_and_those_of_every_key_are_not(tmp_path, body):
    assert modules(lines(tmp_path, body)) == {"fp_main"}


def test_own_modules_are_followed_wherever_they_are_imported_without_being_run(tmp_path):
    """Packages, relative imports, modules imported by name or as a name, circles, and one that cannot be parsed."""
    files = {
        "fp_pack/__init__.py": "from . import inner\n",
        "fp_pack/inner.py": "from .deep import thing\nfrom fp_broken import x\n",
        "fp_pack/deep.py": "import fp_main, fp_nest.leaf\nthing = 1\nraise SystemExit('it was run')\n",
        "fp_pack/unused.py": "x = 1\n",
        "fp_nest/__init__.py": "import pandas\n",
        "fp_nest/leaf.py": "x = 1\n",
        "fp_broken.py": "def (:\n",
        "fp_other.py": "x = 1\n",
    }
    body = "def make():\n    from fp_pack import inner\n    import fp_no_such_module\n"
    told = lines(tmp_path, body, files)
    assert modules(told) == {
        "fp_main",
        "fp_pack",
        "fp_pack.inner",
        "fp_pack.deep",
        "fp_nest",
        "fp_nest.leaf",
        "fp_broken",
        "pandas",
    }
    again = lines(tmp_path, body, files | {"fp_pack/deep.py": "import fp_main, fp_nest.leaf\nthing = 2\n"})
    assert {a.split()[0] for a, b in zip(told, again, strict=True) if a != b} == {"fp_pack.deep"}
    assert not {m for m in sys.modules if m.startswith("fp_pack")}


def test_code_without_a_file_names_the_versions_of_what_it_imports(monkeypatch):
    space: dict[str, object] = {"__name__": "nowhere"}
    exec("import pandas\ndef make():\n    return pandas\ndef late():\n    import pandas.api\n", space)
    for name in ("make", "late"):
        before = code_of(space[name])
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "_version", lambda package: f"{package} 99")
            assert code_of(space[name]) != before
        assert code_of(space[name]) == before


def test_a_folder_that_an_installer_filled_is_installed_whatever_its_name(tmp_path):
    """As with ``pip install --target``: the version is named, not the text of everything in it."""
    told = lines(tmp_path, "def make(): ...\n")
    (tmp_path / "other-1.0.dist-info").mkdir()
    fingerprint._installed.cache_clear()
    assert modules(told) == modules(lines(tmp_path, "def make(): ...\n")) == {"fp_main"}
    assert told != lines(tmp_path, "def make(): ...\n")
    fingerprint._installed.cache_clear()
