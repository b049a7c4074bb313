"""One deadline for a whole piece of work shortens every wait inside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from techrevati.runtime._core.deadline import remaining_s, shortened
from techrevati.runtime.deadlines import (
    Deadline,
    DeadlineExceededError,
    Timeout,
    TurnTimeoutError,
    current_deadline,
)
from techrevati.runtime.testing import FakeClock, run


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


def test_without_a_deadline_nothing_is_shortened() -> None:
    """Waits are what they are."""
    assert current_deadline() is None
    assert remaining_s() is None
    assert shortened(5.0) == 5.0


def test_it_counts_from_its_construction(clock: FakeClock) -> None:
    """What is left shrinks to 0 and no further; ``check`` raises from then on."""
    deadline = Deadline(30, clock=clock)
    clock.advance(12)
    with deadline:
        assert remaining_s() == 18
        assert shortened(20) == 18
        assert shortened(5) == 5
        deadline.check()
        clock.advance(18)
        assert remaining_s() == 0
        assert deadline.expired()
        with pytest.raises(DeadlineExceededError) as exceeded:
            deadline.check()
        clock.advance(18)
        assert remaining_s() == 0
    assert exceeded.value.seconds == 30
    assert isinstance(exceeded.value, TimeoutError)
    assert current_deadline() is None
    assert "30 s" in repr(deadline)


def test_an_inner_deadline_can_only_end_sooner(clock: FakeClock) -> None:
    """Inside two deadlines the one that ends first is in force; outside again, the outer one."""
    with Deadline(10, clock=clock):
        with Deadline(60, clock=clock):
            assert remaining_s() == 10
        with Deadline(3, clock=clock):
            assert remaining_s() == 3
        assert remaining_s() == 10


@pytest.mark.parametrize("form", ["call", "acall"])
def test_the_error_of_a_cut_says_how_long_the_deadline_had(clock: FakeClock, form: str) -> None:
    """Not what was left of it when the call began; of several, the one that ended first."""
    timeout = Timeout(60)

    async def never() -> None:
        raise AssertionError("there is no time to begin")

    deadline = Deadline(30, clock=clock)
    clock.advance(30)
    with deadline, Deadline(50, clock=clock), pytest.raises(DeadlineExceededError) as caught:
        timeout.call(print) if form == "call" else run(timeout.acall(never))
    assert (caught.value.seconds, str(caught.value)) == (30, "the deadline of 30 s has passed")


def test_what_it_shortens_is_told_by_the_deadline_that_ends_first(clock: FakeClock) -> None:
    """Only real cuts are told, once, however often it is entered; a listener that raises changes nothing."""
    told: list[tuple[str, float, float]] = []

    def outer_tells(seconds: float, left_s: float) -> None:
        told.append(("outer", seconds, left_s))
        raise RuntimeError("a listener's bug")

    outer = Deadline(20, clock=clock, on_shortened=outer_tells)
    inner = Deadline(30, clock=clock, on_shortened=lambda *cut: told.append(("inner", *cut)))
    clock.advance(5)
    with outer, inner, outer:
        assert shortened(15) == 15
        assert told == []
        assert shortened(60) == 15
    with outer, inner:
        assert shortened(50) == 15
    with inner, outer:
        assert shortened(40) == 15
    with inner:
        assert shortened(60) == 25
    assert told == [("outer", 60, 15), ("outer", 50, 15), ("outer", 40, 15), ("inner", 60, 25)]
    with pytest.raises(TypeError, match="on_shortened"):
        Deadline(1, on_shortened="tell")  # type: ignore[arg-type]  # pyright: ignore


def test_only_observing_it_shortens_and_ends_nothing(clock: FakeClock) -> None:
    """It measures and tells what it would have cut; deadlines around it stay in force; it can be put in force
    again, and switched off, while it runs."""
    told: list[tuple[float, float]] = []
    watching = Deadline(10, clock=clock, on_shortened=lambda *cut: told.append(cut), observe_only=True)
    with Deadline(50, clock=clock), watching:
        assert remaining_s() == 50
        assert shortened(20) == 20
        assert shortened(60) == 50
        assert told == [(20, 10), (60, 10)]
        clock.advance(10)
        watching.check()
        assert watching.expired()
        assert remaining_s() == 40
        watching.observe_only = False
        assert remaining_s() == 0
        with pytest.raises(DeadlineExceededError):
            watching.check()
        watching.enabled = False
        watching.check()
        assert shortened(60) == 40
    assert told == [(20, 10), (60, 10)]
    with watching:
        assert remaining_s() == float("inf")
        assert shortened(60) == 60


def test_infinity_is_no_end(clock: FakeClock) -> None:
    """An endless deadline shortens nothing."""
    with Deadline(float("inf"), clock=clock) as endless:
        assert shortened(1e9) == 1e9
        assert not endless.expired()


def test_deadlines_may_be_left_in_any_order(clock: FakeClock) -> None:
    """Two generators that hold one each and end in the order they began leave the right one in force."""

    def inside(seconds: float) -> Generator[None, None, None]:
        with Deadline(seconds, clock=clock):
            yield

    first, second = inside(5), inside(50)
    next(first)
    next(second)
    assert remaining_s() == 5
    first.close()
    assert remaining_s() == 50
    second.close()
    assert current_deadline() is None


def test_one_deadline_may_be_entered_again(clock: FakeClock) -> None:
    """Nested in itself, and shared by tasks; each leaving undoes one entering."""
    shared = Deadline(9, clock=clock)
    with shared:
        with shared:
            assert remaining_s() == 9
        assert remaining_s() == 9

    async def holding(seconds: float) -> float | None:
        with shared:
            await asyncio.sleep(seconds)
            return remaining_s()

    async def main() -> list[float | None]:
        return await asyncio.gather(*(holding(seconds) for seconds in (3, 1, 2)))

    assert run(main()) == [9, 9, 9]
    assert current_deadline() is None


def test_an_exception_leaves_it_too(clock: FakeClock) -> None:
    """The deadline is not in force after its block, however that ended."""
    with pytest.raises(KeyError), Deadline(9, clock=clock):
        raise KeyError
    assert remaining_s() is None


def test_tasks_and_timed_calls_see_it_and_plain_threads_do_not(clock: FakeClock) -> None:
    """It travels with the context."""
    seen: list[float | None] = []

    async def main() -> float | None:
        async def asked() -> float | None:
            return remaining_s()

        with Deadline(9, clock=clock):
            return await asyncio.create_task(asked())

    assert run(main()) == 9
    with Deadline(9, clock=clock):
        assert Timeout(50).call(remaining_s) == 9
        thread = threading.Thread(target=lambda: seen.append(remaining_s()))
        thread.start()
        thread.join(10)
    assert seen == [None]


def test_it_shortens_a_timeout() -> None:
    """A call under a timeout of an hour ends with the deadline, and the error says which of them it was."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with Deadline(4, clock=loop.time):
            await asyncio.sleep(1)
            with pytest.raises(DeadlineExceededError):
                await Timeout(3600).acall(asyncio.Event().wait)
            assert loop.time() == 4
        with Deadline(400, clock=loop.time), pytest.raises(TurnTimeoutError):
            await Timeout(2).acall(asyncio.Event().wait)
        return loop.time()

    assert run(main()) == 6


def test_nothing_starts_after_it(clock: FakeClock) -> None:
    """With no time left a timed call is not even started, sync or async."""
    started: list[int] = []

    async def astart() -> None:
        started.append(1)

    with Deadline(1, clock=clock):
        clock.advance(1)
        with pytest.raises(DeadlineExceededError):
            Timeout(60).call(lambda: started.append(1))
        with pytest.raises(DeadlineExceededError):
            run(Timeout(60).acall(astart))
    assert started == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5", True])
def test_wrong_seconds_are_named(seconds: float) -> None:
    """A deadline that was over before it began is a mistake."""
    with pytest.raises((ValueError, TypeError), match="seconds"):
        Deadline(seconds)
    with pytest.raises(TypeError, match="clock"):
        Deadline(5, clock=None)  # type: ignore[arg-type]


def test_an_error_made_without_its_constructor_still_reads() -> None:
    class Custom(DeadlineExceededError):
        def __init__(self) -> None:
            """Of its own."""

    assert (
        str(Custom())
        == str(DeadlineExceededError.__new__(DeadlineExceededError))
        == "the deadline has passed"
    )
    assert str(DeadlineExceededError(2.5)) == "the deadline of 2.5 s has passed"
