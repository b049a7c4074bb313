"""The object that users hold: parts in order, around any call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import check_running, current
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.switches import Switched
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.bulkhead import Bulkhead
from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker
from techrevati.runtime.deadlines import Deadline, Timeout
from techrevati.runtime.failover import Failover
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.pipeline.order import check
from techrevati.runtime.pipeline.stages import stages
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Retry, RetryBudget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import ParamSpec, TypeAlias, TypeVar

    Part: TypeAlias = (
        Deadline
        | Timeout
        | RetryBudget
        | Retry
        | CircuitBreaker
        | Bulkhead
        | RateLimit
        | Failover[Any, Any]
        | Hedge
    )
    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

_KINDS = (Deadline, Timeout, RetryBudget, Retry, CircuitBreaker, Bulkhead, RateLimit, Failover, Hedge)


class Pipeline(Switched):
    """Parts around a call, outermost first.  Built once; thread-safe and task-safe, over any number of loops.

    Use it as a decorator ``@pipeline`` of a ``def``, ``async def``, generator or async generator function, as
    ``pipeline.call(fn, …)`` or ``await pipeline.acall(fn, …)``.  Whatever ends a call, cancellation and
    Ctrl-C included, every part gives back what it took.

    - A ``CircuitBreaker`` without ``counts_as_failure`` counts only ``provider_failures`` here, whatever it
      counts elsewhere.
    - A ``Timeout`` shortens every wait, queue and timeout inside it.
    - A ``RetryBudget`` bounds the ``Retry`` inside it, also together with other pipelines.
    - A ``Failover`` asks the wrapped call first, and its own targets, with the same arguments, when that may
      help.
    - A ``Deadline`` is that of a run: such a pipeline is for that run only.

    A stream is guarded to its end: its breaker learns then, its place is held and its time runs until then.
    ``Retry`` and ``Hedge`` start it again, and ``Failover`` asks another target, only before its first item.

    Args:
        parts: At least one.
        observe_only: Every part measures and tells but changes nothing; see :attr:`observe_only`.

    Raises:
        PipelineOrderError: The parts cannot be right in that order; the text gives the right one.
        TypeError: Something else was given.

    >>> pipeline = Pipeline(Timeout(30), Retry(3), CircuitBreaker("model-api"))
    >>> pipeline.call(max, 1, 2)
    2
    """

    __slots__ = (
        "__weakref__",
        "_acalls",
        "_afirst",
        "_before",
        "_calls",
        "_first",
        "_lock",
        "_stages",
        "enabled",
        "parts",
    )

    def __init__(self, *parts: Part | AsyncCircuitBreaker, observe_only: bool = False) -> None:
        if not parts:
            raise ValueError("parts must hold at least one part, got none")
        given: list[Part] = []
        for part in parts:
            if isinstance(part, AsyncCircuitBreaker):
                given.append(part.as_sync())
            elif isinstance(part, _KINDS):
                given.append(part)
            else:
                names = ", ".join(kind.__name__ for kind in _KINDS)
                raise TypeError(f"a part must be one of {names}; got {part!r}")
        arguments.flag("observe_only", observe_only)
        check(given)
        self.parts: tuple[Part, ...] = tuple(given)
        self._stages = stages(self.parts)
        self._first, *calls = [stage.call for stage in self._stages]
        self._afirst, *acalls = [stage.acall for stage in self._stages]
        self._calls: tuple[Callable[..., Any], ...] = tuple(calls)  # inside the first
        self._acalls: tuple[Callable[..., Any], ...] = tuple(acalls)
        self._lock = fork_safe_lock()
        self._before: list[bool] | None = None
        self.enabled: bool = True
        """Set to False to make every call directly."""
        if observe_only:
            self.observe_only = True

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn(*args, **kwargs)`` with all parts around it.

        Raises:
            Exception: What *fn* raised in the end, or what a part refused or gave up with.
            DeadlineExceededError: The running deadline had passed before; *fn* was not called.
            TypeError: *fn* is an async function: use :meth:`acall`.
        """
        if not self.enabled:
            return fn(*args, **kwargs)
        if current.get() is not None and self._before is None:
            check_running()  # nothing begins after the deadline
        result: T = self._first(*self._calls, fn, *args, **kwargs)
        if isinstance(result, UNBEGUN):
            refuse_unbegun(fn, result, "is called with acall(), not call()")
        return result

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)`` with all parts around it; see :meth:`call`."""
        if not self.enabled:
            return await fn(*args, **kwargs)
        if current.get() is not None and self._before is None:
            check_running()
        result: T = await self._afirst(*self._acalls, fn, *args, **kwargs)
        return result

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; its signature stays.

        Raises:
            TypeError: A wrapper could not be right: of a class, of a ``staticmethod`` object, or of a stream
                by a part that cannot guard one.
        """
        from functools import update_wrapper

        from techrevati.runtime._core.wrapping import COROUTINE, PLAIN, chosen, colour, either, may_be_async

        for part in self.parts:
            if isinstance(part, Retry):
                part._know(fn)
        kind = colour(fn)
        wrapper: Callable[..., Any]
        if may_be_async(fn):
            wrapper = either(self.call, self.acall, fn)
        elif kind == PLAIN:

            def called(*args: object, **kwargs: object) -> object:
                return self.call(fn, *args, **kwargs)

            wrapper = called
        elif kind == COROUTINE:

            async def acalled(*args: object, **kwargs: object) -> object:
                return await self.acall(cast("Callable[..., Awaitable[object]]", fn), *args, **kwargs)

            wrapper = acalled
        else:
            stream: Callable[..., Any] = fn
            for stage in reversed(self._stages):
                stream = stage.around_stream(stream)

            def choose() -> Callable[..., Any]:
                if not self.enabled:
                    return fn
                if self._before is None:
                    check_running()
                return stream

            wrapper = chosen(kind, choose)
        return cast("F", update_wrapper(wrapper, fn))

    @property
    def observe_only(self) -> bool:
        """True while every part only observes.  Setting it sets each part's own ``observe_only`` (a part may
        be shared); unsetting it gives each back what it had before."""
        return self._before is not None

    @observe_only.setter
    def observe_only(self, only: bool) -> None:
        parts = self.parts
        with self._lock:
            if only and self._before is None:
                self._before = [part.observe_only for part in parts]
                for part in parts:
                    part.observe_only = True
            elif not only and self._before is not None:
                for part, before in zip(parts, self._before, strict=True):
                    part.observe_only = before
                self._before = None

    def explain(self) -> str:
        """The order in words: a numbered line for each part, outermost first, with its numbers."""
        from techrevati.runtime.pipeline.explanation import explained

        return explained(self.parts)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(type(part).__name__ for part in self.parts)})"
