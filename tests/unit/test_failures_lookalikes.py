"""Texts that use a failure's words for something that is none of a call, and texts that only look as plain.

What must not be repeated must not be taken for retryable; what a service reports must not be lost for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from techrevati.runtime.failures import classify

# The first were written before the rules, the second after them.
LOOKALIKES = (
    "the referee called a timeout in the third quarter",
    "session cookie timed out of the audit period",
    "the deadline exceeded what the contract allows",
    "project deadline exceeded by two weeks",
    "timed out column has wrong type in table runs",
    "field 'timed out' is not a boolean",
    "cannot parse 'timeout' as a date",
    "student timed out of exam 3",
    "user took a timeout from chess game 12",
    "test 'request timed out' did not raise",
    "cannot connect polygon A with polygon B",
    "could not connect wire 3 to pin 7",
    "unable to connect the evidence to the suspect",
    "failed to connect with the audience",
    "connection refused by the bride's family",
    "could not connect edge e4 to vertex v9: cycle",
    "connection closed is not a valid status label",
    "the pipe is broken in apartment 4",
    "broken pipe on the third floor, plumber called",
    "network error margin is 3 percent",
    "network error rate column missing",
    "connection lost between chapters 3 and 4",
    "unknown exception type: ConnectionResetError",
    "no such error class: ReadTimeout",
    "cannot pickle exception class ConnectionError",
    "unexpected class TimeoutError in allow-list",
    "expected ConnectionError to be raised",
    "did not raise TimeoutError",
    "handler catches ConnectionError but not OSError",
    "cannot import name 'ConnectTimeout' from 'client'",
    "the truck is overloaded by 300 kg",
    "bus 5 is at capacity for the school trip",
    "warehouse 3 is over capacity",
    "the item is currently unavailable in your size",
    "doctor Smith is temporarily unavailable until Monday",
    "product temporarily unavailable in store",
    "room 503 is currently unavailable for booking",
    "high demand for tickets to the concert",
    "high traffic on road A7 is expected",
    "meeting room is too busy on Friday",
    "high load bearing wall cannot be removed",
    "too many requests for leave in December",
    "too many requests for refunds from customer 8812",
    "throttle valve stuck at 40 percent",
    "throttle cable is not connected",
    "please slow down near the school, sign 14 says",
    "slow down factor is not a number",
    "bank rate limit changed to 3 percent",
    "speed rate limit sign not found in image",
    "per minute charges cannot be computed for call 7",
    "heart beats per minute out of range",
    "internal error code table has 500 rows",
    "internal error estimate is larger than the tolerance",
    "server error template missing: 500.html",
    "server error log cannot be parsed at line 3",
    "bad gateway name 'eth0'",
    "bad gateway configuration in section [net]",
    "service unavailable page is not translated into Dutch",
    "page 'service unavailable' has no title",
    "error 500 is not in the list of test cases",
    "expected status 503 in the golden file",
    "mock for HTTP 502 is not used",
)
LOOKALIKES_AFTERWARDS = (
    "the patient timed out of therapy",
    "washing machine timeout light is on",
    "a timeout was requested by the coach",
    "the connection between smoking and cancer was refused by the jury",
    "the bridge connection failed inspection",
    "cannot connect the hose to the tap",
    "could not connect the two paragraphs logically",
    "unable to connect dots 3 and 4",
    "elevator overloaded, three people must leave",
    "the restaurant is at capacity tonight",
    "our sales team is too busy this week",
    "high demand for umbrellas in April",
    "wine temporarily unavailable",
    "pharmacy currently unavailable due to holidays",
    "too many requests for autographs",
    "too many requests for time off",
    "slow down and read the question",
    "throttle response test failed on lane 2",
    "interest per minute is undefined",
    "internal error bars are missing in figure 2",
    "bad gateway arch photo",
    "server error codes table is empty",
    "network error bars must be positive",
    "connection error column has 3 nulls",
    "connection refused column is not boolean",
    "rate limit column must be numeric",
    "deadline exceeded flag is not set",
    "row 429 not found",
    "broken pipe dream lyrics",
    "proxy error term in regression is biased",
    "service unavailable banner has wrong colour",
    "internal server error page needs a logo",
    "took too long to boil the egg",
    "no response within the survey group",
    "connection pool size chart is wrong",
    "connection lost episode 4 has no subtitles",
    "the deadline expired for tax returns",
    "stream interrupted by a beaver dam",
    "test_timeout is flaky",
    "expected TimeoutError but nothing was raised",
    "assert 'overloaded' == 'ok'",
    "enum Kind has no member rate_limit",
    "KeyError-like: 'timeout'",
    "the throttle is open",
    "gateway time-out label truncated",
    "network down the street is closed",
    "host is down with the flu",
    "premature close of the envelope",
)
# A reader of words cannot tell these.
NOT_TOLD = (
    "user took a timeout from chess game 12",
    "no response within the survey group",
    "host is down with the flu",
)
REPORTS = (
    "acme-vector: request timed out",
    "Acme search timed out after 20s",
    "LLM call timed out",
    "job 81 timed out",
    "Timed out waiting for lock",
    "timed out (15s)",
    "Query timed out",
    "Timeout: no answer from weather tool",
    "Timeout while contacting weatherapi",
    "read timeout=30",
    "HTTPSConnectionPool(host='x', port=443): Read timed out. (read timeout=10)",
    "Connection to 10.0.0.3 timed out. (connect timeout=5)",
    "failed to connect to acme",
    "Could not connect to Weaviate",
    "cannot connect to vector store acme",
    "Unable to connect to qdrant at http://localhost:6333",
    "connection refused",
    "Connection refused (os error 111)",
    "dial tcp 127.0.0.1:80: connect: connection refused",
    "connect ECONNREFUSED 127.0.0.1:6379",
    "Connection reset by peer",
    "[Errno 104] Connection reset by peer",
    "Connection was reset",
    "connection closed by remote host",
    "The connection was closed unexpectedly",
    "Lost connection to MySQL server during query",
    "server closed the connection unexpectedly",
    "Connection lost",
    "connection lost: keepalive failed",
    "SSL connection has been closed unexpectedly",
    "write: broken pipe",
    "Broken pipe",
    "network error",
    "Network error: fetch failed",
    "NetworkError when attempting to fetch resource",
    "weather: network error",
    "TypeError: fetch failed: ECONNRESET",
    "Service unavailable",
    "service temporarily unavailable",
    "The service is temporarily unavailable, please try again",
    "weather service unavailable",
    "Search backend is currently unavailable",
    "Model gpt-x is currently overloaded",
    "acme: overloaded",
    "server busy",
    "Server is too busy",
    "The engine is at capacity",
    "We're experiencing high demand. Please try again later.",
    "We are currently experiencing high traffic",
    "no healthy upstream",
    "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
    "rate limit exceeded",
    "Rate limit exceeded for acme",
    "Rate limit hit, sleeping",
    "You have hit the rate limit",
    "User rate limit exceeded",
    "rate limited by acme",
    "acme rate limit: slow down",
    "Too many requests",
    "Too many requests from this IP",
    "too many requests: acme",
    "Request throttled by provider",
    "throttled",
    "ThrottlingException",
    "requests per minute limit exceeded",
    "Slow down",
    "Internal server error",
    "internal error, try again",
    "An internal error occurred",
    "acme: internal server error",
    "Internal Error Encountered.",
    "The server had an error while processing your request",
    "bad gateway",
    "502 bad gateway nginx",
    "Bad Gateway: acme",
    "upstream error: acme",
    "deadline exceeded",
    "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    "rpc error: code = Unavailable desc = transport is closing",
    "Deadline exceeded while calling acme",
    "Proxy error: tunnel failed",
    "name resolution failed for acme.io",
    "Temporary failure in name resolution",
    "socket hang up",
    "stream ended unexpectedly",
    "unexpected eof while reading",
    "incomplete chunked read",
    "aborted: connection reset",
)
# Written by somebody who had not read the rules; of the first five were taken for retryable, of the second
# one was not.
LOOKALIKES_HELD_OUT = (
    "the meeting was pushed back because the room was unavailable",
    "user 503 has no invoices",
    "page 429 of the manual is missing",
    "retry count exceeded the configured limit of -1",
    "expected a connection string, got None",
    "cannot use timeout=0 with stream=True",
    "rate limit must be a positive integer",
    "the customer asked for an overloaded operator example",
    "port 5000 is already defined in docker-compose.yml",
    "connection reset button not found in layout",
    "Room 504 is booked",
    "quota argument missing",
    "unknown option --retry-timeout",
    "server name may not be empty",
    "the gateway drug hypothesis is disputed",
    '"timeout" is not a valid column name',
    "line 408: unexpected indent",
    "order #500 shipped",
    "temperature must be between 0 and 2",
    "Invalid header name 'retry-after'",
    "test_connection_refused failed: assert False",
    "schema error: field connection_timeout has type string",
    "no such table: rate_limits",
    "could not parse date 2024-05-03",
    "my train had a timeout at the station",
    "cannot import name 'RateLimitError' from 'openai'",
    "module 'socket' has no attribute 'timeout_s'",
    "KeyError: 'service_unavailable'",
    "the service industry is busy this season",
    "maximum recursion depth exceeded",
    "too many values to unpack (expected 2)",
    "too many arguments",
    "division by zero",
    "File not found: /tmp/timeout.txt",
    "permission denied: /etc/shadow",
    "Incorrect API key provided",
    "You exceeded your current quota, please check your plan and billing details",
    "invalid_request_error: max_tokens is too large",
    "This model's maximum context length is 8192 tokens",
    "content filtered by policy",
    "the deployment gpt-4-503 does not exist",
    "HTTP 404: model not found",
    "status code 401",
    "Bad request: messages[429].content is empty",
    "could not connect the dots between the two paragraphs",
    "the network of cousins is large",
    "database schema version 502 is newer than 501",
    "DNS record type must be A or AAAA",
    "please wait for the approval of your manager",
    "server_error is not one of ['ok','bad']",
    "Error: rate limit config file missing",
    "timed_out must be a bool",
    "the patient was temporarily unavailable for comment",
    "He lost connection to reality",
    "invalid proxy: error in URL",
    "connection pool size must be >= 1",
    "retry_after: expected float",
    "throttle body cleaning is due at 50,000 km",
    "capacity of the stadium exceeded 50,000",
)
REPORTS_HELD_OUT = (
    "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    "Request timed out.",
    "HTTP 503 Service Unavailable",
    "502 Bad Gateway",
    "The server is currently overloaded. Please try again later.",
    "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): "
    "Limit 30000, Used 29000, Requested 2000. Please try again in 2s.",
    "Too many requests, please slow down",
    "The engine is currently overloaded, please try again later",
    "429 Too Many Requests",
    "Read timed out. (read timeout=30)",
    "[Errno 111] Connection refused",
    "Remote end closed connection without response",
    "The read operation timed out",
    "Server disconnected without sending a response.",
    "peer closed connection without sending complete message body (incomplete chunked read)",
    "Our servers are experiencing high traffic",
    "Overloaded",
    "An internal error has occurred. Please retry",
    "Deadline Exceeded",
    "504 Gateway Time-out",
    "ThrottlingException: Too many tokens, please wait before trying again.",
    "Model is currently loading, estimated time 20s",
    "database is locked",
    "Resource exhausted, please try again later",
    "The model is overloaded. Please try again later.",
    "connect ETIMEDOUT 10.0.0.1:443",
    "stream error: stream ID 3; INTERNAL_ERROR",
    "could not connect to server: Connection refused",
    "received 503 from upstream",
    "temporarily rate limited upstream",
    "the upstream server is timing out",
    "Exceeded rate limit: 10 requests per minute",
    "capacity exceeded, try again shortly",
)
# Said in words that no rule knows; what nobody knows is not repeated.
UNKNOWN = ("read timeout=30",)


def test_what_is_not_said_of_a_call_is_not_tried_again() -> None:
    texts = (*LOOKALIKES, *LOOKALIKES_AFTERWARDS, *LOOKALIKES_HELD_OUT)
    assert sorted(text for text in texts if classify(RuntimeError(text)).retryable) == sorted(NOT_TOLD)


def test_what_is_said_of_a_call_is() -> None:
    texts = (*REPORTS, *REPORTS_HELD_OUT)
    assert [text for text in texts if not classify(RuntimeError(text)).retryable] == list(UNKNOWN)


@pytest.mark.parametrize("text", ["overloaded", "timed out", "connection lost", "too many requests"])
@pytest.mark.parametrize(
    "frame", ["{}", "acme: {}", "{}.", "[acme] {}", "step 3 failed ({})", "{}\n  in line 7"]
)
def test_a_clause_of_its_own_is_of_a_call(text: str, frame: str) -> None:
    assert classify(RuntimeError(frame.format(text))).retryable


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_that_was_expected_is_none(status: int) -> None:
    assert not classify(RuntimeError(f"expected status {status} in the golden file")).retryable
    assert classify(RuntimeError(f"expected status 200, got {status}")).retryable
    assert classify(RuntimeError(f"unexpected status {status}")).retryable


# By an examiner who had not read the rules: reports of databases, queues, browsers and languages, and as many
# texts that only look like failures.  Then 64 of 97 reports had their kind, and 12 of 60 others were unsafe.
# A further 104 and 100, after that was mended: 88 had their kind; none of these, 3 of the others were unsafe.
# Then 50 and 50: 42 had their kind; none of these, 1 of the others was unsafe.
EXAMINED = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data/failure-texts.jsonl").read_text("utf-8").splitlines()
]
STILL_UNSAFE = (
    "Deadline exceeded: applications closed on 1 March",
    "Too many requests for leave in August: your request was declined",
    "line 500: timeout",
)


def test_what_an_examiner_wrote_is_judged_as_he_did() -> None:
    wrong = []
    for case in EXAMINED:
        failure = classify(RuntimeError(case["text"]))
        if failure.retryable is not case.get("retryable", failure.retryable):
            wrong.append(case["text"])
        elif failure.kind.value not in case.get("kinds", [failure.kind.value]):
            wrong.append(f"{case['text']}: {failure.kind}")
    assert wrong == []
    assert sum("kinds" in case for case in EXAMINED) == 229


def test_what_is_known_to_be_wrong() -> None:
    """Whoever mends one of these takes it off the list."""
    assert [text for text in STILL_UNSAFE if not classify(RuntimeError(text)).retryable] == []


# By another examiner: of 120 reports, written before he read the rules, 107 had a kind he accepted (114 with
# what another exam had mended meanwhile), and 11 of 106 other texts were unsafe.  With that mended, 30 and 30
# more were written before they were run: 30 had their kind (29 with the other), 3 were unsafe.
HELD_OUT = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data/failure-texts-held-out.jsonl")
    .read_text("utf-8")
    .splitlines()
]


def test_what_another_examiner_wrote_is_judged_as_he_did() -> None:
    wrong = []
    for case in HELD_OUT:
        failure = classify(RuntimeError(case["text"]))
        if failure.kind.value not in case["kinds"] or failure.retryable is not case.get(
            "retryable", failure.retryable
        ):
            wrong.append(f"{case['text']}: {failure.kind}")
    assert wrong == []
    assert len(HELD_OUT) == 285


@pytest.mark.parametrize("name", ["timeout", "rate limit", "network error", "server error"])
@pytest.mark.parametrize(
    "frame",
    ["not a {}: row 3 is wrong", "no longer a {}", "cannot parse 'x' as a {}", "cannot convert x to a {}"],
)
def test_what_is_denied_or_to_be_read_did_not_happen(name: str, frame: str) -> None:
    assert not classify(RuntimeError(frame.format(name))).retryable


@pytest.mark.parametrize("said", ["HTTP 503", "HTTP 429", "server_error", "rate_limit_exceeded"])
def test_quotes_hold_a_name_or_what_was_said(said: str) -> None:
    assert not classify(RuntimeError(f"article '{said}' has no author")).retryable
    assert classify(RuntimeError(f"the server answered with '{said}'")).retryable
    assert classify(RuntimeError(f"call failed: '{said}'")).retryable


@pytest.mark.parametrize(
    "text",
    [
        "the truck is overloaded \u2013 300 kg too much",
        "too many requests for leave • December",
        "room temporarily unavailable — see § 4",
        "branch “fix-timeout” is gone",
        "article \u2018HTTP 503\u2019 has no author",
        "the café is overloaded by 30 guests",
    ],
)
def test_typography_makes_no_failure_of_a_text(text: str) -> None:
    assert not classify(RuntimeError(text)).retryable


@pytest.mark.parametrize(
    "text",
    [
        "[planner] failed → server is overloaded, please retry shortly",
        "❌ Request timed out after 30s",
        "We\u2019re experiencing high demand. Please try again later.",
        "HTTP 503 \u2013 Service Unavailable",
        "Rate limit exceeded — retry in 2s",
        "请求失败 → too many requests",
        "触发速率限制\uff0c请稍后重试 (step 3 of plan)",
    ],
)
def test_typography_hides_no_failure(text: str) -> None:
    assert classify(RuntimeError(text)).retryable
