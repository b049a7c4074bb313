"""A call that has not even begun is refused by whatever would guard it, and never silently let through."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest

from techrevati.runtime import (
    Bulkhead,
    CircuitBreaker,
    Pipeline,
    RateLimit,
    Recovery,
    Retry,
    RetryBudget,
    Timeout,
)

POLICIES: dict[str, Callable[[], object]] = {
    "bulkhead": lambda: Bulkhead(1),
    "breaker": lambda: CircuitBreaker("api"),
    "breaker with a window": lambda: CircuitBreaker("api", window_calls=10),
    "rate limit": lambda: RateLimit(60),
    "recovery": Recovery,
    "retry": Retry,
    "retry with a budget": lambda: Retry(budget=RetryBudget()),
    "pipeline": lambda: Pipeline(Retry(), CircuitBreaker("api")),
    "pipeline with a bulkhead": lambda: Pipeline(Bulkhead(1), Retry()),
}
if sys.platform != "emscripten":  # its threads
    POLICIES["timeout"] = lambda: Timeout(30)
    POLICIES["timed pipeline"] = lambda: Pipeline(Timeout(30), Retry(), CircuitBreaker("api"))


class Model:
    """Where methods come from."""

    def items(self, *_: int) -> Iterator[int]:
        yield 1

    async def aitems(self, *_: int) -> AsyncIterator[int]:
        yield 1

    async def answer(self, *_: int) -> int:
        return 1


class Items:
    """Called like a function."""

    def __call__(self, *_: int) -> Iterator[int]:
        yield 1


class AsyncItems:
    async def __call__(self, *_: int) -> AsyncIterator[int]:
        yield 1


def items(*_: int) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("form", ["function", "method", "partial", "object", "partial object"])
def test_a_stream_is_not_called(name: str, form: str) -> None:
    """Its items would come without any guard."""
    fn = {
        "function": items,
        "method": Model().items,
        "partial": partial(items, 2),
        "object": Items(),
        "partial object": partial(Items(), 2),
    }[form]
    policy = POLICIES[name]()
    with pytest.raises(TypeError, match="decorating its generator function"):
        policy.call(fn)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="decorating its generator function"):
        policy.call(AsyncItems() if "object" in form else Model().aitems)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="async function"):
        policy.call(Model().answer)  # type: ignore[attr-defined]
    assert policy.call(len, "abc") == 3, "nothing is held"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_stream_that_somebody_else_made_is_an_answer(name: str) -> None:
    """As a client's method gives one after the request was made."""
    policy = POLICIES[name]()
    for _ in range(2):
        assert list(policy.call(lambda: items(3))) == [1]  # type: ignore[attr-defined]
