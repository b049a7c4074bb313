"""The forms of a breaker: decorators, blocks, guards, streams, registries, snapshots and modes."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import logging
import pickle
import threading
import types
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any

import openai
import pytest

from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    BreakerRegistry,
    BreakerSnapshot,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.testing import FakeClock, run

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class FailedError(Exception):
    """What the dependency raises."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


def breaker_for(clock: FakeClock, threshold: int = 1, **more: Any) -> CircuitBreaker:
    return CircuitBreaker("api", threshold, 10.0, clock=clock, **more)


def fail() -> None:
    raise FailedError


async def afail() -> None:
    raise FailedError


def broken_stream() -> Generator[int, None, None]:
    yield 1
    raise FailedError


async def broken_astream() -> AsyncGenerator[int, None]:
    yield 1
    raise FailedError


async def listed(stream: AsyncIterator[int]) -> list[int]:
    return [item async for item in stream]


def decorated(breaker: CircuitBreaker, colour: str) -> Callable[[], object]:
    """A call that fails, through the decorator, whatever its colour."""
    return {
        "def": lambda: breaker(fail)(),
        "async def": lambda: run(breaker(afail)()),
        "generator": lambda: list(breaker(broken_stream)()),
        "async generator": lambda: run(listed(breaker(broken_astream)())),
    }[colour]


COLOURS = ["def", "async def", "generator", "async generator"]

# --- decorators ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_a_decorated_function_counts_and_is_refused(clock: FakeClock, colour: str) -> None:
    """Two failures of any colour open it; the third call never reaches the function."""
    breaker = breaker_for(clock, 2)
    call = decorated(breaker, colour)
    for _ in range(2):
        with pytest.raises(FailedError):
            call()
    assert breaker.state() is OPEN
    with pytest.raises(CircuitOpenError):
        call()


def test_a_decorated_method_keeps_its_self(clock: FakeClock) -> None:
    """A decorated method binds, and keeps its signature."""
    breaker = breaker_for(clock)

    class Client:
        name = "client"

        @breaker
        def ask(self, question: str, *, loud: bool = False) -> str:
            return f"{self.name} {question} {loud}"

    assert Client().ask("why", loud=True) == "client why True"
    assert list(inspect.signature(Client.ask).parameters) == ["self", "question", "loud"]


def test_the_async_face_refuses_plain_functions(clock: FakeClock) -> None:
    """An ``AsyncCircuitBreaker`` decorates async functions, also inside a plain decorator as SDKs have it; a
    plain function is a TypeError at decoration that names the way out."""
    face = breaker_for(clock).as_async()

    @functools.wraps(afail)
    def as_sdks_do() -> object:
        return afail()

    for wrong in (fail, broken_stream, int):
        with pytest.raises(TypeError):
            face(wrong)
    with pytest.raises(TypeError, match="as_sync"):
        face(fail)
    for right in (afail, as_sdks_do):
        with pytest.raises(FailedError):
            run(face(right)())  # type: ignore[arg-type]
        assert face.as_sync().state() is OPEN
        run(face.reset())
    with pytest.raises(FailedError):
        run(listed(face(broken_astream)()))
    assert face.as_sync().state() is OPEN


def test_a_method_of_the_real_async_client_is_judged_when_it_ends(clock: FakeClock) -> None:
    """The openai SDK hides ``async def create`` in a plain function; its failure counts all the same."""
    client = openai.AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:9/v1", max_retries=0)
    breaker = breaker_for(clock)

    async def main() -> None:
        async with client:
            with pytest.raises(openai.APIConnectionError):
                await breaker(client.chat.completions.create)(model="m", messages=[])

    asyncio.run(main())
    assert breaker.state() is OPEN


def test_a_stream_is_no_returned_value(clock: FakeClock) -> None:
    """A breaker that judges returned values says at decoration that it cannot judge a stream."""
    breaker = breaker_for(clock, result_is_failure=lambda value: value is None)
    for stream in (broken_stream, broken_astream):
        with pytest.raises(TypeError, match="stream"):
            breaker(stream)


# --- blocks and guards --------------------------------------------------------------------------------------


