"""Prices: exact money, and a name boundary between a model and its cousins."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.pricing import (
    PICODOLLARS_PER_USD,
    PRICING_TABLE,
    ModelPricing,
    find_pricing,
    has_pricing,
    load_pricing_from_file,
    picodollars,
    register_pricing,
    usd,
)
from techrevati.runtime.usage import UsageSnapshot

ONE = ModelPricing(1.0, 2.0)
tokens = st.integers(0, 10**9)
snapshots = st.builds(UsageSnapshot, tokens, tokens, tokens, tokens)
written_prices = st.decimals(0, 10_000, places=6, allow_nan=False)
any_prices = st.floats(0, 1e6, allow_nan=False) | written_prices


@pytest.fixture(autouse=True)
def prices() -> Iterator[None]:
    """Every test starts with an empty table and leaves it as it was."""
    before = dict(PRICING_TABLE)
    PRICING_TABLE.clear()
    yield
    PRICING_TABLE.clear()
    PRICING_TABLE.update(before)


# --- prices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["input_per_million", "output_per_million", "cache_write_per_million", "cache_read_per_million"],
)
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-0.01, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (Decimal("NaN"), ValueError),
        ("1.0", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_wrong_prices_are_refused(name: str, value: Any, kind: type[Exception]) -> None:
    """At once, with the argument's name and value."""
    with pytest.raises(kind, match=name) as caught:
        ModelPricing(**{"input_per_million": 1.0, "output_per_million": 1.0, name: value})
    assert repr(value) in str(caught.value)


@given(any_prices, any_prices, any_prices, any_prices, snapshots)
def test_a_call_costs_exactly_what_the_prices_say(
    given_price: float, output: float, write: float, read: float, usage: UsageSnapshot
) -> None:
    """Equal to a sum in Decimal of the digits that were written, to the last one."""
    pricing = ModelPricing(given_price, output, write, read)
    with localcontext() as exact:
        exact.prec = 1_000
        dollars = (
            Decimal(str(given_price)) * usage.input_tokens
            + Decimal(str(output)) * usage.output_tokens
            + Decimal(str(write)) * usage.cache_write_tokens
            + Decimal(str(read)) * usage.cache_read_tokens
        ) / 1_000_000
        assert Fraction(pricing.cost_picodollars(usage)) == Fraction(dollars) * PICODOLLARS_PER_USD
        assert usd(pricing.cost_picodollars(usage)) == float(dollars)


@given(written_prices, snapshots)
def test_published_prices_stay_whole(price: Decimal, usage: UsageSnapshot) -> None:
    """A price with six decimals is a whole number of pico-dollars a token, which adds up fastest."""
    cost = ModelPricing(price, price).cost_picodollars(usage)  # type: ignore[arg-type]
    assert type(cost) is int


@given(st.floats(0, 1e9, allow_nan=False))
def test_dollars_and_picodollars(amount: float) -> None:
    """Of a float, the digits it prints are meant, and they come back."""
    assert Fraction(picodollars(amount)) == Fraction(str(amount)) * PICODOLLARS_PER_USD
    assert usd(picodollars(amount)) == amount


def test_ten_cents_thirty_times_is_three_dollars() -> None:
    """No binary fraction drifts."""
    assert sum(picodollars(0.1) for _ in range(30)) == picodollars(3)


# --- names -------------------------------------------------------------------------------------------------

