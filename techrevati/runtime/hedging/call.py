"""The books of one hedged call, the same for threads and tasks: they keep its race and what was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.judging import asked
from techrevati.runtime._core.notes import note
from techrevati.runtime.failures import Failure, classify
from techrevati.runtime.hedging.race import begun, declined, failed, helps_again, is_due, is_lost, joined
from techrevati.runtime.hedging.streams import FirstItem
from techrevati.runtime.hedging.vocabulary import HedgedRequest, Loser

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.hedging.hedge import Hedge


class HedgedCall:
    """The books of one call: its race, when each request began, and what failed."""

    __slots__ = ("_began_s", "_clock", "_delay_s", "_errors", "_hedge", "_race", "_raised", "_reason")

    def __init__(self, hedge: Hedge, clock: Callable[[], float]) -> None:
        self._hedge = hedge
        self._clock = clock
        self._delay_s = hedge._called()
        self._began_s = [clock()]
        self._race = begun(self._began_s[0], self._delay_s, hedge._limit)
        self._errors: list[tuple[int, Exception, Failure]] = []
        self._raised: BaseException | None = None
        self._reason = "late"

    def start_due(self, start: Callable[[int], None]) -> None:
        """Begin all further requests that are due and allowed."""
        while is_due(self._race, now_s := self._clock()):
            number, reason = self._race.started + 1, self._reason
            refused = self._refused()
            if refused is None:
                refused = self._begin(start, number, now_s)
            if refused is None:
                self._race = joined(self._race, now_s, self._delay_s, self._hedge._limit)
            else:
                self._race = declined(self._race)
            self._reason = "late"
            news = HedgedRequest(number, reason, now_s - self._began_s[0], refused)
            self._hedge._tell(self._hedge._on_hedge, "on_hedge", news)

    def _begin(self, start: Callable[[int], None], number: int, now_s: float) -> str | None:
        """Begin it; why it could not begin, which is no reason to give up those that run."""
        self._began_s.append(now_s)  # before it can have ended
        try:
            start(number)
        except BaseException as error:
            self._began_s.pop()
            self._hedge._give_back()
            if isinstance(error, RuntimeError):  # of the interpreter: no more threads
                return "resources"
            raise
        return None

    def _refused(self) -> str | None:
        left_s = remaining_s()
        if left_s is not None and left_s <= 0:
            return "deadline"
        if not self._hedge._take():
            return "share"
        return "observe_only" if self._hedge.observe_only else None

    def wait_s(self) -> float | None:
        """Seconds until one more request is due; None when only an outcome can change anything."""
        due_s = self._race.next_at_s
        return None if due_s is None else max(0.0, due_s - self._clock())

    def timer_fired(self) -> None:
        """The wait is over, whatever the clock says: clocks are coarse, and this one may stand still."""
        if self._race.next_at_s is not None:
            self._race = self._race._replace(next_at_s=min(self._race.next_at_s, self._clock()))

    def failed(self, number: int, error: Exception) -> None:
        """A request failed; the next may be due at once."""
        failure = classify(error)
        hedge = self._hedge
        judge = hedge._hedges_on
        wanted = None if judge is None else asked("hedging", "hedges_on", judge, failure)
        again = helps_again(failure) if wanted is None else wanted
        self._errors.append((number, error, failure))
        self._race = failed(self._race, self._clock(), again, hedge._limit)
        self._reason = "failed"

    def check(self) -> None:
        """Raise when nothing is left that could answer."""
        if not is_lost(self._race):
            return
        _, error, _ = max(self._errors, key=_gravity)
        if len(self._errors) > 1:
            named = ", ".join(f"{number}: {failure.kind.value}" for number, _, failure in self._errors)
            note(error, f"all {len(self._errors)} requests failed ({named})")
        self._raised = error
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: no cycle

    def won(self, number: int) -> None:
        """A request answered."""
        first_failed = any(failed == 1 for failed, _, _ in self._errors)
        latency_s = None if first_failed else self._clock() - self._began_s[0]
        self._hedge._answered(latency_s, number > 1)

    def tell_loser(
        self, number: int, result: object, error: BaseException | None, cancelled: bool = False
    ) -> None:
        """Tell what a request brought that is not the outcome of the call."""
        if isinstance(result, FirstItem):
            result = result.item
        took_s = self._clock() - self._began_s[number - 1]
        loser = Loser(number, result, error, cancelled, took_s)
        self._hedge._tell(self._hedge._on_loser, "on_loser", loser)

    def end(self) -> None:
        """Tell those failures that the caller does not get; forget all, for their tracebacks lead here."""
        errors, raised = self._errors, self._raised
        self._errors, self._raised = [], None
        for number, error, _ in errors:
            if error is not raised:
                self.tell_loser(number, None, error)


def _gravity(entry: tuple[int, Exception, Failure]) -> tuple[bool, float]:
    """Which error tells most; among equals the first."""
    failure = entry[2]
    return not failure.retryable, -1.0 if failure.retry_after is None else failure.retry_after
