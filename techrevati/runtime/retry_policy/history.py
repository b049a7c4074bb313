"""What an exception tells about its own history: whether it was sent, and which layer gave it up."""

from __future__ import annotations

from techrevati.runtime._core.notes import facts

# Names of exceptions of every HTTP library that mean: no connection was made, so nothing was sent.
_NOT_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectionRefusedError",
        "ClientConnectorError",
        "EndpointConnectionError",
        "NewConnectionError",
        "PoolTimeout",
        "gaierror",
    }
)
_GAVE_UP = "_techrevati_gave_up"


def never_sent(error: BaseException) -> bool:
    """True when *error*, or what it says it was caused by, says that no connection was made.

    What was merely being handled when it was raised says nothing: that may have been another request.
    """
    for _ in range(8):
        if any(kind.__name__ in _NOT_SENT for kind in type(error).__mro__):
            return True
        named = (error.__cause__, getattr(error, "reason", None), error.args[0] if error.args else None)
        below = next((one for one in named if isinstance(one, BaseException)), None)
        if below is None:
            return False
        error = below
    return False


class _Mark(int):
    """The number of a giving up, as ``retry.given_up`` counts; says nothing in another process."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ()


def mark(error: BaseException, number: int) -> None:
    """Let *error* say that a layer gave it up, and that this was giving up *number*."""
    facts(error)[_GAVE_UP] = _Mark(number)


def caused(error: BaseException, cause: BaseException | None) -> None:
    """Let *error* say that *cause* caused it, unless it says something else or that would be a ring."""
    if cause is None or error.__cause__ is not None:
        return
    below: BaseException | None = cause
    for _ in range(100):
        if below is error:
            return
        if below is None:
            error.__cause__ = cause
            return
        below = below.__cause__ or below.__context__


def gave_up_inside(error: BaseException, since: int) -> bool:
    """Did a layer inside of the call that began at *since* give up on *error*, or on what is below it?"""
    waiting, seen = [error], 0
    while waiting and seen < 100:
        error, seen = waiting.pop(), seen + 1
        if facts(error).get(_GAVE_UP, 0) > since:
            return True
        below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if below is not None:
            waiting.append(below)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions[:100]
    return False
