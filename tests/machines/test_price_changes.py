"""A call is priced with a price that held at some moment of it, whoever changes prices meanwhile."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from threading import Barrier, RLock, Thread
from types import FrameType
from typing import Any
from unittest.mock import patch

import pytest

from techrevati.runtime.pricing import (
    PRICING_TABLE,
    ModelPricing,
    PriceBook,
    UnknownModelError,
    cost_picodollars_or_none,
    cost_usd,
    quotes,
    register_pricing,
    use_price_book,
    worst_case_picodollars,
)
from techrevati.runtime.pricing.files import write_book
from techrevati.runtime.pricing.quotes import charged
from techrevati.runtime.pricing.registered import pricing_table
from techrevati.runtime.usage import UsageSnapshot
from tests.interleavings import Turns, explore

FILES = ("pricing/quotes.py", "pricing/registered.py")
SHARED = frozenset({"_current", "_worst", "_charged", "_entries", "_book", "PRICING_TABLE"})
USAGE = UsageSnapshot(1000)
NAMED, DATED, ELSEWHERE = "house/m", "house/m-2026-01-01", "m"


def book(price: int) -> PriceBook:
    """One that has a price for one model."""
    return PriceBook(write_book({"house/m": {"prices": [[{"input": price, "output": 0}]]}}, {"version": "x"}))


BOOKS = book(1), book(2)


every_opcode = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="3.13 does not trace every opcode it is asked to"
)


@pytest.fixture
def turns_are_short() -> Iterator[None]:
    """Threads change over after some microseconds, not after five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def our_prices() -> Iterator[None]:
    before = dict(PRICING_TABLE)
    PRICING_TABLE.clear()
    use_price_book(BOOKS[0])
    yield
    vars(pricing_table).pop("lock", None)
    PRICING_TABLE.clear()
    PRICING_TABLE.update(before)
    use_price_book(None)


def registered(price: int) -> ModelPricing:
    """A price of input alone."""
    return ModelPricing(price, 0)


def by_cost(model: str) -> object:
    """US dollars for a thousand million tokens, whichever way one asks; None where nothing prices them."""
    try:
        return int(cost_usd(model, USAGE) * 1000)
    except UnknownModelError:
        return None


def by_tracker(model: str) -> object:
    """As ``UsageTracker`` asks."""
    found = cost_picodollars_or_none(model, USAGE)
    return None if found is None else found // 10**9


def by_ledger(model: str) -> object:
    """As ``SpendLedger`` asks."""
    try:
        found = charged(model, USAGE, provider=None, at_s=0.0, tier=None)
    except UnknownModelError:
        return None
    return found[0] // 10**9


def by_budget(model: str) -> object:
    """As ``Budget`` asks."""
    try:
        return worst_case_picodollars(model, input_tokens=1000, max_output_tokens=0) // 10**9
    except UnknownModelError:
        return None


WAYS = by_cost, by_tracker, by_ledger, by_budget
# What is registered before, and what changes it.
CHANGES: dict[str, tuple[dict[str, int], Callable[[], object]]] = {
    "register": ({}, lambda: register_pricing(NAMED, registered(5))),
    "override": ({NAMED: 4}, lambda: PRICING_TABLE.update({NAMED: registered(5)})),
    "remove": ({NAMED: 4}, lambda: PRICING_TABLE.pop(NAMED)),
    "remove all": ({NAMED: 4}, PRICING_TABLE.clear),
    "book": ({}, lambda: use_price_book(BOOKS[1])),
}


def begin(before: dict[str, int], ways: Iterable[Callable[[str], object]]) -> None:
    """Register *before*, and let it be remembered."""
    use_price_book(BOOKS[0])
    PRICING_TABLE.clear()
    PRICING_TABLE.update({name: registered(price) for name, price in before.items()})
    for way in ways:
        way(NAMED)


def holds() -> object:
    """The price that a look without memory finds."""
    found = PRICING_TABLE.get(NAMED)
    if found is not None:
        return found.input_per_million
    return 1 if quotes._book is BOOKS[0] else 2


@every_opcode
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("change", CHANGES)
def test_a_call_is_priced_as_at_some_moment_of_it(change: str, way: Callable[[str], object]) -> None:
    """With every way to change over between who asks and who changes prices, and also afterwards."""
    before, make = CHANGES[change]

    def scenario(turns: Turns) -> tuple[list[Callable[[], object]], Callable[[], None]]:
        begin(before, [way])
        vars(pricing_table)["lock"] = turns.lock()

        def ask() -> None:
            for model in (DATED, NAMED, DATED):
                first = holds()
                found = way(model)
                assert found in (first, holds())

        def check() -> None:
            del pricing_table.lock
            assert [way(model) for model in (NAMED, DATED)] == [holds()] * 2

        return [ask, make], check

    assert explore(scenario, FILES, SHARED, threads=2) > 20


