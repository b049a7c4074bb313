"""Read by mypy and pyright, never run: what a stranger's type checker must conclude."""

from __future__ import annotations

from typing import assert_type

from techrevati.runtime import AsyncCircuitBreaker, CircuitBreaker, Orchestrator, UsageSnapshot


def add(a: int, b: str = "") -> float:
    return a + len(b)


async def fetch(url: str, *, retries: int) -> bytes:
    return url.encode() * retries


def breaker_keeps_signatures(breaker: CircuitBreaker) -> None:
    assert_type(breaker.call(add, 1, b="x"), float)
    breaker.call(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    breaker.call(add, 1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def async_breaker_keeps_signatures(breaker: AsyncCircuitBreaker) -> None:
    assert_type(await breaker.call(fetch, "u", retries=2), bytes)
    await breaker.call(fetch, "u", retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await breaker.is_open(), bool)


def session_keeps_result_types(orchestrator: Orchestrator) -> None:
    with orchestrator.session() as session:
        assert_type(session.run_turn(lambda: "answer"), tuple[str, UsageSnapshot])
        assert_type(session.run_tool("search", lambda: [1, 2]), list[int])


async def async_session_keeps_result_types(orchestrator: Orchestrator) -> None:
    async with orchestrator.asession() as session:
        result, usage = await session.arun_turn(lambda: fetch("u", retries=1))
        assert_type(result, bytes)
        assert_type(usage, UsageSnapshot)
        assert_type(await session.pause_for_input("go on?"), str)
