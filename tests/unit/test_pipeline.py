"""Parts around one call: the order, what they do together, every colour, and what it costs a provider."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest

from techrevati.runtime._core.deadline import remaining_s, shortened
from techrevati.runtime.bulkhead import Bulkhead
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.deadlines import (
    Deadline,
    DeadlineExceededError,
    Timeout,
    TurnTimeoutError,
    current_deadline,
    timeout as timeout_module,
)
from techrevati.runtime.failover import Failover, Target, TargetSwitch
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.pipeline import Pipeline, PipelineOrderError
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Retry, RetryBudget
from techrevati.runtime.testing import FakeClock, run

PATIENCE = 10.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def retry_on(clock: FakeClock, attempts: int = 3, **more: Any) -> Retry:
    return Retry(attempts, jitter="none", clock=clock, sleep=clock.sleep, asleep=clock.asleep, **more)


class Endpoint:
    """Answers by a script, over and over its last line."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.requests = 0

    def ask(self, *args: object, **kwargs: object) -> object:
        self.requests += 1
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, BaseException):
            raise line
        return line

    async def aask(self, *args: object, **kwargs: object) -> object:
        return self.ask()


def down() -> Endpoint:
    return Endpoint(ConnectionError("down"))


# --- the order ----------------------------------------------------------------------------------------------


def breaker() -> CircuitBreaker:
    return CircuitBreaker("b")


def slow_breaker() -> CircuitBreaker:
    return CircuitBreaker("b", window_calls=4, slow_call_seconds=1)


SAME = CircuitBreaker("same")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([breaker(), Retry()], "put CircuitBreaker inside Retry"),
        ([breaker(), Retry(), breaker()], "More than one CircuitBreaker"),
        ([SAME, SAME], "twice"),
        ([Retry(), Retry()], "attempts would multiply"),
        ([Retry(), RetryBudget()], "put RetryBudget outside Retry"),
        ([RetryBudget(), breaker()], "none inside"),
        ([RetryBudget(), Retry(budget=RetryBudget())], "give one of them"),
        ([Retry(idempotent=False), Hedge(idempotent=True)], "may do harm"),
        ([Retry(), Deadline(99)], "put it first"),
        ([RateLimit(60), Retry()], "put RateLimit inside Retry"),
        ([Hedge(idempotent=True), Retry()], "put Hedge inside Retry"),
        ([breaker(), Failover([Target("t", max)])], "put CircuitBreaker inside Failover"),
        ([RateLimit(60), breaker()], "put RateLimit inside CircuitBreaker"),
        ([RateLimit(60), Hedge(idempotent=True)], "put RateLimit inside Hedge"),
        ([Bulkhead(1), Hedge(idempotent=True)], "put Bulkhead inside Hedge"),
        ([Timeout(5), Timeout(5)], "never cut"),
        ([breaker(), Timeout(5), Bulkhead(1)], "put Bulkhead outside that Timeout"),
        (
            [Timeout(30), Retry(4), Timeout(10)],
            "4 attempts of up to 10 s and waits of up to 3.5 s need 43.5 s",
        ),
        ([Timeout(3), Retry(4)], "cannot finish inside Timeout of 3 s"),
        ([Deadline(3), Retry(4, jitter="decorrelated")], "cannot finish inside Deadline"),
        ([slow_breaker(), RateLimit(60)], "put RateLimit outside CircuitBreaker"),
        ([slow_breaker(), Bulkhead(1, 5)], "put Bulkhead outside CircuitBreaker"),
    ],
)
def test_a_wrong_order_explains_the_right_one(parts: list[Any], words: str) -> None:
    """At construction, as a ValueError that says what would go wrong and gives the whole order."""
    with pytest.raises(PipelineOrderError, match=words) as wrong:
        Pipeline(*parts)
    assert isinstance(wrong.value, ValueError)
    assert "outermost first: Deadline, Timeout (for everything), RetryBudget, Retry" in str(wrong.value)


