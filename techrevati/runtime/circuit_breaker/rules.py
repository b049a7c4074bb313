"""How a breaker judges calls by rate: its arguments, checked."""

from __future__ import annotations

from techrevati.runtime._core import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow


def rates(
    window_calls: int | None,
    window_seconds: float | None,
    failure_rate: float | None,
    slow_call_seconds: float | None,
    slow_call_rate: float | None,
    minimum_calls: int | None,
) -> tuple[CountWindow | TimeWindow | None, float | None, float | None, float | None, int]:
    """Window, failure rate, seconds from which a call is slow, slow-call rate, minimum of calls.

    Raises:
        ValueError, TypeError: An argument is out of range, or makes no sense without another.
    """
    window = _window(window_calls, window_seconds)
    for argument, value in (
        ("failure_rate", failure_rate),
        ("slow_call_seconds", slow_call_seconds),
        ("slow_call_rate", slow_call_rate),
        ("minimum_calls", minimum_calls),
    ):
        if value is not None and window is None:
            raise ValueError(f"{argument} needs window_calls or window_seconds, got {value!r} without")
    if slow_call_rate is not None and slow_call_seconds is None:
        raise ValueError(f"slow_call_rate needs slow_call_seconds, got {slow_call_rate!r} without")
    slow_s = None if slow_call_seconds is None else arguments.number("slow_call_seconds", slow_call_seconds)
    if window is not None:
        failure_rate = arguments.share("failure_rate", 0.5 if failure_rate is None else failure_rate)
        if slow_s is not None:
            slow_call_rate = arguments.share(
                "slow_call_rate", 1.0 if slow_call_rate is None else slow_call_rate
            )
    return window, failure_rate, slow_s, slow_call_rate, _minimum_calls(minimum_calls, window_calls)


def _window(calls: int | None, seconds: float | None) -> CountWindow | TimeWindow | None:
    if calls is None and seconds is None:
        return None
    if calls is not None and seconds is not None:
        raise ValueError(f"give window_calls or window_seconds, not both; got {calls!r} and {seconds!r}")
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow

    if calls is not None:
        return CountWindow(arguments.count("window_calls", calls, minimum=1))
    assert seconds is not None
    return TimeWindow(arguments.number("window_seconds", seconds, minimum=0.001))


def _minimum_calls(minimum_calls: int | None, window_calls: int | None) -> int:
    if minimum_calls is None:
        return min(10, window_calls or 10)
    arguments.count("minimum_calls", minimum_calls, minimum=1)
    if window_calls is not None and minimum_calls > window_calls:
        raise ValueError(f"minimum_calls must be <= window_calls ({window_calls}), got {minimum_calls!r}")
    return minimum_calls
