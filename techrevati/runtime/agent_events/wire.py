"""What is written of an event, and the event that is read from it."""

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


def written(event: AgentEvent) -> dict[str, object]:
    """The wire form of *event*."""
    name = event._event.value
    wire: dict[str, object] = {
        "event": name,
        "type": name.rpartition(".")[2],
        "status": event._status.value,
        "emitted_at": event.emitted_at,
    }
    failure_class = event._failure_class
    optional = (
        ("role", event._role),
        ("phase", event._phase),
        ("project_id", event._project_id),
        ("failure_class", None if failure_class is None else failure_class.value),
        ("detail", event._detail),
        ("data", event.data),
    )
    wire.update((key, value) for key, value in optional if value is not None)
    if event._run_id is not None:
        wire.update(id=event.id, sequence=event.sequence, run_id=event._run_id)
        if event._parent_id is not None:
            wire["parent_id"] = event._parent_id
    return wire


def json_line(wire: dict[str, object]) -> str:
    """A wire form as one line of JSON."""
    import json

    try:
        return json.dumps(wire, ensure_ascii=False, default=_as_text, allow_nan=False)
    except ValueError:  # NaN and infinity are no JSON
        text = json.dumps(wire, default=_as_text)
        return json.dumps(json.loads(text, parse_constant=str), ensure_ascii=False)


def read(cls: type[Event], wire: Mapping[str, object]) -> Event:
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


def otel_attributes(event: AgentEvent) -> dict[str, str]:
    """What a span says of *event*."""
    attributes = {
        "agent.event": event._event.value,
        "agent.event.status": event._status.value,
        "agent.event.timestamp": event.emitted_at,
        "agent.role": event._role,
        "agent.phase": event._phase,
        "agent.project_id": event._project_id,
        "agent.failure_class": None if event._failure_class is None else event._failure_class.value,
        "agent.detail": event._detail,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _as_text(value: object) -> str:
    from techrevati.runtime._core.scrub import scrubbed

    return scrubbed(repr(value))


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
