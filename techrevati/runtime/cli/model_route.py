"""Which model is asked next: the preferred one, or another while it is in trouble.

Every model has a circuit breaker of its own.  The route only remembers which model is current and when a
circuit will let a probe through; whether a call may start is the breaker's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitState
from techrevati.runtime.retry_policy import next_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from techrevati.runtime.cli.announcements import Announcer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how much trouble to take, in seconds and failures.

    Attributes:
        first_wait_s, longest_backoff_s: Bounds of the waits that we choose.
        longest_wait_s: What an endpoint may ask for; more is refused.
        failure_threshold: Failures in a row that open a circuit.
        open_s: How long it then stays open.
    """

    first_wait_s: float = 1.0
    longest_backoff_s: float = 20.0
    longest_wait_s: float = 120.0
    failure_threshold: int = 3
    open_s: float = 15.0


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
        self._clock = clock
        self._announcer = announcer
        self._probe_at_s = 0.0
        self.breaker: CircuitBreaker = CircuitBreaker(
            model, patience.failure_threshold, patience.open_s, clock=clock, on_state_change=self._changed
        )

    def seconds_until_probe(self) -> float:
        """How long it still refuses every call; 0 when it does not."""
        return max(0.0, self._probe_at_s - self._clock()) if self.breaker.is_open() else 0.0

    def _changed(self, name: str, before: CircuitState, after: CircuitState) -> None:
        data = {"circuit": name, "before": before.value, "after": after.value}
        if after is CircuitState.OPEN:
            self.opened += 1
            self._probe_at_s = self._clock() + self._patience.open_s
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


class ModelRoute:
    """The models, in order of preference, and the current one."""

    def __init__(
        self, models: Sequence[str], patience: Patience, clock: Callable[[], float], announcer: Announcer
    ) -> None:
        self.circuits: dict[str, Circuit] = {
            model: Circuit(model, patience, clock, announcer) for model in models
        }
        self.current: Circuit = self.circuits[models[0]]

    def prefer_first(self) -> None:
        """Go back to the preferred model."""
        self.current = next(iter(self.circuits.values()))

    def switch(self) -> str | None:
        """Go on with another model and return its name; None when there is no other."""
        other = next_provider(self.circuits, self.current.model)
        if other is not None:
            self.current = self.circuits[other]
        return other
