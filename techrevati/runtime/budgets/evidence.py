"""What an exception proves about a request: that it was never sent, or that it was refused unbilled."""

from __future__ import annotations

from enum import Enum

from techrevati.runtime.failures import FailureOrigin, classify


class Proof(Enum):
    """What is known of a request that failed."""

    UNSENT = "unsent"  # no byte of it reached the provider
    UNBILLED = "unbilled"  # the provider refused it
    NONE = "none"


_NEVER_CONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "gaierror")
_REFUSED_BY_US = (
    "BudgetExceededError",
    "BulkheadFullError",
    "CircuitOpenError",
    "MaxIterationsExceededError",
    "NoTargetError",
    "PermissionDeniedError",
    "RateLimitExceededError",
)


def proof(error: BaseException) -> Proof:
    """What *error* proves.

    Providers bill answers: a status of 400 or more was not billed.  A connection that was never made carried
    nothing.  A cancellation, a timeout, a broken connection or a broken answer proves nothing.
    """
    if not isinstance(error, Exception):
        return Proof.NONE
    failure = classify(error)
    if failure.status_code is not None and failure.status_code >= 400:
        return Proof.UNBILLED
    ours = failure.origin is FailureOrigin.RUNTIME and type(error).__name__ in _REFUSED_BY_US
    return Proof.UNSENT if ours or _never_connected(error) else Proof.NONE


def _never_connected(error: BaseException | None) -> bool:
    for _ in range(12):
        if error is None:
            return False
        if isinstance(error, ConnectionRefusedError) or type(error).__name__ in _NEVER_CONNECTED:
            return True
        context = None if error.__suppress_context__ else error.__context__
        reason = getattr(error, "reason", None)  # urllib's
        error = error.__cause__ or context or (reason if isinstance(reason, BaseException) else None)
    return False
