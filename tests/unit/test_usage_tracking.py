"""What a session used and what that cost: exact totals, kept and not recomputed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime import usage_tracking
from techrevati.runtime.pricing import PICODOLLARS_PER_USD, PRICING_TABLE, ModelPricing, register_pricing
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import HISTORY_CAPACITY, MODEL_CAPACITY, OTHER_MODELS, UsageTracker

tokens = st.integers(0, 10**9)
snapshots = st.builds(UsageSnapshot, tokens, tokens, tokens, tokens)
rates = st.decimals(0, 1_000, places=8, allow_nan=False) | st.floats(0, 1e4, allow_nan=False)


@pytest.fixture(autouse=True)
def prices() -> Iterator[None]:
    """Every test starts with an empty table and no warnings, and leaves both as they were."""
    before, warned = dict(PRICING_TABLE), set(usage_tracking._warned_unpriced_models)
    PRICING_TABLE.clear()
    usage_tracking._warned_unpriced_models.clear()
    yield
    PRICING_TABLE.clear()
    PRICING_TABLE.update(before)
    usage_tracking._warned_unpriced_models.clear()
    usage_tracking._warned_unpriced_models.update(warned)


# --- exact -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_million_additions_do_not_drift() -> None:
    """Of an amount that no binary fraction holds; a float's sum is off by then."""
    tracker, usage, calls = UsageTracker(), UsageSnapshot(1), 10_000_000
    add = tracker.add
    each = add("gpt-4o-mini", usage)
    for _ in repeat(None, calls - 1):
        add("gpt-4o-mini", usage)
    assert tracker.total_picodollars == calls * each == calls * 150_000
    assert tracker.total_cost() == 1.5
    assert tracker.turns == tracker.total_input_tokens == calls


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.tuples(rates, rates, rates, rates), min_size=1),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), snapshots), max_size=30),
)
def test_totals_equal_a_decimal_oracle(
    table: dict[str, tuple[Any, Any, Any, Any]], turns: list[tuple[str, UsageSnapshot]]
) -> None:
    """Over random prices and usages, every total is exact, and every float the nearest to it."""
    PRICING_TABLE.clear()
    usage_tracking._warned_unpriced_models.update("abc")
    for model, price in table.items():
        register_pricing(model, ModelPricing(*price))
    tracker = UsageTracker()
    by_model: dict[str, Decimal] = {}
    with localcontext() as exact:
        exact.prec = 2_000
        for model, usage in turns:
            dollars = Decimal(0)
            if model in table:
                counts = (
                    usage.input_tokens,
                    usage.output_tokens,
                    usage.cache_write_tokens,
                    usage.cache_read_tokens,
                )
                dollars = sum(
                    (Decimal(str(rate)) * count for rate, count in zip(table[model], counts, strict=True)),
                    Decimal(0),
                ) / Decimal(1_000_000)
            assert tracker.cost_for_turn(model, usage) == float(dollars)
            tracker.record_turn(model, usage)
            by_model[model] = by_model.get(model, Decimal(0)) + dollars
        total = sum(by_model.values(), Decimal(0))
        assert Fraction(tracker.total_picodollars) == Fraction(total) * PICODOLLARS_PER_USD
        assert tracker.total_cost() == float(total)
        assert tracker.per_model_summary() == {model: float(cost) for model, cost in by_model.items()}
    assert tracker.turns == len(turns)
    assert tracker.total_input_tokens == sum(usage.input_tokens for _, usage in turns)
    assert tracker.total_output_tokens == sum(usage.output_tokens for _, usage in turns)
    assert tracker.history == turns


def test_a_tenth_of_a_cent_ten_thousand_times() -> None:
    """Sums do not drift: 10,000 x 0.001 USD are 10 USD, and not strictly over 10 USD."""
    register_pricing("m", ModelPricing(0.1, 0.0))
    tracker = UsageTracker()
    for _ in range(10_000):
        tracker.record_turn("m", UsageSnapshot(10_000))
    assert tracker.total_cost() == 10.0
    assert tracker.budget_remaining(10.0) == 0.0
    assert tracker.is_over_budget(10.0) is False
    tracker.record_turn("m", UsageSnapshot(1))
    assert tracker.is_over_budget(10) is True
    assert tracker.is_over_budget(Decimal("10.0000001")) is False


