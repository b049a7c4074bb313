"""What breakers of several processes share: a gate and its window, as the bytes of one record.

Times are seconds since 1970.  A clock that was set back by more than a second since the last write moves
every time of the record back with it, so that no breaker stays open for as long as the clock was wrong.
"""

from __future__ import annotations

from techrevati.runtime.circuit_breaker.core import (
    DISABLED,
    FORCED_OPEN,
    Gate,
    Rules,
    Tally,
    resting,
    settled,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow

KEY_PREFIX = "breaker:"

_SCHEMA = 1
_CLOCKS_DIFFER_S = 1.0  # two readers of one clock never differ so much, one that was set back does


class Record:
    """A gate, and the window of its epoch where rates decide."""

    __slots__ = ("gate", "window")

    def __init__(self, gate: Gate, window: CountWindow | TimeWindow | None) -> None:
        self.gate: Gate = gate
        self.window: CountWindow | TimeWindow | None = window

    def goods(self, count: int, since_s: float, now_s: float) -> None:
        """Count good calls that were held back, unless the window would have forgotten them."""
        if count and self.window is not None and resting(self.gate) and self.window.holds(since_s, now_s):
            self.window.add_goods(count, now_s)

    def settle(
        self,
        epoch: int,
        number: int,
        ok: bool,
        slow: bool,
        now_s: float,
        rules: Rules,
        floor_s: float,
        spread: float,
    ) -> Gate:
        """Count one outcome, see ``core.settled``; the gate from now on."""
        gate, tally = self.gate, None
        if self.window is not None and epoch == gate.epoch and resting(gate):
            tally = self.window.add(ok, slow, now_s)
        self.set(
            settled(
                gate,
                epoch,
                number,
                ok,
                slow,
                now_s,
                rules,
                window=tally,
                floor_s=floor_s,
                spread=spread,
            )
        )
        return self.gate

    def set(self, gate: Gate) -> None:
        """Go on with *gate*; a new epoch begins with an empty window."""
        if self.window is not None and gate.epoch != self.gate.epoch:
            self.window = self.window.empty(gate.epoch)
        self.gate = gate


def record_bytes(record: Record, now_s: float) -> bytes:
    """A record as it is stored."""
    import json

    gate, judged = record.gate, record.gate.judged
    stored: dict[str, object] = {
        "schema": _SCHEMA,
        "at": now_s,
        "epoch": gate.epoch,
        "failures": gate.failures,
        "probe_at": gate.probe_at_s,
        "probes": gate.probes,
        "last_probe": gate.last_probe,
        "trips": gate.trips,
        "judged": None if judged is None else (judged.calls, judged.failed, judged.slow),
        "asked_until": gate.asked_until_s,
        "manual": gate.manual,
    }
    if record.window is not None:
        stored["window"] = record.window.saved()
    return json.dumps(stored, separators=(",", ":")).encode()


def record_from(value: bytes | None, window: CountWindow | TimeWindow | None, now_s: float) -> Record:
    """The record that was stored; a new one when there was none.

    Args:
        window: One of the kind and size that this breaker judges by.  What another kind has counted is not
            taken over.

    Raises:
        ValueError, KeyError, TypeError: It is no record of a breaker, or a newer version's.
    """
    if value is None:
        return Record(Gate(), None if window is None else window.empty(0))
    import json

    stored: dict[str, Any] = json.loads(value)
    if stored["schema"] != _SCHEMA:
        raise ValueError(f"a record of schema {stored['schema']!r}, this package knows {_SCHEMA}")
    back_s = min(0.0, now_s - stored["at"])
    if back_s > -_CLOCKS_DIFFER_S:
        back_s = 0.0
    probe_at_s, judged, epoch = stored["probe_at"], stored["judged"], int(stored["epoch"])
    gate = Gate(
        epoch,
        int(stored["failures"]),
        None if probe_at_s is None else probe_at_s + back_s,
        tuple([(int(number), end_s + back_s) for number, end_s in stored["probes"]]),
        int(stored["last_probe"]),
        trips=int(stored["trips"]),
        judged=None if judged is None else Tally(*judged),
        asked_until_s=stored["asked_until"] + back_s,
        manual=_MANUAL[stored["manual"]],
    )
    return Record(gate, None if window is None else window.restored(stored.get("window"), epoch))


# The core compares them by identity.
_MANUAL = {None: None, FORCED_OPEN: FORCED_OPEN, DISABLED: DISABLED}