VARIANTS = [
    ("gpt-4", "gpt-4-0613"),
    ("gpt-4", "gpt-4-1106"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4", "gpt-4-latest"),
    ("family", "family-20260514"),
    ("family", "family-2026-05-14"),
    ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022"),
    ("claude-3-5-sonnet", "claude-3-5-sonnet@20241022"),
    ("claude-3-5-sonnet", "claude-3-5-sonnet-latest"),
    ("anthropic.claude-3-5-sonnet", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ("anthropic.claude-3-5-sonnet-20241022", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ("amazon.nova-pro", "amazon.nova-pro-v1:0"),
    ("gemini-1.5-pro", "gemini-1.5-pro-002"),
    ("mistral-large", "mistral-large-2407"),
    ("model", "model@default"),
    ("command-r", "command-r-08-2024"),
]
STRANGERS = [
    ("gpt-4", "gpt-4o"),
    ("gpt-4", "gpt-4.1"),
    ("gpt-4", "gpt-4-32k"),
    ("gpt-4", "gpt-4-turbo"),
    ("gpt-4", "gpt-4-turbo-2024-04-09"),
    ("gpt-4", "gpt-4-0125-preview"),
    ("gpt-4", "gpt-45"),
    ("gpt-4", "gpt-4-"),
    ("gpt-4", "gpt-4 0613"),
    ("gpt-4", "my-gpt-4"),
    ("gpt-4", "gpt"),
    ("gpt-4", ""),
    ("gpt-5", "gpt-5-mini"),
    ("gpt-5", "gpt-5-mini-2025-08-07"),
    ("gpt-5", "gpt-5.1"),
    ("o1", "o1-mini"),
    ("o1", "o100"),
    ("claude-3", "claude-3-5-sonnet"),
    ("claude-3", "claude-3-opus-20240229"),
    ("claude-opus-4", "claude-opus-4-1-20250805"),
    ("gpt-4", "gpt-4-1106-vision-preview"),
    ("family", "familiar-20260514"),
    ("family", "family-20261332"),
    ("family", "family-latest-mini"),
    ("gemini-1.5-pro", "gemini-1.5-pro-exp"),
    ("llama-3", "llama-3-70b"),
    ("gpt-4-0613", "gpt-4"),
    ("gpt-4-latest", "gpt-4"),
]


@pytest.mark.parametrize(("registered", "model"), VARIANTS)
def test_a_date_or_revision_is_the_same_model(registered: str, model: str) -> None:
    """Dates, revisions and ``-latest`` may follow a registered name, in any letter case."""
    register_pricing(registered, ONE)
    assert find_pricing(model) is ONE
    assert find_pricing(model.upper()) is ONE
    assert has_pricing(model)


@pytest.mark.parametrize(("registered", "model"), STRANGERS)
def test_any_other_word_is_another_model(registered: str, model: str) -> None:
    """A cousin with another suffix is never priced by its family."""
    register_pricing(registered, ONE)
    assert find_pricing(model) is None


@given(
    st.sampled_from(["gpt-4", "gpt-5", "claude-3", "o1", "family"]),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=12).filter(
        lambda text: any(letter.isalpha() for letter in text)
    ),
)
def test_no_suffix_with_letters_matches(registered: str, suffix: str) -> None:
    """Whatever word follows, only ``-latest`` and ``-v<number>`` are no new model."""
    words = [word for word in suffix.split("-") if any(letter.isalpha() for letter in word)]
    if all(word == "latest" or (word[0] == "v" and word[1:].isdigit()) for word in words):
        return
    PRICING_TABLE.clear()
    register_pricing(registered, ONE)
    assert find_pricing(registered + suffix) is None


@given(st.lists(st.sampled_from(["-20260514", "-2026-05-14", "-0613", "-v1:0", "-latest", "@x"]), max_size=3))
def test_the_longest_registered_name_wins(suffixes: list[str]) -> None:
    """Every prefix that ends at a boundary is a candidate; the longest registered one is taken."""
    PRICING_TABLE.clear()
    names = ["family" + "".join(suffixes[:length]) for length in range(len(suffixes) + 1)]
    for number, name in enumerate(names):
        register_pricing(name, ModelPricing(float(number), 0.0))
    for number, name in enumerate(names):
        last = max(index for index, other in enumerate(names) if other == name)
        found = find_pricing(name)
        assert found is not None
        assert found.input_per_million == float(last), (number, name)


def test_registering_a_variant_leaves_the_family_alone() -> None:
    """``gpt-4-0613`` has its own price, ``gpt-4-1106`` that of ``gpt-4``."""
    other = ModelPricing(9.0, 9.0)
    register_pricing("gpt-4", ONE)
    register_pricing("GPT-4-0613", other)
    assert find_pricing("gpt-4-0613") is other
    assert find_pricing("gpt-4-1106") is ONE
    assert find_pricing("gpt-4") is ONE


def test_long_names_are_looked_up_fast() -> None:
    """A megabyte of dates is a wrong name, not an attack: few steps, no backtracking."""
    assert find_pricing("x" + "-20260514" * 200) is None
    assert find_pricing("x" * 1_000_000) is None
    assert find_pricing("@" * 10_000) is None


# --- registering -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "pricing", "kind", "named"),
    [
        ("", ONE, ValueError, "model"),
        ("  ", ONE, ValueError, "model"),
        (None, ONE, TypeError, "model"),
        ("m", None, TypeError, "pricing"),
        ("m", 1.0, TypeError, "pricing"),
        ("m", {"input_per_million": 1.0}, TypeError, "pricing"),
    ],
)
def test_wrong_registrations_are_refused(model: Any, pricing: Any, kind: type[Exception], named: str) -> None:
    """At once, with the argument's name; the table stays as it was."""
    with pytest.raises(kind, match=named):
        register_pricing(model, pricing)
    assert PRICING_TABLE == {}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[]", "models"),
        ("{}", "models"),
        ('{"models": []}', "models"),
        ('{"models": {"good": {"input_per_million": 1, "output_per_million": 1}, "bad": {}}}', "bad"),
        (
            '{"models": {"good": {"input_per_million": 1, "output_per_million": 1}, '
            '"bad": {"input_per_million": 1, "output_per_million": -1}}}',
            "output_per_million",
        ),
        ('{"models": {"bad": {"input_per_million": "1", "output_per_million": 1}}}', "input_per_million"),
        ('{"models": {"bad": {"input_per_million": NaN, "output_per_million": 1}}}', "input_per_million"),
        ('{"models": {"bad": 7}}', "bad"),
        ('{"models": {"": {"input_per_million": 1, "output_per_million": 1}}}', "model"),
        ("not json", "Expecting value"),
    ],
)
def test_a_wrong_file_registers_nothing(tmp_path: Path, content: str, part: str) -> None:
    """A ValueError names the model or key; not even the good entries before it count."""
    path = tmp_path / "prices.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=part):
        load_pricing_from_file(path)
    assert PRICING_TABLE == {}


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """Nothing is registered."""
    with pytest.raises(OSError):
        load_pricing_from_file(tmp_path / "none.json")
    assert PRICING_TABLE == {}


