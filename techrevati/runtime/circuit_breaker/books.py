"""The books of one breaker: admit a call, count its outcome, tell the change; the same for every way to call.

The lock is held for each decision, never while the caller's code runs.
"""

from __future__ import annotations

from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.circuit_breaker.core import (
    DISABLED,
    FORCED_OPEN,
    Gate,
    Tally,
    admits,
    given_back,
    resting,
    retry_after_s,
    settled,
    started,
    state_at,
    tripped,
)
from techrevati.runtime.circuit_breaker.vocabulary import CircuitOpenError, CircuitState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from techrevati.runtime.circuit_breaker.core import Rules
    from techrevati.runtime.circuit_breaker.shared import SharedGate
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow

    StateListener: TypeAlias = Callable[[str, CircuitState, CircuitState], object]

announce("circuit_breaker")

Ticket = tuple[int, int, float]  # epoch, number of the probe or 0, when it started

_UNCOUNTED = -1  # the epoch of a call that is only let through because the breaker merely observes
refusal: Callable[[type[CircuitOpenError], str, float | None], CircuitOpenError] = CircuitOpenError.__new__


class BreakerBooks:
    """What a breaker knows, and how an outcome changes it."""

    __slots__ = (
        "_clock",
        "_counts_as_failure",
        "_gate",
        "_listener",
        "_lock",
        "_name",
        "_observe_only",
        "_proven",
        "_quiet",
        "_respect_retry_after",
        "_result_is_failure",
        "_rng",
        "_rules",
        "_shared",
        "_slow_s",
        "_steady",
        "_timeless",
        "_window",
    )

    if TYPE_CHECKING:
        _clock: Callable[[], float]
        _counts_as_failure: Callable[[Exception], bool] | None
        _gate: Gate
        _listener: StateListener | None
        _lock: LockType
        _name: str
        _observe_only: bool
        _proven: bool
        _quiet: Gate | None
        _respect_retry_after: bool
        _result_is_failure: Callable[[object], bool] | None
        _rng: Callable[[], float] | None
        _rules: Rules
        _shared: SharedGate | None
        _slow_s: float | None
        _steady: CountWindow | TimeWindow | None
        _window: CountWindow | TimeWindow | None

    def _begin(self) -> Ticket:
        """Admit one call or raise CircuitOpenError."""
        gate = self._gate
        if gate.probe_at_s is None and gate.manual is None:
            return gate.epoch, 0, 0.0 if self._slow_s is None else self._clock()
        now_s = self._clock()
        if self._shared is not None:
            before, after, admitted = self._shared.admit(now_s)
        else:
            with self._lock:
                before = after = self._gate
                admitted = admits(before, now_s, self._rules)
                if admitted:
                    self._gate = after = started(before, now_s, self._rules)
        if not admitted:
            if self._observe_only:
                return _UNCOUNTED, 0, now_s
            raise refusal(CircuitOpenError, self._name, retry_after_s(before, now_s, self._rules))
        if after.last_probe == 1 and before.last_probe == 0:
            try:
                self._tell(CircuitState.OPEN, CircuitState.HALF_OPEN)
            except BaseException:
                self._give_back((after.epoch, after.last_probe, now_s))
                raise
        return after.epoch, after.last_probe, now_s

    def _end(self, ticket: Ticket, error: BaseException | None) -> None:
        if error is None:
            self._settle(ticket, True)
        elif isinstance(error, Exception):
            self._failed(ticket, error)
        else:
            self._give_back(ticket)

    def _returned(self, ticket: Ticket, result: object) -> None:
        self._settle(ticket, not self._bad_result(ticket, result))

    def _bad_result(self, ticket: Ticket, result: object) -> bool:
        judge = self._result_is_failure
        return judge is not None and self._speaks_against(ticket, judge, result)

    def _failed(
        self, ticket: Ticket, error: Exception, else_judge: Callable[[Exception], bool] | None = None
    ) -> None:
        judge = self._counts_as_failure or else_judge
        if judge is None or self._speaks_against(ticket, judge, error):
            self._settle(ticket, False, error)
        else:
            self._give_back(ticket)  # it speaks about the call, not about the dependency

    def _speaks_against(self, ticket: Ticket, judge: Callable[[Any], bool], what: object) -> bool:
        try:
            return bool(judge(what))
        except Exception as trouble:
            logger("circuit_breaker").warning("a judge of %r raised %s", self._name, error_text(trouble))
            return True
        except BaseException:
            self._give_back(ticket)
            raise

    def _settle(self, ticket: Ticket | None, ok: bool, error: Exception | None = None) -> None:
        """Count one outcome; *ticket* None means one of the current epoch."""
        gate = self._gate
        if (
            ok
            and gate.probe_at_s is None
            and not gate.failures
            and self._window is None
            and self._shared is None
        ):
            return  # closed and nothing on record: a success changes nothing, of whatever epoch
        now_s = self._clock()
        floor_s = self._asked_for_s(error)
        spread = 0.0 if ok or not self._rules.jitter else self._random()
        epoch, number, started_s = ticket or (None, 0, 0.0)
        slow = self._slow_s is not None and ticket is not None and now_s - started_s > self._slow_s
        if self._shared is not None:
            before, after = self._shared.settle(epoch, number, ok, slow, now_s, floor_s, spread)
            if after.epoch != before.epoch:
                self._tell_change(before, after, now_s)
            return
        with self._lock:
            before = self._gate
            if epoch is None:
                epoch = before.epoch
            tally: Tally | None = None
            if self._window is not None and epoch == before.epoch and resting(before):
                tally = self._window.add(ok, slow, now_s)
                self._judge_good_locked(tally)
            after = settled(
                before,
                epoch,
                number,
                ok,
                slow,
                now_s,
                self._rules,
                window=tally,
                floor_s=floor_s,
                spread=spread,
            )
            if after is before:
                return
            self._set_locked(after)
        if after.epoch != before.epoch:
            self._tell_change(before, after, now_s)

    def _give_back(self, ticket: Ticket) -> None:
        epoch, number, _ = ticket
        if self._shared is not None:
            self._shared.give_back(epoch, number, self._clock())
            return
        with self._lock:
            self._gate = given_back(self._gate, epoch, number)

    def _override(self, manual: str | None) -> None:
        now_s = self._clock()
        if self._shared is not None:
            before, after = self._shared.override(manual, now_s)
        else:
            with self._lock:
                before = self._gate
                after = Gate(before.epoch + 1, manual=manual)
                self._set_locked(after)
        self._tell_change(before, after, now_s)

    def _set_locked(self, gate: Gate) -> None:
        if gate.epoch != self._gate.epoch and self._window is not None:
            self._window = self._window.empty(gate.epoch)
            self._steady = None
        self._gate = gate
        counts = self._window is not None or self._result_is_failure is not None
        rests = resting(gate) and not gate.failures and not counts
        self._quiet = gate if self._proven and (rests or gate.manual is DISABLED) else None

    def _prove(self) -> None:
        """A first call has returned what it should: from now on results are not looked at."""
        with self._lock:
            self._proven = True
            self._set_locked(self._gate)

    def _judge_good_locked(self, tally: Tally) -> None:
        enough = tally.calls >= self._rules.minimum_calls and self._result_is_failure is None
        self._steady = self._window if enough and not tripped(tally, self._rules) else None

    def _asked_for_s(self, error: Exception | None) -> float:
        if error is None or not self._respect_retry_after:
            return 0.0
        from techrevati.runtime.failures import classify

        return classify(error).retry_after or 0.0

    def _random(self) -> float:
        if self._rng is None:
            import random

            self._rng = random.random
        return self._rng()

    def _tell_change(self, before: Gate, after: Gate, now_s: float) -> None:
        was, now = state_at(before, now_s), resting_state(after)
        if was is CircuitState.HALF_OPEN and not before.last_probe:
            self._tell(CircuitState.OPEN, was)  # no probe has told it yet
        if was is not now:
            self._tell(was, now)

    def _tell(self, before: CircuitState, after: CircuitState) -> None:
        if self._listener is None:
            return
        try:
            self._listener(self._name, before, after)
        except Exception as error:
            logger("circuit_breaker").warning(
                "on_state_change of %r raised %s", self._name, error_text(error)
            )


def resting_state(gate: Gate) -> CircuitState:
    if gate.manual is not None:
        return CircuitState.OPEN if gate.manual is FORCED_OPEN else CircuitState.CLOSED
    return CircuitState.CLOSED if gate.probe_at_s is None else CircuitState.OPEN
