"""A finished screening in the terminal: a table of the records it selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS = 20  # of the table


def screen_text(tree: Mapping[str, Any]) -> str:
    """The tree of ``screen.json`` as lines: what was done, the most vulnerable records, and what may be done with them.

    >>> tree = {"screen": {"name": "random"}, "candidates": 9, "selected": 1, "settled": {}, "reference_records": 8,
    ...         "models": {"screening": [0, 1], "testing": [2, 3]},
    ...         "records": [{"rank": 1, "id": "a", "label": 0, "value": 0.5, "reason": "drawn at random"}]}
    >>> print(screen_text(tree), end="")
    random: 1 of 9 candidates selected, by 2 screening references and 8 reference records.
    <BLANKLINE>
    rank  id  label  value  why
       1  a   0        0.5  drawn at random
    <BLANKLINE>
    The target was not asked. Test with the other 2 references: those that screened know which records look exposed.
    """
    models, records = tree["models"], tree["records"]
    lines = [
        f"{tree['screen']['name']}: {tree['selected']:,} of {tree['candidates']:,} candidates selected, by "
        f"{len(models['screening'])} screening references and {tree['reference_records']:,} reference records."
    ]
    shown = records[:ROWS]
    if shown:
        head = ("rank", "id", "label", "value", "why")
        cells = [(str(r["rank"]), str(r["id"]), str(r["label"]), f"{r['value']:.4g}", str(r["reason"])) for r in shown]
        wide = [max(len(row[i]) for row in (head, *cells)) for i in range(4)]
        lines += ["", _line(head, wide), *(_line(row, wide) for row in cells)]
        if tree["selected"] > len(shown):
            lines.append(f"... and {tree['selected'] - len(shown):,} more in screen.parquet")
    said = ", nor any reference."
    if models["screening"]:
        others = f"Test with the other {len(models['testing'])} references"
        said = f". {others}: those that screened know which records look exposed."
    lines += ["", f"The target was not asked{said}"]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...], wide: list[int]) -> str:
    rank, name, label, value, why = cells
    return f"{rank:>{wide[0]}}  {name:<{wide[1]}}  {label:<{wide[2]}}  {value:>{wide[3]}}  {why}".rstrip()
