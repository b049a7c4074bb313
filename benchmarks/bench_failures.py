"""What it takes to know a failure: from its class, from facts in headers and bodies, from words alone."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, answer, compare_all, floor
from techrevati.runtime.failures import FailureKind as K, classify

FACTS, WORDS = Aim(5e-6, "s"), Aim(20e-6, "s")

_HEADERS = {
    "date": "Sat, 21 Nov 2026 10:00:00 GMT",
    "content-type": "application/json",
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-request-id": "req_a",
    "server": "cloudflare",
}


def _sdk_error(status: int, code: str | None, message: str, **headers: str) -> Exception:
    """As the openai SDK leaves it: an inner body, a response with its headers."""
    kind = type("APIStatusError", (Exception,), {"__module__": "openai"})
    error = kind(f"Error code: {status} - {message}")
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    response = SimpleNamespace(status_code=status, headers={**_HEADERS, **headers})
    error.__dict__.update(status_code=status, code=code, body=body, response=response, request_id="req_a")
    return error


CASES: tuple[tuple[str, BaseException, K, Aim], ...] = (
    ("classify: the class tells", TimeoutError(), K.TIMEOUT, FACTS),
    ("classify: a bug of the caller's", KeyError("x"), K.INVALID_REQUEST, FACTS),
    ("classify: an SDK's error by its code", _sdk_error(401, "invalid_api_key", "Wrong"), K.AUTH, FACTS),
    (
        "classify: an SDK's error by status and words",
        _sdk_error(429, "rate_limit_exceeded", "Rate limit reached", **{"retry-after": "7"}),
        K.RATE_LIMIT,
        WORDS,
    ),
    ("classify: a text", RuntimeError("Rate limit reached. Please try again in 20s."), K.RATE_LIMIT, WORDS),
    ("classify: a text with a number", Exception("could not connect to port 4290"), K.NETWORK, WORDS),
)


def comparisons() -> list[Comparison]:
    """Each case over the floor, a call."""
    base = Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1)
    return [
        Comparison(
            what,
            base,
            [Subject("ours", "result = classify(error).kind", {"classify": classify, "error": error}, kind)],
            aim,
        )
        for what, error, kind, aim in CASES
    ]


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """All figures; nobody else classifies."""
    return compare_all(comparisons(), effort)
