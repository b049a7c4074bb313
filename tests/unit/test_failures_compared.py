"""Numbers that are compared are no statuses, and settings with units, values and types are no failures."""

from __future__ import annotations

import pytest

from techrevati.runtime.failures import FailureKind, classify

K = FailureKind

COMPARED = (
    "expected at most 500 rows, got 503",
    "expected no more than 500 rows, got 503",
    "wanted 3 pages, received 429",
    "asked for 500 samples, received 503",
    "the list must have 3 items, got 500",
    "received 503, expected 500 rows",
    "the function returned 504, expected 12 items",
    "dimension must be 768, got 503",
    "age must be below 150, got 503",
    "index out of bounds: got 500",
    "value out of range: got 503",
    "limit is 400 characters, got 429",
    "expected an even number, got 429",
    "sum is 500, got 503",
    "calculation gave 503, outside of the interval",
    "two rules for status 429",
    "no translation of error 503",
    "status code 503 missing in mapping",
    "network layer expects 512 inputs, got 503",
    "expected exit code 0, got 503",
)
SETTINGS = (
    "timeouts: list expected",
    "timeout: a number is required",
    "rate_limit: dict expected",
    "rate limits: mapping expected",
    "rate limit table: duplicate row for 'gpt-4o'",
    "connect timeout: float required",
    "timeout (seconds) must be positive",
    "timeout: -5",
    "timeout -1 not allowed",
    "timeout < 0",
    "timeout 'soon' not understood",
    "timeout 5x cannot be parsed",
    "illegal timeout 'abc'",
    "wrong type for timeout: str",
    "read timeout must not exceed total timeout",
    "step timeout 40 exceeds run timeout 30",
    "connect timeout exceeds total timeout",
    "timeout and deadline both given",
    "connection errors must be a list of classes",
    "http 429 handler already defined",
    "error 503 documented twice",
    "user declined the request to slow down",
    "customer asked to slow down the line",
    "neural network error: layer sizes differ",
    "State machine: cannot go from OPEN to TIMEOUT",
    "unexpected state: overloaded",
    "<Status.OVERLOADED: 3> is not allowed here",
    "mock never raised a timeout",
    "timeout unset for provider x",
    "AssertionError: expected 200, got 503",
    'failed to parse line 4: "503 Service Unavailable"',
    "failed to resolve variable x",
    "failed to resolve dependencies of task 3",
    "the user asked why the request timed out",
)
REPORTED = (
    ("expected 200 but got 503", K.OVERLOADED),
    ("expected 200, got 503", K.OVERLOADED),
    ("expected status 200, got 503", K.OVERLOADED),
    ("expected 200 from upstream, got 502", K.SERVER_ERROR),
    ("expected 200 response, got 429", K.RATE_LIMIT),
    ("expected a result within 30 seconds, got 503", K.OVERLOADED),
    ("should be done after 3 tries, got 429", K.RATE_LIMIT),
    ("the number of requests must be lower, got 429", K.RATE_LIMIT),
    ("server returned 503 after 3 tries", K.OVERLOADED),
    ("timeout: there is no response", K.TIMEOUT),
    ("timeout: server is not responding", K.TIMEOUT),
    ("timeout: response expected within 30 s", K.TIMEOUT),
    ("connection timed out -110", K.TIMEOUT),
    ("httpx.ReadError while streaming", K.NETWORK),
    ("The server responded with: {'ok': False, 'error': 'ratelimited'}", K.RATE_LIMIT),
)


@pytest.mark.parametrize("text", COMPARED)
@pytest.mark.parametrize("cls", [ValueError, RuntimeError])
def test_a_number_that_is_compared_with_others_is_no_status(text: str, cls: type[Exception]) -> None:
    failure = classify(cls(text))
    assert failure.kind in (K.UNKNOWN, K.INVALID_REQUEST)
    assert (failure.retryable, failure.status_code) == (False, None)


@pytest.mark.parametrize("text", SETTINGS)
@pytest.mark.parametrize("cls", [ValueError, RuntimeError])
def test_a_setting_with_its_unit_value_or_type_is_no_failure(text: str, cls: type[Exception]) -> None:
    failure = classify(cls(text))
    assert failure.kind in (K.UNKNOWN, K.INVALID_REQUEST)
    assert failure.retryable is False


@pytest.mark.parametrize(("text", "kind"), REPORTED)
def test_what_is_reported_of_a_call_still_is(text: str, kind: FailureKind) -> None:
    failure = classify(RuntimeError(text))
    assert (failure.kind, failure.retryable) == (kind, True)
