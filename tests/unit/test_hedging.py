"""A late answer is asked for again, the first one wins, and nothing that was paid for goes untold."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.failures import Failure, FailureKind
from techrevati.runtime.hedging import (
    CANCELLATION_GRACE_SECONDS,
    ExtraLoad,
    Hedge,
    HedgedRequest,
    Latencies,
    Loser,
    helps_again,
)
from techrevati.runtime.testing import EverythingWaitsError, FakeClock, run

PATIENCE = 10.0  # seconds until something that should have happened counts as hung
SOON = 0.01  # a real delay, where a thread must really be late
FOREVER = 1e6

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


class HttpError(Exception):
    """An error with a status, as HTTP clients raise it."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}


class Script:
    """An async function whose n-th request takes so long and then answers n, or raises."""

    def __init__(self, *acts: float | tuple[float, BaseException]) -> None:
        self.acts = acts
        self.starts: list[float] = []
        self.cancelled: list[int] = []

    async def __call__(self) -> int:
        number = len(self.starts) + 1
        self.starts.append(asyncio.get_running_loop().time())
        act = self.acts[number - 1]
        takes, error = act if isinstance(act, tuple) else (act, None)
        try:
            await asyncio.sleep(takes)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if error is not None:
            raise error
        return number


def hedge(**options: Any) -> Hedge:
    return Hedge(**{"idempotent": True, "delay_seconds": 1.0, **options})


def timed(script: Script, hedge: Hedge) -> tuple[Any, float]:
    """The answer or the exception, and when it came; no task is left a turn of the loop later."""

    async def main() -> tuple[Any, float]:
        try:
            outcome: Any = await hedge.acall(script)
        except Exception as error:
            outcome = error
        at = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not hedge._cancelled
        return outcome, at

    return run(main())


# --- when to ask again --------------------------------------------------------------------------------------


def test_an_answer_in_time_is_asked_for_once() -> None:
    """No second request before the delay."""
    script = Script(0.9)
    assert timed(script, hedge()) == (1, 0.9)
    assert script.starts == [0]


def test_a_late_answer_is_asked_for_again() -> None:
    """After the delay; the second wins and the first is cancelled at once."""
    script = Script(10, 0.5)
    assert timed(script, hedge()) == (2, 1.5)
    assert (script.starts, script.cancelled) == ([0, 1], [1])


def test_the_first_may_still_win() -> None:
    """Whichever answers first; the second is cancelled."""
    script = Script(1.2, 5)
    assert timed(script, hedge()) == (1, 1.2)
    assert script.cancelled == [2]


def test_each_further_request_waits_one_more_delay() -> None:
    """Up to ``max_requests``."""
    script = Script(10, 10, 10, 10, 10)
    assert timed(script, hedge(max_requests=4)) == (1, 10)
    assert script.starts == [0, 1, 2, 3]


def test_a_delay_of_zero_makes_all_requests_at_once() -> None:
    """The fastest of three is the answer."""
    script = Script(3, 1, 2)
    assert timed(script, hedge(delay_seconds=0, max_requests=3)) == (2, 1)
    assert script.starts == [0, 0, 0]
    assert sorted(script.cancelled) == [1, 3]


def test_a_clock_that_stands_still_holds_nothing_up(release: threading.Event) -> None:
    """When the wait is over the next request begins, whatever the clock says."""
    script = Script(10, 0.5)
    assert timed(script, hedge(clock=FakeClock())) == (2, 1.5)
    numbers = iter([1, 2])

    def fn() -> int:
        number = next(numbers)
        if number == 1:
            assert release.wait(PATIENCE)
        return number

    assert hedge(delay_seconds=SOON, clock=FakeClock()).call(fn) == 2


def test_a_single_request_is_never_hedged() -> None:
    """``max_requests=1`` is a plain call."""
    script = Script(50)
    assert timed(script, hedge(max_requests=1)) == (1, 50)


def test_a_failure_starts_the_next_at_once() -> None:
    """Before the delay is over."""
    script = Script((0.3, HttpError(500)), 0.2)
    assert timed(script, hedge()) == (2, 0.5)
    assert script.starts == [0, 0.3]


def test_a_failure_never_ends_the_call_while_another_runs() -> None:
    """The second fails, the first answers."""
    script = Script(3, (0.5, HttpError(400)))
    assert timed(script, hedge()) == (1, 3)


