"""The documents are held to the code: links, commands, settings, tables and examples in them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import locard
from locard.assess.choose import build_attacks
from locard.attacks import ATTACKS, _made_by
from locard.cli.main import EXIT, app
from locard.settings import Settings, make_settings
from locard.settings_text import apply_overrides, to_toml

TOP = Path(__file__).parent.parent
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run -->\n"  # before a python block that only shows a form
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def blocks(path: Path, kind: str) -> list[str]:
    """Fenced blocks of one language, without those marked as not run."""
    text = path.read_text(encoding="utf-8")
    return [m[2] for m in FENCE.finditer(text) if m[1] == kind and not text[: m.start()].endswith(NOT_RUN)]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a line that starts with ``heading``, without header and rule."""
    after = text[text.index(f"\n{heading}") :]
    table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert table is not None, heading
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[0].splitlines()[2:]]


# links ---------------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?:|mailto:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        there = target.exists() and target.is_relative_to(TOP)
        if there and anchor:
            there = anchor in map(slug, re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE))
        broken += [] if there else [link]
    assert not broken, f"{name(page)}: {broken}"


def test_every_page_of_the_guide_is_in_its_index() -> None:
    guide = TOP / "docs/guide"
    listed = set(LINK.findall((guide / "index.md").read_text(encoding="utf-8")))
    assert {p.name for p in guide.glob("*.md")} - {"index.md"} <= listed


def test_pictures_are_small() -> None:
    assert all(p.stat().st_size <= 200_000 for p in (TOP / "docs").rglob("*.png"))
    assert (TOP / "docs/images/report.png").is_file()


# python --------------------------------------------------------------------------------------------------------------

WITH_PYTHON = [p for p in PAGES if blocks(p, "python") and p.name != "CONTRIBUTING.md"]  # that one has its own test


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """All blocks of a page are one script, so that a later one may use the names of an earlier one."""
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    words = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{name(page)}\n{done.stdout}\n{done.stderr}"


def test_the_readme_example_is_short() -> None:
    (example,) = blocks(TOP / "README.md", "python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 15


def test_public_names_are_documented() -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in (TOP / "docs/guide").glob("*.md"))
    missing = [n for n in locard.__all__ if f"locard.{n}" not in text and not n.startswith("__")]
    assert not missing


# commands ------------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """Every ``locard ...`` line of a code block, and every ``locard verb ...`` in running text."""
    for line in text.splitlines():
        shown = re.match(r"(?: {4}|\$ |#   )?(?:- run: )?(locard [a-z].*)$", line)
        if shown and "`" not in line:
            yield shlex.split(shown[1].split(" || ")[0].split(" > ")[0], comments=True)[1:]
    for said in re.findall(r"`(locard [^`]+)`", FENCE.sub("", text)):
        yield shlex.split(said.replace("\n", " "))[1:]


def parse(words: list[str]) -> None:
    """Let the real command line parse these words; nothing is run."""
    import typer

    command: Any = typer.main.get_command(app)
    path = []
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    if path and not words:
        return  # the verb by itself, in running text
    words = [w for w in words if w != "$@"]
    command.make_context(" ".join(path), list(words))


def overrides(words: list[str]) -> list[str]:
    return [words[i + 1] for i, w in enumerate(words[:-1]) if w == "--set"]


