"""A script, not a module: downloads one source archive with pip and stops before any code of it can run.

pip builds the metadata of a source archive as soon as it has it, and that runs the archive's ``setup.py``. There is no
switch against this, so this script runs pip under an audit hook: once pip has opened the archive, every process that it
wants to start (only a build needs one) is refused, and the archive is copied to where it was asked for. pip's own
settings, proxies and certificates hold as always.

    python -P download_unbuilt.py PACKAGE==VERSION FILE FOLDER
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from typing import Any


class _NotBuilt(Exception):
    """Stops pip where it would begin to build."""


def download(requirement: str, file: str, folder: str) -> None:
    """Put ``file`` into ``folder`` with ``pip download``, unbuilt."""
    opened: list[str] = []

    def refuse_builds(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and os.path.basename(arguments[0]) == file:
            opened.append(arguments[0])
        elif opened and event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"):
            target = os.path.join(folder, file)
            if not os.path.exists(target):
                shutil.copyfile(opened[-1], target)
            raise _NotBuilt(f"{file} is wanted as it is")

    sys.addaudithook(refuse_builds)
    sys.argv = ["pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--no-binary"]
    sys.argv += [":all:", "--dest", os.path.join(folder, "built"), requirement]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    download(*sys.argv[1:4])
