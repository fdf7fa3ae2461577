"""The section of selected records: tables and cards on the page, hostile names in them, redaction, the terminal."""

from __future__ import annotations

import pytest

from locard.report.html import report_html
from locard.report.redact import redact
from locard.report.selected import claims_words, loss_figure, side_words
from locard.report.text import summary_text
from locard.result import CardPart, ClaimsPart, NeighbourPart, Number, ScreeningPart, SidePart

from .conftest import NASTY, Make, interval

PICTURE = "data:image/png;base64,iVBORw0KGgo="


def side(targets, claimed):
    return SidePart(targets=targets, claimed=claimed, p_rank=0.02, p_tail=1e-5, p_cal=None, losses=[0.5] * targets)


def card(name, rank=1):
    near = NeighbourPart(id=f"near {name}", label="<b>yes</b>", distance=0.1234, picture=PICTURE)
    return CardPart(
        id=name,
        label="no & never",
        rank=rank,
        value=3.2,
        reason="mean loss 3.2 nats",
        picture=PICTURE,
        neighbours=[near],
        reference_losses=[0.1, 2.0],
        held=side(5, 4),
        not_held=side(5, 0),
    )


def row(p, calibration, *, undefined=False):
    none = Number(value=None, reason="not resolvable: with 12 calibration records no p-value is below 1/13")
    number = none if undefined else interval(0.81, 0.05)
    return ClaimsPart(
        p=p,
        calibrated=calibration is not None,
        calibration=calibration,
        selected=20,
        true_claims=34,
        false_claims=12,
        abstentions=954,
        precision=number,
        recall=number,
        realised_fpr=number,
    )


@pytest.fixture
def selected(make_result: Make):
    """A result whose headline attack claims, with a card for each hostile name."""
    result = make_result()
    screening = ScreeningPart(
        name="neighbours", settings={}, settled={"delta": 0.1}, selected=20, screening=50, testing=50, population=7
    )
    claims = [row(0.1, None), row(0.01, "own non-members"), row(0.001, "population", undefined=True)]
    promises = {"p_cal": "On average.", "abstained": "Nothing is said."}
    first = result.summary.attacks[0].model_copy(
        update={"screening": screening, "claims": claims, "promises": promises}
    )
    cards = [card(name, rank) for rank, name in enumerate(NASTY, start=1)]
    update = {"attacks": [first, *result.summary.attacks[1:]], "cards": cards}
    return type(result)(result.summary.model_copy(update=update), result.records, result.scores)


def test_the_page_shows_claims_and_cards(selected):
    page = report_html(selected)
    assert 'href="#selected-section"' in page
    assert page.count('<article class="card">') == len(NASTY)
    assert "calibrated: own non-members" in page
    assert "with 12 calibration records no p-value is below 1/13" in page
    assert "Claimed in 4 of 5 targets that were trained on it (median p: by rank 0.02, by tail 1.0e-05)." in page
    assert "8 more selected records have no card." in page
    assert "img-src data:" in page
    assert page.count(f'src="{PICTURE}"') == 2 * len(NASTY)


def test_names_on_cards_are_escaped(selected):
    page = report_html(selected)
    body = page[page.index('<section id="selected-section">') : page.index('<section id="unresolved">')]
    assert "<script" not in body
    assert "<img src=x" not in body
    assert "\u202e" not in body
    assert "\x1b" not in body
    assert "&lt;script&gt;alert(1)" in body


def test_a_page_without_claims_has_no_such_section(make_result: Make):
    page = report_html(make_result())
    assert "selected-section" not in page
    assert "img-src" not in page


def test_redaction_leaves_no_card(selected):
    page = report_html(selected, redact=True)
    assert not redact(selected).summary.cards
    assert '<article class="card">' not in page
    assert "near " not in page[page.index('<section id="selected-section">') : page.index('<section id="unresolved">')]
    assert "calibrated: own non-members" in page


def test_the_terminal_says_what_claims_were_worth(selected):
    lines = claims_words(selected.summary)
    assert lines[0].endswith("records selected by neighbours, no target asked.")
    assert len(lines) == 2  # neither the raw row nor the one that is not resolvable
    assert "34 true and 12 false claims; precision 81 %" in lines[1]
    assert "Claims" in summary_text(selected)


def test_what_cannot_be_drawn_or_said():
    nothing = side(0, 0)
    assert side_words(nothing, "that were trained on it") == "No target that was trained on it could be tested."
    empty = card("a").model_copy(update={"reference_losses": [], "held": nothing, "not_held": nothing})
    assert "There are no losses" in loss_figure(empty, "x")
    same = card("a").model_copy(update={"reference_losses": [0.0], "held": side(0, 0), "not_held": side(0, 0)})
    assert "<svg" in loss_figure(same, "x")
