"""Which failures another provider may not have."""

from __future__ import annotations

from techrevati.runtime.failures.vocabulary import Failure, FailureKind, FailureOrigin

_K, _O = FailureKind, FailureOrigin
_THEIRS = frozenset({_O.PROVIDER, _O.NETWORK})
_REFUSALS = _THEIRS | {_O.RUNTIME}  # a breaker, bulkhead or limiter of ours in front of that target
_ANSWERS = _THEIRS | {_O.CALLER}  # "of the caller" because the caller has to act: a key, a name of a model

FAILS_OVER: dict[FailureKind, frozenset[FailureOrigin]] = {
    _K.TIMEOUT: _THEIRS,  # not the end of our own deadline
    _K.RATE_LIMIT: _REFUSALS,
    _K.QUOTA_EXHAUSTED: _THEIRS,
    _K.OVERLOADED: _REFUSALS,
    _K.SERVER_ERROR: _THEIRS,
    _K.NETWORK: _THEIRS,
    _K.AUTH: _ANSWERS,  # these three only where a server said so
    _K.PERMISSION: _ANSWERS,
    _K.NOT_FOUND: _ANSWERS,
    _K.UNKNOWN: _THEIRS,  # as for breakers: what nobody can name counts as the provider's
}
"""Kinds of failure that another provider may not have, for the origins named; every other one is raised."""


def fails_over(failure: Failure) -> bool:
    """Whether another provider may succeed where this one failed: the table ``FAILS_OVER``.

    A failed authentication, a refused permission and a missing thing count only when a server told so (by a
    status, or as a known provider); a missing local file is nobody else's matter.

    >>> fails_over(Failure(FailureKind.RATE_LIMIT)), fails_over(Failure(FailureKind.CONTEXT_OVERFLOW))
    (True, False)
    """
    if failure.origin not in FAILS_OVER.get(failure.kind, ()):
        return False
    said_by_server = failure.status_code is not None or failure.provider is not None
    return said_by_server or failure.origin is not FailureOrigin.CALLER
