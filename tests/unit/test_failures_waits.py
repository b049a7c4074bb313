"""How long a provider asked to wait, in all the ways it may say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.message import Message
from typing import Any

import pytest

from techrevati.runtime.failures import FailureKind, classify
from techrevati.runtime.failures.waits import MAX_WAIT_S, duration, from_prose

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class Limited(Exception):
    status_code = 429

    def __init__(self, headers: object = None, text: str = "no", **facts: object) -> None:
        super().__init__(text)
        self.headers = headers
        self.__dict__.update(facts)


def wait(headers: object = None, text: str = "no", **facts: object) -> float | None:
    return classify(Limited(headers, text, **facts), now=NOW).retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"Retry-After": "0"}, 0.0),
        ({"RETRY-AFTER": " 2.5 "}, 2.5),
        ({"retry-after": 7}, 7.0),
        ({b"retry-after": b"4"}, 4.0),
        ([("Retry-After", "5")], 5.0),
        ((("Retry-After", "6"),), 6.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Saturday, 21-Nov-26 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "2026-11-21T12:00:10Z"}, 10.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "١٢"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "9" * 500}, None),
        ({"retry-after": "Sat, 99 Foo 2026 12:01:30 GMT"}, None),
        ({"retry-after": "Sat, 21 Nov 9999 12:01:30 GMT"}, None),
        (None, None),
        ({}, None),
    ],
)
def test_retry_after(headers: object, seconds: float | None) -> None:
    assert wait(headers) == seconds


def test_retry_after_in_the_headers_of_a_mail_message() -> None:
    message = Message()
    message["Retry-After"] = "8"
    assert wait(message) == 8.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("7m12s", 432.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("35", 35.0),
        (str(int(NOW.timestamp()) + 40), 40.0),
        (str((int(NOW.timestamp()) + 50) * 1000), 50.0),
        (str(int(NOW.timestamp()) - 40), 0.0),
        ("2026-11-21T12:00:20Z", 20.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("7m12", None),
    ],
)
def test_resets_count_where_nothing_remains(reset: str, seconds: float | None) -> None:
    pair = {"x-ratelimit-reset-tokens": reset}
    assert wait({**pair, "x-ratelimit-remaining-tokens": "0"}) == seconds
    assert wait({**pair, "x-ratelimit-remaining-tokens": "1"}) is None
    assert wait({**pair, "x-ratelimit-remaining-requests": "0"}) is None
    assert wait(pair) is None
    assert wait({**pair, "x-ratelimit-remaining-tokens": "0", "retry-after": "2"}) == 2.0


def test_the_last_reset_of_the_empty_limits_is_waited_for() -> None:
    headers = {
        "x-ratelimit-reset-tokens": "9s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-requests": "60s",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-days": "9h",
        "x-ratelimit-remaining-days": "5",
    }
    assert wait(headers) == 60.0
    assert wait({"X-RateLimit-Reset": "3", "X-RateLimit-Remaining": "0"}) == 3.0
    anthropic = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:45Z",
    }
    assert wait(anthropic) == 45.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 644ms.", 0.644),
        ("Please try again in 1m2.5s. Visit https://x", 62.5),
        ("Please try again in 7h12m.", 25_920.0),
        ("Rate limit is exceeded. Try again in 26 seconds.", 26.0),
        ("Please retry after 30 seconds", 30.0),
        ("Please retry in 34.07s.", 34.07),
        ("Please wait 2 minutes and 5 seconds", 125.0),
        ("slow down; Retry-After: 12", 12.0),
        ('{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}', 34.0),
        ("retry_delay {\n  seconds: 21\n}", 21.0),
        ("Please try again later.", None),
        ("Please try again in 30", None),
        ("try again in -5s", None),
        ("try again in 5 parsecs", None),
        ("try again in 999999999 days", None),
        ("retry 3 times", None),
        ("waited 5 seconds", None),
    ],
)
def test_prose(text: str, seconds: float | None) -> None:
    assert wait(text=text) == seconds


def test_prose_is_read_only_where_waiting_can_help() -> None:
    text = "bad request, try again in 5s"
    assert classify(Limited(None, text, status_code=400)).retry_after is None
    assert classify(Limited(None, text, status_code=503)).retry_after == 5.0


def test_headers_go_before_bodies_and_bodies_before_prose() -> None:
    body = {"error": {"details": [{"retryDelay": "34s"}]}}
    text = "try again in 7s"
    assert wait({"retry-after": "3"}, text, body=body) == 3.0
    assert wait(None, text, body=body) == 34.0
    assert wait(None, text, body=None) == 7.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True, "soon", object(), [3]])
def test_nonsense_in_an_attribute_is_no_hint(value: object) -> None:
    assert wait(retry_after=value) is None


def test_an_attribute_is_a_hint() -> None:
    assert (wait(retry_after=1.5), wait(retry_after="2"), wait(retry_after=0)) == (1.5, 2.0, 0.0)


@pytest.mark.parametrize("now", [NOW, NOW.timestamp(), NOW.astimezone(timezone(timedelta(hours=5)))])
def test_now_is_an_aware_datetime_or_epoch_seconds(now: Any) -> None:
    error = Limited({"retry-after": "Sat, 21 Nov 2026 12:01:30 GMT"})
    assert classify(error, now=now).retry_after == 90.0


def test_the_wall_clock_is_the_default() -> None:
    error = Limited(
        {"retry-after": (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")}
    )
    found = classify(error).retry_after
    assert found is not None
    assert 3_500 < found <= 3_600


def test_a_naive_or_foreign_now_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        classify(Exception("x"), now=NOW.replace(tzinfo=None))
    with pytest.raises(TypeError, match="now must be"):
        classify(Exception("x"), now="today")  # type: ignore[arg-type]


def test_a_hint_is_kept_for_exhausted_quota_too() -> None:
    failure = classify(Limited({"retry-after": "3600"}, code="insufficient_quota"))
    assert (failure.kind, failure.retryable, failure.retry_after) == (
        FailureKind.QUOTA_EXHAUSTED,
        False,
        3600.0,
    )


def test_durations_are_all_or_nothing() -> None:
    assert duration("1d") == 86_400.0
    assert duration("1.5 hours, 2 mins") == 5_520.0
    for text in ("", "s", "5", "5x", "5s later", "in 5s", "5s 6", "1e3s", "--5s"):
        assert duration(text) is None, text
    assert duration(f"{int(MAX_WAIT_S) + 1}s") is None
    assert from_prose("nothing here") is None
