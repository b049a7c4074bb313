"""What a breaker decides, without a clock, a lock or a call.

``Gate`` is a frozen record of all that a breaker remembers, except the window of recent calls, which is
counted in place (see ``window``) and reaches the decision as a ``Tally``.  Every function takes the time as
an argument and gives a new gate.
"""

from __future__ import annotations

from math import nextafter

from techrevati.runtime.circuit_breaker.vocabulary import CircuitState

FORCED_OPEN = "forced_open"
DISABLED = "disabled"


class Tally:
    """How many calls were seen, and how many of them failed or were slow."""

    __slots__ = ("calls", "failed", "slow")

    def __init__(self, calls: int = 0, failed: int = 0, slow: int = 0) -> None:
        self.calls: int = calls
        self.failed: int = failed
        self.slow: int = slow

    def plus(self, ok: bool, slow: bool) -> Tally:
        """One call more."""
        return Tally(self.calls + 1, self.failed + (not ok), self.slow + slow)

    def take(self, other: Tally) -> None:
        """Count what *other* holds no longer."""
        self.calls -= other.calls
        self.failed -= other.failed
        self.slow -= other.slow


class Rules:
    """The numbers a breaker was built with.  Without rates it counts consecutive failures."""

    __slots__ = (
        "failure_rate",
        "growth",
        "jitter",
        "lease_s",
        "longest_s",
        "max_probes",
        "minimum_calls",
        "recovery_s",
        "slow_rate",
        "threshold",
    )

    def __init__(
        self,
        threshold: int,
        recovery_s: float,
        max_probes: int,
        lease_s: float,
        *,
        failure_rate: float | None = None,
        slow_rate: float | None = None,
        minimum_calls: int = 1,
        growth: float = 1.0,
        longest_s: float = float("inf"),
        jitter: float = 0.0,
    ) -> None:
        self.threshold: int = threshold
        self.recovery_s: float = recovery_s
        self.max_probes: int = max_probes
        self.lease_s: float = lease_s
        self.failure_rate: float | None = failure_rate
        self.slow_rate: float | None = slow_rate
        self.minimum_calls: int = minimum_calls
        self.growth: float = growth
        self.longest_s: float = longest_s
        self.jitter: float = jitter

    @property
    def by_rate(self) -> bool:
        """True when rates over a window decide, False when consecutive failures do."""
        return self.failure_rate is not None or self.slow_rate is not None


class Gate:
    """All that a breaker remembers between calls.  Never changed once made."""

    __slots__ = (
        "asked_until_s",
        "epoch",
        "failures",
        "judged",
        "last_probe",
        "manual",
        "probe_at_s",
        "probes",
        "trips",
    )

    def __init__(
        self,
        epoch: int = 0,
        failures: int = 0,
        probe_at_s: float | None = None,
        probes: tuple[tuple[int, float], ...] = (),
        last_probe: int = 0,
        *,
        trips: int = 0,
        judged: Tally | None = None,
        asked_until_s: float = float("-inf"),
        manual: str | None = None,
    ) -> None:
        self.epoch: int = epoch  # moves on whenever older calls stop counting
        self.failures: int = failures  # in a row, while closed
        self.probe_at_s: float | None = probe_at_s  # None: closed
        self.probes: tuple[tuple[int, float], ...] = (
            probes  # (number, end of its lease) of each probe that holds a permit
        )
        self.last_probe: int = last_probe  # probes are numbered from 1 within an epoch
        self.trips: int = trips  # openings in a row without closing in between
        self.judged: Tally | None = judged  # outcomes of this half-open round
        self.asked_until_s: float = asked_until_s  # the latest moment that failures of this epoch asked for
        self.manual: str | None = manual  # FORCED_OPEN, DISABLED, or None


def resting(gate: Gate) -> bool:
    """Closed, and not by hand: the state in which calls are counted."""
    return gate.probe_at_s is None and gate.manual is None


def state_at(gate: Gate, now_s: float) -> CircuitState:
    """The state as an observer sees it: half-open as soon as the recovery time is over."""
    if gate.manual is not None:
        return CircuitState.OPEN if gate.manual is FORCED_OPEN else CircuitState.CLOSED
    if gate.probe_at_s is None:
        return CircuitState.CLOSED
    return CircuitState.OPEN if now_s < gate.probe_at_s else CircuitState.HALF_OPEN


def admits(gate: Gate, now_s: float, rules: Rules) -> bool:
    """True when a call may start now."""
    if gate.manual is not None:
        return gate.manual is DISABLED
    if gate.probe_at_s is None:
        return True
    return now_s >= gate.probe_at_s and _taken(gate, now_s, rules) < rules.max_probes


def retry_after_s(gate: Gate, now_s: float, rules: Rules) -> float | None:
    """Seconds until a call could be admitted; 0 when it is now, None when nobody can say."""
    if admits(gate, now_s, rules):
        return 0.0
    if gate.manual is not None or gate.probe_at_s is None:
        return None
    if now_s < gate.probe_at_s:
        return seconds_until(gate.probe_at_s, now_s)
    ends = sorted(end_s for _, end_s in gate.probes if end_s > now_s)
    return seconds_until(ends[_taken(gate, now_s, rules) - rules.max_probes], now_s)


