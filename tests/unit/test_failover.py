"""The next provider is asked when it may help, and nobody who is known not to."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime import TechrevatiError
from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker, CircuitState
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError
from techrevati.runtime.failover import (
    FAILS_OVER,
    MAX_REST_SECONDS,
    QUOTA_REST_SECONDS,
    Failover,
    NoTargetError,
    PassedTarget,
    Target,
    TargetSwitch,
    fails_over,
    order,
    rest_s,
)
from techrevati.runtime.failures import Failure, FailureKind, FailureOrigin
from techrevati.runtime.testing import FakeClock, run

PATIENCE = 10.0


class HttpError(Exception):
    """An error with a status, as HTTP clients raise it."""

    def __init__(self, status: int, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message or f"status {status}")
        self.status_code = status
        self.headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}


class Provider:
    """Answers its name, or raises what is set; counts how often it was asked."""

    def __init__(self, name: str, error: BaseException | None = None) -> None:
        self.name = name
        self.error = error
        self.asked = 0

    def __call__(self, *args: object, **kwargs: object) -> str:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.name

    async def later(self, *args: object, **kwargs: object) -> str:
        await asyncio.sleep(1)
        return self(*args, **kwargs)


def quota() -> HttpError:
    return HttpError(429, "You exceeded your current quota, insufficient_quota")


DOWN = 503


def ask_sync(providers: list[Provider], **options: Any) -> str:
    return Failover([Target(each.name, each) for each in providers], **options).call("question")


def ask_async(providers: list[Provider], **options: Any) -> str:
    return run(Failover([Target(each.name, each.later) for each in providers], **options).acall("question"))


both = pytest.mark.parametrize("ask", [ask_sync, ask_async])
Ask = Callable[..., str]


# --- who is next --------------------------------------------------------------------------------------------


@both
def test_the_first_answer_is_the_answer(ask: Ask) -> None:
    """Nobody else is asked."""
    first, second = Provider("first"), Provider("second")
    assert ask([first, second]) == "first"
    assert second.asked == 0


@both
@pytest.mark.parametrize(
    "error",
    [
        HttpError(500),
        HttpError(DOWN),
        HttpError(429),
        HttpError(401),
        HttpError(403),
        HttpError(404),
        quota(),
        ConnectionResetError("reset"),
        TimeoutError(),
        Exception("nobody knows"),
    ],
    ids=str,
)
def test_another_may_help(ask: Ask, error: Exception) -> None:
    """After trouble of the provider or the network, or its refusal, the next is asked."""
    assert ask([Provider("first", error), Provider("second")]) == "second"


@both
@pytest.mark.parametrize(
    "error",
    [
        TypeError("a bug"),
        HttpError(400, "bad request"),
        HttpError(400, "This model's maximum context length is 8192 tokens, context_length_exceeded"),
        HttpError(400, "content_policy_violation"),
        FileNotFoundError(2, "No such file"),
        PermissionError(13, "Permission denied"),
        MemoryError(),
    ],
    ids=repr,
)
def test_the_callers_own_fault_is_not_asked_twice(ask: Ask, error: Exception) -> None:
    """It is raised as it is, without a note."""
    second = Provider("second")
    with pytest.raises(type(error)) as raised:
        ask([Provider("first", error), second])
    assert raised.value is error
    assert not hasattr(error, "__notes__")
    assert second.asked == 0


@both
@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
def test_who_is_stopped_asks_nobody_else(ask: Ask, kind: type[BaseException]) -> None:
    """Interrupts and cancellations pass through."""
    second = Provider("second")
    with pytest.raises(kind):
        ask([Provider("first", kind()), second])
    assert second.asked == 0


@pytest.mark.parametrize("kind", FailureKind)
@pytest.mark.parametrize("origin", FailureOrigin)
def test_the_table_decides(kind: FailureKind, origin: FailureOrigin) -> None:
    """A kind that is not in the table, or of another origin, is never asked elsewhere."""
    told = Failure(kind, origin=origin, status_code=418)
    assert fails_over(told) is (origin in FAILS_OVER.get(kind, ()))
    untold = Failure(kind, origin=origin)
    assert fails_over(untold) is (fails_over(told) and origin is not FailureOrigin.CALLER)


@pytest.mark.parametrize(
    "kind",
    [
        "invalid_request",
        "context_overflow",
        "content_policy",
        "cancelled",
        "resource_exhausted",
        "tool_error",
    ],
)
def test_no_origin_makes_these_pass(kind: str) -> None:
    """They are not in the table at all."""
    assert FailureKind(kind) not in FAILS_OVER


@both
def test_the_caller_may_overrule_the_table_both_ways(ask: Ask) -> None:
    """True asks the next, False does not, None leaves it to the table."""
    overflow, down = HttpError(400, "context_length_exceeded"), HttpError(DOWN)
    yes = {FailureKind.CONTEXT_OVERFLOW: True}
    no = {FailureKind.OVERLOADED: False, FailureKind.SERVER_ERROR: False}

    def fails_over(answers: dict[FailureKind, bool]) -> Callable[[Failure], bool | None]:
        return lambda failure: answers.get(failure.kind)

    assert ask([Provider("a", overflow), Provider("b")], fails_over=fails_over(yes)) == "b"
    assert ask([Provider("a", down), Provider("b")], fails_over=fails_over(yes)) == "b"
    with pytest.raises(HttpError) as raised:
        ask([Provider("a", down), Provider("b")], fails_over=fails_over(no))
    assert raised.value is down


@both
def test_a_broken_judge_is_logged_and_means_no(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """The failure of the call comes out, not that of the judge."""
    down = HttpError(DOWN)

    def broken(failure: Failure) -> bool:
        raise ZeroDivisionError("a judge's bug")

    with pytest.raises(HttpError) as raised:
        ask([Provider("a", down), Provider("b")], fails_over=broken)
    assert raised.value is down
    assert "fails_over raised" in caplog.text


@both
def test_the_last_error_is_raised_with_a_note(ask: Ask) -> None:
    """The very exception of the last one asked; a note names all, once, however often it is raised."""
    last = HttpError(401)
    for _ in range(2):
        with pytest.raises(HttpError) as raised:
            ask([Provider("near", ConnectionResetError("reset")), Provider("far", last)])
        assert raised.value is last
        assert raised.value.__context__ is None
    assert last.__notes__ == ["tried near (failed: network), far (failed: auth)"]


def test_arguments_reach_every_target() -> None:
    """Positional and named ones."""
    seen: list[object] = []

    def down(*args: object, **kwargs: object) -> str:
        seen.append((args, kwargs))
        raise HttpError(DOWN)

    def up(*args: object, **kwargs: object) -> str:
        seen.append((args, kwargs))
        return "up"

    assert Failover([Target("a", down), Target("b", up)]).call(1, two=2) == "up"
    assert seen == [((1,), {"two": 2})] * 2


# --- order --------------------------------------------------------------------------------------------------


def test_without_weights_the_order_is_the_given_one() -> None:
    """No random number is drawn."""
    assert order([None, None, None], pytest.fail) == (0, 1, 2)
    assert order([None, 2.0], pytest.fail) == (1, 0)


@given(
    st.lists(st.none() | st.floats(1e-3, 1e3), max_size=6),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=6, max_size=6),
)
def test_everybody_has_one_place(weights: list[float | None], draws: list[float]) -> None:
    """The order is a permutation: the weighted first, the others after them as they stand."""
    found = order(weights, iter(draws).__next__)
    assert sorted(found) == list(range(len(weights)))
    with_weight = sum(weight is not None for weight in weights)
    assert all(weights[nth] is not None for nth in found[:with_weight])
    assert list(found[with_weight:]) == sorted(found[with_weight:])


def test_weights_are_shares_of_first_questions() -> None:
    """With weights 1, 2 and 5, over an even grid of draws, the firsts share 1 : 2 : 5."""
    grid = [(n + 0.5) / 20 for n in range(20)]
    firsts = Counter(
        order([1.0, 2.0, 5.0], iter(draws).__next__)[0]
        for draws in ((a, b, c) for a in grid for b in grid for c in grid)
    )
    assert [firsts[nth] / 8000 for nth in range(3)] == pytest.approx([0.125, 0.25, 0.625], abs=0.01)


def test_weighted_targets_are_drawn_before_the_fallback() -> None:
    """The draw is made anew for each call; a failed one is followed by the other, then by the fallback."""
    east, west, last = Provider("east"), Provider("west"), Provider("last")
    draws = iter([0.9, 0.1, 0.1, 0.9, 0.1, 0.9])
    failover = Failover(
        [Target("last", last), Target("east", east, weight=1), Target("west", west, weight=1)],
        rng=draws.__next__,
    )
    assert [failover.call(), failover.call()] == ["west", "east"]
    east.error = west.error = HttpError(500)
    assert failover.call() == "last"
    assert (east.asked, west.asked) == (2, 2)


# --- rest ---------------------------------------------------------------------------------------------------


def test_an_exhausted_quota_rests() -> None:
    """It is not asked again for ``QUOTA_REST_SECONDS``; then it is."""
    clock, first, second = FakeClock(), Provider("first", quota()), Provider("second")
    failover = Failover([Target("first", first), Target("second", second)], clock=clock)
    assert failover.call() == failover.call() == "second"
    assert (first.asked, failover.resting()) == (1, {"first": QUOTA_REST_SECONDS})
    clock.advance(QUOTA_REST_SECONDS - 1)
    assert failover.call() == "second"
    assert first.asked == 1
    clock.advance(1)
    first.error = None
    assert failover.call() == "first"
    assert failover.resting() == {}


def test_a_targets_own_retry_after_is_respected() -> None:
    """Whoever asked for ten seconds is left alone for ten seconds."""
    clock, first = FakeClock(), Provider("first", HttpError(429, retry_after=10))
    failover = Failover([Target("first", first), Target("second", Provider("second"))], clock=clock)
    failover.call()
    assert failover.resting() == {"first": 10}
    clock.advance(9.5)
    failover.call()
    assert first.asked == 1
    clock.advance(0.5)
    failover.call()
    assert first.asked == 2


def test_how_long_to_rest() -> None:
    """What the provider said, else the default for quota, else not at all; never longer than the bound."""
    limit, gone = FailureKind.RATE_LIMIT, FailureKind.QUOTA_EXHAUSTED
    assert rest_s(Failure(gone), 60, 1000) == 60
    assert rest_s(Failure(gone, retry_after=5), 60, 1000) == 5
    assert rest_s(Failure(gone, retry_after=5000), 60, 1000) == 1000
    assert rest_s(Failure(limit), 60, 1000) == 0
    assert rest_s(Failure(limit, retry_after=7), 60, 1000) == 7
    assert rest_s(Failure(gone), 60, 30) == 30
    assert MAX_REST_SECONDS == 86_400


def test_a_rest_is_only_ever_lengthened() -> None:
    """A later, shorter Retry-After does not end an exhausted quota."""
    clock = FakeClock()
    started = threading.Barrier(2)
    errors = [quota(), HttpError(429, retry_after=3)]
    tickets = iter([0, 1])

    def first() -> str:
        number = next(tickets)
        started.wait(PATIENCE)
        if number:
            assert done.wait(PATIENCE)
        raise errors[number]

    done = threading.Event()
    failover = Failover([Target("first", first), Target("second", lambda: done.set())], clock=clock)
    threads = [threading.Thread(target=failover.call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failover.resting() == {"first": QUOTA_REST_SECONDS}


def test_a_rest_can_be_ended_by_hand() -> None:
    """``reset`` lets one or all be asked again; an unknown name is a ``KeyError``."""
    first, second = Provider("first", quota()), Provider("second", quota())
    failover = Failover([Target("first", first), Target("second", second)], clock=FakeClock())
    with pytest.raises(HttpError):
        failover.call()
    failover.reset("first")
    assert list(failover.resting()) == ["second"]
    failover.reset()
    assert failover.resting() == {}
    with pytest.raises(KeyError):
        failover.reset("third")


def test_nobody_left_says_when_to_come_back() -> None:
    """``NoTargetError`` names every target and the shortest wait; nothing is sent."""
    clock = FakeClock()
    providers = [Provider("a", HttpError(429, retry_after=30)), Provider("b", HttpError(429, retry_after=20))]
    failover = Failover([Target(each.name, each) for each in providers], clock=clock)
    with pytest.raises(HttpError) as last:
        failover.call()
    assert last.value is providers[1].error
    clock.advance(5)
    with pytest.raises(NoTargetError) as refused:
        failover.call()
    error = refused.value
    assert isinstance(error, TechrevatiError)
    assert isinstance(error, RuntimeError)
    assert error.retry_after == 15
    assert error.skipped == (
        PassedTarget("a", "resting", None, 25),
        PassedTarget("b", "resting", None, 15),
    )
    assert str(error) == "no target may be asked: a (resting), b (resting); retry in 15 s"
    assert [each.asked for each in providers] == [1, 1]
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (again.skipped, again.retry_after, str(again)) == (error.skipped, 15, str(error))


# --- breakers -----------------------------------------------------------------------------------------------


def tripped(clock: Callable[[], float]) -> CircuitBreaker:
    breaker = CircuitBreaker("first", 1, 30.0, clock=clock)
    breaker.record_failure()
    return breaker


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_open_breaker_is_not_asked(face: str) -> None:
    """Either face of a breaker works for either way to call, and its refusal tells ``retry_after``."""
    clock, first, second = FakeClock(), Provider("first"), Provider("second")
    breaker: CircuitBreaker | AsyncCircuitBreaker = tripped(clock)
    if face == "async":
        breaker = breaker.as_async()  # type: ignore[union-attr]
    assert Failover([Target("first", first, breaker=breaker), Target("second", second)]).call() == "second"
    later = Failover([Target("first", first.later, breaker=breaker), Target("second", second.later)])
    assert run(later.acall()) == "second"
    assert first.asked == 0
    with pytest.raises(NoTargetError) as refused:
        Failover([Target("first", first, breaker=breaker)]).call()
    assert refused.value.retry_after == 30
    with pytest.raises(NoTargetError, match=r"first \(open\)"):
        run(Failover([Target("first", first.later, breaker=breaker)]).acall())


@both
def test_a_breaker_learns_from_each_call(ask: Ask) -> None:
    """The calls run through it: two failures trip it, and it is not asked a third time."""
    breaker = CircuitBreaker("first", 2)
    first = Provider("first", HttpError(500))
    for _ in range(3):
        if ask is ask_sync:
            failover = Failover([Target("first", first, breaker=breaker), Target("b", Provider("b"))])
            assert failover.call() == "b"
        else:
            later = Failover(
                [Target("first", first.later, breaker=breaker), Target("b", Provider("b").later)]
            )
            assert run(later.acall()) == "b"
    assert first.asked == 2
    assert breaker.state() is CircuitState.OPEN


def test_a_cancelled_probe_gives_its_permit_back() -> None:
    """Cancelling while the target is asked proves nothing to its breaker."""
    clock = FakeClock()
    breaker = tripped(clock)
    clock.advance(30)

    async def main() -> None:
        failover = Failover([Target("first", Provider("first").later, breaker=breaker)])
        task = asyncio.ensure_future(failover.acall())
        await asyncio.sleep(0.5)
        assert breaker.snapshot().probes == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert breaker.snapshot().probes == 0
    assert breaker.state() is CircuitState.HALF_OPEN


class OnlyTells:
    """Knows whether it is open, runs nothing."""

    def __init__(self, open_: object) -> None:
        self.open_ = open_

    def is_open(self) -> object:
        return self.open_


class OnlyState(OnlyTells):
    """The same by its state."""

    is_open = None  # type: ignore[assignment]

    def state(self) -> object:
        return self.open_


@pytest.mark.parametrize(
    ("breaker", "asked"),
    [
        (OnlyTells(True), "second"),
        (OnlyTells(False), "first"),
        (OnlyState("open"), "second"),
        (OnlyState(CircuitState.OPEN), "second"),
        (OnlyState("half_open"), "first"),
        (OnlyState(CircuitState.CLOSED), "first"),
    ],
)
def test_whatever_tells_its_state_will_do(breaker: Any, asked: str) -> None:
    """``is_open()``, or ``state()`` as a text or an enum."""
    targets = [Target("first", Provider("first"), breaker=breaker), Target("second", Provider("second"))]
    assert Failover(targets).call() == asked


def test_a_broken_breaker_is_no_refusal() -> None:
    """A bug in it is raised, not taken for an open circuit."""

    class Broken:
        def call(self, fn: Callable[[], Any]) -> Any:
            raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        Failover([Target("a", Provider("a"), breaker=Broken()), Target("b", Provider("b"))]).call()


# --- time, events, switches ---------------------------------------------------------------------------------


def test_the_deadline_ends_the_asking() -> None:
    """Once it has passed the last error is raised, or nobody is asked at all."""
    clock = FakeClock()
    second = Provider("second")

    def slow() -> str:
        clock.advance(5)
        raise HttpError(500)

    failover = Failover([Target("slow", slow), Target("second", second)])
    with Deadline(5, clock=clock), pytest.raises(HttpError) as raised:
        failover.call()
    assert raised.value.__notes__ == ["tried slow (failed: server_error), second (deadline)"]
    with Deadline(5, clock=clock):
        clock.advance(5)
        with pytest.raises(DeadlineExceededError):
            failover.call()
    assert second.asked == 0


@both
def test_switches_are_told(ask: Ask) -> None:
    """One event per target that is asked instead of another, with all that were passed."""
    told: list[TargetSwitch] = []
    providers = [Provider("a", HttpError(500)), Provider("b", HttpError(429, retry_after=5)), Provider("c")]
    assert ask(providers, on_switch=told.append) == "c"
    assert [(switch.target, [str(each) for each in switch.passed], switch.made) for switch in told] == [
        ("b", ["a (failed: server_error)"], True),
        ("c", ["a (failed: server_error)", "b (failed: rate_limit)"], True),
    ]
    assert told[1].passed[1].retry_after == 5
    told.clear()
    ask([Provider("a")], on_switch=told.append)
    assert told == []


def test_a_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on."""

    def broken(switch: TargetSwitch) -> None:
        raise ValueError("broken listener")

    with caplog.at_level(logging.WARNING, "techrevati.runtime.failover"):
        assert ask_sync([Provider("a", HttpError(500)), Provider("b")], on_switch=broken) == "b"
    assert "broken listener" in caplog.text


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_observing_asks_the_preferred_target_only(colour: str) -> None:
    """What would have been done is told, ``made`` is False, and rests are measured."""
    told: list[TargetSwitch] = []
    first, second = Provider("first", quota()), Provider("second")
    sync = Failover(
        [Target("first", first), Target("second", second)],
        on_switch=told.append,
        observe_only=True,
        clock=FakeClock(),
    )
    later = Failover(
        [Target("first", first.later), Target("second", second.later)],
        on_switch=told.append,
        observe_only=True,
        clock=FakeClock(),
    )

    def ask() -> str:
        return sync.call() if colour == "sync" else run(later.acall())

    with pytest.raises(HttpError):
        ask()
    assert [(each.target, [str(one) for one in each.passed], each.made) for each in told] == [
        ("second", ["first (failed: quota_exhausted)"], False)
    ]
    first.error = None
    told.clear()
    assert ask() == "first"
    assert [(each.target, [str(one) for one in each.passed], each.made) for each in told] == [
        ("second", ["first (resting)"], False)
    ]
    assert second.asked == 0
    sync.observe_only = later.observe_only = False
    assert ask() == "second"


