"""Randomness by name: model 17 draws the same numbers on any machine, in any order, after any restart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seed:
    """A named place in the tree of random numbers that one integer opens.

    - the same path gives the same numbers, whatever was drawn before
    - different paths give unrelated numbers

    >>> a, b = Seed(7).child("reference", 17), Seed(7).child("reference", 17)
    >>> bool(a.generator().integers(100) == b.generator().integers(100)), a.integer() == Seed(8).integer()
    (True, False)
    """

    root: int
    path: tuple[str | int, ...] = ()

    def child(self, *names: str | int) -> Seed:
        """The seed one or more steps further down."""
        return Seed(self.root, (*self.path, *names))

    def _digest(self) -> bytes:
        text = "/".join([str(int(self.root)), *map(_step, self.path)])
        return hashlib.sha256(text.encode()).digest()

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator for this path."""
        return np.random.Generator(np.random.PCG64(int.from_bytes(self._digest()[:16], "little")))

    def integer(self) -> int:
        """An integer in [0, 2**31) for libraries that want one (``random_state=``)."""
        return int.from_bytes(self._digest()[16:20], "little") % 2**31


def _step(name: str | int) -> str:
    """One step as text; a slash inside a name is written so that it cannot pass for the end of a step."""
    if isinstance(name, str):
        return "str:" + name.replace("\\", "\\\\").replace("/", "\\/")
    return f"int:{int(name)}"
