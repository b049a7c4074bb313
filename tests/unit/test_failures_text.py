"""What a bare text amounts to: exceptions of 0.1 users are often nothing more."""

from __future__ import annotations

import pytest

from techrevati.runtime.failures import FailureKind, FailureScenario, classify, classify_exception

K, S = FailureKind, FailureScenario


@pytest.mark.parametrize(
    ("text", "scenario"),
    [
        ("timed out", S.LLM_TIMEOUT),
        ("Request timed out.", S.LLM_TIMEOUT),
        ("timeout", S.LLM_TIMEOUT),
        ("LLM timeout after 30s", S.LLM_TIMEOUT),
        ("Timeout waiting for a response", S.LLM_TIMEOUT),
        ("Connection timeout", S.LLM_TIMEOUT),
        ("504 Gateway Timeout", S.LLM_TIMEOUT),
        ("HTTPSConnectionPool: Read timed out. (read timeout=30)", S.LLM_TIMEOUT),
        ("429 Too Many Requests", S.LLM_ERROR),
        ("Rate limit exceeded", S.LLM_ERROR),
        ("rate_limit_exceeded", S.LLM_ERROR),
        ("too many requests", S.LLM_ERROR),
        ("context_length_exceeded", S.CONTEXT_OVERFLOW),
        ("This model's maximum context length is 8192 tokens", S.CONTEXT_OVERFLOW),
        ("too many tokens", S.CONTEXT_OVERFLOW),
        ("prompt is too long: 210000 tokens > 200000 maximum", S.CONTEXT_OVERFLOW),
        ("context window exceeded", S.CONTEXT_OVERFLOW),
        ("connection refused", S.PROVIDER_FAILURE),
        ("Connection reset by peer", S.PROVIDER_FAILURE),
        ("connection error", S.PROVIDER_FAILURE),
        ("could not connect to port 4290", S.PROVIDER_FAILURE),
        ("502 bad gateway", S.PROVIDER_FAILURE),
        ("503 service unavailable", S.PROVIDER_FAILURE),
        ("Service Unavailable", S.PROVIDER_FAILURE),
        ("HTTP 503", S.PROVIDER_FAILURE),
        ("the model is overloaded", S.PROVIDER_FAILURE),
        ("401 Unauthorized", S.PROVIDER_FAILURE),
        ("invalid api key", S.PROVIDER_FAILURE),
        ("tool execution failed", S.TOOL_EXECUTION_ERROR),
        ("Tool execution failed: timed out", S.TOOL_EXECUTION_ERROR),
        ("500 internal server error", S.LLM_ERROR),
        ("boom", S.LLM_ERROR),
        ("", S.LLM_ERROR),
    ],
)
def test_the_outcomes_of_0_1(text: str, scenario: FailureScenario) -> None:
    assert classify_exception(Exception(text)) is scenario


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("429", 429, K.RATE_LIMIT),
        ("expected 503 rows, got 500", None, K.UNKNOWN),
        ("expected 200 but got 503", 503, K.OVERLOADED),
        ("no handler for RateLimitError registered", None, K.UNKNOWN),
        ("HTTP/1.1 429 Too Many Requests", 429, K.RATE_LIMIT),
        ("Error code: 429 - {'error': {'code': 'insufficient_quota'}}", 429, K.QUOTA_EXHAUSTED),
        ("429 Client Error: Too Many Requests for url: http://h/", 429, K.RATE_LIMIT),
        ("Client error '404 Not Found' for url 'http://h/'", 404, K.NOT_FOUND),
        ("status_code=503", 503, K.OVERLOADED),
        ("status code 529", 529, K.OVERLOADED),
        ("upstream returned 502", 502, K.SERVER_ERROR),
        ("server responded with status 503", 503, K.OVERLOADED),
        ("(429) slow", 429, K.RATE_LIMIT),
        ("got a 429 from the api", 429, K.RATE_LIMIT),
        ("{'message': 'Provider returned error', 'code': 502}", 502, K.SERVER_ERROR),
        ("429 RESOURCE_EXHAUSTED. {'error': {'code': 429}}", 429, K.RATE_LIMIT),
        (
            "An error occurred (ThrottlingException) when calling Converse: Too many tokens",
            None,
            K.RATE_LIMIT,
        ),
        ("400 bad request: context_length_exceeded", 400, K.CONTEXT_OVERFLOW),
        ("429: too many tokens per minute", 429, K.RATE_LIMIT),
        ("quota exceeded", None, K.QUOTA_EXHAUSTED),
        ("your credit balance is too low", None, K.QUOTA_EXHAUSTED),
        ("403 Forbidden", 403, K.PERMISSION),
        ("database is locked", None, K.TIMEOUT),
        ("database disk image is malformed", None, K.STORAGE_CORRUPTION),
    ],
)
def test_statuses_and_codes_in_texts(text: str, status: int | None, kind: FailureKind) -> None:
    failure = classify(RuntimeError(text))
    assert (failure.kind, failure.status_code) == (kind, status)


@pytest.mark.parametrize(
    "text",
    [
        "invoice 503 not found",
        "processed 429 records",
        "error on line 500",
        "Error 500 rows",
        "error: 500 items missing",
        "port 503",
        "order 404",
        "took 429ms",
        "costs $500",
        "$500 error",
        "exit code 429",
        "exit status 429",
        "version 5.0.3",
        "gpt-4-0503 failed",
        "id 4290",
        "timeout of -1 is invalid",
        "expected 429, got 200",
        "got 429 items",
        "status: 500 widgets",
        "user id 429 not found",
        "timeout must be positive",
        "invalid timeout: -1",
        "got an unexpected keyword argument 'timeout'",
        "timeout=30 is not allowed here",
        "timeout_seconds is wrong",
        "the 'timeout' field is wrong",
        "rate_limit must be > 0",
        "rate limit should be a positive number",
        "overloadedness",
        "reconnection errors: 0",
        "toolbox",
    ],
)
def test_numbers_and_settings_are_no_failures(text: str) -> None:
    failure = classify(Exception(text))
    assert (failure.kind, failure.status_code, failure.retryable) == (K.UNKNOWN, None, False)


def test_a_value_error_may_quote_a_failure_but_not_a_setting() -> None:
    assert classify(ValueError("429 Too Many Requests")).kind is K.RATE_LIMIT
    assert classify(ValueError("timeout must be positive")).kind is K.INVALID_REQUEST


def test_long_texts_are_searched_at_their_beginning() -> None:
    assert classify(Exception("429 Too Many Requests " + "x" * 1_000_000)).kind is K.RATE_LIMIT
    assert classify(Exception("x " * 500_000 + "429 Too Many Requests")).kind is K.UNKNOWN
