"""Watched streams: limits that count waiting alone, one outcome, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from techrevati.runtime import (
    Deadline,
    DeadlineExceededError,
    FailureKind,
    StreamOutcome,
    StreamStalledError,
    StreamUsage,
    UsageAccumulator,
    UsageSnapshot,
    classify,
    watch,
)
from techrevati.runtime._core.collector import caught_up
from techrevati.runtime.streaming import AsyncWatchedStream, WatchedStream
from techrevati.runtime.streaming.interrupting import shut_down
from techrevati.runtime.streaming.tokens import is_token, text_bytes
from techrevati.runtime.testing import FakeClock, run

PATIENCE_S = 10.0  # of a test with real threads


def no_watchdog_is_left() -> None:
    """The watchdog's thread ends with the last stream."""
    until = time.monotonic() + PATIENCE_S
    while any(thread.name == "techrevati-stream-watchdog" for thread in threading.enumerate()):
        assert time.monotonic() < until, "the watchdog lives on"
        time.sleep(0.001)


class Source:
    """A stream as the SDKs have it: an iterator that blocks, and can be closed."""

    def __init__(self, *chunks: object) -> None:
        self.chunks = list(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.chunks:
            raise StopIteration
        chunk = self.chunks.pop(0)
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk() if callable(chunk) else chunk

    def close(self) -> None:
        self.closed += 1


class AsyncSource(Source):
    """The same for tasks; a number is waited for, then the next is given."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self  # type: ignore[return-value]

    async def __anext__(self) -> Any:
        if self.chunks and isinstance(self.chunks[0], int):
            await asyncio.sleep(self.chunks.pop(0))  # type: ignore[arg-type]
        try:
            return Source.__next__(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.closed += 1
        await asyncio.sleep(0)


# --- both colours -------------------------------------------------------------------------------------------


def test_a_stream_that_completes() -> None:
    source, told = Source("a", "b"), list[StreamOutcome]()
    with watch(source, 3_600, 3_600, on_end=told.append) as stream:
        assert isinstance(stream, WatchedStream)
        assert stream.outcome is None
        assert list(stream) == ["a", "b"]
    assert stream.outcome is not None
    assert told == [stream.outcome]
    assert (stream.outcome.state, stream.outcome.chunks, stream.outcome.error) == ("completed", 2, None)
    assert stream.outcome.usage is None
    assert source.closed == 0
    assert list(stream) == [], "after the end it has ended"
    assert told == [stream.outcome]
    assert repr(stream) == "WatchedStream(2 chunks, completed)"
    no_watchdog_is_left()


def test_an_async_stream_that_completes() -> None:
    async def main() -> None:
        source, told = AsyncSource("a", 1, "b"), list[StreamOutcome]()
        async with watch(source, 5, 5, on_end=told.append) as stream:
            assert isinstance(stream, AsyncWatchedStream)
            assert [chunk async for chunk in stream] == ["a", "b"]
        assert [outcome.state for outcome in told] == ["completed"]
        assert [chunk async for chunk in stream] == []
        assert [outcome.state for outcome in told] == ["completed"]
        assert source.closed == 0

    run(main())


def test_a_generators_return_value_is_kept() -> None:
    def source() -> Iterator[int]:
        yield 1
        return "done"

    def outer() -> Iterator[int]:
        assert (yield from watch(source(), idle_seconds=5)) == "done"

    assert list(outer()) == [1]


def test_what_the_stream_raises_is_raised_and_told() -> None:
    source, broken = Source("a", ConnectionError("reset")), list[StreamOutcome]()
    stream = watch(source, 5, 5, on_end=broken.append)
    assert next(stream) == "a"
    with pytest.raises(ConnectionError, match="reset") as caught:
        next(stream)
    assert [(outcome.state, outcome.error) for outcome in broken] == [("failed", caught.value)]
    assert source.closed > 0
    with pytest.raises(StopIteration):
        next(stream)
    assert len(broken) == 1


def test_ctrl_c_is_a_cancellation() -> None:
    stream = watch(Source("a", KeyboardInterrupt()), 5, 5)
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert stream.outcome is not None
    assert stream.outcome.state == "cancelled"
    no_watchdog_is_left()


def test_leaving_early_closes_the_stream_once() -> None:
    source, told = Source("a", "b"), list[StreamOutcome]()
    with watch(source, 5, 5, on_end=told.append) as stream:
        next(stream)
    stream.close()
    assert [outcome.state for outcome in told] == ["closed"]
    assert list(stream) == []
    no_watchdog_is_left()


def test_a_dropped_stream_is_closed_by_its_collection() -> None:
    source, told = Source("a", "b"), list[StreamOutcome]()
    stream = watch(source, 5, 5, on_end=told.append)
    next(stream)
    del stream
    gc.collect()
    assert [outcome.state for outcome in told] == ["closed"]
    assert source.closed > 0
    no_watchdog_is_left()


def test_a_dropped_async_stream_is_closed_by_the_loop() -> None:
    async def main() -> None:
        source, told = AsyncSource("a", 1, "b"), list[StreamOutcome]()
        stream = watch(source, 50, 50, on_end=told.append)
        assert await anext(stream) == "a"
        del stream
        gc.collect()
        caught_up()
        assert [outcome.state for outcome in told] == ["closed"]
        for _ in range(5):
            await asyncio.sleep(0)
        assert source.closed > 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


@pytest.mark.skipif(sys.platform == "emscripten", reason="needs threads")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_collector_waits_for_no_lock(asynchronous: bool) -> None:
    """It runs anywhere, also where its thread holds the lock that *on_end* takes."""
    locked, told = threading.Lock(), list[StreamOutcome]()

    def ended(outcome: StreamOutcome) -> None:
        with locked:
            told.append(outcome)

    async def cycle() -> None:
        stream = watch(AsyncSource("a", 1, "b"), 50, 50, on_end=ended)
        assert await anext(stream) == "a"
        kept: list[Any] = [stream]
        kept.append(kept)

    def collect() -> None:
        if asynchronous:
            run(cycle())
        else:
            stream = watch(Source("a", "b"), 5, 5, on_end=ended)
            next(stream)
            kept: list[Any] = [stream]
            kept.append(kept)
            del stream, kept
        with locked:
            gc.collect()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    caught_up()
    assert [outcome.state for outcome in told] == ["closed"]


def test_what_the_collector_left_is_done_before_the_program_ends() -> None:
    """Here no thread was to be had for it."""
    program = """
import gc
from techrevati.runtime import watch
from techrevati.runtime._core import collector

def refuse(*_): raise RuntimeError("can't start new thread")

collector.start_new_thread = refuse
stream = watch(iter("ab"), 5, 5, on_end=lambda outcome: print(outcome.state))
next(stream)
kept = [stream]
kept.append(kept)
del stream, kept
gc.collect()
print("the end")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split("\n"), done.stderr) == (["the end", "closed", ""], "")


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_what_on_end_raises_is_heard_when_all_went_well(state: str) -> None:
    def refuse(outcome: StreamOutcome) -> None:
        raise LookupError(outcome.state)

    source = Source() if state == "completed" else Source(OSError("broken"))
    with pytest.raises(LookupError if state == "completed" else OSError):
        next(watch(source, on_end=refuse))


