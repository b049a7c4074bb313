"""What the bill costs: given prices, defaults, the price book, and models that nobody can price."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime import ModelPricing, UsageSnapshot
from techrevati.runtime.chaos import DEFAULT_PRICES, BilledUsage, ModelPrice
from techrevati.runtime.chaos.bill import ModelBill
from techrevati.runtime.chaos.prices import Prices
from techrevati.runtime.pricing import cost_usd
from tests.unit.test_chaos_endpoint import ANTHROPIC, Desk, split

USAGE = BilledUsage(1_000, 100, 2_000, 3_000, 4_000)


def cost(prices: dict[str, Any] | None, model: str, usage: BilledUsage = USAGE) -> Decimal | None:
    """What *usage* costs; the record is one of a real request."""
    from dataclasses import replace

    desk = Desk()
    desk.ask()
    return Prices(prices).cost(replace(desk.last, model=model, billed=usage))


def test_each_kind_of_token_has_its_price() -> None:
    """Five minutes cost 1.25 times the input, an hour twice, a read a tenth, unless said otherwise."""
    assert ModelPrice("3", "15").cost_usd(USAGE) == Decimal("0.036900")
    assert ModelPrice(3, 15.0, Decimal(1), "2", 0).cost_usd(USAGE) == Decimal("0.0145")
    assert DEFAULT_PRICES["chaos-small"].cost_usd(BilledUsage(4, 1)) == Decimal("0.000002")


def test_where_a_price_comes_from() -> None:
    """Given ones first, in any case; then the endpoint's own models; then the book; else there is none."""
    given = {"Chaos-Small": ModelPrice("1", "1"), "mine": ModelPricing(1.0, 2.0, 3.0, 0.5, 4.0)}
    one = BilledUsage(1_000_000)
    assert cost(given, "chaos-small", one) == 1
    assert cost(given, "chaos-large", one) == Decimal("2.5")
    assert cost(given, "mine") == Decimal("0.0247")
    assert cost(None, "gpt-4o-mini") == cost_usd("gpt-4o-mini", USAGE.snapshot())
    assert USAGE.snapshot() == UsageSnapshot(1_000, 100, 2_000, 3_000, 4_000)
    for unknown in ("mine", "", "no such model / at all", "azure/"):
        assert cost(None, unknown) is None


@pytest.mark.parametrize("bad", [-1, float("nan"), "ten", "1e-30", "1e40", None, True, []])
def test_bad_prices_are_named(bad: Any) -> None:
    """The argument and the value."""
    with pytest.raises((TypeError, ValueError), match="input must be US dollars per million"):
        ModelPrice(bad, 1)
    with pytest.raises(TypeError, match="prices of 'm' must be a ModelPrice, got 3"):
        Prices({"m": 3})  # type: ignore[dict-item]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.decimals(0, 10**6, places=9)), max_size=20
    )
)
def test_sums_are_exact_whatever_the_callers_context(rows: list[tuple[int, int, Decimal]]) -> None:
    """Costs add up to the last digit even where three digits are all that the caller has."""
    line = ModelBill()
    with localcontext() as context:
        context.prec = 3
        for tokens, output, price in rows:
            usage = BilledUsage(tokens, output)
            line = line.with_request(usage, ModelPrice(price, price).cost_usd(usage))
    from fractions import Fraction

    exact = sum((Fraction(price) * (tokens + output) / 10**6 for tokens, output, price in rows), Fraction(0))
    assert line.cost_usd is not None
    assert Fraction(line.cost_usd) == exact


def test_one_unknown_price_makes_the_whole_unknown_and_refusals_stay_free() -> None:
    """None is not 0; what was refused costs nothing, priced or not."""
    desk = Desk()
    desk.post("/v1/messages", b"{}")
    assert desk.last.cost_usd == desk.endpoint.books.bill().cost_usd == 0
    desk.ask(model="chaos-small")
    known = desk.endpoint.books.bill().cost_usd
    assert known == desk.last.cost_usd
    desk.ask(model="of nobody")
    assert desk.last.cost_usd is None
    bill = desk.endpoint.books.bill()
    assert bill.cost_usd is None
    assert bill.models["chaos-small"].cost_usd == known


def ask(desk: Desk, *marks: str, tools: bool = False, top: bool = False) -> BilledUsage:
    """A conversation of long messages, the n-th with the n-th mark ("" for none)."""
    messages: list[dict[str, Any]] = []
    for number, mark in enumerate(marks):
        block: dict[str, Any] = {"type": "text", "text": f"w{number} " * 1_500}
        if mark:
            block["cache_control"] = {"type": "ephemeral", "ttl": mark}
        messages.append({"role": "assistant" if number % 2 else "user", "content": [block]})
    body: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": messages}
    if tools:
        tool = {"name": "t", "description": "t " * 3_000, "input_schema": {"type": "object"}}
        body["tools"] = [{**tool, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    if top:
        body["cache_control"] = {"type": "ephemeral"}
    usage = json.loads(split(desk.post(ANTHROPIC, json.dumps(body).encode())[1])[2])["usage"]
    billed = desk.last.billed
    assert usage["cache_creation"] == {
        "ephemeral_5m_input_tokens": billed.cache_write_tokens,
        "ephemeral_1h_input_tokens": billed.cache_write_1h_tokens,
    }
    assert usage["cache_creation_input_tokens"] == billed.cache_write_tokens + billed.cache_write_1h_tokens
    return billed


def test_a_later_mark_finds_what_an_earlier_one_wrote() -> None:
    """A conversation grows and its mark moves with it: only the new part is written."""
    desk = Desk()
    first = ask(desk, "1h")
    assert (first.cache_write_1h_tokens > 1_500, first.cache_write_tokens) == (True, 0)
    second = ask(desk, "", "", "5m")
    assert second.cache_read_tokens == first.cache_write_1h_tokens
    assert (second.cache_write_1h_tokens, second.cache_write_tokens > 3_000) == (0, True)
    third = ask(desk, "1h", "", "5m")
    assert third.cache_read_tokens == second.cache_read_tokens + second.cache_write_tokens
    assert (third.cache_write_1h_tokens, third.cache_write_tokens) == (0, 0)


def test_tools_and_the_whole_request_can_be_marked() -> None:
    """Tools come first; a mark on the request is one on its last message."""
    with_tools = ask(Desk(), "", tools=True)
    assert with_tools.cache_write_1h_tokens >= 3_000
    assert with_tools.input_tokens > 1_500
    whole = ask(Desk(), "", "", "", top=True)
    assert (whole.cache_write_tokens > 4_500, whole.input_tokens) == (True, 0)
