"""What is remembered of prices is what would be looked up, at every moment and for every usage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.pricing import (
    PRICING_TABLE,
    ModelPricing,
    PriceBook,
    UnknownModelError,
    cost_usd,
    quote,
    register_pricing,
    use_price_book,
    worst_case_picodollars,
)
from techrevati.runtime.pricing.files import write_book
from techrevati.runtime.pricing.quotes import (
    _forget_prices,
    charged,
    cost_picodollars_or_none,
    plain_worst_case_picodollars,
)
from techrevati.runtime.usage import UsageSnapshot

DAY = 86_400.0
CHANGE = datetime(2026, 8, 17, tzinfo=UTC).timestamp()
MODELS = {
    "house/dated": {
        "prices": [
            [{"input": 1, "output": 2, "cache_read": "0.5", "cache_write": 3}],
            [{"input": 4, "output": [5, 1000, 9], "cache_read": 1, "cache_write": 2}, {"from": "2026-08-17"}],
        ]
    },
    "house/hourly": {
        "prices": [[{"input": 1, "output": 2}], [{"input": 3, "output": 2}, {"hours": ["01:00-04:00"]}]]
    },
    "house/steady": {"prices": [[{"input": [1, 500, 2], "output": 2, "request": 7}]]},
}
times = st.sampled_from(
    [CHANGE - 3 * DAY, CHANGE - DAY - 1, CHANGE - DAY + 1, CHANGE - 1, CHANGE, CHANGE + 9e4]
)


@pytest.fixture(autouse=True)
def our_book(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for model in list(PRICING_TABLE):
        monkeypatch.delitem(PRICING_TABLE, model)
    use_price_book(PriceBook(write_book(MODELS, {"version": "ours"})))
    yield
    use_price_book(None)


calls = st.tuples(
    st.sampled_from(sorted(MODELS)),
    times,
    st.builds(
        UsageSnapshot,
        st.integers(0, 2000),
        st.integers(0, 2000),
        st.sampled_from([0, 5]),
        st.sampled_from([0, 7]),
        web_searches=st.sampled_from([0, 0, 1]),
    ),
)


@given(st.lists(calls, max_size=12))
def test_a_ledger_writes_down_what_a_quote_says(asked: list[tuple[str, float, UsageSnapshot]]) -> None:
    """In any order of times, models and parts."""
    for model, at_s, usage in asked:
        found = charged(model, usage, provider=None, at_s=at_s, tier=None)
        wanted = quote(model, usage, at=datetime.fromtimestamp(at_s, UTC))
        assert found[:4] == (wanted.cost_picodollars, wanted.source, wanted.book, wanted.tier)
        assert json.loads(found[4]) == wanted.unit_prices


@given(st.lists(st.tuples(st.sampled_from(sorted(MODELS)), times, st.integers(0, 1500)), max_size=12))
def test_the_worst_case_is_worked_out_again_before_prices_change(asked: list[tuple[str, float, int]]) -> None:
    """A call may end a day after it began: from a day before the change on, the dearer of both counts."""
    with pytest.MonkeyPatch.context() as patch:
        for model, at_s, tokens in asked:
            patch.setattr("techrevati.runtime.pricing.quotes.time.time", lambda at_s=at_s: at_s)
            remembered = worst_case_picodollars(model, input_tokens=tokens, max_output_tokens=3)
            at = datetime.fromtimestamp(at_s, UTC)
            assert remembered == worst_case_picodollars(
                model, input_tokens=tokens, max_output_tokens=3, at=at
            )


# --- prices that were registered --------------------------------------------------------------------------

PRICED = ModelPricing(7, 8)
NAMES = ["house/steady", "house/dated", "steady", "unknown-model", "house/steady-2026-01-01"]
changes = st.sampled_from(
    [
        lambda name: register_pricing(name, PRICED),
        lambda name: PRICING_TABLE.__setitem__(name, ModelPricing(1, 1)),
        lambda name: PRICING_TABLE.pop(name, None),
        lambda name: PRICING_TABLE.update({name: PRICED}),
        lambda name: PRICING_TABLE.setdefault(name, ModelPricing(2, 3)),
        lambda name: PRICING_TABLE.__ior__({name: ModelPricing(3, 3)}),
        lambda name: PRICING_TABLE.clear(),
        lambda name: PRICING_TABLE.popitem() if PRICING_TABLE else None,
        lambda name: PRICING_TABLE.__delitem__(name) if name in PRICING_TABLE else None,
        lambda name: use_price_book(PriceBook(write_book(MODELS, {"version": "ours"}))),
    ]
)


def all_of(model: str) -> list[object]:
    """What every way to ask says."""
    usage = UsageSnapshot(100, 10)
    found: list[object] = [cost_picodollars_or_none(model, usage)]
    for ask in (
        lambda: cost_usd(model, usage),
        lambda: charged(model, usage, provider=None, at_s=CHANGE, tier=None),
        lambda: worst_case_picodollars(model, input_tokens=100, max_output_tokens=10),
        lambda: plain_worst_case_picodollars(model, None, None, 100, 10),
    ):
        try:
            found.append(ask())
        except UnknownModelError:
            found.append("unknown")
    return found


@given(st.lists(st.tuples(changes, st.sampled_from(NAMES)), max_size=12))
def test_what_is_remembered_is_what_is_registered(made: list[tuple[Callable[[str], object], str]]) -> None:
    """However the table is changed: asked at every step, it says what a process says that asks once."""
    PRICING_TABLE.clear()
    for change, name in made:
        change(name)
        remembered = [all_of(model) for model in NAMES]
        _forget_prices()
        assert remembered == [all_of(model) for model in NAMES]


def test_a_registered_price_is_remembered() -> None:
    """It costs what the book's do: a second look is one look into a dict."""
    register_pricing("house-model", PRICED)
    cost_usd("house-model", UsageSnapshot(1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("techrevati.runtime.pricing.quotes.find_pricing", None)
        assert cost_usd("house-model", UsageSnapshot(1_000_000)) == 7
    PRICING_TABLE.clear()
    with pytest.raises(UnknownModelError):
        cost_usd("house-model", UsageSnapshot(1, 1))
