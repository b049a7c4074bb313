"""Refusals in the words of smaller services: used-up allowances, unsafe content, prompts, keys, retries."""

from __future__ import annotations

from typing import Any

import pytest

from techrevati.runtime.failures import FailureKind, FailureOrigin, classify

K = FailureKind


class Refused(Exception):
    """An error as most SDKs raise it."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(f"Error code: {status}")
        self.status_code = status
        self.body: object = {"message": message, "code": code}


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (403, "no", "AllocationQuota.FreeTierOnly", K.QUOTA_EXHAUSTED),
        (403, "The free tier of the model has been exhausted.", None, K.QUOTA_EXHAUSTED),
        (403, "Your free credits have been used up", None, K.QUOTA_EXHAUSTED),
        (429, "Your free quota is exhausted", None, K.QUOTA_EXHAUSTED),
        (400, "Your free trial has ended", None, K.QUOTA_EXHAUSTED),
        (429, "no", "Throttling.RateQuota", K.RATE_LIMIT),
        (400, "System detected potentially unsafe or sensitive content in input", None, K.CONTENT_POLICY),
        (400, "The image shows harmful content", None, K.CONTENT_POLICY),
        (400, "we've limited access to this content for safety reasons", None, K.CONTENT_POLICY),
        (400, "Prompt exceeds max length", None, K.CONTEXT_OVERFLOW),
        (400, "the prompt is longer than the model allows", None, K.CONTEXT_OVERFLOW),
        (
            400,
            "length of prompt_tokens (9000) must be less than max_seq_len (8192).",
            None,
            K.CONTEXT_OVERFLOW,
        ),
        (403, "You have reached the usage limit of your trial.", None, K.QUOTA_EXHAUSTED),
        (429, "Limit: 3 / min. Add a payment method to increase your rate limit.", None, K.RATE_LIMIT),
        (403, "Token quota is exceeded. Try again in 12 days.", None, K.QUOTA_EXHAUSTED),
        (429, "Quota limit exceeded for plan.", "QUOTA_LIMITED", K.QUOTA_EXHAUSTED),
        (
            429,
            "You've reached the monthly tokens limit for the model",
            "RESOURCE_EXHAUSTED",
            K.QUOTA_EXHAUSTED,
        ),
        (403, "no", "quotaExceeded", K.QUOTA_EXHAUSTED),
        (400, "Your account balance is negative. Please top up.", None, K.QUOTA_EXHAUSTED),
        (422, "The provided subscription token is invalid.", None, K.AUTH),
        (451, "blocked", "censorship_blocked", K.CONTENT_POLICY),
        (429, "Without a payment method there are reduced rate limits of 3 RPM", None, K.RATE_LIMIT),
        (400, "no", "RequestThrottled", K.RATE_LIMIT),
        (400, "no", "RequestTimeout", K.TIMEOUT),
        (403, "no", "InvalidAccessKeyId", K.AUTH),
        (401, "no", "AuthFailure", K.AUTH),
        (400, "no", "IncompleteSignatureException", K.AUTH),
    ],
)
def test_refusals(status: int, message: str, code: str | None, kind: FailureKind) -> None:
    failure = classify(Refused(status, message, code))
    assert (failure.kind, failure.retryable) == (kind, kind in (K.RATE_LIMIT, K.TIMEOUT))


def test_words_and_codes_of_bodies_that_are_shaped_otherwise() -> None:
    flagged = Refused(403, "")
    flagged.body = {"errors": ["flagged by our content moderation"], "name": "content_moderation"}
    assert classify(flagged).kind is K.CONTENT_POLICY
    unpaid = Refused(400, "")
    unpaid.body = {"errorCode": "insufficient_credits", "message": "no"}
    assert (classify(unpaid).kind, classify(unpaid).code) == (K.QUOTA_EXHAUSTED, "insufficient_credits")


def class_of(qualified: str, *bases: type[Exception]) -> Any:
    module, _, name = qualified.rpartition(".")
    return type(name, bases or (Exception,), {"__module__": module})


@pytest.mark.parametrize("reason", ["ReadTimeoutError", "ConnectTimeoutError"])
@pytest.mark.parametrize("name", ["urllib3.exceptions.MaxRetryError", "requests.exceptions.ConnectionError"])
def test_a_transport_that_retried_in_vain_is_its_last_reason(name: str, reason: str) -> None:
    said = (
        f'HTTPConnectionPool(host="h", port=80): Max retries exceeded with url: / (Caused by {reason}("x"))'
    )
    failure = classify(class_of(name)(said))
    assert (failure.kind, failure.origin, failure.retryable) == (K.TIMEOUT, FailureOrigin.NETWORK, True)


def test_a_library_used_in_a_way_that_cannot_work_is_the_callers() -> None:
    pydantic = pytest.importorskip("pydantic")
    unknown = pydantic.create_model("Model", __module__=__name__, other=("Nowhere", ...))
    with pytest.raises(pydantic.errors.PydanticUserError) as caught:
        unknown(other=1)
    failure = classify(caught.value)
    assert (failure.kind, failure.origin) == (K.INVALID_REQUEST, FailureOrigin.CALLER)
    for name in ("sqlalchemy.exc.ArgumentError", "click.exceptions.UsageError", "configparser.Error"):
        assert classify(class_of(name)("the wrong way")).kind is K.INVALID_REQUEST


def test_a_token_that_does_not_verify_is_auth() -> None:
    invalid = class_of("jwt.exceptions.InvalidTokenError")
    assert classify(class_of("jwt.exceptions.InvalidSignatureError", invalid)("no")).kind is K.AUTH


NOT_FREE = "Gemini 2.5 Pro Preview doesn't have a free quota tier. Please use Gemini 2.5 Pro Experimental."


@pytest.mark.parametrize(
    "text", [NOT_FREE, f"429 {NOT_FREE}", f"got status: 429 Too Many Requests. {NOT_FREE}"]
)
def test_what_is_never_free_is_a_quota(text: str) -> None:
    failure = classify(RuntimeError(text))
    assert (failure.kind, failure.retryable) == (K.QUOTA_EXHAUSTED, False)


@pytest.mark.parametrize(
    "text",
    [
        "failed to spawn: `mcp` Caused by: program not found MCP error -32000: Connection closed",
        "spawn npx ENOENT MCP error -32000: Connection closed",
        "executable not found: connection closed",
    ],
)
def test_a_server_whose_program_is_not_there_does_not_start_the_next_time(text: str) -> None:
    failure = classify(RuntimeError(text))
    assert (failure.kind, failure.retryable) == (K.TOOL_ERROR, False)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("litellm.BadGatewayError: BadGatewayError: OpenAIException -", K.SERVER_ERROR),
        ("Error: litellm.BadGatewayError: BadGatewayError: OpenAIException -", K.SERVER_ERROR),
        ("anthropic.OverloadedError", K.OVERLOADED),
        ("google.api_core.exceptions.ServiceUnavailable:", K.OVERLOADED),
        ("cohere.TooManyRequestsError:", K.RATE_LIMIT),
        ("openai.BadRequestError: ", K.INVALID_REQUEST),
        ("litellm.BadGatewayError: has a banner of its own", K.UNKNOWN),
        ("BadGatewayError page", K.UNKNOWN),
        ("ValueError", K.UNKNOWN),
    ],
)
def test_a_text_that_is_the_name_of_a_class_is_of_its_kind(text: str, kind: FailureKind) -> None:
    assert classify(RuntimeError(text)).kind is kind