def test_a_stream_that_cannot_be_closed_is_no_news() -> None:
    source = Source("a")
    source.close = lambda: (_ for _ in ()).throw(OSError("no"))  # type: ignore[method-assign]
    with watch(source) as stream:
        next(stream)
    assert stream.outcome is not None
    assert stream.outcome.state == "closed"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"idle_seconds": 0}, "idle_seconds must be a number > 0"),
        ({"first_token_seconds": -1}, "first_token_seconds must be a number"),
        ({"first_token_seconds": float("nan")}, "first_token_seconds must be a number"),
        ({"idle_seconds": "5"}, "idle_seconds must be a number"),
        ({"on_end": 5}, "on_end must be callable"),
        ({"is_token": 5}, "is_token must be callable"),
        ({"interrupt": 5}, "interrupt must be callable"),
        ({"clock": 5}, "clock must be callable"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        watch(iter("ab"), **arguments)


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(TypeError, match="stream must be an iterable"):
        watch(5)  # type: ignore[call-overload]

    async def main() -> None:
        with pytest.raises(ValueError, match="interrupt"):
            watch(AsyncSource(), interrupt=print)  # type: ignore[call-overload]

    run(main())


# --- stalls -------------------------------------------------------------------------------------------------


def looking(stream: list[WatchedStream[Any]], clock: FakeClock, waits_s: float) -> Callable[[], str]:
    """A chunk that takes *waits_s*, with a look of the watchdog at the end."""

    def chunk() -> str:
        clock.advance(waits_s)
        stream[0]._look()
        return "late"

    return chunk


def fake(*steps: object, **limits: Any) -> tuple[WatchedStream[Any], Source, FakeClock]:
    """A watched stream on a clock that only chunks move; a number is a chunk that is waited for."""
    clock, made = FakeClock(), list[WatchedStream[Any]]()
    waits = (looking(made, clock, step) if isinstance(step, (int, float)) else step for step in steps)
    source = Source(*waits)
    made.append(watch(source, interrupt=lambda: None, clock=clock, **limits))
    return made[0], source, clock


def test_a_silent_stream_is_a_timeout() -> None:
    stream, source, _ = fake("a", 6, idle_seconds=5)
    assert next(stream) == "a"
    with pytest.raises(StreamStalledError, match="nothing after 1 chunks within 5 s") as caught:
        next(stream)
    assert (caught.value.phase, caught.value.seconds, caught.value.chunks) == ("idle", 5, 1)
    assert isinstance(caught.value, TimeoutError)
    failure = classify(caught.value)
    assert (failure.kind, failure.retryable, failure.origin.value) == (FailureKind.TIMEOUT, True, "provider")
    assert stream.outcome is not None
    assert (stream.outcome.state, stream.outcome.error) == ("stalled", caught.value)
    assert source.closed > 0
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.outcome.state == "stalled"


def test_openings_are_no_tokens_and_their_waits_add_up() -> None:
    stream, _, _ = fake({"type": "message_start"}, {"type": "ping"}, 6, first_token_seconds=5)
    assert [next(stream)["type"], next(stream)["type"]] == ["message_start", "ping"]
    with pytest.raises(StreamStalledError, match="no first token within 5 s") as caught:
        next(stream)
    assert (caught.value.phase, caught.value.chunks) == ("first_token", 2)


def test_consumer_time_is_not_counted() -> None:
    stream, _, clock = fake("a", 4, 4, 4, first_token_seconds=5, idle_seconds=5)
    for _ in range(4):
        next(stream)
        clock.advance(3_600)
        stream._look()
    with pytest.raises(StopIteration):
        next(stream)
    assert stream.outcome is not None
    assert (stream.outcome.state, stream.outcome.first_token_seconds) == ("completed", 0.0)


def test_a_deadline_counts_the_consumer_too() -> None:
    clock = FakeClock()
    with Deadline(10, clock=clock):
        stream = watch(Source("a", "b", "c"), clock=clock)
    next(stream)
    clock.advance(9)
    next(stream)
    clock.advance(1)
    with pytest.raises(DeadlineExceededError):
        next(stream)
    assert stream.outcome is not None
    assert stream.outcome.state == "stalled"
    no_watchdog_is_left()


@pytest.mark.parametrize("limit", ["first_token_seconds", "idle_seconds", "deadline"])
def test_the_watchdog_ends_a_blocked_read(limit: str) -> None:
    """A real thread, and a short real limit: however slow the machine, the read ends and nothing is left."""
    woken, since = threading.Event(), list[float]()

    def blocked() -> str:
        since.append(time.monotonic())
        assert woken.wait(PATIENCE_S), "nobody interrupted the read"
        raise ConnectionError("shut down")

    def clock() -> float:
        """Real time, which begins with the blocked read: no limit passes before it on a slow machine."""
        return time.monotonic() - since[0] if since else 0.0

    source = Source(blocked) if limit == "first_token_seconds" else Source("a", blocked)
    with Deadline(0.05 if limit == "deadline" else 3_600, clock=clock):
        first_s, idle_s = 3_600.0, 0.05
        if limit == "first_token_seconds":
            first_s, idle_s = 0.05, 3_600.0
        stream = watch(
            source, first_s, None if limit == "deadline" else idle_s, interrupt=woken.set, clock=clock
        )
    with pytest.raises(DeadlineExceededError if limit == "deadline" else StreamStalledError) as caught:
        list(stream)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert stream.outcome is not None
    assert stream.outcome.state == "stalled"
    no_watchdog_is_left()


def test_no_thread_to_be_had_is_told_and_the_next_stream_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuse)
        stream = watch(Source("a"), 3_600)
        with pytest.raises(RuntimeError, match="new thread"):
            next(stream)
        stream.close()
    no_watchdog_is_left()
    woken = threading.Event()

    def blocked() -> str:
        assert woken.wait(PATIENCE_S), "nobody interrupted the read"
        raise ConnectionError("shut down")

    with pytest.raises(StreamStalledError):
        next(watch(Source(blocked), 0.05, interrupt=woken.set))
    no_watchdog_is_left()


