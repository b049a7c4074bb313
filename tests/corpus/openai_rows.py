"""What OpenAI and those that speak its dialect answer, as their documentation and users' reports show it."""

from __future__ import annotations

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import NOW, Row
from tests.corpus.endpoint import moment


def body(message: str, kind: str | None = None, code: object = None, param: str | None = None) -> object:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


_INVALID = "invalid_request_error"

OPENAI = (
    Row(
        "rate limit by tokens",
        429,
        body(
            "Rate limit reached for gpt-4o in organization org-a on tokens per"
            " min (TPM): Limit 30000, Used 14567, Requested 24754. Please try again in 18.642s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        18.642,
    ),
    Row(
        "rate limit by requests",
        429,
        body(
            "Rate limit reached for gpt-4o in organization org-a on requests"
            " per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
            "requests",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        20.0,
    ),
    Row(
        "rate limit, ms in prose",
        429,
        body(
            "Rate limit reached for gpt-4o on tokens per min (TPM). Please try again in 644ms.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        0.644,
    ),
    Row(
        "rate limit, retry-after",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        7.0,
        {"retry-after": "7"},
    ),
    Row(
        "rate limit, retry-after-ms",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        1.25,
        {"retry-after-ms": "1250", "retry-after": "2"},
    ),
    Row(
        "rate limit, date",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        90.0,
        {"retry-after": moment(NOW + 90)},
    ),
    Row(
        "rate limit, date passed",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        0.0,
        {"retry-after": moment(NOW - 90)},
    ),
    Row(
        "rate limit, negative wait",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        None,
        {"retry-after": "-5"},
    ),
    Row(
        "rate limit, wait is not a number",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        None,
        {"retry-after": "nan"},
    ),
    Row(
        "rate limit, wait is garbage",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        None,
        {"retry-after": "soon"},
    ),
    Row(
        "rate limit, reset of what is used up",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        432.0,
        {
            "x-ratelimit-remaining-requests": "12",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "7m12s",
        },
    ),
    Row(
        "rate limit, resets of what is left",
        429,
        body("Rate limit reached", "requests", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        None,
        {"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "1s"},
    ),
    Row(
        "rate limit per day",
        429,
        body(
            "Rate limit reached for gpt-4o-mini in organization org-a on requests"
            " per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
            "requests",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMIT,
        432.0,
        also=(K.QUOTA_EXHAUSTED,),
    ),
    Row(
        "request larger than the minute",
        429,
        body(
            "Request too large for gpt-4o in organization org-a on"
            " tokens per min (TPM): Limit 30000, Requested 55000. The input or output tokens must be reduced in"
            " order to run successfully.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "insufficient quota",
        429,
        body(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "billing hard limit",
        429,
        body("Billing hard limit has been reached", "billing_limit_user_error", "billing_hard_limit_reached"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "billing hard limit as 400",
        400,
        body("Billing hard limit has been reached", _INVALID, "billing_hard_limit_reached"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "account not active",
        429,
        body(
            "Your account is not active, please check your billing details on our website.",
            "billing_not_active",
            "billing_not_active",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row("slow down", 503, body("Slow Down", "server_error", "slow_down"), K.OVERLOADED, also=(K.RATE_LIMIT,)),
    Row(
        "overloaded",
        503,
        body("The engine is currently overloaded, please try again later", "server_error", "overloaded"),
        K.OVERLOADED,
    ),
    Row(
        "overloaded as 429",
        429,
        body(
            "That model is currently overloaded with other requests. You can retry"
            " your request, or contact us through our help center.",
            "server_error",
            None,
        ),
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "engine overloaded as 429",
        429,
        body(
            "The server is currently overloaded with other requests. Sorry about that!",
            "server_error",
            "engine_overloaded",
        ),
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "had an error",
        500,
        body(
            "The server had an error while processing your request. Sorry about that!", "server_error", None
        ),
        K.SERVER_ERROR,
    ),
    Row(
        "had an error, do not retry",
        500,
        body("The server had an error", "server_error"),
        K.SERVER_ERROR,
        None,
        {"x-should-retry": "false"},
        retryable=False,
    ),
    Row(
        "bad request, do retry",
        400,
        body("Try again", _INVALID),
        K.INVALID_REQUEST,
        None,
        {"x-should-retry": "true"},
        retryable=True,
    ),
    Row(
        "internal error by type",
        500,
        body("Internal error", "internal_error", "internal_error"),
        K.SERVER_ERROR,
    ),
    Row(
        "bad gateway in HTML",
        502,
        b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502"
        b" Bad Gateway</h1></center><hr><center>cloudflare</center></body></html>",
        K.SERVER_ERROR,
        also=(K.OVERLOADED,),
    ),
    Row(
        "upstream reset",
        503,
        b"upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        K.OVERLOADED,
    ),
    Row("no healthy upstream", 503, b"no healthy upstream", K.OVERLOADED),
    Row("gateway timeout", 504, b"<html><head><title>504 Gateway Time-out</title></head></html>", K.TIMEOUT),
    Row("cloudflare unknown error", 520, b"error code: 520", K.SERVER_ERROR),
    Row("cloudflare web server down", 521, b"error code: 521", K.SERVER_ERROR, also=(K.OVERLOADED,)),
    Row("cloudflare timeout", 524, b"error code: 524", K.TIMEOUT),
    Row("request timeout", 408, body("Request timeout", "request_timeout"), K.TIMEOUT),
    Row(
        "invalid key",
        401,
        body(
            "Incorrect API key provided: sk-abcd****************wxyz. You can find your"
            " API key at https://platform.openai.com/account/api-keys.",
            _INVALID,
            "invalid_api_key",
        ),
        K.AUTH,
    ),
    Row(
        "no key",
        401,
        body(
            "You didn't provide an API key. You need to provide your API key in an"
            " Authorization header using Bearer auth",
            _INVALID,
        ),
        K.AUTH,
    ),
    Row(
        "no member of the organization",
        401,
        body("You must be a member of an organization to use the API", _INVALID),
        K.AUTH,
    ),
    Row(
        "account deactivated",
        401,
        body(
            "The OpenAI account associated with this API key has been deactivated.",
            _INVALID,
            "account_deactivated",
        ),
        K.AUTH,
        also=(K.PERMISSION,),
    ),
    Row(
        "missing scopes",
        403,
        body(
            "You have insufficient permissions for this operation. Missing scopes: model.request.",
            _INVALID,
            "missing_scope",
        ),
        K.PERMISSION,
    ),
    Row(
        "country",
        403,
        body(
            "Country, region, or territory not supported",
            "request_forbidden",
            "unsupported_country_region_territory",
        ),
        K.PERMISSION,
    ),
    Row(
        "project without the model",
        403,
        body("Project `proj_a` does not have access to model `gpt-5`", _INVALID, "model_not_found"),
        K.NOT_FOUND,
        also=(K.PERMISSION,),
    ),
    Row(
        "no such model",
        404,
        body(
            "The model `gpt-9` does not exist or you do not have access to it.", _INVALID, "model_not_found"
        ),
        K.NOT_FOUND,
    ),
    Row("unknown url", 404, body("Invalid URL (POST /v1/chat/completion)", _INVALID), K.NOT_FOUND),
    Row(
        "method not allowed",
        405,
        body("Not allowed to GET on /v1/chat/completions.", _INVALID, "method_not_supported"),
        K.INVALID_REQUEST,
    ),
    Row(
        "context length",
        400,
        body(
            "This model's maximum context length is 128000 tokens. However, your"
            " messages resulted in 254457 tokens. Please reduce the length of the messages.",
            _INVALID,
            "context_length_exceeded",
            "messages",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "context window of responses",
        400,
        body(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            _INVALID,
            "context_length_exceeded",
            "input",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "string too long",
        400,
        body(
            "Invalid 'messages[0].content': string too long. Expected a string with"
            " maximum length 1048576, but got a string with length 2000000 instead.",
            _INVALID,
            "string_above_max_length",
        ),
        K.CONTEXT_OVERFLOW,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "max_tokens too large",
        400,
        body(
            "max_tokens is too large: 100000. This model supports at most 16384"
            " completion tokens, whereas you provided 100000.",
            _INVALID,
            "invalid_value",
            "max_tokens",
        ),
        K.INVALID_REQUEST,
    ),
    Row("payload too large", 413, body("Request body too large", _INVALID), K.CONTEXT_OVERFLOW),
    Row(
        "unsupported parameter",
        400,
        body(
            "Unsupported parameter: 'max_tokens' is not supported with this"
            " model. Use 'max_completion_tokens' instead.",
            _INVALID,
            "unsupported_parameter",
            "max_tokens",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "unsupported value",
        400,
        body(
            "Unsupported value: 'temperature' does not support 0.2 with this model.",
            _INVALID,
            "unsupported_value",
            "temperature",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "missing tool answer",
        400,
        body(
            "An assistant message with 'tool_calls' must be followed by tool"
            " messages responding to each 'tool_call_id'.",
            _INVALID,
            None,
            "messages.[3].role",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "bad function schema",
        400,
        body(
            "Invalid schema for function 'search': None is not of type 'array'.",
            _INVALID,
            "invalid_function_parameters",
            "tools[0].function.parameters",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "bad json body",
        400,
        body("We could not parse the JSON body of your request.", _INVALID),
        K.INVALID_REQUEST,
    ),
    Row(
        "a timeout as argument",
        400,
        body(
            "Invalid type for 'timeout': expected a number, but got a string instead.",
            _INVALID,
            "invalid_type",
            "timeout",
        ),
        K.INVALID_REQUEST,
    ),
    Row(
        "image too large",
        400,
        body("Invalid image: the image is too large", _INVALID, "image_too_large"),
        K.INVALID_REQUEST,
        also=(K.CONTEXT_OVERFLOW,),
    ),
    Row(
        "content policy",
        400,
        body(
            "Your request was rejected as a result of our safety system.",
            "image_generation_user_error",
            "content_policy_violation",
        ),
        K.CONTENT_POLICY,
    ),
    Row(
        "moderation",
        400,
        body(
            "Your request was rejected by the safety system.",
            "image_generation_user_error",
            "moderation_blocked",
        ),
        K.CONTENT_POLICY,
    ),
    Row(
        "usage policy",
        400,
        body(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            _INVALID,
            "invalid_prompt",
        ),
        K.CONTENT_POLICY,
    ),
    Row("unprocessable", 422, body("Unprocessable entity", _INVALID), K.INVALID_REQUEST),
    Row(
        "conflict",
        409,
        body("The resource was updated by another request", _INVALID),
        K.SERVER_ERROR,
        also=(K.INVALID_REQUEST,),
    ),
    Row("teapot", 418, body("I am a teapot", None), K.INVALID_REQUEST),
    Row("no body at all", 429, b"", K.RATE_LIMIT),
    Row("no body at all, 503", 503, b"", K.OVERLOADED),
    Row("no body at all, 500", 500, b"", K.SERVER_ERROR),
    Row("no body at all, 401", 401, b"", K.AUTH),
    Row(
        "previous response not found",
        400,
        body("Previous response with id 'resp_1' not found.", _INVALID, "previous_response_not_found"),
        K.NOT_FOUND,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "organization must be verified",
        403,
        body(
            "Your organization must be verified to stream this model.",
            _INVALID,
            "unsupported_value",
            "stream",
        ),
        K.PERMISSION,
        also=(K.INVALID_REQUEST,),
    ),
)

AZURE = (
    Row(
        "content filter",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering"
                " Azure OpenAI's content management policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
                },
            }
        },
        K.CONTENT_POLICY,
    ),
    Row(
        "rate limit in prose",
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests to the ChatCompletions"
                "_Create Operation under Azure OpenAI API version 2024-06-01 have exceeded token rate limit of your"
                " current OpenAI S0 pricing tier. Please retry after 21 seconds.",
            }
        },
        K.RATE_LIMIT,
        21.0,
    ),
    Row(
        "call rate limit",
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests have exceeded call rate limit"
                " of your current AIServices S0 pricing tier. Please retry after 2 seconds.",
            }
        },
        K.RATE_LIMIT,
        2.0,
        {"retry-after": "2"},
    ),
    Row(
        "per 60 s",
        429,
        {
            "error": {
                "code": "RateLimitReached",
                "message": "Rate limit of 40000 per 60s"
                " exceeded for UserByModelByMinuteTokens. Please wait 60 seconds before retrying.",
                "details": "Rate limit of 40000 per 60s exceeded for UserByModelByMinuteTokens.",
            }
        },
        K.RATE_LIMIT,
        60.0,
    ),
    Row(
        "no capacity",
        429,
        {
            "error": {
                "code": "NoCapacity",
                "message": "The system is currently experiencing"
                " high demand and cannot process your request.",
            }
        },
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "out of call volume",
        403,
        {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 10 days."},
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "no deployment",
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for"
                " this resource does not exist. If you created the deployment within the last 5 minutes, please wait"
                " a moment and try again.",
            }
        },
        K.NOT_FOUND,
    ),
    Row("resource not found", 404, {"error": {"code": "404", "message": "Resource not found"}}, K.NOT_FOUND),
    Row(
        "wrong key",
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
        "token expired",
        401,
        {
            "statusCode": 401,
            "message": "Unauthorized. Access token is missing, invalid,"
            " audience is incorrect, or have expired.",
        },
        K.AUTH,
    ),
    Row(
        "virtual network",
        403,
        {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}},
        K.PERMISSION,
    ),
    Row(
        "principal lacks",
        401,
        {
            "error": {
                "code": "PermissionDenied",
                "message": "The principal `a` lacks"
                " the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/"
                "action` to perform the operation.",
            }
        },
        K.PERMISSION,
        also=(K.AUTH,),
    ),
    Row(
        "api version",
        400,
        {"error": {"code": "BadRequest", "message": "Azure OpenAI Service API version not supported"}},
        K.INVALID_REQUEST,
    ),
    Row(
        "operation unsupported",
        400,
        {
            "error": {
                "code": "OperationNotSupported",
                "message": "The chat"
                "Completion operation does not work with the specified model, text-embedding-ada-002.",
            }
        },
        K.INVALID_REQUEST,
    ),
    Row(
        "internal",
        500,
        {
            "error": {
                "code": "InternalServerError",
                "message": "Backend returned unexpected response. Please contact Microsoft for help.",
            }
        },
        K.SERVER_ERROR,
    ),
    Row(
        "internal, plain",
        500,
        {"statusCode": 500, "message": "Internal server error", "activityId": "a"},
        K.SERVER_ERROR,
    ),
    Row("timeout", 408, {"error": {"code": "Timeout", "message": "The operation was timeout."}}, K.TIMEOUT),
    Row(
        "context",
        400,
        {
            "error": {
                "code": "context_length_exceeded",
                "message": "This model's maximum"
                " context length is 8192 tokens. However, you requested 9000 tokens",
            }
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "tokens limit",
        413,
        {
            "error": {
                "code": "tokens_limit_reached",
                "message": "Request body too large for gpt-4o model. Max size: 8000 tokens.",
            }
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "temporarily unavailable",
        503,
        {
            "error": {
                "code": "ServiceUnavailable",
                "message": "The service is"
                " temporarily unable to process your request. Please try again later.",
            }
        },
        K.OVERLOADED,
    ),
)

OTHERS = (
    # xAI
    Row(
        "xai: spending limit",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your team a has either used all available credits or reached its monthly"
            " spending limit.",
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "xai: rate",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Too many requests for team a"
            " and model grok-4. Your team's rate limit is: requests per second (actual/limit): 5/4.",
        },
        K.RATE_LIMIT,
    ),
    Row(
        "xai: key",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key"
            " provided: xa***ey. You can obtain an API key from https://console.x.ai.",
        },
        K.AUTH,
    ),
    Row(
        "xai: model",
        404,
        {
            "code": "Some requested entity was not found",
            "error": "The model grok-9 does not exist or your team a does not have access to it.",
        },
        K.NOT_FOUND,
    ),
    Row(
        "xai: prompt length",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "xai: safety",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
        },
        K.CONTENT_POLICY,
    ),
    Row(
        "xai: capacity",
        503,
        {
            "code": "The service is currently unavailable",
            "error": "The model is"
            " currently at capacity due to high demand. Please try again in a few minutes.",
        },
        K.OVERLOADED,
    ),
    # OpenRouter
    Row(
        "openrouter: credits",
        402,
        {
            "error": {
                "message": "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
                "code": 402,
            }
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "openrouter: fewer tokens",
        402,
        {
            "error": {
                "message": "This request requires more credits, or fewer"
                " max_tokens. You requested up to 65535 tokens, but can only afford 1000.",
                "code": 402,
            }
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "openrouter: key limit",
        403,
        {
            "error": {
                "message": "Key limit exceeded (monthly limit). Manage it"
                " using https://openrouter.ai/settings/keys",
                "code": 403,
            }
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "openrouter: upstream limit",
        429,
        {
            "error": {
                "message": "Provider returned error",
                "code": 429,
                "metadata": {
                    "raw": "z-ai/glm-5.3-flash is temporarily rate-limited upstream. Please retry shortly.",
                    "provider_name": "BaseTen",
                },
            }
        },
        K.RATE_LIMIT,
    ),
    Row(
        "openrouter: free per day",
        429,
        {
            "error": {
                "message": "Rate limit exceeded: free-models-per-day. Add"
                " 10 credits to unlock 1000 free model requests per day",
                "code": 429,
                "metadata": {
                    "headers": {
                        "X-RateLimit-Limit": "50",
                        "X-RateLimit-Remaining": "0",
                        "X-RateLimit-Reset": "1795046400000",
                    }
                },
            }
        },
        K.QUOTA_EXHAUSTED,
        46400.0,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "openrouter: free per minute",
        429,
        {
            "error": {
                "message": "Rate limit exceeded: free-models-per-min.",
                "code": 429,
                "metadata": {
                    "headers": {
                        "X-RateLimit-Limit": "20",
                        "X-RateLimit-Remaining": "0",
                        "X-RateLimit-Reset": "1795000030000",
                    }
                },
            }
        },
        K.RATE_LIMIT,
        30.0,
    ),
    Row(
        "openrouter: moderation",
        403,
        {
            "error": {
                "message": "openai/gpt-4o requires moderation on OpenAI."
                ' Your input was flagged for "violence".',
                "code": 403,
                "metadata": {"reasons": ["violence"], "flagged_input": "how to", "provider_name": "OpenAI"},
            }
        },
        K.CONTENT_POLICY,
    ),
    Row(
        "openrouter: no endpoints",
        404,
        {"error": {"message": "No endpoints found for a/b.", "code": 404}},
        K.NOT_FOUND,
    ),
    Row(
        "openrouter: data policy",
        404,
        {
            "error": {
                "message": "No endpoints found matching your data policy (Free model publication).",
                "code": 404,
            }
        },
        K.NOT_FOUND,
        also=(K.PERMISSION,),
    ),
    Row("openrouter: no user", 401, {"error": {"message": "User not found.", "code": 401}}, K.AUTH),
    Row(
        "openrouter: no credentials",
        401,
        {"error": {"message": "No auth credentials found", "code": 401}},
        K.AUTH,
    ),
    Row(
        "openrouter: context",
        400,
        {
            "error": {
                "message": "This endpoint's maximum context length is 131072"
                " tokens. However, you requested about 200000 tokens. Please reduce the length of either one.",
                "code": 400,
            }
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "openrouter: bad gateway",
        502,
        {
            "error": {
                "message": "Provider returned error",
                "code": 502,
                "metadata": {"raw": "Internal Server Error", "provider_name": "X"},
            }
        },
        K.SERVER_ERROR,
    ),
    Row("openrouter: timeout", 408, {"error": {"message": "Request timed out", "code": 408}}, K.TIMEOUT),
    # DeepSeek
    Row(
        "deepseek: balance",
        402,
        body("Insufficient Balance", "unknown_error", "invalid_request_error"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "deepseek: key",
        401,
        body(
            "Authentication Fails, Your api key: ****abcd is invalid",
            "authentication_error",
            "invalid_request_error",
        ),
        K.AUTH,
    ),
    Row(
        "deepseek: context",
        400,
        body(
            "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens",
            "invalid_request_error",
            "invalid_request_error",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "deepseek: risk",
        400,
        body("Content Exists Risk", "invalid_request_error", "invalid_request_error"),
        K.CONTENT_POLICY,
    ),
    Row(
        "deepseek: busy",
        503,
        body(
            "Service is too busy. We advise users to temporarily switch to"
            " alternative LLM API service providers.",
            "service_unavailable_error",
            "service_unavailable_error",
        ),
        K.OVERLOADED,
    ),
    Row(
        "deepseek: format",
        422,
        body(
            "Failed to deserialize the JSON body into the target type",
            "invalid_request_error",
            "invalid_request_error",
        ),
        K.INVALID_REQUEST,
    ),
    Row("deepseek: rate", 429, body("Rate limit reached", "rate_limit_error"), K.RATE_LIMIT),
    # Perplexity
    Row(
        "perplexity: quota",
        401,
        body(
            "You exceeded your current quota, please check your plan and billing details",
            "insufficient_quota",
            401,
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "perplexity: model",
        400,
        body(
            "Invalid model 'sonar-x'. Permitted models can be found in the documentation",
            "invalid_model",
            400,
        ),
        K.INVALID_REQUEST,
        also=(K.NOT_FOUND,),
    ),
    Row(
        "perplexity: auth in HTML",
        401,
        b"<html><head><title>401 Authorization Required</title></head><body>openresty</body></html>",
        K.AUTH,
    ),
    Row(
        "perplexity: rate",
        429,
        body("Request rate limit exceeded, please try again later.", "request_rate_limit_exceeded", 429),
        K.RATE_LIMIT,
    ),
    # Together
    Row(
        "together: queries per minute",
        429,
        body(
            "You have been rate limited. Your rate limit is 60 queries"
            " per minute. Please navigate to https://api.together.xyz/settings/billing to upgrade to a paid plan.",
            "credit_limit",
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "together: model limit",
        429,
        body(
            "You have reached the rate limit specific to this model. The"
            " maximum rate limit for this model is 9.0 queries per minute.",
            "model_rate_limit",
        ),
        K.RATE_LIMIT,
    ),
    Row(
        "together: credit limit",
        402,
        body(
            "Credit limit exceeded, please navigate to"
            " https://api.together.ai/settings/billing to update your credit limit.",
            "credit_limit",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "together: not serverless",
        400,
        body(
            "Unable to access non-serverless model a/b. Please visit"
            " https://api.together.ai/models/a/b to create and start a new dedicated endpoint for the model.",
            "invalid_request_error",
            "model_not_available",
        ),
        K.NOT_FOUND,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "together: too long",
        422,
        body(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be"
            " <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`",
            "invalid_request_error",
        ),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "together: overloaded",
        503,
        body("The server is overloaded or not ready yet.", "server_error", "overloaded"),
        K.OVERLOADED,
    ),
    # Fireworks
    Row(
        "fireworks: usage",
        429,
        {
            "error": "Too Many Requests",
            "message": "You have exceeded your usage"
            " limits. Please try again later or contact Fireworks to explore dedicated capacity.",
        },
        K.RATE_LIMIT,
        also=(K.QUOTA_EXHAUSTED,),
    ),
    Row(
        "fireworks: first token",
        429,
        {
            "error": {
                "message": "Request didn't generate first token before the given deadline",
                "type": "error",
            }
        },
        K.OVERLOADED,
        also=(K.RATE_LIMIT, K.TIMEOUT),
    ),
    Row(
        "fireworks: model",
        404,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "code": "NOT_FOUND",
                "message": "Model not found, inaccessible, and/or not deployed",
            }
        },
        K.NOT_FOUND,
    ),
    Row(
        "fireworks: suspended",
        412,
        {
            "error": {
                "message": "Account a is suspended, possibly due to reaching"
                " the monthly spending limit or failure to pay past invoices.",
                "type": "error",
            }
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "fireworks: prompt",
        400,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "code": "invalid_request_error",
                "message": "The prompt is too long: 140000, model maximum context length: 131071",
            }
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "fireworks: key",
        403,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "code": "FORBIDDEN",
                "message": "The API key you provided is invalid.",
            }
        },
        K.AUTH,
        also=(K.PERMISSION,),
    ),
    # Ollama
    Row(
        "ollama: no model",
        404,
        body("model 'llama9' not found, try pulling it first", "api_error"),
        K.NOT_FOUND,
    ),
    Row(
        "ollama: memory",
        500,
        body("model requires more system memory (5.3 GiB) than is available (2.3 GiB)", "api_error"),
        K.RESOURCE_EXHAUSTED,
        also=(K.SERVER_ERROR,),
        retryable=False,
    ),
    Row(
        "ollama: busy",
        503,
        body("server busy, please try again.  maximum pending requests exceeded", "api_error"),
        K.OVERLOADED,
    ),
    Row(
        "ollama: runner died",
        500,
        body("llama runner process has terminated: exit status 2", "api_error"),
        K.SERVER_ERROR,
    ),
    Row(
        "ollama: no tools",
        400,
        body("registry.ollama.ai/library/gemma:2b does not support tools", "api_error"),
        K.INVALID_REQUEST,
    ),
    # vLLM
    Row(
        "vllm: context",
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 32768"
            " tokens. However, you requested 40000 tokens in the messages, Please reduce the length of the"
            " messages.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "vllm: decoder prompt",
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
            "type": "BadRequestError",
            "code": 400,
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "vllm: model",
        404,
        {
            "object": "error",
            "message": "The model `x` does not exist.",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        },
        K.NOT_FOUND,
    ),
    Row("vllm: key", 401, {"error": "Unauthorized"}, K.AUTH),
    Row(
        "vllm: engine dead",
        500,
        {
            "object": "error",
            "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
            "type": "InternalServerError",
            "code": 500,
        },
        K.SERVER_ERROR,
    ),
    # Hugging Face
    Row(
        "hf: loading", 503, {"error": "Model a/b is currently loading", "estimated_time": 20.0}, K.OVERLOADED
    ),
    Row(
        "hf: tgi overloaded",
        429,
        {"error": "Model is overloaded", "error_type": "overloaded"},
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "hf: tgi too long",
        422,
        {
            "error": "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
            "error_type": "validation",
        },
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "hf: credits",
        402,
        {
            "error": "You have exceeded your monthly included credits for Inference"
            " Providers. Subscribe to PRO to get 20x more monthly included credits."
        },
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "hf: gated",
        403,
        {
            "error": "Access to model a/b is restricted and you are not in the authorized"
            " list. Visit https://huggingface.co/a/b to ask for access."
        },
        K.PERMISSION,
    ),
    Row("hf: token", 401, {"error": "Invalid credentials in Authorization header"}, K.AUTH),
    Row(
        "hf: tgi generation",
        424,
        {
            "error": "Request failed during generation: Server error: CUDA out of memory",
            "error_type": "generation",
        },
        K.SERVER_ERROR,
        also=(K.RESOURCE_EXHAUSTED,),
    ),
    # Moonshot, Alibaba, Zhipu, MiniMax
    Row(
        "moonshot: balance",
        429,
        body(
            "Your account a is suspended due to insufficient balance, please"
            " recharge your account or check your plan and billing details",
            "exceeded_current_quota_error",
        ),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "moonshot: concurrency",
        429,
        body(
            "Your account a request reached organization max concurrency: 3,"
            " please try again after 1 seconds",
            "rate_limit_reached_error",
        ),
        K.RATE_LIMIT,
        1.0,
    ),
    Row(
        "moonshot: engine",
        429,
        body("The engine is currently overloaded, please try again later", "engine_overloaded_error"),
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    ),
    Row(
        "moonshot: context",
        400,
        body("Invalid request: Your request exceeded model token limit: 8192", "invalid_request_error"),
        K.CONTEXT_OVERFLOW,
    ),
    Row(
        "alibaba: arrears",
        400,
        body("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "alibaba: inspection",
        400,
        body(
            "Input data may contain inappropriate content.",
            "data_inspection_failed",
            "data_inspection_failed",
        ),
        K.CONTENT_POLICY,
    ),
    Row(
        "alibaba: throttled",
        429,
        body("Requests rate limit exceeded, please try again later.", "limit_requests", "limit_requests"),
        K.RATE_LIMIT,
    ),
    Row(
        "alibaba: length",
        400,
        body(
            "Range of input length should be [1, 30720]", "invalid_request_error", "invalid_parameter_error"
        ),
        K.CONTEXT_OVERFLOW,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "zhipu: balance",
        429,
        {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}},
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "zhipu: concurrency",
        429,
        {"error": {"code": "1302", "message": "您的账户已达到速率限制"}},
        K.RATE_LIMIT,
    ),
    Row(
        "zhipu: unsafe",
        400,
        {
            "error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"},
            "contentFilter": [{"level": 1, "role": "user"}],
        },
        K.CONTENT_POLICY,
    ),
    # Cerebras, Gemini's dialect, Mistral's, GitHub Models
    Row(
        "cerebras: tokens",
        429,
        {
            "message": "Tokens per minute limit exceeded - too many tokens processed.",
            "type": "too_many_tokens_error",
            "param": "quota",
            "code": "token_quota_exceeded",
        },
        K.RATE_LIMIT,
    ),
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
        K.RATE_LIMIT,
        also=(K.OVERLOADED,),
    ),
    Row(
        "gemini dialect: minute",
        429,
        [
            {
                "error": {
                    "code": 429,
                    "message": "You exceeded your current quota, please check your plan and billing details.",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [
                        {
                            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                            "violations": [
                                {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}
                            ],
                        },
                        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
                    ],
                }
            }
        ],
        K.RATE_LIMIT,
        34.0,
    ),
    Row(
        "gemini dialect: key",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                    "details": [
                        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
                    ],
                }
            }
        ],
        K.AUTH,
    ),
    Row(
        "mistral dialect: rate",
        429,
        {
            "object": "error",
            "message": "Requests rate limit exceeded",
            "type": "rate_limited",
            "param": None,
            "code": "1300",
        },
        K.RATE_LIMIT,
    ),
    Row(
        "mistral dialect: capacity",
        429,
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "service_tier_capacity_exceeded",
            "param": None,
            "code": "3505",
        },
        K.RATE_LIMIT,
        also=(K.OVERLOADED,),
    ),
    Row(
        "github models: day",
        429,
        {
            "error": {
                "code": "RateLimitReached",
                "message": "Rate limit of 50 per"
                " 86400s exceeded for UserByModelByDay. Please wait 4000 seconds before retrying.",
            }
        },
        K.RATE_LIMIT,
        4000.0,
        also=(K.QUOTA_EXHAUSTED,),
    ),
    Row(
        "github models: unknown",
        400,
        {"error": {"code": "unknown_model", "message": "Unknown model: x"}},
        K.NOT_FOUND,
        also=(K.INVALID_REQUEST,),
    ),
    Row(
        "litellm proxy: budget",
        400,
        body("Budget has been exceeded! Current cost: 10.2, Max budget: 10.0", "budget_exceeded", "400"),
        K.QUOTA_EXHAUSTED,
        also=(K.RESOURCE_EXHAUSTED,),
    ),
    Row(
        "litellm proxy: no deployments",
        429,
        body(
            "No deployments available for selected model, Try again in 5 seconds. Passed model=gpt-4.",
            None,
            "429",
        ),
        K.RATE_LIMIT,
        5.0,
        also=(K.OVERLOADED,),
    ),
)

# Events of a stream that began with 200.
STREAMED = (
    Row(
        "server error",
        200,
        body("The server had an error processing your request.", "server_error"),
        K.SERVER_ERROR,
    ),
    Row("overloaded", 200, body("Overloaded", "overloaded_error", "overloaded"), K.OVERLOADED),
    Row(
        "rate limit",
        200,
        body("Rate limit reached. Please try again in 3s.", "rate_limit_error", "rate_limit_exceeded"),
        K.RATE_LIMIT,
        3.0,
    ),
    Row(
        "quota",
        200,
        body("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        K.QUOTA_EXHAUSTED,
    ),
    Row(
        "context",
        200,
        body("Your input exceeds the context window", _INVALID, "context_length_exceeded"),
        K.CONTEXT_OVERFLOW,
    ),
    Row("filter", 200, body("The response was filtered", None, "content_filter"), K.CONTENT_POLICY),
    Row(
        "openrouter 502",
        200,
        {"error": {"code": 502, "message": "Upstream error from provider"}},
        K.SERVER_ERROR,
    ),
    Row("openrouter 429", 200, {"error": {"code": 429, "message": "Rate limited"}}, K.RATE_LIMIT),
    Row(
        "vllm",
        200,
        {
            "error": {
                "object": "error",
                "message": "EngineCore encountered an issue",
                "type": "InternalServerError",
                "code": 500,
            }
        },
        K.SERVER_ERROR,
    ),
)
