"""Watched streams under any timing of chunks, consumers, looks and cancellations.

The machine holds the patience to its promise: whoever looks only when he was told to finds every wait that is
too long, and none that is not.  The interleavings put a consumer's move between any two steps of a look, as
another thread can.  The property holds the async stream, in virtual time, to a reference that shares no code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime import Deadline, DeadlineExceededError, StreamOutcome, StreamStalledError, watch
from techrevati.runtime.streaming.patience import NEVER, Patience
from techrevati.runtime.testing import run

# --- the decisions ------------------------------------------------------------------------------------------


class PatienceMachine(RuleBasedStateMachine):
    """Waits begin and end, time passes, and somebody looks when he said he would."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.patience = Patience(3.0, 1.0, 40.0)
        self.look_at = NEVER
        self.waited = 0.0
        self.first = False

    def due(self) -> float:
        limit = 1.0 if self.first else max(0.0, 3.0 - self.waited)
        return min(self.patience.since + limit, 40.0)

    def look(self) -> None:
        left = self.patience.look(self.now)
        if left <= 0:
            assert self.patience.since != NEVER
            assert self.due() <= self.now, "a wait was ended that was not too long"
            self.patience.give_up(self.now)
            self.look_at = NEVER
        else:
            self.look_at = self.now + left

    @precondition(lambda self: self.patience.since == NEVER and not self.patience.fired and self.now < 40)
    @rule()
    def wait(self) -> None:
        self.patience.since = self.now
        if not self.patience.armed:
            self.patience.armed = True
            self.look()

    @precondition(lambda self: self.patience.since != NEVER and not self.patience.fired)
    @rule(token=st.booleans())
    def chunk(self, token: bool) -> None:
        since, self.patience.since = self.patience.since, NEVER
        if not self.first:
            self.waited += self.now - since
            self.first = token
            self.patience.came(self.now - since, token)

    @rule(seconds=st.sampled_from([0.125, 0.5, 1.0, 2.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.look_at <= until:
            self.now = self.look_at
            self.look()
        self.now = until

    @invariant()
    def no_wait_is_too_long_unnoticed(self) -> None:
        if self.patience.since != NEVER and not self.patience.fired:
            assert self.look_at <= self.due(), "nobody will look in time"


TestPatience = PatienceMachine.TestCase
TestPatience.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class Interrupted(Patience):
    """A patience where another thread moves before the n-th time that one of its stamps is read or set."""

    __slots__ = ("before", "move")

    def __getattribute__(self, name: str) -> Any:
        if name in ("since", "limit", "armed") and self.before is not None:
            self._count()
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("since", "limit", "armed") and getattr(self, "before", None) is not None:
            self._count()
        super().__setattr__(name, value)

    def _count(self) -> None:
        left = self.before
        if left == 0:
            self.before = None  # the move itself is not interrupted
            self.move()
        else:
            self.before = left - 1


@pytest.mark.parametrize("before", range(10))
@pytest.mark.parametrize("move", ["wait", "wait, short", "chunk", "chunk and wait"])
def test_a_look_and_a_consumer_in_any_order(move: str, before: int) -> None:
    """After both, somebody looks in time, and nothing that is not too long was found so."""
    now, patience = 100.0, Interrupted.__new__(Interrupted)
    patience.before = None
    patience.__init__(60.0, 1.0, NEVER)  # type: ignore[misc]
    looks: list[float] = []
    waiting_before = move.startswith("chunk")
    patience.since = 90.0 if waiting_before else NEVER
    patience.armed = True

    def consume() -> None:
        if move != "wait":  # a first token came: from now on the limit is short
            patience.since = NEVER
            patience.came(10.0, True)
        if move != "chunk":
            patience.since = now + 0.5
            if not patience.armed:
                patience.armed = True
                looks.append(now + 0.5)

    patience.move = consume
    patience.before = before
    left = patience.look(now)
    if patience.before is not None:  # the look was over by then
        patience.before = None
        consume()
    looks.append(now + left)
    assert left > 0
    if patience.since != NEVER:
        assert min(looks) <= patience.since + patience.limit, "nobody will look in time"


# --- the async stream ---------------------------------------------------------------------------------------

# No two things happen at the same time: whole seconds for the stream and its consumer, the limits end in .5,
# a deadline in .25, a cancellation in .75.
CHUNKS = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), max_size=6
)  # (the stream takes, is a token, the consumer takes)
ENDS = st.sampled_from(["completed", "failed"])


class Silence:
    """A stream as the SDKs have it; closing takes a while, and may be interrupted."""

    def __init__(self, chunks: list[tuple[int, bool, int]], end: str) -> None:
        self.chunks, self.end = list(chunks), end
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[dict[str, str]]:
        return self

    async def __anext__(self) -> dict[str, str]:
        if not self.chunks:
            if self.end == "failed":
                raise ConnectionError("reset")
            raise StopAsyncIteration
        takes, token, _ = self.chunks.pop(0)
        await asyncio.sleep(takes)
        return {"type": "text" if token else "ping"}

    async def close(self) -> None:
        self.closed += 1
        await asyncio.sleep(0.01)


def expected(
    chunks: list[tuple[int, bool, int]], end: str, first: float, idle: float, over: float, cancel: float
) -> tuple[str, int, float]:
    """How it ends, after how many chunks, when."""
    now, waited, token_seen = 0.0, 0.0, False
    for count, (takes, token, consumes) in enumerate([*chunks, (0, False, 0)]):
        if now >= over:
            return "stalled", count, now
        due = min(now + (idle if token_seen else first - waited), over)
        last = count == len(chunks)
        comes = now if last else now + takes
        if min(comes, due) > cancel:
            return "cancelled", count, cancel
        if comes > due:
            return "stalled", count, due
        if last:
            return end, count, now
        if not token_seen:
            waited, token_seen = waited + takes, token
        now = comes + consumes
        if now > cancel:
            return "closed", count + 1, cancel
    raise AssertionError("unreachable")


@settings(max_examples=300, deadline=None)
@given(
    chunks=CHUNKS,
    end=ENDS,
    first=st.integers(1, 12),
    idle=st.integers(1, 6),
    over=st.none() | st.integers(0, 20),
    cancel=st.none() | st.integers(0, 20),
    again=st.booleans(),
)
def test_every_stream_ends_as_its_timing_says(
    chunks: list[tuple[int, bool, int]],
    end: str,
    first: int,
    idle: int,
    over: int | None,
    cancel: int | None,
    again: bool,
) -> None:
    """With a cancellation at any moment, and a second one while the first closes the stream."""
    limits = (first + 0.5, idle + 0.5)
    cancel_s = NEVER if cancel is None else cancel + 0.75
    wanted = expected(chunks, end, *limits, NEVER if over is None else over + 0.25, cancel_s)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        source, told = Silence(chunks, end), list[tuple[StreamOutcome, float]]()
        with Deadline(3_600 if over is None else over + 0.25, clock=loop.time):
            stream = watch(source, *limits, on_end=lambda outcome: told.append((outcome, loop.time())))

        async def consume() -> str:
            try:
                async with stream:
                    for _, _, consumes in [*chunks, (0, False, 0)]:
                        await anext(stream)
                        await asyncio.sleep(consumes)
            except StopAsyncIteration:
                return "completed"
            except ConnectionError:
                return "failed"
            except (StreamStalledError, DeadlineExceededError):
                return "stalled"
            return "?"

        task = loop.create_task(consume())
        if cancel is not None:
            loop.call_at(cancel_s, task.cancel)
            if again:
                loop.call_at(cancel_s + 0.005, task.cancel)
        try:
            raised = await task
        except asyncio.CancelledError:
            raised = "cancelled"
        ((outcome, _),) = told
        assert (outcome.state, outcome.chunks) == wanted[:2]
        assert raised == ("cancelled" if wanted[0] == "closed" else wanted[0])
        assert abs(told[0][1] - wanted[2]) < 0.02
        assert source.closed == (wanted[0] != "completed")
        assert asyncio.all_tasks() == {asyncio.current_task()}
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert not [timer for timer in timers if "_Alarm" in repr(timer)], "a timer is left"
        assert (task.cancelling() > 0) == (raised == "cancelled")

    run(main())