def test_switched_off_only_the_first_is_asked() -> None:
    """``enabled = False``: its error is raised as it is, its rest ignored; and back on."""
    first = Provider("first", quota())
    failover = Failover([Target("first", first), Target("second", Provider("second"))], clock=FakeClock())
    failover.enabled = False
    for _ in range(2):
        with pytest.raises(HttpError):
            failover.call()
    assert failover.resting() == {}
    failover.enabled = True
    assert failover.call() == "second"
    failover.enabled = False
    first.error = None
    assert failover.call() == "first"


# --- tasks and threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.5, 1.5])
def test_cancelling_asks_nobody_else(at: float) -> None:
    """At whichever target the call waits, it ends there."""
    providers = [Provider("a", HttpError(500)), Provider("b", HttpError(500)), Provider("c")]

    async def main() -> None:
        task = asyncio.ensure_future(Failover([Target(one.name, one.later) for one in providers]).acall())
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
    assert providers[2].asked == 0


def test_plain_targets_may_answer_tasks() -> None:
    """A local fallback need not be async."""
    targets: list[Target[[], Any]] = [
        Target("far", Provider("far", HttpError(500)).later),
        Target("local", Provider("local")),
    ]
    answer: Awaitable[str] = Failover(targets).acall()
    assert run(awaited(answer)) == "local"