def test_eight_threads_lose_no_token() -> None:
    """8 x 500 turns of three models, read while they are recorded."""
    register_pricing("m0", ModelPricing(0.3, 0.7))
    register_pricing("m1", ModelPricing(1.1, 0.0))
    tracker = UsageTracker()
    start = threading.Barrier(8)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            start.wait()
            for n in range(500):
                tracker.record_turn(f"m{n % 2}" if number % 2 else "", UsageSnapshot(1_000, 1))
                if n % 100 == 0:
                    tracker.summary()
                    tracker.per_model_summary()
                    assert len(tracker.history) <= HISTORY_CAPACITY
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert tracker.turns == 4_000
    assert (tracker.total_input_tokens, tracker.total_output_tokens) == (4_000_000, 4_000)
    cents = Decimal("0.3") * 1_000_000 + Decimal("0.7") * 1_000 + Decimal("1.1") * 1_000_000
    assert Fraction(tracker.total_picodollars) == Fraction(cents) * 1_000_000


# --- bounded -----------------------------------------------------------------------------------------------


def test_the_history_is_bounded_and_the_totals_are_not() -> None:
    """The last 1,000 turns are kept, 1,500 are counted."""
    tracker = UsageTracker()
    for n in range(HISTORY_CAPACITY + 500):
        tracker.record_turn("", UsageSnapshot(n))
    history = tracker.history
    assert len(history) == HISTORY_CAPACITY == 1_000
    assert [usage.input_tokens for _, usage in history] == list(range(500, 1_500))
    assert tracker.turns == 1_500
    assert tracker.total_input_tokens == sum(range(1_500))


def test_a_turn_costs_the_same_however_many_came_before() -> None:
    """Reading a total looks at no turn: it works when the history is gone."""
    tracker = UsageTracker()
    for _ in range(3 * HISTORY_CAPACITY):
        tracker.record_turn("", UsageSnapshot(1, 2))
    tracker.history.clear()
    assert (tracker.total_input_tokens, tracker.total_output_tokens) == (3_000, 6_000)
    assert len(tracker.history) == HISTORY_CAPACITY


def test_invented_model_names_are_added_up_together() -> None:
    """Beyond 1,000 models the rest is one line; the sum stays exact, and the history tells the real names."""
    register_pricing("family", ModelPricing(1.0, 0.0))
    tracker = UsageTracker()
    for n in range(MODEL_CAPACITY + 200):
        tracker.record_turn(f"family@{n}", UsageSnapshot(1_000_000))
    by_model = tracker.per_model_summary()
    assert len(by_model) == MODEL_CAPACITY + 1
    assert by_model[OTHER_MODELS] == 200.0
    assert tracker.total_cost() == float(MODEL_CAPACITY + 200)
    tracker.record_turn("family@7", UsageSnapshot(1_000_000))
    assert tracker.per_model_summary()["family@7"] == 2.0
    assert tracker.history[-2][0] == f"family@{MODEL_CAPACITY + 199}"


def test_the_warnings_are_bounded() -> None:
    """A program that invents model names fills neither memory nor log."""
    tracker = UsageTracker()
    for n in range(MODEL_CAPACITY + 50):
        tracker.record_turn(f"unpriced {n}", UsageSnapshot(1))
    assert len(usage_tracking._warned_unpriced_models) <= MODEL_CAPACITY


# --- without a price ---------------------------------------------------------------------------------------


def test_the_empty_model_counts_tokens(caplog: pytest.LogCaptureFixture) -> None:
    """``""`` costs nothing, is never warned about, and its tokens and turns count."""
    tracker = UsageTracker()
    with caplog.at_level(logging.DEBUG):
        tracker.record_turn("", UsageSnapshot(10, 20))
    assert not caplog.records
    assert (tracker.turns, tracker.total_input_tokens, tracker.total_output_tokens) == (1, 10, 20)
    assert tracker.total_cost() == 0.0
    assert tracker.summary()["turns"] == 1