def test_a_block_is_a_call(clock: FakeClock) -> None:
    """``with`` and ``async with`` count how the block ends, and are refused before it begins."""
    breaker = breaker_for(clock, 2)
    with breaker as inside:
        assert inside is breaker
    with pytest.raises(FailedError), breaker:
        raise FailedError

    async def main() -> None:
        face = breaker.as_async()
        with pytest.raises(FailedError):
            async with face as inside:
                assert inside is face
                raise FailedError
        with pytest.raises(CircuitOpenError):
            async with face:
                raise AssertionError("entered")

    run(main())
    assert breaker.state() is OPEN


def test_blocks_nest_and_interleave(clock: FakeClock) -> None:
    """Blocks of one breaker inside each other and blocks of two breakers in two generators keep to their own
    calls, in whatever order they end."""
    outer, inner = breaker_for(clock), breaker_for(clock)
    inner.record_failure()
    clock.advance(10)  # so that their tickets differ

    def inside(breaker: CircuitBreaker) -> Generator[None, None, None]:
        with breaker:
            yield

    first, second = inside(outer), inside(inner)
    next(first)
    next(second)
    with pytest.raises(FailedError):
        first.throw(FailedError())
    assert (outer.state(), inner.state()) == (OPEN, HALF_OPEN)
    with pytest.raises(FailedError):
        second.throw(FailedError())
    assert inner.state() is OPEN
    outer.reset()
    with outer, outer:
        pass
    assert outer.state() is CLOSED


def test_blocks_of_concurrent_tasks_keep_apart(clock: FakeClock) -> None:
    """Two probes in two tasks: the cancelled one gives its own permit back, not its neighbour's."""
    breaker = breaker_for(clock, half_open_max_probes=2)
    breaker.record_failure()
    clock.advance(10)

    async def probing(seconds: float) -> None:
        async with breaker.as_async():
            await asyncio.sleep(seconds)

    async def main() -> None:
        tasks = [asyncio.create_task(probing(seconds)) for seconds in (5, 9)]
        await asyncio.sleep(1)
        assert breaker.snapshot().probes == 2
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        assert breaker.snapshot().probes == 1
        assert breaker.state() is HALF_OPEN
        await tasks[1]

    run(main())
    assert breaker.state() is CLOSED


def test_leaving_a_block_in_another_context_is_an_error(clock: FakeClock) -> None:
    """It is said, with the way out, and not ignored; a guard can do it."""
    breaker = breaker_for(clock)

    @contextlib.asynccontextmanager
    async def resource(enter: Callable[[], Any]) -> AsyncGenerator[None, None]:
        with enter():
            yield

    async def main(enter: Callable[[], Any]) -> None:
        held = resource(enter)
        await asyncio.create_task(held.__aenter__())  # type: ignore[arg-type]
        await held.__aexit__(None, None, None)

    with pytest.raises(RuntimeError, match="guard"):
        run(main(lambda: breaker))
    run(main(breaker.guard))


def test_a_guard_is_for_one_call(clock: FakeClock) -> None:
    """Entering it twice would lose the first call: it says so."""
    guard = breaker_for(clock).guard()
    with guard:
        pass
    with pytest.raises(RuntimeError, match="one call"):
        guard.__enter__()


def test_a_guard_takes_the_returned_value(clock: FakeClock) -> None:
    """``returned`` lets the breaker judge what the block made."""
    breaker = breaker_for(clock, result_is_failure=lambda value: value == 500)
    with breaker.guard() as guard:
        guard.returned(200)
    assert breaker.state() is CLOSED
    with breaker.as_async().guard() as guard:
        guard.returned(500)
    assert breaker.state() is OPEN


@pytest.mark.parametrize("form", ["with", "guard", *COLOURS])
def test_cancellation_gives_the_probe_back_in_every_form(clock: FakeClock, form: str) -> None:
    """A probe that is cancelled where it waits proves nothing; the next one may start at once."""
    breaker = breaker_for(clock)
    breaker.record_failure()
    clock.advance(10)

    async def hanging() -> None:
        await asyncio.Event().wait()

    async def hanging_stream() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.Event().wait()

    async def using() -> None:
        if form in ("with", "guard"):
            with breaker if form == "with" else breaker.guard():
                await hanging()
        elif form == "async def":
            await breaker(hanging)()
        elif form == "async generator":
            await listed(breaker(hanging_stream)())

    def interrupted() -> None:
        raise KeyboardInterrupt

    def interrupted_stream() -> Generator[int, None, None]:
        yield 1
        raise KeyboardInterrupt

    async def main() -> None:
        task = asyncio.create_task(using())
        await asyncio.sleep(1)
        assert breaker.snapshot().probes == 1
        task.cancel()
        await asyncio.wait([task])

    if form in ("def", "generator"):
        with pytest.raises(KeyboardInterrupt):
            breaker(interrupted)() if form == "def" else list(breaker(interrupted_stream)())
    else:
        run(main())
    assert breaker.state() is HALF_OPEN
    assert breaker.snapshot().probes == 0


