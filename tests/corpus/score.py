"""Run the corpus and count."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from techrevati.runtime.failures import KINDS, Failure, classify
from tests.corpus.case import NOW, Case
from tests.corpus.endpoint import Endpoint
from tests.corpus.outside import clients, exam_clients, held_out
from tests.corpus.sdks import BUILDERS


@dataclass
class Count:
    """Of one group, or of all."""

    cases: int = 0
    kinds: int = 0
    unsafe: int = 0
    timid: int = 0
    waits: int = 0
    misses: list[str] = field(default_factory=list)

    def add(self, case: Case, error: BaseException, failure: Failure) -> None:
        self.cases += 1
        right = failure.kind is case.kind or failure.kind in case.also
        if case.origin is not None and failure.origin is not case.origin:
            right = False
        self.kinds += right
        judged_by_case = failure.kind is case.kind or not right or case.retryable is not None
        allowed = case.may_be_retried if judged_by_case else KINDS[failure.kind][1]
        unsafe, timid = failure.retryable and not allowed, allowed and not failure.retryable
        wait = failure.retry_after == case.retry_after or (
            None not in (failure.retry_after, case.retry_after)
            and abs((failure.retry_after or 0) - (case.retry_after or 0)) < 0.002
        )
        self.unsafe, self.timid, self.waits = self.unsafe + unsafe, self.timid + timid, self.waits + wait
        if not right or unsafe or timid or not wait:
            told = f"{failure.kind.value}{'' if not unsafe else ' UNSAFE'}{'' if not timid else ' TIMID'}"
            if not wait:
                told += f", waits {failure.retry_after} instead of {case.retry_after}"
            self.misses.append(
                f"{case.group} / {case.name}: {told} instead of {case.kind.value}"
                f" ({type(error).__module__}.{type(error).__qualname__}: {failure.message[:150]!r})"
            )


def provider_cases(endpoint: Endpoint) -> Iterator[Case]:
    """Cases of every SDK that is installed."""
    for build in (*BUILDERS, *clients.BUILDERS, *exam_clients.BUILDERS, *held_out.BUILDERS):
        try:
            yield from build(endpoint)
        except ImportError:
            continue


def all_cases(endpoint: Endpoint) -> Iterator[Case]:
    from tests.corpus import local, texts
    from tests.corpus.outside import exam_programs, programs, services

    yield from provider_cases(endpoint)
    yield from local.cases()
    yield from texts.cases()
    yield from programs.cases()
    yield from services.cases()
    yield from exam_programs.cases()
    yield from exam_programs.lookalikes()
    yield from held_out.cases()


def counted(cases: Iterable[Case]) -> dict[str, Count]:
    """The score of each group; under ``""`` of all together."""
    counts: dict[str, Count] = defaultdict(Count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases:
            error = case.failure()
            failure = classify(error, now=NOW)
            for name in (case.group, ""):
                counts[name].add(case, error, failure)
    return counts


def table(counts: dict[str, Count]) -> str:
    """One line for each group."""
    rows = [f"{'group':<28} cases  kinds  unsafe  timid  waits"]
    for name, count in sorted(counts.items(), key=lambda item: (not item[0], item[0])):
        rows.append(
            f"{name or 'all':<28} {count.cases:>5}  {count.kinds / count.cases:>5.1%}  {count.unsafe:>6}"
            f"  {count.timid:>5}  {count.waits / count.cases:>5.1%}"
        )
    return "\n".join(rows)