@pytest.mark.parametrize(
    "error", [HttpError(400), HttpError(429), HttpError(500, retry_after=5), TypeError()]
)
def test_what_asking_at_once_does_not_cure_is_raised(error: Exception) -> None:
    """The caller's fault, or a provider that wants fewer requests: no second one, neither now nor later."""
    script = Script((0.3, error))
    outcome, at = timed(script, hedge())
    assert outcome is error
    assert at == 0.3
    assert not hasattr(error, "__notes__")


def test_a_refusal_ends_further_requests() -> None:
    """A rate limit of the second means no third, although the first still runs."""
    script = Script(10, (0.1, HttpError(429)), 0)
    assert timed(script, hedge(max_requests=3)) == (1, 10)
    assert script.starts == [0, 1]


@pytest.mark.parametrize("kind", FailureKind)
def test_which_failures_are_asked_again_at_once(kind: FailureKind) -> None:
    """Retryable ones that do not ask for fewer requests."""
    wanted = kind in (FailureKind.TIMEOUT, FailureKind.SERVER_ERROR, FailureKind.NETWORK)
    assert helps_again(Failure(kind)) is wanted
    assert not helps_again(Failure(kind, retry_after=1))


def test_the_caller_may_overrule_that_both_ways() -> None:
    """None leaves it to the rule."""
    answers: list[bool | None] = [True, False, None]

    def hedges_on(failure: Failure) -> bool | None:
        return answers.pop(0)

    asking = hedge(hedges_on=hedges_on)
    assert timed(Script((0, HttpError(400)), 0), asking)[0] == 2
    assert isinstance(timed(Script((0, HttpError(500))), asking)[0], HttpError)
    assert timed(Script((0, HttpError(500)), 0), asking)[0] == 2


def test_a_first_request_that_failed_is_no_latency() -> None:
    """What another one took after it says nothing about how long first requests take."""
    asking = Hedge(idempotent=True, percentile=50, min_observations=1)
    answers: list[object] = [HttpError(500), "answer", "answer"]

    def ask() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert asking.call(ask) == "answer"
    assert asking.snapshot().observations == 0
    assert asking.call(ask) == "answer"
    assert asking.snapshot().observations == 1


def test_a_broken_judge_is_logged_and_means_no(caplog: pytest.LogCaptureFixture) -> None:
    """The failure of the request comes out, not that of the judge."""

    def broken(failure: Failure) -> bool:
        raise ZeroDivisionError("a judge's bug")

    assert isinstance(timed(Script((0, HttpError(500))), hedge(hedges_on=broken))[0], HttpError)
    assert "hedges_on raised" in caplog.text


def test_when_all_fail_the_most_telling_error_is_raised() -> None:
    """One that asking again does not cure, else one that says when, else the first; the note names all."""
    a, b, c = HttpError(500), HttpError(429, retry_after=9), HttpError(401)
    losers: list[Loser] = []
    for acts, raised in (((a, HttpError(500)), a), ((a, b), b), ((a, c), c), ((HttpError(500), b), b)):
        script = Script(*((0.1, error) for error in acts))
        outcome, _ = timed(script, hedge(on_loser=losers.append))
        assert outcome is raised
        assert [loser.error for loser in losers] == [error for error in acts if error is not raised]
        losers.clear()
    assert c.__notes__ == ["all 2 requests failed (1: server_error, 2: auth)"]
    assert a.__notes__ == ["all 2 requests failed (1: server_error, 2: server_error)"]
    assert len(b.__notes__) == 1


def test_a_decimal_percentile_is_a_number_too() -> None:
    """It is one also when the percentile is first asked for, some calls later."""
    asking = Hedge(idempotent=True, percentile=Decimal(90), min_observations=2)  # type: ignore[arg-type]
    assert [asking.call(int) for _ in range(4)] == [0] * 4
    assert asking.snapshot().delay_seconds is not None


def test_more_extra_requests_than_a_float_can_count() -> None:
    """A share beyond all bounds is simply no bound."""
    assert timed(Script(5, 0), hedge(max_extra_share=1e305, burst_requests=0))[0] == 2