# --- streams ------------------------------------------------------------------------------------------------


def test_the_outcome_of_a_stream_is_known_at_its_end(clock: FakeClock) -> None:
    """A probe stream holds its permit through all its items, and closes the breaker when it is exhausted."""
    breaker = breaker_for(clock)
    breaker.record_failure()
    clock.advance(10)

    @breaker
    def stream() -> Generator[int, None, None]:
        yield from range(3)

    items = stream()
    assert breaker.snapshot().probes == 0
    for _ in range(3):
        next(items)
        assert breaker.state() is HALF_OPEN
        assert breaker.snapshot().probes == 1
    assert list(items) == []
    assert breaker.state() is CLOSED


@pytest.mark.parametrize("end", ["close", "forget"])
def test_a_consumer_that_leaves_early_proves_nothing(clock: FakeClock, end: str) -> None:
    """Closing or dropping a stream is neither good nor bad, sync or async."""
    breaker = breaker_for(clock, 2)
    breaker.record_failure()

    @breaker
    def stream() -> Generator[int, None, None]:
        yield from range(3)

    @breaker
    async def astream() -> AsyncGenerator[int, None]:
        for item in range(3):
            yield item

    items = stream()
    next(items)
    if end == "close":
        items.close()
    del items

    async def main() -> None:
        aitems = astream()
        await aitems.__anext__()
        if end == "close":
            await aitems.aclose()
        del aitems
        await asyncio.sleep(0)

    run(main())
    assert breaker.snapshot().failures == 1
    breaker.record_failure()
    assert breaker.state() is OPEN


def test_a_failing_call_leaves_no_reference_cycle(clock: FakeClock) -> None:
    """What the failing call held is freed with its exception, without the collector's help."""

    class Held:
        pass

    for breaker in (breaker_for(clock, 9), breaker_for(clock, window_calls=9)):
        for call in (breaker.call, lambda fn, breaker=breaker: breaker(fn)()):
            held = Held()
            known = weakref.ref(held)

            def failing(held: Held = held) -> None:
                raise FailedError

            gc.disable()
            try:
                with contextlib.suppress(FailedError):
                    call(failing)
                del failing, held
                assert known() is None
            finally:
                gc.enable()


# --- modes --------------------------------------------------------------------------------------------------


def test_forced_open_refuses_until_reset_and_names_no_moment(clock: FakeClock) -> None:
    """``retry_after`` is None: nobody can say; time and outcomes change nothing, in every form."""
    changes: list[tuple[str, str]] = []
    breaker = breaker_for(
        clock, on_state_change=lambda _, *change: changes.append((change[0].value, change[1].value))
    )
    breaker.force_open()
    clock.advance(1e9)
    breaker.record_success()
    for call in (lambda: breaker.call(int), breaker(fail), breaker.guard().__enter__, breaker.__enter__):
        with pytest.raises(CircuitOpenError) as refusal:
            call()
        assert refusal.value.retry_after is None
    assert breaker.is_open()
    assert breaker.snapshot().mode == "forced_open"
    assert breaker.snapshot().retry_after is None
    breaker.reset()
    assert breaker.call(int) == 0
    assert changes == [("closed", "open"), ("open", "closed")]


