"""A failover around a stream in a pipeline: another target is asked while no item was given, never after.

The model: the consumer sees the first stream that gives an item or ends well, from its first item on; what
comes after that, its failure too, is that stream's alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, TypeAlias

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitOpenError, CircuitState
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError
from techrevati.runtime.failover import Failover, Target, TargetSwitch
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.testing import FakeClock, run

Script: TypeAlias = list[Any]
Read: TypeAlias = tuple[list[Any], type[BaseException] | None]

COLOURS = ("generator", "async generator")


class Source:
    """A stream by a script: values are items, exceptions are raised."""

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.asked: list[tuple[Any, ...]] = []
        self.closed = 0

    def plain(self, *args: Any) -> Generator[Any, Any, None]:
        self.asked.append(args)
        try:
            for line in self.script:
                if isinstance(line, Exception):
                    raise line
                yield line
        finally:
            self.closed += 1

    async def tasked(self, *args: Any) -> AsyncGenerator[Any, Any]:
        self.asked.append(args)
        try:
            for line in self.script:
                if isinstance(line, Exception):
                    raise line
                yield line
        finally:
            self.closed += 1

    def of(self, colour: str) -> Callable[..., Any]:
        return self.plain if colour == "generator" else self.tasked


def read(stream: Callable[..., Any], colour: str, *args: Any, items: int | None = None) -> Read:
    """What *stream* gives, at most so many items, and what it raises; it is closed in the end."""
    seen: list[Any] = []

    def enough() -> bool:
        return items is not None and len(seen) >= items

    def plainly() -> type[BaseException] | None:
        made = stream(*args)
        try:
            while not enough():
                seen.append(next(made))
        except StopIteration:
            return None
        except Exception as error:
            return type(error)
        finally:
            made.close()
        return None

    async def in_a_task() -> type[BaseException] | None:
        made = stream(*args)
        try:
            while not enough():
                seen.append(await made.__anext__())
        except StopAsyncIteration:
            return None
        except Exception as error:
            return type(error)
        finally:
            await made.aclose()
        return None

    raised = plainly() if colour == "generator" else run(in_a_task())
    return seen, raised


def around(colour: str, *sources: Source, **more: Any) -> Failover[..., Any]:
    targets = [Target(f"t{nth}", source.of(colour)) for nth, source in enumerate(sources)]
    return Failover(targets, **more)


DOWN = ConnectionError("down")
lines = st.lists(st.one_of(st.integers(0, 9), st.just(DOWN)), max_size=4)


def cut(script: Script) -> Script:
    """Up to the first failure: nothing comes after that."""
    at = next((nth for nth, line in enumerate(script) if isinstance(line, Exception)), len(script))
    return script[: at + 1]


@pytest.mark.parametrize("colour", COLOURS)
@given(scripts=st.lists(lines, min_size=2, max_size=4))
def test_the_first_stream_that_gives_an_item_is_the_one_that_is_read(
    colour: str, scripts: list[Script]
) -> None:
    """As the model says, whatever the streams do; each one asked is closed, and nobody after it is asked."""
    sources = [Source(*cut(script)) for script in scripts]
    first, *others = sources
    seen = read(Pipeline(around(colour, *others))(first.of(colour)), colour, "hello")

    expected: Read = ([], ConnectionError)
    asked = 0
    for source in sources:
        asked += 1
        script = list(source.script)
        if script[:1] == [DOWN]:
            continue
        failed = bool(script) and script[-1] is DOWN
        expected = (script[:-1] if failed else script, ConnectionError if failed else None)
        break
    assert seen == expected
    assert [source.asked for source in sources] == [[("hello",)]] * asked + [[]] * (len(sources) - asked)
    assert [source.closed for source in sources] == [1] * asked + [0] * (len(sources) - asked)


@pytest.mark.parametrize("colour", COLOURS)
def test_nobody_is_asked_before_it_is_read(colour: str) -> None:
    """Made, and thrown away: no request."""
    first, other = Source(1), Source(2)
    stream = Pipeline(around(colour, other))(first.of(colour))
    assert read(stream, colour, items=0) == ([], None)
    assert (first.asked, other.asked) == ([], [])


@pytest.mark.parametrize("colour", COLOURS)
def test_leaving_early_closes_the_stream_that_is_read(colour: str) -> None:
    """Whoever it comes from."""
    other = Source(1, 2, 3)
    assert read(Pipeline(around(colour, other))(Source(DOWN).of(colour)), colour, items=1) == ([1], None)
    assert other.closed == 1


@pytest.mark.parametrize("colour", COLOURS)
def test_the_breaker_of_the_wrapped_stream_learns_and_refuses(colour: str) -> None:
    """Its failure before the first item counts; while it is open the target is asked at once; what happens to
    the target's stream proves nothing about it."""
    clock = FakeClock()
    told: list[TargetSwitch] = []
    guard = CircuitBreaker("first", 1, 30, clock=clock)
    first, other = Source(DOWN), Source(1, DOWN)
    pipeline = Pipeline(around(colour, other, on_switch=told.append, clock=clock), guard)
    stream = pipeline(first.of(colour))
    assert read(stream, colour) == ([1], ConnectionError)
    assert guard.state() is CircuitState.OPEN
    assert read(stream, colour) == ([1], ConnectionError)
    assert (len(first.asked), len(other.asked)) == (1, 2)
    assert [(one.target, [passed.name for passed in one.passed]) for one in told] == [
        ("t0", ["your call"])
    ] * 2