@pytest.mark.parametrize(
    "parts",
    [
        [Timeout(30), Retry(3), breaker()],
        [Timeout(31.5), Retry(3), Timeout(10)],
        [Timeout(13), Retry(9, max_elapsed_seconds=3), Timeout(10)],
        [Timeout(1), Retry(1)],
        [Timeout(5), Retry(9, base_delay_seconds=0)],
        [Failover([Target("t", max)]), Retry(2), breaker()],
        [Bulkhead(3), Retry(2)],
        [
            Deadline(300),
            Timeout(60),
            RetryBudget(),
            Retry(),
            Failover([Target("t", max)]),
            Hedge(idempotent=True),
            breaker(),
            RateLimit(60),
            Bulkhead(2),
            Timeout(15),
        ],
        [Retry(), Hedge(idempotent=True), RateLimit(60), Bulkhead(2, 5), slow_breaker(), Timeout(15)],
        [slow_breaker(), RateLimit(60, max_wait_seconds=0), Bulkhead(2), Timeout(15)],
        [slow_breaker(), Bulkhead(2, 5, max_wait_seconds=0)],
    ],
)
def test_right_orders_are_taken_and_explained(parts: list[Any]) -> None:
    """Each part has its numbered line, and the call is the last."""
    lines = Pipeline(*parts).explain().splitlines()
    assert [line.partition(".")[0] for line in lines] == [str(n) for n in range(1, len(parts) + 2)]
    assert lines[-1].endswith("Your call.")


def test_explain_says_the_numbers_and_the_modes() -> None:
    """What a reader must know, without reading the code."""
    retry = Retry(4, base_delay_seconds=1)
    pipeline = Pipeline(Timeout(30), retry, CircuitBreaker("openai", 3, 20, observe_only=True))
    retry.enabled = False
    first, second, third, _ = pipeline.explain().splitlines()
    assert "all attempts and the waits between them together may take 30 s" in first
    assert "up to 4 attempts" in second
    assert "together at most 7 s" in second
    assert second.endswith("[switched off]")
    assert "'openai': after 3 failures in a row refuses calls for 20 s" in third
    assert "the provider's failures" in third
    assert third.endswith("[observes only]")


@pytest.mark.parametrize("parts", [[], [3], [Retry], [max]])
def test_what_is_no_part_is_refused(parts: list[Any]) -> None:
    """Nothing, a number, a class, a function."""
    with pytest.raises((ValueError, TypeError), match="part"):
        Pipeline(*parts)


# --- what the parts do together -----------------------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., object]:
    """Ask an endpoint through a pipeline, either way."""
    if request.param == "sync":
        return lambda pipeline, endpoint, *args: pipeline.call(endpoint.ask, *args)
    return lambda pipeline, endpoint, *args: run(pipeline.acall(endpoint.aask, *args))


def test_retries_reach_the_breaker_one_by_one(ask: Callable[..., object], clock: FakeClock) -> None:
    """Three failed attempts open it; the next call is refused and sends nothing."""
    guard = CircuitBreaker("b", 3, 100, clock=clock)
    pipeline, endpoint = Pipeline(retry_on(clock), guard), down()
    with pytest.raises(ConnectionError):
        ask(pipeline, endpoint)
    assert (endpoint.requests, guard.state()) == (3, CircuitState.OPEN)
    with pytest.raises(CircuitOpenError):
        ask(pipeline, endpoint)
    assert endpoint.requests == 3


def test_a_breaker_counts_only_what_the_provider_did(ask: Callable[..., object], clock: FakeClock) -> None:
    """A bug of the caller opens nothing, here; the same breaker used alone still counts it as before, and one
    with its own judge keeps that."""
    guard = CircuitBreaker("b", 1, clock=clock)
    bug = TypeError("a bug")
    with pytest.raises(TypeError) as raised:
        ask(Pipeline(guard), Endpoint(bug))
    assert raised.value is bug
    assert raised.value.__context__ is None
    assert guard.state() is CircuitState.CLOSED
    judging = CircuitBreaker("own", 1, clock=clock, counts_as_failure=lambda error: True)
    with pytest.raises(TypeError):
        ask(Pipeline(judging), Endpoint(TypeError("a bug")))
    assert judging.state() is CircuitState.OPEN
    with pytest.raises(TypeError):
        guard.call(Endpoint(TypeError()).ask)
    assert guard.state() is CircuitState.OPEN


