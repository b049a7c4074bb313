"""Responses and streams of every API, with the counts that the APIs' documentation gives them.

The expectations were written before anything was run: what is cached is taken out of the input where the
provider counts it inside, thoughts and tool results are added where it counts them beside.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from techrevati.runtime.usage import UsageAccumulator, UsageNotFoundError, UsageSnapshot

DATA = Path(__file__).parents[1] / "data"
COUNTS = [
    name
    for name, kind in UsageSnapshot.__annotations__.items()
    if kind == "int"  # not what the provider says beside the counts
]


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


RESPONSES, STREAMS = lines("usages.jsonl"), lines("usage-streams.jsonl")


def as_object(value: Any) -> Any:
    """A dict as SDKs show it: attributes all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(inner) for key, inner in value.items()})
    return [as_object(each) for each in value] if isinstance(value, list) else value


def counts(usage: UsageSnapshot) -> dict[str, int]:
    """What is not zero."""
    return {name: value for name in COUNTS if (value := getattr(usage, name))}


def wanted(usage: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in usage.items() if name in COUNTS and value}


@pytest.mark.parametrize("case", RESPONSES, ids=[case["name"] for case in RESPONSES])
def test_a_response_used_what_its_api_documents(case: dict[str, Any]) -> None:
    """As a dict, as objects, as JSON; with the model, the tier and the cost where the response has them."""
    response, usage = case["response"], case["usage"]
    for form in (response, as_object(response), json.dumps(response)):
        found = UsageSnapshot.from_response(form)
        assert counts(found) == wanted(usage)
        cost = usage.get("reported_cost_usd")
        assert found.reported_cost_usd == (None if cost is None else Decimal(cost))
        for name in ("model", "tier"):
            assert name not in usage or getattr(found, name) == usage[name]


@pytest.mark.parametrize("case", STREAMS, ids=[case["name"] for case in STREAMS])
@pytest.mark.parametrize("form", ["dicts", "objects", "JSON"])
def test_a_stream_is_complete_with_its_final_usage_and_not_before(case: dict[str, Any], form: str) -> None:
    """``final`` is the first event after which the usage is final; None where it never is."""
    if form == "objects" and isinstance(case["events"][0], str):
        pytest.skip("server-sent events are text")
    seen = UsageAccumulator()
    for number, event in enumerate(case["events"]):
        if isinstance(event, dict) and "bytes" in event:  # of Bedrock InvokeModel
            event = {"chunk": {"bytes": json.dumps(event["bytes"]).encode()}}
            seen.add(as_object(event) if form == "objects" else event)
        elif form == "objects":
            seen.add(as_object(event))
        else:
            seen.add(json.dumps(event) if form == "JSON" and isinstance(event, dict) else event)
        if case["final"] != "any":
            assert seen.complete == (case["final"] is not None and number >= case["final"])
    assert seen.complete == (case["final"] is not None)
    assert counts(seen.snapshot()) == wanted(case["usage"])


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"usage": None},
        {"usage": {}},
        {"usage": {"total_tokens": 5}},
        {"choices": [{"message": {}}]},
        {"error": {"message": "overloaded"}},
        {"usage": {"prompt_tokens": "12"}},
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"text": "hi", "usage": {"type": "duration", "seconds": 12}},
        {"custom_id": "a", "result": {"type": "errored", "error": {"type": "invalid_request"}}},
        {"custom_id": "a", "body": {"model": "gpt-4o", "max_tokens": 5}},
        {"generations": [[{"text": "x", "message": {"content": "x"}}]], "llm_output": None},
        {"generations": [[]]},
        {"gpt-4o": {"input_tokens": 8, "output_tokens": 10, "total_tokens": 18}, "claude-x": {}},
        # Not langchain's totals, which always say the total, too.
        {
            "first": {"input_tokens": 8, "output_tokens": 10},
            "second": {"input_tokens": 1, "output_tokens": 2},
        },
        {"first": {"input_tokens": 8, "output_tokens": 10, "total_tokens": "18"}},
        # pydantic-ai's count of a response whose provider said nothing.
        {"input_tokens": 0, "output_tokens": 0, "details": {}, "unmeasured_requests": 1},
        {"meta": {"billed_units": {"search_units": 1}}},
        {"input_tokens": 12},
        [],
        None,
        "not JSON",
    ],
    ids=str,
)
def test_what_says_no_usage_is_never_zero(response: object) -> None:
    """Nothing, errors, totals that cannot be split, seconds."""
    with pytest.raises(UsageNotFoundError):
        UsageSnapshot.from_response(response)
