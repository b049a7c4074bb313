"""``classify`` on the corpus: a floor under its score, over every SDK that is installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from techrevati.runtime.failures import classify
from tests.corpus import local, texts
from tests.corpus.case import NOW, Case
from tests.corpus.endpoint import Endpoint
from tests.corpus.outside import exam_programs, held_out, programs, services
from tests.corpus.score import Count, counted, provider_cases, table

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDKs' own, at import and at use


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, Count]]:
    with Endpoint() as endpoint:
        yield counted(provider_cases(endpoint))


def holds(counts: dict[str, Count]) -> None:
    total = counts[""]
    told = table(counts) + "\n" + "\n".join(total.misses)
    assert total.kinds >= 0.98 * total.cases, told
    assert total.unsafe <= 0.005 * total.cases, told
    assert total.timid <= 0.01 * total.cases, told
    assert total.waits >= 0.98 * total.cases, told


def test_the_failures_of_the_sdks_are_known(providers: dict[str, Count]) -> None:
    """At least 98 % of the kinds and waits are right, and at most one in 200 is retried that must not be."""
    holds(providers)


def test_no_sdk_is_known_much_less_than_the_others(providers: dict[str, Count]) -> None:
    """Nine of ten for each of them; a group of a few cases may miss one."""
    few = {name: count.misses for name, count in providers.items() if count.kinds < 0.9 * count.cases - 1}
    assert not few


def test_local_failures_and_bare_texts_are_known() -> None:
    holds(counted(itertools.chain(local.cases(), texts.cases())))


def test_what_an_outsider_meets_is_known() -> None:
    """Cases whose labels were written before anything was run; those of the SDKs are counted above."""
    holds(counted(itertools.chain(programs.cases(), services.cases())))


def test_what_an_examiner_asks_is_known() -> None:
    """The third set: of one who had read the documents only; its SDKs are counted above."""
    holds(counted(exam_programs.cases()))


def test_what_the_rules_once_did_not_know_is_known() -> None:
    holds(counted(held_out.cases()))


def test_words_of_failures_that_tell_of_none_are_left_alone() -> None:
    """Bare texts of other worlds, made to deceive: of an SDK, nothing here is asked."""
    total = counted(exam_programs.lookalikes())[""]
    assert total.unsafe == 0, "\n".join(total.misses)


def test_every_case_has_a_name_of_its_own() -> None:
    seen: set[tuple[str, str]] = set()
    with Endpoint() as endpoint:
        ours = (local.cases(), texts.cases(), programs.cases(), services.cases(), exam_programs.cases())
        for case in itertools.chain(provider_cases(endpoint), *ours):
            assert (case.group, case.name) not in seen, f"{case.group}: {case.name} is there twice"
            seen.add((case.group, case.name))


def test_the_score_notices_what_is_wrong() -> None:
    """A wrong kind, an unsafe repetition, a timid one and a wrong wait are counted each."""
    from techrevati.runtime.failures import FailureKind as K

    error = type("E", (Exception,), {"status_code": 429, "headers": {"retry-after": "5"}})("no")
    count = Count()
    for case in (
        Case("a", "right", lambda: error, K.RATE_LIMIT, None, 5.0),
        Case("a", "wrong kind", lambda: error, K.OVERLOADED, None, 5.0),
        Case("a", "unsafe", lambda: error, K.QUOTA_EXHAUSTED, None, 5.0),
        Case("a", "wrong wait", lambda: error, K.RATE_LIMIT, None, 6.0),
        Case("a", "timid", lambda: Exception("boom"), K.NETWORK),
    ):
        made = case.failure()
        count.add(case, made, classify(made, now=NOW))
    assert (count.cases, count.kinds, count.unsafe, count.timid, count.waits) == (5, 2, 1, 1, 4)
    assert len(count.misses) == 4
