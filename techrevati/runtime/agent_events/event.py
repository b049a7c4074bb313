"""One thing that happened to an agent, as an immutable record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from itertools import count
from time import time as now

from techrevati.runtime._core.arguments import member
from techrevati.runtime._core.clock import iso_utc
from techrevati.runtime._core.failure_class import AgentFailureClass
from techrevati.runtime.agent_events.vocabulary import AgentEventName, AgentEventStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

# Each event takes the next number; number and process make its id.  A forked child goes on counting under
# an id of its own, and events it inherited keep theirs: hence the first number of each id.
_numbers = count(1)
_process_ids = [(1, os.urandom(8).hex())]


def _after_fork_in_child() -> None:
    _process_ids.append((next(_numbers), os.urandom(8).hex()))
    del _process_ids[:-64]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

_CONTAINERS = (dict, list, tuple, set)
# Looking a member up on its enum class costs as much as making half an event.
_STARTED = AgentEventName.AGENT_STARTED
_RUNNING = AgentEventStatus.RUNNING


class AgentEvent:
    """One thing that happened to an agent.  Immutable; thread-safe.

    Two events are equal when they say the same, whatever their ``id`` and ``sequence``.

    Args:
        event: What happened.
        status: How things stand now.
        emitted_at: ISO-8601 in UTC; the time of construction when None.
        role, phase, project_id: Who, where and for whom; None when it concerns no single one.
        failure_class: Why it failed, for failures.
        detail: One line for people.
        data: Further facts; containers are copied, to the eighth level.  JSON-serialisable if it is to be
            written.
        id: Unique across processes; made up when None.
        sequence: The event's place in its run, from 1; without a run, its place in this process.
        run_id: The run it belongs to.
        parent_id: The run that started that run; None for a run that nobody started.
    """

    __slots__ = (
        "_data",
        "_detail",
        "_emitted_at",
        "_event",
        "_failure_class",
        "_id",
        "_number",
        "_parent_id",
        "_phase",
        "_project_id",
        "_role",
        "_run_id",
        "_sequence",
        "_status",
    )

    def __init__(
        self,
        event: AgentEventName,
        status: AgentEventStatus,
        emitted_at: str | None = None,
        role: str | None = None,
        phase: str | None = None,
        project_id: str | None = None,
        failure_class: AgentFailureClass | None = None,
        detail: str | None = None,
        data: Mapping[str, object] | None = None,
        id: str | None = None,
        sequence: int | None = None,
        run_id: str | None = None,
        parent_id: str | None = None,
    ) -> None:
        if event.__class__ is not AgentEventName:
            event = member("event", event, AgentEventName)
        if status.__class__ is not AgentEventStatus:
            status = member("status", status, AgentEventStatus)
        self._event = event
        self._status = status
        self._emitted_at: str | float = now() if emitted_at is None else emitted_at
        self._role = role
        self._phase = phase
        self._project_id = project_id
        self._failure_class = failure_class
        self._detail = detail
        self._data = None if data is None else _copied(data)
        self._number = next(_numbers)
        self._id = id
        self._sequence = sequence
        self._run_id = run_id
        self._parent_id = parent_id

    @property
    def event(self) -> AgentEventName:
        """What happened."""
        return self._event

    @property
    def status(self) -> AgentEventStatus:
        """How things stand after it."""
        return self._status

    @property
    def emitted_at(self) -> str:
        """When, as ISO-8601 in UTC."""
        when = self._emitted_at
        return when if isinstance(when, str) else iso_utc(when)

    @property
    def role(self) -> str | None:
        """The agent's role."""
        return self._role

    @property
    def phase(self) -> str | None:
        """The phase of work."""
        return self._phase

    @property
    def project_id(self) -> str | None:
        """The project it is done for."""
        return self._project_id

    @property
    def failure_class(self) -> AgentFailureClass | None:
        """Why it failed."""
        return self._failure_class

    @property
    def detail(self) -> str | None:
        """One line for people."""
        return self._detail

    @property
    def data(self) -> dict[str, object] | None:
        """Further facts; a copy, so that nobody changes the event through it."""
        return None if self._data is None else _copied(self._data)

    @property
    def id(self) -> str:
        """Unique across processes."""
        if self._id is not None:
            return self._id
        process = next(
            (id for first, id in reversed(_process_ids) if first <= self._number), _process_ids[0][1]
        )
        return f"{process}-{self._number:x}"

    @property
    def sequence(self) -> int:
        """Its place in its run, from 1; events without a run are numbered through the process."""
        return self._number if self._sequence is None else self._sequence

    @property
    def run_id(self) -> str | None:
        """The run it belongs to."""
        return self._run_id

    @property
    def parent_id(self) -> str | None:
        """The run that started its run."""
        return self._parent_id

    # --- changed copies ------------------------------------------------------------------------------------

    def _with(self, **changes: object) -> Self:
        copied = object.__new__(type(self))
        for slot in AgentEvent.__slots__:
            setattr(copied, slot, getattr(self, slot))
        for field, value in changes.items():
            setattr(copied, f"_{field}", value)
        return copied

    def with_failure_class(self, failure_class: AgentFailureClass | None) -> Self:
        """The same event with another failure class."""
        return self._with(failure_class=failure_class)

    def with_detail(self, detail: str | None) -> Self:
        """The same event with another detail."""
        return self._with(detail=detail)

    def with_data(self, data: Mapping[str, object] | None) -> Self:
        """The same event with other data."""
        return self._with(data=None if data is None else _copied(data))

    def with_project(self, project_id: str | None) -> Self:
        """The same event for a project."""
        return self._with(project_id=project_id)

    # --- constructors --------------------------------------------------------------------------------------

    @classmethod
    def started(cls, role: str, phase: str) -> Self:
        """The agent of *role* began to work on *phase*."""
        return cls(_STARTED, _RUNNING, None, role, phase)

    @classmethod
    def completed(cls, role: str, phase: str, detail: str | None = None) -> Self:
        """The agent finished its work."""
        return cls(
            AgentEventName.AGENT_COMPLETED, AgentEventStatus.COMPLETED, None, role, phase, detail=detail
        )

    @classmethod
    def failed(
        cls, role: str, phase: str, failure_class: AgentFailureClass, detail: str | None = None
    ) -> Self:
        """The agent cannot go on."""
        return cls(
            AgentEventName.AGENT_FAILED,
            AgentEventStatus.FAILED,
            None,
            role,
            phase,
            None,
            failure_class,
            detail,
        )

    @classmethod
    def phase_started(cls, phase: str) -> Self:
        """A phase of work began."""
        return cls(AgentEventName.PHASE_STARTED, AgentEventStatus.RUNNING, None, None, phase)

    @classmethod
    def gate_passed(cls, phase: str, detail: str | None = None) -> Self:
        """A phase's quality gate was satisfied."""
        return cls(AgentEventName.PHASE_GATE_PASSED, AgentEventStatus.GREEN, None, None, phase, detail=detail)

    @classmethod
    def gate_failed(cls, phase: str, detail: str | None = None) -> Self:
        """A phase's quality gate was not satisfied."""
        return cls(AgentEventName.PHASE_GATE_FAILED, AgentEventStatus.RED, None, None, phase, detail=detail)

    @classmethod
    def recovery_attempted(cls, role: str, phase: str, detail: str | None = None) -> Self:
        """A failure was met with a recovery recipe; nothing is said yet about how that went."""
        return cls(
            AgentEventName.RECOVERY_ATTEMPTED, AgentEventStatus.RUNNING, None, role, phase, detail=detail
        )

    # --- wire form -----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, object]:
        """The wire form: ``event``, ``type`` (the part after the last dot), ``status``, ``emitted_at``,
        then what is not None.  Events of a run also carry ``id``, ``sequence``, ``run_id`` and, if there is
        one, ``parent_id``; an event outside any run looks as it always did."""
        name = self._event.value
        wire: dict[str, object] = {
            "event": name,
            "type": name.rpartition(".")[2],
            "status": self._status.value,
            "emitted_at": self.emitted_at,
        }
        failure_class = self._failure_class
        optional = (
            ("role", self._role),
            ("phase", self._phase),
            ("project_id", self._project_id),
            ("failure_class", None if failure_class is None else failure_class.value),
            ("detail", self._detail),
            ("data", self.data),
        )
        wire.update((key, value) for key, value in optional if value is not None)
        if self._run_id is not None:
            wire.update(id=self.id, sequence=self.sequence, run_id=self._run_id)
            if self._parent_id is not None:
                wire["parent_id"] = self._parent_id
        return wire

    def to_json(self) -> str:
        """:meth:`to_dict` as one line of JSON; values that JSON does not know are written as their
        ``repr``, cut to a bounded length and without credentials."""
        import json

        wire = self.to_dict()
        try:
            return json.dumps(wire, ensure_ascii=False, default=_as_text, allow_nan=False)
        except ValueError:  # NaN and infinity are no JSON
            text = json.dumps(wire, default=_as_text)
            return json.dumps(json.loads(text, parse_constant=str), ensure_ascii=False)

    @classmethod
    def from_dict(cls, wire: Mapping[str, object]) -> Self:
        """The event that *wire* describes; keys it does not know are ignored.

        Raises:
            ValueError: A field is missing or has a wrong value; the text names the field.
        """
        from techrevati.runtime.agent_events.parsing import parsed

        return parsed(cls, wire)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """The event that a JSON object describes.

        Raises:
            ValueError: Not JSON, not an object, or a field is wrong.
        """
        import json

        wire = json.loads(line)
        if not isinstance(wire, dict):
            raise ValueError(f"an event must be a JSON object, got {type(wire).__name__}")
        return cls.from_dict(wire)

    def to_otel_attributes(self) -> dict[str, str]:
        """OpenTelemetry attributes; those of absent fields are absent."""
        attributes = {
            "agent.event": self._event.value,
            "agent.event.status": self._status.value,
            "agent.event.timestamp": self.emitted_at,
            "agent.role": self._role,
            "agent.phase": self._phase,
            "agent.project_id": self._project_id,
            "agent.failure_class": None if self._failure_class is None else self._failure_class.value,
            "agent.detail": self._detail,
        }
        return {name: value for name, value in attributes.items() if value is not None}

    # --- what a value does ---------------------------------------------------------------------------------

    def _said(self) -> tuple[object, ...]:
        return (
            self._event,
            self._status,
            self.emitted_at,
            self._role,
            self._phase,
            self._project_id,
            self._failure_class,
            self._detail,
            self._data,
            self._run_id,
            self._parent_id,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AgentEvent):
            return NotImplemented
        return self._said() == other._said()

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        facts = {slot: getattr(self, slot) for slot in AgentEvent.__slots__}
        facts["_id"] = self.id  # the number alone means nothing in another process
        facts["_sequence"] = self.sequence
        return None, facts

    def __hash__(self) -> int:
        return hash((self._event, self.emitted_at, self._role, self._phase, self._run_id))

    def __repr__(self) -> str:
        facts = [f"event={self._event.value!r}", f"status={self._status.value!r}"]
        for name in ("role", "phase", "project_id", "failure_class", "detail", "data", "run_id"):
            value = getattr(self, name)
            if value is not None:
                shown = value.value if isinstance(value, Enum) else _as_text(value)
                facts.append(f"{name}={shown}")
        return f"{type(self).__name__}({', '.join(facts)}, emitted_at={self.emitted_at!r})"


def _copied(data: Mapping[str, object], depth: int = 8) -> dict[str, object]:
    """Containers are copied, *depth* levels deep; what they hold is kept as it is."""
    if not isinstance(data, Mapping):
        raise TypeError(f"data must be a mapping, got {data!r}")
    return {
        key: _copy(value, depth - 1) if isinstance(value, _CONTAINERS) else value
        for key, value in data.items()
    }


def _copy(value: object, depth: int) -> object:
    if depth <= 0:
        return value
    if isinstance(value, Mapping):
        return _copied(value, depth)
    if type(value) is list:
        return [_copy(item, depth - 1) for item in value]
    if type(value) is tuple:
        return tuple(_copy(item, depth - 1) for item in value)
    return set(value) if type(value) is set else value


def _as_text(value: object) -> str:
    from techrevati.runtime._core.scrub import scrubbed

    return scrubbed(repr(value))