def test_a_read_of_a_socket_is_ended_by_shutting_it_down() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE_S)
        response = SimpleNamespace(fp=SimpleNamespace(raw=SimpleNamespace(_sock=ours)))

        class Body:
            def __init__(self) -> None:
                self.raw = response

            def __iter__(self) -> Iterator[bytes]:
                return self

            def __next__(self) -> bytes:
                data = ours.recv(10)
                if not data:
                    raise StopIteration
                return data

        stream = watch(Body(), idle_seconds=0.05)
        theirs.sendall(b"a")
        assert next(stream) == b"a"
        with pytest.raises(StreamStalledError):
            next(stream)
    no_watchdog_is_left()


def test_a_shared_connection_is_not_shut_down() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        network = SimpleNamespace(get_extra_info={"socket": ours}.get)
        shared = SimpleNamespace(extensions={"network_stream": network, "http_version": b"HTTP/2"})
        assert not shut_down(SimpleNamespace(response=shared))
        theirs.sendall(b"a")
        assert ours.recv(1) == b"a"
        shared.extensions["http_version"] = b"HTTP/1.1"
        assert shut_down(SimpleNamespace(response=shared))
        assert theirs.recv(1) == b""
    assert not shut_down(iter("ab"))


def test_one_watchdog_looks_after_many_streams() -> None:
    """Streams that end by themselves, stall, and are closed, side by side in threads."""

    def one(number: int) -> str:
        woken = threading.Event()
        stalls = number % 3 == 0
        blocked: Any = (lambda: woken.wait(PATIENCE_S)) if stalls else "b"
        # The others have all the time there is: a busy machine is not a stalled stream.
        with watch(Source("a", blocked), 5, 0.02 if stalls else PATIENCE_S, interrupt=woken.set) as stream:
            next(stream)
            try:
                if number % 3 != 1:
                    list(stream)
            except StreamStalledError:
                pass
        assert stream.outcome is not None
        return stream.outcome.state

    found: dict[int, str] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: one(n)})) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == {number: ("stalled", "closed", "completed")[number % 3] for number in range(12)}
    no_watchdog_is_left()


