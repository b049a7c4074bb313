"""How threads and tasks get in and out of one queue: the line with a lock and the waiting."""

from __future__ import annotations

import time
from _thread import allocate_lock
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import shortened
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.bulkhead.line import Line, Place
from techrevati.runtime.bulkhead.vocabulary import BulkheadFullError, BulkheadSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import ParamSpec, Self, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

_LONGEST_S = 1e6  # what every platform's locks can wait; longer than any call


class Bulkhead:
    """At most *max_concurrent* calls at once.  Thread-safe and task-safe, over any number of event loops; no
    lock is held while the caller's code runs.

    Use it as ``bulkhead.call(fn, …)``, ``await bulkhead.acall(fn, …)``, ``with bulkhead:``, ``async with
    bulkhead:``, or as a decorator of any function; a stream holds its place from its first item to its end.
    First come, first in.  A caller that is cancelled or interrupted, waiting or inside, gives its place to
    the next.

    Args:
        max_concurrent: Calls inside at once, >= 1.
        max_queue: Calls that may wait, >= 0; the next one is refused at once.
        max_wait_seconds: How long one may wait, >= 0; the running deadline shortens it.
        name: Stands in refusals; not empty.
        on_refused: Told each :class:`BulkheadFullError`, also when only observing.  What it raises is logged.
        observe_only: Count, but let everybody in; may be set at any time, and lets in who waits.
        clock: Monotonic seconds, to say how long a refused call had waited.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> bulkhead = Bulkhead(1, name="db")
    >>> with bulkhead:
    ...     bulkhead.call(max, 1, 2)
    Traceback (most recent call last):
        ...
    techrevati.runtime.bulkhead.vocabulary.BulkheadFullError: bulkhead 'db' is full (full): 1 of 1 run, 0 wait
    """

    __slots__ = (
        "__weakref__",
        "_admitted",
        "_clock",
        "_enabled",
        "_line",
        "_lock",
        "_max_wait_s",
        "_name",
        "_observe_only",
        "_on_refused",
        "_refused",
    )

    def __init__(
        self,
        max_concurrent: int,
        max_queue: int = 0,
        max_wait_seconds: float = float("inf"),
        *,
        name: str = "bulkhead",
        on_refused: Callable[[BulkheadFullError], object] | None = None,
        observe_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = Line(
            arguments.count("max_concurrent", max_concurrent, minimum=1),
            arguments.count("max_queue", max_queue),
        )
        self._max_wait_s = arguments.number("max_wait_seconds", max_wait_seconds, infinite=True)
        self._name = arguments.text("name", name)
        if on_refused is not None:
            arguments.plain("on_refused", on_refused)
        arguments.plain("clock", clock)
        self._on_refused = on_refused
        self._clock = clock
        self._lock = fork_safe_lock()
        self._admitted = self._refused = 0
        self._observe_only = arguments.flag("observe_only", observe_only)
        self._enabled = True

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn(*args, **kwargs)``, run inside.

        Raises:
            BulkheadFullError: Refused; *fn* was not called.
            TypeError: *fn* is an async function: use :meth:`acall`.
        """
        self._enter()
        try:
            result = fn(*args, **kwargs)
        finally:
            self._leave()
        if isinstance(result, UNBEGUN):
            refuse_unbegun(fn, result, "is called with acall(), not call()")
        return result

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``, run inside; see :meth:`call`."""
        await self._aenter()
        try:
            return await fn(*args, **kwargs)
        finally:
            self._leave()

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, *ended: object) -> None:
        self._leave()

    async def __aenter__(self) -> Self:
        await self._aenter()
        return self

    async def __aexit__(self, *ended: object) -> None:
        self._leave()

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; a stream is inside from its first item to its end.

        Raises:
            TypeError: A wrapper could not be right: of a class or a ``staticmethod`` object.
        """
        from techrevati.runtime._core.wrapping import inside

        return inside(lambda args, kwargs: self, fn)

    # --- what it knows --------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name it was given; it stands in every refusal."""
        return self._name

    @property
    def max_concurrent(self) -> int:
        """Calls inside at once."""
        return self._line.limit

    @property
    def max_queue(self) -> int:
        """Calls that may wait."""
        return self._line.max_queue

    @property
    def observe_only(self) -> bool:
        """True while it counts and lets everybody in; may be set at any time."""
        return self._observe_only

    @observe_only.setter
    def observe_only(self, only: bool) -> None:
        arguments.flag("observe_only", only)
        with self._lock:
            self._observe_only = only
            self._let_in_locked()

    @property
    def enabled(self) -> bool:
        """False while it is switched off and lets everybody in; may be set at any time."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        arguments.flag("enabled", on)
        with self._lock:
            self._enabled = on
            self._let_in_locked()

    def snapshot(self) -> BulkheadSnapshot:
        """What it knows now."""
        with self._lock:
            line = self._line
            return BulkheadSnapshot(line.running, len(line.queue), self._admitted, self._refused)

    def __repr__(self) -> str:
        now = self.snapshot()
        return f"Bulkhead({self._name!r}, {now.running} of {self._line.limit} run, {now.queued} wait)"

    # --- getting in and out ---------------------------------------------------------------------------------

    def _enter(self) -> None:
        if self._entered():
            return
        came = allocate_lock()
        came.acquire()  # until its place is inside
        place = Place(came.release)
        if self._queued(place):
            return
        wait_s, started_s = shortened(self._max_wait_s), self._clock()
        try:
            came.acquire(timeout=min(wait_s, _LONGEST_S))
        except BaseException:  # Ctrl-C
            self._give_up(place)
            raise
        self._waited(place, self._clock() - started_s, wait_s)

    async def _aenter(self) -> None:
        if self._entered():
            return
        import asyncio

        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(lambda: None if came.done() else came.set_result(None))

        place = Place(wake)
        if self._queued(place):
            return
        wait_s, started_s = shortened(self._max_wait_s), self._clock()
        try:
            await asyncio.wait({came}, timeout=None if wait_s == float("inf") else wait_s)
        except BaseException:  # cancelled
            self._give_up(place)
            raise
        self._waited(place, self._clock() - started_s, wait_s)

    def _entered(self) -> bool:
        """Whether the caller is inside now."""
        refusal = None
        with self._lock:
            line = self._line
            if not line.enter():
                if self._enabled and not self._observe_only:
                    return False
                if self._enabled and line.running >= line.limit + line.max_queue:
                    self._refused += 1
                    refusal = self._refusal_locked("full")
                line.enter(anyway=True)
            self._admitted += 1
        if refusal is not None:
            try:
                self._tell(refusal)
            except BaseException:
                self._leave()
                raise
        return True

    def _queued(self, place: Place) -> bool:
        """False: *place* waits in the queue now.  True: it is inside.  Otherwise it is refused."""
        with self._lock:
            if self._line.enter():  # somebody left meanwhile
                self._admitted += 1
                return True
            if self._line.wait(place):
                return False
            self._refused += 1
            refusal = self._refusal_locked("full")
        try:
            self._tell(refusal)
            raise refusal
        finally:
            del refusal  # its traceback holds this frame: no cycle

    def _waited(self, place: Place, waited_s: float, allowed_s: float) -> None:
        with self._lock:
            if place.is_in:
                return
            self._line.give_up(place)
            self._refused += 1
            reason = "waited" if allowed_s >= self._max_wait_s else "deadline"
            refusal = self._refusal_locked(reason, waited_s)
        try:
            self._tell(refusal)
            raise refusal
        finally:
            del refusal  # its traceback holds this frame: no cycle

    def _leave(self) -> None:
        with self._lock:
            line = self._line
            if line.queue:
                self._welcome_locked(line.leave())
            else:
                line.running -= 1

    def _give_up(self, place: Place) -> None:
        with self._lock:
            self._welcome_locked(self._line.give_up(place))

    def _let_in_locked(self) -> None:
        if self._observe_only or not self._enabled:
            self._welcome_locked(self._line.admitted(float("inf")))

    def _welcome_locked(self, came: list[Place]) -> None:
        while came:
            place = came.pop(0)
            assert place.wake is not None
            try:
                place.wake()
                self._admitted += 1
            except RuntimeError:  # its event loop is closed: nobody waits there any more
                came += self._line.give_up(place)

    def _refusal_locked(self, reason: str, waited_s: float = 0.0) -> BulkheadFullError:
        line = self._line
        return BulkheadFullError(
            self._name,
            reason,
            max_concurrent=line.limit,
            running=line.running,
            queued=len(line.queue),
            waited_seconds=waited_s,
        )

    def _tell(self, refusal: BulkheadFullError) -> None:
        if self._on_refused is None:
            return
        try:
            self._on_refused(refusal)
        except Exception as trouble:
            logger("bulkhead").warning("on_refused raised %s", error_text(trouble))
