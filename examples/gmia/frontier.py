"""Precision against recall of ``gmia`` on the records that screens select, from a finished audit with references apart.

    locard audit examples/gmia/fashion-mnist.toml --out runs/fashion
    python examples/gmia/frontier.py runs/fashion --top 20 200

No model is trained again. For each screen and number of selected records: one threshold on the score, for a realised
false-positive rate of 1 %, learnt on half of the pairs of targets and applied to the other half, both ways; claims of
both halves together, with 95 % intervals by pair. ``frontier.svg`` in the run folder has the whole curves (thresholds
there are read off the same targets).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from compare_screens import opened

from locard.assess.scoring import score_targets
from locard.attacks import attack
from locard.report.svg import Axis, Drawing, grid
from locard.screen import screen
from locard.screen.protocol import Top
from locard.screen.screened import run_screen
from locard.stats import ratio_over_pairs

SCREENS = ("combined", "reference_loss", "neighbours", "random")
RATE = 0.01


def crossed(scores: np.ndarray, member: np.ndarray, pair: np.ndarray, rate: float) -> np.ndarray:
    """``bool[targets, records]``: claimed above the threshold that the other half of the pairs sets for this rate."""
    claimed = np.zeros(scores.shape, dtype=bool)
    even = np.unique(pair, return_inverse=True)[1] % 2 == 0
    for here, there in ((even, ~even), (~even, even)):
        others = np.sort(scores[there][~member[there]])[::-1]
        claimed[here] = scores[here] > others[int(rate * len(others))]
    return claimed


def curve(scores: np.ndarray, member: np.ndarray) -> list[tuple[float, float]]:
    """(recall, precision) at every threshold, from the highest score down."""
    inside = member.ravel()[np.argsort(-scores.ravel(), kind="stable")]
    true = np.cumsum(inside)
    places = np.unique(np.geomspace(1, len(inside), 200).astype(int)) - 1
    return [(float(true[k] / inside.sum()), float(true[k] / (k + 1))) for k in places]


def drawn(curves: dict[str, list[tuple[float, float]]], title: str) -> str:
    """The curves as one figure."""
    d = Drawing(680, 420)
    x, y = Axis(0, 1, 74, 660), Axis(0.5, 1, 360, 18)
    grid(d, x, y, words=("{:g}".format, "{:g}".format))
    for place, (name, points) in enumerate(curves.items()):
        d.path([(x(a), y(b)) for a, b in points], f"line c{place}")
        d.text(x(points[-1][0]) - 150, 40 + 18 * place, name, f"label c{place}")
    d.text(367, 400, "recall", "label", anchor="middle")
    d.text(14, 190, "precision", "label")
    style = "<style>.line{fill:none;stroke-width:2}.grid{stroke:#ddd}.axis{fill:none;stroke:#000}"
    style += "".join(f".line.c{i}{{stroke:{c}}}text.c{i}{{fill:{c}}}" for i, c in enumerate(COLOURS)) + "</style>"
    figure = d.svg("frontier", title, "One line a screen.")
    return figure.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace("<title", style + "<title", 1)


COLOURS = ("#1f4e79", "#9a2f1c", "#3b7d3b", "#777777")


def main() -> None:
    """Print one line a screen and number of records, and draw the curves of the first number."""
    reader = argparse.ArgumentParser()
    reader.add_argument("run", type=Path)
    reader.add_argument("--top", type=int, nargs="+", default=[20, 200])
    asked = reader.parse_args()
    case, done, evidence, audited = opened(asked.run)
    targets = case.plan.targets
    member, pair = case.plan.member[targets], case.plan.pair
    scores = score_targets(attack("gmia"), audited.with_references(done.testing), targets)
    curves: dict[str, list[tuple[float, float]]] = {}
    for top in asked.top:
        for name in SCREENS:
            rng = case.seed.child("screen").generator()
            selected = run_screen(screen(name), evidence, select=Top(top), rng=rng).selected
            s, m = scores[:, selected], member[:, selected]
            if top == asked.top[0]:
                curves[name] = curve(s, m)
            claimed = crossed(s, m, pair, RATE)
            true, false = (claimed & m).sum(axis=1), (claimed & ~m).sum(axis=1)
            numbers = [
                f"{what} {ratio_over_pairs(part, whole, pair, what=what)}"
                for what, part, whole in (
                    ("precision", true, true + false),
                    ("recall", true, m.sum(axis=1)),
                    ("realised FPR", false, (~m).sum(axis=1)),
                )
            ]
            print(f"top {top:4} {name:15} {int(true.sum()):5} true {int(false.sum()):4} false; {'; '.join(numbers)}")
    (asked.run / "frontier.svg").write_text(drawn(curves, f"Precision against recall, {asked.top[0]} records"))


if __name__ == "__main__":
    main()