def test_a_stream_that_comes_while_the_watchdog_looks_at_another_is_not_forgotten() -> None:
    no_watchdog_is_left()
    looking, begun, woken, release = (threading.Event() for _ in range(4))

    def clock() -> float:
        if threading.current_thread().name == "techrevati-stream-watchdog":
            looking.set()
            assert begun.wait(PATIENCE_S)
        return time.monotonic()

    def blocked() -> str:
        begun.set()
        assert woken.wait(PATIENCE_S), "nobody looked at the second stream"
        raise ConnectionError("shut down")

    slow = watch(Source(lambda: release.wait(PATIENCE_S)), 3_600, interrupt=release.set, clock=clock)
    other = threading.Thread(target=lambda: list(slow))
    other.start()
    assert looking.wait(PATIENCE_S)
    with pytest.raises(StreamStalledError):
        next(watch(Source(blocked), 0.01, interrupt=woken.set))
    release.set()
    other.join(PATIENCE_S)
    no_watchdog_is_left()


# --- stalls of async streams --------------------------------------------------------------------------------


def test_an_async_wait_is_cancelled_at_its_limit() -> None:
    async def main() -> None:
        source = AsyncSource("a", 4, "b", 6, "c")
        stream = watch(source, 3, 5)
        assert [await anext(stream), await anext(stream)] == ["a", "b"]
        with pytest.raises(StreamStalledError, match="nothing after 2 chunks within 5 s"):
            await anext(stream)
        task = asyncio.current_task()
        assert task is not None
        assert (asyncio.get_running_loop().time(), task.cancelling(), source.closed > 0) == (9.0, 0, True)
        await asyncio.sleep(100)  # no stray cancellation

    run(main())


