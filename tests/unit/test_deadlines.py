"""Waiting ends in time, and what an abandoned call does later is told."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import copy
import gc
import logging
import pickle
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from techrevati.runtime import TechrevatiError
from techrevati.runtime.deadlines import (
    CANCELLATION_GRACE_SECONDS,
    LateOutcome,
    Timeout,
    TurnTimeoutError,
)
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.testing import run

PATIENCE = 10.0  # seconds until something that should have happened counts as hung
SOON = 0.01  # a real timeout, where a thread must really be waited for

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


class FailedError(Exception):
    """What the call raises."""


class FalsyError(Exception):
    """An error that is false in a boolean context."""

    def __len__(self) -> int:
        return 0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Hung calls wait for it; nothing stays behind after a test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the test run was started with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# --- threads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [PATIENCE, 1_000_000, float("inf")])
def test_a_call_in_time_returns_its_result(seconds: float) -> None:
    """The result is handed over as it is, and nothing is late."""
    late: list[LateOutcome] = []
    result = object()
    assert Timeout(seconds, on_late=late.append).call(lambda: result) is result
    assert late == []


def test_an_exception_that_is_returned_is_a_result() -> None:
    """Only what was raised is raised."""
    error = FailedError()
    assert Timeout(PATIENCE).call(lambda: error) is error
    assert run(Timeout(1).acall(lambda: asyncio.sleep(0, error))) is error


@pytest.mark.parametrize("kind", [FailedError, FalsyError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_call_that_raises_in_time_raises_here(kind: type[BaseException]) -> None:
    """The caller gets the very exception, interrupts included, and nothing is late."""
    late: list[LateOutcome] = []
    error = kind()

    def fn() -> None:
        raise error

    with pytest.raises(kind) as caught:
        Timeout(PATIENCE, on_late=late.append).call(fn)
    assert caught.value is error
    assert late == []


def test_a_hung_call_is_abandoned_at_the_deadline(release: threading.Event) -> None:
    """The caller gets ``TurnTimeoutError`` while the call still hangs; its result, when it comes, is told
    once, in the thread of the call."""
    late: queue.Queue[tuple[LateOutcome, threading.Thread]] = queue.Queue()
    threads: list[threading.Thread] = []

    def fn() -> str:
        threads.append(threading.current_thread())
        release.wait(PATIENCE)
        return "late"

    with pytest.raises(TurnTimeoutError) as timeout:
        Timeout(SOON, on_late=lambda told: late.put((told, threading.current_thread()))).call(fn)
    assert timeout.value.timeout_seconds == SOON
    assert not release.is_set()
    assert late.empty()
    release.set()
    told, thread = late.get(timeout=PATIENCE)
    assert (told.result, told.error) == ("late", None)
    assert [thread] == threads
    thread.join(PATIENCE)
    assert late.empty()


def test_a_late_error_is_told(release: threading.Event) -> None:
    """An abandoned call that raises is told with its error, even one that is false in a boolean context."""
    late: queue.Queue[LateOutcome] = queue.Queue()
    error = FalsyError()

    def fn() -> None:
        release.wait(PATIENCE)
        raise error

    with pytest.raises(TurnTimeoutError):
        Timeout(SOON, on_late=late.put).call(fn)
    release.set()
    told = late.get(timeout=PATIENCE)
    assert told.error is error
    assert told.result is None


def test_an_on_late_that_raises_is_logged(release: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    """The abandoned thread ends quietly; the log says what went wrong."""
    threads: list[threading.Thread] = []

    def fn() -> None:
        threads.append(threading.current_thread())
        release.wait(PATIENCE)

    def on_late(_: LateOutcome) -> None:
        raise ValueError("broken listener")

    with caplog.at_level(logging.WARNING, "techrevati.runtime.deadlines"):
        with pytest.raises(TurnTimeoutError):
            Timeout(SOON, on_late=on_late).call(fn)
        release.set()
        threads[0].join(PATIENCE)
    assert "broken listener" in caplog.text


def test_without_on_late_a_late_call_is_just_forgotten(release: threading.Event) -> None:
    """Nothing is raised in the abandoned thread."""
    threads: list[threading.Thread] = []

    def fn() -> None:
        threads.append(threading.current_thread())
        release.wait(PATIENCE)

    with pytest.raises(TurnTimeoutError):
        Timeout(SOON).call(fn)
    release.set()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_context_variables_are_seen_but_not_written() -> None:
    """The call runs in a copy of the caller's context, in a daemon thread of its own."""
    place.set("here")

    def fn() -> tuple[str, bool, bool]:
        seen = place.get()
        place.set("there")
        thread = threading.current_thread()
        return seen, thread.daemon, thread is caller

    caller = threading.current_thread()
    assert Timeout(PATIENCE).call(fn) == ("here", True, False)
    assert place.get() == "here"