@pytest.mark.parametrize("max_requests", [1, 2])
def test_a_raised_error_is_not_kept(max_requests: int) -> None:
    """Neither the hedge nor a cycle holds it once the caller let go."""
    asking = hedge(max_requests=max_requests)

    async def fn() -> None:
        raise HttpError(500)

    async def main() -> None:
        held: weakref.ref[HttpError] | None = None
        try:
            await asking.acall(fn)
        except HttpError as error:
            held = weakref.ref(error)
        await asyncio.sleep(0)
        assert held is not None
        assert held() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


# --- what late is -------------------------------------------------------------------------------------------


def test_without_observations_nothing_is_late() -> None:
    """By percentile alone the first calls are not hedged, however long they take."""
    asking = Hedge(idempotent=True, min_observations=3)
    for takes in (100, 100, 100):
        assert timed(Script(takes), asking) == (1, takes)
    assert asking.snapshot().delay_seconds == 100
    assert timed(Script(200, 5), asking) == (2, 105)


def test_the_delay_holds_until_there_are_observations() -> None:
    """With both given, the percentile takes over."""
    asking = hedge(percentile=50, min_observations=2)
    assert timed(Script(9, 0.5), asking) == (2, 1.5)
    assert timed(Script(0.25), asking) == (1, 0.25)
    assert asking.snapshot().delay_seconds == 0.25
    assert timed(Script(9, 0.5), asking) == (2, 0.75)


def test_an_overtaken_request_counts_with_its_time_so_far() -> None:
    """Otherwise the record would hold fast ones only, and the percentile would sink and sink."""
    asking = hedge(percentile=90, min_observations=10, max_extra_share=1)
    for _ in range(9):
        timed(Script(0.5), asking)
    for _ in range(30):
        script = Script(0.5)
        timed(script, asking)
    before = asking.snapshot().delay_seconds
    for _ in range(100):
        for _ in range(8):
            timed(Script(0.5), asking)
        timed(Script(60, 0.1), asking)
        timed(Script(60, 0.1), asking)
    after = asking.snapshot().delay_seconds
    assert before == 0.5
    assert after is not None
    assert after >= before


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.integers(1, 8), st.integers(1, 99))
def test_the_percentile_is_of_the_last_ones(values: list[float], window: int, percent: int) -> None:
    """At least *percent* of the window are no longer than it, and fewer are shorter."""
    latencies = Latencies(window)
    for value in values:
        latencies.add(value)
    kept = values[-window:]
    found = latencies.percentile_s(percent)
    assert len(latencies) == len(kept)
    assert sum(value <= found for value in kept) * 100 >= percent * len(kept)
    assert sum(value < found for value in kept) * 100 < percent * len(kept)


# --- how much extra load ------------------------------------------------------------------------------------


def test_the_extra_load_has_a_bound() -> None:
    """A thousand late calls at a tenth, three to spare: 102 of 103, for a full bucket takes no more."""
    asking = hedge(delay_seconds=0, burst_requests=3)
    for _ in range(1000):
        timed(Script(1, 1), asking)
    snapshot = asking.snapshot()
    assert (snapshot.calls, snapshot.hedged, snapshot.refused) == (1000, 102, 898)


def test_a_failure_takes_from_the_same_share() -> None:
    """An outage is not doubled: without a token the failure is raised."""
    asking = hedge(burst_requests=1, max_extra_share=0)
    assert timed(Script((0, HttpError(500)), 0), asking)[0] == 2
    assert isinstance(timed(Script((0, HttpError(500)), 0), asking)[0], HttpError)


