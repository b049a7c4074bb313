"""What Anthropic, Google, Mistral, Cohere, Groq, Bedrock and Azure answer in dialects of their own."""

from __future__ import annotations

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import NOW, Row
from tests.corpus.endpoint import moment


def anthropic(kind: str, message: str, **more: object) -> object:
    return {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_011A"}


_INVALID = "invalid_request_error"

ANTHROPIC = (
    Row(
        "rate limit",
        429,
        anthropic(
            "rate_limit_error",
            "This request would exceed your organization's rate"
            " limit of 30,000 input tokens per minute. You can see the response headers for current usage."
            " Please reduce the prompt length or the maximum tokens requested, or try again later.",
        ),
        K.RATE_LIMIT,
        12.0,
        {"retry-after": "12"},
    ),
    Row(
        "rate limit, reset",
        429,
        anthropic("rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit"),
        K.RATE_LIMIT,
        41.0,
        {
            "anthropic-ratelimit-requests-remaining": "10",
            "anthropic-ratelimit-requests-reset": "2026-11-18T12:40:01Z",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-18T11:07:21Z",
        },
    ),
    Row(
        "rate limit, date",
        429,
        anthropic("rate_limit_error", "Rate limited"),
        K.RATE_LIMIT,
        33.0,
        {"retry-after": moment(NOW + 33)},
    ),
    Row(
        "acceleration",
        429,
        anthropic(
            "rate_limit_error",
            "This request would exceed the rate limit for your"
            " organization because of a sharp increase in usage",
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "concurrent connections",
        429,
        anthropic(
            "rate_limit_error",
            "Number of concurrent connections has exceeded your rate limit. Please try again later",
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "spend limit",
        429,
        anthropic(
            "rate_limit_error",
            "You have reached your organization's spend limit",
            details={"error_code": "enforced_spend_limit_reached"},
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "credit",
        400,
        anthropic(
            _INVALID,
            "Your credit balance is too low to access the Anthropic API."
            " Please go to Plans & Billing to upgrade or purchase credits.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "usage limits",
        400,
        anthropic(
            _INVALID,
            "You have reached your specified API usage limits. You will"
            " regain access on 2026-12-01 at 00:00 UTC.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "workspace limits",
        400,
        anthropic(
            _INVALID,
            "You have reached your specified workspace API usage"
            " limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "billing",
        402,
        anthropic("billing_error", "There's an issue with your billing information"),
        K.QUOTA_EXHAUSTED,
    ),
    Row("overloaded", 529, anthropic("overloaded_error", "Overloaded"), K.OVERLOADED),
    Row(
        "overloaded, do not retry",
        529,
        anthropic("overloaded_error", "Overloaded"),
        K.OVERLOADED,
        None,
        {"x-should-retry": "false"},
        retryable=False,
    ),
    Row("internal", 500, anthropic("api_error", "Internal server error"), K.SERVER_ERROR),
    Row(
        "internal with a wait",
        500,
        anthropic("api_error", "Internal server error"),
        K.SERVER_ERROR,
        3.0,
        {"retry-after": "3"},
    ),
    Row("timeout", 504, anthropic("timeout_error", "Request timed out"), K.TIMEOUT),
    Row(
        "bad gateway",
        502,
        b"<html><title>502 Bad Gateway</title></html>",
        K.SERVER_ERROR,
        also=(K.OVERLOADED,),
    ),
    Row("unavailable", 503, b"upstream connect error or disconnect/reset before headers", K.OVERLOADED),
    Row("cloudflare", 520, b"<html>Web server is returning an unknown error</html>", K.SERVER_ERROR),
    Row("cloudflare 522", 522, b"error code: 522", K.SERVER_ERROR, also=(K.TIMEOUT, K.NETWORK)),
    Row("key", 401, anthropic("authentication_error", "invalid x-api-key"), K.AUTH),
    Row(
        "oauth",
        401,
        anthropic(
            "authentication_error",
            "OAuth token has expired. Please obtain a new token or refresh your existing token.",
        ),
        K.AUTH,
    ),
    Row(
        "permission",
        403,
        anthropic("permission_error", "Your API key does not have permission to use the specified resource"),
        K.PERMISSION,
    ),
    Row("forbidden", 403, anthropic("forbidden", "Request not allowed"), K.PERMISSION),
    Row(
        "disabled organization",
        400,
        anthropic(_INVALID, "This organization has been disabled."),
        K.PERMISSION,
        also=(K.INVALID_REQUEST, K.AUTH),
    ),
    Row("model", 404, anthropic("not_found_error", "model: claude-9"), K.NOT_FOUND),
    Row(
        "too large",
        413,
        anthropic("request_too_large", "Request exceeds the maximum size"),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "prompt too long",
        400,
        anthropic(_INVALID, "prompt is too long: 215018 tokens > 200000 maximum"),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "input and max_tokens",
        400,
        anthropic(
            _INVALID,
            "input length and `max_tokens` exceed context limit:"
            " 190000 + 21333 > 200000, decrease input length or `max_tokens` and try again",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "long context needs credit",
        429,
        anthropic("rate_limit_error", "Extra usage is required for long context requests."),
        K.RATE_LIMIT,
        also=(K.QUOTA_EXHAUSTED, K.CONTEXT_OVERFLOW),
    ),
    Row(
        "content filtering",
        400,
        anthropic(_INVALID, "Output blocked by content filtering policy"),
        K.CONTENT_POLICY,
    ),
    Row(
        "max_tokens",
        400,
        anthropic(
            _INVALID,
            "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for claude-3-5",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "roles",
        400,
        anthropic(
            _INVALID,
            'messages: roles must alternate between "user" and "assistant",'
            ' but found multiple "user" roles in a row',
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "tool result",
        400,
        anthropic(
            _INVALID,
            "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "tool schema",
        400,
        anthropic(_INVALID, "tools.0.custom.input_schema: JSON schema is invalid"),
        K.INVALID_REQUEST,
    ),
    Row("field required", 400, anthropic(_INVALID, "max_tokens: Field required"), K.INVALID_REQUEST),
    Row(
        "image size",
        400,
        anthropic(
            _INVALID,
            "messages.0.content.1.image.source.base64: image exceeds 5 MB"
            " maximum: 5316852 bytes > 5242880 bytes",
        ),
        K.INVALID_REQUEST,
        also=(K.CONTEXT_OVERFLOW,),
    ),
    Row(
        "pdf pages",
        400,
        anthropic(_INVALID, "A maximum of 100 PDF pages may be provided."),
        K.INVALID_REQUEST,
        also=(K.CONTEXT_OVERFLOW,),
    ),
    Row(
        "unknown parameter",
        400,
        anthropic(_INVALID, "timeout: Extra inputs are not permitted"),
        K.INVALID_REQUEST,
    ),
    Row("conflict", 409, anthropic("conflict_error", "Conflict"), K.SERVER_ERROR, also=(K.INVALID_REQUEST,)),
    Row("unprocessable", 422, anthropic(_INVALID, "Unprocessable"), K.INVALID_REQUEST),
    Row("request timeout", 408, anthropic("timeout_error", "Request timeout"), K.TIMEOUT),
    Row("no body, 429", 429, b"", K.RATE_LIMIT),
    Row("no body, 500", 500, b"", K.SERVER_ERROR),
)

ANTHROPIC_STREAMED = (
    Row("overloaded", 200, anthropic("overloaded_error", "Overloaded"), K.OVERLOADED),
    Row("internal", 200, anthropic("api_error", "Internal server error"), K.SERVER_ERROR),
    Row("rate limit", 200, anthropic("rate_limit_error", "Rate limited"), K.RATE_LIMIT),
    Row("invalid", 200, anthropic(_INVALID, "messages: invalid"), K.INVALID_REQUEST),
    Row("timeout", 200, anthropic("timeout_error", "Request timed out"), K.TIMEOUT),
    Row("filtered", 200, anthropic(_INVALID, "Output blocked by content filtering policy"), K.CONTENT_POLICY),
)


def google(code: int, status: str, message: str, *details: object) -> object:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def _quota(quota_id: str) -> object:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [
            {
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
                "quotaId": quota_id,
            }
        ],
    }


def _delay(text: str) -> object:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text}


def _reason(reason: str) -> object:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


_PLAN = ("You exceeded your current quota, please check your plan and billing details. For more information on"
    " this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.")  # fmt: skip
_ARGUMENT = "INVALID_ARGUMENT"

GOOGLE = (
    Row(
        "per minute",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            _PLAN,
            _quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            _delay("34s"),
        ),
        K.RATE_LIMIT,
        34.0,
    ),
    Row(
        "per minute, fraction",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            _PLAN,
            _quota("GenerateContentInputTokensPerModelPerMinute-FreeTier"),
            _delay("3.5s"),
        ),
        K.RATE_LIMIT,
        3.5,
    ),
    Row(
        "per day",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            _PLAN,
            _quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            _delay("17s"),
        ),
        K.QUOTA_EXHAUSTED,
        17.0,
    ),
    Row(
        "per day without a wait",
        429,
        google(429, "RESOURCE_EXHAUSTED", _PLAN, _quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "exhausted on Vertex",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again"
            " later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for"
            " more details.",
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "quota of Vertex",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for aiplatform.googleapis"
            ".com/generate_content_requests_per_minute_per_project_per_base_model with base model: gemini-pro.",
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "prepaid credit",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "Your prepayment credits are depleted. Please"
            " go to AI Studio at https://ai.studio/projects to manage your project and billing.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "spend cap",
        429,
        google(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "key",
        400,
        google(400, _ARGUMENT, "API key not valid. Please pass a valid API key.", _reason("API_KEY_INVALID")),
        K.AUTH,
    ),
    Row(
        "expired key",
        400,
        google(400, _ARGUMENT, "API key expired. Please renew the API key.", _reason("API_KEY_INVALID")),
        K.AUTH,
    ),
    Row(
        "leaked key",
        403,
        google(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
        K.PERMISSION,
        also=(K.AUTH,),
    ),
    Row(
        "unauthenticated",
        401,
        google(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        ),
        K.AUTH,
    ),
    Row(
        "disabled service",
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "Generative Language API has not been used in project 1 before or it is disabled.",
            _reason("SERVICE_DISABLED"),
        ),
        K.PERMISSION,
    ),
    Row(
        "billing disabled",
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "This API method requires billing to be enabled. Please enable billing on project #1.",
            _reason("BILLING_DISABLED"),
        ),
        K.QUOTA_EXHAUSTED,
        also=(K.PERMISSION,),
    ),
    Row(
        "permission of Vertex",
        403,
        google(
            403,
            "PERMISSION_DENIED",
            "Permission 'aiplatform.endpoints"
            ".predict' denied on resource '//aiplatform.googleapis.com/projects/a'",
            _reason("IAM_PERMISSION_DENIED"),
        ),
        K.PERMISSION,
    ),
    Row(
        "location",
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        K.PERMISSION,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "model",
        404,
        google(
            404,
            "NOT_FOUND",
            "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.",
        ),
        K.NOT_FOUND,
    ),
    Row(
        "token count",
        400,
        google(
            400,
            _ARGUMENT,
            "The input token count (2097153) exceeds the maximum number of tokens allowed (1048576).",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "token count of Vertex",
        400,
        google(
            400,
            _ARGUMENT,
            "Unable to submit request because the input token"
            " count is 40000 but model only supports up to 32768. Reduce the input token count and try again.",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "payload size",
        400,
        google(400, _ARGUMENT, "Request payload size exceeds the limit: 20971520 bytes."),
        K.CONTEXT_OVERFLOW,
    ),
    Row("argument", 400, google(400, _ARGUMENT, "Request contains an invalid argument."), K.INVALID_REQUEST),
    Row(
        "schema",
        400,
        google(400, _ARGUMENT, 'Invalid JSON payload received. Unknown name "timeout": Cannot find field.'),
        K.INVALID_REQUEST,
    ),
    Row(
        "function turn",
        400,
        google(
            400,
            _ARGUMENT,
            "Please ensure that function call turn comes immediately"
            " after a user turn or after a function response turn.",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "image safety",
        400,
        google(400, _ARGUMENT, "The image was blocked because it violates our usage guidelines."),
        K.CONTENT_POLICY,
    ),
    Row(
        "overloaded",
        503,
        google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        K.OVERLOADED,
    ),
    Row(
        "unavailable", 503, google(503, "UNAVAILABLE", "The service is currently unavailable."), K.OVERLOADED
    ),
    Row(
        "demand",
        503,
        google(
            503,
            "UNAVAILABLE",
            "This model is currently experiencing high demand. Spikes in demand are usually temporary.",
        ),
        K.OVERLOADED,
    ),
    Row(
        "internal",
        500,
        google(
            500,
            "INTERNAL",
            "An internal error has occurred. Please retry or report in"
            " https://developers.generativeai.google/guide/troubleshooting",
        ),
        K.SERVER_ERROR,
    ),
    Row(
        "deadline",
        504,
        google(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        K.TIMEOUT,
    ),
    Row("cancelled", 499, google(499, "CANCELLED", "The operation was cancelled."), K.CANCELLED),
    Row(
        "unimplemented",
        501,
        google(501, "UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled."),
        K.INVALID_REQUEST,
        also=(K.SERVER_ERROR,),
        retryable=False,
    ),
    Row(
        "bad gateway",
        502,
        b"<html><title>Error 502 (Server Error)!!1</title></html>",
        K.SERVER_ERROR,
        also=(K.OVERLOADED,),
    ),
    Row("no body, 429", 429, b"", K.RATE_LIMIT),
)


def _mistral(message: object, kind: str, code: str | None) -> object:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


MISTRAL = (
    Row("rate", 429, _mistral("Requests rate limit exceeded", "rate_limited", "1300"), K.RATE_LIMIT),
    Row(
        "rate with a wait",
        429,
        _mistral("Rate limit exceeded", "rate_limited", "1300"),
        K.RATE_LIMIT,
        4.0,
        {"retry-after": "4"},
    ),
    Row("rate, short", 429, {"message": "Requests rate limit exceeded"}, K.RATE_LIMIT),
    Row(
        "capacity",
        429,
        _mistral("Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded", "3505"),
        K.RATE_LIMIT,
        also=(K.OVERLOADED,),
    ),
    Row("key", 401, {"detail": "Unauthorized"}, K.AUTH),
    Row("key, short", 401, {"message": "Unauthorized", "request_id": "a"}, K.AUTH),
    Row(
        "model",
        400,
        _mistral("Invalid model: mistral-x", "invalid_model", "1500"),
        K.NOT_FOUND,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "context",
        400,
        _mistral(
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with"
            " 32768 maximum context length",
            "invalid_request_prompt",
            "3051",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "order",
        400,
        _mistral(
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
            "invalid_request_message_order",
            "3230",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "validation",
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {
                        "type": "less_than_equal",
                        "loc": ["body", "temperature"],
                        "msg": "Input should be less than or equal to 1.5",
                        "input": 3,
                    }
                ]
            },
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
        K.INVALID_REQUEST,
    ),
    Row(
        "validation, short",
        422,
        {"detail": [{"type": "missing", "loc": ["body", "timeout"], "msg": "Field required"}]},
        K.INVALID_REQUEST,
    ),
    Row(
        "internal",
        500,
        _mistral("Service unavailable.", "internal_server_error", "3000"),
        K.SERVER_ERROR,
        also=(K.OVERLOADED,),
    ),
    Row("unavailable", 503, _mistral("Service unavailable.", "unreachable_backend", "1100"), K.OVERLOADED),
    Row("forbidden", 403, {"message": "You are not allowed to use this model"}, K.PERMISSION),
    Row("no route", 404, {"message": "no Route matched with those values"}, K.NOT_FOUND),
    Row("payment", 402, {"message": "You have run out of credits"}, K.QUOTA_EXHAUSTED),
    Row(
        "moderated",
        400,
        _mistral("Request blocked: input violates content policy", "guardrail_error", None),
        K.CONTENT_POLICY,
    ),
    Row("gateway", 502, b"<html>502 Bad Gateway</html>", K.SERVER_ERROR, also=(K.OVERLOADED,)),
    Row("gateway timeout", 504, b"upstream request timeout", K.TIMEOUT),
    Row("too large", 413, {"message": "Request size limit exceeded"}, K.CONTEXT_OVERFLOW),
)

COHERE = (
    Row(
        "trial, per minute",
        429,
        {
            "message": "You are using a Trial key, which is limited to 10 API calls /"
            " minute. You can continue to use the Trial key for free or upgrade to a Production key."
        },
        K.RATE_LIMIT,
    ),
    Row(
        "trial, per month",
        429,
        {
            "message": "You are using a Trial key, which is limited to 1000 API calls /"
            " month. You can continue to use the Trial key for free or upgrade to a Production key."
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row("rate", 429, {"message": "Please wait and try again later"}, K.RATE_LIMIT),
    Row("rate with a wait", 429, {"message": "too many requests"}, K.RATE_LIMIT, 9.0, {"retry-after": "9"}),
    Row("token", 401, {"message": "invalid api token"}, K.AUTH),
    Row("no token", 401, {"message": "no api key supplied"}, K.AUTH),
    Row(
        "billing",
        402,
        {"message": "Please add or update your payment method at https://dashboard.cohere.com/billing"},
        K.QUOTA_EXHAUSTED,
    ),
    Row("forbidden", 403, {"message": "this model is not available to you"}, K.PERMISSION),
    Row(
        "model",
        404,
        {"message": "model 'command-x' not found, make sure the correct model ID was used"},
        K.NOT_FOUND,
    ),
    Row(
        "tokens",
        400,
        {
            "message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 -"
            " received 5000"
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "argument",
        400,
        {"message": "invalid request: message must be at least 1 token long"},
        K.INVALID_REQUEST,
    ),
    Row(
        "unprocessable",
        422,
        {"message": "invalid type: parameter timeout is of type string but should be of type number"},
        K.INVALID_REQUEST,
    ),
    Row(
        "blocked",
        498,
        {"message": "blocked output: this generation may be potentially unsafe"},
        K.CONTENT_POLICY,
        also=(K.AUTH,),  # the SDK's class for 498 is InvalidTokenError
        retryable=False,
    ),
    Row("closed", 499, {"message": "request cancelled"}, K.CANCELLED),
    Row(
        "internal",
        500,
        {"message": "internal server error, this has been reported to our developers."},
        K.SERVER_ERROR,
    ),
    Row(
        "unimplemented",
        501,
        {"message": "not implemented"},
        K.INVALID_REQUEST,
        also=(K.SERVER_ERROR,),
        retryable=False,
    ),
    Row("unavailable", 503, {"message": "service unavailable"}, K.OVERLOADED),
    Row("gateway timeout", 504, {"message": "timeout"}, K.TIMEOUT),
)


def _groq(message: str, kind: str, code: str | None = None) -> object:
    return {"error": {"message": message, "type": kind, **({} if code is None else {"code": code})}}


GROQ = (
    Row(
        "tokens per minute",
        429,
        _groq(
            "Rate limit reached for model `llama-3.3-70b` in organization `org_a`"
            " on tokens per minute (TPM): Limit 6000, Used 5900, Requested 1200. Please try again in 11s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        12.0,
        {"retry-after": "12"},
    ),
    Row(
        "tokens per minute in prose",
        429,
        _groq(
            "Rate limit reached for model `llama-3.3-70b` on tokens per"
            " minute (TPM): Limit 6000, Used 5900, Requested 1200. Please try again in 1m11.4s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        71.4,
    ),
    Row(
        "tokens per day",
        429,
        _groq(
            "Rate limit reached for model `llama-3.3-70b` in organization `org_a` on"
            " tokens per day (TPD): Limit 100000, Used 99853, Requested 496. Please try again in 5m1.536s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        301.536,
        also=(K.QUOTA_EXHAUSTED,),
    ),
    Row(
        "too large for the minute",
        413,
        _groq(
            "Request too large for model `llama-3.3-70b` in organization"
            " `org_a` on tokens per minute (TPM): Limit 6000, Requested 12000, please reduce your message size"
            " and try again.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "capacity",
        498,
        _groq("Flex tier capacity exceeded", "capacity_exceeded", "capacity_exceeded"),
        K.OVERLOADED,
    ),
    Row(
        "over capacity",
        503,
        _groq(
            "llama-3.3-70b is currently over capacity. Please try again and back off exponentially.",
            "internal_server_error",
        ),
        K.OVERLOADED,
    ),
    Row(
        "context",
        400,
        _groq(
            "Please reduce the length of the messages or completion.",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "tool use",
        400,
        {
            "error": {
                "message": "Failed to call a function. Please adjust your prompt. See"
                " 'failed_generation' for more details.",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": "<function=x>",
            }
        },
        K.OUTPUT_VALIDATION,
        also=(K.TOOL_ERROR,),
    ),
    Row(
        "json validate",
        400,
        {
            "error": {
                "message": "Failed to generate JSON. Please adjust your prompt. See"
                " 'failed_generation' for more details.",
                "type": "invalid_request_error",
                "code": "json_validate_failed",
                "failed_generation": "x",
            }
        },
        K.OUTPUT_VALIDATION,
    ),
    Row("key", 401, _groq("Invalid API Key", "invalid_request_error", "invalid_api_key"), K.AUTH),
    Row(
        "restricted",
        400,
        _groq(
            "Organization has been restricted. Please reach out to support if you believe this was in error.",
            "invalid_request_error",
            "organization_restricted",
        ),
        K.PERMISSION,
        also=(K.AUTH,),
    ),
    Row(
        "model",
        404,
        _groq(
            "The model `x` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
        K.NOT_FOUND,
    ),
    Row(
        "decommissioned",
        400,
        _groq(
            "The model `mixtral` has been decommissioned and is no longer supported.",
            "invalid_request_error",
            "model_decommissioned",
        ),
        K.NOT_FOUND,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "terms",
        400,
        _groq("The model `x` requires terms acceptance.", "invalid_request_error", "model_terms_required"),
        K.PERMISSION,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "spend",
        400,
        _groq("Your organization has reached its spend limit", "invalid_request_error", "blocked_api_access"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "argument",
        400,
        _groq("'messages.0' : for 'role:user' the following must be satisfied", "invalid_request_error"),
        K.INVALID_REQUEST,
    ),
    Row("unprocessable", 422, _groq("Unprocessable entity", "invalid_request_error"), K.INVALID_REQUEST),
    Row("internal", 500, _groq("Internal Server Error", "internal_server_error"), K.SERVER_ERROR),
    Row("gateway", 502, b"<html>502 Bad Gateway</html>", K.SERVER_ERROR, also=(K.OVERLOADED,)),
    Row("closed", 499, b"", K.CANCELLED),
)

# name, code, status, message, kind, retryable
BEDROCK: tuple[tuple[str, int, str, K, tuple[K, ...]], ...] = (
    ("ThrottlingException", 429, "Too many requests, please wait before trying again.", K.RATE_LIMIT, ()),
    ("ThrottlingException", 429, "Too many tokens, please wait before trying again.", K.RATE_LIMIT, ()),
    ("ThrottlingException", 429, "Too many tokens per day, please wait before trying again.",
     K.QUOTA_EXHAUSTED, (K.RATE_LIMIT,)),
    ("ThrottlingException", 400, "Rate exceeded", K.RATE_LIMIT, ()),
    ("ThrottlingException", 429, "Your request rate is too high. Reduce the frequency of requests.",
     K.RATE_LIMIT, ()),
    ("ServiceQuotaExceededException", 400, "Your request exceeds the service quota for your account.",
     K.QUOTA_EXHAUSTED, ()),
    ("ValidationException", 400, "Input is too long for requested model.", K.CONTEXT_OVERFLOW, ()),
    ("ValidationException", 400, "The model returned the following errors: Input is too long for requested"
     " model.", K.CONTEXT_OVERFLOW, ()),
    ("ValidationException", 400, "The model returned the following errors: prompt is too long: 215000 tokens >"
     " 200000 maximum", K.CONTEXT_OVERFLOW, ()),
    ("ValidationException", 400, "This model's maximum context length is 8192 tokens. Please reduce the length"
     " of the prompt", K.CONTEXT_OVERFLOW, ()),
    ("ValidationException", 400, "Invocation of model ID anthropic.claude-4 with on-demand throughput isn't"
     " supported. Retry your request with the ID or ARN of an inference profile that contains this model.",
     K.INVALID_REQUEST, (K.NOT_FOUND,)),
    ("ValidationException", 400, "The provided model identifier is invalid.", K.NOT_FOUND,
     (K.INVALID_REQUEST,)),
    ("ValidationException", 400, "Malformed input request: #: required key [messages] not found, please"
     " reformat your input and try again.", K.INVALID_REQUEST, ()),
    ("ValidationException", 400, "Operation not allowed", K.INVALID_REQUEST, (K.PERMISSION,)),
    ("ValidationException", 400, "The value at messages.0.content is empty.", K.INVALID_REQUEST, ()),
    ("ValidationException", 400, "Output blocked by content filtering policy", K.CONTENT_POLICY, ()),
    ("AccessDeniedException", 403, "You don't have access to the model with the specified model ID.",
     K.PERMISSION, ()),
    ("AccessDeniedException", 403, "User: arn:aws:iam::1:user/a is not authorized to perform:"
     " bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/x", K.PERMISSION, ()),
    ("AccessDeniedException", 403, "Authentication failed: Please make sure your API Key is valid.", K.AUTH,
     (K.PERMISSION,)),
    ("UnrecognizedClientException", 403, "The security token included in the request is invalid.", K.AUTH, ()),
    ("ExpiredTokenException", 403, "The security token included in the request is expired", K.AUTH, ()),
    ("InvalidSignatureException", 403, "The request signature we calculated does not match the signature you"
     " provided.", K.AUTH, ()),
    ("MissingAuthenticationTokenException", 403, "Missing Authentication Token", K.AUTH, ()),
    ("IncompleteSignature", 403, "Authorization header requires 'Credential' parameter.", K.AUTH, ()),
    ("ResourceNotFoundException", 404, "Could not resolve the foundation model from the provided model"
     " identifier.", K.NOT_FOUND, ()),
    ("ResourceNotFoundException", 404, "This model version has reached the end of its life.", K.NOT_FOUND, ()),
    ("ModelNotReadyException", 429, "Model is not ready for inference", K.OVERLOADED, ()),
    ("ModelTimeoutException", 408, "Model has timed out in processing the request. Try your request again.",
     K.TIMEOUT, ()),
    ("ModelErrorException", 424, "The system encountered an unexpected error during processing.",
     K.SERVER_ERROR, ()),
    ("ModelStreamErrorException", 424, "The model stream failed", K.SERVER_ERROR, ()),
    ("InternalServerException", 500, "The system encountered an unexpected error during processing. Try your"
     " request again.", K.SERVER_ERROR, ()),
    ("InternalFailure", 500, "The request processing has failed because of an unknown error", K.SERVER_ERROR,
     ()),
    ("ServiceUnavailableException", 503, "Bedrock is unable to process your request.", K.OVERLOADED, ()),
    ("ServiceUnavailableException", 503, "Too many connections, please wait before trying again.",
     K.OVERLOADED, (K.RATE_LIMIT,)),
    ("ConflictException", 409, "Error occurred because of a conflict while performing an operation.",
     K.SERVER_ERROR, (K.INVALID_REQUEST,)),
    ("RequestTimeout", 408, "Your socket connection to the server was not read from or written to within the"
     " timeout period.", K.TIMEOUT, ()),
    ("RequestEntityTooLargeException", 413, "Request is larger than 25165824", K.CONTEXT_OVERFLOW, ()),
)  # fmt: skip

# Events of a Bedrock stream: lower-camel codes, no status.
BEDROCK_STREAMED: tuple[tuple[str, str, K], ...] = (
    ("throttlingException", "Too many requests, please wait before trying again.", K.RATE_LIMIT),
    ("validationException", "Input is too long for requested model.", K.CONTEXT_OVERFLOW),
    ("validationException", "The value at messages.0.content is empty.", K.INVALID_REQUEST),
    ("internalServerException", "The system encountered an unexpected error", K.SERVER_ERROR),
    ("modelStreamErrorException", "The model stream failed", K.SERVER_ERROR),
    ("modelTimeoutException", "Model has timed out in processing the request", K.TIMEOUT),
    ("serviceUnavailableException", "Bedrock is unable to process your request.", K.OVERLOADED),
)
