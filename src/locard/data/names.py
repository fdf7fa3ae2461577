"""The nearest known name, for messages about unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """A half sentence that names what ``word`` may have meant: the nearest names, else the first few of them.

    >>> nearest("incme", ["age", "income", "sex"])
    'Nearest: income.'
    >>> nearest("zzz", ["age", "income"])
    'There are: age, income.'
    """
    names = [str(k) for k in known]
    lowered: dict[str, str] = {}
    for name in names:
        lowered.setdefault(name.lower(), name)
    close = difflib.get_close_matches(word.lower(), lowered, n=3, cutoff=0.6)
    if close:
        return f"Nearest: {', '.join(lowered[c] for c in close)}."
    if not names:
        return "There are none."
    shown = ", ".join(names[:12])
    return f"There are: {shown}{f' and {len(names) - 12} more' if len(names) > 12 else ''}."
