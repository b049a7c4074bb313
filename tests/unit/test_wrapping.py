"""A function of any colour inside a guard looks and behaves as before."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

import pytest

from techrevati.runtime import (
    Bulkhead,
    CircuitBreaker,
    Hedge,
    Pipeline,
    RateLimit,
    Recovery,
    Retry,
    Timeout,
)
from techrevati.runtime._core.unbegun import CoroutineGiven
from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, GENERATOR, PLAIN, colour, wrapped
from techrevati.runtime.stores import MemoryStore
from techrevati.runtime.testing import run


class FailedError(Exception):
    """What the function raises."""


class Log:
    """A guard that writes down what it saw."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def __enter__(self) -> Log:
        self.seen.append("in")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.seen.append("out" if error is None else type(error))

    def returned(self, value: object) -> None:
        self.seen.append(value)


@pytest.fixture
def log() -> Log:
    return Log()


def plain(a: int, /, b: int = 2, *, c: str = "c") -> tuple[int, int, str]:
    """The doc."""
    return a, b, c


async def task(a: int, b: int = 2) -> tuple[int, int]:
    return a, b


def stream(n: int) -> Generator[int, str, str]:
    got = []
    for i in range(n):
        got.append((yield i))
    return f"sent {got}"


async def astream(n: int) -> AsyncGenerator[int, str]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


class Callables:
    """One object of every kind that is called."""

    def method(self) -> None: ...

    async def amethod(self) -> None: ...

    @staticmethod
    async def static() -> None: ...

    @classmethod
    async def of_class(cls) -> None: ...

    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (plain, PLAIN),
        (len, PLAIN),
        (lambda: None, PLAIN),
        (task, COROUTINE),
        (stream, GENERATOR),
        (astream, ASYNC_GENERATOR),
        (functools.partial(task, 1), COROUTINE),
        (functools.partial(functools.partial(astream), 1), ASYNC_GENERATOR),
        (Callables().method, PLAIN),
        (Callables().amethod, COROUTINE),
        (Callables.static, COROUTINE),
        (Callables.of_class, COROUTINE),
        (Callables(), COROUTINE),
        (functools.partial(Callables()), COROUTINE),
    ],
)
def test_colour(fn: Callable[..., object], expected: str) -> None:
    """Partials, methods and callable objects have the colour of the function inside."""
    assert colour(fn) == expected


@pytest.mark.parametrize(
    "fn", [int, Callables, staticmethod(task), classmethod(plain), property(plain), 3, None]
)
def test_what_cannot_be_wrapped_is_refused(fn: Any, log: Log) -> None:
    """A class, a descriptor or no function at all is a TypeError at decoration, with advice."""
    with pytest.raises(TypeError, match="decorat"):
        wrapped(fn, lambda: log)


@pytest.mark.parametrize("fn", [plain, task, stream, astream])
def test_a_wrapped_function_looks_the_same(fn: Callable[..., object], log: Log) -> None:
    """Name, doc, signature and colour stay; ``inspect`` agrees about what it is."""
    around = wrapped(fn, lambda: log)
    assert around.__name__ == fn.__name__
    assert around.__doc__ == fn.__doc__
    assert inspect.signature(around) == inspect.signature(fn)
    for question in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert question(around) == question(fn)


def test_arguments_and_values_pass(log: Log) -> None:
    """The guard sees the value, the caller gets it."""
    assert wrapped(plain, lambda: log)(1, 3, c="d") == (1, 3, "d")
    assert run(wrapped(task, lambda: log)(4)) == (4, 2)
    assert log.seen == ["in", (1, 3, "d"), "out", "in", (4, 2), "out"]


