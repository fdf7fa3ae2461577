from __future__ import annotations

import json

from locard.report.compare import compare_results, comparison_text
from locard.result import AuditResult, Number

from .conftest import Make


def test_an_audit_and_itself_differ_in_nothing(result: AuditResult) -> None:
    c = compare_results(result, result)
    assert c.comparable
    assert c.settings == ()
    assert c.exposed.jaccard == 1
    assert len(c.exposed.both) == 37
    assert {m.apart for m in c.measured} == {False, None}
    assert "Settings: the same." in comparison_text(c)


def test_what_changed_is_listed_setting_by_setting(result: AuditResult, make_result: Make) -> None:
    c = compare_results(result, make_result(attacks=2, exposed=20, outcome="pass"))
    assert c.outcomes == ("fail", "pass")
    assert c.settings[0] == ("attack.2", {"name": "rmia"}, None)
    assert c.only_first[:2] == ("rmia", "rmia(offline=true)")
    assert c.only_second == ()
    assert (len(c.exposed.both), len(c.exposed.only_first), len(c.exposed.only_second)) == (20, 17, 0)
    text = comparison_text(c)
    assert "attack.2: {'name': 'rmia'} -> (absent)" in text
    assert "17 only in the first" in text.replace("\n", " ")


def test_other_records_other_data_other_plan_are_not_comparable(result: AuditResult, make_result: Make) -> None:
    # Planted: the fingerprints not compared.
    other = make_result(n=300, exposed=2)
    tree = other.summary
    data = tree.data.model_copy(update={"fingerprint": "other"})
    target = tree.target.model_copy(update={"design": "subsample", "models": 8})
    c = compare_results(
        result, AuditResult(tree.model_copy(update={"data": data, "target": target}), other.records, {})
    )
    assert not c.comparable
    text = "\n".join(c.problems)
    for words in (
        "the data differ",
        "300 of 10,000 are in both",
        "plans differ",
        "numbers of models differ (64 and 8)",
    ):
        assert words in text
    assert "Not directly comparable:" in comparison_text(c)
    assert c.exposed.shared == 300


def test_no_claim_of_significance_is_made(result: AuditResult) -> None:
    r = result.summary
    better = [a.model_copy(update={"auc": Number(value=0.9, low=0.89, high=0.91)}) for a in r.attacks]
    c = compare_results(result, AuditResult(r.model_copy(update={"attacks": better}), result.records, {}))
    assert all(m.apart for m in c.measured if m.statistic == "AUC")
    text = comparison_text(c)
    assert "is not a test" in text
    assert "significant" not in text


def test_the_json_form_is_plain_and_whole(result: AuditResult, make_result: Make) -> None:
    c = compare_results(result, make_result(exposed=20))
    tree = json.loads(json.dumps(c.to_json()))
    assert tree["comparable"] is True
    assert tree["exposed"]["jaccard"] == 20 / 37
    assert len(tree["measured"]) == 13 * 5
    assert tree["measured"][0]["first"]["n"] == 32


def test_units_are_compared_by_unit(make_result: Make) -> None:
    c = compare_results(make_result(by_unit=True), make_result(by_unit=True, exposed=10))
    assert c.exposed.shared == 3334
    assert all(n.startswith("clinic-") for n in c.exposed.both)
