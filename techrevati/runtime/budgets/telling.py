"""Tell what a settlement brought about: thresholds that were reached, calls that used more than reserved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.budgets.vocabulary import BudgetThreshold, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from techrevati.runtime._core.tally import Amounts, Lease
    from techrevati.runtime.budgets.book import Charge, Crossing, Crossings

    class EventTaker(Protocol):
        """Takes events, as every event sink does."""

        def emit(self, event: AgentEvent) -> None:
            """Take one event."""
            ...


class Telling:
    """Who is told, and how; what a listener raises is logged.  No lock is held meanwhile."""

    def __init__(
        self,
        name: str,
        on_threshold: Callable[[BudgetThreshold], object] | None,
        event_sink: EventTaker | None,
    ) -> None:
        self._name = name
        self.on_threshold: Callable[[BudgetThreshold], object] | None = on_threshold
        self.event_sink: EventTaker | None = event_sink

    def end(self, charges: Sequence[Charge], lease: Lease, actual: Amounts, crossings: Crossings) -> None:
        """Tell of one settlement."""
        for crossing in crossings:
            self._threshold(charges[crossing.charge], crossing)
        asked = lease.asked
        for unit, amount in actual.items():
            if amount > asked.get(unit, 0) and unit != "wall_seconds":
                self._overrun(lease, unit, actual)

    def _threshold(self, charge: Charge, crossing: Crossing) -> None:
        unit, percent = crossing.unit, crossing.percent
        name = charge.budget
        used, limit = shown(unit, crossing.used), shown(unit, charge.limits[unit])
        told = BudgetThreshold(name, charge.window, unit, percent, used, limit)
        detail = f"{name}: {percent} % of the limit of {limit} {unit} is used"
        data = {"budget": name, "window": charge.window, "unit": unit, "percent": percent, "used": str(used)}
        self._emit(AgentEventName.BUDGET_THRESHOLD, detail, data)
        if self.on_threshold is not None:
            try:
                self.on_threshold(told)
            except Exception as error:
                logger("budgets").warning("on_threshold raised %s", type(error).__name__)

    def _overrun(self, lease: Lease, unit: str, actual: Amounts) -> None:
        used, asked = shown(unit, actual[unit]), shown(unit, lease.asked.get(unit, 0))
        detail = f"{self._name}: a call used {used} {unit} where {asked} was reserved"
        logger("budgets").warning("%s", detail)
        self._emit(
            AgentEventName.BUDGET_OVERRUN, detail, {"budget": self._name, "key": lease.key, "unit": unit}
        )

    def _emit(self, name: AgentEventName, detail: str, data: Mapping[str, object]) -> None:
        if self.event_sink is not None:
            try:
                self.event_sink.emit(AgentEvent(name, AgentEventStatus.RED, detail=detail, data=data))
            except Exception as error:
                logger("budgets").warning("event_sink.emit raised %s", type(error).__name__)
