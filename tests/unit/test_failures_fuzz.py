"""Nothing an exception can be makes ``classify`` raise, and what it says always holds together."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.failures import (
    KINDS,
    Failure,
    FailureOrigin,
    FailureScenario,
    classification,
    classify,
    classify_exception,
    provider_failures,
)
from techrevati.runtime.failures.facts import ATTRIBUTES
from techrevati.runtime.failures.waits import MAX_WAIT_S

WORDS = """
    429 503 timeout timed out rate limit must be error code: http status = ' " { } [ ] : . , try again in 5s
    7m12s insufficient_quota context_length_exceeded tool execution failed connection refused
    retry-after $ 4290
    -1 nan daily_quota RESOURCE_EXHAUSTED ThrottlingException sk-abcdefghijklmnop too many tokens per minute
"""
KEYS = """
    error code type status details metadata innererror message retryDelay violations quotaId reason Error Code
    ResponseMetadata HTTPStatusCode HTTPHeaders retry-after x-should-retry retry-after-ms
    x-ratelimit-reset-requests x-ratelimit-remaining-requests
"""
words = st.sampled_from(WORDS.split())
texts = st.one_of(st.text(max_size=60), st.lists(words, max_size=12).map(" ".join))
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(90, 610), st.floats(), texts, st.binary(max_size=40)
)
keys = st.one_of(texts, st.sampled_from(KEYS.split()))
anything = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5), st.tuples(inner, inner)
    ),
    max_leaves=12,
)
bases = st.sampled_from(
    [
        Exception,
        RuntimeError,
        ValueError,
        OSError,
        TimeoutError,
        KeyError,
        TypeError,
        ConnectionError,
        BaseException,
    ]
)
modules = st.sampled_from(
    ["openai", "anthropic", "google.genai.errors", "botocore.exceptions", "litellm", "x"]
)
names = st.sampled_from(
    ["APIError", "RateLimitError", "ClientError", "ToolError", "Mine", "APIConnectionError"]
)


@st.composite
def errors(draw: Any, depth: int = 2) -> BaseException:
    base = draw(bases)
    kind: Any = type(draw(names), (base,), {"__module__": draw(modules)}) if draw(st.booleans()) else base
    error: BaseException = kind(*draw(st.lists(anything, max_size=2)))
    for name in draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=5)):
        error.__dict__[name] = draw(anything)
    if depth and draw(st.booleans()):
        inner = draw(errors(depth - 1))
        error.__context__ = inner
        if draw(st.booleans()):
            error.__cause__ = inner
    return error


@given(errors())
def test_any_exception_is_classified_and_the_answer_holds_together(error: BaseException) -> None:
    failure = classify(error, now=1_700_000_000)
    # The last resort inside classify hides nothing here: the way it guards is sound by itself.
    assert classification._failure(error, 1_700_000_000.0) == failure
    assert failure.retry_after is None or 0 <= failure.retry_after <= MAX_WAIT_S
    assert failure.status_code is None or 100 <= failure.status_code <= 599
    assert failure.kind in KINDS
    assert isinstance(failure.origin, FailureOrigin)
    assert isinstance(classify_exception(error), FailureScenario)
    assert isinstance(provider_failures(error), bool)
    assert len(failure.message) <= 2_000
    assert "sk-abcdefghijklmnop" not in repr(failure)
    assert pickle.loads(pickle.dumps(failure)) == failure  # noqa: S301


@given(st.lists(errors(depth=1).filter(lambda error: isinstance(error, Exception)), min_size=1, max_size=4))
def test_a_group_is_retryable_only_if_every_member_is(members: list[Exception]) -> None:
    group = ExceptionGroup("several", members)
    assert classify(group).retryable is all(classify(member).retryable for member in members)


@given(texts, texts)
def test_a_text_means_the_same_in_any_case_and_every_time(text: str, prefix: str) -> None:
    first = classify(Exception(text))
    assert first == classify(Exception(text))
    if text.isascii():
        assert classify(Exception(text.upper())).kind is first.kind


@given(st.from_regex(r"[a-z]{1,8} [45][0-9]{2} [a-z]{3,8}s\b", fullmatch=True))
def test_a_number_between_words_is_not_a_status(text: str) -> None:
    said = ("error", "code", "status", "http", "got", "gave", "returned", "received", "with", "answered")
    if not text.startswith(said):
        assert classify(Exception(text)).status_code is None


@given(
    st.sampled_from(list(KINDS)),
    st.one_of(st.none(), st.booleans()),
    st.one_of(st.none(), st.floats(0, 1e6)),
    texts,
    texts,
)
def test_every_failure_survives_pickling(
    kind: Any, retryable: Any, wait: Any, code: str, message: str
) -> None:
    failure = Failure(kind, retryable, wait, None, "p", 500, code, None, message)
    assert pickle.loads(pickle.dumps(failure)) == failure  # noqa: S301
    assert failure.to_dict()["kind"] == kind.value


HUGE = "x" * 3_000_000
DEEP: dict[str, object] = {}
DEEP["error"] = DEEP


def endless_chain() -> BaseException:
    error = RuntimeError("first")
    for number in range(5_000):
        later = RuntimeError(str(number) + " is over")
        later.__cause__ = error
        error = later
    return error


class Endless(dict[str, object]):
    """Headers that never end."""

    def items(self) -> Any:
        while True:
            yield "x-ratelimit-a", "1"


def carrying(**facts: object) -> Exception:
    error = Exception("no")
    error.__dict__.update(facts)
    return error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(HUGE),
        RuntimeError("429 a_b error " * 200_000),
        RuntimeError("retry after " + "1" * 500_000),
        RuntimeError("tool " * 300_000),
        carrying(body="{" + HUGE),
        carrying(body=b'{"error": "' + HUGE.encode() + b'"}'),
        carrying(body="[" * 100_000),
        carrying(body=DEEP),
        carrying(code=HUGE, status_code=400),
        carrying(status_code=429, body={"message": "try again in " * 200_000}),
        carrying(headers=Endless()),
        carrying(headers={f"x-ratelimit-{number}": "0" for number in range(50_000)}),
        carrying(status_code=429, headers={"retry-after": "9" * 1_000_000}),
        carrying(status_code=429, retry_after=10**400),
        endless_chain(),
    ],
    ids=lambda error: f"{str(error)[:12]} {'-'.join(vars(error))}",
)
def test_what_has_no_end_is_read_for_a_while(error: BaseException) -> None:
    """Whatever the size of an exception, the steps taken are few and the message is short."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    classify(error)  # patterns are compiled at their first use
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        failure = classify(error)
    finally:
        sys.setprofile(before)
    assert steps < 8_000
    assert len(failure.message) <= 2_000
    assert failure.retry_after is None
