"""A circuit breaker for each model, whose changes are told, and the numbers that say how patient a run is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitState
from techrevati.runtime.failures import provider_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.cli.announcements import Announcer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how much trouble to take, in seconds and failures.

    Attributes:
        first_wait_s, longest_backoff_s: Bounds of the waits that we choose.
        longest_wait_s: What an endpoint may ask for; more is refused.
        failure_threshold: Failures in a row that open a circuit.
        open_s: How long it then stays open.
        attempts: Attempts of one call, each of which may ask every model.
        deadline_s: For the whole run.
    """

    first_wait_s: float = 1.0
    longest_backoff_s: float = 20.0
    longest_wait_s: float = 120.0
    failure_threshold: int = 3
    open_s: float = 15.0
    attempts: int = 3
    deadline_s: float = 600.0


class Circuit:
    """A model and the breaker in front of it.

    Attributes:
        model: Its name.
        breaker: Guards every call of it.
        opened: How often the breaker opened.
        refused: Calls that it refused.
    """

    def __init__(
        self, model: str, patience: Patience, clock: Callable[[], float], announcer: Announcer
    ) -> None:
        self.model: str = model
        self.opened: int = 0
        self.refused: int = 0
        self._patience = patience
        self._announcer = announcer
        self.breaker: CircuitBreaker = CircuitBreaker(
            model,
            patience.failure_threshold,
            patience.open_s,
            clock=clock,
            counts_as_failure=provider_failures,
            on_state_change=self._changed,
        )

    def _changed(self, name: str, before: CircuitState, after: CircuitState) -> None:
        data = {"circuit": name, "before": before.value, "after": after.value}
        if after is CircuitState.OPEN:
            self.opened += 1
            why = "the probe failed"
            if before is CircuitState.CLOSED:
                why = f"{self._patience.failure_threshold} failures in a row"
            told = f"{name} opened: {why}, so calls are refused for {self._patience.open_s:g} s"
            self._announcer.tell(Name.CIRCUIT_OPENED, Status.RED, told, data)
        elif after is CircuitState.HALF_OPEN:
            told = f"{name} half-open: the wait is over, one call may try"
            self._announcer.tell(Name.CIRCUIT_HALF_OPENED, Status.RUNNING, told, data)
        else:
            told = f"{name} closed: the call went through, so all calls may again"
            self._announcer.tell(Name.CIRCUIT_CLOSED, Status.GREEN, told, data)
