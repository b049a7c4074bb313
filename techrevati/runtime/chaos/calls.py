"""Which physical requests are attempts of one call.

The client's word counts first: requests with the same ``idempotency-key`` or ``x-client-request-id`` are one
call; ``x-stainless-retry-count``, which the SDKs of OpenAI and Anthropic send, says 0 for a new call and n
for its n-th retry.  A client that says nothing is taken to try again when the same request comes after the
end of one that failed.  Only the same path, body and credential can be the same call, a success ends it, and
equal requests under way at the same time are calls of their own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.chaos.bill import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.chaos.bill import InjectedRecord

MAX_REQUESTS = 4_096  # different ones that are remembered
MAX_CALLS = 1_024  # open ones of the same request
SLACK_S = 0.05  # scenario seconds that a client may be early and still be on time


class Claim(NamedTuple):
    """What a request says about itself. *digest* is that of path and body, *retry* None if not said."""

    digest: str
    credential: int = 0
    tag: str = ""
    retry: int | None = None


class Attempt(NamedTuple):
    """The call that a request belongs to, and its place in it, from 1."""

    call: str
    number: int


@dataclass(slots=True)
class _Call:
    id: str
    attempts: int = 0
    retry: int | None = None
    running: set[int] = field(default_factory=set[int])
    ended_s: float = 0.0
    told_s: float = 0.0

    @property
    def due_s(self) -> float:
        """When the next attempt may come."""
        return self.ended_s + self.told_s


class Calls:
    """The open calls; bounded, not locked, for one thread."""

    def __init__(self) -> None:
        self._open: dict[Claim, list[_Call]] = {}
        self._by_request: dict[int, tuple[Claim, _Call]] = {}
        self._count = 0

    def attempt(self, sequence: int, claim: Claim, at_s: float) -> Attempt:
        """The place of request number *sequence*, which stays open until :meth:`ended`."""
        key = claim._replace(retry=None)
        calls = self._open.pop(key, [])
        self._open[key] = calls
        while len(self._open) > MAX_REQUESTS:
            del self._open[next(iter(self._open))]
        call = _continued(calls, claim, at_s)
        if call is None:
            self._count += 1
            identity = repr((self._count, key)).encode("utf-8", "replace")
            call = _Call(hashlib.sha256(identity).hexdigest()[:12])
            calls.append(call)
            del calls[:-MAX_CALLS]
        call.attempts += 1
        call.retry = claim.retry
        call.running.add(sequence)
        self._by_request[sequence] = key, call
        return Attempt(call.id, call.attempts)

    def ended(self, record: InjectedRecord) -> None:
        """Note how a request ended; a success closes its call."""
        key, call = self._by_request.pop(record.sequence, (None, None))
        if key is None or call is None:
            return
        call.running.discard(record.sequence)
        call.ended_s = record.ended_s or 0.0
        call.told_s = record.retry_after_s or 0.0
        calls = self._open.get(key, [])
        if record.outcome is Outcome.COMPLETE and call in calls:
            calls.remove(call)
            if not calls:
                del self._open[key]


def _continued(calls: Sequence[_Call], claim: Claim, at_s: float) -> _Call | None:
    """The call that goes on with a request; None when it is a new one."""
    if claim.tag:
        return calls[-1] if calls else None
    if claim.retry == 0:
        return None
    if claim.retry is None:
        found = [one for one in calls if one.retry is None and not one.running]
    else:
        before = [one for one in calls if one.retry == claim.retry - 1]
        # A client knows of its timeout a moment before the server does: the attempt before may still run.
        found = [one for one in before if not one.running] or before
    due = [one for one in found if one.due_s <= at_s + SLACK_S]
    if due:
        return max(due, key=lambda one: one.due_s)
    return min(found, key=lambda one: one.due_s, default=None)