@pytest.mark.usefixtures("turns_are_short")
def test_threads_see_each_price_while_it_holds() -> None:
    """Four ask, each in every way, while one raises the price step by step."""
    begun = ended = 1
    register_pricing(NAMED, registered(1))
    together = Barrier(5)
    wrong: list[object] = []
    rounds = 300

    def ask(model: str) -> None:
        together.wait(10)
        while ended < rounds and not wrong:
            for way in WAYS:
                at_least = ended
                found = way(model)
                if not (isinstance(found, int) and at_least <= found <= begun):
                    wrong.append((way.__name__, at_least, found, begun))

    threads = [Thread(target=ask, args=(model,)) for model in (NAMED, DATED) * 2]
    for thread in threads:
        thread.start()
    together.wait(10)
    for price in range(2, rounds + 1):
        begun = price
        if price % 3 == 0:
            PRICING_TABLE.update({NAMED: registered(price)})
        elif price % 3 == 1:
            register_pricing(NAMED.upper(), registered(price))
        else:
            use_price_book(BOOKS[price % 2])
            PRICING_TABLE[NAMED] = registered(price)
        ended = price
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert [way(NAMED) for way in WAYS] == [rounds] * len(WAYS)


@every_opcode
def test_who_counts_what_nothing_prices_never_raises() -> None:
    """A price may be taken back while it is looked for."""

    def scenario(turns: Turns) -> tuple[list[Callable[[], object]], Callable[[], None]]:
        PRICING_TABLE.update(unpriced=registered(3))
        vars(pricing_table)["lock"] = turns.lock()

        def ask() -> None:
            assert by_tracker("unpriced") in (3, None)

        def check() -> None:
            del pricing_table.lock
            assert by_tracker("unpriced") is None

        return [ask, PRICING_TABLE.clear], check

    assert explore(scenario, FILES, SHARED, threads=2) > 5


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_cut_short_leaves_no_old_price(change: str) -> None:
    """``KeyboardInterrupt`` at any line of it: either it was made or not, and all ways to ask see which."""
    before, make = CHANGES[change]
    lines = 0
    ended = False
    while not ended:
        begin(before, WAYS)
        # Its own, for it may stay held: a tracer interrupts at the end of a ``with``, where no signal does.
        vars(pricing_table)["lock"] = RLock()
        lines += 1
        ended = not interrupted(make, lines)
        del pricing_table.lock
        assert [way(NAMED) for way in WAYS] == [holds()] * len(WAYS), lines
    assert lines > 5


def interrupted(make: Callable[[], object], at: int) -> bool:
    """Run *make* until it has passed so many lines of the package; whether it got that far."""
    seen = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        seen += event == "line"
        if seen == at:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        make()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(previous)
    return False


def test_a_change_in_the_middle_of_another_is_seen() -> None:
    """An iterator that ``update`` asks, or a handler of a signal, may register a price itself."""

    def given() -> Iterator[tuple[str, ModelPricing]]:
        register_pricing("other", registered(8))
        by_cost(NAMED)
        yield NAMED, registered(6)
        assert by_cost("other") == 8
        with pricing_table.lock:
            register_pricing("third", registered(9))
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        PRICING_TABLE.update(given())
    assert [by_cost(model) for model in (NAMED, DATED, "other", "third")] == [6, 6, 8, 9]


def test_copies_are_plain_dicts() -> None:
    """A pickle is read wherever ``ModelPricing`` is known; what is done to a copy changes no price."""
    register_pricing(NAMED, registered(5))
    for copied in (
        copy.copy(PRICING_TABLE),
        copy.deepcopy(PRICING_TABLE),
        PRICING_TABLE.copy(),
        PRICING_TABLE | {},
        *(pickle.loads(pickle.dumps(PRICING_TABLE, protocol)) for protocol in range(6)),  # noqa: S301
    ):
        assert type(copied) is dict
        assert copied == PRICING_TABLE
        copied.clear()
    assert by_cost(NAMED) == 5


def test_a_patched_table_is_seen_and_so_is_its_end() -> None:
    """As tests of programs patch it."""
    register_pricing(NAMED, registered(5))
    with patch.dict(PRICING_TABLE, {DATED: registered(6)}):
        assert [by_cost(NAMED), by_cost(DATED)] == [5, 6]
    with patch.dict(PRICING_TABLE, clear=True):
        assert [by_cost(NAMED), by_cost(DATED)] == [1, 1]
    with pytest.MonkeyPatch.context() as patched:
        patched.delitem(PRICING_TABLE, NAMED)
        patched.setitem(PRICING_TABLE, DATED, registered(7))
        assert [by_cost(NAMED), by_cost(DATED)] == [1, 7]
    assert [by_cost(NAMED), by_cost(DATED)] == [5, 5]


@pytest.mark.parametrize("given", [{"provider": ["azure"]}, {"tier": ["standard"]}, {"tier": []}])
def test_what_is_no_key_is_priced_too(given: dict[str, Any]) -> None:
    """It is only not remembered."""
    register_pricing(NAMED, registered(5))
    assert cost_usd(NAMED, USAGE, **given) * 1000 == 5
    assert charged(NAMED, USAGE, **{"provider": None, "tier": None, **given}, at_s=0.0)[0] == 5 * 10**9


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("usage", [None, 5, {}])
def test_a_usage_that_is_none_is_refused(usage: Any, registers: bool) -> None:
    """By every way to ask, whatever is registered."""
    if registers:
        register_pricing(NAMED, registered(5))
    for ask in (
        lambda: cost_usd(NAMED, usage),
        lambda: cost_picodollars_or_none(NAMED, usage),
        lambda: charged(NAMED, usage, provider=None, at_s=0.0, tier=None),
    ):
        with pytest.raises(TypeError, match="usage must be a UsageSnapshot, got"):
            ask()
