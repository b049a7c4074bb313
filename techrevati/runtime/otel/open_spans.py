"""Spans that have begun and not ended, by what they are of; bounded, the oldest ended first.

While a part of a run goes on, its span is the current one of its thread or task, so whatever is traced inside
stands under it.  A part that ends elsewhere is found by its key.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock

if TYPE_CHECKING:
    from typing import TypeAlias

    from opentelemetry.trace import Span

    Key: TypeAlias = tuple[str, str, object]  # run, kind, which


class OpenSpan:
    """One span under way.

    Attributes:
        covered: Requests of a guarded client were told inside; they carry what was used.
        held: An attempt that returned: it is ended by its turn, which knows what it used.
        end_ns: When it ended, for one that is held.
        over: It was ended, if only to make room.
    """

    __slots__ = (
        "_previous",
        "_was",
        "covered",
        "end_ns",
        "held",
        "key",
        "model",
        "over",
        "owner",
        "span",
        "start_ns",
    )

    def __init__(self, owner: OpenSpans, key: Key, span: Span, start_ns: int, model: str) -> None:
        self.owner: OpenSpans = owner
        self.key: Key = key
        self.span: Span = span
        self.start_ns: int = start_ns
        self.model: str = model
        self.covered: bool = False
        self.held: OpenSpan | None = None
        self.end_ns: int = 0
        self.over: bool = False
        self._previous: Span | None = None
        self._was: OpenSpan | None = None

    def enter(self) -> None:
        """Make it the current span of this thread or task."""
        from opentelemetry import context, trace

        self._previous = trace.get_current_span()
        self._was = innermost.get()
        innermost.set(self)
        context.attach(trace.set_span_in_context(self.span))

    def leave(self) -> None:
        """Give the current span back, where it is this one."""
        from opentelemetry import context, trace

        if innermost.get() is self:
            innermost.set(self._was)
        if self._previous is not None and trace.get_current_span() is self.span:
            # Not by token: a run may be left in another context than it was entered in.
            context.attach(trace.set_span_in_context(self._previous))


innermost: ContextVar[OpenSpan | None] = ContextVar("techrevati_otel_span", default=None)


class OpenSpans:
    """Thread-safe.

    Args:
        capacity: Spans kept, >= 1.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity: int = arguments.count("max_open_spans", capacity, minimum=1)
        self._lock = fork_safe_lock()
        self._order: dict[int, OpenSpan] = {}
        self._by_key: dict[Key, list[OpenSpan]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def add(self, opened: OpenSpan) -> OpenSpan | None:
        """Keep *opened*; what had to go for it, if anything."""
        with self._lock:
            oldest = None
            if len(self._order) >= self.capacity:
                oldest = next(iter(self._order.values()))
                self._remove_locked(oldest)
            self._order[id(opened)] = opened
            self._by_key.setdefault(opened.key, []).append(opened)
        return oldest

    def find(self, key: Key) -> OpenSpan | None:
        """The newest of *key*."""
        with self._lock:
            found = self._by_key.get(key)
            return found[-1] if found else None

    def take(self, key: Key) -> OpenSpan | None:
        """Remove the one of *key* that ends here: this context's own, else the newest."""
        here = innermost.get()
        while here is not None and (here.key != key or here.owner is not self):
            here = here._was
        with self._lock:
            found = self._by_key.get(key)
            if here is None or id(here) not in self._order:
                if here is not None:
                    return here  # was ended to make room; it still has to be left
                here = found[-1] if found else None
            if here is not None:
                self._remove_locked(here)
        return here

    def take_run(self, run: str) -> list[OpenSpan]:
        """Remove all of a run, the newest first."""
        with self._lock:
            mine = [opened for opened in self._order.values() if opened.key[0] == run]
            for opened in mine:
                self._remove_locked(opened)
        return mine[::-1]

    def unwind(self, run: str) -> None:
        """Leave what this context still holds of a run that is over."""
        here = innermost.get()
        while here is not None and here.owner is self and here.key[0] == run:
            here.leave()
            here = innermost.get()

    def take_all(self) -> list[OpenSpan]:
        """Remove all, the newest first."""
        with self._lock:
            mine = list(self._order.values())
            self._order.clear()
            self._by_key.clear()
        return mine[::-1]

    def of_run(self, run: str, kind: str) -> list[OpenSpan]:
        """Those of a run and a kind."""
        with self._lock:
            return [each for each in self._order.values() if each.key[0] == run and each.key[1] == kind]

    def _remove_locked(self, opened: OpenSpan) -> None:
        del self._order[id(opened)]
        same = self._by_key[opened.key]
        same.remove(opened)
        if not same:
            del self._by_key[opened.key]