def test_the_first_token_of_an_async_stream_comes_in_time() -> None:
    async def main() -> None:
        stream = watch(AsyncSource({"type": "ping"}, 2, {"type": "ping"}, 2, "a"), first_token_seconds=3)
        with pytest.raises(StreamStalledError, match="no first token within 3 s"):
            _ = [chunk async for chunk in stream]
        assert asyncio.get_running_loop().time() == 3.0

    run(main())


def test_an_async_consumer_may_take_its_time() -> None:
    async def main() -> None:
        stream = watch(AsyncSource("a", 4, "b", 4, "c"), 5, 5)
        async for _ in stream:
            await asyncio.sleep(3_600)
        assert stream.outcome is not None
        assert (stream.outcome.state, stream.outcome.chunks) == ("completed", 3)

    run(main())


def test_a_cancelled_consumer_closes_the_stream_and_stays_cancelled() -> None:
    async def main() -> None:
        source = AsyncSource("a", 4, "b")
        stream = watch(source, 50, 50)

        async def consume() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stream.outcome is not None
        assert stream.outcome.state == "cancelled"
        assert source.closed > 0

    run(main())


def test_a_cancellation_and_a_stall_at_once_is_a_cancellation() -> None:
    """Two cancellations of one task become one CancelledError: nobody else's may be swallowed."""

    async def main() -> None:
        for first in ("ours", "theirs"):
            source = AsyncSource(60, "a")
            stream = watch(source, 50)
            task = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            alarm = stream._alarm
            ours = lambda alarm=alarm, stream=stream: alarm._fire(stream._patience.since)  # noqa: E731
            for step in (ours, task.cancel) if first == "ours" else (task.cancel, ours):
                step()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert stream.outcome is not None
            assert stream.outcome.state == "cancelled"

    run(main())


def test_a_stall_while_a_cancelled_task_cleans_up_is_a_stall() -> None:
    async def main() -> None:
        stalled = list[bool]()

        async def consume() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                with pytest.raises(StreamStalledError):
                    await anext(watch(AsyncSource(60, "a"), 5))
                stalled.append(True)

        task = asyncio.create_task(consume())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (stalled, asyncio.get_running_loop().time()) == ([True], 6.0)

    run(main())


def test_an_outer_timeout_is_told_from_a_stall() -> None:
    async def main() -> None:
        stream = watch(AsyncSource(60, "a"), 50)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(10):
                await anext(stream)
        assert not isinstance(caught.value, StreamStalledError)
        again = watch(AsyncSource(60, "a"), 5)
        with pytest.raises(StreamStalledError):
            async with asyncio.timeout(10):
                await anext(again)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main())


@pytest.mark.parametrize("instead", ["a chunk", "an error", "the end"])
def test_a_stream_that_turns_the_cancellation_into_something_else_has_stalled(instead: str) -> None:
    class Stubborn(AsyncSource):
        async def __anext__(self) -> Any:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if instead == "an error":
                    raise ConnectionError("closed") from None
                if instead == "the end":
                    raise StopAsyncIteration from None
            return "chunk"

    async def main() -> None:
        stream = watch(Stubborn(), 5)
        with pytest.raises(StreamStalledError):
            await anext(stream)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1)

    run(main())


def test_a_loop_that_was_blocked_finds_its_chunk_and_no_stall() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        came = loop.create_future()

        async def source() -> AsyncIterator[str]:
            yield "a"
            yield await came

        clock = FakeClock()
        stream = watch(source(), 5, 5, clock=clock)
        assert await anext(stream) == "a"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        clock.advance(60)  # the loop was blocked, and both happened meanwhile
        loop.call_soon(came.set_result, "b")  # a loop reads before it looks at its timers
        loop.call_soon(stream._alarm._look)
        assert await waiting == "b"
        await stream.aclose()

    run(main())


def test_an_async_stream_may_move_from_task_to_task() -> None:
    async def main() -> None:
        stream = watch(AsyncSource("a", 1, "b", 9, "c"), 5, 5)
        assert await asyncio.create_task(anext(stream)) == "a"  # type: ignore[arg-type]
        assert await asyncio.wait_for(anext(stream), 100) == "b"
        with pytest.raises(StreamStalledError):
            await asyncio.create_task(anext(stream))  # type: ignore[arg-type]

    run(main())


