from __future__ import annotations

import re

import pytest

from locard.errors import SettingsError
from locard.report.text import record_rows, record_text, summary_text
from locard.report.wording import design_sentence
from locard.result import AuditResult

from .conftest import Make


def test_the_summary_says_what_the_report_says(result: AuditResult) -> None:
    text = summary_text(result)
    lines = text.splitlines()
    assert lines[0] == 'Audit: adult-forest <test> & "more"'
    assert "Policy     FAIL: policy exceeded" in lines
    assert "Controls   redrawn plan as expected, blind baseline as expected" in lines
    assert "Exposed    37 of 10,000 records; 148 more suspected; 9,815 not shown (which is not" in lines
    row = next(x for x in lines if x.startswith("lira *"))
    assert row.split("  ")[1:] == ["", *row.split("  ")[2:]]
    assert "0.651 [0.640, 0.662]" in row
    assert "0.55 % [0.37 %, 0.74 %] b" in row
    assert "b: bounded only" in text
    assert 25 <= len(lines) <= 50


@pytest.mark.parametrize("width", [60, 88, 120])
def test_lines_fit_the_width_but_for_table_rows(result: AuditResult, width: int) -> None:
    for line in summary_text(result, width=width).splitlines():
        assert len(line) <= width or re.match(r"\S+( \*)? {2,}|-+$", line)


def test_a_failed_control_and_an_open_policy_are_said(make_result: Make) -> None:
    text = summary_text(make_result(failed=True, outcome="inconclusive"))
    assert "NOT AS EXPECTED, do not rely on these numbers: redrawn plan" in text.replace("\n           ", " ")
    assert "INCONCLUSIVE: not settled by these data" in text
    assert "To settle  about 48 models more" in text


def test_nothing_named_says_what_could_have_been(make_result: Make) -> None:
    text = " ".join(summary_text(make_result(exposed=0, outcome="none")).split())
    assert "0 of 10,000 records" in text
    assert "What this design could have named: One that is found in 65 % of retrainings" in text
    assert "Policy none was given" in text


def test_control_characters_of_names_never_reach_the_terminal(result: AuditResult) -> None:
    # Planted: visible() left out of summary_text.
    frame = result.records.assign(id=["\x1b[2Jwiped", *result.records["id"].tolist()[1:]])
    frame = frame.assign(q=[0.0, *frame["q"].tolist()[1:]])
    text = summary_text(AuditResult(result.summary, frame, result.scores))
    assert "\x1b" not in text
    assert "\\x1b[2Jwiped" in text


def test_record_text_has_every_score_and_test_of_the_record(make_result: Make) -> None:
    result = make_result(released=True)
    row = result.records.set_index("id").loc["patient-000033"]
    text = record_text(result, "patient-000033")
    assert text.startswith("Record patient-000033: exposed\n")
    assert f"claimed in {row['hits_in']} of 16 targets trained on it" in text
    assert f"claimed in {row['hits_out']} of 16 targets not trained on it" in text
    assert "won 31 of 32" in text
    for attack in result.summary.attacks:
        every = result.records[f"score_{attack.label}"]
        own = row[f"score_{attack.label}"]
        place = result.records.index[result.records["id"] == "patient-000033"][0]
        scores, member = result.scores[attack.label][:, place], result.scores["member"][:, place]
        line = next(x for x in text.splitlines() if x.startswith(f"{attack.label} "))
        said = line[len(attack.label) :].split()
        assert said[:3] == [f"{scores[member].mean():.3f}", f"{scores[~member].mean():.3f}", f"{own:.3f}"]
        assert said[3] == f"{(every < own).mean() * 100:.1f}"
    assert "Score on the released model:" in text
    assert "Released   member" in text


def test_record_text_of_a_unit_and_of_one_of_its_records(make_result: Make) -> None:
    result = make_result(by_unit=True)
    by_unit = record_text(result, "clinic-00011")
    by_record = record_text(result, "patient-000034")
    assert by_unit.startswith("Unit clinic-00011: exposed")
    assert "patient-000033, patient-000034, patient-000035" in by_unit
    assert by_record.startswith("Unit clinic-00011: exposed")
    assert "(asked for: record" in by_record


def test_ids_that_are_numbers_are_found_as_text_and_as_numbers(result: AuditResult) -> None:
    numbered = AuditResult(result.summary, result.records.assign(id=range(10_000)), result.scores)
    assert record_text(numbered, "17") == record_text(numbered, 17)
    with pytest.raises(SettingsError, match="Nearest: 9999, 9998, 9997"):
        record_text(numbered, 20_000)


def test_an_unknown_id_names_the_nearest(result: AuditResult) -> None:
    with pytest.raises(SettingsError, match=r"found 'patient-00123O', which is none of them\. Nearest: patient-00123"):
        record_text(result, "patient-00123O")
    with pytest.raises(SettingsError, match=r"All ids are in records\.parquet"):
        record_text(result, "§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§§")


def test_records_without_hits_or_scores_are_said_not_guessed(result: AuditResult) -> None:
    frame = result.records.assign(trials=0, low=float("nan"), high=float("nan"), p_hit=float("nan"), q=float("nan"))
    frame = frame.assign(fcr_low=float("nan"), fcr_high=float("nan"), grade="not shown")
    text = record_text(AuditResult(result.summary, frame, {}), "patient-000033")
    assert "Hits       not measured with this number of pairs" in text
    assert "p = – (found in at most 1 of 10 retrainings)" in text


def test_record_rows_are_the_rows_of_the_table(make_result: Make) -> None:
    by_unit = make_result(by_unit=True)
    assert record_rows(by_unit, "patient-000034")["id"].tolist() == [
        "patient-000033",
        "patient-000034",
        "patient-000035",
    ]
    assert record_rows(make_result(), "patient-000034")["id"].tolist() == ["patient-000034"]


def test_whose_membership_was_decided_is_named(make_result: Make) -> None:
    """Planted: a sentence for records alone says of patients that their rows were dealt one by one."""
    assert "decided, record by record," in design_sentence(make_result().summary)
    assert "decided, unit by unit," in design_sentence(make_result(by_unit=True).summary)
