"""What each part becomes inside a pipeline: ``call`` and ``acall`` that take what is inside them first.

A stage calls ``fn(*args, **kwargs)``, and *fn* may be the next stage with the one after it in *args*.  So a
pipeline is one call with its stages as arguments, and most stages are the very methods of their parts: no
frame of ours stands between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, colour, inside, wrapped
from techrevati.runtime.bulkhead import Bulkhead
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.deadlines import Deadline, Timeout
from techrevati.runtime.failover import Failover
from techrevati.runtime.failures import provider_failures
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.pipeline.alternatives import OtherTargets
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Retry, RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self, TypeVar

    from techrevati.runtime.pipeline.pipeline import Part

    F = TypeVar("F", bound=Callable[..., object])


class Stage(NamedTuple):
    """One part, ready to be called around what is inside it."""

    call: Callable[..., Any]
    acall: Callable[..., Any]
    around_stream: Callable[[Any], Any]


def stages(parts: Sequence[Part]) -> list[Stage]:
    """A stage for each of *parts* that does something in its place, outermost first."""
    made = []
    budget: RetryBudget | None = None
    for at, part in enumerate(parts):
        if isinstance(part, RetryBudget):
            budget = part  # it acts inside the Retry below it
            continue
        inside = sum(not isinstance(part, RetryBudget) for part in parts[at + 1 :])
        made.append(_stage(part, budget, inside))
    return made


def _stage(part: Part, budget: RetryBudget | None, inside: int) -> Stage:
    if isinstance(part, Retry):
        retry = part if budget is None else BudgetedRetry(part, budget)
        return Stage(retry.call, retry.acall, retry)
    if isinstance(part, CircuitBreaker):
        if part._counts_as_failure is None:
            judged = JudgedBreaker(part)
            return Stage(judged.call, judged.acall, judged.around_stream)
        return Stage(part.call, part.as_async().call, part)
    if isinstance(part, Deadline):
        running = RunningDeadline(part)
        return Stage(running.call, running.acall, running.around_stream)
    if isinstance(part, Failover):
        others = OtherTargets(part, inside)
        return Stage(others.call, others.acall, others.around_stream)
    if isinstance(part, RateLimit) and inside:
        limited = LimitedCalls(part, inside)
        return Stage(limited.call, limited.acall, part)
    assert isinstance(part, (Timeout, Bulkhead, RateLimit, Hedge))
    return Stage(part.call, part.acall, part)


class BudgetedRetry(Retry):
    """A retry of somebody else's that takes from the pipeline's budget; its switches stay where they are."""

    def __init__(self, retry: Retry, budget: RetryBudget) -> None:
        given = dict(retry.__dict__)
        given.pop("observe_only", None)
        given.pop("enabled", None)
        self.__dict__.update(given)
        self._given = retry
        self._budget = budget
        self._attentive = self._always_attentive = True

    @property
    def observe_only(self) -> bool:  # type: ignore[override]
        """As the retry that was given."""
        return self._given.observe_only

    @property
    def enabled(self) -> bool:  # type: ignore[override]
        """As the retry that was given."""
        return self._given.enabled


# --- a breaker judges what the provider did -----------------------------------------------------------------


class _Neutral(BaseException):
    """Carries an error through a breaker that must not learn from it: like a cancellation."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class JudgedBreaker:
    """A breaker without a judge of its own, which counts only ``provider_failures`` here."""

    __slots__ = ("_acall", "_breaker", "_call")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._call = breaker.call
        self._acall = breaker.as_async().call

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        breaker = self._breaker
        gate = breaker._quiet
        if gate is not None:  # as the breaker does it, with our judge and without a frame of it
            try:
                result = fn(*args, **kwargs)
            except Exception as failed:
                breaker._failed((gate.epoch, 0, 0.0), failed, provider_failures)
                raise
            if gate is not breaker._quiet:
                breaker._settle((gate.epoch, 0, 0.0), True)
            return result
        try:
            return self._call(_judged, fn, *args, **kwargs)
        except _Neutral as neutral:
            error = neutral.error
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: no cycle

    async def acall(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        breaker = self._breaker
        gate = breaker._quiet
        if gate is not None:
            try:
                result = await fn(*args, **kwargs)
            except Exception as failed:
                breaker._failed((gate.epoch, 0, 0.0), failed, provider_failures)
                raise
            if gate is not breaker._quiet:
                breaker._settle((gate.epoch, 0, 0.0), True)
            return result
        try:
            return await self._acall(_ajudged, fn, *args, **kwargs)
        except _Neutral as neutral:
            error = neutral.error
        try:
            raise error
        finally:
            del error

    def around_stream(self, fn: F) -> F:
        self._breaker(fn)  # refuses what it must refuse
        if self._breaker._shared is not None and colour(fn) == ASYNC_GENERATOR:
            return inside(lambda args, kwargs: _JudgingGuard(self._breaker), fn)
        return wrapped(fn, lambda: _JudgingGuard(self._breaker))


def _judged(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return fn(*args, **kwargs)
    except Exception as error:
        if provider_failures(error):
            raise
        neutral = _Neutral(error)
    try:
        raise neutral
    finally:
        del neutral


async def _ajudged(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return await fn(*args, **kwargs)
    except Exception as error:
        if provider_failures(error):
            raise
        neutral = _Neutral(error)
    try:
        raise neutral
    finally:
        del neutral


class _JudgingGuard:
    """One stream of a breaker without a judge of its own."""

    __slots__ = ("_guard",)

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._guard = breaker.guard()

    def __enter__(self) -> Self:
        self._guard.__enter__()
        return self

    def returned(self, value: object) -> None:
        self._guard.returned(value)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        error = _told(error)
        self._guard.__exit__(type(error), error, trace)

    async def __aenter__(self) -> Self:
        await self._guard.__aenter__()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        error = _told(error)
        await self._guard.__aexit__(type(error), error, trace)


def _told(error: BaseException | None) -> BaseException | None:
    """What the breaker hears of *error*."""
    return _Neutral(error) if isinstance(error, Exception) and not provider_failures(error) else error


# --- what acts around everything inside ------------------------------------------------------------------


class LimitedCalls:
    """A rate limit that estimates by the arguments of the call, not by the stages inside it."""

    __slots__ = ("_inside", "_limit")

    def __init__(self, limit: RateLimit, inside: int) -> None:
        self._limit = limit
        self._inside = inside

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._limit._call(fn, args, kwargs, args[self._inside :])

    async def acall(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return await self._limit._acall(fn, args, kwargs, args[self._inside :])


class RunningDeadline:
    """The deadline of the run, in force around each call."""

    __slots__ = ("_deadline",)

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._deadline.check()
        with self._deadline:
            return fn(*args, **kwargs)

    async def acall(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._deadline.check()
        with self._deadline:
            return await fn(*args, **kwargs)

    def around_stream(self, fn: F) -> F:
        from techrevati.runtime.pipeline.timed_steps import under_deadline

        return under_deadline(self._deadline, fn)