def test_a_bug_during_a_probe_gives_the_permit_back(ask: Callable[..., object], clock: FakeClock) -> None:
    """It proves nothing, and the next call is the probe."""
    guard = CircuitBreaker("b", 1, 10, clock=clock)
    pipeline = Pipeline(guard)
    with pytest.raises(ConnectionError):
        ask(pipeline, down())
    clock.advance(10)
    with pytest.raises(KeyError):
        ask(pipeline, Endpoint(KeyError("k")))
    assert ask(pipeline, Endpoint("answer")) == "answer"
    assert guard.state() is CircuitState.CLOSED


def test_the_budget_bounds_the_retries_of_many_calls(ask: Callable[..., object], clock: FakeClock) -> None:
    """Two calls with three attempts each and two tokens make four requests; the retry that was given keeps
    no budget, and its switches work."""
    budget, retry, endpoint = RetryBudget(2, refill_per_success=0), retry_on(clock), down()
    pipeline = Pipeline(budget, retry)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            ask(pipeline, endpoint)
    assert (endpoint.requests, budget.left) == (4, 0)
    assert retry._budget is None
    retry.enabled = False
    with pytest.raises(ConnectionError):
        ask(pipeline, endpoint)
    assert (endpoint.requests, budget.denied) == (5, 1)


def test_failover_asks_the_wrapped_call_first(ask: Callable[..., object], clock: FakeClock) -> None:
    """Its targets get the same arguments, only where that may help; what is told names who was passed."""
    told: list[TargetSwitch] = []
    seen: list[object] = []

    def backup(*args: object) -> str:
        seen.append(args)
        return "backup"

    other: Failover[..., Any] = Failover([Target("backup", backup)], on_switch=told.append, clock=clock)
    pipeline = Pipeline(Retry(2), other, CircuitBreaker("b", 1), RateLimit(600), Bulkhead(1))
    assert ask(pipeline, Endpoint("first"), 1, 2) == "first"
    assert told == []
    assert ask(pipeline, down(), 1, 2) == "backup"
    assert ask(pipeline, down(), 3) == "backup"  # the breaker is open: refused, and so asked elsewhere
    assert seen == [(1, 2), (3,)]
    assert [(switch.target, switch.passed[0].name, switch.made) for switch in told] == [
        ("backup", "your call", True)
    ] * 2
    with pytest.raises(ValueError, match="mine"):
        ask(Pipeline(other), Endpoint(ValueError("mine")))
    other.observe_only = True
    with pytest.raises(ConnectionError):
        ask(Pipeline(other), down())
    assert told[-1].made is False
    other.enabled = False
    with pytest.raises(ConnectionError):
        ask(Pipeline(other), down())
    assert len(told) == 3


def test_a_wrapped_call_that_asks_for_rest_is_left_alone(
    ask: Callable[..., object], clock: FakeClock
) -> None:
    """After a Retry-After of 30 s it is not asked for 30 s; with nobody left that is said."""

    class RefusedError(Exception):
        status_code = 429
        headers = {"retry-after": "30"}  # noqa: RUF012

    first, second = Endpoint(RefusedError("slow down"), "first"), Endpoint(RefusedError(), "second")
    other: Failover[..., Any] = Failover([Target("t", second.ask)], clock=clock)
    pipeline = Pipeline(other)
    with pytest.raises(RefusedError):
        ask(pipeline, first)
    with pytest.raises(Exception, match="your call"):
        ask(pipeline, first)
    assert (first.requests, second.requests) == (1, 1)
    clock.advance(30)
    assert ask(pipeline, first) == "first"