@pytest.mark.parametrize("colour", COLOURS)
def test_who_is_asked_is_told_with_everybody_who_was_passed(colour: str) -> None:
    """Once, when it is asked, under its real name."""
    told: list[TargetSwitch] = []
    guard = CircuitBreaker("t0", 1)
    guard.force_open()
    targets = [
        Target("shut", Source(1).of(colour), breaker=guard),
        Target("open", Source(2).of(colour)),
    ]
    pipeline = Pipeline(Failover(targets, on_switch=told.append))
    assert read(pipeline(Source(DOWN).of(colour)), colour) == ([2], None)
    assert [(one.target, [passed.name for passed in one.passed]) for one in told] == [
        ("open", ["your call", "shut"])
    ]


@pytest.mark.parametrize("colour", COLOURS)
def test_with_nobody_left_the_streams_own_error_comes_out(colour: str) -> None:
    """With a note that says why no other was asked."""
    guard = CircuitBreaker("t0", 1)
    guard.force_open()
    target = Target("shut", Source(1).of(colour), breaker=guard)
    mine = ConnectionError("mine")
    assert read(Pipeline(Failover([target]))(Source(mine).of(colour)), colour) == ([], ConnectionError)
    assert any("shut (open)" in note for note in getattr(mine, "__notes__", ()))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("mode", ["observe", "off", "not the provider's"])
def test_when_it_may_not_the_failure_is_raised(colour: str, mode: str) -> None:
    """Only observing tells who would be asked; switched off tells nothing; the caller's bug is his own."""
    told: list[TargetSwitch] = []
    other = Source(1)
    failover = around(colour, other, on_switch=told.append, observe_only=mode == "observe")
    failover.enabled = mode != "off"
    error = DOWN if mode != "not the provider's" else TypeError("a bug")
    assert read(Pipeline(failover)(Source(error).of(colour)), colour) == ([], type(error))
    assert other.asked == []
    assert [(one.target, one.made) for one in told] == ([("t0", False)] if mode == "observe" else [])


@pytest.mark.parametrize("colour", COLOURS)
def test_a_retry_around_it_asks_everybody_again(colour: str) -> None:
    """Before the first item only, and each as often as there are attempts; the deadline is around each
    step."""
    clock = FakeClock()
    first, other = Source(DOWN), Source(DOWN)
    retry = Retry(3, jitter="none", clock=clock, sleep=clock.sleep, asleep=clock.asleep)
    pipeline = Pipeline(Deadline(60, clock=clock), retry, around(colour, other, clock=clock))
    assert read(pipeline(first.of(colour)), colour) == ([], ConnectionError)
    assert (len(first.asked), len(other.asked)) == (3, 3)


def test_what_is_sent_and_thrown_reaches_the_stream_that_is_read() -> None:
    """A generator stays a generator, whichever one it is."""

    def talks() -> Generator[object, object, str]:
        heard = yield "first"
        try:
            yield heard
        except KeyError:
            yield "caught"
        return "end"

    @Pipeline(Failover([Target("t", talks)]))
    def stream() -> Generator[object, object, str]:
        raise DOWN
        yield

    made = stream()
    assert next(made) == "first"
    assert made.send("hello") == "hello"
    assert made.throw(KeyError("x")) == "caught"
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == "end"
    assert stream.__name__ == "stream"


@pytest.mark.parametrize("colour", COLOURS)
def test_a_wrapped_stream_that_asks_for_rest_is_left_alone(colour: str) -> None:
    """For as long as it asked, and no longer."""

    class SlowDownError(Exception):
        status_code = 429
        headers = {"retry-after": "30"}  # noqa: RUF012

    clock = FakeClock()
    first, other = Source(SlowDownError()), Source(1)
    stream = Pipeline(around(colour, other, clock=clock))(first.of(colour))
    assert [read(stream, colour) for _ in range(2)] == [([1], None)] * 2
    assert len(first.asked) == 1
    clock.advance(30)
    read(stream, colour)
    assert len(first.asked) == 2


@pytest.mark.parametrize("colour", COLOURS)
def test_everybody_refusing_is_one_error(colour: str) -> None:
    """The wrapped stream's breaker and the target's are open: its own refusal comes out, nothing is sent."""
    guards = [CircuitBreaker(name, 1) for name in ("a", "b")]
    for guard in guards:
        guard.force_open()
    first, other = Source(1), Source(2)
    failover = Failover([Target("t", other.of(colour), breaker=guards[1])])
    assert read(Pipeline(failover, guards[0])(first.of(colour)), colour) == ([], CircuitOpenError)
    assert (first.asked, other.asked) == ([], [])


def test_a_stream_that_the_deadline_ends_is_closed_at_once() -> None:
    """Not when the garbage collector finds it: its connection is free when the error is raised."""
    clock, closed = FakeClock(), list[str]()

    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("async")

    async def read() -> None:
        made = Pipeline(Deadline(5, clock=clock))(items)()
        assert await made.__anext__() == 1
        clock.advance(5)
        with pytest.raises(DeadlineExceededError):
            await made.__anext__()
        assert closed == ["async"]

    run(read())
