"""Trying again: when, how often, how long to wait, and what comes out in the end."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import logging
import pickle
import random
import traceback
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import openai
import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime.circuit_breaker import CircuitOpenError
from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.failures import Failure, FailureKind
from techrevati.runtime.retry_policy import Retry, RetryAttempt, RetryBudget, attempts, own_retries
from techrevati.runtime.testing import FakeClock, run


class HttpError(Exception):
    """What an SDK raises: a status and headers."""

    def __init__(self, status_code: int = 503, **headers: object) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}


class Endpoint:
    """Answers by script: exceptions are raised, all else is returned; the last answer stays.  Counts."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.requests = 0

    def __call__(self) -> object:
        answer = self.script[min(self.requests, len(self.script) - 1)]
        self.requests += 1
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, type) and issubclass(answer, BaseException):
            raise answer()
        return answer

    async def asked(self) -> object:
        return self()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def nobody_was_warned() -> Iterator[None]:
    own_retries._warned_clients.clear()
    yield
    own_retries._warned_clients.clear()


@pytest.fixture(params=["call", "acall", "decorated", "async decorated"])
def ask(request: pytest.FixtureRequest) -> Callable[[Retry, Endpoint], object]:
    def asking(retry: Retry, endpoint: Endpoint) -> object:
        if request.param == "call":
            return retry.call(endpoint)
        if request.param == "decorated":
            return retry(lambda: endpoint())()
        return run(retry.acall(endpoint.asked) if request.param == "acall" else retry(endpoint.asked)())

    return asking


def retry_on(clock: FakeClock, attempts: int = 3, **more: Any) -> Retry:
    more = {"jitter": "none", "base_delay_seconds": 1.0, **more}
    return Retry(attempts, clock=clock, sleep=clock.sleep, asleep=clock.asleep, **more)


Ask = Callable[[Retry, Endpoint], object]

# --- whether ------------------------------------------------------------------------------------------------


def test_it_tries_until_it_works(clock: FakeClock, ask: Ask) -> None:
    """Two failures and an answer are three requests, one second and two seconds apart."""
    endpoint = Endpoint(HttpError, HttpError, "answer")
    assert ask(retry_on(clock), endpoint) == "answer"
    assert endpoint.requests == 3
    assert clock.now == 3.0


def test_the_last_exception_comes_out_unchanged(clock: FakeClock, ask: Ask) -> None:
    """The very object of the last attempt, with its cause, context and arguments; a note says how often."""
    errors = [HttpError(), HttpError(), HttpError()]
    errors[2].__cause__ = cause = ValueError()
    with pytest.raises(HttpError) as caught:
        ask(retry_on(clock), Endpoint(*errors))
    assert caught.value is errors[2]
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is None
    assert caught.value.__notes__ == ["tried 3 times"]
    assert caught.value.args == ("status 503",)
    assert "__call__" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not hasattr(errors[0], "__notes__")


def test_a_note_says_why_it_was_the_last_attempt(clock: FakeClock, ask: Ask) -> None:
    """Where a limit of this retry, not the failure, ended the attempts."""

    def notes(error: Exception, **settings: Any) -> list[str]:
        with pytest.raises(type(error)) as caught:
            ask(retry_on(clock, **settings), Endpoint(error, error))
        return caught.value.__notes__

    assert notes(HttpError(retry_after="90")) == [
        "tried once; a wait of 90 s is asked for, and at most 60 s are waited"
    ]
    assert notes(TimeoutError(), idempotent=False) == [
        "tried once; it may have taken effect, and idempotent is False"
    ]
    assert notes(HttpError(), max_elapsed_seconds=0.5) == [
        "tried once; the next attempt would begin after max_elapsed_seconds (0.5)"
    ]
    assert notes(HttpError(), budget=RetryBudget(1)) == ["tried 2 times; the retry budget is used up"]
    with Deadline(1, clock=clock):
        assert notes(HttpError()) == ["tried once; the next attempt would begin after the deadline"]


@pytest.mark.parametrize(
    "error",
    [
        HttpError(400),
        HttpError(401),
        TypeError("mine"),
        KeyError("k"),
        HttpError(503, x_should_retry="false"),
    ],
)
def test_what_cannot_help_is_not_repeated(clock: FakeClock, ask: Ask, error: Exception) -> None:
    """A bad request, a bug and a provider that says no (``x-should-retry``) are one request, without a
    note."""
    endpoint = Endpoint(error)
    with pytest.raises(type(error)) as caught:
        ask(retry_on(clock), endpoint)
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert endpoint.requests == 1
    assert clock.now == 0


