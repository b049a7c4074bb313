"""Calls whose cost is published: the bundled book prices them to the last digit."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.pricing import PRICING_TABLE, UnknownModelError, cost_usd
from techrevati.runtime.usage import UsageSnapshot

FILE = Path(__file__).parents[1] / "data" / "priced-calls.jsonl"
CALLS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def usage_of(call: dict[str, Any]) -> UsageSnapshot:
    parts = call["usage"]
    return UsageSnapshot(
        input_tokens=parts.get("input_uncached", 0),
        output_tokens=parts.get("output", 0),
        cache_write_tokens=parts.get("cache_write", 0) + parts.get("cache_write_5m", 0),
        cache_read_tokens=parts.get("cache_read", 0),
        cache_write_1h_tokens=parts.get("cache_write_1h", 0),
        reasoning_tokens=parts.get("output_reasoning", 0),
        input_audio_tokens=parts.get("input_audio", 0),
        output_audio_tokens=parts.get("output_audio", 0),
    )


def priced(call: dict[str, Any], model: str, provider: str | None) -> Decimal | None:
    tier = tuple((call["price_context"] or {}).values()) or None
    at = datetime.fromisoformat(call["timestamp"])
    try:
        return cost_usd(model, usage_of(call), provider=provider, at=at, tier=tier)
    except UnknownModelError:
        return None


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The book alone answers."""
    for model in list(PRICING_TABLE):
        monkeypatch.delitem(PRICING_TABLE, model)


@pytest.mark.parametrize("call", CALLS, ids=[call["id"] for call in CALLS])
def test_a_priced_call_costs_what_is_published(call: dict[str, Any]) -> None:
    """With the provider beside the model, and with the provider in the model's name."""
    published = None if call["cost_usd"] is None else Decimal(call["cost_usd"])
    assert priced(call, call["model"], call["provider"]) == published
    if call["model_qualified"] is not None:
        assert priced(call, call["model_qualified"], None) == published