@pytest.mark.parametrize("kind", [FailedError, asyncio.CancelledError, KeyboardInterrupt])
def test_exceptions_pass(kind: type[BaseException], log: Log) -> None:
    """The very exception comes out of every colour, and the guard sees it."""
    error = kind()

    def fail() -> None:
        raise error

    async def afail() -> None:
        raise error

    def failing_stream() -> Generator[int, None, None]:
        yield 1
        raise error

    async def failing_astream() -> AsyncGenerator[int, None]:
        yield 1
        raise error

    async def main(stream: AsyncGenerator[int, None]) -> list[int]:
        return [item async for item in stream]

    for call in (
        lambda: wrapped(fail, lambda: log)(),
        lambda: drive(wrapped(afail, lambda: log)()),
        lambda: list(wrapped(failing_stream, lambda: log)()),
        lambda: drive(main(wrapped(failing_astream, lambda: log)())),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value is error
    assert log.seen == ["in", kind] * 4


def drive(coroutine: Coroutine[Any, Any, object]) -> object:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


# --- plain functions that make coroutines -------------------------------------------------------------------


def decorated_as_sdks_do(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: object, **kwargs: object) -> object:
        return fn(*args, **kwargs)

    return wrapper


def test_a_plain_decorator_around_async_def_is_guarded_to_the_end(log: Log) -> None:
    """The guard stays around until the coroutine ends: its failure is not taken for a success."""

    @decorated_as_sdks_do
    async def afail() -> None:
        await asyncio.sleep(1)
        raise FailedError

    around = wrapped(afail, lambda: log)()
    assert log.seen == ["in", CoroutineGiven], "nothing is held for what may never be awaited"
    with pytest.raises(FailedError):
        run(around)
    assert run(wrapped(decorated_as_sdks_do(task), lambda: log)(1)) == (1, 2)
    assert log.seen[2:] == ["in", FailedError, "in", CoroutineGiven, "in", (1, 2), "out"]


@pytest.mark.filterwarnings("error")
def test_a_coroutine_that_is_refused_when_it_is_awaited_is_closed() -> None:
    """It never ran, and nobody is warned that it was forgotten."""
    guards = [Log()]

    around = wrapped(decorated_as_sdks_do(task), guards.pop)(1)
    with pytest.raises(IndexError):
        run(around)


def run_here(fn: Callable[..., Any]) -> Callable[..., Any]:
    """What makes a plain function of an async one."""

    @functools.wraps(fn)
    def wrapper(*args: object, **kwargs: object) -> object:
        return run(fn(*args, **kwargs))

    return wrapper


DECORATORS: dict[str, Callable[[], Callable[[Any], Any]]] = {
    "breaker": lambda: CircuitBreaker("api"),
    "shared breaker": lambda: CircuitBreaker("api", store=MemoryStore()),
    "bulkhead": lambda: Bulkhead(1),
    "rate limit": lambda: RateLimit(60, burst_requests=4),
    "recovery": Recovery,
    "retry": Retry,
    "pipeline": lambda: Pipeline(Retry(), CircuitBreaker("api"), Bulkhead(1)),
}
if sys.platform != "emscripten":  # its threads
    DECORATORS["timeout"] = lambda: Timeout(30)
    DECORATORS["hedge"] = lambda: Hedge(idempotent=True, delay_seconds=30)


@pytest.mark.parametrize("name", DECORATORS)
def test_a_plain_function_around_async_def_stays_what_it_is(name: str) -> None:
    """One that gives the coroutine is awaited, in a loop and before there is one; one that runs it is not."""
    decorate = DECORATORS[name]()
    for _ in range(2):
        assert decorate(run_here(task))(1, b=3) == (1, 3)
    given = decorate(decorated_as_sdks_do(task))

    async def main() -> object:
        return await given(1, b=4)

    assert run(given(1, b=3)) == run(given(1, b=3)) == (1, 3)
    assert run(main()) == (1, 4)


def test_a_rate_limit_counts_such_a_call_once() -> None:
    """What was taken before it was known that nothing ran is given back."""
    limit = RateLimit(60, burst_requests=4, clock=lambda: 0.0)
    assert run(limit(decorated_as_sdks_do(task))(1)) == (1, 2)
    assert limit.snapshot().requests == 3


# --- generators ---------------------------------------------------------------------------------------------


def test_a_generator_is_guarded_from_its_first_item_to_its_end(log: Log) -> None:
    """Nothing before it is started; send and the return value pass."""
    items = wrapped(stream, lambda: log)(2)
    assert log.seen == []
    assert next(items) == 0
    assert items.send("a") == 1
    with pytest.raises(StopIteration) as end:
        items.send("b")
    assert end.value.value == "sent ['a', 'b']"
    assert log.seen == ["in", "out"]


def test_closing_a_generator_early_reaches_both(log: Log) -> None:
    """The generator cleans up, the guard sees GeneratorExit."""

    def cleaning() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            log.seen.append("clean")

    items = wrapped(cleaning, lambda: log)()
    next(items)
    items.close()
    assert log.seen == ["in", "clean", GeneratorExit]


def test_throwing_into_a_generator_reaches_it(log: Log) -> None:
    """It may catch what was thrown and go on."""

    def catching() -> Generator[str, None, str]:
        try:
            yield "first"
        except FailedError:
            yield "caught"
        return "end"

    items = wrapped(catching, lambda: log)()
    next(items)
    assert items.throw(FailedError()) == "caught"
    with pytest.raises(StopIteration, match="end"):
        next(items)
    assert log.seen == ["in", "out"]


def test_async_generators_take_asend_athrow_and_aclose(log: Log) -> None:
    """What is sent and thrown reaches the generator inside; closing early cleans it up before the guard
    ends."""

    async def talking() -> AsyncGenerator[str, str]:
        try:
            got = yield "ready"
            try:
                got = yield f"got {got}"
            except FailedError:
                got = yield "caught"
            yield f"then {got}"
        finally:
            await asyncio.sleep(0)
            log.seen.append("clean")

    async def main() -> list[str]:
        said = []
        items = wrapped(talking, lambda: log)()
        said.append(await items.__anext__())
        said.append(await items.asend("a"))
        said.append(await items.athrow(FailedError()))
        said.append(await items.asend("b"))
        await items.aclose()
        with pytest.raises(StopAsyncIteration):
            await items.__anext__()
        return said

    assert run(main()) == ["ready", "got a", "caught", "then b"]
    assert log.seen == ["in", "clean", GeneratorExit]


def test_an_async_generator_that_ends_on_a_throw_ends(log: Log) -> None:
    """``athrow`` into one that then returns is the end of the stream, not an error."""

    async def ending() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except FailedError:
            return

    async def main() -> None:
        items = wrapped(ending, lambda: log)()
        await items.__anext__()
        with pytest.raises(StopAsyncIteration):
            await items.athrow(FailedError())

    run(main())
    assert log.seen == ["in", "out"]


def test_cancelling_the_reader_of_a_stream_cancels_the_stream(log: Log) -> None:
    """The inner generator sees the cancellation where it waits, and the guard sees it too."""

    async def hanging() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.seen.append("cancelled")
            raise

    async def main() -> None:
        async def reading() -> list[int]:
            return [item async for item in wrapped(hanging, lambda: log)()]

        reader = asyncio.create_task(reading())
        await asyncio.sleep(1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    run(main())
    assert log.seen == ["in", "cancelled", asyncio.CancelledError]
