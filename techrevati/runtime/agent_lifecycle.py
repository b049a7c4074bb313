"""Decide which change of an agent's state is legal, and know every worker of a process.

The legal moves are one table.  A worker keeps a bounded history of its moves; a registry keeps a bounded
number of workers and lets go of terminal ones first.
"""

from __future__ import annotations

import os
from collections import deque
from enum import Enum
from time import time as now

from techrevati.runtime._core import arguments
from techrevati.runtime._core.clock import iso_utc
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

announce("agent_lifecycle")

HISTORY_CAPACITY = 256
DEFAULT_REGISTRY_CAPACITY = 10_000


class AgentStatus(str, Enum):
    """Where an agent is in its life."""

    IDLE = "idle"
    INITIALIZING = "initializing"
    WAITING_FOR_INPUT = "waiting_for_input"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS = frozenset({AgentStatus.FAILED, AgentStatus.CANCELLED})
_LEGAL_MOVES: dict[AgentStatus, frozenset[AgentStatus]] = {
    AgentStatus.IDLE: _ENDS | {AgentStatus.INITIALIZING},
    AgentStatus.INITIALIZING: _ENDS | {AgentStatus.WAITING_FOR_INPUT, AgentStatus.RUNNING},
    AgentStatus.WAITING_FOR_INPUT: _ENDS | {AgentStatus.RUNNING},
    AgentStatus.RUNNING: _ENDS | {AgentStatus.WAITING_FOR_INPUT, AgentStatus.COMPLETED},
    AgentStatus.COMPLETED: frozenset(),
    AgentStatus.FAILED: frozenset(),
    AgentStatus.CANCELLED: frozenset(),
}
_IDLE = AgentStatus.IDLE
_FAILED = AgentStatus.FAILED


class InvalidTransitionError(TechrevatiError, ValueError):
    """A worker was asked for a move that is not legal; it stays where it was.

    Attributes:
        current: The state it is in.
        target: The state it was asked to enter.
    """

    def __init__(self, current: AgentStatus, target: AgentStatus) -> None:
        super().__init__(current, target)
        self.current = current
        self.target = target

    def __str__(self) -> str:
        legal = sorted(status.value for status in _LEGAL_MOVES[self.current])
        choice = f"only to {', '.join(legal)}" if legal else "it is terminal"
        return f"cannot move from {self.current.value} to {self.target.value}: {choice}"


class UnknownWorkerError(TechrevatiError, KeyError):
    """The registry does not know that worker, or knows it no more.

    Attributes:
        worker_id: Who was asked for.
    """

    def __init__(self, worker_id: str) -> None:
        super().__init__(worker_id)
        self.worker_id = worker_id

    def __str__(self) -> str:
        return f"no worker {self.worker_id!r} in the registry"


class AgentWorkerEvent:
    """One move in a worker's history.  Immutable."""

    __slots__ = ("_detail", "_kind", "_seq", "_status", "_when")

    def __init__(
        self, seq: int, kind: str, status: AgentStatus, detail: str | None, timestamp: str | float
    ) -> None:
        self._seq = seq
        self._kind = kind
        self._status = status
        self._detail = detail
        self._when = timestamp

    @property
    def seq(self) -> int:
        """Its place in the worker's life, from 1."""
        return self._seq

    @property
    def kind(self) -> str:
        """What sort of entry it is: ``"transition"``."""
        return self._kind

    @property
    def status(self) -> AgentStatus:
        """The state the worker entered."""
        return self._status

    @property
    def detail(self) -> str | None:
        """One line for people."""
        return self._detail

    @property
    def timestamp(self) -> str:
        """When, as ISO-8601 in UTC; made into text when read."""
        return self._when if isinstance(self._when, str) else iso_utc(self._when)

    def to_dict(self) -> dict[str, object]:
        """The move as plain values."""
        return {
            "seq": self._seq,
            "kind": self._kind,
            "status": self._status.value,
            "detail": self._detail,
            "timestamp": self.timestamp,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentWorkerEvent) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self._seq, self._status))

    def __repr__(self) -> str:
        return f"AgentWorkerEvent({self._seq}, {self._status.value!r}, detail={self._detail!r})"