def test_asking_for_a_cost_records_and_warns_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """``cost_for_turn`` is a question."""
    tracker = UsageTracker()
    with caplog.at_level(logging.DEBUG):
        assert tracker.cost_for_turn("unpriced", UsageSnapshot(10)) == 0.0
    assert not caplog.records
    assert tracker.turns == 0


def test_a_cousin_is_not_priced() -> None:
    """``house-4`` registered: ``house-4o`` and ``house-4.1`` cost nothing and are warned about."""
    register_pricing("house-4", ModelPricing(30.0, 60.0))
    tracker = UsageTracker()
    for model in ("house-4o", "house-4.1", "house-4o-2024-08-06"):
        tracker.record_turn(model, UsageSnapshot(1_000_000, 1_000_000))
    assert tracker.total_cost() == 0.0
    assert usage_tracking._warned_unpriced_models == {"house-4o", "house-4.1", "house-4o-2024-08-06"}
    tracker.record_turn("house-4-0613", UsageSnapshot(1_000_000))
    assert tracker.total_cost() == 30.0


def test_a_price_registered_later_counts_from_then_on() -> None:
    """Turns are priced when they are recorded."""
    tracker = UsageTracker()
    tracker.record_turn("late", UsageSnapshot(1_000_000))
    register_pricing("late", ModelPricing(1.0, 0.0))
    tracker.record_turn("late", UsageSnapshot(1_000_000))
    assert tracker.total_cost() == 1.0


# --- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("usage", [None, {"input_tokens": 1}, 7])
@pytest.mark.parametrize("model", ["", "priced", "unpriced"])
def test_wrong_usage_leaves_the_books_alone(model: str, usage: Any) -> None:
    """It raises, and no turn, token or model was counted."""
    register_pricing("priced", ModelPricing(1.0, 1.0))
    tracker = UsageTracker()
    with pytest.raises((TypeError, AttributeError)):
        tracker.record_turn(model, usage)
    assert (tracker.turns, tracker.total_input_tokens, tracker.total_output_tokens) == (0, 0, 0)
    assert tracker.per_model_summary() == {}


@pytest.mark.parametrize("budget", [float("nan"), "1", None, True])
def test_a_wrong_budget_is_refused(budget: Any) -> None:
    """A ValueError or TypeError names the argument and the value."""
    for ask in (UsageTracker().is_over_budget, UsageTracker().budget_remaining):
        with pytest.raises((TypeError, ValueError), match="usd") as caught:
            ask(budget)
        assert repr(budget) in str(caught.value)


def test_budgets_without_end_and_below_zero() -> None:
    """An infinite budget is never exceeded; a negative one is by anything, nothing included."""
    register_pricing("m", ModelPricing(1.0, 0.0))
    tracker = UsageTracker()
    assert tracker.is_over_budget(0.0) is False
    assert tracker.is_over_budget(-1.0) is True
    tracker.record_turn("m", UsageSnapshot(10**15))
    assert tracker.is_over_budget(float("inf")) is False
    assert tracker.budget_remaining(float("inf")) == float("inf")
    assert tracker.is_over_budget(10**9 - 1) is True


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        ("0", "$0.0000"),
        ("0.00004", "$0.0000"),
        ("0.00006", "$0.0001"),
        ("0.009999", "$0.0100"),
        ("0.01", "$0.01"),
        ("0.014", "$0.01"),
        ("1234.567", "$1234.57"),
    ],
)
def test_format_cost(dollars: str, text: str) -> None:
    """Four decimals below a cent, else two."""
    register_pricing("m", ModelPricing(Decimal(dollars), 0.0))  # type: ignore[arg-type]
    tracker = UsageTracker()
    tracker.record_turn("m", UsageSnapshot(1_000_000))
    assert tracker.format_cost() == tracker.summary()["formatted_cost"] == text


def test_the_warning_of_an_unpriced_model_shows_no_key(caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-proj-" + "a1B2c3D4" * 6
    UsageTracker().record_turn(f"unpriced {key}", UsageSnapshot(1, 1))
    assert "no price for model 'unpriced " in caplog.text
    assert key not in caplog.text