async def awaited(answer: Awaitable[str]) -> str:
    return await answer


def test_the_wrong_colour_is_said() -> None:
    """An async target asked with ``call`` is a ``TypeError``, and its coroutine leaves no warning."""
    with pytest.raises(TypeError, match="acall"):
        Failover([Target("a", Provider("a").later)]).call()
    with pytest.raises(TypeError, match="stream"):
        Failover([Target("a", lambda: (number for number in range(3)))]).call()


def test_many_threads_agree_on_a_rest() -> None:
    """Of eight that ask at once each gets an answer, and afterwards the exhausted one is not asked."""
    together = threading.Barrier(8)
    answers: list[str] = []
    asked: list[int] = []

    def first() -> str:
        asked.append(1)
        together.wait(PATIENCE)
        raise quota()

    failover = Failover([Target("first", first), Target("second", lambda: "second")], clock=FakeClock())
    threads = [threading.Thread(target=lambda: answers.append(failover.call())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == ["second"] * 8
    assert failover.call() == "second"
    assert len(asked) == 8


def test_a_target_may_use_the_failover_itself() -> None:
    """No lock is held while a target or a listener runs."""
    inner: list[object] = []
    failover: Failover[[], str]

    def first() -> str:
        inner.append(failover.resting())
        raise quota()

    failover = Failover(
        [Target("first", first), Target("second", lambda: str(failover.resting()))],
        on_switch=lambda switch: failover.reset(),
        clock=FakeClock(),
    )
    assert failover.call() == "{}"
    assert inner == [{}]


def test_a_raised_error_is_not_kept() -> None:
    """Neither the failover nor a cycle holds it once the caller let go."""
    failover = Failover([Target("a", fresh_error), Target("b", fresh_error)])
    gc.disable()
    try:
        held: weakref.ref[HttpError] | None = None
        try:
            failover.call()
        except HttpError as error:
            held = weakref.ref(error)
        assert held is not None
        assert held() is None
    finally:
        gc.enable()


def fresh_error() -> str:
    raise HttpError(500)


# --- construction -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Target("", max), ValueError, "name must be"),
        (lambda: Target("a", 3), TypeError, "call must be callable, got 3"),
        (lambda: Target("a", max, weight=0), ValueError, "weight must be a number > 0, got 0"),
        (lambda: Target("a", max, breaker=object()), TypeError, "breaker must have call"),
        (lambda: Failover([]), ValueError, "targets must hold at least one"),
        (lambda: Failover([max]), TypeError, "targets must hold Target objects"),
        (lambda: Failover(None), TypeError, "targets must hold Target objects, got None"),
        (lambda: Failover([Target("a", max)] * 2), ValueError, "different names, got 'a' twice"),
        (lambda: Failover([Target("a", max)], fails_over=3), TypeError, "fails_over must be callable"),
        (lambda: Failover([Target("a", max)], on_switch=3), TypeError, "on_switch must be callable"),
        (lambda: Failover([Target("a", max)], clock=3), TypeError, "clock must be callable"),
        (lambda: Failover([Target("a", max)], rng=3), TypeError, "rng must be callable"),
        (lambda: Failover([Target("a", max)], quota_rest_seconds=-1), ValueError, "quota_rest_seconds must"),
        (lambda: Failover([Target("a", max)], max_rest_seconds=-1), ValueError, "max_rest_seconds must"),
    ],
)
def test_a_bad_argument_is_named(make: Callable[[], object], kind: type[Exception], words: str) -> None:
    """With the bound and the value."""
    with pytest.raises(kind, match=words):
        make()


def test_a_target_cannot_be_changed() -> None:
    """Neither set nor deleted."""
    target = Target("a", max, weight=2)
    with pytest.raises(AttributeError):
        target.name = "b"
    with pytest.raises(AttributeError):
        del target.name
    assert repr(target) == "Target('a', weight=2)"
    assert repr(Failover([target, Target("b", max)])) == "Failover(a, b)"


def test_an_exception_that_cannot_be_written_to_is_raised_all_the_same() -> None:
    """A frozen one, which has a ``__setattr__`` of its own, gets its note, and hides nothing."""

    @dataclass(frozen=True)
    class FrozenError(ConnectionError):
        code: int

    def down() -> None:
        raise FrozenError(7)

    with pytest.raises(FrozenError) as raised:
        Failover([Target("a", down), Target("b", down)]).call()
    assert raised.value.__notes__ == ["tried a (failed: network), b (failed: network)"]