@pytest.mark.parametrize("window", [{}, {"window_calls": 2}, {"window_seconds": 9, "minimum_calls": 2}])
def test_disabled_lets_everything_through_and_counts_nothing(
    clock: FakeClock, window: dict[str, Any]
) -> None:
    """Failures of any number leave it closed and empty; after a reset it works again; calls from before the
    change do not count after it."""
    breaker = breaker_for(clock, 2, **window)
    for _ in range(2):
        breaker.record_failure()
    assert breaker.state() is OPEN
    run(breaker.as_async().disable())
    for _ in range(20):
        with pytest.raises(FailedError):
            breaker.call(fail)
        with pytest.raises(FailedError), breaker:
            fail()
        assert breaker.call(int) == 0
        breaker.record_failure()
    snapshot = breaker.snapshot()
    assert (snapshot.state, snapshot.mode, snapshot.window_calls, snapshot.failures) == (
        CLOSED,
        "disabled",
        0,
        0,
    )
    across = breaker.guard()
    across.__enter__()
    breaker.reset()
    across.__exit__(FailedError, FailedError(), None)
    assert breaker.snapshot().failures == 0
    assert breaker.snapshot().window_calls == 0
    for _ in range(2):
        with pytest.raises(FailedError):
            breaker.call(fail)
    assert breaker.state() is OPEN


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("window", [{}, {"window_calls": 1}])
def test_observe_only_never_refuses(clock: FakeClock, colour: str, window: dict[str, Any]) -> None:
    """Open, half-open with every permit taken, or forced: each call is made; states are told as if it
    refused."""
    told: list[str] = []
    breaker = breaker_for(
        clock, observe_only=True, on_state_change=lambda _, before, after: told.append(after.value), **window
    )
    call = decorated(breaker, colour)
    for _ in range(5):
        with pytest.raises(FailedError):
            call()
        assert breaker.state() is OPEN
    assert breaker.snapshot().trips == 1
    clock.advance(10)
    probe = breaker.guard()
    probe.__enter__()
    with pytest.raises(FailedError):
        call()
    assert breaker.state() is HALF_OPEN
    probe.__exit__(None, None, None)
    assert breaker.state() is CLOSED
    breaker.force_open()
    with pytest.raises(FailedError):
        call()
    assert told == ["open", "half_open", "closed", "open"]
    assert breaker.snapshot().mode == "forced_open"


def test_observe_only_is_switched_at_run_time(clock: FakeClock) -> None:
    """Switched on, an open breaker lets calls through at once; switched off, it refuses again."""
    breaker = breaker_for(clock)
    face = breaker.as_async()
    breaker.record_failure()
    face.observe_only = True
    assert breaker.observe_only
    assert breaker.call(int) == 0
    assert breaker.snapshot().mode == "observe_only"
    breaker.observe_only = False
    assert not face.observe_only
    with pytest.raises(CircuitOpenError):
        breaker.call(int)


# --- snapshots ----------------------------------------------------------------------------------------------


def test_a_snapshot_is_frozen_and_plain(clock: FakeClock) -> None:
    """It cannot be changed, pickles, copies, compares, and is a dict of plain values."""
    breaker = breaker_for(clock, 2, window_calls=2)
    snapshot = breaker.snapshot()
    with pytest.raises(AttributeError):
        snapshot.trips = 3
    with pytest.raises(AttributeError):
        del snapshot.trips
    for twin in (
        pickle.loads(pickle.dumps(snapshot)),  # noqa: S301
        copy.deepcopy(snapshot),
        run(breaker.as_async().snapshot()),
    ):
        assert isinstance(twin, BreakerSnapshot)
        assert twin == snapshot
        assert hash(twin) == hash(snapshot)
    breaker.record_failure()
    assert breaker.snapshot() != snapshot
    assert snapshot.window_failed == 0
    assert "api" in repr(snapshot)
    assert snapshot.to_dict() == {
        "name": "api",
        "state": "closed",
        "retry_after": 0.0,
        "failures": 0,
        "window_calls": 0,
        "window_failed": 0,
        "window_slow": 0,
        "probes": 0,
        "trips": 0,
        "mode": "normal",
    }


# --- registries ---------------------------------------------------------------------------------------------


def test_one_breaker_for_each_provider_model_and_credential() -> None:
    """The same three give the same object; any other part gives another, slashes in model names or not."""
    registry = BreakerRegistry()
    keys = [("a",), ("a", "b"), ("a", "", "b"), ("a", "b/c"), ("a", "b", "c"), ("a/b", "c"), ("a/b/c",)]
    breakers = [registry.get(*key) for key in keys]
    assert len({id(breaker) for breaker in breakers}) == len(keys)
    assert [registry.get(*key) for key in keys] == breakers
    assert registry.get("a", "b", "c").name == "a/b/c"
    assert registry.all()["a", "b", "c"] is registry.get("a", "b", "c")