def test_a_provider_that_says_yes_is_obeyed(clock: FakeClock, ask: Ask) -> None:
    """``x-should-retry: true`` repeats even a conflict."""
    endpoint = Endpoint(HttpError(400, x_should_retry="true"), "answer")
    assert ask(retry_on(clock), endpoint) == "answer"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_interrupts_are_never_repeated(clock: FakeClock, kind: type[BaseException]) -> None:
    """They come out at once."""
    endpoint = Endpoint(kind)
    with pytest.raises(kind):
        retry_on(clock).call(endpoint)
    coroutine = retry_on(clock).acall(endpoint.asked)
    with pytest.raises(kind):
        coroutine.send(None)
    assert endpoint.requests == 2


def test_the_user_decides_per_failure(clock: FakeClock, ask: Ask) -> None:
    """``retry_on`` sees the failure; its None leaves the decision to the failure itself."""
    seen: list[FailureKind] = []

    def judge(failure: Failure) -> bool | None:
        seen.append(failure.kind)
        return {400: True, 503: None, 429: False}[failure.status_code or 0]

    retry = retry_on(clock, 9, retry_on=judge)
    endpoint = Endpoint(HttpError(400), HttpError(503), HttpError(429))
    with pytest.raises(HttpError, match="429"):
        ask(retry, endpoint)
    assert endpoint.requests == 3
    assert seen[0] is FailureKind.INVALID_REQUEST
    assert seen[2] is FailureKind.RATE_LIMIT


@pytest.mark.parametrize("judge", ["retry_on", "retry_result"])
def test_a_judge_that_raises_is_logged_and_means_no(
    clock: FakeClock, ask: Ask, judge: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The call's own exception, or its paid answer, comes out."""

    def broken(_: object) -> bool:
        raise ZeroDivisionError("broken judge")

    retry = retry_on(clock, **{judge: broken})
    endpoint = Endpoint("answer" if judge == "retry_result" else HttpError())
    with caplog.at_level(logging.WARNING, "techrevati.runtime.retry_policy"):
        if judge == "retry_result":
            assert ask(retry, endpoint) == "answer"
        else:
            with pytest.raises(HttpError):
                ask(retry, endpoint)
    assert endpoint.requests == 1
    assert "broken judge" in caplog.text


def test_an_unwanted_result_is_asked_for_again_and_the_last_is_returned(clock: FakeClock, ask: Ask) -> None:
    """A result predicate repeats the call; when the attempts are used up the last result comes out."""
    retry = retry_on(clock, retry_result=lambda value: value != "good")
    assert ask(retry, Endpoint("bad", "good", "never")) == "good"
    assert ask(retry, Endpoint("bad", "worse", "worst", "never")) == "worst"
    assert ask(retry, Endpoint("bad", HttpError(), "good")) == "good"
    never = retry_on(clock, retry_result=lambda value: True, idempotent=False)
    endpoint = Endpoint("bad")
    assert ask(never, endpoint) == "bad"
    assert endpoint.requests == 1


# --- calls that may have taken effect ----------------------------------------------------------------------


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def handled(error: Exception, context: Exception) -> Exception:
    error.__context__ = context
    return error


def named(name: str, base: type[Exception] = Exception) -> Exception:
    return type(name, (base,), {})("connect")


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        (TimeoutError(), 1),
        (ConnectionResetError(), 1),
        (HttpError(500), 1),
        (HttpError(504), 1),
        (HttpError(429), 3),
        (HttpError(529), 3),
        (CircuitOpenError("api", 1.0), 3),
        (ConnectionRefusedError(), 3),
        (caused(ConnectionError("wrapper"), named("ConnectError", OSError)), 3),
        (ConnectionError(named("ConnectTimeout", OSError)), 3),
        # The refused connection was another request's; this one timed out.
        (handled(TimeoutError(), ConnectionRefusedError()), 1),
    ],
    ids=repr,
)
def test_what_may_have_taken_effect_is_not_repeated(
    clock: FakeClock, ask: Ask, error: Exception, requests: int
) -> None:
    """With ``idempotent=False`` only refusals and requests that were never sent are repeated."""
    endpoint = Endpoint(error)
    with pytest.raises(type(error)):
        ask(retry_on(clock, idempotent=False, max_retry_after_seconds=5), endpoint)
    assert endpoint.requests == requests


def test_an_outer_layer_does_not_repeat_what_an_inner_one_must_not(clock: FakeClock) -> None:
    """The inner layer knows that the call is not idempotent, and the outer one believes it."""
    endpoint = Endpoint(TimeoutError)
    inner = retry_on(clock, idempotent=False)
    with pytest.raises(TimeoutError):
        retry_on(clock).call(lambda: inner.call(endpoint))
    assert endpoint.requests == 1