TEXTS = [*PAGES, *(p for p in (TOP / "examples").rglob("*.*") if p.suffix in (".toml", ".sh", ".py"))]


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_commands_are_those_of_the_program(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        try:
            parse(words)
            tree = {"data": {"source": "digits"}, "attack": [{"name": "lira"}]}
            make_settings(apply_overrides(tree, overrides(words)))
        except Exception as wrong:  # noqa: BLE001  (whatever it is, the page and the command must be named)
            pytest.fail(f"{name(page)}: locard {shlex.join(words)}: {wrong!r}")


def test_the_commands_of_the_documents_are_found() -> None:
    """The search above must not come back empty: some commands that are there are seen, and a wrong one is refused."""
    found = [w for p in TEXTS for w in commands(p.read_text(encoding="utf-8"))]
    assert ["plan", "my.toml"] in found
    assert ["show", "runs/my", "--record", "V01453"] in found
    with pytest.raises(Exception, match=r"(?i)no such option"):
        parse(["audit", "my.toml", "--output", "x"])
    with pytest.raises(AssertionError, match="no command"):
        parse(["verify"])


def test_every_command_and_option_is_documented() -> None:
    import typer

    text = (TOP / "docs/guide/audit.md").read_text(encoding="utf-8")
    everything = "".join(p.read_text(encoding="utf-8") for p in (TOP / "docs/guide").glob("*.md"))
    root: Any = typer.main.get_command(app)
    for verb, command in root.commands.items():
        assert f"`locard {verb}" in text, verb
        for inner in getattr(command, "commands", {}):
            assert f"locard {verb} {inner}" in text, inner
        for option in (o for p in command.params for o in p.opts if o.startswith("--") and o != "--help"):
            assert option in everything, f"locard {verb} {option}"


def test_exit_codes_are_those_of_the_program() -> None:
    stated = {int(code): meaning for code, meaning in rows(_guide("audit"), "`--json` on a command")}
    assert set(stated) == {*EXIT.values(), 2, 130}
    outcomes = {outcome: int(code) for outcome, _, code in rows(_guide("policy-in-ci"), "reads: while")}
    assert outcomes == {k: v for k, v in EXIT.items() if k != "none"}


def test_the_gate_in_the_guide_is_the_script() -> None:
    assert blocks(TOP / "docs/guide/policy-in-ci.md", "sh") == [(TOP / "examples/ci-gate.sh").read_text()]


# settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "toml")], ids=name)
def test_toml_blocks_are_valid_settings(page: Path) -> None:
    for block in blocks(page, "toml"):
        tree = tomllib.loads(block)
        settings = make_settings({"data": {"source": "digits"}} | tree)
        assert build_attacks(list(settings.attack)), block


def _guide(page: str) -> str:
    return (TOP / f"docs/guide/{page}.md").read_text(encoding="utf-8")


def _sections() -> dict[str, type[Any]]:
    """Heading in the guide -> the settings model behind it."""
    found: dict[str, type[Any]] = {"## The settings": Settings}
    for key, field in Settings.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in (k for k in kinds if hasattr(k, "model_fields")):
            found[f"### [[{key}]]" if key == "attack" else f"### [{key}]"] = kind
    return found


def _default(kind: type[Any], key: str) -> str:
    """The default as the guide writes it: TOML, ``none``, ``needed``, or a computed one in words."""
    field = kind.model_fields[key]
    if field.is_required():
        return "needed"
    if (kind.__name__, key) == ("ComputeSettings", "workers"):
        return "all cores"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if value == {}:
        return "`{}`"
    return f"`{to_toml({'v': list(value) if isinstance(value, tuple) else value}).removeprefix('v = ').strip()}`"


def test_every_setting_is_documented_with_its_default() -> None:
    text = _guide("audit")
    for heading, kind in _sections().items():
        stated = {key.strip("`"): default for key, default, _ in rows(text, heading)}
        plain = [  # a section of the settings has a heading of its own
            k
            for k in kind.model_fields
            if kind is not Settings or (f"### [{k}]" not in text and f"### [[{k}]]" not in text)
        ]
        assert stated == {k: _default(kind, k) for k in plain}, heading
    standard = Settings.model_fields["attack"].get_default(call_default_factory=True)
    names = ", ".join(f'"{a.name}"' for a in standard)
    assert f"`attack = [{names}]`" in text


def test_plans_are_documented() -> None:
    from typing import get_args

    from locard.settings import ReferenceSettings

    plans = get_args(ReferenceSettings.model_fields["plan"].annotation)
    assert [r[0] for r in rows(_guide("audit"), "| plan | each model")] == [f"`{p}`" for p in plans]


def test_columns_of_the_records_are_documented() -> None:
    rng = np.random.default_rng(0)
    coins = rng.random((4, 60)) < 0.5
    result = locard.audit_saved(
        logits=rng.normal(size=(8, 60, 2)),
        member=np.concatenate([coins, ~coins]),
        labels=rng.integers(2, size=60),
        settings={"attack": ["loss"]},
    )
    text = _guide("audit")
    stated = text[text.index("`records.parquet`: `id`") :]
    missing = [c for c in result.records.columns if f"`{c}`" not in stated and not c.startswith("score_")]
    assert not missing


# attacks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["README.md", "docs/guide/attacks.md"])
def test_the_table_of_attacks_is_that_of_the_program(page: str) -> None:
    stated = rows((TOP / page).read_text(encoding="utf-8"), "| attack | sees")
    known = locard.list_attacks().to_dict("records")
    assert [r[0] for r in stated] == [f"`{a['name']}`" for a in known]
    for row, attack in zip(stated, known, strict=True):
        assert row[1:3] == [attack["access"], attack["references"]], row
        assert attack["source"].startswith(row[3]), row
        assert "arXiv" in row[3], row


def test_settings_of_attacks_are_documented_with_their_defaults() -> None:
    text = _guide("attacks")
    for attack in ATTACKS:
        given = {k: p.default for k, p in inspect.signature(_made_by(attack)).parameters.items()}
        known = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
        paragraph = text[text.index(f"**{attack}**") :]
        following = [paragraph.index(f"**{a}**") for a in ATTACKS if a != attack and f"**{a}**" in paragraph]
        own = paragraph[: min(following, default=len(paragraph))]
        stated = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", own, re.MULTILINE)
        assert {k: tomllib.loads(f"v = {v}")["v"] for k, v in stated} == known, attack


def test_every_departure_is_listed() -> None:
    listed = {r[0].strip("`") for r in rows((TOP / "docs/design/departures.md").read_text(), "| attack | the paper")}
    departing = {a for a in ATTACKS if "Departs:" in (inspect.getdoc(_made_by(a)) or "")}
    assert listed == departing


# screens --------------------------------------------------------------------------------------------------------------


def test_the_table_of_screens_is_that_of_the_program() -> None:
    from locard.screen import list_screens

    stated = rows(_guide("screening"), "| screen | reads of the references")
    known = list_screens()[["name", "reads"]].to_numpy().tolist()
    assert [[r[0].strip("`"), r[1]] for r in stated] == known


def test_settings_of_screens_are_documented_with_their_defaults() -> None:
    from locard.screen import SCREENS, screen

    text = _guide("screening")
    for name_ in SCREENS:
        known = {f.name: getattr(screen(name_), f.name) for f in dataclasses.fields(screen(name_))}  # type: ignore[arg-type]
        paragraph = text[text.index(f"**{name_}**") :]
        others = [paragraph.index(f"**{s}**") for s in SCREENS if s != name_ and f"**{s}**" in paragraph]
        stated = re.findall(r"^\| `(\w+)` \| (none|`[^`]+`) \|", paragraph[: min(others, default=None)], re.MULTILINE)
        values = {k: None if v == "none" else tomllib.loads(f"v = {v.strip('`')}")["v"] for k, v in stated}
        assert values == known, name_


def test_the_columns_of_a_screening_are_documented() -> None:
    from locard.screen.screened import Screened

    assert Screened.to_frame.__doc__ is not None
    for column in ("id", "label", "value", "rank", "selected", "neighbours", "reasons"):
        assert f"`{column}`" in _guide("screening")


# design --------------------------------------------------------------------------------------------------------------


def test_every_dependency_has_its_line() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    text = (TOP / "docs/design/dependencies.md").read_text()

    def names(wanted: list[str]) -> set[str]:
        return {re.split(r"[<>=\[ ]", w)[0] for w in wanted} - {"locard"}

    assert {r[0] for r in rows(text, "| package | why")} == names(project["dependencies"])
    extras = project["optional-dependencies"]
    assert {r[0].strip("`") for r in rows(text, "| extra | brings")} == set(extras) - {"test"}
    tested = {n.strip() for r in rows(text, "| for tests alone") for n in r[0].split(",")}
    assert tested == names(extras["test"])


EVERYBODY = {"types", "errors", "check", "fields", "seeds", "settings", "settings_text", "settings_screen", "files"}
EVERYBODY |= {"result", "stats", "settings_attacked", "settings_one_run", "settings_section", "settings_rank"}
EVERYBODY |= {"settings_distil"}


def test_the_long_suite_is_listed() -> None:
    marked = []
    for path in sorted((TOP / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "pytest.mark.statistics" in map(ast.unparse, node.decorator_list):
                marked.append((f"`{path.relative_to(TOP / 'tests')}`", f"`{node.name}`"))
    page = (TOP / "docs" / "statistics-suite.md").read_text(encoding="utf-8")
    assert [(file, test) for file, test, _ in rows("\n" + page, "# The")] == marked


def test_the_layer_table_is_kept() -> None:
    text = (TOP / "docs/design/architecture.md").read_text()
    allowed = {r[0].strip("`"): set(re.findall(r"`(\w+)`", r[1].split(";")[0])) for r in rows(text, "| part | may")}
    for path in (TOP / "src/locard").rglob("*.py"):
        part = path.relative_to(TOP / "src/locard").parts[0].removesuffix(".py")
        if part not in allowed:
            continue
        for imported in _imports(path):
            assert imported in {part} | EVERYBODY | allowed[part], f"{name(path)} imports {imported}"


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] if node.module != "locard" else [f"locard.{a.name}" for a in node.names]
        yield from (m.split(".")[1] for m in modules if m.startswith("locard.") and m != "locard.__version__")


# words ---------------------------------------------------------------------------------------------------------------


def test_the_glossary_has_the_words_of_the_results() -> None:
    from locard.report.wording import GRADES, RESOLUTIONS

    text = (TOP / "docs/glossary.md").read_text()
    terms = {t.lower() for bold in re.findall(r"\*\*(.+?)\*\*", text) for t in bold.split(", ")}
    wanted = {*GRADES, *RESOLUTIONS, "access", "target", "reference model", "member", "record", "canary", "signal"}
    wanted |= {"score", "recipe", "plan", "population", "pool", "unit", "pair", "headline", "hit", "wins", "trials"}
    wanted |= {"p_flip", "p_hit", "q", "exposed", "inconclusive", "estimate", "control", "released model"}
    assert wanted <= terms, sorted(wanted - terms)
    order = [re.sub(r"[^a-z ]", "", p.split(":")[0].lower()) for p in text.split("\n\n")[2:]]
    assert order == sorted(order)


def test_the_numbers_of_the_balanced_mask_are_right() -> None:
    """docs/sharp-edges.md: LiRA on noise under a balanced mask without pairs; thinning mends it.

    The bound is 5 standard errors of an AUC over 20 x 1,000 records (.0041 each way): a right program fails with
    chance 6e-7. Planted and seen to fail: a ``thinned`` that gives back its own view (.42).
    """
    text = (TOP / "docs/sharp-edges.md").read_text()
    said = [float(v) for v in re.search(r"AUC is not \.5 but (\.\d+) / (\.\d+) / (\.\d+)", text).groups()]  # type: ignore[union-attr]
    for models, expected in zip((4, 8, 16), said, strict=True):
        kept, thinned = np.array([_balanced_noise(models, seed) for seed in range(20)]).mean(axis=0)
        assert abs(kept - expected) < 0.021 + 0.005  # the text is rounded
        assert abs(thinned - 0.5) < 0.021


def _balanced_noise(models: int, seed: int) -> tuple[float, float]:
    from locard.stats import auc

    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=1000)
    member = np.argsort(rng.random((models, 1000)), axis=0) < models // 2
    logits = rng.normal(size=(models, 1000, 3)) + rng.normal(size=(1000, 3))
    records = locard.Records(ids=range(1000), features=np.zeros((1000, 0)), labels=labels)
    references = locard.References.from_arrays(logits=logits[1:], member=member[1:])
    target = locard.Target.from_arrays(logits=logits[0])
    attack = locard.attack("lira")
    views = (references, references.thinned(np.random.default_rng(seed + 1000)))
    kept, thinned = (auc(attack.score(target, records, view), member[0]) for view in views)
    return float(kept), float(thinned)
