"""One call of a failover: who is left to ask, who was passed, and what the last one asked raised."""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

from techrevati.runtime._core.deadline import check_running, remaining_s
from techrevati.runtime._core.notes import note
from techrevati.runtime._core.streams import aopened, opened
from techrevati.runtime.failover.vocabulary import NoTargetError, PassedTarget, TargetSwitch
from techrevati.runtime.failures import classify
from techrevati.runtime.failures.elsewhere import fails_over

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from techrevati.runtime.failover.policy import Failover

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Turn(Generic[P, T_co]):
    """One call: who is left to ask, who was passed, and what the last one asked raised."""

    __slots__ = ("_asked", "_failover", "_left", "_observing", "_streams", "error", "passed")

    def __init__(
        self,
        failover: Failover[P, T_co],
        order: tuple[int, ...],
        *,
        streams: bool = False,
        before: PassedTarget | None = None,
    ) -> None:
        self._failover = failover
        self._left = iter(order)
        self._observing = failover.observe_only
        self._streams = streams
        self._asked = False
        self.passed: list[PassedTarget] = [] if before is None else [before]
        self.error: Exception | None = None

    def next(self) -> int:
        """The position of the next target that may be asked; raises when there is none."""
        nth = self._first() if self._observing else self._found()
        if nth is not None:
            return nth
        if self.error is None:
            if all(each.reason != "failed" for each in self.passed):
                check_running()  # then the time is why
            known = [each.retry_after for each in self.passed if each.retry_after is not None]
            raise NoTargetError(self.passed, min(known, default=None))
        _note(self.error, self.passed)
        raise self.error

    def _found(self) -> int | None:
        for nth in self._left:  # judged one at a time: things change while others are asked
            skipped = self._skipped(nth)
            if skipped is None:
                return nth
            self.passed.append(skipped)
        return None

    def _first(self) -> int:
        """The preferred target, whatever is known about it."""
        nth = next(self._left)
        skipped = self._skipped(nth)
        if skipped is not None:
            self.passed.append(skipped)
            self.tell_instead()
            self.passed.clear()
        return nth

    def tell_instead(self) -> None:
        """Tell who would be asked now."""
        would = self._found()
        name = None if would is None else self._failover.targets[would].name
        self._failover._tell(TargetSwitch(name, tuple(self.passed), made=False))

    def _skipped(self, nth: int) -> PassedTarget | None:
        """Why a target must not be asked now; None when it may."""
        target = self._failover.targets[nth]
        left_s = remaining_s()
        if left_s is not None and left_s <= 0:
            return PassedTarget(target.name, "deadline")
        wait_s = self._failover._wait_s(nth)
        if wait_s > 0:
            return PassedTarget(target.name, "resting", None, wait_s)
        if target._is_open is not None and target._is_open():
            return PassedTarget(target.name, "open")
        return None

    def ask(self, nth: int, args: Any, kwargs: Any) -> T_co:
        """The answer of a target, through its breaker if it has one."""
        target = self._failover.targets[nth]
        call: Callable[..., T_co] = target.call
        self._asked = False

        def asked() -> T_co:
            self._begun(target.name)
            answer = call(*args, **kwargs)
            return cast("T_co", opened(cast("Any", answer))) if self._streams else _answer(answer)

        return asked() if target._call is None else _answer(target._call(asked))

    async def aask(self, nth: int, args: Any, kwargs: Any) -> Any:
        """The same with an await."""
        target = self._failover.targets[nth]
        call: Callable[..., Any] = target.call
        self._asked = False

        async def asked() -> Any:
            self._begun(target.name)
            answer = call(*args, **kwargs)
            if self._streams:
                return await aopened(answer)
            return _answer(await answer if hasattr(answer, "__await__") else answer)

        if target._async_call is None:
            return await asked()
        answer = target._async_call(asked)
        return await answer if hasattr(answer, "__await__") else answer

    def _begun(self, name: str) -> None:
        self._asked = True
        if self.passed:
            self._failover._tell(TargetSwitch(name, tuple(self.passed)))

    def goes_on(self, nth: int, error: Exception) -> bool:
        """Whether to ask another after *error*; it is kept for the case that there is none."""
        failure = classify(error)
        name = self._failover.targets[nth].name
        if not self._asked:  # the breaker refused, or is broken itself
            if not fails_over(failure):
                return False
            self.passed.append(PassedTarget(name, "open", None, failure.retry_after))
        else:
            on, resting_s = self._failover._judged(nth, failure)
            self.passed.append(PassedTarget(name, "failed", failure, resting_s or failure.retry_after))
            if not on:
                _note(error, self.passed)
                return False
            self.error = error
        if self._observing:
            self.tell_instead()
        return not self._observing


def _answer(answer: R) -> R:
    """*answer*, unless it is one that has not even begun."""
    if isinstance(answer, (CoroutineType, GeneratorType, AsyncGeneratorType)):
        if isinstance(answer, CoroutineType):
            answer.close()
            raise TypeError("an async target is asked with acall(), not call()")
        raise TypeError("a target that gives a stream is asked with stream() or astream()")
    return answer


def _note(error: Exception, passed: Sequence[PassedTarget]) -> None:
    if len(passed) > 1:
        note(error, f"tried {', '.join(map(str, passed))}")