def test_a_timeout_shortens_the_waits_inside(clock: FakeClock) -> None:
    """With 29 s for everything, a wait that would end after that is not begun, and the call's own error comes
    out then; an attempt cut by the whole ends as that timeout."""
    endpoint = down()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        retry = Retry(5, base_delay_seconds=4, max_delay_seconds=8, jitter="none", clock=loop.time)
        slow = Retry(2, base_delay_seconds=1, jitter="none", clock=loop.time)

        async def slow_failure() -> None:
            await asyncio.sleep(3)
            endpoint.ask()

        with pytest.raises(ConnectionError):
            await Pipeline(Timeout(29), retry).acall(slow_failure)
        assert loop.time() == 3 + 4 + 3 + 8 + 3
        with pytest.raises(TurnTimeoutError) as ended:
            await Pipeline(Timeout(10), slow).acall(asyncio.sleep, 60)
        assert ended.value.timeout_seconds == 10
        with pytest.raises(TurnTimeoutError):
            await Pipeline(Timeout(10), slow, Timeout(4)).acall(asyncio.sleep, 60)
        return loop.time()

    assert run(main()) == 21 + 10 + 4 + 1 + 4
    assert endpoint.requests == 3


def test_a_deadline_is_that_of_the_run(ask: Callable[..., object], clock: FakeClock) -> None:
    """It shortens what is inside, and after it nothing is sent."""
    pipeline = Pipeline(Deadline(9, clock=clock), retry_on(clock, 3, base_delay_seconds=2))
    endpoint = down()
    with pytest.raises(ConnectionError):
        ask(pipeline, endpoint)
    assert endpoint.requests == 3
    clock.advance(5)
    with pytest.raises(DeadlineExceededError):
        ask(pipeline, endpoint)
    assert endpoint.requests == 3


def test_an_estimate_sees_the_arguments_of_the_call(ask: Callable[..., object], clock: FakeClock) -> None:
    """Wherever the limit stands."""
    seen: list[object] = []

    def estimate(*args: object) -> int:
        seen.append(args)
        return 1

    limit = RateLimit(tokens_per_minute=600, estimate_tokens=estimate)
    ask(Pipeline(Retry(), limit, Bulkhead(1)), Endpoint("answer"), "question")
    assert seen == [("question",)]


# --- every colour -------------------------------------------------------------------------------------------


def test_functions_of_every_colour_keep_their_look(clock: FakeClock) -> None:
    """Name, signature and colour; arguments and results pass; also an SDK's plain function around an
    ``async def``."""
    pipeline = Pipeline(Timeout(PATIENCE), retry_on(clock), CircuitBreaker("b"), Bulkhead(9))

    @pipeline
    def plain(a: int, *, b: int) -> int:
        """Adds."""
        return a + b

    @pipeline
    async def coroutine(a: int) -> int:
        return a

    @pipeline
    def stream(a: int) -> Generator[int, str, str]:
        heard = yield a
        yield len(heard)
        return "done"

    @pipeline
    async def astream(a: int) -> AsyncGenerator[int, str]:
        heard = yield a
        yield len(heard)

    async def hidden_one(a: int) -> int:
        return a

    @functools.wraps(hidden_one)
    def hidden(a: int) -> Any:
        return hidden_one(a)

    assert (plain(1, b=2), plain.__doc__, str(inspect.signature(plain))) == (
        3,
        "Adds.",
        "(a: 'int', *, b: 'int') -> 'int'",
    )
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(stream)
    assert inspect.isasyncgenfunction(astream)
    assert run(coroutine(4)) == 4
    assert run(pipeline(hidden)(4)) == 4
    talk = stream(7)
    assert (next(talk), talk.send("four")) == (7, 4)
    with pytest.raises(StopIteration, match="done"):
        next(talk)

    async def heard() -> tuple[int, int]:
        atalk = astream(7)
        found = await atalk.__anext__(), await atalk.asend("four")
        await atalk.aclose()
        return found

    assert run(heard()) == (7, 4)


