"""Texts that speak of a failure without reporting one, and failures that say they must not be repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from techrevati.runtime.failures import FailureKind, classify

K = FailureKind


@pytest.mark.parametrize("of", ["rate limits", "overloaded models", "HTTP 503", "connection errors"])
@pytest.mark.parametrize(
    "frame",
    [
        "the FAQ entry on {} has no author",
        "the reviewer rejected the paragraph about {}",
        "postmortem of the {} has no owner",
    ],
)
def test_what_a_document_is_on_did_not_happen(of: str, frame: str) -> None:
    assert not classify(RuntimeError(frame.format(of))).retryable


@pytest.mark.parametrize("name", ["timeout", "connection errors", "503 Service Unavailable", "rate limit"])
@pytest.mark.parametrize("thing", ["page", "banner", "report", "ticket"])
def test_what_gives_a_document_its_name_did_not_happen(name: str, thing: str) -> None:
    assert not classify(RuntimeError(f"the {name} {thing} has no title")).retryable


@pytest.mark.parametrize("name", ["timeout", "connection error", "HTTP 503", "status 429"])
@pytest.mark.parametrize(
    "frame",
    [
        "{} has no unit",
        "{} lacks a description",
        "{} is reserved",
        "{} occurs twice in the list",
        "{} maps to two codes",
        "{} was not raised",
        "{}: name already taken",
        "the phrase {} is too long",
        "spelling of {}",
        "{} handler is gone",
    ],
)
def test_what_is_said_of_a_name_did_not_happen(name: str, frame: str) -> None:
    assert not classify(RuntimeError(frame.format(name))).retryable


@pytest.mark.parametrize("name", ["timeout", "connection error", "HTTP 503", "status 429", "overloaded"])
@pytest.mark.parametrize(
    "frame",
    [
        "call failed: {}",
        "{}, retrying",
        "agent step 3: {}",
        "got {} from the model",
        "failed because of {}",
        "{} at https://api.example.com/v1",
        "Error: {}. Please try again later.",
    ],
)
def test_what_is_said_of_a_call_happened(name: str, frame: str) -> None:
    assert classify(RuntimeError(frame.format(name))).retryable


@pytest.mark.parametrize(
    "text",
    [
        "call failed because of the timeout",
        "gave up on timeout",
        "page crashed: connection refused",
        "the document could not be fetched: connection reset by peer",
        "template service: HTTP 503",
        "timed out (page 3)",
        "error from upstream: rate limit exceeded",
    ],
)
def test_a_failure_beside_a_document_happened(text: str) -> None:
    assert classify(RuntimeError(text)).retryable


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    "frame",
    [
        "the gateway never returned {}, so the retry is untested",
        "the stub didn't return HTTP {}",
        "no rows where status = {}",
        "without HTTP {} there is nothing to see",
        "what does HTTP {} mean",
        "the model said that HTTP {} means trouble",
        "port must be between 1024 and 65535, got {}",
    ],
)
def test_a_status_that_is_denied_explained_or_a_value_is_none(status: int, frame: str) -> None:
    assert not classify(RuntimeError(frame.format(status))).retryable
    assert classify(RuntimeError(f"the gateway returned {status}")).retryable


@pytest.mark.parametrize(
    "text",
    [
        "neither rate limiting nor throttling is on",
        "nothing timed out, yet the totals differ",
        "a connection timeout of 30 is longer than the deadline of 20",
        "idle timeout (ms): not a valid integer",
        "circuit breaker 'llm' needs a read timeout greater than zero",
        "you have not set a rate limit",
        "rate limit of 0 requests per second makes no sense",
        "rate_limits must be positive",
        "duplicate slug: gateway-timeout",
        "enum member SERVICE_UNAVAILABLE has no description",
        "no mapping for status code 429",
        "rate limiting is a paid feature",
        "timeout: 'abc' cannot be converted to seconds",
        "rate limit: none is not allowed",
        "cannot parse rate limit 5/x",
        "the section [timeouts] is empty",
        "either a rate limit or a deadline has to be given",
        "could not explain rate limiting",
        "values.yaml lacks gateway.timeout",
        "golden answer says 429, model answered 503",
        "rate_limits[2]: duplicate window",
        "missing script: test:timeout",
        "unknown kind, choose one of timeout, rate_limit, overloaded",
        "expected error code 'rate_limited', got none",
        "HTTP method must be GET or POST, got 503",
        "failed to resolve import './timeout' from index.ts",
        "failed to resolve: use of undeclared type `TimeoutError`",
        "xpath //h1[text()='503 Service Unavailable'] matched nothing",
        "undefined reference to `connection_error'",
        "our lawyer refused the connection between both contracts",
    ],
)
def test_settings_and_names_are_no_failures(text: str) -> None:
    assert not classify(RuntimeError(text)).retryable


def test_a_text_on_a_page_is_no_report() -> None:
    assert not classify(RuntimeError("no button with text 'request timed out'")).retryable
    assert classify(RuntimeError("the server failed with text 'request timed out'")).retryable


@pytest.mark.parametrize("who", ["customer", "user", "reviewer"])
@pytest.mark.parametrize("said", ["saw", "has complained of", "mentioned", "wants"])
def test_what_people_say_is_no_report(who: str, said: str) -> None:
    assert not classify(RuntimeError(f"no category: {who} {said} error 504 Gateway Timeout")).retryable
    assert classify(RuntimeError(f"error 504 Gateway Timeout for {who} 7")).retryable


@pytest.mark.parametrize(
    "what", ["reservation", "seat offer", "vote", "payment link", "player 4", "warranty period"]
)
def test_what_times_out_among_people_is_no_call(what: str) -> None:
    assert not classify(RuntimeError(f"the {what} timed out")).retryable
    assert not classify(RuntimeError(f"your {what} has timed out; it was released")).retryable
    assert classify(RuntimeError(f"the {what} service timed out")).retryable


@pytest.mark.parametrize("what", ["project", "delivery", "application"])
def test_their_rates_are_limited_like_any(what: str) -> None:
    assert classify(RuntimeError(f"{what} rate limit exceeded")).kind is K.RATE_LIMIT


@pytest.mark.parametrize(
    "final",
    [
        "Do not retry.",
        "Don't try again!",
        "This must not be repeated.",
        "(not retryable)",
        "non-retryable",
        '{"retryable": false}',
        "The charge may have been executed.",
        "The message might have already been sent.",
        "The payment was already captured.",
        "The outcome is unknown.",
        "The client is banned.",
        "The payment succeeded.",
        "The order was accepted although it failed.",
        "The first one went through.",
        "It is not idempotent.",
        "Check the account before you send or repeat it.",
        "A partial write is left.",
        "Its effect is unknown.",
        "This is a permanent failure.",
        "It will not be retried.",
        "Unsafe to retry.",
        "The booking was created.",
        "Transfer executed.",
        "Do not book again.",
        "The status of the charge is unknown.",
    ],
)
@pytest.mark.parametrize(
    ("report", "kind"),
    [
        ("Request timed out.", K.TIMEOUT),
        ("HTTP 503 Service Unavailable.", K.OVERLOADED),
        ("Rate limit exceeded.", K.RATE_LIMIT),
    ],
)
def test_a_report_that_forbids_the_repetition_keeps_its_kind(report: str, kind: K, final: str) -> None:
    failure = classify(RuntimeError(f"{report} {final}"))
    assert (failure.kind, failure.retryable) == (kind, False)


@pytest.mark.parametrize(
    "wait",
    [
        "Do not retry before 10:30.",
        "Please don't retry immediately.",
        "Try again later.",
        "Never retried so far",
        "no retry-after given",
        "Wait 20 seconds before you retry.",
        "Your request was not executed.",
        "The order was not placed.",
        "It may not have been processed.",
    ],
)
def test_a_wait_forbids_nothing(wait: str) -> None:
    assert classify(RuntimeError(f"429 Too Many Requests. {wait}")).retryable


def test_a_human_who_does_not_answer_has_not_allowed_it() -> None:
    for text in ("Timed out waiting for human approval", "approval request timed out", "approval expired"):
        failure = classify(RuntimeError(text))
        assert (failure.kind, failure.retryable) == (K.PERMISSION, False)


# By an examiner: 315 texts written before he had read the rules, then 100, 120 and 95 more, each time
# what he had found was mended; all were scored once before that.  Of the reports 150 of 165, 37 of 50, 48
# of 60 and 41 of 45 had their kind, none was unsafe; of the others 21 of 150, 8 of 50, 11 of 60 and 6 of
# 50 would have been repeated.
JUDGED = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data/failure-texts-mentioned.jsonl")
    .read_text("utf-8")
    .splitlines()
]


def test_what_a_third_examiner_wrote_is_judged_as_he_did() -> None:
    wrong = []
    for case in JUDGED:
        failure = classify(RuntimeError(case["text"]))
        if failure.retryable is not case["retryable"] or failure.kind.value not in case.get(
            "kinds", [failure.kind.value]
        ):
            wrong.append(f"{case['text']}: {failure.kind}")
    assert wrong == []