def test_a_file_may_say_more(tmp_path: Path) -> None:
    """Unknown keys are ignored, cache prices optional, names in any case."""
    path = tmp_path / "prices.json"
    entry = {"input_per_million": 0.1, "output_per_million": 0.2, "context": 8_000}
    path.write_text(json.dumps({"models": {"Some-Model": entry}, "date": "2026-01-01"}), encoding="utf-8")
    load_pricing_from_file(path)
    assert {"some-model": ModelPricing(0.1, 0.2)} == PRICING_TABLE


def test_the_table_may_change_while_others_read_it() -> None:
    """Four threads register, load and delete, four look up and see one of the prices: nobody fails."""
    start = threading.Barrier(8)
    errors: list[BaseException] = []
    known = {1.0, 2.0}

    def write(number: int) -> None:
        for n in range(400):
            register_pricing("family", ModelPricing(1.0 + n % 2, 0.0))
            register_pricing(f"m{number}-{n}x", ONE)
            PRICING_TABLE.pop(f"m{number}-{n}x")

    def read() -> None:
        for _ in range(400):
            found = find_pricing("family-20260514")
            assert found is None or found.input_per_million in known
            assert not has_pricing("famil")

    def run(number: int) -> None:
        try:
            start.wait()
            write(number) if number % 2 else read()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert set(PRICING_TABLE) == {"family"}
