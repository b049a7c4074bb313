"""Whether a client hammers: request after request right after refusals.

Refusals that concern the client or the model count (limits, quotas, keys, errors of the server, broken
connections); one that concerns the prompt says nothing about the next prompt.  A client is seen to know of a
refusal when it comes back with the same call, on the same connection, or, whatever it sends and on whatever
connection, when all its calls to that model come one after the other.  Where calls run side by side, a fresh
call on a fresh connection had no refusal to learn from.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.chaos.bill import InjectedRecord, Outcome
from techrevati.runtime.chaos.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HAMMER_GAP_S = 0.1  # real seconds: sooner after a refusal is hammering
HAMMER_LIMIT = 5  # so many in a row
APART_S = 1.0  # real seconds around a row in which no two calls may run side by side
EARLY_SHARE = 0.95  # of a told wait that was kept: then coming soon is no hammering
_ABOUT_THE_PROMPT = (FaultKind.CONTEXT_OVERFLOW, FaultKind.CONTENT_FILTER)


class Run(NamedTuple):
    """Requests in a row, each too soon after a refusal, and how soon."""

    requests: tuple[int, ...]
    how: str


def hammered(records: Sequence[InjectedRecord], speed: float) -> Run | None:
    """The longest run in *records* that is long enough; None when there is none."""
    gap_s = HAMMER_GAP_S * speed
    beside = _side_by_side(records)
    last: dict[tuple[object, ...], InjectedRecord] = {}
    runs: dict[tuple[object, ...], list[InjectedRecord]] = {}
    longest: list[InjectedRecord] = []
    for one in records:
        for chain in _chains(one):
            before = last.get(chain)
            last[chain] = one
            if before is None or not _at_once(before, one, gap_s, strictly=chain[0] == "client"):
                runs[chain] = []
                continue
            run = runs.setdefault(chain, [])
            run.append(one)
            if len(run) < max(HAMMER_LIMIT, len(longest) + 1):
                continue
            if chain[0] == "client" and _any_within(beside.get(chain, []), run, APART_S * speed):
                continue
            longest = list(run)
    if not longest:
        return None
    return Run(tuple(one.sequence for one in longest), f"less than {HAMMER_GAP_S:g} s")


def _chains(one: InjectedRecord) -> tuple[tuple[object, ...], ...]:
    client = (one.credential, one.api, one.model)
    return ("call", one.call), ("connection", one.connection, *client), ("client", *client)


def _at_once(before: InjectedRecord, one: InjectedRecord, gap_s: float, *, strictly: bool) -> bool:
    if not _refused(before) or before.ended_s is None:
        return False
    waited_s = one.arrived_s - before.ended_s
    if before.retry_after_s is not None and waited_s >= before.retry_after_s * EARLY_SHARE:
        return False
    return 0 <= waited_s < gap_s and not (strictly and waited_s == 0)


def _refused(one: InjectedRecord) -> bool:
    if one.outcome is Outcome.INVALID:
        return one.status == 401
    if one.outcome in (Outcome.REFUSED, Outcome.FAILED):
        return one.fault not in _ABOUT_THE_PROMPT
    return one.outcome is Outcome.DAMAGED


def _side_by_side(records: Iterable[InjectedRecord]) -> dict[tuple[object, ...], list[float]]:
    """When, for each client and model, a call began while another one was not over; in order."""
    spans: dict[tuple[object, ...], dict[str, list[float]]] = {}
    for one in records:
        calls = spans.setdefault(("client", one.credential, one.api, one.model), {})
        end_s = float("inf") if one.ended_s is None else one.ended_s
        span = calls.setdefault(one.call, [one.arrived_s, end_s])
        span[1] = max(span[1], end_s)
    found: dict[tuple[object, ...], list[float]] = {}
    for client, calls in spans.items():
        latest_s = float("-inf")
        for begin_s, end_s in sorted(calls.values()):
            if begin_s < latest_s:
                found.setdefault(client, []).append(begin_s)
            latest_s = max(latest_s, end_s)
    return found


def _any_within(times: Sequence[float], run: Sequence[InjectedRecord], margin_s: float) -> bool:
    place = bisect_left(times, run[0].arrived_s - margin_s)
    return place < len(times) and times[place] <= run[-1].arrived_s + margin_s
