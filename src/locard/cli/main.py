"""``locard``: one verb a stage of the pipeline. Exit codes: 0 done, 1 policy exceeded, 2 could not be done,
3 not settled, 130 interrupted."""

from __future__ import annotations

import atexit
import gc
import json
import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from locard import __version__
from locard.cli import data as data_commands
from locard.errors import LocardError

EXIT = {"pass": 0, "none": 0, "fail": 1, "inconclusive": 3}
DEMO_FOLDER = Path("locard-demo")
RANK_FOLDER = Path("locard-rank")
CODES = "Exit codes: 0 done, within policy; 1 policy exceeded; 2 could not be done; 3 not settled; 130 interrupted."

app = typer.Typer(
    name="locard",
    help="Find which training records can be traced back from a machine-learning model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=f"Start with: locard demo. {CODES}",
)
app.add_typer(data_commands.app, name="data", help="Public data sets: list and fetch.")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="a TOML settings file")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="set any field of the settings")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for programs")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"locard {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Find which training records can be traced back from a machine-learning model."""


@app.command(short_help="Train, attack, measure, and write the report.", epilog=CODES)
def audit(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="a TOML settings file")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="the run folder (made if needed, resumed if there)")] = None,
    sets: Set = None,
    like: Annotated[Path | None, typer.Option("--like", help="repeat the audit of this run folder")] = None,
    observations: Annotated[
        Path | None, typer.Option(help="saved outputs L.npy [models, records, (queries,) classes]")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="the saved outputs are probabilities, not logits")
    ] = False,
    member: Annotated[Path | None, typer.Option(help="saved mask M.npy, bool [models, records]")] = None,
    labels: Annotated[Path | None, typer.Option(help="saved labels y.npy [records]")] = None,
    ids: Annotated[Path | None, typer.Option(help="ids.txt, one a line")] = None,
    target: Annotated[Path | None, typer.Option(help="one more target's outputs t.npy [records, classes]")] = None,
    target_member: Annotated[Path | None, typer.Option(help="its mask, bool [records]")] = None,
    as_json: Json = False,
) -> None:
    """Train reference models, attack, measure, name the exposed records, write a report."""
    from locard.cli import audits

    saved = audits.SavedOutputs(observations, probabilities, member, labels, ids, target, target_member)
    if observations is not None:
        result, folder = audits.saved_outputs(saved, config, out, sets or [])
    else:
        saved.only_with_observations()
        result, folder = audits.from_config(config, like, out, sets or [])
    _finish(result, folder, as_json)


@app.command(short_help="Audit a random forest on the embedded digits.", epilog=CODES)
def demo(
    out: Annotated[Path, typer.Option("--out", help="the run folder")] = DEMO_FOLDER, as_json: Json = False
) -> None:
    """Audit a random forest on the embedded digits: 64 models, under a minute, nothing to download."""
    from locard.cli import audits

    _finish(*audits.demo(out), as_json)


@app.command(short_help="What an audit will cost and can resolve.")
def plan(
    config: Config,
    sets: Set = None,
    pilot: Annotated[int | None, typer.Option("--pilot", help="train so many pairs, and forecast from them")] = None,
    run: Annotated[Path | None, typer.Option("--from", help="forecast from this finished run folder")] = None,
    width: Annotated[float | None, typer.Option("--width", help="half-width that intervals are to have")] = None,
    names: Annotated[int | None, typer.Option("--names", help="how many records are to be named")] = None,
    as_json: Json = False,
) -> None:
    """Say what an audit or attack will cost and resolve, from two timed fits; and what it will show, from a pilot."""
    from locard.budget.attack_cost import AttackCost, attack_cost_text
    from locard.budget.cost import cost_text
    from locard.cli import audits
    from locard.pilot import forecast_text

    cost, made = audits.predict(config, sets or [], audits.Asked(pilot, run, width, names))
    if as_json:
        typer.echo(json.dumps(cost.to_json() | ({"forecast": made.to_json()} if made else {}), indent=1))
    else:
        said = attack_cost_text(cost) if isinstance(cost, AttackCost) else cost_text(cost)
        typer.echo(said + (forecast_text(made) if made else ""), nl=False)


@app.command(short_help="Say which records are worth attacking.")
def screen(
    config: Config,
    out: Annotated[Path, typer.Option("--out", help="the run folder (made if needed; finished models are reused)")],
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Say which records are worth attacking, from reference models alone: the target is never asked."""
    from locard.cli import screens
    from locard.report.screen_text import screen_text

    tree = screens.from_config(config, out, sets or [])
    typer.echo(json.dumps(tree, indent=1, ensure_ascii=False) if as_json else screen_text(tree), nl=as_json)


@app.command(short_help="Claim who was in a model that may only be asked.", epilog=CODES)
def attack(
    config: Config,
    out: Annotated[Path, typer.Option("--out", help="the run folder (made if needed; finished models are reused)")],
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Claim which candidates a model was trained on, where it may only be asked; or claim nothing."""
    from locard.cli import outsiders
    from locard.report.attack_page import attack_text

    result = outsiders.from_config(config, out, sets or [])
    typer.echo(result.to_json() if as_json else f"{attack_text(result)}\nReport: {out / 'report.html'}", nl=not as_json)


@app.command(short_help="Compare all attacks on the same models.")
def rank(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="TOML settings files, one a study")],
    out: Annotated[Path, typer.Option("--out", help="the run folder (of several: one for each in it)")] = RANK_FOLDER,
    sets: Set = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the tables as Markdown")] = False,
    as_json: Json = False,
) -> None:
    """Compare all attacks on the same models: one table, which differ, which records each picks, few references."""
    from locard.cli import ranks
    from locard.report.rank_text import rank_markdown, rank_text

    result = ranks.from_config(configs, out, sets or [])
    if as_json or markdown:
        typer.echo(result.to_json() if as_json else rank_markdown(result.summary), nl=False)
    else:
        typer.echo(f"{rank_text(result.summary)}\nReport: {out / 'rank.html'}")


@app.command(short_help="Write the HTML report again, or a redacted one.")
def report(
    folder: Folder,
    redact: Annotated[bool, typer.Option("--redact", help="leave out all ids, so that it may be published")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="where to write it")] = None,
) -> None:
    """Write the HTML report of a finished audit again, or a redacted one."""
    from locard.result import AuditResult

    path = out or folder / ("report-redacted.html" if redact else "report.html")
    typer.echo(str(AuditResult.load(folder).report(path, redact=redact)))


@app.command(short_help="A finished audit, or one of its records.")
def show(
    folder: Folder,
    record: Annotated[str | None, typer.Option("--record", help="all that is known about one record")] = None,
    as_json: Json = False,
) -> None:
    """Explain a finished audit in the terminal, or one of its records."""
    from locard.report.text import record_rows, record_text, summary_text
    from locard.result import AuditResult

    result = AuditResult.load(folder)
    if record is not None:
        rows = record_rows(result, record).to_json(orient="records", indent=1) if as_json else None
        typer.echo(rows or record_text(result, record))
    else:
        typer.echo(result.to_json() if as_json else summary_text(result), nl=False)


@app.command(short_help="What changed between two finished audits.")
def compare(
    first: Annotated[Path, typer.Argument(metavar="DIR1", help="a run folder")],
    second: Annotated[Path, typer.Argument(metavar="DIR2", help="the run folder to compare it with")],
    as_json: Json = False,
) -> None:
    """Say what changed between two finished audits, and whether they can be compared."""
    from locard.report.compare import compare_results, comparison_text
    from locard.result import AuditResult

    comparison = compare_results(AuditResult.load(first), AuditResult.load(second))
    typer.echo(json.dumps(comparison.to_json(), indent=1) if as_json else comparison_text(comparison))


@app.command(short_help="Try every attack on a null and on a known leak.")
def selftest(as_json: Json = False) -> None:
    """Run every attack on a target that leaks nothing and on one that leaks a known amount; exit 1 if any is wrong."""
    from locard.assess.selftest import run_selftest, selftest_text
    from locard.cli.progress import TerminalProgress

    with TerminalProgress() as watch:
        outcome = run_selftest(progress=watch.progress)
    typer.echo(json.dumps(outcome.to_json(), indent=1) if as_json else selftest_text(outcome))
    raise typer.Exit(0 if outcome.passed else 1)


def _finish(result: Any, folder: Path, as_json: bool) -> None:
    from locard.report.text import summary_text

    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        typer.echo(summary_text(result))
        typer.echo(f"Report: {folder / 'report.html'}")
    raise typer.Exit(EXIT[result.summary.policy.outcome])


def run() -> None:
    """The command's entry point: problems become a message without a traceback, and exit code 2."""
    atexit.register(gc.freeze)  # else the process takes all libraries apart before it ends, for half a second
    try:
        app()
    except LocardError as problem:
        problems = getattr(problem, "problems", (str(problem),))
        print("\n".join(f"locard: {one}" for one in problems), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        _interrupted()
        sys.exit(130)
    except SystemExit as leaving:
        if leaving.code == 130:  # typer has caught the interrupt
            _interrupted()
        raise
    except Exception:  # noqa: BLE001 - Python would exit 1, which means "policy exceeded"
        traceback.print_exc()
        print(
            "locard: this is a fault of Locard, not of your settings: please report what stands above", file=sys.stderr
        )
        sys.exit(2)


def _interrupted() -> None:
    said = "interrupted"
    if sys.argv[1:2] in (["audit"], ["demo"], ["screen"], ["attack"], ["rank"]) and not any(
        w.startswith("--observations") for w in sys.argv
    ):
        said += f"; finished models are kept. Resume with: {shlex.join(['locard', *sys.argv[1:]])}"
    print(f"\nlocard: {said}", file=sys.stderr)