# --- when ---------------------------------------------------------------------------------------------------


def waits(retry: Retry, errors: list[Exception]) -> list[float]:
    slept: list[float] = []
    retry._sleep = slept.append
    try:
        retry.call(Endpoint(*errors))
    except HttpError:
        pass
    return slept


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated"])
def test_waits_grow_within_their_bounds(jitter: Any) -> None:
    """Each kind of jitter keeps to its formula, from the first wait to the cap."""
    dice = random.Random(4)
    seen = []

    def die() -> float:
        seen.append(dice.random())
        return seen[-1]

    retry = Retry(9, jitter=jitter, base_delay_seconds=0.5, max_delay_seconds=8, rng=die)
    slept = waits(retry, [HttpError() for _ in range(9)])
    ceilings = [0.5, 1, 2, 4, 8, 8, 8, 8]
    if jitter == "none":
        assert slept == ceilings
        assert seen == []
    elif jitter == "full":
        assert slept == [c * d for c, d in zip(ceilings, seen, strict=True)]
    elif jitter == "equal":
        assert slept == [c / 2 + c / 2 * d for c, d in zip(ceilings, seen, strict=True)]
    else:
        previous = 0.5
        for wait, d in zip(slept, seen, strict=True):
            assert wait == min(8, 0.5 + (max(0.5, 3 * previous) - 0.5) * d)
            previous = wait


@settings(derandomize=True, deadline=None)
@given(asked=st.integers(0, 100), cap=st.integers(0, 100), die=st.floats(0, 1, exclude_max=True))
def test_retry_after_is_a_floor_and_has_a_cap(asked: int, cap: int, die: float) -> None:
    """The wait is never shorter than the provider asked for; where it asked for more than the cap nobody
    sleeps."""
    retry = Retry(2, rng=lambda: die, max_retry_after_seconds=cap, base_delay_seconds=10)
    slept = waits(retry, [HttpError(429, retry_after=asked)])
    assert slept == ([] if asked > cap else [max(asked, 10 * die)])


def test_attempts_and_elapsed_time_are_limits(clock: FakeClock, ask: Ask) -> None:
    """No attempt starts later than ``max_elapsed_seconds`` after the first, the time of the calls
    included."""
    endpoint = Endpoint(HttpError)
    with pytest.raises(HttpError):
        ask(retry_on(clock, 99, max_elapsed_seconds=7), endpoint)
    assert endpoint.requests == 4  # at 0, 1, 3 and 7
    assert clock.now == 7

    def slow() -> None:
        clock.advance(7.5)
        raise HttpError

    started = clock.now
    with pytest.raises(HttpError):
        retry_on(clock, 99, max_elapsed_seconds=7).call(slow)
    assert clock.now - started == 7.5


def test_nobody_sleeps_past_the_deadline(clock: FakeClock, ask: Ask) -> None:
    """A wait that would end at or after the running deadline is not begun."""
    with Deadline(7, clock=clock):
        endpoint = Endpoint(HttpError)
        with pytest.raises(HttpError):
            ask(retry_on(clock, 99), endpoint)
    assert endpoint.requests == 3  # at 0, 1 and 3; the next would be at 7
    assert clock.now == 3


def test_waiting_without_a_limit_is_still_a_number() -> None:
    """Thousands of attempts with no longest wait end in a finite wait."""
    rules = Retry(9_999, max_delay_seconds=float("inf"), base_delay_seconds=1e10)._rules
    for number in (1, 50, 2_000, 5_000):
        wait, reason = attempts.next_step(number, 0, 0, None, True, rules, lambda: 0.0, None)
        assert (wait, reason) == (0.0, None)


def test_the_default_sleepers(monkeypatch: pytest.MonkeyPatch) -> None:
    """``time.sleep`` for threads (as it was at import), ``asyncio.sleep`` for tasks, ``random`` for the
    dice."""
    assert inspect.signature(Retry).parameters["sleep"].default.__module__ == "time"

    async def main() -> float:
        await Retry(2, jitter="none", base_delay_seconds=5).acall(Endpoint(HttpError(), "answer").asked)
        return asyncio.get_running_loop().time()

    assert run(main()) == 5.0
    slept = waits(Retry(2), [HttpError(), HttpError()])
    assert 0 <= slept[0] < 0.5


# --- what is told ------------------------------------------------------------------------------------------