@pytest.mark.parametrize("colour", ["generator", "async generator"])
def test_a_stream_is_guarded_to_its_end(clock: FakeClock, colour: str) -> None:
    """It is tried again before its first item and not after; the breaker learns at the end; a place is held
    until then; an early close proves nothing."""
    guard, rooms = CircuitBreaker("b", 2, clock=clock), Bulkhead(1)
    script = [["fail"], [1, 2], [1, "fail"], [1, 2], ["fail", 1]]
    pipeline = Pipeline(retry_on(clock, 2), guard, rooms)

    @pipeline
    def stream() -> Generator[object, None, None]:
        for line in script.pop(0):
            if line == "fail":
                raise ConnectionError("down")
            yield line

    @pipeline
    async def astream() -> AsyncGenerator[object, None]:
        for line in script.pop(0):
            if line == "fail":
                raise ConnectionError("down")
            yield line

    if colour == "generator":
        assert list(stream()) == [1, 2]
        held = stream()
        assert next(held) == 1
        assert rooms.snapshot().running == 1
        with pytest.raises(ConnectionError):
            next(held)
        early = stream()
        next(early)
        early.close()
    else:

        async def main() -> None:
            assert [item async for item in astream()] == [1, 2]
            held = astream()
            assert await held.__anext__() == 1
            assert rooms.snapshot().running == 1
            with pytest.raises(ConnectionError):
                await held.__anext__()
            early = astream()
            await early.__anext__()
            await early.aclose()

        run(main())
    assert rooms.snapshot().running == 0
    assert guard.snapshot().failures == 1
    assert guard.state() is CircuitState.CLOSED


def test_a_streams_bug_proves_nothing_about_the_provider() -> None:
    """A TypeError in the middle is the caller's own."""
    guard = CircuitBreaker("b", 1)

    @Pipeline(guard)
    def stream() -> Generator[int, None, None]:
        yield 1
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        list(stream())
    assert guard.state() is CircuitState.CLOSED


def test_what_cannot_guard_a_stream_says_so() -> None:
    """A judge of results has none to judge."""

    def stream() -> Generator[int, None, None]:
        yield 1

    for part in (
        Retry(retry_result=bool),
        CircuitBreaker("b", result_is_failure=bool),
    ):
        with pytest.raises(TypeError, match="stream"):
            Pipeline(part)(stream)


def test_an_async_function_needs_acall() -> None:
    """Nothing is left unawaited, and nothing counted as a success before it ran."""

    async def fetch() -> None: ...

    with pytest.raises(TypeError, match="acall"):
        Pipeline(Bulkhead(1)).call(fetch)
    with pytest.raises(TypeError, match="acall"):
        Pipeline(Retry())(lambda: fetch())()


# --- who is stopped, who shares, who is switched off --------------------------------------------------------