@given(
    st.floats(0, 3),
    st.integers(0, 4),
    st.lists(st.sampled_from(["call", "take", "give back"]), max_size=200),
)
def test_never_more_than_burst_and_share(share: float, burst: int, steps: list[str]) -> None:
    """Whatever the order, and with some given back."""
    extra, calls, taken = ExtraLoad(share, burst), 0, 0
    for step in steps:
        if step == "call":
            extra.called()
            calls += 1
        elif step == "take":
            taken += extra.take()
        elif taken:
            extra.give_back()
            taken -= 1
        assert taken <= burst + share * calls + 1e-3


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process can start one thread; which starts of one were tried."""
    start, tried = threading.Thread.start, list[int]()

    def failing(thread: threading.Thread) -> None:
        tried.append(len(tried) + 1)
        if len(tried) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    return tried


def test_the_first_request_goes_on_when_no_further_can_begin(starts: list[int]) -> None:
    """It answers; what was due is told, and the bucket is as full as before."""
    told: list[HedgedRequest] = []
    release = threading.Event()

    def due(news: HedgedRequest) -> None:
        told.append(news)
        release.set()  # the first answers only now

    asking = hedge(delay_seconds=0, burst_requests=1, max_extra_share=0, max_requests=3, on_hedge=due)
    assert asking.call(release.wait, PATIENCE) is True
    assert starts == [1, 2]
    assert [(news.number, news.reason, news.refused) for news in told] == [(2, "late", "resources")]
    assert asking.snapshot().hedged == 0
    assert asking.snapshot().won == 0
    assert asking._extra.take()


def test_a_first_request_that_fails_is_raised_when_no_further_can_begin(starts: list[int]) -> None:
    """The caller hears what the provider said, not that there is no thread."""
    error = HttpError(500)
    asking = hedge(delay_seconds=FOREVER)

    def fn() -> None:
        raise error

    with pytest.raises(HttpError) as caught:
        asking.call(fn)
    assert caught.value is error
    assert starts == [1, 2]
    assert asking.snapshot().hedged == 0


def test_a_call_whose_first_request_cannot_begin_says_so(starts: list[int]) -> None:
    starts.append(1)
    with pytest.raises(RuntimeError, match="new thread"):
        hedge(delay_seconds=0).call(int)


def test_an_interruption_at_the_beginning_gives_back_what_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the second thread is started goes on to the caller; the bucket is as full as before."""
    asking = hedge(delay_seconds=0, burst_requests=1, max_extra_share=0)
    release, start, starts = threading.Event(), threading.Thread.start, list[int]()

    def interrupted(thread: threading.Thread) -> None:
        starts.append(1)
        if len(starts) == 2:
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asking.call(release.wait, PATIENCE)
    release.set()
    assert asking.snapshot().hedged == 0
    assert asking._extra.take()


# --- losers -------------------------------------------------------------------------------------------------


def test_every_loser_is_told() -> None:
    """The failed, the cancelled and what swallowed its cancellation, each once."""
    losers: list[Loser] = []
    failure = HttpError(500)
    calls = iter([1, 2, 3])

    async def fn() -> int:
        number = next(calls)
        if number == 1:
            await asyncio.sleep(0.5)
            raise failure
        try:
            await asyncio.sleep(3 if number == 2 else 0.25)
        except asyncio.CancelledError:
            await asyncio.sleep(4)
        return number

    async def main() -> None:
        assert await hedge(max_requests=3, on_loser=losers.append).acall(fn) == 3
        assert asyncio.get_running_loop().time() == 1.75
        assert losers == [Loser(1, None, failure, False, 1.75)]
        await asyncio.sleep(5)

    run(main())
    assert losers[1:] == [Loser(2, 2, None, False, 5.25)]


def test_a_cancelled_loser_says_so() -> None:
    """What it used is unknown; its time is told."""
    losers: list[Loser] = []
    timed(Script(10, 0.5), hedge(on_loser=losers.append))
    (loser,) = losers
    assert (loser.number, loser.cancelled, loser.elapsed_seconds) == (1, True, 1.5)
    assert isinstance(loser.error, asyncio.CancelledError)


def test_two_answers_at_the_same_time() -> None:
    """The earlier request wins, and the other's answer is told."""
    losers: list[Loser] = []
    assert timed(Script(2, 1), hedge(on_loser=losers.append)) in ((1, 2), (2, 2))
    assert len(losers) == 1


