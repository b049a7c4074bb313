"""What all policies share: each can only observe, and can be switched off and on, while calls go through it.

In force, a policy changes what becomes of a call in the trouble it is for.  Only observing, the call ends as
if the policy were not there, and the policy has measured or told what it would have done.  Switched off, the
call ends the same way and nothing is measured.  That holds for every way to call, for functions that were
decorated before, and as often as the switches are turned.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple, Protocol
from unittest.mock import AsyncMock

import pytest

from techrevati.runtime.bulkhead import Bulkhead, BulkheadFullError
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError, Timeout, TurnTimeoutError
from techrevati.runtime.failover import Failover, Target
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.rate_limit import RateLimit, RateLimitExceededError
from techrevati.runtime.retry_policy import Recovery, RecoveryStep, Retry, RetryBudget
from techrevati.runtime.testing import FakeClock, run


class Switches(Protocol):
    """What every policy has."""

    @property
    def observe_only(self) -> bool: ...
    @observe_only.setter
    def observe_only(self, only: bool) -> None: ...
    @property
    def enabled(self) -> bool: ...
    @enabled.setter
    def enabled(self, on: bool) -> None: ...


class Outcome(NamedTuple):
    """How often the wrapped function began, and what came of it: its answer, or an exception's class."""

    requests: int
    end: object


FACES = ("call", "acall", "def", "async def", "generator", "async generator")


class Rig(NamedTuple):
    """A policy in the trouble it is for.

    Attributes:
        policy: Has the switches.
        part: What goes around the function.
        measured: What the policy has measured or told so far.
        fails: Whether the function raises, or answers.
        in_force, absent: What becomes of a call with the policy, and without it.
        trouble: Around each call.
        faces: The ways to call it.
    """

    policy: Switches
    part: Any
    measured: Callable[[], int]
    fails: bool
    in_force: Outcome
    absent: Outcome
    trouble: Callable[[], AbstractContextManager[object]] = nullcontext
    faces: tuple[str, ...] = FACES


ANSWERED = Outcome(1, "answer")
FAILED = Outcome(1, ConnectionError)
FAILED_TWICE = Outcome(2, ConnectionError)


class Source:
    """The wrapped function, in every colour."""

    def __init__(self, clock: FakeClock, fails: bool) -> None:
        self._clock = clock
        self._fails = fails
        self.requests = 0

    def _begin(self) -> None:
        self.requests += 1
        self._clock.advance(0.001)  # some time goes by
        if self._fails:
            raise ConnectionError("down")

    def plain(self) -> str:
        self._begin()
        return "answer"

    async def tasked(self) -> str:
        self._begin()
        return "answer"

    def stream(self) -> Generator[str, None, None]:
        self._begin()
        yield "answer"

    async def astream(self) -> AsyncGenerator[str, None]:
        self._begin()
        yield "answer"


def asking(part: Any, face: str, source: Source) -> Callable[[], object]:
    """A call through *part*, wrapped once, now."""
    if isinstance(part, Failover):  # its targets are the functions
        return {
            "call": part.call,
            "acall": lambda: run(part.acall()),
            "generator": lambda: "".join(part.stream()),
            "async generator": lambda: run(joined(part.astream())),
        }[face]
    if face == "call":
        return lambda: part.call(source.plain)
    if face == "acall":
        return lambda: run(part.acall(source.tasked))
    if face == "async call":
        return lambda: run(part.call(source.tasked))
    if face == "with":

        def block() -> str:
            with part:
                return source.plain()

        return block
    if face == "async with":

        async def ablock() -> str:
            async with part:
                return await source.tasked()

        return lambda: run(ablock())
    if face == "def":
        return part(source.plain)  # type: ignore[no-any-return]
    if face == "async def":
        decorated = part(source.tasked)
        return lambda: run(decorated())
    if face == "generator":
        stream = part(source.stream)
        return lambda: "".join(stream())
    astream = part(source.astream)
    return lambda: run(joined(astream()))


async def joined(stream: Any) -> str:
    return "".join([item async for item in stream])


# --- the policies -------------------------------------------------------------------------------------------


