"""Where events and usage go: nowhere, a ring, a JSONL file, the program's log, or several places.

A sink takes one record and must not fail the run: those here handle their own errors, never block for long
and count in ``dropped`` what they could not keep.  Anything with the right method is a sink.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime._core.scrub import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from io import FileIO
    from logging import Logger
    from os import PathLike
    from typing import Any, Self

    from techrevati.runtime.agent_events import AgentEvent, AgentEventName
    from techrevati.runtime.usage import UsageSnapshot

T = TypeVar("T")
S = TypeVar("S")

announce("sinks")

DEFAULT_RING_CAPACITY = 1000


@runtime_checkable
class EventSink(Protocol):
    """Takes events; called from any thread."""

    def emit(self, event: AgentEvent) -> None:
        """Take one event; should neither raise nor block."""
        ...


@runtime_checkable
class UsageSink(Protocol):
    """Takes what calls used; called from any thread."""

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Take the usage of one call of *model* and its cost in US dollars; should neither raise nor
        block."""
        ...


class NoopEventSink:
    """Forgets every event."""

    __slots__ = ()

    @property
    def dropped(self) -> int:
        """0: nothing was promised to be kept."""
        return 0

    def emit(self, event: AgentEvent) -> None:
        """Do nothing."""


class NoopUsageSink:
    """Forgets all usage."""

    __slots__ = ()

    @property
    def dropped(self) -> int:
        """0: nothing was promised to be kept."""
        return 0

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Do nothing."""


class _Ring(Generic[T]):
    """The newest items, the oldest dropped first, with an exact count of the dropped ones.

    Putting an item in takes no lock: a bounded deque appends atomically, and ``itertools.count`` counts
    atomically.  Readers, who are rare, pay for that: to read the counter they must advance it.
    """

    __slots__ = ("_append", "_cleared", "_lock", "_looks", "_ring", "_seen", "capacity")

    def __init__(self, capacity: int = DEFAULT_RING_CAPACITY) -> None:
        self.capacity: int = arguments.count("capacity", capacity, minimum=1)
        self._ring: deque[T] = deque(maxlen=self.capacity)
        self._append = self._ring.append
        self._seen = count()
        self._looks = 0  # numbers of the counter that readers took
        self._cleared = 0
        self._lock = fork_safe_lock()

    def _items(self) -> list[T]:
        while True:
            try:
                return list(self._ring)
            except RuntimeError:  # changed by another thread while it was copied
                continue

    @property
    def dropped(self) -> int:
        """Items given up since construction because the ring was full; exact when no item is just
        being put in."""
        with self._lock:
            seen = next(self._seen) - self._looks
            self._looks += 1
            return max(0, seen - self._cleared - len(self._ring))

    def clear(self) -> None:
        """Forget what is kept; this is not counted as dropped."""
        with self._lock:
            for _ in range(len(self._ring)):
                try:
                    self._ring.popleft()
                except IndexError:
                    break
                self._cleared += 1


class RingBufferEventSink(_Ring["AgentEvent"]):
    """Keeps the newest events in memory, the oldest dropped first.  Thread-safe.

    Args:
        capacity: Events kept, >= 1.
    """

    __slots__ = ()

    def emit(self, event: AgentEvent) -> None:
        """Keep *event*; a full ring gives up its oldest."""
        self._append(event)
        next(self._seen)

    @property
    def events(self) -> list[AgentEvent]:
        """A copy of what is kept, oldest first."""
        return self._items()


class RingBufferUsageSink(_Ring["tuple[str, UsageSnapshot, float]"]):
    """Keeps the newest usage records in memory, the oldest dropped first.  Thread-safe.

    Args:
        capacity: Records kept, >= 1.
    """

    __slots__ = ()

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Keep one record; a full ring gives up its oldest."""
        self._append((model, usage, cost_usd))
        next(self._seen)

    @property
    def records(self) -> list[tuple[str, UsageSnapshot, float]]:
        """A copy of what is kept as (model, usage, cost in US dollars), oldest first."""
        return self._items()