def test_registered_breakers_count_the_providers_failures_alone() -> None:
    """A bug of the caller does not open what a reset connection opens."""
    breaker = BreakerRegistry().get("openai", "gpt")

    def bug() -> None:
        raise TypeError("mine")

    def reset() -> None:
        raise ConnectionResetError

    for _ in range(9):
        with pytest.raises(TypeError):
            breaker.call(bug)
    assert breaker.state() is CLOSED
    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            breaker.call(reset)
    assert breaker.state() is OPEN


def test_a_full_registry_forgets_closed_breakers_first() -> None:
    """The one that was asked for longest ago among the closed goes; with none closed, the oldest of all."""
    registry = BreakerRegistry(lambda key: CircuitBreaker(key, 1), capacity=2)
    open_one = registry.get("open")
    open_one.record_failure()
    registry.get("b")
    registry.get("c")
    assert [key[0] for key in registry.all()] == ["open", "c"]
    assert registry.get("open") is open_one
    registry.get("c").record_failure()
    registry.get("d")
    assert [key[0] for key in registry.all()] == ["c", "d"]


def test_a_registry_refuses_what_is_no_store() -> None:
    """When it is made, not when the first breaker is asked for."""
    with pytest.raises(TypeError, match="store must be a store"):
        BreakerRegistry(store=3)  # type: ignore[arg-type]


def test_a_registry_forgets_nothing_silently_but_what_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """With nothing merely closed to forget, one that was switched off goes first, then open ones,
    and one forced open last; each is named in a warning and counted."""
    registry = BreakerRegistry(lambda key: CircuitBreaker(key, 1), capacity=3)
    registry.get("forced").force_open()
    registry.get("open").record_failure()
    registry.get("off").disable()
    with caplog.at_level(logging.WARNING, "techrevati.runtime.circuit_breaker"):
        registry.get("closed")
        assert [key[0] for key in registry.all()] == ["forced", "open", "closed"]
        registry.get("another")
        assert [key[0] for key in registry.all()] == ["forced", "open", "another"]
        assert registry.forgotten == 1
        registry.get("another").record_failure()
        registry.get("last")
    assert [key[0] for key in registry.all()] == ["forced", "another", "last"]
    assert registry.forgotten == 2
    assert [record.getMessage() for record in caplog.records] == [
        "a registry of 3 forgot circuit 'off', which is switched off; its key begins again with a new one",
        "a registry of 3 forgot circuit 'open', which is open; its key begins again with a new one",
    ]


def test_credentials_are_named_not_given() -> None:
    """Something like a key is refused without being repeated; bad arguments are named."""
    secret = "sk-" + "a1B2" * 12
    with pytest.raises(ValueError, match="credential_id") as refusal:
        BreakerRegistry().get("openai", "gpt", secret)
    assert secret not in str(refusal.value)
    assert BreakerRegistry().get("openai", "gpt", "team-a").name == "openai/gpt/team-a"
    for wrong in ({"capacity": 0}, {"make": 3}):
        with pytest.raises((ValueError, TypeError)):
            BreakerRegistry(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="provider"):
        BreakerRegistry().get(" ")


@pytest.mark.parametrize("key", [("", "m"), (3,), ("p", None), ("p", 3), ("p", "m", None), ("p", "m", b"x")])
def test_a_part_of_a_key_is_a_string(key: tuple[Any, ...]) -> None:
    """``None`` is no model: the key would not be that of calls that name none."""
    named = ("provider", "model", "credential_id")[len(key) - 1]
    with pytest.raises((TypeError, ValueError), match="provider" if key[0] in ("", 3) else named):
        BreakerRegistry().get(*key)


def test_no_part_of_a_key_holds_a_credential() -> None:
    """It would stand in every refusal: also in the address of a provider, or given one argument too early."""
    for key in (("openai", "sk-" + "a1B2" * 12), ("https://me:s3cr3tpassw0rd@host",)):
        with pytest.raises(ValueError, match="something like a key") as refusal:
            BreakerRegistry().get(*key)
        assert key[-1] not in str(refusal.value)


@pytest.mark.parametrize("make", [AsyncCircuitBreaker, lambda key: None])
def test_a_maker_that_makes_something_else_is_told_at_once(make: Any) -> None:
    """And not when the registry is full and asks what it made for its state."""
    with pytest.raises(TypeError, match="make must give a CircuitBreaker"):
        BreakerRegistry(make).get("openai")


