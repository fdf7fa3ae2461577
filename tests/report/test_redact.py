from __future__ import annotations

from typing import Any

import pytest

from locard.report.html import report_html
from locard.report.redact import FEWEST, redact
from locard.report.text import summary_text
from locard.result import AuditResult

from .conftest import Make
from .page_reading import Page


@pytest.mark.parametrize(
    "shape", [{"n": 900, "released": True}, {"n": 900, "by_unit": True}, {"n": 300, "attacks": 1, "exposed": 2}]
)
def test_no_id_no_unit_no_small_group_and_no_path_is_in_the_bytes(make_result: Make, shape: dict[str, Any]) -> None:
    # Planted: the per-record table kept; `unresolved` not cleaned; the settings' source kept.
    result = make_result(**shape)
    source = report_html(result, redact=True)
    page = Page(source)
    text = source + page.text + " ".join(v for _, a in page.tags for v in a.values())
    names = {str(v) for column in ("id", "unit") for v in result.records[column]}
    assert not [n for n in names if n in text]
    assert "tiny-ward" not in text
    assert not [p for p in ("/data/private", "adult.csv", "/home/someone", "final.skops", "clinic_number") if p in text]
    assert "records" not in page.tables


def test_counts_stand_in_for_names(result: AuditResult) -> None:
    page = Page(report_html(result, redact=True))
    assert page.tables["grades"] == [
        ["Grade", "Records"],
        ["exposed", "37"],
        ["suspected", "148"],
        ["not shown", "9,815"],
    ]
    assert "1 of the values of ward have fewer than 10 records and are left out." in page.text
    assert "redacted for publication" in page.text
    assert "This report holds record ids" not in page.text


def test_numbers_over_all_records_stay(result: AuditResult) -> None:
    clean = redact(result).summary
    assert clean.attacks == result.summary.attacks
    assert clean.target == result.summary.target
    assert clean.data.fingerprint == result.summary.data.fingerprint
    assert [g for g in result.summary.groups if g.records >= FEWEST] == clean.groups
    assert clean.settings["references"] == result.summary.settings["references"]


def test_the_result_itself_is_not_changed(result: AuditResult) -> None:
    before = result.to_json()
    redact(result)
    assert result.to_json() == before
    assert len(result.records) == 10_000


def test_small_classes_are_summed_without_their_names(make_result: Make) -> None:
    result = make_result(n=300, exposed=0)
    frame = result.records.assign(label=["rare-disease"] * 4 + ["odd-disease"] * 3 + ["common"] * 293)
    counts = [{"label": k, "records": int(v)} for k, v in frame["label"].value_counts().items()]
    tree = result.summary.model_dump(by_alias=True)
    tree["data"]["classes"] = counts
    tree["next_steps"] = ["Look at class rare-disease."]
    small = AuditResult(type(result.summary).model_validate(tree), frame, {})
    clean = redact(small).summary
    assert [(c.label, c.records) for c in clean.data.classes] == [
        ("common", 293),
        ("2 with fewer than 10 records each", 7),
    ]
    assert clean.next_steps == ["Look at class [redacted]."]


def test_ids_that_are_numbers_go_only_where_they_are_names(result: AuditResult) -> None:
    frame = result.records.assign(id=range(10_000), unit=range(10_000))
    said = ["record 64 and unit '17' stand out", "64 models, 17 of them slow", "records 3, FPR 0.001"]
    numbered = AuditResult(result.summary.model_copy(update={"unresolved": said}), frame, {})
    assert redact(numbered).summary.unresolved == [
        "record [redacted] and unit '[redacted]' stand out",
        "64 models, 17 of them slow",
        "records [redacted], FPR 0.001",
    ]


def test_a_redacted_result_can_be_summarised_too(result: AuditResult) -> None:
    text = summary_text(redact(result))
    assert "patient-" not in text
    assert "37 of 10,000 records" in text