class _JsonlFile:
    """Appends one JSON object a line and survives a disk that does not.

    Unbuffered: a line that could not be written must not turn up later, when it was counted as dropped.
    """

    def __init__(self, path: str | PathLike[str], *, redactor: Redactor | None = None) -> None:
        self._redactor = Redactor() if redactor is None else redactor
        self._lock = fork_safe_lock()
        self._dropped = 0
        self._torn = False  # the last line in the file is incomplete
        # Opened here, so that a wrong path fails where it was written down.
        self._file: FileIO | None = open(path, "ab", buffering=0)  # noqa: SIM115

    def _write(self, line: Callable[[], str]) -> None:
        try:
            # Half a surrogate pair, as odd file names bring it, becomes the JSON escape of itself.
            text = line().encode(errors="backslashreplace") + b"\n"
            with self._lock:
                self._write_locked(text)
        except Exception as error:
            with self._lock:
                self._dropped += 1
                first = self._dropped == 1
            if first:
                logger("sinks").warning(
                    "%r dropped a record (only the first is logged): %s", self, error_text(error)
                )

    def _write_locked(self, text: bytes) -> None:
        if self._file is None:
            raise ValueError("the sink is closed")
        left = memoryview(b"\n" + text if self._torn else text)
        while left:
            written = self._file.write(left) or 0
            left = left[written:]
            self._torn = bool(left)

    @property
    def dropped(self) -> int:
        """Records that could not be written."""
        return self._dropped

    def close(self) -> None:
        """Close the file; whatever comes later is counted as dropped."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonlEventSink(_JsonlFile):
    """Appends every event to a file as one line of JSON.  Thread-safe; also a context manager.

    Each line reaches the operating system before ``emit`` returns, so it survives the death of the process
    (not a power cut).  A write that fails is counted in ``dropped`` and logged once.

    Args:
        path: The file; created if missing, appended to otherwise.
        redactor: Goes over every record before it is written; the default one when None.

    Raises:
        OSError: The file cannot be opened.
    """

    def emit(self, event: AgentEvent) -> None:
        """Write one line."""
        self._write(lambda: self._redactor.event(event).to_json())


class JsonlUsageSink(_JsonlFile):
    """Appends what every call used to a file, one line of JSON each; see :class:`JsonlEventSink`.

    A line holds ``model``, ``usage``, ``cost_usd`` and ``recorded_at`` (ISO-8601 in UTC).
    """

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Write one line."""

        def line() -> str:
            import json
            import time

            from techrevati.runtime._core.clock import iso_utc

            recorded_at = iso_utc(time.time())
            return json.dumps(
                {
                    "model": self._redactor.text(model),
                    "usage": usage.to_dict(),
                    "cost_usd": cost_usd,
                    "recorded_at": recorded_at,
                }
            )

        self._write(line)