def circuit_breaker(clock: FakeClock, face: str) -> Rig:
    breaker = CircuitBreaker("b", 1, 1000, clock=clock)

    @contextmanager
    def trouble() -> Iterator[None]:
        breaker.record_failure()
        yield

    return Rig(
        breaker,
        breaker.as_async() if face.startswith("a") else breaker,
        lambda: int(breaker.state() is CircuitState.OPEN),
        False,
        Outcome(0, CircuitOpenError),
        ANSWERED,
        trouble,
        ("call", "async call", "def", "async def", "generator", "async generator", "with", "async with"),
    )


def async_circuit_breaker(clock: FakeClock, face: str) -> Rig:
    rig = circuit_breaker(clock, "a")
    return rig._replace(policy=rig.part, faces=("async call", "async def", "async generator", "async with"))


def retry(clock: FakeClock, face: str) -> Rig:
    told: list[object] = []

    def tell(attempt: Any) -> None:
        if attempt.reason != "off":
            told.append(attempt)

    policy = Retry(2, on_attempt=tell, clock=clock, sleep=clock.sleep, asleep=clock.asleep)
    return Rig(policy, policy, lambda: len(told), True, FAILED_TWICE, FAILED)


def retry_budget(clock: FakeClock, face: str) -> Rig:
    budget = RetryBudget(0)
    part = Retry(2, budget=budget, clock=clock, sleep=clock.sleep, asleep=clock.asleep)
    return Rig(budget, part, lambda: budget.denied, True, FAILED, FAILED_TWICE)


def recovery(clock: FakeClock, face: str) -> Rig:
    told: list[object] = []
    policy = Recovery(on_event=told.append, sleep=clock.sleep, asleep=clock.asleep)
    return Rig(policy, policy, lambda: len(told), True, Outcome(3, ConnectionError), FAILED)


def timeout(clock: FakeClock, face: str) -> Rig:
    told: list[object] = []
    policy = Timeout(0, on_late=told.append, clock=clock)
    return Rig(policy, policy, lambda: len(told), False, Outcome(0, TurnTimeoutError), ANSWERED)


def deadline(clock: FakeClock, face: str) -> Rig:
    told: list[object] = []
    policy = Deadline(5, clock=clock, on_shortened=lambda *cut: told.append(cut))
    clock.advance(6)
    part = Pipeline(policy, Timeout(99))
    return Rig(policy, part, lambda: len(told), False, Outcome(0, DeadlineExceededError), ANSWERED)


def bulkhead(clock: FakeClock, face: str) -> Rig:
    policy = Bulkhead(1, max_queue=0)
    return Rig(
        policy,
        policy,
        lambda: policy.snapshot().refused,
        False,
        Outcome(0, BulkheadFullError),
        ANSWERED,
        lambda: policy,  # somebody is inside
        (*FACES, "with", "async with"),
    )


def rate_limit(clock: FakeClock, face: str) -> Rig:
    policy = RateLimit(
        60, burst_requests=1, max_wait_seconds=0, clock=clock, sleep=clock.sleep, asleep=clock.asleep
    )

    @contextmanager
    def trouble() -> Iterator[None]:
        with suppress(RateLimitExceededError):
            policy.call(int)  # somebody was just here
        yield

    return Rig(
        policy,
        policy,
        lambda: policy.snapshot().refused,
        False,
        Outcome(0, RateLimitExceededError),
        ANSWERED,
        trouble,
    )


def failover(clock: FakeClock, face: str) -> Rig:
    told: list[object] = []
    broken, other = Source(clock, True), Source(clock, False)
    colour = {"call": "plain", "acall": "tasked", "generator": "stream"}.get(face, "astream")
    targets = [Target(name, getattr(one, colour)) for name, one in (("a", broken), ("b", other))]
    policy: Failover[[], Any] = Failover(targets, on_switch=told.append, clock=clock)
    faces = ("call", "acall", "generator", "async generator")
    return Rig(
        policy,
        policy,
        lambda: len(told),
        True,
        Outcome(0, "answer"),
        Outcome(0, ConnectionError),
        faces=faces,
    )


def hedge(clock: FakeClock, face: str) -> Rig:
    policy = Hedge(
        idempotent=True, delay_seconds=1000, burst_requests=99
    )  # a failed request is followed by another at once
    return Rig(policy, policy, lambda: policy.snapshot().hedged, True, FAILED_TWICE, FAILED)


def pipeline(clock: FakeClock, face: str) -> Rig:
    rig = retry(clock, face)
    policy = Pipeline(rig.part)
    return rig._replace(policy=policy, part=policy)


