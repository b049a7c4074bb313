"""Judge a client by what its requests show.

Findings are named after what the client did.  Attempts of one call are known by the client's
``x-client-request-id`` header or else by the same path and body, so clients that send the very same
request at the same time should name their calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos.bill import InjectedRecord, Outcome
from techrevati.runtime.chaos.endpoint import accepts

EARLY_SHARE = 0.95  # of a told wait: earlier is ignoring it
EARLY_SLACK_S = 0.02  # real seconds that clocks and rounding may take off
LATE_FACTOR = 2.0  # times a told wait: later is multiplying it
LATE_SLACK_S = 2.0  # real seconds of own delay that anybody may have beside it
HAMMER_GAP_S = 0.1  # real seconds: sooner after a refusal is hammering
HAMMER_LIMIT = 5  # so many in a row


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the client did; *requests* are the sequence numbers that show it."""

    name: str
    message: str
    requests: tuple[int, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.requests[:8])) + (", …" if len(self.requests) > 8 else "")
        return f"{self.name}: {self.message}" + (f" (requests {shown})" if shown else "")


class VerdictError(TechrevatiError, AssertionError):
    """A client did not behave; *findings* say how."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings: tuple[Finding, ...] = tuple(findings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings, in a fixed order of kinds; empty when the client behaved."""

    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """True when there is nothing to object to."""
        return not self.findings

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of findings, each once."""
        return tuple(dict.fromkeys(one.name for one in self.findings))

    def raise_for_findings(self) -> None:
        """Raise ``VerdictError``, which is an AssertionError, when there are findings."""
        if self.findings:
            raise VerdictError(self.findings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "no findings"


def judged(
    records: Sequence[InjectedRecord],
    *,
    declared_requests: int | None = None,
    attempts_per_call: int | None = None,
    answers: Sequence[str] = (),
    cut_answers: Sequence[tuple[int, str, str]] = (),
    speed: float = 1.0,
) -> Verdict:
    """The verdict on the client that made *records*; times in them are scenario time, *speed* times real."""
    chats = [one for one in records if one.path.endswith(("/chat/completions", "/messages"))]
    calls: dict[str, list[InjectedRecord]] = {}
    for one in chats:
        calls.setdefault(one.call, []).append(one)
    found = [
        *_retried(calls.values()),
        *_waited(calls.values(), speed),
        *_truncated(chats, answers, cut_answers),
        *_hammered(chats, speed),
        *_undeclared(chats, calls, declared_requests, attempts_per_call),
    ]
    return Verdict(tuple(found))


def _attempts(attempts: Sequence[InjectedRecord]) -> Iterator[tuple[InjectedRecord, InjectedRecord]]:
    """Pairs of an attempt and the next one that was sent after its end."""
    for earlier, later in pairwise(attempts):
        if earlier.ended_s is not None and later.arrived_s >= earlier.ended_s:
            yield earlier, later


def _retried(calls: Iterable[Sequence[InjectedRecord]]) -> Iterator[Finding]:
    for attempts in calls:
        again = [
            (earlier, later)
            for earlier, later in _attempts(attempts)
            if earlier.outcome in (Outcome.REFUSED, Outcome.INVALID) and earlier.retryable is False
        ]
        if again:
            kind = again[0][0].fault
            word = kind.value if kind else "an invalid request"
            numbers = tuple(later.sequence for _, later in again)
            yield Finding("retried-non-retryable", f"{word} was tried again {len(again)} times", numbers)


def _waited(calls: Iterable[Sequence[InjectedRecord]], speed: float) -> Iterator[Finding]:
    early: list[int] = []
    late: list[int] = []
    worst_early = worst_late = (0.0, 0.0)
    for attempts in calls:
        for earlier, later in _attempts(attempts):
            told = earlier.retry_after_s
            if told is None or earlier.ended_s is None or earlier.retryable is False:
                continue
            waited = later.arrived_s - earlier.ended_s
            if waited < told * EARLY_SHARE - EARLY_SLACK_S * speed:
                early.append(later.sequence)
                worst_early = max(worst_early, (told - waited, told))
            elif waited > told * LATE_FACTOR + LATE_SLACK_S * speed:
                late.append(later.sequence)
                worst_late = max(worst_late, (waited, told))
    if early:
        text = f"came back up to {worst_early[0]:.3g} s before the {worst_early[1]:.3g} s it was told to wait"
        yield Finding("ignored-retry-after", text, tuple(early))
    if late:
        text = f"waited up to {worst_late[0]:.3g} s where it was told {worst_late[1]:.3g} s"
        yield Finding("multiplied-retry-after", text, tuple(late))


def _truncated(
    records: Sequence[InjectedRecord], answers: Sequence[str], cut_answers: Sequence[tuple[int, str, str]]
) -> Iterator[Finding]:
    carried = [(number, one.sequence) for one in records for number in one.carries]
    if carried:
        numbers = tuple(dict.fromkeys(number for pair in carried for number in pair))
        yield Finding("accepted-truncated-stream", "a later request goes on with an answer cut off", numbers)
    taken = tuple(
        number
        for number, partial, whole in cut_answers
        if any(accepts(text, partial, whole) or (partial and text.strip() == partial) for text in answers)
    )
    if taken:
        yield Finding("accepted-truncated-stream", "an answer cut off was taken for complete", taken)


def _hammered(records: Sequence[InjectedRecord], speed: float) -> Iterator[Finding]:
    """Runs of requests that came right after a refusal of the same call or on the same connection."""
    last: dict[tuple[str, object], InjectedRecord] = {}
    run: list[int] = []
    longest: list[int] = []
    for one in records:
        refused = [last[key] for key in _keys(one) if key in last]
        gaps = [one.arrived_s - each.ended_s for each in refused if each.ended_s is not None]
        if any(0 <= gap < HAMMER_GAP_S * speed for gap in gaps):
            run.append(one.sequence)
            longest = max(longest, list(run), key=len)
        else:
            run = []
        for key in _keys(one):
            last.pop(key, None)
            if one.outcome in (Outcome.REFUSED, Outcome.INVALID):
                last[key] = one
    if len(longest) >= HAMMER_LIMIT:
        text = f"{len(longest)} requests in a row came less than {HAMMER_GAP_S:g} s after a refusal"
        yield Finding("hammered-while-refused", text, tuple(longest))


def _keys(one: InjectedRecord) -> tuple[tuple[str, object], ...]:
    return ("call", one.call), ("connection", one.connection)


def _undeclared(
    records: Sequence[InjectedRecord],
    calls: dict[str, list[InjectedRecord]],
    declared: int | None,
    attempts_per_call: int | None,
) -> Iterator[Finding]:
    if declared is not None and len(records) > declared:
        text = f"{len(records)} physical requests came, {declared} were declared"
        yield Finding("undeclared-requests", text)
    if attempts_per_call is not None:
        for attempts in calls.values():
            if len(attempts) > attempts_per_call:
                text = f"one call took {len(attempts)} requests, {attempts_per_call} were declared"
                yield Finding("undeclared-requests", text, tuple(one.sequence for one in attempts))
