"""Calls whose cost is published: the bundled book prices them to the last digit."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
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


BY_ARITHMETIC = [
    json.loads(line)
    for line in (FILE.parent / "priced-by-hand.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("call", BY_ARITHMETIC, ids=[call["id"] for call in BY_ARITHMETIC])
def test_a_call_costs_the_sum_of_its_terms(call: dict[str, Any]) -> None:
    """Models as users write them; each term is a count, a price that a source publishes, and its unit."""
    total = Decimal(0)
    for term in call["terms"]:
        count, price, unit = re.split(" [*/] ", term)
        total += Decimal(count) * Decimal(price) / Decimal(unit)
    at = datetime.fromisoformat(call["at"])
    usage = UsageSnapshot(**call["usage"])
    cost = cost_usd(call["model"], usage, provider=call["provider"], tier=call["tier"], at=at)
    assert cost == total == Decimal(call["cost_usd"])


def per_million(*parts: tuple[int, str | float]) -> Decimal:
    """(tokens, US dollars per million) added up."""
    return sum((count * Decimal(str(price)) for count, price in parts), Decimal(0)) / 10**6


# Worked out from the providers' price pages before anything was run.
BY_HAND: list[tuple[str, str, str | None, str | None, UsageSnapshot, Decimal]] = [
    (
        "sonnet-4 200000 in: not above",
        "claude-sonnet-4-20250514",
        "anthropic",
        None,
        UsageSnapshot(150000, 1000, 0, 50000),
        per_million((150000, 3), (1000, 15), (50000, 0.3)),
    ),
    (
        "sonnet-4-5 200001 with 1h writes",
        "claude-sonnet-4-5",
        "anthropic",
        None,
        UsageSnapshot(1, 100, 0, 0, 200000),
        per_million((1, 6), (100, 22.5), (200000, 12)),
    ),
    (
        "sonnet-4-5 5m+1h+read",
        "claude-sonnet-4-5-20250929",
        "anthropic",
        None,
        UsageSnapshot(10, 100, 1000, 5000, 2000),
        per_million((10, 3), (100, 15), (1000, 3.75), (5000, 0.3), (2000, 6)),
    ),
    (
        "opus-4-1 1h",
        "claude-opus-4-1",
        "anthropic",
        None,
        UsageSnapshot(10, 100, 0, 0, 2000),
        per_million((10, 15), (100, 75), (2000, 30)),
    ),
    (
        "sonnet-4-5 batch + cache read/write",
        "claude-sonnet-4-5",
        "anthropic",
        "batch",
        UsageSnapshot(1000, 1000, 1000, 1000, 1000),
        per_million((1000, 1.5), (1000, 7.5), (1000, 1.875), (1000, 0.15), (1000, 3)),
    ),
    (
        "opus-4-5",
        "claude-opus-4-5",
        "anthropic",
        None,
        UsageSnapshot(1000, 1000, 1000, 1000, 1000),
        per_million((1000, 5), (1000, 25), (1000, 6.25), (1000, 0.5), (1000, 10)),
    ),
    (
        "haiku-4-5 bedrock us +10 %",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "bedrock",
        None,
        UsageSnapshot(1000, 1000),
        per_million((1000, 1.1), (1000, 5.5)),
    ),
    (
        "bedrock global no uplift",
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock",
        None,
        UsageSnapshot(1000, 1000),
        per_million((1000, 3), (1000, 15)),
    ),
    (
        "bedrock eu uplift sonnet 4.5",
        "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock",
        None,
        UsageSnapshot(1000, 1000, 0, 1000),
        per_million((1000, 3.3), (1000, 16.5), (1000, 0.33)),
    ),
    (
        "bedrock us sonnet 4 no uplift",
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        "bedrock",
        None,
        UsageSnapshot(1000, 1000),
        per_million((1000, 3), (1000, 15)),
    ),
    (
        "anthropic web search",
        "claude-sonnet-4-5",
        "anthropic",
        None,
        UsageSnapshot(1000, 1000, web_searches=3),
        per_million((1000, 3), (1000, 15)) + Decimal("0.03"),
    ),
    (
        "gemini 2.5 pro 200000",
        "gemini-2.5-pro",
        "google",
        None,
        UsageSnapshot(200000, 1000),
        per_million((200000, 1.25), (1000, 10)),
    ),
    (
        "gemini 2.5 pro 200001",
        "gemini-2.5-pro",
        "google",
        None,
        UsageSnapshot(200001, 1000),
        per_million((200001, 2.5), (1000, 15)),
    ),
    (
        "gemini 2.5 flash audio in",
        "gemini-2.5-flash",
        "google",
        None,
        UsageSnapshot(1000, 500, input_audio_tokens=2000),
        per_million((1000, 0.3), (500, 2.5), (2000, 1)),
    ),
    (
        "gemini 2.5 flash batch",
        "gemini-2.5-flash",
        "google",
        "batch",
        UsageSnapshot(1000, 500),
        per_million((1000, 0.15), (500, 1.25)),
    ),
    (
        "gpt-4o cached",
        "gpt-4o-2024-08-06",
        "openai",
        None,
        UsageSnapshot(1000, 500, 0, 3000),
        per_million((1000, 2.5), (500, 10), (3000, 1.25)),
    ),
    (
        "gpt-4o batch",
        "gpt-4o",
        "openai",
        "batch",
        UsageSnapshot(1000, 500),
        per_million((1000, 1.25), (500, 5)),
    ),
    (
        "gpt-5 flex+cache",
        "gpt-5",
        "openai",
        "flex",
        UsageSnapshot(1000, 500, 0, 1000),
        per_million((1000, 0.625), (500, 5), (1000, 0.0625)),
    ),
    (
        "gpt-5 priority",
        "gpt-5",
        "openai",
        "priority",
        UsageSnapshot(1000, 500, 0, 1000),
        per_million((1000, 2.5), (500, 20), (1000, 0.25)),
    ),
    (
        "o3 reasoning inside output",
        "o3",
        "openai",
        None,
        UsageSnapshot(1000, 2000, reasoning_tokens=1500),
        per_million((1000, 2), (2000, 8)),
    ),
    (
        "azure prefix",
        "azure/gpt-4o-mini",
        None,
        None,
        UsageSnapshot(1000, 500, 0, 1000),
        per_million((1000, 0.15), (500, 0.6), (1000, 0.075)),
    ),
    (
        "azure provider",
        "gpt-4.1-mini",
        "azure",
        None,
        UsageSnapshot(1000, 500),
        per_million((1000, 0.4), (500, 1.6)),
    ),
    (
        "gpt-5 web search 2",
        "gpt-5",
        "openai",
        None,
        UsageSnapshot(1000, 500, web_searches=2),
        per_million((1000, 1.25), (500, 10)) + Decimal("0.02"),
    ),
]


@pytest.mark.parametrize(
    ("model", "provider", "tier", "usage", "cost"),
    [row[1:] for row in BY_HAND],
    ids=[row[0] for row in BY_HAND],
)
def test_a_call_priced_by_hand(
    model: str, provider: str | None, tier: str | None, usage: UsageSnapshot, cost: Decimal
) -> None:
    """Steps at their boundary, caches of both ages, batch with a cache, audio, searches, regions, Azure."""
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert cost_usd(model, usage, provider=provider, tier=tier, at=at) == cost
