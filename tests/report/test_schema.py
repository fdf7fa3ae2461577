"""``docs/result.schema.json`` is the published form of ``result.json``: in sync, and met by real results."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from locard.result import AuditResult, schema

from .conftest import Make

PUBLISHED = Path(__file__).parents[2] / "docs" / "result.schema.json"
COMMAND = (
    'python -c "import json, locard.result as r; print(json.dumps(r.schema(), indent=1, ensure_ascii=False))" '
    "> docs/result.schema.json"
)


def test_the_published_schema_is_in_sync() -> None:
    assert json.loads(PUBLISHED.read_text("utf-8")) == schema(), f"Run: {COMMAND}"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    tree = schema()
    jsonschema.Draft202012Validator.check_schema(tree)
    return jsonschema.Draft202012Validator(tree)


@pytest.mark.parametrize("shape", [{}, {"released": True}, {"by_unit": True, "exposed": 0, "outcome": "inconclusive"}])
def test_results_meet_the_schema(
    make_result: Make, validator: jsonschema.Draft202012Validator, shape: dict[str, Any]
) -> None:
    validator.validate(json.loads(make_result(**shape).to_json()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("attacks", 0, "auc"), {}),
        (("attacks", 0, "auc"), {"value": None}),
        (("attacks", 0, "auc"), {"value": 0.5}),
        (("attacks", 0, "auc", "value"), "high"),
        (("attacks", 0, "tpr", 0, "resolution"), "perhaps"),
        (("policy", "outcome"), "maybe"),
        (("surprise",), 1),
    ],
)
def test_what_is_not_a_result_does_not_meet_it(
    result: AuditResult, validator: jsonschema.Draft202012Validator, path: tuple[str | int, ...], value: Any
) -> None:
    # Planted: the schema that pydantic makes of a serializer which returns a dict ("any object").
    tree: Any = copy.deepcopy(json.loads(result.to_json()))
    node = tree
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    assert not validator.is_valid(tree)
