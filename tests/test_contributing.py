"""CONTRIBUTING.md, followed literally in a copy of the project: its files written, its line added, its commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)(?: (file|line)=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path):
    """The parts of the project that the guide touches."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=skip)
    shutil.copytree(ROOT / "tests" / "attacks", tmp_path / "tests" / "attacks", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run(command: list[str], project: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_adding_an_attack_as_the_guide_says(project):
    blocks = BLOCK.findall(GUIDE.read_text())
    assert [(language, kind) for language, kind, _, _ in blocks] == [
        ("python", "file"),
        ("python", "line"),
        ("python", "file"),
        ("sh", ""),
        ("python", ""),
    ]
    for language, kind, path, text in blocks:
        if kind == "file":
            assert not (project / path).exists()
            (project / path).write_text(text)
        elif kind == "line":
            table = project / path
            before, end, after = table.read_text().partition("\n}\n")  # the end of ATTACKS
            table.write_text(before + "\n" + text.rstrip("\n") + end + after)
        elif language == "sh":
            command = shlex.split(text)
            assert command[0] == "python"
            out = run([sys.executable, *command[1:]], project)
            assert int(re.search(r"(\d+) passed", out).group(1)) >= 20
        else:
            assert run([sys.executable, "-c", text], project).split() == ["WideMargin()", "OUT"]
    for path in (b[2] for b in blocks if b[1] == "file"):
        run([sys.executable, "-m", "ruff", "check", "--quiet", path], project)
        run([sys.executable, "-m", "ruff", "format", "--check", "--quiet", path], project)