@pytest.mark.parametrize("at", [0.5, 1.5, 3])
def test_cancelling_gives_everything_back(at: float) -> None:
    """In the first attempt, in the wait, in the second attempt: no place, permit or token stays taken."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        guard, rooms = CircuitBreaker("b", 1, 0.1, clock=loop.time), Bulkhead(1)
        budget = RetryBudget(5, refill_per_success=0)
        retry = Retry(3, base_delay_seconds=1, jitter="none", clock=loop.time)
        pipeline = Pipeline(Timeout(60), budget, retry, guard, rooms)

        async def slow() -> None:
            await asyncio.sleep(1)
            raise ConnectionError("down")

        task = asyncio.ensure_future(pipeline.acall(slow))
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rooms.snapshot().running == 0
        assert guard.snapshot().probes == 0
        assert budget.left == (5 if at < 2 else 4)
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_one_pipeline_serves_threads_and_tasks_together() -> None:
    """Ten threads, each with an event loop of its own, share one breaker and one bulkhead."""
    guard, rooms = CircuitBreaker("b", window_calls=1000), Bulkhead(3, 100)
    pipeline = Pipeline(Retry(2), guard, rooms)

    async def answer() -> int:
        return 1

    def worker() -> None:
        for _ in range(20):
            assert pipeline.call(int) == 0
        asyncio.run(repeat())

    async def repeat() -> None:
        for _ in range(20):
            assert await pipeline.acall(answer) == 1

    threads = [threading.Thread(target=worker) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert guard.snapshot().window_calls == 400
    assert rooms.snapshot()[:3] == (0, 0, 400)


def test_an_async_breaker_is_taken_too() -> None:
    """As its sync face: one state."""
    face = AsyncCircuitBreaker("b", 1)
    with pytest.raises(ConnectionError):
        Pipeline(face).call(down().ask)
    assert face.as_sync().state() is CircuitState.OPEN


def test_switched_off_it_is_not_there(clock: FakeClock) -> None:
    """Every colour goes straight through, also one decorated before; on again it works."""
    guard, endpoint = CircuitBreaker("b", 1, clock=clock), down()
    pipeline = Pipeline(retry_on(clock, max_retry_after_seconds=1), guard)
    decorated = pipeline(endpoint.ask)

    @pipeline
    def stream() -> Generator[int, None, None]:
        raise ConnectionError("down")
        yield

    pipeline.enabled = False
    for call in (decorated, lambda: pipeline.call(endpoint.ask), lambda: run(pipeline.acall(endpoint.aask))):
        with pytest.raises(ConnectionError):
            call()
    with pytest.raises(ConnectionError):
        next(stream())
    assert (endpoint.requests, guard.state()) == (3, CircuitState.CLOSED)
    pipeline.enabled = True
    with pytest.raises(CircuitOpenError):
        decorated()  # its second attempt is refused
    assert (endpoint.requests, guard.state()) == (4, CircuitState.OPEN)


def test_observing_changes_nothing_and_is_undone(clock: FakeClock) -> None:
    """With every part observing, a call is made once whatever they know; then each is as it was.  A deadline
    that has passed ends nothing either."""
    observing = Bulkhead(1, observe_only=True)
    guard = CircuitBreaker("b", 1, 1000, clock=clock)
    deadline = Deadline(200, clock=clock)
    clock.advance(200)
    pipeline = Pipeline(
        deadline,
        Timeout(99, clock=clock),
        RetryBudget(),
        retry_on(clock),
        guard,
        RateLimit(1),
        observing,
        observe_only=True,
    )
    endpoint = down()
    for _ in range(5):
        with pytest.raises(ConnectionError):
            pipeline.call(endpoint.ask)
    assert endpoint.requests == 5
    assert guard.state() is CircuitState.OPEN
    assert pipeline.observe_only
    assert "[observes only]" in pipeline.explain()
    pipeline.observe_only = False
    assert [getattr(part, "observe_only", None) for part in pipeline.parts] == [False] * 6 + [True]
    with pytest.raises(DeadlineExceededError):
        pipeline.call(endpoint.ask)
    deadline.enabled = False
    with pytest.raises(CircuitOpenError):
        pipeline.call(endpoint.ask)
    assert endpoint.requests == 5


def test_the_end_of_a_timeout_is_its_own_where_a_part_inside_noticed_it(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In threads too: not a deadline that nobody set."""
    monkeypatch.setattr(timeout_module, "time", SimpleNamespace(monotonic=clock))

    def ask() -> None:
        clock.advance(1000)
        Timeout(5).call(print)

    with pytest.raises(TurnTimeoutError) as ended:
        Pipeline(Timeout(1000), Bulkhead(1)).call(ask)
    assert ended.value.timeout_seconds == 1000
    assert isinstance(ended.value.__cause__, DeadlineExceededError)


def test_a_deadline_may_be_left_inside_a_timed_call(clock: FakeClock) -> None:
    """A generator that was begun outside holds it: when it is closed inside, what remains there is the
    timeout's time."""
    deadline = Deadline(5, clock=clock)

    def holding() -> Generator[None, None, None]:
        with deadline:
            yield

    def close() -> tuple[float | None, float | None]:
        before = remaining_s()
        held.close()
        return before, remaining_s()

    def whole() -> tuple[float | None, float | None]:
        next(held)
        return Pipeline(Timeout(1000), Bulkhead(1)).call(close)

    held = holding()
    before, after = copy_context().run(whole)
    assert before == 5
    assert after is not None
    assert 5 < after <= 1000


def test_a_deadline_around_a_timed_pipeline_is_seen_and_told_inside(clock: FakeClock) -> None:
    """The timeout's own time does not hide that less is left of the run."""
    told: list[tuple[float, float]] = []
    with Deadline(5, clock=clock, on_shortened=lambda *cut: told.append(cut)):
        seen = Pipeline(Timeout(1000), Bulkhead(1)).call(lambda: (remaining_s(), shortened(60)))
    assert seen == (5, 5)
    assert told == [(1000, 5), (60, 5)]


