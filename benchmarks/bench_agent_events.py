"""An event made and put into a full ring."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import (
    Aim,
    Comparison,
    Effort,
    Figure,
    Subject,
    WrongAnswerError,
    answer,
    compare_all,
    floor,
)
from techrevati.runtime.agent_events import AgentEvent
from techrevati.runtime.sinks import DEFAULT_RING_CAPACITY, RingBufferEventSink

AIM = Aim(14)


def comparisons() -> Iterator[Comparison]:
    """Ours over the floor."""
    ring = RingBufferEventSink()
    for _ in range(DEFAULT_RING_CAPACITY):
        ring.emit(AgentEvent.started("writer", "outline"))

    def kept() -> str:
        last, dropped = ring.events[-1], ring.dropped
        if (last.role, last.phase, last.to_dict()["type"], dropped) != ("researcher", "draft", "started", 1):
            raise WrongAnswerError(f"the ring ends with {last!r} and dropped {dropped}")
        if AgentEvent.from_json(last.to_json()) != last:
            raise WrongAnswerError(f"{last!r} changes on its way through JSON")
        return ""

    yield Comparison(
        "event made and put into a ring",
        Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1),
        [
            Subject(
                "ours",
                "result = ring.emit(AgentEvent.started('researcher', 'draft'))",
                {"ring": ring, "AgentEvent": AgentEvent},
                check=kept,
            )
        ],
        AIM,
    )


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun; no peer has one like it."""
    return compare_all(comparisons(), effort)
