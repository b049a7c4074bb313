"""What providers answer: a third set of rows, written by an examiner who had read neither rules nor corpus."""

from __future__ import annotations

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import NOW, Row
from tests.corpus.endpoint import moment


def _o(message: str, code: object = None, type: object = "invalid_request_error", **more: object) -> object:
    """An error object as OpenAI and the many that copy it write it."""
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def _a(type: str, message: str, **details: object) -> object:
    """Anthropic's."""
    inner: dict[str, object] = {"type": type, "message": message}
    if details:
        inner["details"] = details
    return {"type": "error", "error": inner, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def _g(code: int, status: str, message: str, *details: object) -> object:
    """Google's."""
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def _reason(reason: str) -> object:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


def _wait(delay: str) -> object:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def _violated(quota: str, value: str = "10") -> object:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [
            {
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                "quotaId": quota,
                "quotaValue": value,
            }
        ],
    }


def _html(status: str) -> str:
    return (
        f"<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n"
        "<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
    )


OPENAI = [
    Row(
        "tokens per minute, milliseconds",
        429,
        _o(
            "Rate limit reached for gpt-5-mini in organization org-abc on tokens per min (TPM): Limit 200000, "
            "Used 198123, Requested 4521. Please try again in 793ms. Visit "
            "https://platform.openai.com/account/rate-limits to learn more.",
            "rate_limit_exceeded",
            "tokens",
        ),
        K.RATE_LIMIT,
        0.793,
        {"retry-after": "1", "retry-after-ms": "793"},
    ),
    Row(
        "requests per minute, only prose",
        429,
        _o(
            "Rate limit reached for gpt-4o in organization org-abc on requests per min (RPM): Limit 3, Used 3, "
            "Requested 1. Please try again in 20s.",
            "rate_limit_exceeded",
            "requests",
        ),
        K.RATE_LIMIT,
        20.0,
    ),
    Row(
        "no quota",
        429,
        _o(
            "You exceeded your current quota, please check your plan and billing details. For more information "
            "on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "larger than the minute",
        429,
        _o(
            "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested "
            "35021. The input or output tokens must be reduced in order to run successfully.",
            "rate_limit_exceeded",
            "tokens",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "responses: exceeds the window",
        400,
        _o(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            "context_length_exceeded",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "window, without a code",
        400,
        _o(
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 290113 tokens. "
            "Please reduce the length of the messages.",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row("wrong key", 401, _o("Incorrect API key provided: sk-ab***yz.", "invalid_api_key"), K.AUTH),
    Row(
        "no organization",
        401,
        _o("You must be a member of an organization to use the API. Please contact us."),
        K.AUTH,
        also=(K.PERMISSION,),
    ),
    Row(
        "country",
        403,
        _o(
            "Country, region, or territory not supported",
            "unsupported_country_region_territory",
            "request_forbidden",
        ),
        K.PERMISSION,
    ),
    Row(
        "project without the model",
        403,
        _o("Project `proj_1` does not have access to model `gpt-5-pro`", "model_not_found"),
        K.PERMISSION,
        also=(K.NOT_FOUND,),
    ),
    Row(
        "no such model",
        404,
        _o("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
        K.NOT_FOUND,
    ),
    Row(
        "image moderation",
        400,
        _o(
            "Your request was rejected as a result of our safety system. If you believe this is an error, contact "
            "us at help.openai.com and include the request ID req_1.",
            "moderation_blocked",
            "image_generation_user_error",
        ),
        K.CONTENT_POLICY,
    ),
    Row(
        "reasoning flagged",
        400,
        _o(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again "
            "with a different prompt.",
            "invalid_prompt",
        ),
        K.CONTENT_POLICY,
    ),
    Row(
        "temperature",
        400,
        _o(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is "
            "supported.",
            "unsupported_value",
        ),
        K.INVALID_REQUEST,
    ),
    Row("unknown timeout", 400, _o("Unknown parameter: 'timeout'.", "unknown_parameter"), K.INVALID_REQUEST),
    Row(
        "call without output",
        400,
        _o("No tool output found for function call call_503."),
        K.INVALID_REQUEST,
    ),
    Row("unparsed", 400, _o("We could not parse the JSON body of your request."), K.INVALID_REQUEST),
    Row(
        "too many output tokens",
        400,
        _o(
            "max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you "
            "provided 200000.",
            "invalid_value",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "sorry about that",
        500,
        _o("The server had an error while processing your request. Sorry about that!", None, "server_error"),
        K.SERVER_ERROR,
    ),
    Row(
        "engine overloaded",
        503,
        _o("The engine is currently overloaded, please try again later", None, "server_error"),
        K.OVERLOADED,
    ),
    Row(
        "slow down",
        503,
        _o("Slow down. Reduce your request rate.", "slow_down", "server_error"),
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
    Row("bad gateway page", 502, _html("502 Bad Gateway"), K.SERVER_ERROR),
    Row("origin silent", 524, _html("524: A timeout occurred"), K.TIMEOUT, also=(K.SERVER_ERROR,)),
    Row("origin down", 521, _html("521: Web server is down"), K.SERVER_ERROR, also=(K.NETWORK, K.OVERLOADED)),
    Row("gateway time-out", 504, _html("504 Gateway Time-out"), K.TIMEOUT, also=(K.SERVER_ERROR,)),
    Row("request timeout", 408, _o("Request timed out."), K.TIMEOUT),
    Row(
        "entity too large",
        413,
        _html("413 Request Entity Too Large"),
        K.CONTEXT_OVERFLOW,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "method",
        405,
        _o("Not allowed to GET on /v1/chat/completions."),
        K.INVALID_REQUEST,
        also=(K.NOT_FOUND,),
    ),
    Row("not implemented", 501, _o("Not implemented"), K.SERVER_ERROR, retryable=False),
    Row(
        "legal reasons",
        451,
        _o("Unavailable for legal reasons"),
        K.PERMISSION,
        also=(K.CONTENT_POLICY, K.INVALID_REQUEST),
    ),
    Row(
        "hard limit",
        400,
        _o("Billing hard limit has been reached", "billing_hard_limit_reached"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "not active",
        429,
        _o(
            "Your account is not active, please check your billing details on our website.",
            "billing_not_active",
            "billing_not_active",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "told not to",
        500,
        _o("Internal error", None, "server_error"),
        K.SERVER_ERROR,
        None,
        {"x-should-retry": "false"},
        retryable=False,
    ),
    Row(
        "conflict, told to",
        409,
        _o("Conflict"),
        K.SERVER_ERROR,
        2.0,
        {"x-should-retry": "true", "retry-after": "2"},
    ),
    Row(
        "unprocessable list",
        422,
        {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": {}}]},
        K.INVALID_REQUEST,
    ),
    Row(
        "reset header, nothing left",
        429,
        _o("Rate limit reached", "rate_limit_exceeded", "requests"),
        K.RATE_LIMIT,
        432.0,
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "7m12s",
            "x-ratelimit-remaining-tokens": "4000",
            "x-ratelimit-reset-tokens": "1h0m0s",
        },
    ),
    # those that speak the same protocol
    Row(
        "deepseek: broke",
        402,
        _o("Insufficient Balance", "invalid_request_error", "unknown_error"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "azure: filtered",
        400,
        _o(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
            "Please modify your prompt and retry.",
            "content_filter",
            None,
            status=400,
            innererror={
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"jailbreak": {"filtered": True, "detected": True}},
            },
        ),
        K.CONTENT_POLICY,
    ),
    Row(
        "azure: no deployment",
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist. If you created the deployment "
                "within the last 5 minutes, please wait a moment and try again.",
            }
        },
        K.NOT_FOUND,
    ),
    Row(
        "azure: subscription key",
        401,
        {
            "error": {
                "code": "401",
                "message": "Access denied due to invalid subscription key or wrong API endpoint.",
            }
        },
        K.AUTH,
    ),
    Row(
        "azure: tier, only prose",
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version "
                "2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry "
                "after 26 seconds.",
            }
        },
        K.RATE_LIMIT,
        26.0,
    ),
    Row(
        "azure: call volume",
        403,
        {
            "error": {
                "code": "403",
                "message": "Out of call volume quota for OpenAI S0 tier. Quota will be replenished in 12.02:10:33.",
            }
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "xai: no credits",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your newly created teams doesn't have any credits yet. You can purchase credits on "
            "https://console.x.ai/team/1.",
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "xai: wrong key",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: xa***ey. You can obtain an API key from https://console.x.ai.",
        },
        K.AUTH,
    ),
    Row(
        "xai: spending",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team 1 has either used all available credits or reached its monthly spending limit. To "
            "continue making API requests, please purchase more credits or raise your spending limit.",
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "xai: prompt length",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140503 tokens.",
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "openrouter: afford",
        402,
        _o(
            "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can "
            "only afford 3120. To increase, visit https://openrouter.ai/settings/credits",
            402,
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "openrouter: key limit",
        403,
        _o("Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys", 403),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "openrouter: upstream limit",
        429,
        _o(
            "Provider returned error",
            429,
            metadata={
                "raw": "google/gemini-2.5-pro is temporarily rate-limited upstream. Please retry shortly.",
                "provider_name": "Google",
            },
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "openrouter: moderated",
        403,
        _o(
            'openai/gpt-4o requires moderation on OpenAI. Your input was flagged for "harassment". No credits were '
            "charged.",
            403,
            metadata={"reasons": ["harassment"], "flagged_input": "..."},
        ),
        K.CONTENT_POLICY,
    ),
    Row("openrouter: no endpoint", 404, _o("No endpoints found that support tool use.", 404), K.NOT_FOUND),
    Row(
        "vllm: window",
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
            "(8500 in the messages, 500 in the completion). Please reduce the length of the messages.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "ollama: pull it",
        404,
        _o('model "llama9" not found, try pulling it first', None, "api_error"),
        K.NOT_FOUND,
    ),
    Row(
        "ollama: memory",
        500,
        _o("model requires more system memory (21.5 GiB) than is available (7.6 GiB)", None, "api_error"),
        K.RESOURCE_EXHAUSTED,
        also=(K.SERVER_ERROR,),
    ),
    Row(
        "llama.cpp: window",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9001,
                "n_ctx": 8192,
            }
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "llama.cpp: loading",
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        K.OVERLOADED,
        also=(K.SERVER_ERROR,),
    ),
    Row(
        "together: window",
        422,
        _o(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` "
            "tokens and 512 `max_new_tokens`"
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "fireworks: suspended",
        412,
        {
            "error": {
                "object": "error",
                "type": "precondition_failed",
                "message": "Account acme is suspended, possibly due to reaching the monthly spending limit or "
                "failure to pay past invoices.",
            }
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row("perplexity: page", 401, _html("401 Authorization Required"), K.AUTH),
    Row(
        "cerebras: day",
        429,
        {
            "message": "Tokens per day limit exceeded - too many tokens processed.",
            "type": "too_many_tokens_error",
            "param": "quota",
            "code": "token_quota_exceeded",
        },
        K.QUOTA_EXHAUSTED,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "cerebras: traffic",
        429,
        {
            "message": "We're experiencing high traffic right now! Please try again soon.",
            "type": "too_many_requests_error",
            "param": "queue",
            "code": "queue_exceeded",
        },
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
]

OPENAI_STREAMED = [
    Row(
        "server error",
        200,
        _o("The server had an error while processing your request. Sorry about that!", None, "server_error"),
        K.SERVER_ERROR,
    ),
    Row("rate limit", 200, _o("Rate limit reached", "rate_limit_exceeded", "requests"), K.RATE_LIMIT),
    Row("no quota", 200, _o("You exceeded your current quota.", "insufficient_quota"), K.QUOTA_EXHAUSTED),
    Row(
        "openrouter: code as number",
        200,
        _o("Provider disconnected unexpectedly", 502),
        K.SERVER_ERROR,
        also=(K.NETWORK,),
    ),
    Row(
        "window",
        200,
        _o("This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
        K.CONTEXT_OVERFLOW,
    ),
    Row("policy", 200, _o("The response was filtered", "content_filter", None), K.CONTENT_POLICY),
]

ANTHROPIC = [
    Row(
        "tokens per minute",
        429,
        _a(
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50,000 input tokens per minute (org: 1, "
            "model: claude-sonnet-4-5). For details, refer to: https://docs.claude.com/en/api/rate-limits.",
        ),
        K.RATE_LIMIT,
        12.0,
        {"retry-after": "12"},
    ),
    Row(
        "a date",
        429,
        _a("rate_limit_error", "Number of concurrent connections has exceeded your rate limit."),
        K.RATE_LIMIT,
        45.0,
        {"retry-after": moment(NOW + 45)},
    ),
    Row("529", 529, _a("overloaded_error", "Overloaded"), K.OVERLOADED),
    Row("500", 500, _a("api_error", "Internal server error"), K.SERVER_ERROR),
    Row("504", 504, _a("timeout_error", "Request timed out"), K.TIMEOUT),
    Row(
        "credit",
        400,
        _a(
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade "
            "or purchase credits.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "usage limits",
        400,
        _a(
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row("billing", 402, _a("billing_error", "There is an issue with your billing."), K.QUOTA_EXHAUSTED),
    Row(
        "long context needs more",
        429,
        _a("rate_limit_error", "Extra usage is required for long context requests."),
        K.QUOTA_EXHAUSTED,
        also=(K.CONTEXT_OVERFLOW, K.PERMISSION),
    ),
    Row(
        "prompt too long",
        400,
        _a("invalid_request_error", "prompt is too long: 213000 tokens > 200000 maximum"),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "input and output",
        400,
        _a(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190429 + 32000 > 204698, decrease input length or "
            "`max_tokens` and try again",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "output too large",
        400,
        _a(
            "invalid_request_error",
            "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for claude-haiku-4-5",
        ),
        K.INVALID_REQUEST,
    ),
    Row("bytes", 413, _a("request_too_large", "Request exceeds the maximum size"), K.CONTEXT_OVERFLOW),
    Row("key", 401, _a("authentication_error", "invalid x-api-key"), K.AUTH),
    Row(
        "permission",
        403,
        _a("permission_error", "Your API key does not have permission to use the specified resource."),
        K.PERMISSION,
    ),
    Row("model", 404, _a("not_found_error", "model: claude-9"), K.NOT_FOUND),
    Row(
        "output blocked",
        400,
        _a("invalid_request_error", "Output blocked by content filtering policy"),
        K.CONTENT_POLICY,
    ),
    Row(
        "tool result missing",
        400,
        _a(
            "invalid_request_error",
            "messages.3: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01529. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "empty text",
        400,
        _a("invalid_request_error", "messages: text content blocks must be non-empty"),
        K.INVALID_REQUEST,
    ),
    Row(
        "disabled",
        400,
        _a("invalid_request_error", "This organization has been disabled."),
        K.PERMISSION,
        also=(K.AUTH, K.QUOTA_EXHAUSTED, K.INVALID_REQUEST),
    ),
    Row(
        "image size",
        400,
        _a(
            "invalid_request_error",
            "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6429503 bytes > 5242880 bytes",
        ),
        K.INVALID_REQUEST,
        also=(K.CONTEXT_OVERFLOW,),
    ),
]

ANTHROPIC_STREAMED = [
    Row("overloaded", 200, _a("overloaded_error", "Overloaded"), K.OVERLOADED),
    Row("api error", 200, _a("api_error", "Internal server error"), K.SERVER_ERROR),
    Row("rate limit", 200, _a("rate_limit_error", "Rate limited. Please try again later."), K.RATE_LIMIT),
    Row(
        "blocked",
        200,
        _a("invalid_request_error", "Output blocked by content filtering policy"),
        K.CONTENT_POLICY,
    ),
]

GOOGLE = [
    Row(
        "per minute",
        429,
        _g(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details. For more information on "
            "this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\nPlease retry in 34.2s.",
            _violated("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
            _wait("34s"),
        ),
        K.RATE_LIMIT,
        34.0,
    ),
    Row(
        "per day",
        429,
        _g(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            _violated("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "50"),
            _wait("12s"),
        ),
        K.QUOTA_EXHAUSTED,
        12.0,
    ),
    Row(
        "vertex",
        429,
        _g(
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again later. Please refer to "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        ),
        K.RATE_LIMIT,
        also=(K.OVERLOADED,),
    ),
    Row(
        "prepaid is gone",
        429,
        _g(
            429,
            "RESOURCE_EXHAUSTED",
            "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage "
            "your project and billing.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "spending cap",
        429,
        _g(
            429,
            "RESOURCE_EXHAUSTED",
            "Your project has exceeded its monthly spending cap. Please go to AI Studio to manage your cap.",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "overloaded",
        503,
        _g(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        K.OVERLOADED,
    ),
    Row("internal", 500, _g(500, "INTERNAL", "An internal error has occurred."), K.SERVER_ERROR),
    Row(
        "deadline",
        504,
        _g(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        K.TIMEOUT,
    ),
    Row(
        "key",
        400,
        _g(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            _reason("API_KEY_INVALID"),
        ),
        K.AUTH,
    ),
    Row(
        "key expired",
        400,
        _g(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", _reason("API_KEY_INVALID")),
        K.AUTH,
    ),
    Row(
        "leaked",
        403,
        _g(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
        K.AUTH,
        also=(K.PERMISSION,),
    ),
    Row(
        "location",
        400,
        _g(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        K.PERMISSION,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "service off",
        403,
        _g(
            403,
            "PERMISSION_DENIED",
            "Generative Language API has not been used in project 429 before or it is disabled. Enable it by "
            "visiting the console then retry.",
            _reason("SERVICE_DISABLED"),
        ),
        K.PERMISSION,
    ),
    Row(
        "billing off",
        403,
        _g(
            403,
            "PERMISSION_DENIED",
            "This API method requires billing to be enabled. Please enable billing on project #1 then retry.",
            _reason("BILLING_DISABLED"),
        ),
        K.QUOTA_EXHAUSTED,
        also=(K.PERMISSION,),
    ),
    Row(
        "window",
        400,
        _g(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200503) exceeds the maximum number of tokens allowed (1048576).",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "field",
        400,
        _g(
            400,
            "INVALID_ARGUMENT",
            'Invalid JSON payload received. Unknown name "timeout": Cannot find field.',
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "model",
        404,
        _g(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta."),
        K.NOT_FOUND,
    ),
    Row(
        "token",
        401,
        _g(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token.",
            _reason("ACCESS_TOKEN_EXPIRED"),
        ),
        K.AUTH,
    ),
]


def _m(message: object, type: str, code: object) -> object:
    return {"object": "error", "message": message, "type": type, "param": None, "code": code}


MISTRAL = [
    Row("requests", 429, _m("Requests rate limit exceeded", "rate_limited", "1300"), K.RATE_LIMIT),
    Row(
        "tier capacity",
        429,
        _m("Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded", "3505"),
        K.RATE_LIMIT,
        also=(K.OVERLOADED,),
    ),
    Row("key", 401, {"detail": "Unauthorized"}, K.AUTH),
    Row(
        "model",
        400,
        _m("Invalid model: tiny-9", "invalid_model", "1500"),
        K.NOT_FOUND,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "window",
        400,
        _m(
            "Prompt contains 40503 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            "invalid_request_prompt",
            "3051",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "field",
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "timeout"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
        K.INVALID_REQUEST,
    ),
    Row(
        "unavailable",
        500,
        _m("Service unavailable.", "internal_server_error", "1000"),
        K.SERVER_ERROR,
        also=(K.OVERLOADED,),
    ),
    Row(
        "envoy",
        503,
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        K.OVERLOADED,
        also=(K.SERVER_ERROR, K.NETWORK),
    ),
]

COHERE = [
    Row(
        "trial minute",
        429,
        {
            "message": "You are using a Trial key, which is limited to 10 API calls / minute. You can continue to use "
            "the Trial key for free or upgrade to a Production key with higher rate limits."
        },
        K.RATE_LIMIT,
    ),
    Row(
        "trial month",
        429,
        {
            "message": "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to "
            "use the Trial key for free or upgrade to a Production key with higher rate limits."
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "window",
        400,
        {
            "message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000. Try "
            "using a shorter prompt, or enable prompt truncating."
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row("key", 401, {"message": "invalid api token"}, K.AUTH),
    Row(
        "model",
        404,
        {
            "message": "model 'command-z' not found, make sure the correct model ID was used and that you have access"
        },
        K.NOT_FOUND,
    ),
    Row(
        "documents",
        400,
        {"message": "invalid request: list of documents must not be empty"},
        K.INVALID_REQUEST,
    ),
    Row(
        "server",
        500,
        {"message": "internal server error, this has been reported to our developers."},
        K.SERVER_ERROR,
    ),
    Row("token", 498, {"message": "invalid token"}, K.AUTH),
]

_GROQ = "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_1` service tier `on_demand` on "

GROQ = [
    Row(
        "tokens per minute",
        429,
        _o(
            _GROQ
            + "tokens per minute (TPM): Limit 12000, Used 11503, Requested 3000. Please try again in 10.5s.",
            "rate_limit_exceeded",
            "tokens",
        ),
        K.RATE_LIMIT,
        11.0,
        {"retry-after": "11"},
    ),
    Row(
        "tokens per day",
        429,
        _o(
            _GROQ
            + "tokens per day (TPD): Limit 100000, Used 99000, Requested 3000. Please try again in 28m48s.",
            "rate_limit_exceeded",
            "tokens",
        ),
        K.RATE_LIMIT,
        1728.0,
    ),
    Row(
        "too large",
        413,
        _o(
            "Request too large for model `llama-3.1-8b-instant` on tokens per minute (TPM): Limit 6000, Requested "
            "7000, please reduce your message size and try again.",
            "rate_limit_exceeded",
            "tokens",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row("capacity", 498, _o("over capacity", "capacity_exceeded", "internal_server_error"), K.OVERLOADED),
    Row(
        "bad call",
        400,
        _o(
            "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
            "tool_use_failed",
            failed_generation="<function=x>",
        ),
        K.OUTPUT_VALIDATION,
    ),
    Row(
        "bad json",
        400,
        _o("Failed to generate JSON. Please adjust your prompt.", "json_validate_failed"),
        K.OUTPUT_VALIDATION,
    ),
    Row(
        "decommissioned",
        400,
        _o(
            "The model `mixtral-8x7b-32768` has been decommissioned and is no longer supported.",
            "model_decommissioned",
        ),
        K.NOT_FOUND,
    ),
    Row(
        "spend",
        400,
        _o(
            "Organization has reached its spend limit. Please raise it in the console to continue.",
            "blocked_api_access",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "restricted",
        400,
        _o("Organization has been restricted.", "organization_restricted"),
        K.PERMISSION,
        also=(K.AUTH,),
    ),
]


def _b(name: str, status: int, message: str, kind: K, *also: K) -> Row:
    return Row(
        f"{name}: {message[:40]}",
        status,
        {"message": message},
        kind,
        None,
        {"x-amzn-errortype": name},
        also=also,
    )


BEDROCK = [
    _b("ThrottlingException", 429, "Too many tokens, please wait before trying again.", K.RATE_LIMIT),
    _b(
        "ThrottlingException",
        429,
        "Daily limit: too many tokens per day, please wait before trying again.",
        K.QUOTA_EXHAUSTED,
        K.RATE_LIMIT,
    ),
    _b("ValidationException", 400, "Input is too long for requested model.", K.CONTEXT_OVERFLOW),
    _b(
        "ValidationException",
        400,
        "The provided model identifier is invalid.",
        K.NOT_FOUND,
        K.INVALID_REQUEST,
    ),
    _b(
        "ValidationException",
        400,
        "Invocation of model ID x with on-demand throughput isn't supported. Retry your request with the ID or ARN "
        "of an inference profile that contains this model.",
        K.INVALID_REQUEST,
        K.NOT_FOUND,
    ),
    _b(
        "AccessDeniedException",
        403,
        "You don't have access to the model with the specified model ID.",
        K.PERMISSION,
    ),
    _b(
        "AccessDeniedException",
        403,
        "Model access is denied due to INVALID_PAYMENT_INSTRUMENT:A valid payment instrument must be provided.",
        K.QUOTA_EXHAUSTED,
        K.PERMISSION,
    ),
    _b("UnrecognizedClientException", 403, "The security token included in the request is invalid.", K.AUTH),
    _b("ExpiredTokenException", 403, "The security token included in the request is expired", K.AUTH),
    _b(
        "ModelTimeoutException",
        408,
        "Model has timed out in processing the request. Try your request again.",
        K.TIMEOUT,
    ),
    _b(
        "ModelErrorException",
        424,
        "The system encountered an unexpected error during processing.",
        K.SERVER_ERROR,
    ),
    _b(
        "ModelNotReadyException",
        429,
        "Model is not ready for inference. Please wait and try your request again.",
        K.OVERLOADED,
        K.SERVER_ERROR,
        K.RATE_LIMIT,
    ),
    _b("ServiceUnavailableException", 503, "Bedrock is unable to process your request.", K.OVERLOADED),
    _b("InternalServerException", 500, "The system encountered an unexpected error.", K.SERVER_ERROR),
    _b("ResourceNotFoundException", 404, "The requested resource was not found.", K.NOT_FOUND),
    _b(
        "ServiceQuotaExceededException",
        400,
        "Your request exceeds the service quota for your account.",
        K.QUOTA_EXHAUSTED,
    ),
]


def _z(code: str, message: str, details: str | None = None) -> object:
    return {"error": {"code": code, "message": message, "details": details}}


AZURE = [
    Row("rate", 429, _z("429", "Rate limit is exceeded. Try again in 5 seconds."), K.RATE_LIMIT, 5.0),
    Row(
        "github: day",
        429,
        _z(
            "RateLimitReached",
            "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 40503 seconds before retrying.",
        ),
        K.QUOTA_EXHAUSTED,
        40503.0,
        {"retry-after": "40503"},
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "key",
        401,
        _z("Unauthorized", "Access token is missing, invalid, audience is incorrect, or expired."),
        K.AUTH,
    ),
    Row("model", 400, _z("unknown_model", "Unknown model: gpt-9", "Unknown model: gpt-9"), K.NOT_FOUND),
    Row(
        "tokens",
        413,
        _z("tokens_limit_reached", "Request body too large for gpt-4o model. Max size: 8000 tokens."),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "filtered",
        400,
        _z(
            "content_filter",
            "The response was filtered due to the prompt triggering the content management policy.",
        ),
        K.CONTENT_POLICY,
    ),
    Row("server", 500, _z("InternalServerError", "Backend returned unexpected response."), K.SERVER_ERROR),
    Row("busy", 503, _z("ServiceUnavailable", "The service is temporarily unavailable."), K.OVERLOADED),
]