def test_every_attempt_that_did_not_succeed_is_told(clock: FakeClock, ask: Ask) -> None:
    """With number, failure, time, and either the wait or the reason why there is none."""
    told: list[RetryAttempt] = []
    retry = retry_on(clock, on_attempt=told.append)
    with pytest.raises(HttpError):
        ask(retry, Endpoint(HttpError))
    assert [(one.number, one.elapsed_seconds, one.wait_seconds, one.reason) for one in told] == [
        (1, 0, 1.0, None),
        (2, 1, 2.0, None),
        (3, 3, None, "attempts"),
    ]
    assert {one.failure.status_code for one in told if one.failure} == {503}
    assert "again in 1 s" in repr(told[0])
    assert "attempts" in repr(told[2])


@pytest.mark.parametrize(
    ("reason", "arguments", "script"),
    [
        ("attempts", {"max_attempts": 1}, [HttpError()]),
        ("elapsed", {"max_elapsed_seconds": 0}, [HttpError()]),
        ("not retryable", {}, [HttpError(400)]),
        ("may have taken effect", {"idempotent": False}, [TimeoutError()]),
        ("retry-after too long", {"max_retry_after_seconds": 1}, [HttpError(429, retry_after=2)]),
        ("budget", {"budget": RetryBudget(0)}, [HttpError()]),
        ("observed only", {"observe_only": True}, [HttpError()]),
    ],
)
def test_every_reason_has_its_name(reason: str, arguments: dict[str, Any], script: list[object]) -> None:
    """One request, no sleep, and the reason is told."""
    told: list[RetryAttempt] = []
    endpoint = Endpoint(*script)
    retry = Retry(
        **{"max_attempts": 3, **arguments}, jitter="none", on_attempt=told.append, sleep=pytest.fail
    )
    with pytest.raises((HttpError, TimeoutError)):
        retry.call(endpoint)
    assert [one.reason for one in told] == [reason]
    assert endpoint.requests == 1


