"""The event that a wire form describes, or an error that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from techrevati.runtime._core.failure_class import AgentFailureClass
from techrevati.runtime.agent_events.vocabulary import AgentEventName, AgentEventStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from techrevati.runtime.agent_events.event import AgentEvent

    E = TypeVar("E", bound=Enum)
    Event = TypeVar("Event", bound=AgentEvent)


def parsed(cls: type[Event], wire: Mapping[str, object]) -> Event:
    """The event of class *cls* that *wire* describes."""
    status = _member(AgentEventStatus, wire, "status")
    failure_class = None
    if wire.get("failure_class") is not None:
        failure_class = _member(AgentFailureClass, wire, "failure_class")
    data = wire.get("data")
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"data must be an object, got {data!r}")
    sequence = wire.get("sequence")
    if sequence is not None and (not isinstance(sequence, int) or isinstance(sequence, bool)):
        raise ValueError(f"sequence must be an integer, got {sequence!r}")
    return cls(
        _member(AgentEventName, wire, "event"),
        status,
        _text(wire, "emitted_at"),
        _text(wire, "role"),
        _text(wire, "phase"),
        _text(wire, "project_id"),
        failure_class,
        _text(wire, "detail"),
        data,
        id=_text(wire, "id"),
        sequence=sequence,
        run_id=_text(wire, "run_id"),
        parent_id=_text(wire, "parent_id"),
    )


def _text(wire: Mapping[str, object], field: str) -> str | None:
    value = wire.get(field)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{field} must be a string, got {value!r}")
    return value


def _member(kind: type[E], wire: Mapping[str, object], field: str) -> E:
    if field not in wire:
        raise ValueError(f"{field} is missing")
    try:
        return kind(wire[field])
    except ValueError:
        allowed = ", ".join(str(member.value) for member in kind)
        raise ValueError(f"{field} must be one of {allowed}; got {wire[field]!r}") from None