def test_decorrelated_waits_grow_threefold_at_their_longest() -> None:
    """Three attempts of a second, and waits of three and of nine."""
    retry = Retry(3, base_delay_seconds=1, jitter="decorrelated")
    Pipeline(Timeout(15), retry, Timeout(1))
    with pytest.raises(PipelineOrderError, match="waits of up to 12 s need 15 s"):
        Pipeline(Timeout(14.9), retry, Timeout(1))


@pytest.mark.parametrize("form", ["call", "acall"])
def test_a_success_at_once_fills_the_budget_of_the_pipeline(form: str) -> None:
    """Though the retry that was given has none."""
    budget = RetryBudget(1, refill_per_success=1)
    pipeline = Pipeline(budget, Retry(3))
    assert budget.take()
    pipeline.call(Endpoint("answer").ask) if form == "call" else run(pipeline.acall(Endpoint("answer").aask))
    assert budget.left == 1


def test_a_breaker_that_refused_gives_its_call_no_rest(clock: FakeClock) -> None:
    """It knows itself when to let one in: reset by hand, the wrapped call is asked again at once."""
    guard = CircuitBreaker("b", 1, 30, clock=clock)
    pipeline = Pipeline(Failover([Target("backup", lambda: "backup")], clock=clock), guard)
    guard.record_failure()
    assert pipeline.call(lambda: "first") == "backup"
    guard.reset()
    assert pipeline.call(lambda: "first") == "first"


# --- what it costs a provider -------------------------------------------------------------------------------


def outage(call: Callable[[], object], clock: FakeClock) -> None:
    """One question a second, and 10 minutes of outage."""
    start = clock()
    while clock() < start + 600:
        before = clock()
        try:
            call()
        except Exception:
            pass
        clock.advance(max(0.0, 1 - (clock() - before)))


@pytest.mark.slow
def test_an_outage_of_ten_minutes_costs_a_fiftieth_of_naive_retries() -> None:
    """Twenty agents ask once a second for 600 s while the provider is down.  Naive retries, four attempts
    with the usual backoff, send thousands of requests; pipelines, each with a breaker of its own, send less
    than a fiftieth, and answer again within the longest open time after it is over."""
    rng = random.Random(7)

    def requests(protected: bool) -> tuple[int, float]:
        endpoint, total, late = down(), 0, 0.0
        for _ in range(20):
            clock = FakeClock()
            guard = CircuitBreaker("b", 5, 30, open_growth=2, max_open_seconds=60, clock=clock)
            budget = RetryBudget(10)
            retry = Retry(4, base_delay_seconds=0.5, clock=clock, sleep=clock.sleep, rng=rng.random)
            never_long = Retry(
                4,
                base_delay_seconds=0.5,
                max_retry_after_seconds=1,
                clock=clock,
                sleep=clock.sleep,
                rng=rng.random,
            )
            if protected:
                pipeline = Pipeline(budget, never_long, guard)
                outage(lambda: pipeline.call(endpoint.ask), clock)  # noqa: B023
                up = Endpoint("answer")
                while True:
                    try:
                        pipeline.call(up.ask)
                    except CircuitOpenError:
                        clock.advance(1)
                        late += 1
                    else:
                        break
            else:
                outage(lambda: retry.call(endpoint.ask), clock)  # noqa: B023
            total = endpoint.requests
        return total, late / 20

    naive, _ = requests(False)
    ours, late_s = requests(True)
    assert naive > 15_000
    assert ours * 50 < naive
    assert late_s <= 61