class LoggingSink:
    """Makes one record of standard ``logging`` of every event.  Thread-safe; never raises.

    The message is one line for people, control characters escaped; the fields of the event are attributes of
    the record (``extra``), as a JSON formatter shows them: ``event``, ``status``, ``emitted_at``, and where
    they are set ``role``, ``phase``, ``project_id``, ``failure_class``, ``detail``, ``data``, ``run_id``,
    ``parent_id``, ``sequence``, ``event_id``.  A run or recovery that failed is an ERROR; what failed, was
    refused or blocked, an open circuit, and a budget's threshold are WARNING; calls, deadlines and hooks that
    let something pass are DEBUG; the rest is INFO.

    A handler runs in the thread that emits; one that may block belongs behind ``QueueHandler``.

    Args:
        logger: A logger, or the name of one.
        levels: Levels for events that shall have another one than the above, by event name.
        redactor: Goes over every event first; the default one when None.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    def __init__(
        self,
        logger: Logger | str = "techrevati.events",
        *,
        levels: Mapping[AgentEventName | str, int] | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        import logging

        from techrevati.runtime.agent_events import AgentEventName

        if isinstance(logger, str):
            logger = logging.getLogger(arguments.text("logger", logger))
        if not isinstance(logger, (logging.Logger, logging.LoggerAdapter)):
            raise TypeError(f"logger must be a logger or its name, got {logger!r}")
        self.logger: Logger = logger
        self._levels = _log_levels()
        for name, level in (levels or {}).items():
            event = arguments.member("levels", name, AgentEventName)
            self._levels[event] = arguments.count("levels", level)
        self._chosen = frozenset(arguments.member("levels", name, AgentEventName) for name in levels or {})
        self._redactor = Redactor() if redactor is None else redactor
        self._dropped = 0
        self._lock = fork_safe_lock()

    @property
    def dropped(self) -> int:
        """Events that could not be logged because a handler or filter raised."""
        return self._dropped

    def emit(self, event: AgentEvent) -> None:
        """Log *event*."""
        try:
            level = self._level(event)
            if self.logger.isEnabledFor(level):
                self._log(level, self._redactor.event(event))
        except Exception:
            with self._lock:
                self._dropped += 1

    def _level(self, event: AgentEvent) -> int:
        level = self._levels.get(event.event, 20)
        if event.event not in self._chosen and event.status.value in ("failed", "red", "blocked"):
            return max(level, 30)
        return level

    def _log(self, level: int, event: AgentEvent) -> None:
        wire = event.to_dict()
        del wire["type"]
        if "id" in wire:
            wire["event_id"] = wire.pop("id")
        who = "/".join(part for part in (event.role, event.phase) if part)
        message = " ".join(part for part in (event.event.value, who) if part)
        if event.detail is not None:
            message = f"{message}: {event.detail}"
        if not message.isprintable():
            message = "".join(map(_escaped, message))
        target: Any = self.logger
        told: MutableMapping[str, Any] = {}
        while (process := getattr(target, "process", None)) is not None:  # an adapter; adds to what we say
            message, told = process(message, {**told, "extra": {**(told.get("extra") or {}), **wire}})
            target = target.logger
        target.log(level, "%s", message, **{**told, "extra": {**(told.get("extra") or {}), **wire}})


def _escaped(character: str) -> str:
    """*character*, or its escape where it would break a line, a terminal or a file in UTF-8."""
    breaks = character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"
    if breaks or character in "\u2028\u2029":
        return character.encode("unicode_escape").decode()
    return character


def _log_levels() -> dict[AgentEventName, int]:
    """Levels other than INFO; a status that tells of trouble makes it WARNING at least."""
    from techrevati.runtime.agent_events import AgentEventName as Name

    error = (Name.AGENT_FAILED, Name.RECOVERY_FAILED, Name.RECOVERY_ESCALATED)
    warning = (
        Name.CIRCUIT_OPENED,
        Name.AGENT_LATE_RESULT,
        Name.AGENT_LOOP_DETECTED,
        Name.BUDGET_THRESHOLD,
        Name.BUDGET_OVERRUN,
        Name.MODEL_UNGUARDED,
        Name.RECOVERY_ATTEMPTED,
    )
    debug = (
        Name.AGENT_TOOL_CALLED,
        Name.AGENT_TOOL_COMPLETED,
        Name.HOOK_PRE_TOOL,
        Name.HOOK_POST_TOOL,
        Name.MODEL_CALLED,
        Name.DEADLINE_STARTED,
        Name.DEADLINE_SHORTENED,
        Name.DEADLINE_ENDED,
    )
    return {**dict.fromkeys(error, 40), **dict.fromkeys(warning, 30), **dict.fromkeys(debug, 10)}


class _FanOut(Generic[S]):
    def __init__(self, *sinks: S) -> None:
        self.sinks: tuple[S, ...] = sinks
        self._dropped = 0
        self._lock = fork_safe_lock()

    def _failed(self, sink: S, error: Exception) -> None:
        with self._lock:
            self._dropped += 1
            first = self._dropped == 1
        if first:
            logger("sinks").warning("%r raised %s; the other sinks go on", sink, error_text(error))

    @property
    def dropped(self) -> int:
        """Deliveries that failed because a sink raised, plus what the sinks dropped themselves."""
        return self._dropped + sum(getattr(sink, "dropped", 0) for sink in self.sinks)


class FanOutEventSink(_FanOut[EventSink]):
    """Hands every event to several sinks in order; one that raises does not keep it from the others.

    The first failure is logged, each one is counted in ``dropped``.  The beginnings and ends of turns and
    attempts go only to the sinks that ask for them (see :attr:`follows_turns`), and so do contents of model
    calls (:attr:`takes_content`).
    """

    def __init__(self, *sinks: EventSink) -> None:
        super().__init__(*sinks)
        self._followers: tuple[EventSink, ...] = tuple(
            sink for sink in sinks if getattr(sink, "follows_turns", False)
        )
        self._readers: frozenset[int] = frozenset(
            id(sink) for sink in sinks if getattr(sink, "takes_content", False)
        )

    @property
    def follows_turns(self) -> bool:
        """True when one of the sinks wants to be told where turns and attempts begin and end."""
        return bool(self._followers)

    @property
    def takes_content(self) -> bool:
        """True when one of the sinks wants to be told what models were asked and answered."""
        return bool(self._readers)

    def emit(self, event: AgentEvent) -> None:
        """Give *event* to every sink."""
        sinks = self.sinks
        without = event
        if self._readers and event.data is not None and "content" in event.data:
            from techrevati.runtime.agent_events.vocabulary import REQUEST_EVENTS

            if event.event in REQUEST_EVENTS:
                without = event.with_data({key: item for key, item in event.data.items() if key != "content"})
        if len(self._followers) != len(sinks):
            from techrevati.runtime.agent_events.vocabulary import TURN_EVENTS

            if event.event in TURN_EVENTS:
                sinks = self._followers
        for sink in sinks:
            try:
                sink.emit(event if id(sink) in self._readers else without)
            except Exception as error:
                self._failed(sink, error)


class FanOutUsageSink(_FanOut[UsageSink]):
    """Hands every usage record to several sinks; see :class:`FanOutEventSink`."""

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        """Give one record to every sink."""
        for sink in self.sinks:
            try:
                sink.record(model, usage, cost_usd)
            except Exception as error:
                self._failed(sink, error)
