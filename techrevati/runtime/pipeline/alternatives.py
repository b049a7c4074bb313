"""Ask the targets of a failover when the wrapped call fails in a way that they may not.

The call that the pipeline is around is asked first, and is left alone like any target when its provider
asked for that; the failover's own targets follow, with the same arguments.  A stream counts as answering once
it has given an item: from then on its failures are raised, for what was handed out cannot be taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.notes import note
from techrevati.runtime._core.streams import aopened, astreaming, opened, streaming
from techrevati.runtime._core.wrapping import GENERATOR, colour
from techrevati.runtime.failover import NoTargetError, PassedTarget, rest_s
from techrevati.runtime.failover.turn import Turn
from techrevati.runtime.failures import classify

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from techrevati.runtime.failover import Failover
    from techrevati.runtime.failures import Failure

    F = TypeVar("F", bound=Callable[..., object])

NAME = "your call"  # how it is named among the targets


class OtherTargets:
    """A failover around a call that is not one of its targets."""

    __slots__ = ("_failover", "_inside", "_lock", "_rest_until_s")

    def __init__(self, failover: Failover[Any, Any], inside: int) -> None:
        self._failover = failover
        self._inside = inside  # how many stages stand inside, and so before the arguments of the call
        self._rest_until_s = float("-inf")  # read whole, and so without the lock
        self._lock = fork_safe_lock()

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        first: Exception | None = None
        passed = self._passed_over()
        if passed is None:
            try:
                return fn(*args, **kwargs)
            except Exception as error:
                passed = self._passed(error)
                if passed is None:
                    raise
                first = error
        try:
            return self._failover._answered(False, args[self._inside :], kwargs, passed)
        except NoTargetError as nobody:
            raise _nobody(first, nobody) from None
        finally:
            del first  # its traceback holds this frame: no cycle

    async def acall(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        first: Exception | None = None
        passed = self._passed_over()
        if passed is None:
            try:
                return await fn(*args, **kwargs)
            except Exception as error:
                passed = self._passed(error)
                if passed is None:
                    raise
                first = error
        try:
            return await self._failover._aanswered(False, args[self._inside :], kwargs, passed)
        except NoTargetError as nobody:
            raise _nobody(first, nobody) from None
        finally:
            del first

    def around_stream(self, fn: F) -> F:
        """The stream *fn*, or another target's while none has given an item."""
        from functools import partial, update_wrapper

        if colour(fn) == GENERATOR:
            return update_wrapper(streaming(partial(self._begun, fn)), fn)  # type: ignore[return-value]
        return update_wrapper(astreaming(partial(self._abegun, fn)), fn)  # type: ignore[return-value]

    def _begun(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        first: Exception | None = None
        passed = self._passed_over()
        if passed is None:
            try:
                return opened(fn(*args, **kwargs))
            except Exception as error:
                passed = self._passed(error)
                if passed is None:
                    raise
                first = error
        try:
            return self._failover._answered(True, args, kwargs, passed)
        except NoTargetError as nobody:
            raise _nobody(first, nobody) from None
        finally:
            del first

    async def _abegun(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        first: Exception | None = None
        passed = self._passed_over()
        if passed is None:
            try:
                return await aopened(fn(*args, **kwargs))
            except Exception as error:
                passed = self._passed(error)
                if passed is None:
                    raise
                first = error
        try:
            return await self._failover._aanswered(True, args, kwargs, passed)
        except NoTargetError as nobody:
            raise _nobody(first, nobody) from None
        finally:
            del first

    def _passed_over(self) -> PassedTarget | None:
        """Why the wrapped call must not be asked now; None when it may."""
        failover = self._failover
        if self._rest_until_s == float("-inf") or not failover.enabled:
            return None
        wait_s = self._rest_until_s - failover._clock()
        if wait_s <= 0:
            return None
        passed = PassedTarget(NAME, "resting", None, wait_s)
        return self._unless_observing(passed)

    def _passed(self, error: Exception) -> PassedTarget | None:
        """That the wrapped call failed with *error*, if another target is to be asked."""
        failover = self._failover
        if not failover.enabled:
            return None
        failure = classify(error)
        if not failover._wants_another(failure):
            return None
        self._rest(failure)
        passed = PassedTarget(NAME, "failed", failure, failure.retry_after)
        return self._unless_observing(passed)

    def _rest(self, failure: Failure) -> None:
        from techrevati.runtime.failures import FailureOrigin

        if failure.origin is FailureOrigin.RUNTIME:  # a breaker of ours refused; it knows when to let in
            return
        failover = self._failover
        resting_s = rest_s(failure, failover._quota_rest_s, failover._max_rest_s)
        if resting_s > 0:
            until_s = failover._clock() + resting_s
            with self._lock:  # of two that are asked for at once the longer one holds
                self._rest_until_s = max(self._rest_until_s, until_s)

    def _unless_observing(self, passed: PassedTarget) -> PassedTarget | None:
        """*passed*; None when only observing, and then who would be asked is told."""
        failover = self._failover
        if not failover.observe_only:
            return passed
        turn: Turn[..., object] = Turn(failover, failover._order())
        turn.passed.append(passed)
        turn.tell_instead()
        return None


def _nobody(first: Exception | None, nobody: NoTargetError) -> Exception:
    """What to raise when none of the targets could be asked: the call's own error, if it was made."""
    if first is None:
        return nobody
    # Without the seconds: an exception that is raised again and again gets one note, not one each time.
    note(first, f"failover: {NoTargetError(nobody.skipped)}")
    return first