def test_what_listeners_raise_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on."""

    def broken(news: object) -> None:
        raise ValueError("broken listener")

    with caplog.at_level(logging.WARNING, "techrevati.runtime.hedging"):
        assert timed(Script(9, 1), hedge(on_loser=broken, on_hedge=broken)) == (2, 2)
    assert caplog.text.count("broken listener") == 2


def test_what_was_due_is_told() -> None:
    """Made or not, and why."""
    told: list[HedgedRequest] = []
    asking = hedge(on_hedge=told.append, burst_requests=1, max_extra_share=0)
    timed(Script(9, 1), asking)
    timed(Script(2), asking)
    timed(Script((0.5, HttpError(500))), asking)
    assert told == [
        HedgedRequest(2, "late", 1),
        HedgedRequest(2, "late", 1, "share"),
        HedgedRequest(2, "failed", 0.5, "share"),
    ]


# --- cancellation, deadline, switches -----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    acts=st.lists(st.tuples(st.integers(0, 6), st.sampled_from([None, 500, 400])), min_size=3, max_size=3),
    at=st.integers(0, 60),
)
def test_cancelling_ends_every_request(acts: list[tuple[int, int | None]], at: int) -> None:
    """At whatever moment: no task is left, and each request is told once or is the outcome."""
    script = Script(
        *((takes * 0.5 + 0.01, HttpError(status)) if status else takes * 0.5 + 0.01 for takes, status in acts)
    )
    losers: list[Loser] = []
    asking = hedge(max_requests=3, on_loser=losers.append)

    async def main() -> bool:
        task = asyncio.ensure_future(asking.acall(script))
        await asyncio.sleep(at * 0.1)
        cancelled = task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() is cancelled
        if not cancelled:
            task.exception()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return cancelled

    cancelled = run(main())
    numbers = [loser.number for loser in losers]
    assert len(set(numbers)) == len(numbers) == len(script.starts) - (not cancelled)


def test_cancelling_waits_only_so_long() -> None:
    """A request that swallows its cancellation is left behind after the grace, and told when it ends."""
    losers: list[Loser] = []

    async def stubborn() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(30)
        return "late"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(hedge(max_requests=1, on_loser=losers.append).acall(stubborn))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert loop.time() == 1 + CANCELLATION_GRACE_SECONDS
        assert losers == []
        await asyncio.sleep(60)

    run(main())
    assert [loser.result for loser in losers] == ["late"]


def test_a_request_that_cancels_itself_ends_the_call() -> None:
    """As it would without a hedge; the others are cancelled."""
    script = Script(10, (0.5, asyncio.CancelledError()))

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await hedge().acall(script)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())
    assert script.cancelled == [1]


def test_waiting_for_ever_is_noticed() -> None:
    """No timer of the hedge keeps a hung call alive: the virtual loop says so."""

    async def main() -> None:
        await hedge().acall(asyncio.get_running_loop().create_future)

    with pytest.raises(EverythingWaitsError):
        run(main())


def test_no_request_begins_after_the_deadline() -> None:
    """It is told as refused; the first is still waited for."""
    told: list[HedgedRequest] = []
    script = Script(3)

    async def main() -> int:
        with Deadline(0.5, clock=asyncio.get_running_loop().time):
            return await hedge(on_hedge=told.append).acall(script)

    assert run(main()) == 1
    assert [each.refused for each in told] == ["deadline"]


def test_observing_makes_one_request() -> None:
    """What would have been made is told and counted; a failure is raised."""
    told: list[HedgedRequest] = []
    asking = hedge(on_hedge=told.append, observe_only=True)
    assert timed(Script(3), asking) == (1, 3)
    error = HttpError(500)
    assert timed(Script((0, error)), asking)[0] is error
    assert [each.refused for each in told] == ["observe_only"] * 2
    assert asking.snapshot().hedged == 2
    asking.observe_only = False
    assert timed(Script(9, 1), asking) == (2, 2)


def test_switched_off_it_is_a_plain_call() -> None:
    """In the caller's own task and thread, uncounted; and on again."""
    asking = hedge()
    asking.enabled = False
    assert timed(Script(9), asking) == (1, 9)
    assert asking.call(threading.current_thread) is threading.current_thread()
    assert asking.snapshot().calls == 0
    asking.enabled = True
    assert timed(Script(9, 1), asking) == (2, 2)


def test_the_snapshot_counts() -> None:
    """Calls, extra requests, and answers that came from one."""
    asking = hedge()
    timed(Script(0.5), asking)
    timed(Script(5, 1), asking)
    timed(Script(1.5, 9), asking)
    assert asking.snapshot()[:4] == (3, 2, 1, 0)
    assert asking.snapshot().delay_seconds == 1
    assert "won=1" in repr(asking)