@pytest.mark.parametrize("colour", ["generator", "async generator"])
def test_a_timeout_around_a_stream_shortens_the_waits_inside(colour: str) -> None:
    """Between two items, a wait that the stream has no time for is not begun; its consumer's time is not the
    stream's; an attempt cut by the whole ends as that timeout."""
    left: list[float] = []

    def look() -> None:
        deadline = current_deadline()
        assert deadline is not None
        left.append(deadline.remaining())

    async def astream() -> AsyncGenerator[int, None]:
        loop = asyncio.get_running_loop()
        look()
        await asyncio.sleep(4)
        yield 1
        look()
        retry = Retry(2, base_delay_seconds=7, jitter="none", clock=loop.time)
        with pytest.raises(ConnectionError):
            await retry.acall(down().aask)
        yield 2
        await Timeout(60).acall(asyncio.sleep, 60)

    async def amain() -> None:
        loop = asyncio.get_running_loop()
        stream = Pipeline(Timeout(10), Bulkhead(1))(astream)()
        assert await stream.__anext__() == 1
        await asyncio.sleep(100)
        assert await stream.__anext__() == 2
        assert loop.time() == 104
        with pytest.raises(TurnTimeoutError) as ended:
            await stream.__anext__()
        assert ended.value.timeout_seconds == 10
        assert loop.time() == 110
        assert current_deadline() is None

    def stream() -> Generator[int, None, None]:
        look()
        yield 1
        look()
        with pytest.raises(ConnectionError):
            Retry(2, base_delay_seconds=1e6, max_delay_seconds=1e6, jitter="none").call(down().ask)
        yield 2

    if colour == "generator":
        assert list(Pipeline(Timeout(1000), Bulkhead(1))(stream)()) == [1, 2]
        assert 0 < left[1] <= left[0] <= 1000
        assert current_deadline() is None
    else:
        run(amain())
        assert left == [10, 6]


def test_successes_give_back_to_the_budget_of_the_pipeline() -> None:
    """As they do to a budget that the retry was given itself."""
    budget = RetryBudget(2, refill_per_success=0.5)
    retry = Retry(base_delay_seconds=0, sleep=lambda seconds: None)
    retry.call(len, "")  # it has seen a call before it was given a budget
    pipeline = Pipeline(budget, retry)
    with pytest.raises(ConnectionError):
        pipeline.call(_refuse)
    assert budget.left == 0
    for _ in range(4):
        pipeline.call(len, "")
    assert budget.left == 2


def _refuse() -> None:
    raise ConnectionError("refused")


def test_the_last_attempt_may_begin_when_the_time_for_retries_is_over() -> None:
    """``max_elapsed_seconds`` says when attempts may begin: the last one still takes its own time."""
    retry = Retry(100, max_elapsed_seconds=10, max_delay_seconds=1)
    with pytest.raises(PipelineOrderError, match="need 15 s"):
        Pipeline(Timeout(12), retry, Timeout(5))
    Pipeline(Timeout(15), retry, Timeout(5))


def test_of_two_waits_that_the_wrapped_call_asked_for_the_longer_one_holds() -> None:
    """Two calls are under way: the shorter wait, which is told last, does not end the longer one."""
    clock = FakeClock()
    waits = [5, 60]  # the outer one's, the inner one's

    class AskedToWaitError(Exception):
        status_code = 429

    def ask() -> str:
        wait = waits.pop(0)
        if waits:
            assert pipeline.call(ask) == "another"
        error = AskedToWaitError("rate limited")
        error.headers = {"retry-after": str(wait)}  # type: ignore[attr-defined]
        raise error

    pipeline = Pipeline(Failover([Target("another", lambda: "another")], clock=clock))
    assert pipeline.call(ask) == "another"
    clock.advance(30)
    assert pipeline.call(lambda: "asked") == "another"
    clock.advance(30)
    assert pipeline.call(lambda: "asked") == "asked"


def test_an_exception_that_is_raised_again_and_again_gets_one_note(clock: FakeClock) -> None:
    """However often nobody else could be asked, and however long each time until somebody may be."""

    class AskedToWaitError(Exception):
        status_code = 429
        headers = {"retry-after": "1000"}  # noqa: RUF012

    other = Endpoint(AskedToWaitError("rate limited"))
    error = ConnectionError("down")
    pipeline = Pipeline(Failover([Target("other", other.ask)], clock=clock))
    for _ in range(50):
        with pytest.raises((ConnectionError, AskedToWaitError)):
            pipeline.call(Endpoint(error).ask)
        clock.advance(1)
    assert other.requests == 1
    assert error.__notes__ == [
        "failover: no target may be asked: your call (failed: network), other (resting)"
    ]