def test_a_coroutine_that_is_thrown_away_ends_its_stream() -> None:
    async def main() -> None:
        source = AsyncSource("a", 60, "b")
        stream = watch(source, 50, 50)
        await anext(stream)
        step = stream.__anext__()
        step.send(None)
        step.close()
        assert stream.outcome is not None
        assert stream.outcome.state == "cancelled"
        for _ in range(5):
            await asyncio.sleep(0)
        assert source.closed > 0

    run(main())


# --- usage --------------------------------------------------------------------------------------------------

SAID = {"choices": [{"delta": {"content": "a few words"}}]}
LAST = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}


def test_usage_that_was_told_is_measured() -> None:
    stream = watch(Source(SAID, LAST), usage=StreamUsage(input_tokens=100))
    list(stream)
    assert stream.outcome is not None
    assert stream.outcome.usage is not None
    assert (stream.outcome.usage.input_tokens, stream.outcome.usage.output_tokens) == (9, 3)
    assert not stream.outcome.estimated


@pytest.mark.parametrize("end", ["closed", "failed", "stalled", "completed"])
def test_usage_that_was_not_told_is_estimated(end: str) -> None:
    steps: tuple[object, ...] = (SAID, SAID)
    if end == "failed":
        steps += (OSError("reset"),)
    elif end == "stalled":
        steps += (60,)
    stream, _, _ = fake(*steps, idle_seconds=5, usage=StreamUsage(input_tokens=100))
    for _ in range(2):
        next(stream)
    if end == "closed":
        stream.close()
    else:
        with pytest.raises((OSError, StopIteration)):
            next(stream)
    assert stream.outcome is not None
    assert (stream.outcome.state, stream.outcome.usage) == (end, UsageSnapshot(100, 6))
    assert stream.outcome.estimated


def test_a_plain_accumulator_says_what_it_knows() -> None:
    stream = watch(Source(SAID, LAST, SAID), usage=UsageAccumulator())
    next(stream)
    stream.close()
    assert stream.outcome is not None
    assert (stream.outcome.usage, stream.outcome.estimated) == (UsageSnapshot(), True)


def test_a_broken_reader_breaks_no_stream() -> None:
    class Broken(UsageAccumulator):
        def add(self, event: object) -> None:
            raise ValueError("what is this")

    stream = watch(Source("a", "b"), usage=Broken())
    assert list(stream) == ["a", "b"]
    assert stream.outcome is not None
    assert (stream.outcome.usage, stream.outcome.estimated) == (UsageSnapshot(), True)


def test_an_estimate_is_never_less_than_what_was_told() -> None:
    usage = StreamUsage(input_tokens=100)
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 8}}}
    usage.add(start)
    usage.add({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "four"}})
    assert (usage.estimate().input_tokens, usage.estimate().output_tokens) == (20, 8)
    for _ in range(10):
        usage.add({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}})
    assert (usage.estimate().input_tokens, usage.estimate().output_tokens) == (20, 11)
    with pytest.raises(ValueError, match="input_tokens"):
        StreamUsage(input_tokens=-1)


@pytest.mark.parametrize(
    ("chunk", "token", "size"),
    [
        ("some text", True, 9),
        ("日本", True, 6),
        (b"bytes", True, 0),
        ({"type": "message_start"}, False, 0),
        ({"type": "content_block_delta", "delta": {"partial_json": '{"a"'}}, True, 4),
        ({"type": "response.created"}, False, 0),
        ({"type": "response.output_text.delta", "delta": "word"}, True, 4),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False, 0),
        ({"choices": [{"delta": {"role": "assistant", "content": "Hi"}}]}, True, 2),
        ({"choices": [{"delta": {"role": "assistant", "content": None, "audio": {"id": 1}}}]}, True, 0),
        ({"choices": [{"delta": {"role": "assistant"}, "finish_reason": "stop"}]}, True, 0),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}, True, 2),
        (SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(role="assistant"))]), False, 0),
        (None, True, 0),
    ],
)
def test_what_a_chunk_says(chunk: object, token: bool, size: int) -> None:
    assert (is_token(chunk), text_bytes(chunk)) == (token, size)
