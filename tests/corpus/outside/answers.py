"""What providers, their imitators and the machines in front of them answer."""

from __future__ import annotations

from typing import Any

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import NOW, Row
from tests.corpus.endpoint import moment

_HTML = {"content-type": "text/html"}
_PLAIN = {"content-type": "text/plain"}


def _e(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def _a(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011C"}


def _g(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def _violation(quota: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}


def _delay(text: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text}


def _reason(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


_BUSY = (K.SERVER_ERROR, K.OVERLOADED, K.NETWORK)

# Everything that speaks the openai dialect.
OPENAI: tuple[Row, ...] = (
    Row("context, in prose only", 400, _e("This model's maximum context length is 8192 tokens. However, you requested 9107 tokens (8107 in the messages, 1000 in the completion).", type="invalid_request_error", param="messages", code=None), K.CONTEXT_OVERFLOW),
    Row("vllm: prompt too long", 400, {"object": "error", "message": "The prompt (total length 40112) is too long to fit into the model (context length 32768). Make sure that `max_model_len` is no smaller than the number of text tokens.", "type": "BadRequestError", "param": None, "code": 400}, K.CONTEXT_OVERFLOW),
    Row("llama.cpp: context size", 400, _e("the request exceeds the available context size, try increasing it", type="exceed_context_size_error", code=400, n_prompt_tokens=9001, n_ctx=4096), K.CONTEXT_OVERFLOW),
    Row("lm studio: context", 400, {"error": "Trying to keep the first 5210 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input"}, K.CONTEXT_OVERFLOW),
    Row("tgi: inputs tokens", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4200 `inputs` tokens and 512 `max_new_tokens`", "error_type": "validation"}, K.CONTEXT_OVERFLOW, also=(K.INVALID_REQUEST,)),
    Row("deepseek: balance", 402, _e("Insufficient Balance", type="unknown_error", param=None, code="invalid_request_error"), K.QUOTA_EXHAUSTED),
    Row("deepseek: busy", 503, _e("Service is too busy. We advise users to temporarily switch to alternative LLM API service providers.", type="service_unavailable_error", code="service_unavailable_error"), K.OVERLOADED, also=(K.SERVER_ERROR,)),
    Row("moonshot: engine", 429, _e("The engine is currently overloaded, please try again later", type="engine_overloaded_error"), K.OVERLOADED, also=(K.RATE_LIMIT,)),
    Row("moonshot: suspended", 429, _e("Your account org-x<ak-y> is suspended, please check your plan and billing details", type="exceeded_current_quota_error"), K.QUOTA_EXHAUSTED),
    Row("moonshot: concurrency", 429, _e("Your account org-x request reached max organization concurrency: 3, please try again after 1 seconds", type="rate_limit_reached_error"), K.RATE_LIMIT, 1.0),
    Row("dashscope: inspection", 400, _e("Input data may contain inappropriate content.", code="data_inspection_failed", type="data_inspection_failed"), K.CONTENT_POLICY),
    Row("dashscope: arrears", 400, _e("Access denied, please make sure your account is in good standing.", code="Arrearage", type="Arrearage"), K.QUOTA_EXHAUSTED, also=(K.PERMISSION,)),
    Row("zhipu: balance", 429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}}, K.QUOTA_EXHAUSTED),
    Row("ollama: no such model", 404, _e('model "llama9" not found, try pulling it first', type="api_error", param=None, code=None), K.NOT_FOUND),
    Row("ollama: no tools", 400, _e("registry.ollama.ai/library/gemma:2b does not support tools", type="api_error"), K.INVALID_REQUEST),
    Row("ollama: queue", 503, _e("server busy, please try again.  maximum pending requests exceeded", type="api_error"), K.OVERLOADED, also=(K.RATE_LIMIT, K.SERVER_ERROR)),
    Row("llama.cpp: loading", 503, _e("Loading model", type="unavailable_error", code=503), K.OVERLOADED, also=(K.SERVER_ERROR,)),
    Row("openrouter: user not found", 401, _e("User not found.", code=401), K.AUTH),
    Row("openrouter: can only afford", 402, _e("This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 8211.", code=402), K.QUOTA_EXHAUSTED),
    Row("openrouter: no endpoints", 404, _e("No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs", code=404), K.NOT_FOUND, also=(K.INVALID_REQUEST,)),
    Row("openrouter: flagged", 403, _e('meta-llama/x requires moderation on Together. Your input was flagged for "violence".', code=403, metadata={"reasons": ["violence"], "flagged_input": "…", "provider_name": "Together"}), K.CONTENT_POLICY),
    Row("openrouter: free a day", 429, _e("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day", code=429), K.QUOTA_EXHAUSTED, also=(K.RATE_LIMIT,), retryable=False),
    Row("openrouter: reset reason overflow", 502, _e("Provider returned error", code=502, metadata={"raw": "upstream connect error or disconnect/reset before headers. reset reason: overflow", "provider_name": "DeepInfra"}), K.SERVER_ERROR, also=_BUSY),
    Row("openrouter: overflow in the raw text", 400, _e("Provider returned error", code=400, metadata={"raw": '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}', "provider_name": "Anthropic"}), K.CONTEXT_OVERFLOW, also=(K.INVALID_REQUEST,)),
    Row("openrouter: limited upstream", 429, _e("Provider returned error", code=429, metadata={"raw": "x-ai/grok is temporarily rate-limited upstream. Please retry shortly, or add your own key.", "provider_name": "xAI"}), K.RATE_LIMIT),
    Row("openrouter: key limit", 403, _e("Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys", code=403), K.QUOTA_EXHAUSTED),
    Row("server says do not", 429, _e("Slow down", type="requests", code="rate_limit_exceeded"), K.RATE_LIMIT, headers={"x-should-retry": "false"}, retryable=False),
    Row("nginx 413", 413, "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>", K.CONTEXT_OVERFLOW, headers=_HTML, also=(K.INVALID_REQUEST,)),
    Row("cloudflare blocked", 403, "<!DOCTYPE html><title>Attention Required! | Cloudflare</title><h1>Sorry, you have been blocked</h1>", K.PERMISSION, headers=_HTML),
    Row("cloudflare 524", 524, "<!DOCTYPE html><title>api.x.ai | 524: A timeout occurred</title>", K.TIMEOUT, headers=_HTML, also=(K.SERVER_ERROR,)),
    Row("cloudflare 522", 522, "error code: 522", K.NETWORK, headers=_PLAIN, also=(K.TIMEOUT, K.SERVER_ERROR)),
    Row("cloudflare 1015", 429, "error code: 1015", K.RATE_LIMIT, headers={**_PLAIN, "retry-after": "10"}, retry_after=10.0),
    Row("envoy: timeout", 504, "upstream request timeout", K.TIMEOUT, headers=_PLAIN, also=(K.SERVER_ERROR,)),
    Row("envoy: connection failure", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection failure", K.OVERLOADED, headers=_PLAIN, also=_BUSY),
    Row("envoy: no healthy upstream", 503, "no healthy upstream", K.OVERLOADED, headers=_PLAIN, also=_BUSY),
    Row("envoy: local limit", 429, "local_rate_limited", K.RATE_LIMIT, headers=_PLAIN),
    Row("azure: no data action", 401, {"error": {"code": "PermissionDenied", "message": "The principal `x` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/…` operation."}}, K.PERMISSION, also=(K.AUTH,)),
    Row("azure: firewall", 403, {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}}, K.PERMISSION),
    Row("azure: no deployment", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}, K.NOT_FOUND, retryable=False),
    Row("azure: operation timed out", 408, {"error": {"code": "Timeout", "message": "The operation was timeout."}}, K.TIMEOUT),
    Row("azure: no capacity", 503, {"error": {"code": "NoCapacity", "message": "The system is currently experiencing high demand and cannot process your request."}}, K.OVERLOADED, also=(K.SERVER_ERROR,)),
    Row("request id that looks like a status", 500, _e("The server had an error processing your request. Sorry about that! You can retry your request. (Please include the request ID 429a429 in your message.)", type="server_error", param=None, code=None), K.SERVER_ERROR),
    Row("schema named like a failure", 400, _e("Invalid schema for function 'get_rate_limit': In context=('properties', 'timeout'), 'type' must be one of 'string', 'number'.", type="invalid_request_error", param="tools[0].function.parameters", code="invalid_function_parameters"), K.INVALID_REQUEST),
    Row("string too long", 400, _e("Invalid 'messages[2].content': string too long. Expected a string with maximum length 1048576, but got a string with length 2000000 instead.", type="invalid_request_error", param="messages[2].content", code="string_above_max_length"), K.CONTEXT_OVERFLOW, also=(K.INVALID_REQUEST,)),
    Row("too much output asked", 400, _e("max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.", type="invalid_request_error", param="max_tokens", code="invalid_value"), K.INVALID_REQUEST),
    Row("unsupported parameter", 400, _e("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", type="invalid_request_error", param="max_tokens", code="unsupported_parameter"), K.INVALID_REQUEST),
    Row("not verified", 403, _e("Your organization must be verified to use the model `o9`. If you just verified, it can take up to 15 minutes for access to propagate.", type="invalid_request_error", param="model"), K.PERMISSION),
    Row("country", 403, _e("Country, region, or territory not supported", type="request_forbidden", param=None, code="unsupported_country_region_territory"), K.PERMISSION),
    Row("one request above the minute", 429, _e("Request too large for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Requested 51022. The input or output tokens must be reduced in order to run successfully.", type="tokens", param=None, code="rate_limit_exceeded"), K.CONTEXT_OVERFLOW, also=(K.RATE_LIMIT,), retryable=False),
    Row("error is a string", 429, {"error": "Too many requests"}, K.RATE_LIMIT),
    Row("milliseconds", 429, b"", K.RATE_LIMIT, 0.35, {"retry-after-ms": "350"}),
    Row("date", 503, _e("Maintenance"), K.OVERLOADED, 30.0, {"retry-after": moment(NOW + 30)}, also=(K.SERVER_ERROR,)),
    Row("tokens reset", 429, _e("Rate limit reached", code="rate_limit_exceeded"), K.RATE_LIMIT, 90.0, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s", "x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "9m"}),
    Row("model_error", 500, _e("The model produced invalid content. Consider modifying your prompt if you are seeing this error persistently.", type="model_error", param=None, code=None), K.SERVER_ERROR, also=(K.OUTPUT_VALIDATION,)),
    Row("moderation_blocked", 400, _e("Your request was rejected as a result of our safety system. safety_violations=[sexual].", type="image_generation_user_error", code="moderation_blocked"), K.CONTENT_POLICY),
    Row("retired", 410, _e("The model `llama-2` has been retired and is no longer available."), K.NOT_FOUND, also=(K.INVALID_REQUEST,)),
    Row("detail", 429, {"detail": "Rate limit exceeded"}, K.RATE_LIMIT),
    Row("fastapi 422", 422, {"detail": [{"loc": ["body", "timeout"], "msg": "value is not a valid integer", "type": "type_error.integer"}]}, K.INVALID_REQUEST),
    Row("hard limit", 400, _e("Billing hard limit has been reached", type="invalid_request_error", code="billing_hard_limit_reached"), K.QUOTA_EXHAUSTED),
    Row("hugging face: credits", 402, {"error": "You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more monthly included credits."}, K.QUOTA_EXHAUSTED),
    Row("hugging face: loading", 503, {"error": "Model meta/llama is currently loading", "estimated_time": 20.0}, K.OVERLOADED, also=(K.SERVER_ERROR,)),
    Row("hugging face: busy", 504, {"error": "Model too busy, unable to get response in less than 60 second(s)"}, K.OVERLOADED, also=(K.TIMEOUT,)),
    Row("xai: no credits", 403, {"code": "The caller does not have permission to execute the specified operation", "error": "Your newly created team doesn't have any credits yet. You can purchase credits on https://console.x.ai/team/t."}, K.QUOTA_EXHAUSTED, also=(K.PERMISSION,)),
    Row("xai: key in a 400", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***ab. You can obtain an API key from https://console.x.ai."}, K.AUTH),
    Row("xai: too many", 429, {"code": "Some resource has been exhausted", "error": "Too many requests for team 1 and model grok. Your team's rate limit is: Requests per Second: 1"}, K.RATE_LIMIT),
    Row("invalid_prompt", 400, _e("Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt", type="invalid_request_error", code="invalid_prompt"), K.CONTENT_POLICY, retryable=False),
    Row("litellm proxy: budget", 400, _e("Budget has been exceeded! Current cost: 10.2, Max budget: 10.0", type="budget_exceeded", param=None, code="400"), K.QUOTA_EXHAUSTED, also=(K.RESOURCE_EXHAUSTED,)),
    Row("litellm proxy: cooldown", 429, _e("No deployments available for selected model, Try again in 5 seconds. Passed model=gpt-5.", type="None", param="None", code="429"), K.RATE_LIMIT, 5.0, also=(K.OVERLOADED,)),
    Row("gateway: key revoked", 401, {"message": "No API key found in request"}, K.AUTH),
    Row("gateway: quota", 429, {"message": "API rate limit exceeded"}, K.RATE_LIMIT, 17.0, {"retry-after": "17"}),
    Row("apim: out of call volume quota", 403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 12:01:35."}, K.QUOTA_EXHAUSTED),
    Row("apim: rate limit", 429, {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 29 seconds."}, K.RATE_LIMIT, 29.0),
)  # fmt: skip

OPENAI_STREAMED: tuple[Row, ...] = (
    Row("overloaded", 200, _e("The server is overloaded", type="overloaded_error"), K.OVERLOADED),
    Row("rate limit", 200, _e("Rate limit reached for gpt-5. Please try again in 1.2s.", type="tokens", code="rate_limit_exceeded"), K.RATE_LIMIT, 1.2),
    Row("upstream idle", 200, _e("Upstream idle timeout exceeded", code=504), K.TIMEOUT, also=(K.SERVER_ERROR,)),
    Row("filter", 200, _e("Blocked", code="content_filter"), K.CONTENT_POLICY),
    Row("nothing said", 200, _e("An error occurred"), K.SERVER_ERROR, also=(K.UNKNOWN,)),
)  # fmt: skip

ANTHROPIC: tuple[Row, ...] = (
    Row("too long", 400, _a("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), K.CONTEXT_OVERFLOW),
    Row("input and output", 400, _a("invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease input length or `max_tokens` and try again"), K.CONTEXT_OVERFLOW),
    Row("credit", 400, _a("invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."), K.QUOTA_EXHAUSTED),
    Row("usage limits", 400, _a("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."), K.QUOTA_EXHAUSTED),
    Row("bytes", 413, _a("request_too_large", "Request exceeds the maximum size"), K.CONTEXT_OVERFLOW, also=(K.INVALID_REQUEST,)),
    Row("per minute", 429, _a("rate_limit_error", "This request would exceed the rate limit for your organization of 30,000 input tokens per minute."), K.RATE_LIMIT, 11.0, {"retry-after": "11", "x-should-retry": "true"}),
    Row("529", 529, _a("overloaded_error", "Overloaded"), K.OVERLOADED),
    Row("api_error", 500, _a("api_error", "Internal server error"), K.SERVER_ERROR),
    Row("timeout_error", 504, _a("timeout_error", "Request timed out"), K.TIMEOUT),
    Row("oauth", 401, _a("authentication_error", "OAuth token has expired. Please obtain a new token or refresh your existing token."), K.AUTH),
    Row("no access", 403, _a("permission_error", "Your account does not have access to Claude. Please contact your administrator."), K.PERMISSION),
    Row("no such model", 404, _a("not_found_error", "model: claude-9"), K.NOT_FOUND),
    Row("tool ids", 400, _a("invalid_request_error", "messages.3: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_429503"), K.INVALID_REQUEST),
    Row("output tokens", 400, _a("invalid_request_error", "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-x"), K.INVALID_REQUEST),
    Row("output blocked", 400, _a("invalid_request_error", "Output blocked by content filtering policy"), K.CONTENT_POLICY),
    Row("disabled", 400, _a("invalid_request_error", "This organization has been disabled."), K.PERMISSION, also=(K.AUTH, K.INVALID_REQUEST)),
    Row("image", 400, _a("invalid_request_error", "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes"), K.INVALID_REQUEST, also=(K.CONTEXT_OVERFLOW,)),
    Row("caches", 400, _a("invalid_request_error", "A maximum of 4 blocks with cache_control may be provided. Found 5."), K.INVALID_REQUEST),
    Row("520", 520, "error code: 520", K.SERVER_ERROR, headers=_PLAIN, also=(K.NETWORK,)),
)  # fmt: skip

ANTHROPIC_STREAMED: tuple[Row, ...] = (
    Row("overloaded", 200, _a("overloaded_error", "Overloaded"), K.OVERLOADED),
    Row("api_error", 200, _a("api_error", "Internal server error"), K.SERVER_ERROR),
    Row("too long", 200, _a("invalid_request_error", "prompt is too long: 1 tokens > 0 maximum"), K.CONTEXT_OVERFLOW),
    Row("limit", 200, _a("rate_limit_error", "Number of concurrent connections has exceeded your rate limit."), K.RATE_LIMIT),
)  # fmt: skip

GOOGLE: tuple[Row, ...] = (
    Row("per minute", 429, _g(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", _violation("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), _delay("21.5s")), K.RATE_LIMIT, 21.5),
    Row("per day", 429, _g(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", _violation("GenerateRequestsPerDayPerProjectPerModel-FreeTier")), K.QUOTA_EXHAUSTED),
    Row("no details", 429, _g(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."), K.RATE_LIMIT, also=(K.OVERLOADED,)),
    Row("prepaid", 429, _g(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing."), K.QUOTA_EXHAUSTED),
    Row("cap", 429, _g(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap. Please go to AI Studio to manage it."), K.QUOTA_EXHAUSTED),
    Row("key", 400, _g(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", _reason("API_KEY_INVALID")), K.AUTH),
    Row("leaked", 403, _g(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."), K.AUTH, also=(K.PERMISSION,)),
    Row("service disabled", 403, _g(403, "PERMISSION_DENIED", "Generative Language API has not been used in project 503 before or it is disabled. Enable it, then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.", _reason("SERVICE_DISABLED")), K.PERMISSION),
    Row("location", 400, _g(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), K.PERMISSION, also=(K.INVALID_REQUEST,)),
    Row("tokens", 400, _g(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), K.CONTEXT_OVERFLOW),
    Row("overloaded", 503, _g(503, "UNAVAILABLE", "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please try again later."), K.OVERLOADED),
    Row("internal", 500, _g(500, "INTERNAL", "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"), K.SERVER_ERROR),
    Row("deadline", 504, _g(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."), K.TIMEOUT),
    Row("cancelled there", 499, _g(499, "CANCELLED", "The operation was cancelled."), K.CANCELLED, also=(K.INVALID_REQUEST,)),
    Row("model", 404, _g(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent."), K.NOT_FOUND),
    Row("image", 400, _g(400, "INVALID_ARGUMENT", "Unable to process input image. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"), K.INVALID_REQUEST),
    Row("turns", 400, _g(400, "INVALID_ARGUMENT", "Please ensure that function call turn comes immediately after a user turn or after a function response turn."), K.INVALID_REQUEST),
    Row("oauth", 401, _g(401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."), K.AUTH),
    Row("frontend html", 502, "<!DOCTYPE html><title>Error 502 (Server Error)!!1</title><p>The server encountered a temporary error and could not complete your request.<p>Please try again in 30 seconds.", K.SERVER_ERROR, headers=_HTML, retry_after=30.0),
)  # fmt: skip

MISTRAL: tuple[Row, ...] = (
    Row("who", 401, {"message": "Unauthorized", "request_id": "x"}, K.AUTH),
    Row("tier", 429, {"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "param": None, "code": "3505"}, K.OVERLOADED, also=(K.RATE_LIMIT,)),
    Row("rate", 429, {"message": "Requests rate limit exceeded"}, K.RATE_LIMIT),
    Row("context", 400, {"object": "error", "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", "type": "invalid_request_prompt", "code": "3051"}, K.CONTEXT_OVERFLOW),
    Row("route", 404, {"message": "no Route matched with those values"}, K.NOT_FOUND),
    Row("model", 400, {"object": "error", "message": "Invalid model: mistral-ginormous", "type": "invalid_model", "code": "1500"}, K.NOT_FOUND, also=(K.INVALID_REQUEST,)),
    Row("roles", 400, {"object": "error", "message": "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant", "type": "invalid_request_message_order", "code": "3230"}, K.INVALID_REQUEST),
    Row("down", 500, {"object": "error", "message": "Service unavailable.", "type": "internal_server_error", "code": "3700"}, K.SERVER_ERROR, also=(K.OVERLOADED,)),
    Row("money", 402, {"message": "You have no active subscription"}, K.QUOTA_EXHAUSTED),
)  # fmt: skip

COHERE: tuple[Row, ...] = (
    Row("trial a minute", 429, {"message": "You are using a Trial key, which is limited to 40 API calls / minute. You can continue to use the Trial key for free or upgrade to a Production key."}, K.RATE_LIMIT),
    Row("trial a month", 429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to use the Trial key for free or upgrade to a Production key."}, K.QUOTA_EXHAUSTED),
    Row("tokens", 400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5200. Try using a shorter prompt."}, K.CONTEXT_OVERFLOW),
    Row("key", 401, {"message": "invalid api token"}, K.AUTH),
    Row("499", 499, {"message": "request cancelled"}, K.CANCELLED, also=(K.INVALID_REQUEST,)),
    Row("model", 404, {"message": "model 'commando' not found, make sure the correct model ID was used and that you have access to the model."}, K.NOT_FOUND),
    Row("card", 402, {"message": "Please add or update your payment method at https://dashboard.cohere.com/billing"}, K.QUOTA_EXHAUSTED),
    Row("nothing there", 501, {"message": "not implemented"}, K.INVALID_REQUEST, also=(K.SERVER_ERROR,), retryable=False),
    Row("unavailable", 503, {"message": "Service Unavailable"}, K.OVERLOADED, also=(K.SERVER_ERROR,)),
)  # fmt: skip

GROQ: tuple[Row, ...] = (
    Row("too large", 413, _e("Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.", type="tokens", code="rate_limit_exceeded"), K.CONTEXT_OVERFLOW),
    Row("flex", 498, _e("Flex tier capacity exceeded, please try again later", code="capacity_exceeded"), K.OVERLOADED),
    Row("tool", 400, _e("Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.", type="invalid_request_error", code="tool_use_failed", failed_generation="<function=x>"), K.OUTPUT_VALIDATION),
    Row("json", 400, _e("Failed to generate JSON. Please adjust your prompt.", type="invalid_request_error", code="json_validate_failed"), K.OUTPUT_VALIDATION),
    Row("a day", 429, _e("Rate limit reached for model `x` in organization `o` on tokens per day (TPD): Limit 100000, Used 99500, Requested 1200. Please try again in 10m4.8s.", type="tokens", code="rate_limit_exceeded"), K.QUOTA_EXHAUSTED, 604.8, also=(K.RATE_LIMIT,)),
    Row("requests", 429, _e("Rate limit reached for model `x` on requests per minute (RPM): Limit 30, Used 30, Requested 1. Please try again in 7.66s.", type="requests", code="rate_limit_exceeded"), K.RATE_LIMIT, 7.66),
    Row("restricted", 400, _e("Organization has been restricted. Please reach out to support if you believe this was in error.", type="invalid_request_error", code="organization_restricted"), K.PERMISSION, also=(K.AUTH,)),
    Row("decommissioned", 400, _e("The model `x` has been decommissioned and is no longer supported.", type="invalid_request_error", code="model_decommissioned"), K.NOT_FOUND, also=(K.INVALID_REQUEST,)),
)  # fmt: skip

# code, status, message, kind, what may be defended too
BEDROCK: tuple[tuple[str, int, str, K, tuple[K, ...]], ...] = (
    ("ThrottlingException", 429, "Too many requests, please wait before trying again.", K.RATE_LIMIT, ()),
    ("ThrottlingException", 429, "Too many tokens per day, please wait before trying again.", K.QUOTA_EXHAUSTED, ()),
    ("ValidationException", 400, "Input is too long for requested model.", K.CONTEXT_OVERFLOW, ()),
    ("ValidationException", 400, "The provided model identifier is invalid.", K.NOT_FOUND, (K.INVALID_REQUEST,)),
    ("ValidationException", 400, "Invocation of model ID x with on-demand throughput isn\u2019t supported. Retry your request with the ID or ARN of an inference profile that contains this model.", K.INVALID_REQUEST, (K.NOT_FOUND,)),
    ("ValidationException", 400, "Operation not allowed", K.PERMISSION, (K.INVALID_REQUEST,)),
    ("AccessDeniedException", 403, "You don't have access to the model with the specified model ID.", K.PERMISSION, ()),
    ("UnrecognizedClientException", 403, "The security token included in the request is invalid.", K.AUTH, ()),
    ("InvalidSignatureException", 403, "Signature expired: 20261121T100000Z is now earlier than 20261121T101000Z", K.AUTH, ()),
    ("ModelNotReadyException", 429, "The model is not ready for inference. Wait and try your request again.", K.OVERLOADED, (K.RATE_LIMIT,)),
    ("ModelTimeoutException", 408, "The request took too long to process.", K.TIMEOUT, ()),
    ("ModelErrorException", 424, "The system encountered an unexpected error during processing. Try your request again.", K.SERVER_ERROR, ()),
    ("ServiceUnavailableException", 503, "Bedrock is unable to process your request.", K.OVERLOADED, (K.SERVER_ERROR,)),
    ("ServiceQuotaExceededException", 400, "Your request exceeds the service quota for your account.", K.QUOTA_EXHAUSTED, ()),
    ("ResourceNotFoundException", 404, "This model version has reached the end of its life. Please refer to the AWS documentation for more details.", K.NOT_FOUND, ()),
    ("ResourceNotFoundException", 404, "Model use case details have not been submitted for this account. Fill out the form before using the model. If you have already filled out the form, try again in 15 minutes.", K.NOT_FOUND, (K.PERMISSION,)),
)  # fmt: skip
