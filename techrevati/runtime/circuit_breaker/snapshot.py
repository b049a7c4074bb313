"""A breaker at one moment, frozen, for dashboards and tests."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.circuit_breaker.vocabulary import CircuitState


class BreakerSnapshot:
    """What a breaker knew at one moment.

    Attributes:
        name: The breaker.
        state: CLOSED, OPEN or HALF_OPEN.
        retry_after: Seconds until a call could be admitted; 0 when it could be then, None when nobody can
            say.
        failures: Consecutive failures, while closed and counting those.
        window_calls, window_failed, window_slow: What the window holds.
        probes: Probes that hold a permit.
        trips: Openings in a row without closing in between.
        mode: ``"normal"``, ``"observe_only"``, ``"forced_open"`` or ``"disabled"``.
    """

    __slots__ = FIELDS = (
        "name",
        "state",
        "retry_after",
        "failures",
        "window_calls",
        "window_failed",
        "window_slow",
        "probes",
        "trips",
        "mode",
    )

    name: str
    state: CircuitState
    retry_after: float | None
    failures: int
    window_calls: int
    window_failed: int
    window_slow: int
    probes: int
    trips: int
    mode: str

    def __init__(self, *values: object) -> None:
        for field, value in zip(self.FIELDS, values, strict=True):
            object.__setattr__(self, field, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a snapshot cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a snapshot cannot be changed: {name}")

    def to_dict(self) -> dict[str, object]:
        """Every field as a plain value."""
        values = {field: getattr(self, field) for field in self.FIELDS}
        return {**values, "state": self.state.value}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BreakerSnapshot) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.state, self.trips))

    def __reduce__(self) -> tuple[object, ...]:
        return BreakerSnapshot, tuple(getattr(self, field) for field in self.FIELDS)

    def __repr__(self) -> str:
        return f"BreakerSnapshot({self.to_dict()})"