class AgentWorker:
    """One agent at work: its state, how it came there, and what went wrong last.  Thread-safe.

    Args:
        worker_id: Its name in a registry; not empty.
        role, phase: What it does and where; not empty.
        project_id: For whom; None for nobody in particular.

    Attributes:
        retry_count: Retries so far; kept by whoever retries.
        last_error: ``{"message", "timestamp"}`` of the last failure that had a detail, else None.
        provider_used: The provider that served it last, if anyone said so.

    The last ``HISTORY_CAPACITY`` moves are kept; ``seq`` goes on counting.
    """

    __slots__ = (
        "__weakref__",
        "_created",
        "_history",
        "_legal",
        "_lock",
        "_moves",
        "_on_terminal",
        "_status",
        "_updated",
        "last_error",
        "phase",
        "project_id",
        "provider_used",
        "retry_count",
        "role",
        "worker_id",
    )

    def __init__(self, worker_id: str, role: str, phase: str, project_id: str | None = None) -> None:
        self.worker_id: str = arguments.text("worker_id", worker_id)
        self.role: str = arguments.text("role", role)
        self.phase: str = arguments.text("phase", phase)
        self.project_id: str | None = project_id
        self.retry_count: int = 0
        self.last_error: dict[str, str] | None = None
        self.provider_used: str | None = None
        self._status = _IDLE
        self._legal = _LEGAL_MOVES[_IDLE]
        self._moves = 0
        self._history: deque[AgentWorkerEvent] = deque(maxlen=HISTORY_CAPACITY)
        self._lock = fork_safe_lock()
        self._created = self._updated = now()
        self._on_terminal: Callable[[AgentWorker], None] | None = None

    @property
    def status(self) -> AgentStatus:
        """The state it is in."""
        return self._status

    @property
    def events(self) -> list[AgentWorkerEvent]:
        """A copy of its last moves, oldest first."""
        with self._lock:
            return list(self._history)

    @property
    def created_at(self) -> str:
        """When it was made, as ISO-8601 in UTC."""
        return iso_utc(self._created)

    @property
    def updated_at(self) -> str:
        """When it last moved, as ISO-8601 in UTC."""
        return iso_utc(self._updated)

    @property
    def is_terminal(self) -> bool:
        """True when no move is legal any more."""
        return not self._legal

    def transition(self, new_status: AgentStatus, detail: str | None = None) -> AgentWorkerEvent:
        """Move to *new_status* and remember it.

        Raises:
            InvalidTransitionError: The move is not legal; nothing has changed.
            ValueError: *new_status* is no status.
        """
        if new_status.__class__ is not AgentStatus:
            new_status = arguments.member("new_status", new_status, AgentStatus)
        self._lock.acquire()  # not ``with``: that costs twice as much, and this runs at every move
        try:
            if new_status not in self._legal:
                raise InvalidTransitionError(self._status, new_status)
            self._moves = seq = self._moves + 1
            self._updated = when = now()
            move = AgentWorkerEvent(seq, "transition", new_status, detail, when)
            self._status = new_status
            self._legal = legal = _LEGAL_MOVES[new_status]
            self._history.append(move)
        finally:
            self._lock.release()
        if not legal:
            if new_status is _FAILED and detail is not None:
                self.last_error = {"message": detail, "timestamp": move.timestamp}
            if self._on_terminal is not None:
                self._on_terminal(self)
        return move

    def to_dict(self) -> dict[str, object]:
        """The worker as plain values, its kept moves included."""
        return {
            "worker_id": self.worker_id,
            "role": self.role,
            "phase": self.phase,
            "project_id": self.project_id,
            "status": self._status.value,
            "retry_count": self.retry_count,
            "last_error": self.last_error,
            "provider_used": self.provider_used,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "events": [move.to_dict() for move in self.events],
        }

    def __repr__(self) -> str:
        return f"AgentWorker({self.worker_id!r}, {self._status.value})"


class AgentRegistry:
    """The workers of a process.  Thread-safe and bounded.

    A full registry makes room for a new worker by forgetting the one that became terminal first; only when
    none is terminal, the oldest worker (and says so in the log).  Forgetting changes nothing about the
    worker object itself.

    Args:
        capacity: Workers kept, >= 1.
    """

    def __init__(self, capacity: int = DEFAULT_REGISTRY_CAPACITY) -> None:
        self.capacity: int = arguments.count("capacity", capacity, minimum=1)
        self._lock = fork_safe_lock()
        self._workers: dict[str, AgentWorker] = {}  # in order of creation
        self._terminal: dict[str, None] = {}  # in order of their end

    def create(self, role: str, phase: str, project_id: str | None = None) -> AgentWorker:
        """A new IDLE worker with an id of its own."""
        arguments.text("role", role)
        arguments.text("phase", phase)
        with self._lock:
            while (worker_id := f"{role}-{phase}-{os.urandom(4).hex()}") in self._workers:
                pass
            worker = AgentWorker(worker_id, role, phase, project_id)
            worker._on_terminal = self._note_terminal
            evicted = self._evicted_locked()
            self._workers[worker_id] = worker
        if evicted is not None and not evicted.is_terminal:
            logger("agent_lifecycle").warning(
                "the registry is full (%d): %r was forgotten while active", self.capacity, evicted
            )
        return worker

    def get(self, worker_id: str) -> AgentWorker | None:
        """The worker of that id; None when unknown (or forgotten)."""
        return self._workers.get(worker_id)

    def transition(self, worker_id: str, status: AgentStatus, detail: str | None = None) -> AgentWorkerEvent:
        """Move the worker of that id.

        Raises:
            UnknownWorkerError: No such worker (a KeyError).
            InvalidTransitionError: The move is not legal.
        """
        worker = self._workers.get(worker_id)
        if worker is None:
            raise UnknownWorkerError(worker_id)
        return worker.transition(status, detail)

    def list_active(self) -> list[AgentWorker]:
        """The workers that are not terminal, oldest first."""
        return [worker for worker in self._all() if not worker.is_terminal]

    def get_by_role_phase(self, role: str, phase: str) -> AgentWorker | None:
        """The oldest worker of *role* in *phase* that is not terminal, else None."""
        for worker in self._all():
            if worker.role == role and worker.phase == phase and not worker.is_terminal:
                return worker
        return None

    def get_by_project(self, project_id: str) -> list[AgentWorker]:
        """Every kept worker of a project, oldest first."""
        return [worker for worker in self._all() if worker.project_id == project_id]

    def clear(self) -> None:
        """Forget every worker."""
        with self._lock:
            self._workers.clear()
            self._terminal.clear()

    def __len__(self) -> int:
        return len(self._workers)

    def _all(self) -> list[AgentWorker]:
        with self._lock:
            return list(self._workers.values())

    def _note_terminal(self, worker: AgentWorker) -> None:
        with self._lock:
            if worker.worker_id in self._workers:
                self._terminal[worker.worker_id] = None

    def _evicted_locked(self) -> AgentWorker | None:
        if len(self._workers) < self.capacity:
            return None
        worker_id = next(iter(self._terminal), None) or next(iter(self._workers))
        self._terminal.pop(worker_id, None)
        return self._workers.pop(worker_id)