# --- threads ------------------------------------------------------------------------------------------------


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Hung calls wait for it; nothing stays behind after a test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_hung_thread_is_overtaken(release: threading.Event) -> None:
    """The second answer is returned while the first hangs; what that brings is told once, by its thread."""
    losers: queue.Queue[tuple[Loser, threading.Thread]] = queue.Queue()
    numbers = iter([1, 2])

    def fn() -> int:
        number = next(numbers)
        if number == 1:
            assert release.wait(PATIENCE)
        return number

    asking = hedge(
        delay_seconds=0,
        on_loser=lambda loser: losers.put((loser, threading.current_thread())),
        clock=FakeClock(),
    )
    assert asking.call(fn) == 2
    assert losers.empty()
    release.set()
    loser, thread = losers.get(timeout=PATIENCE)
    thread.join(PATIENCE)
    assert (loser.number, loser.result, loser.error, loser.cancelled) == (1, 1, None, False)
    assert thread.daemon
    assert not thread.is_alive()
    assert losers.empty()


def test_a_failed_thread_starts_the_next_at_once() -> None:
    """However long the delay is; the failure is told before the call returns."""
    losers: list[Loser] = []
    error = HttpError(500)
    acts = iter([error, None])

    def fn(*, answer: str) -> str:
        act = next(acts)
        if act is not None:
            raise act
        return answer

    assert hedge(delay_seconds=FOREVER, on_loser=losers.append).call(fn, answer="yes") == "yes"
    assert [loser.error for loser in losers] == [error]


@pytest.mark.parametrize("max_requests", [1, 2])
def test_threads_that_all_fail_raise_the_calls_own_error(max_requests: int) -> None:
    """The first, with a note if there are more, and no reference cycle keeps it."""
    asking = hedge(delay_seconds=FOREVER, max_requests=max_requests)
    notes: list[str] = []

    def fn() -> None:
        raise HttpError(500)

    held: weakref.ref[HttpError] | None = None
    gc.disable()
    try:
        try:
            asking.call(fn)
        except HttpError as error:
            held, notes = weakref.ref(error), getattr(error, "__notes__", [])
        for thread in threading.enumerate():
            if thread.name.startswith("techrevati-hedge"):
                thread.join(PATIENCE)
        assert held is not None
        assert held() is None
    finally:
        gc.enable()
    assert notes == ["all 2 requests failed (1: server_error, 2: server_error)"][: max_requests - 1]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_exit_of_a_thread_is_the_callers(kind: type[BaseException]) -> None:
    """It is raised here, and starts nothing."""
    error = kind()

    def fn() -> None:
        raise error

    asking = hedge(delay_seconds=FOREVER)
    with pytest.raises(kind) as raised:
        asking.call(fn)
    assert raised.value is error
    assert asking.snapshot().hedged == 0


def test_an_interrupted_caller_leaves_and_the_loser_is_told(release: threading.Event) -> None:
    """A listener that raises an interrupt stands for Ctrl-C."""
    losers: queue.Queue[Loser] = queue.Queue()

    def interrupt(news: HedgedRequest) -> None:
        raise KeyboardInterrupt

    asking = hedge(delay_seconds=0, on_hedge=interrupt, on_loser=losers.put)
    with pytest.raises(KeyboardInterrupt):
        asking.call(release.wait, PATIENCE)
    assert losers.empty()
    release.set()
    assert {losers.get(timeout=PATIENCE).number for _ in range(2)} == {1, 2}


def test_threads_see_the_callers_context(release: threading.Event) -> None:
    """Reading works, also in ``on_loser``; writing stays inside."""
    seen: queue.Queue[str] = queue.Queue()
    numbers = iter([1, 2])

    def fn() -> str:
        if next(numbers) == 1:
            assert release.wait(PATIENCE)
        found = place.get()
        place.set("inside")
        return found

    def look() -> tuple[str, str]:
        place.set("outside")
        answer = hedge(delay_seconds=0, on_loser=lambda loser: seen.put(place.get())).call(fn)
        return answer, place.get()

    assert contextvars.copy_context().run(look) == ("outside", "outside")
    release.set()
    assert seen.get(timeout=PATIENCE) == "inside"


