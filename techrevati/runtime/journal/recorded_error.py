"""The error of an earlier life, so that ``except`` clauses of the program see what they saw then."""

from __future__ import annotations

import sys
from functools import lru_cache

from techrevati.runtime.journal.vocabulary import RecordedFailureError, Step


def as_raised(run_id: str, step: Step) -> RecordedFailureError:
    """A :class:`RecordedFailureError` that is also of the type that was raised, where that is loaded."""
    failure = step.failure or {}
    return _kind(str(failure.get("type")))(run_id, step.key, failure)


@lru_cache(256)
def _kind(name: str) -> type[RecordedFailureError]:
    module, _, qualname = name.rpartition(".")
    raised = getattr(sys.modules.get(module), qualname, None)
    if not (isinstance(raised, type) and issubclass(raised, Exception)):
        return RecordedFailureError
    if issubclass(RecordedFailureError, raised):
        return RecordedFailureError
    try:
        return type(f"Recorded{raised.__name__}", (RecordedFailureError, raised), {})
    except TypeError:  # layouts that do not go together
        return RecordedFailureError
