"""The architecture as a table: who may import whom (DESIGN: one direction), and habits that no linter checks.

Imports inside functions count, and so do imports of imports: the table is checked for direct imports, and the ban on
model and cluster libraries for everything that a module pulls in.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "locard"
EVERYONE = {
    "types",
    "result",
    "errors",
    "check",
    "fields",
    "seeds",
    "settings",
    "settings_messages",
    "settings_text",
    "settings_places",
    "settings_screen",
    "settings_distil",
    "settings_one_run",
    "settings_section",
    "settings_attacked",
    "settings_rank",
    "files",
    "stats",
    "__init__",
}
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "errors": set(),
    "seeds": set(),
    "check": {"errors"},
    "fields": {"errors", "check"},
    "files": {"errors"},
    "settings_messages": set(),
    "settings_text": {"errors"},
    "settings_places": set(),
    "settings_screen": set(),
    "settings_distil": {"settings_section"},
    "settings_one_run": {"settings_section"},
    "settings_section": {"settings_messages"},
    "settings_attacked": {"settings_section"},
    "settings_rank": {"settings_section"},
    "settings": {
        *("check", "errors", "settings_attacked", "settings_messages", "settings_places", "settings_rank"),
        *("settings_distil", "settings_one_run", "settings_screen", "settings_section", "settings_text"),
    },
    "stats": {"types", "errors", "check", "seeds"},
    "result": {"types", "errors", "files", "stats", "report"},  # report: the one lazy import, AuditResult.report()
    "data": EVERYONE,
    "plan": EVERYONE | {"data"},
    "train": EVERYONE | {"data", "plan"},
    "run": EVERYONE | {"data", "plan", "train"},
    "observe": EVERYONE | {"data", "train"},
    "screen": EVERYONE | {"data", "observe"},
    "attacks": EVERYONE | {"data", "observe", "screen", "train"},
    "defences": EVERYONE | {"data", "train", "observe"},
    "budget": EVERYONE | {"data", "plan", "train", "run"},
    "assess": EVERYONE | {"data", "plan", "train", "observe", "screen", "attacks", "rank_result"},
    "report": EVERYONE | {"attack_result", "rank_result"},
    "design": EVERYONE | {"data", "plan", "train", "observe", "trained_elsewhere"},
    "trained_elsewhere": EVERYONE | {"data", "plan", "train", "observe"},
    "prepare": EVERYONE
    | {"data", "plan", "train", "observe", "attacks", "assess", "screen", "design", "trained_elsewhere"},
    "distilling": EVERYONE | {"data", "plan", "train", "run", "observe", "prepare"},
    "observed": EVERYONE | {"train", "run", "observe", "assess", "prepare"},
    "pilot": EVERYONE | {"plan", "run", "assess", "prepare", "observed", "elsewhere", "distilling"},
    "until_settled": EVERYONE | {"plan", "run", "train", "assess", "prepare"},
    "stopped": EVERYONE | {"plan", "assess", "prepare"},
    "elsewhere": EVERYONE | {"data", "train", "assess", "prepare"},
    "attack_result": {"files", "result"},
    "attack_lists": {"types", "stats"},
    "rank_result": {"result"},
    "prepare_attack": EVERYONE
    | {"data", "plan", "train", "observe", "attacks", "assess", "prepare", "trained_elsewhere"},
    "attack_report": EVERYONE
    | {"attack_lists", "attack_result", "observe", "attacks", "assess", "prepare", "prepare_attack", "report"},
    "outsider": EVERYONE
    | {
        "attack_lists",
        "attack_result",
        "attack_report",
        "prepare_attack",
        "data",
        "train",
        "run",
        "observe",
        "attacks",
        "assess",
    }
    | {"prepare", "report"},
    "screening": EVERYONE | {"run", "screen", "assess", "prepare"},
    "pipeline": EVERYONE
    | {
        "until_settled",
        "observed",
        "data",
        "plan",
        "train",
        "run",
        "observe",
        "screen",
        "attacks",
        "assess",
        "prepare",
        "elsewhere",
        "stopped",
        "distilling",
        "trained_elsewhere",
        "defences",
        "budget",
        "report",
    },
    "ranking": EVERYONE
    | {"elsewhere", "pipeline", "prepare", "rank_result", "assess", "attacks", "data", "plan", "run", "train"}
    | {"report"},
    "guard": EVERYONE
    | {"pipeline", "prepare", "defences", "report", "data", "observe", "attacks", "run", "budget", "assess"},
    "cli": EVERYONE
    | {
        "pilot",
        "pipeline",
        "outsider",
        "prepare_attack",
        "ranking",
        "attack_result",
        "prepare",
        "screening",
        "defences",
        "report",
        "data",
        "budget",
        "run",
        "assess",
    },
    "__main__": {"cli"},  # python -m locard
    "__init__": {"types", "result", "stats", "data", "observe", "attacks", "train", "pipeline", "ranking"},
}
CORE = ("data", "plan", "observe", "screen", "attacks", "stats", "report", "assess", "result", "settings", "types")
HEAVY = {"torch", "ray", "tensorflow", "jax"}
ONLY_IN = {"ray": "run/ray_backend.py", "fsspec": "train/object_store.py"}  # and there inside functions
GLOBAL_RANDOM = {"seed", "rand", "randn", "randint", "random", "normal", "choice", "shuffle", "permutation", "uniform"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
MAY_UNPICKLE = {
    "observe/models.py": "joblib.load of a released model, only with trust_pickle = true",
    "run/backend.py": "what its own workers answered",
    "run/ray_backend.py": "what the run's own process and its workers put into the cluster for each other",
    "run/sharing.py": "the work that the parent sent to its workers",
    "run/worker.py": "the chunks that the parent sent, and whether an exception survives being sent back",
    "data/pickled_table.py": "opcodes of one archive of fixed sha256, from a list of allowed ones",
}


@cache
def files() -> tuple[Path, ...]:
    return tuple(sorted(SOURCE.rglob("*.py")))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def part_of(path: Path) -> str:
    """The first step below ``locard``: a folder, or a module of its own."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def typing_only(tree: ast.Module) -> set[int]:
    """Lines under ``if TYPE_CHECKING``: nothing is imported there when the program runs."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def imports(path: Path, *, typing: bool = True) -> list[tuple[int, str]]:
    """(line, dotted name) of everything imported, with the name itself: ``from a import b`` is ``a.b``."""
    tree = tree_of(path)
    left_out = set() if typing else typing_only(tree)
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if getattr(node, "lineno", 0) in left_out:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{a.name}") for a in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            text = node.args[0]
            if isinstance(text, ast.Constant):
                found.append((node.lineno, str(text.value)))
    return found


def test_every_part_has_its_line_in_the_table():
    assert {part_of(p) for p in files()} <= set(ALLOWED)


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_imports_go_one_way(path):
    part = part_of(path)
    wrong = []
    for line, name in imports(path):
        if not name.startswith("locard."):
            continue
        other = name.split(".")[1]
        other = "__init__" if other == "__version__" else other
        if other != part and other not in ALLOWED[part]:
            wrong.append(f"{name_of(path)}:{line} imports {name}, but {part} may import {sorted(ALLOWED[part])}")
    assert not wrong


def test_nobody_imports_the_command_line():
    others = [p for p in files() if part_of(p) not in ("cli", "__main__")]
    assert not [(name_of(p), n) for p in others for _, n in imports(p) if n.startswith("locard.cli")]


def test_the_table_has_no_circle():
    """Following the table from any part never leads back to it (the one lazy import of report aside)."""

    def reached(part: str, seen: frozenset[str]) -> set[str]:
        out: set[str] = set()
        for other in ALLOWED[part] - {"__init__"} - ({"report"} if part == "result" else set()):
            assert other not in seen, f"{other} imports itself through {part}"
            out |= {other} | reached(other, seen | {other})
        return out

    for part in set(ALLOWED) - {"__init__", "__main__", "cli", "guard", "pipeline"}:
        reached(part, frozenset({part}))


@pytest.mark.parametrize("path", [p for p in files() if part_of(p) in CORE], ids=name_of)
def test_the_core_names_neither_torch_nor_ray(path):
    assert not [n for _, n in imports(path) if n.split(".")[0] in HEAVY]


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_clusters_and_object_stores_are_reached_from_one_file_each(path):
    found = {n.split(".")[0] for _, n in imports(path)} & set(ONLY_IN)
    assert all(ONLY_IN[library] == name_of(path) for library in found)
    at_the_top = [n for n in tree_of(path).body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [n for n in at_the_top if any(library in ast.unparse(n).split() for library in ONLY_IN)]


def test_the_files_that_reach_them_still_do():
    reached = {(n.split(".")[0], name_of(p)) for p in files() for _, n in imports(p)}
    assert set(ONLY_IN.items()) <= reached


def test_only_the_type_annotations_of_the_core_reach_what_they_may_not_import():
    """Transitively, as Python runs it: from each core part, no chain of imports leads to torch, ray or the CLI."""
    modules = {f"locard.{name_of(p)[:-3].replace('/', '.').removesuffix('.__init__')}".rstrip("."): p for p in files()}

    def module_named(name: str) -> str | None:
        while name:
            if name in modules:
                return name
            name = name.rpartition(".")[0]
        return None

    @cache
    def pulled_in(module: str) -> frozenset[str]:
        out, waiting = set(), [module]
        while waiting:
            current = waiting.pop()
            for _, name in imports(modules[current], typing=False):
                found = module_named(name) if name.startswith("locard") else name.split(".")[0]
                if found and found not in out:
                    out.add(found)
                    if found in modules:
                        waiting.append(found)
        return frozenset(out)

    for module, path in modules.items():
        if part_of(path) in CORE:
            assert not [n for n in pulled_in(module) if n in HEAVY or n.startswith("locard.cli")], module


# -- habits ------------------------------------------------------------------------------------------------------------


def calls(tree: ast.AST) -> list[ast.Call]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call)]


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_no_random_number_without_a_seed(path):
    wrong = []
    for call in calls(tree_of(path)):
        text = ast.unparse(call.func)
        if text.endswith("default_rng") and not call.args and not call.keywords:
            wrong.append(f"{name_of(path)}:{call.lineno} default_rng() without a seed")
        if re.fullmatch(r"(np|numpy)\.random\.\w+", text) and text.rsplit(".", 1)[1] in GLOBAL_RANDOM:
            wrong.append(f"{name_of(path)}:{call.lineno} the global generator: {text}")
        if re.fullmatch(r"random\.\w+", text) and "random" in {n for _, n in imports(path)}:
            wrong.append(f"{name_of(path)}:{call.lineno} Python's global generator: {text}")
    assert not wrong


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_nothing_is_unpickled_but_where_the_user_says_so(path):
    if name_of(path) in MAY_UNPICKLE:
        return
    assert not [n for _, n in imports(path) if n.split(".")[0] in UNPICKLERS]
    for call in calls(tree_of(path)):
        text = ast.unparse(call.func)
        assert text not in ("joblib.load", "pd.read_pickle", "pandas.read_pickle"), f"{name_of(path)}:{call.lineno}"
        if text.endswith("np.load"):
            told = {k.arg: ast.unparse(k.value) for k in call.keywords}
            assert told.get("allow_pickle") == "False", f"{name_of(path)}:{call.lineno} np.load says allow_pickle=False"


def test_the_places_that_may_unpickle_still_exist():
    assert {name_of(p) for p in files()} >= set(MAY_UNPICKLE)


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= 400 or "longer than 400 lines" in text.split("\n", 1)[0], f"{name_of(path)}: {lines} lines"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node):
                told = node.body[0]
                length -= (told.end_lineno or told.lineno) - told.lineno + 1
            assert length <= 60, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines besides its docstring"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_no_file_is_named_for_nothing(path):
    assert path.stem not in ("utils", "util", "helpers", "helper", "base", "common", "misc")


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_no_error_is_passed_over(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            kind = "" if node.type is None else ast.unparse(node.type)
            assert kind, f"{name_of(path)}:{node.lineno} a bare except"
            silent = all(isinstance(n, ast.Pass) for n in node.body)
            assert not (silent and kind in ("Exception", "BaseException")), f"{name_of(path)}:{node.lineno}"


# -- what an import costs ----------------------------------------------------------------------------------------------


def pulled_in_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    return {name.split(".")[0] for name in out.stdout.split()}


def test_import_locard_pulls_in_no_model_or_plotting_library():
    assert not pulled_in_by("import locard") & {"sklearn", "matplotlib", "pandas", "torch", "ray", "scipy", "joblib"}


def test_scoring_saved_outputs_needs_no_model_library():
    code = (
        "import numpy as np, locard\n"
        "rng = np.random.default_rng(0)\n"
        "mask = np.array([[1, 0, 1, 0], [0, 1, 0, 1]] * 2, dtype=bool)\n"
        "refs = locard.References.from_arrays(logits=rng.normal(size=(4, 4, 2)), member=mask)\n"
        "target = locard.Target.from_arrays(logits=rng.normal(size=(4, 2)))\n"
        "people = locard.Records(ids=range(4), features=np.zeros((4, 1)), labels=[0, 1, 0, 1])\n"
        "assert locard.attack('lira').score(target, people, refs).shape == (4,)"
    )
    assert not pulled_in_by(code) & {"sklearn", "matplotlib", "torch", "ray", "joblib"}