def test_many_threads_share_one_hedge() -> None:
    """Eight at once, each answered, and every request is an answer or a loser."""
    losers: queue.Queue[Loser] = queue.Queue()
    together = threading.Barrier(8)
    answers: list[int] = []
    asking = hedge(delay_seconds=0, max_extra_share=1, burst_requests=8, on_loser=losers.put)

    def caller() -> None:
        together.wait(PATIENCE)
        answers.append(asking.call(lambda: 1))

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    snapshot = asking.snapshot()
    assert answers == [1] * 8
    assert snapshot.calls == 8
    for _ in range(snapshot.hedged):
        losers.get(timeout=PATIENCE)
    assert losers.empty()


def test_a_clock_is_read_for_latencies() -> None:
    """What late is for threads comes from the clock given."""
    clock = FakeClock()
    asking = Hedge(idempotent=True, min_observations=1, clock=clock)
    asking.call(clock.advance, 7)
    assert asking.snapshot().delay_seconds == 7


# --- decoration and construction ----------------------------------------------------------------------------


def test_functions_are_decorated() -> None:
    """Both colours, keeping their names."""
    script = Script(9, 1)

    @hedge()
    async def ask() -> int:
        return await script()

    @hedge()
    def add(one: int, two: int) -> int:
        return one + two

    assert run(ask()) == 2
    assert add(1, two=2) == 3
    assert (ask.__name__, add.__name__) == ("ask", "add")


def stream() -> Iterator[int]:
    yield 1


def test_streams_are_refused() -> None:
    """At decoration, and when one is returned; so is a coroutine."""
    assert list(hedge()(stream)()) == list(stream())
    with pytest.raises(TypeError, match="a stream is hedged with"):
        hedge().call(stream)
    with pytest.raises(TypeError, match=r"acall\(\)"):
        hedge().call(Script(1))


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"idempotent": False}, ValueError, "idempotent must be True"),
        ({"delay_seconds": -1}, ValueError, "delay_seconds must be"),
        ({"delay_seconds": float("inf")}, ValueError, "delay_seconds must be"),
        ({"percentile": 0.95}, ValueError, "percentile must be a number >= 1"),
        ({"percentile": 100}, ValueError, "percentile must be .* < 100, in percent, got 100"),
        ({"max_requests": 0}, ValueError, "max_requests must be an integer >= 1"),
        ({"max_extra_share": -0.1}, ValueError, "max_extra_share must be"),
        ({"burst_requests": -1}, ValueError, "burst_requests must be"),
        ({"min_observations": 0}, ValueError, "min_observations must be"),
        ({"window_calls": 0}, ValueError, "window_calls must be"),
        (
            {"percentile": 90, "min_observations": 30, "window_calls": 20},
            ValueError,
            "min_observations must be",
        ),
        ({"hedges_on": 1}, TypeError, "hedges_on must be callable"),
        ({"on_hedge": 1}, TypeError, "on_hedge must be callable"),
        ({"on_loser": 1}, TypeError, "on_loser must be callable"),
        ({"clock": 1}, TypeError, "clock must be callable"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    """With the bound and the value."""
    with pytest.raises(kind, match=words):
        hedge(**options)


def test_whoever_hedges_says_that_it_may_be_repeated() -> None:
    """``idempotent`` has no default."""
    make: Callable[..., Hedge] = Hedge
    with pytest.raises(TypeError, match="idempotent"):
        make(delay_seconds=1)


def test_an_exit_of_a_request_ends_the_call_though_another_runs() -> None:
    """Like Ctrl-C: it is no failure that a hedge is for."""

    class Exit(BaseException):
        pass

    second, go_on = threading.Event(), threading.Event()
    numbers = iter((1, 2))

    def ask() -> str:
        if next(numbers) == 1:
            second.wait(10)
            raise Exit
        second.set()
        go_on.wait(10)
        return "late"

    try:
        with pytest.raises(Exit):
            Hedge(idempotent=True, delay_seconds=0).call(ask)
        assert not go_on.is_set()
    finally:
        go_on.set()


def test_an_exception_that_cannot_be_written_to_is_raised_all_the_same() -> None:
    """A frozen one, which has a ``__setattr__`` of its own, gets its note, and hides nothing."""

    @dataclass(frozen=True)
    class FrozenError(ConnectionError):
        code: int

    def down() -> None:
        raise FrozenError(7)

    with pytest.raises(FrozenError) as raised:
        hedge(delay_seconds=0).call(down)
    assert raised.value.__notes__ == ["all 2 requests failed (1: network, 2: network)"]