def test_a_hung_call_does_not_keep_the_interpreter_alive() -> None:
    """A program whose only running call hangs for ever still ends."""
    program = (
        "import threading\n"
        "from techrevati.runtime.deadlines import Timeout, TurnTimeoutError\n"
        "try:\n"
        f"    Timeout({SOON}).call(threading.Event().wait)\n"
        "except TurnTimeoutError:\n"
        "    print('done')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "done\n"
    assert ended.stderr == ""


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_while_waiting_abandons_the_call(release: threading.Event) -> None:
    """Ctrl-C ends the waiting at once; what the call returns later is told."""
    late: queue.Queue[LateOutcome] = queue.Queue()
    caller = threading.get_ident()

    def fn() -> str:
        signal.pthread_kill(caller, signal.SIGINT)
        release.wait(PATIENCE)
        return "late"

    with pytest.raises(KeyboardInterrupt):
        Timeout(float("inf"), on_late=late.put).call(fn)
    release.set()
    assert late.get(timeout=PATIENCE).result == "late"


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_that_meets_the_result_loses_nothing() -> None:
    """Ctrl-C arrives together with the result: the caller is interrupted, so the result is told as late."""
    late: list[object] = []

    def fn() -> str:
        _thread.interrupt_main()  # seen by the caller when the outcome wakes it
        return "paid for"

    with pytest.raises(KeyboardInterrupt):
        Timeout(float("inf"), on_late=lambda told: late.append(told.result)).call(fn)
    assert late == ["paid for"]


def test_an_error_from_a_timed_call_is_no_reference_cycle() -> None:
    """The exception and what its frames hold are freed when the caller lets go, without the collector."""
    threads: list[threading.Thread] = []
    errors: list[weakref.ref[FailedError]] = []

    def fn() -> None:
        threads.append(threading.current_thread())
        error = FailedError()
        errors.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.collect()
    gc.disable()
    try:
        try:
            Timeout(PATIENCE).call(fn)
        except FailedError:
            pass
        threads.pop().join(PATIENCE)
        assert errors[0]() is None
    finally:
        gc.enable()


def test_an_error_from_a_timed_coroutine_is_no_reference_cycle() -> None:
    """What the call's frames hold, such as a long prompt, is freed at once for tasks, too."""
    errors: list[weakref.ref[FailedError]] = []

    async def fn() -> None:
        error = FailedError()
        errors.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def main() -> None:
        try:
            await Timeout(PATIENCE).acall(fn)
        except FailedError:
            pass
        await asyncio.sleep(0)  # the loop lets go of the task, too
        assert errors[0]() is None

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_calls_may_time_out_side_by_side(release: threading.Event) -> None:
    """One ``Timeout`` serves several threads: each gets its own outcome."""
    timeout = Timeout(SOON)
    ends: queue.Queue[str] = queue.Queue()

    def caller(hangs: bool) -> None:
        try:
            Timeout(PATIENCE).call(str) if not hangs else timeout.call(lambda: release.wait(PATIENCE))
        except TurnTimeoutError:
            ends.put("timed out")
        else:
            ends.put("returned")

    threads = [threading.Thread(target=caller, args=(n % 2 == 0,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    assert sorted(ends.get(timeout=PATIENCE) for _ in threads) == ["returned"] * 4 + ["timed out"] * 4
    for thread in threads:
        thread.join(PATIENCE)


# --- tasks --------------------------------------------------------------------------------------------------


def test_a_task_in_time_returns_its_result() -> None:
    """The call takes its own time, not the timeout's."""

    async def main() -> tuple[str, float]:
        result = await Timeout(60).acall(lambda: asyncio.sleep(59, "done"))
        return result, asyncio.get_running_loop().time()

    assert run(main()) == ("done", 59.0)


def test_a_task_that_takes_too_long_is_cancelled_at_the_deadline() -> None:
    """It sees the cancellation at the deadline; the caller gets ``TurnTimeoutError`` then, and nothing is
    late."""
    late: list[LateOutcome] = []

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        cancelled_at: list[float] = []

        async def fn() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled_at.append(loop.time())

        with pytest.raises(TurnTimeoutError) as timeout:
            await Timeout(60, on_late=late.append).acall(fn)
        assert timeout.value.timeout_seconds == 60
        return cancelled_at[0], loop.time()

    assert run(main()) == (60.0, 60.0)
    assert late == []


def test_a_task_that_swallows_the_cancellation_is_left_behind() -> None:
    """The caller waits no longer than the stated grace; the late result is told once."""
    late: list[tuple[object, object]] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()

        async def stubborn() -> str:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                await asyncio.sleep(100)
            return "late"

        with pytest.raises(TurnTimeoutError):
            await Timeout(60, on_late=lambda told: late.append((told.result, told.error))).acall(stubborn)
        returned_at = loop.time()
        assert late == []
        await asyncio.sleep(200)
        return returned_at

    assert run(main()) == 60.0 + CANCELLATION_GRACE_SECONDS
    assert late == [("late", None)]


@pytest.mark.parametrize("kind", [FailedError, FalsyError])
def test_an_error_instead_of_a_cancellation_is_told(kind: type[Exception]) -> None:
    """A task that answers the cancellation with an error has timed out, and its error is told."""
    late: list[LateOutcome] = []
    error = kind()

    async def fn() -> None:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            raise error from None

    async def main() -> None:
        with pytest.raises(TurnTimeoutError):
            await Timeout(60, on_late=late.append).acall(fn)

    run(main())
    assert [(told.result, told.error) for told in late] == [(None, error)]


@pytest.mark.parametrize("kind", [FailedError, FalsyError, asyncio.CancelledError])
def test_a_task_that_raises_in_time_raises_here(kind: type[BaseException]) -> None:
    """The caller gets the very exception, and nothing is late."""
    late: list[LateOutcome] = []
    error = kind()

    async def fn() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(kind):
            await Timeout(60, on_late=late.append).acall(fn)

    run(main())
    assert late == []


def test_cancelling_the_caller_cancels_the_call() -> None:
    """The call is cancelled at the same moment, and the caller is cancelled, not timed out."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        seen: list[float] = []

        async def fn() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append(loop.time())

        caller = asyncio.create_task(Timeout(60).acall(fn))
        await asyncio.sleep(5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        return seen[0], loop.time()

    assert run(main()) == (5.0, 5.0)


def test_a_stubborn_call_of_a_cancelled_caller_is_told_as_late() -> None:
    """The cancelled caller waits no longer than the grace; what was paid for is told."""
    late: list[object] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()

        async def stubborn() -> str:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                await asyncio.sleep(100)
            return "late"

        caller = asyncio.create_task(
            Timeout(60, on_late=lambda told: late.append(told.result)).acall(stubborn)
        )
        await asyncio.sleep(5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        returned_at = loop.time()
        await asyncio.sleep(200)
        return returned_at

    assert run(main()) == 5.0 + CANCELLATION_GRACE_SECONDS
    assert late == ["late"]


def test_a_second_cancellation_cuts_the_grace_short() -> None:
    """Whoever is cancelled again while waiting for a stubborn call leaves at once, and the late result is
    still told."""
    late: list[object] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()

        async def stubborn() -> str:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                await asyncio.sleep(100)
            return "late"

        caller = asyncio.create_task(
            Timeout(60, on_late=lambda told: late.append(told.result)).acall(stubborn)
        )
        await asyncio.sleep(5)
        caller.cancel()
        await asyncio.sleep(CANCELLATION_GRACE_SECONDS / 2)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        returned_at = loop.time()
        await asyncio.sleep(200)
        return returned_at

    assert run(main()) == 5.0 + CANCELLATION_GRACE_SECONDS / 2
    assert late == ["late"]


def test_a_result_that_meets_the_callers_cancellation_is_told() -> None:
    """The call ends in the very step in which its caller is cancelled: told as late, not lost."""
    late: list[object] = []

    async def main() -> None:
        async def fn() -> str:
            await asyncio.sleep(5)
            caller.cancel()
            return "paid for"

        caller = asyncio.create_task(Timeout(60, on_late=lambda told: late.append(told.result)).acall(fn))
        with pytest.raises(asyncio.CancelledError):
            await caller

    run(main())
    assert late == ["paid for"]


def test_an_on_late_that_raises_in_a_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The loop is not troubled; the log says what went wrong."""

    def on_late(_: LateOutcome) -> None:
        raise ValueError("broken listener")

    async def stubborn() -> None:
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            return

    async def main() -> None:
        with pytest.raises(TurnTimeoutError):
            await Timeout(60, on_late=on_late).acall(stubborn)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "broken listener" in caplog.text
    assert {record.name for record in caplog.records} == {"techrevati.runtime.deadlines"}


def test_tasks_see_context_variables_and_keep_their_writes() -> None:
    """The call runs in a task of its own, with a copy of the caller's context."""

    async def fn() -> str:
        seen = place.get()
        place.set("there")
        return seen

    async def main() -> tuple[str, str]:
        place.set("here")
        return await Timeout(60).acall(fn), place.get()

    assert run(main()) == ("here", "here")


def test_an_infinite_timeout_waits() -> None:
    """``inf`` is no timeout at all."""

    async def main() -> str:
        return await Timeout(float("inf")).acall(lambda: asyncio.sleep(1e6, "done"))

    assert run(main()) == "done"


# --- both ---------------------------------------------------------------------------------------------------


def test_zero_seconds_start_nothing() -> None:
    """With no time left the call is not begun, in either colour."""
    called: list[int] = []

    async def fn() -> None:
        called.append(1)

    with pytest.raises(TurnTimeoutError):
        Timeout(0).call(lambda: called.append(1))
    with pytest.raises(TurnTimeoutError):
        run(Timeout(0.0).acall(fn))
    assert called == []


@pytest.mark.parametrize(
    "seconds",
    [-1, -0.001, float("nan"), float("-inf"), True, "5", None, pytest.param(10**400, id="10**400")],
)
def test_wrong_seconds_are_named(seconds: float) -> None:
    """A wait that cannot be is refused when it is made, with the argument and the value."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        Timeout(seconds)
    assert "seconds" in str(refusal.value)
    assert repr(seconds) in str(refusal.value)


def test_the_error_is_ours_and_a_timeout() -> None:
    """It is a ``TimeoutError``, pickles, copies and says how long was waited."""
    error = TurnTimeoutError(2.5)
    assert isinstance(error, TechrevatiError)
    assert isinstance(error, TimeoutError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301
        assert type(twin) is TurnTimeoutError
        assert twin.timeout_seconds == 2.5
        assert str(twin) == str(error)
    assert "2.5" in str(error)


def test_a_timed_call_that_is_closed_ends_at_once() -> None:
    """Closing the coroutine, as a loop does that is torn down, cancels the call and awaits nothing."""

    async def main() -> list[str]:
        ended: list[str] = []

        async def call() -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        waiting = Timeout(5).acall(call)
        waiting.send(None)
        await asyncio.sleep(1)
        waiting.close()
        assert ended == []
        await asyncio.sleep(0)
        return ended

    assert run(main()) == ["cancelled"]


# --- what is inside -----------------------------------------------------------------------------------


def test_its_time_is_the_end_of_the_waits_inside() -> None:
    """A retry whose next attempt would begin later gives up at once, with the call's own error; an inner
    timeout that is longer ends with this one, and is told as this one."""
    attempts = 0

    async def main() -> float:
        loop = asyncio.get_running_loop()
        retry = Retry(5, base_delay_seconds=4, max_delay_seconds=8, jitter="none", clock=loop.time)

        async def fails() -> None:
            nonlocal attempts
            attempts += 1
            await asyncio.sleep(3)
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await Timeout(29).acall(retry.acall, fails)
        assert loop.time() == 3 + 4 + 3 + 8 + 3
        with pytest.raises(TurnTimeoutError) as ended:
            await Timeout(5).acall(Timeout(60).acall, asyncio.sleep, 90)
        assert ended.value.timeout_seconds == 5
        return loop.time()

    assert run(main()) == 21 + 5
    assert attempts == 3


def test_an_abandoned_call_tries_nothing_again(release: threading.Event) -> None:
    """Its thread goes on until the attempt ends that nobody waits for, and no other is made."""
    attempts: list[int] = []
    late: queue.Queue[LateOutcome] = queue.Queue()

    def fails() -> None:
        attempts.append(1)
        assert release.wait(PATIENCE)
        raise ConnectionError("down")

    retry = Retry(9, base_delay_seconds=1e-6)
    for _ in range(100):
        with pytest.raises(TurnTimeoutError):
            Timeout(SOON, on_late=late.put).call(retry.call, fails)
        if attempts:  # on a busy machine the time may be over before the thread has begun
            break
    release.set()
    assert isinstance(late.get(timeout=PATIENCE).error, ConnectionError)
    assert len(attempts) == 1
