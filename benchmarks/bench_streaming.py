"""A watched stream: what stamps and one timer add to each chunk.

The floor is the same stream without a watch.  The aim is what a chunk costs beyond it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, compare_all
from techrevati.runtime.streaming import watch

CHUNKS = 2_000
ADDED_S = 1e-6
LIMITS = {"first_token_seconds": 30.0, "idle_seconds": 10.0}


def plain() -> Iterator[str]:
    """A stream that is never waited for."""
    for _ in range(CHUNKS):
        yield "chunk"


async def async_plain() -> AsyncIterator[str]:
    """:func:`plain` for tasks."""
    for _ in range(CHUNKS):
        yield "chunk"


def watched() -> Iterator[str]:
    """The same with both limits."""
    return watch(plain(), **LIMITS)


def async_watched() -> AsyncIterator[str]:
    """:func:`watched` for tasks."""
    return watch(async_plain(), **LIMITS)


def comparisons() -> Iterator[Comparison]:
    """Ours over the floor, per chunk."""

    def subject(name: str, make: Callable[[], Any]) -> Subject:
        names = {"make": make, "used_up": deque}
        return Subject(name, "result = used_up(make(), 1)[0]", names, "chunk", CHUNKS)

    def asubject(name: str, make: Callable[[], Any]) -> Subject:
        code = "async for result in make():\n    pass"
        return Subject(name, code, {"make": make}, "chunk", CHUNKS, awaits=True)

    yield Comparison("watched stream, per chunk", subject("floor", plain), [subject("ours", watched)])
    yield Comparison(
        "async watched stream, per chunk",
        asubject("floor", async_plain),
        [asubject("ours", async_watched)],
    )


def added(figures: list[Figure]) -> list[Figure]:
    """What the watch adds to each chunk, in seconds, with its aim."""
    return [
        Figure(
            figure.what.replace("per chunk", "added per chunk"),
            "ours",
            seconds=figure.seconds - figure.floor_seconds,
            aim=Aim(ADDED_S, "s"),
        )
        for figure in figures
        if figure.seconds is not None and figure.floor_seconds is not None
    ]


def run(effort: Effort, *, peers: bool = True) -> list[Figure]:
    """Every figure; there is no peer that watches streams."""
    figures = compare_all(comparisons(), effort)
    return [*figures, *added(figures)]
