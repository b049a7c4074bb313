"""A breaker in a store, on every store: what its processes share, how far counts lag, a store that fails."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    BreakerRegistry,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.circuit_breaker.record import KEY_PREFIX
from techrevati.runtime.stores import MemoryStore, Store, StoreUnavailableError
from techrevati.runtime.testing import FakeClock
from tests.stores import STORES, Kind


class FailedError(Exception):
    """What the dependency raises."""


def fail() -> None:
    raise FailedError


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000.0)


@pytest.fixture(params=STORES, ids=lambda kind: kind.name)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Store:
    kind: Kind = request.param
    return kind.make(tmp_path, clock)


class Counting:
    """A store that counts what is asked of it, and fails when told to."""

    def __init__(self, inside: Store) -> None:
        self.inside = inside
        self.loads = self.updates = 0
        self.error: Exception | None = None
        self.threads: set[int] = set()

    def load(self, key: str) -> Any:
        self.loads += 1
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return self.inside.load(key)

    def update(self, keys: Any, decide: Any, *, durable: bool = True) -> Any:
        self.updates += 1
        self.threads.add(threading.get_ident())
        assert not durable  # an opening need not survive a power failure, and must not cost a sync
        if self.error is not None:
            raise self.error
        return self.inside.update(keys, decide, durable=durable)


def two(store: Any, clock: FakeClock, **options: Any) -> tuple[CircuitBreaker, CircuitBreaker]:
    options = {"failure_threshold": 2, "recovery_timeout_seconds": 10.0, **options}
    first = CircuitBreaker("api", clock=clock, store=store, **options)
    return first, CircuitBreaker("api", clock=clock, store=store, **options)


def open_it(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        breaker.record_failure()


# --- one state, on every store -----------------------------------------------------------------------------


def test_failures_of_both_open_it_for_both(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    for breaker in (first, second):
        with pytest.raises(FailedError):
            breaker.call(fail)
    for breaker in (first, second):
        with pytest.raises(CircuitOpenError) as refused:
            breaker.call(lambda: "never")
        assert refused.value.retry_after == 10.0


def test_one_probe_for_both_and_its_success_closes_both(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    open_it(first)
    clock.advance(10)
    with first:
        assert second.state() is CircuitState.HALF_OPEN
        with pytest.raises(CircuitOpenError) as refused:
            second.call(lambda: "never")
        assert refused.value.retry_after == 60.0
    assert second.call(lambda: "again") == "again"


def test_a_prober_that_is_gone_loses_its_permit_when_its_lease_ends(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock, probe_lease_seconds=5)
    open_it(first)
    clock.advance(10)
    gone = first.guard()
    gone.__enter__()
    clock.advance(4.99)
    with pytest.raises(CircuitOpenError):
        second.call(lambda: "too early")
    clock.advance(0.01)
    assert second.call(lambda: "the permit is back") == "the permit is back"


def test_a_cancelled_probe_gives_its_permit_back(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    open_it(first)
    clock.advance(10)
    with pytest.raises(KeyboardInterrupt), first:
        raise KeyboardInterrupt
    assert second.call(lambda: "a probe") == "a probe"


def test_by_hand_is_for_both(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    first.force_open()
    with pytest.raises(CircuitOpenError) as refused:
        second.call(lambda: "never")
    assert refused.value.retry_after is None
    second.disable()
    assert not first.enabled
    for _ in range(5):
        first.record_failure()
    first.enabled = True
    assert second.snapshot().mode == "normal"
    assert second.snapshot().failures == 0


def test_late_news_of_another_process_changes_nothing(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    late = second.guard()
    late.__enter__()
    open_it(first)
    clock.advance(10)
    late.__exit__(None, None, None)
    assert first.state() is CircuitState.HALF_OPEN


def test_other_names_are_other_breakers(store: Store, clock: FakeClock) -> None:
    one = CircuitBreaker("a", 1, store=store, clock=clock)
    other = CircuitBreaker("b", 1, store=store, clock=clock)
    one.record_failure()
    assert one.is_open()
    assert not other.is_open()


def test_who_only_observes_is_not_refused_and_the_others_are(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    first.observe_only = True
    open_it(first)
    assert first.call(lambda: "seen") == "seen"
    with pytest.raises(CircuitOpenError):
        second.call(lambda: "never")


def test_windows_add_up(store: Store, clock: FakeClock) -> None:
    for name, window in (("count", {"window_calls": 10}), ("time", {"window_seconds": 60.0})):
        options: dict[str, Any] = {"minimum_calls": 4, "clock": clock, "store": store, **window}
        first, second = CircuitBreaker(name, **options), CircuitBreaker(name, **options)
        first.call(lambda: None)
        second.call(lambda: None)
        first.record_failure()
        assert second.snapshot().window_calls == 3
        second.record_failure()
        assert first.is_open()


def test_every_form_passes_the_store(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock, failure_threshold=1)

    @first
    def plain() -> None:
        raise FailedError

    @first
    async def coroutine() -> None:
        raise FailedError

    @first
    def generator() -> Any:
        yield 1
        raise FailedError

    @first
    async def stream() -> Any:
        yield 1
        raise FailedError

    async def read() -> None:
        async for _ in stream():
            pass

    async def block() -> None:
        async with first.as_async():
            raise FailedError

    async def face() -> None:
        await first.as_async().call(coroutine.__wrapped__)  # type: ignore[attr-defined]

    forms: list[Callable[[], object]] = [
        plain,
        lambda: asyncio.run(coroutine()),
        lambda: list(generator()),
        lambda: asyncio.run(read()),
        lambda: asyncio.run(block()),
        lambda: asyncio.run(face()),
    ]
    for form in forms:
        second.reset()
        with pytest.raises(FailedError):
            form()
        assert second.is_open()
        with pytest.raises(CircuitOpenError):
            form()


def test_the_async_face_asks_everything_of_the_store(store: Store, clock: FakeClock) -> None:
    breaker = AsyncCircuitBreaker("api", 1, clock=clock, store=store)

    async def main() -> list[object]:
        await breaker.record_failure()
        seen: list[object] = [await breaker.is_open(), await breaker.state()]
        await breaker.reset()
        await breaker.record_success()
        seen.append((await breaker.snapshot()).state)
        await breaker.force_open()
        seen.append((await breaker.snapshot()).mode)
        await breaker.disable()
        seen.append(await breaker.state())
        return seen

    assert asyncio.run(main()) == [
        True,
        CircuitState.OPEN,
        CircuitState.CLOSED,
        "forced_open",
        CircuitState.CLOSED,
    ]


# --- what it costs, and how far counts lag -----------------------------------------------------------------


def test_a_good_call_while_closed_writes_nothing(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, _ = two(counting, clock)
    for _ in range(100):
        breaker.call(lambda: None)
    assert counting.updates == 0
    assert counting.loads <= 200


def test_a_refusal_writes_nothing(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, _ = two(counting, clock)
    open_it(breaker)
    written = counting.updates
    for _ in range(10):
        with pytest.raises(CircuitOpenError):
            breaker.call(lambda: None)
    assert counting.updates == written


@pytest.mark.parametrize("window", [{"window_calls": 100}, {"window_seconds": 1000.0}])
def test_a_window_misses_at_most_a_twentieth(clock: FakeClock, window: dict[str, Any]) -> None:
    """Of 300 good calls few are written; others see all but a twentieth, and a failure brings the rest."""
    counting = Counting(MemoryStore(clock=clock))
    first, second = two(counting, clock, minimum_calls=10, **window)
    for number in range(1, 301):
        first.call(lambda: None)
        true = min(100, number) if "window_calls" in window else number
        assert first.snapshot().window_calls == true
        assert true - second.snapshot().window_calls <= true / 20
    assert counting.updates <= 120
    first.record_failure()
    assert second.snapshot().window_calls == (100 if "window_calls" in window else 301)
    assert second.snapshot().window_failed == 1


def test_nothing_is_held_back_while_there_are_too_few_calls_to_judge(clock: FakeClock) -> None:
    """Else the last of *minimum_calls* would come too late for the others."""
    first, second = two(MemoryStore(clock=clock), clock, minimum_calls=60, window_calls=100)
    for number in range(1, 61):
        first.call(lambda: None)
        assert second.snapshot().window_calls == number


def test_what_was_held_back_is_told_when_the_window_moves_on(clock: FakeClock) -> None:
    """A time window forgets a twentieth at a time: good calls are told within the time of one such step."""
    first, second = two(MemoryStore(clock=clock), clock, minimum_calls=10, window_seconds=60.0)
    for _ in range(60):
        first.call(lambda: None)
    assert second.snapshot().window_calls < 60
    clock.advance(3)
    first.call(lambda: None)
    assert second.snapshot().window_calls == 61


def test_what_was_held_back_too_long_is_not_counted(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    first, second = two(counting, clock, minimum_calls=10, window_seconds=60.0)
    for _ in range(45):
        first.call(lambda: None)
    assert second.snapshot().window_calls < 45
    clock.advance(61)
    first.record_failure()
    assert second.snapshot().window_calls == 1


def test_what_was_held_back_belongs_to_its_epoch(clock: FakeClock) -> None:
    first, second = two(MemoryStore(clock=clock), clock, minimum_calls=10, window_calls=100)
    for _ in range(45):
        first.call(lambda: None)
    second.reset()
    first.record_failure()
    assert second.snapshot().window_calls == 1


@pytest.mark.skipif(sys.platform == "emscripten", reason="no threads there")
def test_a_task_does_not_hold_up_its_loop(tmp_path: Path, clock: FakeClock) -> None:
    """The store is asked in another thread, and the loop goes on while it does not answer."""
    counting = Counting(STORES[1].make(tmp_path, clock))
    breaker, _ = two(counting, clock)
    answering = threading.Event()
    load = counting.load

    def slow(key: str) -> Any:
        assert answering.wait(10)
        return load(key)

    counting.load = slow  # type: ignore[method-assign]

    async def work() -> str:
        return "done"

    async def main() -> str:
        call = asyncio.create_task(breaker.as_async().call(work))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not call.done()
        answering.set()
        return await call

    assert asyncio.run(main()) == "done"
    assert threading.get_ident() not in counting.threads


def test_a_task_cancelled_while_it_asks_holds_no_permit(tmp_path: Path, clock: FakeClock) -> None:
    counting = Counting(STORES[1].make(tmp_path, clock))
    breaker, other = two(counting, clock)
    open_it(other)
    clock.advance(10)
    asked, answering = threading.Event(), threading.Event()
    update = counting.update

    def slow(*args: Any, **options: Any) -> Any:
        found = update(*args, **options)
        asked.set()
        assert answering.wait(10)
        return found

    counting.update = slow  # type: ignore[method-assign]

    async def work() -> str:
        return "never"

    async def main() -> None:
        call = asyncio.create_task(breaker.as_async().call(work))
        await asyncio.to_thread(asked.wait, 10)
        call.cancel()
        await asyncio.sleep(0)
        answering.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    assert other.snapshot().probes == 0


def test_clocks_that_differ_a_little_move_nothing(store: Store) -> None:
    """Half a second between two machines: both wait for the same moment.  A clock that was set back by more
    takes the moment back with it."""
    early, late = FakeClock(1_000_000.0), FakeClock(1_000_000.5)
    options: dict[str, Any] = {"failure_threshold": 2, "recovery_timeout_seconds": 10.0, "store": store}
    ahead = CircuitBreaker("api", clock=late, **options)
    behind = CircuitBreaker("api", clock=early, **options)
    open_it(ahead)
    for breaker, wait_s in ((ahead, 10.0), (behind, 10.5)):
        with pytest.raises(CircuitOpenError) as refused:
            breaker.call(lambda: "never")
        assert refused.value.retry_after == wait_s
    set_back = CircuitBreaker("api", clock=FakeClock(900_000.0), **options)
    with pytest.raises(CircuitOpenError) as refused:
        set_back.call(lambda: "never")
    assert refused.value.retry_after == 10.0


# --- a store that fails -----------------------------------------------------------------------------------

GONE = StoreUnavailableError("here", "full", "full")


def test_a_store_that_fails_costs_no_call_and_one_warning(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, other = two(counting, clock)
    counting.error = GONE
    with caplog.at_level(logging.INFO):
        assert breaker.call(lambda: "paid") == "paid"
        for _ in range(2):
            with pytest.raises(FailedError):
                breaker.call(fail)
        with pytest.raises(CircuitOpenError):
            breaker.call(lambda: "it decides alone")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "decides for this process alone" in caplog.text
    assert counting.loads + counting.updates == 1  # a store that hangs is not asked by every call
    counting.error = None
    clock.advance(5)
    with caplog.at_level(logging.INFO):
        assert breaker.call(lambda: "back") == "back"
    assert "can use its store again" in caplog.text
    assert not other.is_open()


def test_it_decides_alone_beginning_with_the_last_it_saw(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, other = two(counting, clock, recovery_timeout_seconds=60.0)
    open_it(other)
    assert breaker.is_open()
    counting.error = GONE
    with pytest.raises(CircuitOpenError) as refused:
        breaker.call(lambda: "never")
    assert refused.value.retry_after == 60.0
    clock.advance(60)
    assert breaker.call(lambda: "a local probe") == "a local probe"
    assert not breaker.is_open()
    counting.error = None
    clock.advance(5)
    assert breaker.state() is CircuitState.HALF_OPEN  # what others see


def test_what_was_held_back_outlives_a_write_that_failed(clock: FakeClock) -> None:
    """Good calls that were not written yet are written with the next one that can be."""
    counting = Counting(MemoryStore(clock=clock))
    rated: dict[str, Any] = {"failure_threshold": 5, "window_calls": 100, "failure_rate": 0.9}
    breaker, other = two(counting, clock, **rated, minimum_calls=10)
    for _ in range(41):
        breaker.call(lambda: None)
    written = other.snapshot().window_calls
    assert written < 41  # some are held back
    update = counting.update

    def failing(*args: Any, **options: Any) -> Any:
        raise GONE

    counting.update = failing  # type: ignore[method-assign]
    with pytest.raises(FailedError):
        breaker.call(fail)
    assert other.snapshot().window_calls == written
    counting.update = update  # type: ignore[method-assign]
    clock.advance(5)
    with pytest.raises(FailedError):
        breaker.call(fail)
    assert other.snapshot().window_calls == 42


def test_a_store_that_fails_in_the_middle_of_a_call_loses_no_result(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, _ = two(counting, clock, failure_threshold=1)

    def paid(error: Exception | None = None) -> str:
        counting.error = GONE
        if error is not None:
            raise error
        return "paid"

    assert breaker.call(paid) == "paid"
    counting.error = None
    clock.advance(5)
    assert breaker.state() is CircuitState.CLOSED
    with pytest.raises(FailedError):
        breaker.call(paid, FailedError())
    assert breaker.is_open()  # counted here, in the epoch that the call began in


def test_news_of_a_lonely_epoch_changes_nothing_for_the_others(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, other = two(counting, clock, failure_threshold=1)
    counting.error = GONE
    late = breaker.guard()
    late.__enter__()
    counting.error = None
    clock.advance(5)
    assert breaker.state() is CircuitState.CLOSED
    error = FailedError()
    late.__exit__(FailedError, error, None)
    assert not other.is_open()


def test_late_news_changes_nothing_while_the_store_is_away_either(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, other = two(counting, clock, failure_threshold=1)
    late = breaker.guard()
    late.__enter__()
    other.reset()
    assert breaker.state() is CircuitState.CLOSED  # it has seen the new epoch
    counting.error = GONE
    late.__exit__(FailedError, FailedError(), None)
    assert not breaker.is_open()


@pytest.mark.parametrize("error", [GONE, RuntimeError("not even a StoreError")])
def test_allow_and_refuse(clock: FakeClock, error: Exception) -> None:
    counting = Counting(MemoryStore(clock=clock))
    allowing, _ = two(counting, clock, when_store_fails="allow")
    refusing, _ = two(counting, clock, when_store_fails="refuse")
    counting.error = error
    for _ in range(5):
        with pytest.raises(FailedError):
            allowing.call(fail)
    assert allowing.call(lambda: "through") == "through"
    with pytest.raises(CircuitOpenError) as refused:
        refusing.call(lambda: "never")
    assert refused.value.retry_after == 5.0
    refusing.observe_only = True
    assert refusing.call(lambda: "through") == "through"


def test_by_hand_says_when_it_is_not_for_all(clock: FakeClock) -> None:
    counting = Counting(MemoryStore(clock=clock))
    breaker, other = two(counting, clock)
    counting.error = GONE
    for act in (breaker.force_open, breaker.disable, breaker.reset):
        with pytest.raises(StoreUnavailableError):
            act()
    counting.error = None
    assert other.snapshot().mode == "normal"


@pytest.mark.parametrize("value", [b"\xff\x00", b"[]", b"{}", b'{"schema":2}'])
def test_a_record_it_cannot_read_is_a_store_that_fails(store: Store, clock: FakeClock, value: bytes) -> None:
    store.compare_and_swap(KEY_PREFIX + "api", 0, value)
    breaker, other = two(store, clock)
    assert breaker.call(lambda: "done") == "done"
    found = store.load(KEY_PREFIX + "api")
    assert found is not None
    assert found.value == value
    breaker.reset()
    open_it(other)
    assert breaker.is_open()


# --- clocks and arguments ---------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_does_not_keep_it_open(store: Store, clock: FakeClock) -> None:
    first, second = two(store, clock)
    open_it(first)
    clock.now -= 100_000
    with pytest.raises(CircuitOpenError) as refused:
        second.call(lambda: "never")
    assert refused.value.retry_after == 10.0


def test_other_windows_are_not_taken_over(store: Store, clock: FakeClock) -> None:
    CircuitBreaker("api", window_calls=10, clock=clock, store=store).record_failure()
    for window in ({"window_calls": 20}, {"window_seconds": 10.0}):
        breaker = CircuitBreaker("api", clock=clock, store=store, **window)  # type: ignore[arg-type]
        assert breaker.snapshot().window_calls == 0


def test_the_default_clock_is_one_that_processes_share(tmp_path: Path) -> None:
    breaker = CircuitBreaker("api", 1, recovery_timeout_seconds=50.0, store=MemoryStore())
    breaker.record_failure()
    assert 0 < (breaker.snapshot().retry_after or 0) <= 50.0


def test_a_registry_over_a_store(store: Store, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """Its breakers are shared, and forgetting one loses nothing."""
    registry = BreakerRegistry(store=store, capacity=1)
    for _ in range(5):
        registry.get("openai", "gpt-5-mini").record_failure()
    assert BreakerRegistry(store=store).get("openai", "gpt-5-mini").is_open()
    registry.get("anthropic")
    assert registry.forgotten == 0
    assert not caplog.records
    assert registry.get("openai", "gpt-5-mini").is_open()
    with pytest.raises(ValueError, match="store is for breakers made here"):
        BreakerRegistry(CircuitBreaker, store=store)


def test_bad_arguments(clock: FakeClock) -> None:
    with pytest.raises(TypeError, match="store must be a store"):
        CircuitBreaker("api", store="state.db")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one of 'local', 'allow', 'refuse'; got 'x'"):
        CircuitBreaker("api", store=MemoryStore(), when_store_fails="x")
    with pytest.raises(ValueError, match="when_store_fails needs a store"):
        CircuitBreaker("api", when_store_fails="allow")