def test_a_listener_that_raises_is_logged(
    clock: FakeClock, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on."""

    def broken(_: object) -> None:
        raise ValueError("broken listener")

    with caplog.at_level(logging.WARNING, "techrevati.runtime.retry_policy"):
        assert ask(retry_on(clock, on_attempt=broken), Endpoint(HttpError, "answer")) == "answer"
    assert "broken listener" in caplog.text


# --- off and observed ---------------------------------------------------------------------------------------


def test_switched_off_makes_every_call_once(clock: FakeClock, ask: Ask) -> None:
    """``enabled = False`` at run time: one request, no note, no token."""
    budget = RetryBudget(5)
    retry = retry_on(clock, budget=budget)
    retry.enabled = False
    endpoint = Endpoint(HttpError)
    with pytest.raises(HttpError) as caught:
        ask(retry, endpoint)
    assert (endpoint.requests, budget.taken) == (1, 0)
    assert not hasattr(caught.value, "__notes__")


def test_observing_changes_nothing(clock: FakeClock, ask: Ask) -> None:
    """It tells what it would do, takes no token, marks nothing: an outer layer retries as if it were not
    there."""
    told: list[RetryAttempt] = []
    budget = RetryBudget(5)
    observing = retry_on(clock, observe_only=True, budget=budget, on_attempt=told.append)
    endpoint = Endpoint(HttpError)
    with pytest.raises(HttpError) as caught:
        ask(observing, endpoint)
    assert (endpoint.requests, budget.taken, budget.left, clock.now) == (1, 0, 5, 0)
    assert not hasattr(caught.value, "__notes__")
    assert [(one.wait_seconds, one.reason) for one in told] == [(1.0, "observed only")]
    endpoint = Endpoint(HttpError, "answer")
    assert retry_on(clock).call(lambda: observing.call(endpoint)) == "answer"
    endpoint = Endpoint(HttpError(retry_after="5"), "answer")
    observing = retry_on(clock, observe_only=True, max_retry_after_seconds=1)
    assert retry_on(clock).call(lambda: observing.call(endpoint)) == "answer"  # though it would have given up


# --- layers -------------------------------------------------------------------------------------------------


class WrappedError(Exception):
    """What a layer in between makes of it."""


def wrapping(fn: Callable[[], object], how: str) -> Callable[[], object]:
    def call() -> object:
        try:
            return fn()
        except Exception as error:
            if how == "cause":
                raise WrappedError from error
            if how == "context":
                raise WrappedError  # noqa: B904
            if how == "group":
                raise ExceptionGroup("all", [error]) from None
            raise

    return call


@pytest.mark.parametrize("how", ["plain", "cause", "context", "group"])
@pytest.mark.parametrize("budgeted", [False, True])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_three_layers_and_a_dead_endpoint_are_three_requests(how: str, budgeted: bool, colour: str) -> None:
    """Tool, agent and run each retry three times; the endpoint sees three requests and not 27, also when a
    layer in between wraps the exception; a shared budget of one makes it two."""
    clock = FakeClock()
    endpoint = Endpoint(HttpError)
    budget = RetryBudget(1) if budgeted else None
    fn: Callable[[], object] = endpoint
    afn: Callable[[], Any] = endpoint.asked
    for _ in range(3):
        retry = retry_on(clock, budget=budget)
        if colour == "sync":
            fn = wrapping(lambda fn=fn, retry=retry: retry.call(fn), how)  # type: ignore[misc]
        else:

            async def layer(afn: Callable[[], Any] = afn, retry: Retry = retry) -> object:
                try:
                    return await retry.acall(afn)
                except Exception as error:
                    return wrapping(Endpoint(error), how)()

            afn = layer
    with pytest.raises((HttpError, WrappedError, ExceptionGroup)):
        fn() if colour == "sync" else run(afn())
    assert endpoint.requests == (2 if budgeted else 3)
    if budget is not None:
        assert (budget.taken, budget.left) == (1, 0)


def test_one_budget_bounds_a_whole_run(clock: FakeClock) -> None:
    """Forty calls of a run against a dead endpoint, three layers each: forty requests and ten retries."""
    budget = RetryBudget(10)
    endpoint = Endpoint(HttpError)
    layers = [retry_on(clock, budget=budget) for _ in range(3)]
    for _ in range(40):
        with pytest.raises(HttpError):
            layers[0].call(layers[1].call, layers[2].call, endpoint)
    assert endpoint.requests == 50
    assert budget.left == 0


def test_the_same_exception_object_again_is_a_new_failure(clock: FakeClock, ask: Ask) -> None:
    """An exception that is kept and raised again later is retried again, and its notes do not pile up."""
    error = HttpError()
    for _ in range(3):
        endpoint = Endpoint(error)
        with pytest.raises(HttpError):
            ask(retry_on(clock), endpoint)
        assert endpoint.requests == 3
    assert error.__notes__ == ["tried 3 times"]


def test_a_mark_does_not_leave_the_process() -> None:
    """A given-up exception that was pickled, or deeply copied, is news to a layer elsewhere."""
    error = CircuitOpenError("api", 0.0)
    with pytest.raises(CircuitOpenError):
        Retry(2, sleep=lambda _: None).call(Endpoint(error))
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):  # noqa: S301
        assert twin.__notes__ == error.__notes__
        endpoint = Endpoint(twin, "answer")
        assert Retry(2, sleep=lambda _: None).call(endpoint) == "answer"


def test_frozen_exceptions_are_raised_as_they_are(clock: FakeClock, ask: Ask) -> None:
    """One whose attributes cannot be set is neither hidden by a TypeError nor multiplied."""

    class FrozenError(HttpError):
        frozen = False

        def __init__(self) -> None:
            super().__init__()
            type(self).frozen = True

        def __setattr__(self, name: str, value: object) -> None:
            if type(self).frozen:
                raise TypeError("frozen")
            super().__setattr__(name, value)

    error = FrozenError()
    endpoint = Endpoint(error)
    with pytest.raises(FrozenError) as caught:
        retry_on(clock).call(lambda: ask(retry_on(clock), endpoint))
    assert caught.value is error
    assert endpoint.requests == 3


# --- interrupts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["sleep", "listener"])
def test_ctrl_c_before_a_retry_gives_the_token_back(where: str) -> None:
    """The retry was not made, so it is not counted."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    budget = RetryBudget(3)
    arguments: dict[str, Any] = {"sleep": interrupt} if where == "sleep" else {"on_attempt": interrupt}
    with pytest.raises(KeyboardInterrupt):
        Retry(budget=budget, **arguments).call(Endpoint(HttpError))
    assert (budget.left, budget.taken) == (3, 0)


def test_cancellation_at_every_await() -> None:
    """Cancelled during an attempt or during a wait, at any moment: the task ends at once, tokens that were
    not used are given back, those of attempts that began are not."""

    async def main(moment: float) -> tuple[int, int]:
        budget = RetryBudget(10)
        requests = 0

        async def slow() -> None:
            nonlocal requests
            requests += 1
            await asyncio.sleep(1)
            raise HttpError

        retry = Retry(4, jitter="none", base_delay_seconds=1, budget=budget)
        task = asyncio.create_task(retry.acall(slow))
        await asyncio.sleep(moment)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() == moment
        return requests, budget.taken

    # attempts at 0-1, 2-3, 5-6; waits at 1-2, 3-5, 6-10
    for moment, expected in [
        (0.5, (1, 0)),
        (1.5, (1, 0)),
        (2.5, (2, 1)),
        (4.0, (2, 1)),
        (5.5, (3, 2)),
        (9.0, (3, 2)),
    ]:
        assert run(main(moment)) == expected


@pytest.mark.parametrize("refused_at", [1, 2, 3])
def test_a_refusal_at_the_end_keeps_what_the_provider_said(
    clock: FakeClock, ask: Ask, refused_at: int
) -> None:
    """When a breaker refuses an attempt after others failed, its refusal is raised, caused by the last of
    those; a refusal from the start has no cause, and a cause that it has stays."""
    errors = [HttpError() for _ in range(refused_at - 1)]
    refusal = CircuitOpenError("api", 1e6)
    with pytest.raises(CircuitOpenError) as caught:
        ask(retry_on(clock), Endpoint(*errors, refusal))
    assert caught.value is refusal
    assert refusal.__cause__ is (errors[-1] if errors else None)
    other = CircuitOpenError("api", 1e6)
    other.__cause__ = named = ValueError("named")
    with pytest.raises(CircuitOpenError):
        ask(retry_on(clock), Endpoint(HttpError(), other))
    assert other.__cause__ is named


def test_several_refusals_keep_what_the_provider_said(clock: FakeClock, ask: Ask) -> None:
    """A breaker that refuses twice, with a short wait: the failure before both is the cause, and never a
    ring."""
    error, last = HttpError(), CircuitOpenError("api", 0.5)
    with pytest.raises(CircuitOpenError):
        ask(retry_on(clock), Endpoint(error, CircuitOpenError("api", 0.5), last))
    assert last.__cause__ is error
    error.__context__ = ring = CircuitOpenError("api", 1e6)
    with pytest.raises(CircuitOpenError):
        ask(retry_on(clock), Endpoint(error, ring))
    assert ring.__cause__ is None


def test_observing_tells_why_nothing_would_be_tried_again(clock: FakeClock, ask: Ask) -> None:
    """Only observing, a failure that would not be tried again has its own reason and no wait."""
    told: list[RetryAttempt] = []
    for attempts_, error in ((1, HttpError()), (3, ValueError("mine")), (3, HttpError())):
        with pytest.raises(type(error)):
            ask(retry_on(clock, attempts_, observe_only=True, on_attempt=told.append), Endpoint(error))
    assert [(each.reason, each.wait_seconds) for each in told] == [
        ("attempts", None),
        ("not retryable", None),
        ("observed only", 1.0),
    ]


def test_what_is_raised_from_none_says_nothing_of_an_inner_layer(clock: FakeClock) -> None:
    """Who raises another error ``from None`` after an inner layer gave up speaks of something else, which is
    tried again; without that it is not."""
    endpoint = Endpoint(HttpError)

    def asking(hidden: bool) -> None:
        try:
            retry_on(clock, 2)(lambda: endpoint())()
        except HttpError:
            if hidden:
                raise HttpError from None
            raise HttpError  # noqa: B904

    for hidden, requests in ((True, 6), (False, 2)):
        endpoint.requests = 0
        with pytest.raises(HttpError):
            retry_on(clock, 3).call(asking, hidden)
        assert endpoint.requests == requests


class Held:
    """Something heavy that a frame holds."""


@pytest.mark.parametrize("end", ["raised", "interrupted", "succeeded", "refused"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_no_reference_cycle_is_left(end: str, colour: str) -> None:
    """What the attempts held is freed as soon as the call is over, without the collector."""
    held = Held()
    known = weakref.ref(held)
    requests = 0

    def fn(held: Held = held) -> str:
        nonlocal requests
        requests += 1
        if end == "succeeded" and requests == 2:
            return "answer"
        if end == "refused" and requests == 2:
            raise CircuitOpenError("api", 1e6)
        raise HttpError

    async def afn(fn: Callable[[], str] = fn) -> str:
        return fn()

    def sleep(_: float) -> None:
        if end == "interrupted":
            raise KeyboardInterrupt

    async def asleep(_: float) -> None:
        sleep(_)

    retry = Retry(3, sleep=sleep, asleep=asleep)
    gc.collect()
    gc.disable()
    try:
        try:
            if colour == "sync":
                retry.call(fn)
            else:
                retry.acall(afn).send(None)
        except (HttpError, KeyboardInterrupt, StopIteration, CircuitOpenError):
            pass
        del fn, afn, held
        assert known() is None
    finally:
        gc.enable()


# --- streams ------------------------------------------------------------------------------------------------


def test_a_stream_starts_again_only_before_its_first_item(clock: FakeClock) -> None:
    """A failure before the first item starts it again; one after it comes out, and nothing is said twice."""
    starts: list[int] = []

    @retry_on(clock)
    def stream(fails_at: tuple[int, ...]) -> Generator[int, None, str]:
        starts.append(len(starts))
        for item in range(3):
            if (len(starts), item) in ((at, 0) for at in fails_at) or (item == 2 and 9 in fails_at):
                raise HttpError
            yield item
        return "end"

    @retry_on(clock)
    async def astream(fails_at: tuple[int, ...]) -> AsyncGenerator[int, None]:
        for item in stream.__wrapped__(fails_at):  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            yield item

    async def listed(items: AsyncIterator[int]) -> list[int]:
        return [item async for item in items]

    def ended(items: Generator[int, None, str]) -> tuple[list[int], str]:
        got = []
        while True:
            try:
                got.append(next(items))
            except StopIteration as end:
                return got, end.value

    assert ended(stream((1, 2))) == ([0, 1, 2], "end")
    assert len(starts) == 3
    starts.clear()
    assert run(listed(astream((1, 2)))) == [0, 1, 2]
    assert len(starts) == 3
    for consume in (lambda: list(stream((9,))), lambda: run(listed(astream((9,))))):
        starts.clear()
        with pytest.raises(HttpError):
            consume()
        assert len(starts) == 1


def test_a_generator_is_fully_a_generator(clock: FakeClock) -> None:
    """Everything sent arrives, what is thrown can be caught, the return value comes out, also at the first
    item."""

    @retry_on(clock)
    def talking() -> Generator[str, str, str]:
        got = []
        try:
            got.append((yield "ready"))
            got.append((yield "more"))
        except ValueError:
            return "thrown at"
        got.append((yield "last"))
        return f"{got}"

    def end(step: Callable[[], object]) -> object:
        with pytest.raises(StopIteration) as stop:
            step()
        return stop.value.value

    items = talking()
    assert [next(items), items.send("a"), items.send("b")] == ["ready", "more", "last"]
    assert end(lambda: items.send("c")) == "['a', 'b', 'c']"
    for steps in (1, 2):
        items = talking()
        for _ in range(steps):
            next(items)
        assert end(lambda items=items: items.throw(ValueError())) == "thrown at"  # type: ignore[misc]

    @retry_on(clock)
    def empty() -> Generator[str, None, str]:
        return "nothing"
        yield

    @retry_on(clock)
    def one() -> Generator[str, str, str]:
        return (yield "one")

    assert end(lambda: next(empty())) == "nothing"
    items = one()
    next(items)
    assert end(lambda: items.send("sent")) == "sent"
    closed: list[str] = []

    @retry_on(clock)
    def cleaning() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            closed.append("closed")

    left = cleaning()
    next(left)
    left.close()
    assert closed == ["closed"]


def test_an_async_generator_is_fully_one(clock: FakeClock) -> None:
    """asend, athrow and aclose reach the generator inside."""
    cleaned: list[str] = []

    @retry_on(clock)
    async def talking() -> AsyncGenerator[str, str]:
        try:
            got = yield "ready"
            try:
                yield f"got {got}"
            except ValueError:
                yield "caught"
        finally:
            cleaned.append("clean")

    async def main() -> list[str]:
        items = talking()
        said = [await items.__anext__(), await items.asend("a"), await items.athrow(ValueError())]
        with pytest.raises(StopAsyncIteration):
            await items.__anext__()
        left = talking()
        await left.__anext__()
        await left.aclose()
        return said

    assert run(main()) == ["ready", "got a", "caught"]
    assert cleaned == ["clean", "clean"]


def test_what_cannot_be_decorated_is_refused(clock: FakeClock) -> None:
    """A class, a descriptor, and a stream whose returned value should be judged."""

    def stream() -> Generator[int, None, None]:
        yield 1

    for wrong in (int, staticmethod(len), 3):
        with pytest.raises(TypeError):
            retry_on(clock)(wrong)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="stream"):
        retry_on(clock, retry_result=lambda _: False)(stream)


# --- SDK clients with retries of their own ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["method", "lambda", "async"])
def test_an_sdk_client_that_retries_by_itself_is_reported_once(
    caplog: pytest.LogCaptureFixture, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real openai client: one warning with the numbers and the fix, however it is called; none with the
    fix made."""
    kind = openai.AsyncOpenAI if form == "async" else openai.OpenAI
    client = kind(api_key="none", base_url="http://127.0.0.1:9/v1", max_retries=2)
    monkeypatch.setattr(type(client), "_sleep_for_retry", quick_async if form == "async" else quick)
    retry = Retry(2, sleep=lambda _: None, base_delay_seconds=0)

    def ask(client: Any) -> None:
        with pytest.raises(openai.APIConnectionError):
            if form == "async":
                asyncio.run(retry(client.chat.completions.create)(model="m", messages=[]))
            elif form == "method":
                retry.call(client.chat.completions.create, model="m", messages=[])
            else:
                retry.call(lambda: client.chat.completions.create(model="m", messages=[]))

    with caplog.at_level(logging.WARNING, "techrevati.runtime.retry_policy"):
        ask(client.with_options(max_retries=0))
        assert caplog.records == []
        ask(client)
        ask(client)
    (record,) = caplog.records
    text = record.getMessage()
    assert f"openai.{kind.__name__}" in text
    assert "up to 6 requests" in text
    assert "with_options(max_retries=0)" in text


def quick(self: object, **_: object) -> None:
    """Instead of sleeping."""


async def quick_async(self: object, **_: object) -> None:
    """Instead of sleeping."""


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named_one"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1.5}, "max_attempts"),
        ({"max_elapsed_seconds": -1}, "max_elapsed_seconds"),
        ({"base_delay_seconds": float("nan")}, "base_delay_seconds"),
        ({"max_delay_seconds": -1}, "max_delay_seconds"),
        ({"jitter": "some"}, "jitter"),
        ({"max_retry_after_seconds": "60"}, "max_retry_after_seconds"),
        ({"retry_on": 429}, "retry_on"),
        ({"retry_result": True}, "retry_result"),
        ({"on_attempt": "print"}, "on_attempt"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named_one: str) -> None:
    """A retry that cannot work is refused when it is made."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        Retry(**arguments)
    assert named_one in str(refusal.value)


def test_no_delay_is_no_delay(clock: FakeClock) -> None:
    """A base of 0 waits for nothing, whatever the jitter, but still for what the provider asks."""
    for jitter in ("full", "decorrelated"):
        retry = retry_on(clock, base_delay_seconds=0, jitter=jitter)
        assert retry.call(Endpoint(HttpError, "answer")) == "answer"
    assert clock.now == 0
    assert retry.call(Endpoint(HttpError(429, retry_after=3), "answer")) == "answer"
    assert clock.now == 3


def test_a_plain_decorator_around_async_def_is_retried(clock: FakeClock) -> None:
    """The SDKs' own decorators are plain functions that make coroutines: each attempt is awaited and judged
    by its result, and the budget earns one success."""
    endpoint = Endpoint(HttpError, "bad", "good")
    budget = RetryBudget(4, refill_per_success=1.0)
    retry = retry_on(clock, 9, budget=budget, retry_result=lambda value: value == "bad")
    assert run(retry(lambda: endpoint.asked())()) == "good"  # type: ignore[arg-type]
    assert (endpoint.requests, budget.taken, budget.left) == (3, 2, 3)


def test_an_async_function_needs_acall(clock: FakeClock) -> None:
    """Given to ``call`` it is refused, at any attempt and however often the retry worked before; its
    coroutine is closed, nothing has run."""
    ran: list[int] = []

    async def ask() -> None:
        ran.append(1)

    retry = retry_on(clock)
    assert retry.call(Endpoint("answer")) == "answer"
    made: list[Any] = []

    def hidden() -> object:
        made.append(ask())
        return made[-1]

    script = iter([HttpError(), None])

    def later() -> object:
        error = next(script)
        if error is not None:
            raise error
        return hidden()

    for fn in (ask, hidden, later):
        with pytest.raises(TypeError, match="acall"):
            retry.call(fn)
    assert [inspect.getcoroutinestate(one) for one in made] == [inspect.CORO_CLOSED] * 2
    assert not ran
    assert run(retry(hidden)()) is None  # type: ignore[func-returns-value, arg-type]
    assert ran


def test_an_open_breaker_puts_nobody_to_sleep_for_a_minute(clock: FakeClock, ask: Ask) -> None:
    """A breaker is waited for no longer than a wait of our own making; a provider that asks may take more."""
    with pytest.raises(CircuitOpenError):
        ask(retry_on(clock), Endpoint(CircuitOpenError("api", 60.0)))
    assert clock.now == 0
    assert ask(retry_on(clock), Endpoint(CircuitOpenError("api", 20.0), "answer")) == "answer"
    assert clock.now == 20
    assert ask(retry_on(clock), Endpoint(HttpError(429, retry_after=50), "answer")) == "answer"
    assert clock.now == 70


def test_another_number_of_attempts_is_another_retry() -> None:
    """The one it was made from keeps its own."""
    retry = Retry(3, base_delay_seconds=0, sleep=lambda seconds: None)
    counts = []
    for each in (retry.with_attempts(5), retry, retry.with_attempts(1)):
        endpoint = Endpoint(HttpError)
        with pytest.raises(HttpError):
            each.call(endpoint)
        counts.append(endpoint.requests)
    assert counts == [5, 3, 1]
