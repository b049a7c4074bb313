"""The metrics of model calls, and of the breakers and budgets that somebody watches.

Token usage and duration are the GenAI conventions' histograms with their bucket boundaries; the others are
ours, under ``techrevati.``.  Every attribute has a bounded number of values.

Source: OpenTelemetry semantic conventions for generative AI, client metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime.otel.sendable import encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

    from techrevati.runtime._core.redactor import Redactor
    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, BreakerRegistry, CircuitBreaker
    from techrevati.runtime.usage import UsageSnapshot

S = TypeVar("S")

TOKEN_BUCKETS = tuple(4**power for power in range(14))
SECONDS_BUCKETS = tuple(0.01 * 2**power for power in range(14))
_STATES = ("closed", "half_open", "open")
OTHER = "_other"


class Names:
    """The first *capacity* values, as *shown* makes them, all later ones as ``_other``.  Thread-safe."""

    def __init__(self, capacity: int, shown: Callable[[str], str]) -> None:
        self.capacity: int = arguments.count("max_series", capacity, minimum=1)
        self._shown = shown
        self._known: dict[str, str] = {}

    def bounded(self, value: str) -> str:
        """*value* as it is shown, or ``_other``."""
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= self.capacity:
                return OTHER
            known = self._known[value] = self._shown(value)
        return known


class Instruments:
    """What is measured.  Thread-safe.

    Args:
        meter: Where metrics go.
        max_series: Models, and watched breakers and budgets, that are told apart.
        redactor: Goes over every name: a breaker for each key may be called like the key.
    """

    def __init__(self, meter: Meter, max_series: int, redactor: Redactor) -> None:
        self._redactor = redactor
        self._models = Names(max_series, self._shown)
        self._providers = Names(max_series, self._shown)
        self._servers = Names(max_series, self._shown)
        self._lock = fork_safe_lock()
        self._breakers: list[CircuitBreaker | BreakerRegistry] = []
        self._budgets: list[Budget] = []
        self.capacity: int = max_series
        self._tokens = _histogram(
            meter,
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            TOKEN_BUCKETS,
        )
        self._seconds = _histogram(
            meter, "gen_ai.client.operation.duration", "s", "GenAI operation duration.", SECONDS_BUCKETS
        )
        self._cost = meter.create_counter(
            "techrevati.cost.usd", unit="USD", description="US dollars spent on model calls"
        )
        self._retries = meter.create_counter(
            "techrevati.retries", unit="{attempt}", description="Attempts after the first of a model call"
        )
        meter.create_observable_gauge(
            "techrevati.circuit.state",
            [self._circuits],
            unit="1",
            description="1 for the state that a watched circuit is in, 0 for the others",
        )
        meter.create_observable_gauge(
            "techrevati.budget.remaining",
            [self._left],
            unit="1",
            description="What a watched budget still allows, by its unit; below 0 when overspent",
        )

    def about(
        self, provider: str, model: str, error_type: str | None = None, operation: str = "chat"
    ) -> dict[str, str | int]:
        """The attributes of a model call's metrics."""
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": self._providers.bounded(provider),
            "gen_ai.request.model": self._models.bounded(model),
        }
        if error_type is not None:
            attributes["error.type"] = encodable(error_type)
        return attributes

    def _shown(self, name: str) -> str:
        return encodable(self._redactor.text(name))

    def server(self, address: str, port: int) -> dict[str, str | int]:
        """Who was asked, for the same metrics."""
        if self._servers.bounded(f"{address}:{port}") == OTHER:
            return {"server.address": OTHER}
        return {"server.address": address, "server.port": port}

    def seconds(self, seconds: float, about: Mapping[str, str | int]) -> None:
        """One physical request took so long."""
        self._seconds.record(max(0.0, seconds), about)

    def used(self, usage: UsageSnapshot, cost_usd: float | None, about: Mapping[str, str | int]) -> None:
        """One model call used that."""
        about = {key: value for key, value in about.items() if key != "error.type"}
        given = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        self._tokens.record(given, {**about, "gen_ai.token.type": "input"})
        self._tokens.record(usage.output_tokens, {**about, "gen_ai.token.type": "output"})
        if cost_usd is not None:
            self._cost.add(cost_usd, about)

    def retried(self, about: Mapping[str, str | int]) -> None:
        """An attempt that was not the first began."""
        self._retries.add(1, {key: value for key, value in about.items() if key != "error.type"})

    # --- gauges --------------------------------------------------------------------------------------------

    def watch_breaker(self, breaker: CircuitBreaker | BreakerRegistry | AsyncCircuitBreaker) -> None:
        """Show the state of a breaker, or of all that a registry keeps."""
        sync = getattr(breaker, "as_sync", None)
        watched = cast("CircuitBreaker | BreakerRegistry", breaker if sync is None else sync())
        with self._lock:
            if not any(watched is each for each in self._breakers) and len(self._breakers) < self.capacity:
                self._breakers.append(watched)

    def watch_budget(self, budget: Budget) -> None:
        """Show what is left of a budget, one series for each unit that it limits."""
        with self._lock:
            if not any(budget is each for each in self._budgets) and len(self._budgets) < self.capacity:
                self._budgets.append(budget)

    def _circuits(self, _: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        with self._lock:
            watched = list(self._breakers)
        shown: set[str] = set()
        for snapshot in _each(breaker.snapshot for breaker in _single(watched)):
            name = self._shown(snapshot.name)
            if name in shown or len(shown) >= self.capacity:
                continue
            shown.add(name)
            for state in _STATES:
                about = {"techrevati.circuit.name": name, "techrevati.circuit.state": state}
                yield Observation(int(snapshot.state.value == state), about)

    def _left(self, _: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        with self._lock:
            watched = list(self._budgets)
        for snapshot in _each(budget.snapshot for budget in watched):
            for unit in snapshot.limits:
                about = {"techrevati.budget.name": self._shown(snapshot.name), "techrevati.budget.unit": unit}
                yield Observation(float(snapshot.remaining(unit)), about)


def _each(snapshots: Iterable[Callable[[], S]]) -> Iterator[S]:
    """All that can be taken; a store that fails keeps no other series away.  Its error is raised at the end,
    for the log of the metrics' reader."""
    trouble: Exception | None = None
    for snapshot in snapshots:
        try:
            yield snapshot()
        except Exception as error:
            trouble = error
    if trouble is not None:
        raise trouble


def _single(watched: Iterable[CircuitBreaker | BreakerRegistry]) -> Iterator[CircuitBreaker]:
    for one in watched:
        every: Callable[[], Mapping[object, CircuitBreaker]] | None = getattr(one, "all", None)
        if every is None:
            yield cast("CircuitBreaker", one)
        else:
            yield from every().values()


def _histogram(meter: Meter, name: str, unit: str, about: str, buckets: tuple[float, ...]) -> Histogram:
    try:
        return meter.create_histogram(
            name, unit=unit, description=about, explicit_bucket_boundaries_advisory=list(buckets)
        )
    except TypeError:  # an API before 1.30: the SDK's own boundaries, or those of a view
        return meter.create_histogram(name, unit=unit, description=about)