def test_a_forgotten_breaker_goes_on_for_those_who_hold_it(clock: FakeClock) -> None:
    """A call under way when its breaker is forgotten ends in that one; the key's next one knows nothing."""
    registry = BreakerRegistry(lambda key: CircuitBreaker(key, 1, 10, clock=clock), capacity=1)
    held = registry.get("a")
    held.record_failure()
    clock.advance(10)
    with held:
        registry.get("b")
        again = registry.get("a")
        assert again is not held
        with pytest.raises(CircuitOpenError):
            held.call(max, 1, 2)
        assert again.state() is CircuitState.CLOSED
    assert held.state() is CircuitState.CLOSED
    assert registry.forgotten == 1


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_coroutine_that_nobody_awaits_holds_no_probe(clock: FakeClock) -> None:
    """The SDKs' methods are plain functions that give one; a task cancelled before it begins is one such."""
    breaker = CircuitBreaker("api", 1, 10, clock=clock)

    async def aask() -> str:
        return "answer"

    @functools.wraps(aask)
    def ask() -> Any:
        return aask()

    guarded = breaker(ask)
    breaker.record_failure()
    clock.advance(10)
    guarded().close()
    assert breaker.snapshot().probes == 0
    assert run(guarded()) == "answer"
    assert breaker.state() is CircuitState.CLOSED


def test_a_maker_may_use_the_registry_and_one_breaker_is_kept() -> None:
    """``make`` runs outside the lock; of two threads that ask at once both get the one that is kept."""
    barrier = threading.Barrier(2)
    registries: list[BreakerRegistry] = []

    def make(key: str) -> CircuitBreaker:
        if key != "base":
            registries[0].get("base")
            barrier.wait(10)
        return CircuitBreaker(key)

    registries.append(BreakerRegistry(make))
    got: list[CircuitBreaker] = []
    threads = [
        threading.Thread(target=lambda: got.append(registries[0].get("new")), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(got) == 2
    assert got[0] is got[1] is registries[0].get("new")


def test_both_faces_have_the_same_words() -> None:
    """Every public name of one is a name of the other, but for the way across."""
    names = {name for name in dir(CircuitBreaker) if not name.startswith("_")}
    faces = {name for name in dir(AsyncCircuitBreaker) if not name.startswith("_")}
    assert names ^ faces == {"as_async", "as_sync"}
    assert isinstance(CircuitBreaker.guard, types.FunctionType)


def test_an_async_function_passed_straight_to_call_is_refused() -> None:
    """A coroutine that nobody has awaited is no success: it is closed, and nothing is counted."""
    breaker = CircuitBreaker("b", 1, 0)

    async def fetch() -> int:
        return 1

    with pytest.raises(TypeError, match="as_async"):
        breaker.call(fetch)
    assert breaker.call(lambda: 1) == 1
    assert run(breaker.as_async().call(fetch)) == 1
    breaker.record_failure()
    with pytest.raises(TypeError, match="as_async"):  # as a probe it gives its permit back
        breaker.call(fetch)
    assert breaker.snapshot().probes == 0


def test_it_can_be_switched_off_and_on_by_one_name() -> None:
    """``enabled`` as every policy has it; on again it is closed and empty, and a forced one stays forced."""
    breaker = CircuitBreaker("b", 1, 1000)
    breaker.record_failure()
    assert breaker.enabled
    breaker.as_async().enabled = False
    assert not breaker.enabled
    assert [breaker.call(int) for _ in range(3)] == [0] * 3
    assert breaker.snapshot().mode == "disabled"
    breaker.enabled = True
    assert (breaker.snapshot().mode, breaker.state()) == ("normal", CircuitState.CLOSED)
    breaker.force_open()
    breaker.enabled = True
    assert breaker.snapshot().mode == "forced_open"


def test_what_is_asked_for_again_is_kept() -> None:
    """A full registry forgets the closed breaker that was asked for longest ago, not the oldest."""
    registry = BreakerRegistry(CircuitBreaker, capacity=2)
    first = registry.get("first")
    registry.get("second")
    assert registry.get("first") is first
    registry.get("third")
    assert [key[0] for key in registry.all()] == ["first", "third"]
