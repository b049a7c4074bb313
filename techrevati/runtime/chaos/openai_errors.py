"""How OpenAI refuses: the error responses that its endpoints have in common."""

from __future__ import annotations

from techrevati.runtime.chaos.faults import Fault, FaultKind
from techrevati.runtime.chaos.wire import (
    BAD_GATEWAY,
    InvalidRequestError,
    Refusal,
    RefusalFacts,
    compact,
    wait_headers,
)

ErrorRow = tuple[int, str, str | None, str | None, str]  # status, type, code, param, message

_SERVER_ERROR = (
    "The server had an error while processing your request. Sorry about that! (Please include the "
    "request ID {request_id} in your message.)"
)
_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on "
    "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_INVALID = "invalid_request_error"
ERRORS: dict[FaultKind, ErrorRow] = {
    FaultKind.RATE_LIMIT: (
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "Rate limit reached for {model} in organization org-chaos on requests per min (RPM): Limit 60, "
        "Used 60, Requested 1. Please try again in {wait}.",
    ),
    FaultKind.QUOTA_EXHAUSTED: (429, "insufficient_quota", "insufficient_quota", None, _QUOTA),
    FaultKind.SPEND_LIMIT: (429, "insufficient_quota", "insufficient_quota", None, _QUOTA),
    FaultKind.INVALID_KEY: (
        401,
        _INVALID,
        "invalid_api_key",
        None,
        "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    FaultKind.FORBIDDEN: (
        403,
        _INVALID,
        "model_not_found",
        None,
        "Project `proj_chaos` does not have access to model `{model}`",
    ),
    FaultKind.MODEL_NOT_FOUND: (
        404,
        _INVALID,
        "model_not_found",
        None,
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    FaultKind.CONTEXT_OVERFLOW: (
        400,
        _INVALID,
        "context_length_exceeded",
        "messages",
        "This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} "
        "tokens. Please reduce the length of the messages.",
    ),
    FaultKind.CONTENT_FILTER: (
        400,
        _INVALID,
        "content_filter",
        "prompt",
        "The response was filtered due to the prompt triggering the content management policy. Please modify "
        "your prompt and retry.",
    ),
    FaultKind.SERVER_ERROR: (
        500,
        "server_error",
        None,
        None,
        _SERVER_ERROR,
    ),
    FaultKind.UNAVAILABLE: (
        503,
        "server_error",
        "service_unavailable",
        None,
        "The service is temporarily unavailable. Please try again later.",
    ),
    FaultKind.OVERLOADED: (
        503,
        "server_error",
        None,
        None,
        "The engine is currently overloaded, please try again later",
    ),
}


def server_error_text(request_id: str) -> str:
    """What the provider says of an error of its own."""
    return _SERVER_ERROR.format(request_id=request_id)


class OpenAIErrors:
    """Headers and error responses; *errors* is the table that an endpoint may change rows of."""

    api = "openai"
    errors: dict[FaultKind, ErrorRow] = ERRORS

    def success_headers(self, request_id: str) -> dict[str, str]:
        """The request id and the version, as the provider sends them."""
        return {"x-request-id": request_id, "openai-version": "2020-10-01", "openai-processing-ms": "1"}

    def refusal(self, fault: Fault, facts: RefusalFacts) -> Refusal:
        """The error response for a fault that refuses."""
        headers = {"x-request-id": facts.request_id}
        headers |= wait_headers(fault.retry_after_as, "both", facts.wait_s, facts.now_s)
        if fault.kind is FaultKind.BAD_GATEWAY_HTML:
            return Refusal(502, {**headers, "content-type": "text/html"}, BAD_GATEWAY)
        status, kind, code, param, words = self.errors[fault.kind]
        if fault.kind is FaultKind.RATE_LIMIT:
            wait = _span(facts.wait_s)
            headers |= {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
            headers |= {"x-ratelimit-reset-requests": wait}
        text = fault.message or words.format(
            model=facts.model,
            wait=_span(facts.wait_s),
            tokens=max(facts.input_tokens, 8_193),
            limit=8_192 if facts.input_tokens <= 8_192 else facts.input_tokens - 1,
            request_id=facts.request_id,
        )
        error: dict[str, object] = {"message": text, "type": kind, "param": param, "code": code}
        if fault.kind is FaultKind.CONTENT_FILTER:
            filtered = {"filtered": True, "severity": "high"}
            error["innererror"] = {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"violence": filtered},
            }
        return Refusal(status, {**headers, "content-type": "application/json"}, compact({"error": error}))

    def invalid(self, error: InvalidRequestError, request_id: str) -> Refusal:
        """The error response for a request that is wrong by itself."""
        body = {"message": error.message, "type": _INVALID, "param": error.param, "code": error.code}
        headers = {"x-request-id": request_id, "content-type": "application/json"}
        return Refusal(error.status, headers, compact({"error": body}))


def _span(wait_s: float | None) -> str:
    """A wait as the provider writes it: ``120ms``, ``7.5s``, ``1m12s``."""
    if wait_s is None:
        return "1s"
    if wait_s < 1:
        return f"{max(1, round(wait_s * 1000))}ms"
    if wait_s < 60:
        return f"{wait_s:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(wait_s // 60)}m{round(wait_s % 60)}s"