def started(gate: Gate, now_s: float, rules: Rules) -> Gate:
    """The gate after admitting one call; a probe takes a permit, and expired leases lose theirs."""
    if gate.probe_at_s is None or gate.manual is not None:
        return gate
    live = tuple(probe for probe in gate.probes if probe[1] > now_s)
    number = gate.last_probe + 1
    probes = (*live, (number, now_s + rules.lease_s))
    return _probing(gate, probes, number, gate.judged, gate.asked_until_s)


def settled(
    gate: Gate,
    epoch: int,
    number: int,
    ok: bool,
    slow: bool,
    now_s: float,
    rules: Rules,
    *,
    window: Tally | None = None,
    floor_s: float = 0.0,
    spread: float = 0.0,
) -> Gate:
    """The gate after one outcome.

    Args:
        epoch, number: What admitted the call: its epoch, and the probe's number or 0.
        ok, slow: How it ended.
        window: The recent calls, this one included, where rates decide.
        floor_s: Seconds that the provider asked to be left alone: should this or a later failure of the
            epoch open it, it stays open so long.
        spread: A number in [0, 1) for jitter.
    """
    if epoch != gate.epoch or gate.manual is not None:
        return gate
    asked_s = max(gate.asked_until_s, now_s + floor_s) if floor_s > 0 else gate.asked_until_s
    if gate.probe_at_s is None:
        return _settled_closed(gate, ok, now_s, rules, window, asked_s, spread)
    if now_s < gate.probe_at_s:
        return gate  # open: nobody was admitted, so this is hearsay
    judged: Tally | None = None
    verdict: bool | None = ok
    if rules.by_rate:
        judged = (gate.judged or Tally()).plus(ok, slow)
        verdict = _verdict(judged, rules)
    if verdict is not None:
        return Gate(gate.epoch + 1) if verdict else _opened(gate, now_s, rules, asked_s, spread)
    left = tuple(probe for probe in gate.probes if probe[0] != number)
    return _probing(gate, left, gate.last_probe, judged, asked_s)


def given_back(gate: Gate, epoch: int, number: int) -> Gate:
    """The gate after a call ended without telling anything; its permit, if it holds one, is free again."""
    left = tuple(probe for probe in gate.probes if probe[0] != number)
    if epoch != gate.epoch or len(left) == len(gate.probes):
        return gate
    return _probing(gate, left, gate.last_probe, gate.judged, gate.asked_until_s)


def tripped(window: Tally, rules: Rules) -> bool:
    """True when the recent calls are too bad to go on."""
    if window.calls < rules.minimum_calls:
        return False
    return _reaches(window.failed, window.calls, rules.failure_rate) or _reaches(
        window.slow, window.calls, rules.slow_rate
    )


def seconds_until(then_s: float, now_s: float) -> float:
    """How long to wait; whoever waits exactly this long does not come too early, rounding or not."""
    wait_s = then_s - now_s
    return wait_s if now_s + wait_s >= then_s else nextafter(wait_s, float("inf")) + 1e-9


def _settled_closed(
    gate: Gate,
    ok: bool,
    now_s: float,
    rules: Rules,
    window: Tally | None,
    asked_s: float,
    spread: float,
) -> Gate:
    if rules.by_rate:
        if window is not None and tripped(window, rules):
            return _opened(gate, now_s, rules, asked_s, spread)
        return gate if asked_s == gate.asked_until_s else Gate(gate.epoch, asked_until_s=asked_s)
    if ok:
        return Gate(gate.epoch) if gate.failures else gate
    if gate.failures + 1 < rules.threshold:
        return Gate(gate.epoch, gate.failures + 1, asked_until_s=asked_s)
    return _opened(gate, now_s, rules, asked_s, spread)


def _opened(gate: Gate, now_s: float, rules: Rules, asked_s: float, spread: float) -> Gate:
    try:
        open_s = rules.recovery_s and min(rules.longest_s, rules.recovery_s * rules.growth**gate.trips)
    except OverflowError:
        open_s = rules.longest_s
    # Jitter only lengthens: a fleet comes back spread out, and never before the time that was asked for.
    probe_at_s = max(now_s + open_s * (1 + rules.jitter * spread), asked_s)
    return Gate(gate.epoch + 1, 0, probe_at_s, trips=gate.trips + 1)


def _probing(
    gate: Gate,
    probes: tuple[tuple[int, float], ...],
    last_probe: int,
    judged: Tally | None,
    asked_s: float,
) -> Gate:
    return Gate(
        gate.epoch,
        0,
        gate.probe_at_s,
        probes,
        last_probe,
        trips=gate.trips,
        judged=judged,
        asked_until_s=asked_s,
    )


def _verdict(judged: Tally, rules: Rules) -> bool | None:
    """True: the round is good.  False: it is not.  None: the probes to come still decide."""
    total = rules.max_probes
    left = total - judged.calls
    for bad, rate in ((judged.failed, rules.failure_rate), (judged.slow, rules.slow_rate)):
        if _reaches(bad, total, rate):
            return False
    if any(
        _reaches(bad + left, total, rate)
        for bad, rate in ((judged.failed, rules.failure_rate), (judged.slow, rules.slow_rate))
    ):
        return None
    return True


def _taken(gate: Gate, now_s: float, rules: Rules) -> int:
    live = sum(end_s > now_s for _, end_s in gate.probes)
    return live if gate.judged is None else live + gate.judged.calls


def _reaches(part: int, whole: int, rate: float | None) -> bool:
    # Divided, not multiplied: 7 of 100 reach a rate of 0.07, but 0.07 * 100 is more than 7.
    return rate is not None and part > 0 and part / whole >= rate