def whole_pipeline(clock: FakeClock, face: str) -> Rig:
    """Every part at once, and trouble for the outermost."""
    told: list[object] = []
    source = Source(clock, False)
    colour = {"call": "plain", "def": "plain", "generator": "stream", "async generator": "astream"}
    end = Deadline(3000, clock=clock, on_shortened=lambda *cut: told.append(cut))
    clock.advance(3000)
    policy = Pipeline(
        end,
        RetryBudget(),
        Retry(2, clock=clock, sleep=clock.sleep, asleep=clock.asleep),
        Failover([Target("t", getattr(source, colour.get(face, "tasked")))], clock=clock),
        Hedge(idempotent=True, delay_seconds=1000),
        CircuitBreaker("b", 1, clock=clock),
        RateLimit(60, clock=clock, sleep=clock.sleep, asleep=clock.asleep),
        Bulkhead(1),
        Timeout(999),
    )
    return Rig(policy, policy, lambda: len(told), True, Outcome(0, DeadlineExceededError), FAILED)


MAKERS = (
    circuit_breaker,
    async_circuit_breaker,
    retry,
    retry_budget,
    recovery,
    timeout,
    deadline,
    bulkhead,
    rate_limit,
    failover,
    hedge,
    pipeline,
    whole_pipeline,
)
EVERY = [
    pytest.param(make, face, id=f"{make.__name__} {face}")
    for make in MAKERS
    for face in make(FakeClock(), "call").faces
]


class Bench:
    """A policy around a function, wrapped before any switch is turned."""

    def __init__(self, make: Callable[[FakeClock, str], Rig], face: str) -> None:
        clock = FakeClock()
        self.rig = make(clock, face)
        self._source = Source(clock, self.rig.fails)
        self._ask = asking(self.rig.part, face, self._source)

    def ask(self) -> Outcome:
        self._source.requests = 0
        with self.rig.trouble():
            try:
                end: object = self._ask()
            except Exception as error:
                end = type(error)
        return Outcome(self._source.requests, end)

    def turn(self, mode: str) -> None:
        self.rig.policy.observe_only = mode == "observe"
        self.rig.policy.enabled = mode != "off"


@pytest.mark.parametrize(("make", "face"), EVERY)
def test_in_force_it_changes_what_becomes_of_a_call(make: Callable[[FakeClock, str], Rig], face: str) -> None:
    """Else the other tests here would prove nothing."""
    bench = Bench(make, face)
    assert bench.ask() == bench.rig.in_force != bench.rig.absent


@pytest.mark.parametrize(("make", "face"), EVERY)
def test_only_observing_it_measures_and_changes_nothing(
    make: Callable[[FakeClock, str], Rig], face: str
) -> None:
    """However often it would have done something."""
    bench = Bench(make, face)
    bench.turn("observe")
    assert [bench.ask() for _ in range(3)] == [bench.rig.absent] * 3
    assert bench.rig.measured() > 0


@pytest.mark.parametrize(("make", "face"), EVERY)
def test_switched_off_it_is_not_there(make: Callable[[FakeClock, str], Rig], face: str) -> None:
    """Nothing is changed and nothing is measured."""
    bench = Bench(make, face)
    bench.turn("off")
    before = bench.rig.measured()
    assert [bench.ask() for _ in range(3)] == [bench.rig.absent] * 3
    assert bench.rig.measured() == before


@pytest.mark.parametrize(("make", "face"), EVERY)
def test_the_switches_may_be_turned_at_any_time(make: Callable[[FakeClock, str], Rig], face: str) -> None:
    """The next call knows, whichever way they are turned."""
    bench = Bench(make, face)
    modes = ["on", "observe", "off", "on", "off", "observe", "on", "on"]
    seen = []
    for mode in modes:
        bench.turn(mode)
        seen.append(bench.ask())
    rig = bench.rig
    assert seen == [rig.in_force if mode == "on" else rig.absent for mode in modes]


def test_a_new_policy_can_be_made_to_observe_only() -> None:
    """By its constructor, all of them in the same way; everything is switched on at first."""
    made: list[Switches] = [
        CircuitBreaker("b", observe_only=True),
        CircuitBreaker("b", observe_only=True).as_async(),
        Retry(observe_only=True),
        RetryBudget(observe_only=True),
        Recovery(observe_only=True),
        Timeout(1, observe_only=True),
        Deadline(1, observe_only=True),
        Bulkhead(1, observe_only=True),
        RateLimit(60, observe_only=True),
        Failover([Target("t", max)], observe_only=True),
        Hedge(idempotent=True, observe_only=True),
        Pipeline(Retry(), observe_only=True),
    ]
    assert [(one.observe_only, one.enabled) for one in made] == [(True, True)] * len(made)


CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "circuit_breaker": partial(CircuitBreaker, "b"),
    "async_circuit_breaker": partial(AsyncCircuitBreaker, "b"),
    "retry": Retry,
    "retry_budget": RetryBudget,
    "recovery": Recovery,
    "timeout": partial(Timeout, 1),
    "deadline": partial(Deadline, 1),
    "bulkhead": partial(Bulkhead, 1),
    "rate_limit": partial(RateLimit, 60),
    "failover": partial(Failover, [Target("t", max)]),
    "hedge": partial(Hedge, idempotent=True),
    "pipeline": partial(Pipeline, Retry()),
}


@pytest.mark.parametrize("wrong", ["yes", "no", "", 1, 0, None], ids=repr)
@pytest.mark.parametrize("name", list(CONSTRUCTORS))
def test_a_switch_is_a_bool_and_nothing_that_only_counts_as_one(name: str, wrong: Any) -> None:
    """``"no"`` is true: a policy meant to be off would stay on, and the other way round."""
    make = CONSTRUCTORS[name]
    with pytest.raises(TypeError, match=f"observe_only must be True or False, got {wrong!r}"):
        make(observe_only=wrong)
    policy: Switches = make()
    with pytest.raises(TypeError, match=f"observe_only must be True or False, got {wrong!r}"):
        policy.observe_only = wrong
    with pytest.raises(TypeError, match=f"enabled must be True or False, got {wrong!r}"):
        policy.enabled = wrong
    assert (policy.observe_only, policy.enabled) == (False, True)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("retry", "idempotent"),
        ("recovery", "idempotent"),
        ("circuit_breaker", "respect_retry_after"),
        ("rate_limit", "respect_retry_after"),
    ],
)
def test_other_yes_or_no_arguments_are_bools_too(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be True or False, got 'no'"):
        CONSTRUCTORS[name](**{argument: "no"})


@pytest.mark.parametrize("make", [Retry, Recovery], ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["sleep", "asleep", "rng", "budget"])
def test_what_a_retry_works_with_is_checked_when_it_is_made(make: Callable[..., object], name: str) -> None:
    """A number instead of a function would only be noticed in the first outage."""
    with pytest.raises(TypeError, match=rf"{name} must be .*, got 5"):
        make(**{name: 5})


JUDGES_AND_LISTENERS = [
    ("circuit_breaker", "clock on_state_change counts_as_failure result_is_failure rng"),
    ("retry", "clock sleep rng retry_on retry_result on_attempt"),
    ("recovery", "sleep rng on_event"),
    ("deadline", "clock on_shortened"),
    ("timeout", "clock on_late"),
    ("bulkhead", "clock on_refused"),
    ("rate_limit", "clock sleep on_limited estimate_tokens tokens_used"),
    ("failover", "clock rng fails_over on_switch"),
    ("hedge", "clock hedges_on on_hedge on_loser"),
]


class AsyncObject:
    """Async, and no function."""

    async def __call__(self, *args: object) -> bool:
        return False


async def coroutine(*args: object) -> bool:
    return False


def generator(*args: object) -> Generator[bool, None, None]:
    yield False


@pytest.mark.parametrize(
    "wrong",
    [coroutine, generator, partial(coroutine, 1), AsyncObject(), AsyncMock()],
    ids=["coroutine", "generator", "partial", "object", "mock"],
)
@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name, all_of_it in JUDGES_AND_LISTENERS for argument in all_of_it.split()],
)
def test_what_must_answer_at_once_is_not_async(
    name: str, argument: str, wrong: Callable[..., object]
) -> None:
    """An async judge would say yes to everything, an async listener or sleep would never run."""
    with pytest.raises(TypeError, match=f"{argument} must be callable, and neither async nor a generator"):
        CONSTRUCTORS[name](**{argument: wrong})


def test_what_may_be_async_is_taken() -> None:
    """What a task awaits."""
    Retry(asleep=coroutine)
    RateLimit(60, asleep=coroutine)
    Recovery(
        {RecoveryStep.RESTART_AGENT: coroutine}, asleep=coroutine, on_alert=coroutine, fallback=coroutine
    )
