"""Judge a client by what its requests show.

Findings are named after what the client did.  Which requests are attempts of one call is told by ``calls``.
Beyond that, a client that only ever sends one equal request after the other, never two at a time, is taken at
its deeds: it came back, whatever it calls a new call.  Everything is judged for each credential apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos.bill import InjectedRecord, Outcome
from techrevati.runtime.chaos.books import is_chat
from techrevati.runtime.chaos.cut_answers import accepts
from techrevati.runtime.chaos.hammering import hammered

EARLY_SHARE = 0.95  # of a told wait: earlier is ignoring it
EARLY_SLACK_S = 0.02  # real seconds that clocks and rounding may take off
LATE_FACTOR = 2.0  # times a told wait: later is multiplying it
LATE_SLACK_S = 2.0  # real seconds of own delay that anybody may have beside it
RESENT_LIMIT = 2  # new calls with the same request after it was refused for good: once may be chance
_FAILED = (Outcome.REFUSED, Outcome.INVALID)

Pair = tuple[InjectedRecord, InjectedRecord]


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
    """A client did not behave, or too little is known to say that it did; *findings* say how."""

    def __init__(self, findings: Sequence[Finding], missing: str = "") -> None:
        super().__init__("; ".join([*map(str, findings), *([missing] if missing else [])]))
        self.findings: tuple[Finding, ...] = tuple(findings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings, in a fixed order of kinds; empty when the client behaved.

    Attributes:
        findings: What was found in the records that are left.
        missing: What could not be looked at any more, in words; "" when nothing is missing.
    """

    findings: tuple[Finding, ...] = ()
    missing: str = ""

    @property
    def complete(self) -> bool:
        """True when every request could be judged; a larger ``history`` keeps more."""
        return not self.missing

    @property
    def ok(self) -> bool:
        """True when there is nothing to object to, and nothing that could not be judged."""
        return not self.findings and self.complete

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of findings, each once."""
        return tuple(dict.fromkeys(one.name for one in self.findings))

    def raise_for_findings(self) -> None:
        """Raise ``VerdictError``, which is an AssertionError, unless the verdict is ``ok``."""
        if not self.ok:
            raise VerdictError(self.findings, self.missing)

    def __str__(self) -> str:
        found = [str(one) for one in self.findings] or ["no findings"]
        return "\n".join([*([self.missing] if self.missing else []), *found])


def judged(
    records: Sequence[InjectedRecord],
    *,
    declared_requests: int | None = None,
    attempts_per_call: int | None = None,
    answers: Sequence[str] = (),
    cut_answers: Sequence[tuple[int, str, str]] = (),
    speed: float = 1.0,
    dropped: int = 0,
    dropped_chats: int = 0,
    dropped_cuts: int = 0,
) -> Verdict:
    """The verdict on the client that made *records*; times in them are scenario time, *speed* times real.

    *dropped* records are no longer among them, *dropped_chats* of these asked a model; *dropped_cuts* answers
    that were cut off are no longer known.
    """
    chats = [one for one in records if is_chat(one)]
    calls: dict[str, list[InjectedRecord]] = {}
    for one in chats:
        calls.setdefault(one.call, []).append(one)
    again = [pair for attempts in calls.values() for pair in _attempts(attempts)]
    resent = list(_resent(calls.values()))
    found = [
        *_retried(again, resent),
        *_waited(again, [pair for row in resent for pair in row], speed),
        *_truncated(chats, answers, cut_answers),
        *_hammered(chats, speed),
        *_undeclared(len(chats) + dropped_chats, calls, declared_requests, attempts_per_call),
    ]
    missing = [f"{dropped} older requests are no longer in the records"] if dropped else []
    missing += [f"{dropped_cuts} answers that were cut off are no longer known"] if dropped_cuts else []
    return Verdict(tuple(found), f"incomplete: {' and '.join(missing)}" if missing else "")


def _attempts(attempts: Sequence[InjectedRecord]) -> Iterator[Pair]:
    """Pairs of an attempt and the next one that was sent after its end."""
    for earlier, later in pairwise(attempts):
        if earlier.ended_s is not None and later.arrived_s >= earlier.ended_s:
            yield earlier, later


def _resent(calls: Iterable[Sequence[InjectedRecord]]) -> Iterator[list[Pair]]:
    """Rows of failed calls that were made again as new ones, each after the end of the one before.

    Only what cannot be anything else: the same request and credential, no call named by the client, and
    never two at a time.
    """
    same: dict[tuple[int, str], list[Sequence[InjectedRecord]]] = {}
    for attempts in calls:
        first = attempts[0]
        if first.digest and not first.named:
            same.setdefault((first.credential, first.digest), []).append(attempts)
    for group in same.values():
        row: list[Pair] = []
        rows = [row]
        for earlier, later in pairwise(group):
            last, first = earlier[-1], later[0]
            if any(one.ended_s is None or one.ended_s > first.arrived_s for one in earlier):
                break
            if last.outcome is Outcome.COMPLETE:
                rows.append(row := [])
            else:
                row.append((last, first))
        else:
            yield from filter(None, rows)


def _for_good(one: InjectedRecord) -> bool:
    return one.outcome in _FAILED and one.retryable is False


def _retried(again: Iterable[Pair], resent: Iterable[Sequence[Pair]]) -> Iterator[Finding]:
    hopeless = [pair for pair in again if _for_good(pair[0])]
    for row in resent:
        vain = [pair for pair in row if _for_good(pair[0])]
        hopeless += vain if len(vain) >= RESENT_LIMIT else []
    kinds: dict[str, list[int]] = {}
    for earlier, later in sorted(hopeless, key=lambda pair: pair[1].sequence):
        word = earlier.fault.value if earlier.fault else f"an invalid request ({earlier.status})"
        kinds.setdefault(word, []).append(later.sequence)
    for word, numbers in kinds.items():
        times = f"{len(numbers)} time{'s' * (len(numbers) != 1)}"
        yield Finding("retried-non-retryable", f"{word} was tried again {times}", tuple(numbers))


def _waited(again: Iterable[Pair], resent: Iterable[Pair], speed: float) -> Iterator[Finding]:
    early: dict[int, tuple[float, float]] = {}
    late: dict[int, tuple[float, float]] = {}
    for own, pairs in ((True, again), (False, resent)):
        for earlier, later in pairs:
            told = earlier.retry_after_s
            if told is None or earlier.ended_s is None or earlier.retryable is False:
                continue
            waited = later.arrived_s - earlier.ended_s
            if waited < told * EARLY_SHARE - EARLY_SLACK_S * speed:
                early[later.sequence] = told - waited, told
            elif own and waited > told * LATE_FACTOR + LATE_SLACK_S * speed:
                late[later.sequence] = waited, told
    if early:
        worst = max(early.values())
        text = f"came back up to {worst[0]:.3g} s before the {worst[1]:.3g} s it was told to wait"
        yield Finding("ignored-retry-after", text, tuple(sorted(early)))
    if late:
        worst = max(late.values())
        text = f"waited up to {worst[0]:.3g} s where it was told {worst[1]:.3g} s"
        yield Finding("multiplied-retry-after", text, tuple(sorted(late)))


def _truncated(
    records: Sequence[InjectedRecord], answers: Sequence[str], cut_answers: Sequence[tuple[int, str, str]]
) -> Iterator[Finding]:
    # A stream that paused and then went on was whole in the end.
    whole = {one.sequence for one in records if one.outcome is Outcome.COMPLETE}
    carried = [(number, one.sequence) for one in records for number in one.carries if number not in whole]
    if carried:
        numbers = tuple(dict.fromkeys(number for pair in carried for number in pair))
        yield Finding("accepted-truncated-stream", "a later request goes on with an answer cut off", numbers)
    taken = tuple(
        number
        for number, partial, text in cut_answers
        if number not in whole and any(_taken(answer, partial, text) for answer in answers)
    )
    if taken:
        yield Finding("accepted-truncated-stream", "an answer cut off was taken for complete", taken)


def _taken(answer: str, partial: str, whole: str) -> bool:
    return accepts(answer, partial, whole) or answer.strip() == partial.strip() != whole.strip()


def _hammered(records: Sequence[InjectedRecord], speed: float) -> Iterator[Finding]:
    run = hammered(records, speed)
    if run is not None:
        text = f"{len(run.requests)} requests in a row came {run.how} after a refusal"
        yield Finding("hammered-while-refused", text, run.requests)


def _undeclared(
    count: int,
    calls: dict[str, list[InjectedRecord]],
    declared: int | None,
    attempts_per_call: int | None,
) -> Iterator[Finding]:
    if declared is not None and count > declared:
        yield Finding("undeclared-requests", f"{count} physical requests came, {declared} were declared")
    if attempts_per_call is not None:
        for attempts in calls.values():
            if len(attempts) > attempts_per_call:
                text = f"one call took {len(attempts)} requests, {attempts_per_call} were declared"
                yield Finding("undeclared-requests", text, tuple(one.sequence for one in attempts))
