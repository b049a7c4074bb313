"""What held-out exams asked that the rules did not know, in the classes of cases they stand for.

The exams were labelled from the contract before they were run; ``also`` stands where their labels were called
arguable.  Some neighbours of their cases were added together with the rules that mend them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import Case, Row
from tests.corpus.endpoint import Endpoint
from tests.corpus.sdks import KEY, answered

ASK: Any = [{"role": "user", "content": "hi"}]


def _o(message: str, type: object = None, code: object = None) -> object:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def _a(type: str, message: str) -> object:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_011"}


def _raw(code: int, raw: str) -> object:
    """OpenRouter's, around the words of the provider it asked."""
    metadata = {"raw": raw, "provider_name": "Elsewhere"}
    return {"error": {"message": "Provider returned error", "code": code, "metadata": metadata}}


_INVALID = "invalid_request_error"
_REGION = (K.INVALID_REQUEST,)

OPENAI = (
    # the place, the organization, the role, as 400 or 401
    Row("relayed location", 400, _raw(400, '{"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}'), K.PERMISSION),
    Row("relayed country", 403, _raw(403, '{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported"}}'), K.PERMISSION),
    Row("model access by key", 401, _o("key not allowed to access model. This key can only access models=['gpt-4o-mini']", "key_model_access_denied", "401"), K.PERMISSION, also=(K.AUTH,)),
    Row("role lacks the action", 401, {"error": {"code": "PermissionDenied", "message": "The principal `x` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action`."}}, K.PERMISSION, also=(K.AUTH,)),
    Row("unverified organization", 400, _o("Your organization must be verified to stream this model.", _INVALID, "unsupported_value"), K.PERMISSION, also=(K.INVALID_REQUEST,)),
    Row("a vaguer 400", 400, _o("No.", "permission_error"), K.PERMISSION),
    # a model, or what was said before, that is not there, as 400
    Row("model id", 400, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}, K.NOT_FOUND),
    Row("model name", 400, _o("/chat/completions: Invalid model name passed in model=gpt-77. Call `/v1/models` to view available models for your key.", _INVALID, "400"), K.NOT_FOUND),
    Row("model retired", 400, {"error": {"code": "DeprecatedModel", "message": "The model 'gpt-35-turbo' version '0301' has been retired."}}, K.NOT_FOUND, also=(K.INVALID_REQUEST,)),
    Row("model in a list of errors", 400, {"errors": [{"message": "AiError: No such model @cf/foo or task", "code": 5007}], "success": False}, K.NOT_FOUND),
    Row("previous response", 400, _o("Previous response with id 'resp_1' not found.", _INVALID, "previous_response_not_found"), K.NOT_FOUND, also=(K.INVALID_REQUEST,)),
    # what a guardrail or a censor refused
    Row("guardrail checks", 446, {"error": {"message": "The guardrail checks defined in the config failed.", "type": "hooks_failed", "param": None, "code": None}}, K.CONTENT_POLICY),
    Row("sensitive input", 400, _o("The request failed because the input text may contain sensitive information.", "BadRequest", "SensitiveContentDetected"), K.CONTENT_POLICY),
    Row("sensitive input, in short", 422, _o("input new_sensitive (1026)", "bad_request_error", "1026"), K.CONTENT_POLICY),
    # too much input, in words of self-hosted servers and small services
    Row("range of input", 400, _o("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", _INVALID, "invalid_parameter_error"), K.CONTEXT_OVERFLOW),
    Row("maximum allowed length", 400, {"object": "error", "message": "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens). Use a shorter input.", "type": "BadRequestError", "code": 400}, K.CONTEXT_OVERFLOW),
    Row("maximum input length", 400, _o("Requested input length 140211 exceeds maximum input length 131071", _INVALID), K.CONTEXT_OVERFLOW),
    Row("window exceeds limit", 400, _o("invalid params, context window exceeds limit (2013)", "bad_request_error", "2013"), K.CONTEXT_OVERFLOW),
    Row("total tokens limit", 400, {"errors": [{"code": "invalid_input_argument", "message": "Invalid input argument for Model 'ibm/granite': the number of input tokens 9015 cannot exceed the total tokens limit 8192 for this model"}]}, K.CONTEXT_OVERFLOW),
    Row("keep the first tokens", 400, {"error": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context length of only 32768 tokens, which is not enough."}, K.CONTEXT_OVERFLOW),
    # money and long allowances, whatever the status
    Row("usage limit of a key", 412, {"status": "failure", "message": "Usage limit exceeded for the API key", "error_code": "AB03"}, K.QUOTA_EXHAUSTED),
    Row("inference limit", 429, _o("Your account [2100] has reached the set inference limit for the [doubao] model, and the model service has been paused.", "TooManyRequests", "SetLimitExceeded"), K.QUOTA_EXHAUSTED),
    Row("overdue balance", 403, _o("The request failed because your account has an overdue balance.", "Forbidden", "AccountOverdueError"), K.QUOTA_EXHAUSTED),
    Row("balance is insufficient", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}, K.QUOTA_EXHAUSTED),
    Row("not enough balance", 403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance", "metadata": {}}, K.QUOTA_EXHAUSTED),
    Row("top up", 402, {"detail": {"error": "inference prohibited, please top up your account balance"}}, K.QUOTA_EXHAUSTED),
    Row("monthly token quota", 403, {"errors": [{"code": "token_quota_reached", "message": "This tenant has reached the monthly token quota limit"}]}, K.QUOTA_EXHAUSTED),
    Row("daily free allocation", 429, {"errors": [{"message": "AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to the paid plan", "code": 4006}], "success": False}, K.QUOTA_EXHAUSTED),
    Row("monthly budget", 429, _o("You've reached your monthly budget of $120.00. Increase your budget to continue.", "insufficient_quota", "project_budget_exceeded"), K.QUOTA_EXHAUSTED),
    Row("limit by day", 429, _o("Rate limit of 150 per 86400s exceeded for UserByModelByDay. Please wait 38111 seconds before retrying.", None, "RateLimitReached"), K.QUOTA_EXHAUSTED, 38111.0, also=(K.RATE_LIMIT,)),
    # no capacity, under the status of a rate limit
    Row("server overload", 429, _o("The service is currently unable to handle additional requests due to server overload.", "TooManyRequests", "ServerOverloaded"), K.OVERLOADED),
    Row("no capacity", 429, {"error": {"code": "NoCapacity", "message": "The system is currently experiencing high demand and cannot process your request."}}, K.OVERLOADED, also=(K.RATE_LIMIT,)),
    Row("queue", 429, {"message": "We're experiencing high traffic right now! Please try again soon.", "type": "too_many_requests_error", "param": "queue", "code": "queue_exceeded"}, K.OVERLOADED, also=(K.RATE_LIMIT,)),
    Row("busy", 429, {"error": {"message": "Model busy, retry later"}}, K.OVERLOADED, also=(K.RATE_LIMIT,)),
    # refusals that a gateway hides behind 500, 502 or 429
    Row("500: too long", 500, _o("prompt too long; exceeded max context length by 12 tokens", "api_error"), K.CONTEXT_OVERFLOW),
    Row("500: window, from LiteLLM", 500, _o("litellm.BadRequestError: AnthropicException - prompt is too long: 214523 tokens > 200000 maximum", None, "500"), K.CONTEXT_OVERFLOW),
    Row("500: schema, from LiteLLM", 500, _o("litellm.BadRequestError: OpenAIException - Invalid schema for function 'f'", None, "500"), K.INVALID_REQUEST),
    Row("500: key, from LiteLLM", 500, _o("litellm.AuthenticationError: OpenAIException - Incorrect API key provided: sk-x", "None", "500"), K.AUTH),
    Row("500: filtered", 500, _o("The response was filtered due to the prompt triggering Azure OpenAI's content management policy."), K.CONTENT_POLICY),
    Row("500: no model", 500, {"error": 'model "llama9" not found, try pulling it first'}, K.NOT_FOUND),
    Row("502: window, relayed", 502, _raw(502, '{"error":{"message":"Input is too long for requested model"}}'), K.CONTEXT_OVERFLOW),
    Row("429: window, from LiteLLM", 429, _o("litellm.ContextWindowExceededError: prompt is too long: 214523 tokens > 200000 maximum"), K.CONTEXT_OVERFLOW),
    Row("429: limit of a plan", 429, _o("You have reached the limit of your plan. Upgrade to continue."), K.QUOTA_EXHAUSTED),
    Row("429: monthly requests", 429, _o("Monthly request limit reached for the free plan"), K.QUOTA_EXHAUSTED),
    Row("429: recharge", 429, _o("Credits used up. Please recharge."), K.QUOTA_EXHAUSTED),
    Row("429: key's balance", 429, _o("No remaining balance on this key"), K.QUOTA_EXHAUSTED),
    Row("429: team's budget", 429, _o("Maximum budget exceeded for team"), K.QUOTA_EXHAUSTED),
    Row("429: credit limit", 429, _o("Your account has exceeded its credit limit. Please contact billing.", "billing"), K.QUOTA_EXHAUSTED),
    Row("429: package", 429, _o("You have no tokens left in your package, purchase more to go on"), K.QUOTA_EXHAUSTED),
    Row("429: usage plan", 429, {"message": "Forbidden: usage plan quota exceeded"}, K.QUOTA_EXHAUSTED),
    Row("403: subscription", 403, _o("Your subscription has expired. Please renew to continue."), K.QUOTA_EXHAUSTED),
    Row("400: shorter", 400, _o("Please shorten your input: 40211 tokens were sent but at most 32768 are accepted."), K.CONTEXT_OVERFLOW),
    Row("400: conversation", 400, _o("The conversation is too long for the model's context window"), K.CONTEXT_OVERFLOW),
    # … and what only sounds like one
    Row("500: the filter itself", 500, _o("content filter service is unavailable"), K.SERVER_ERROR, also=(K.OVERLOADED,)),
    Row("500: a login inside", 500, _o("failed to authenticate with upstream cache"), K.SERVER_ERROR),
    Row("429: advertisement", 429, _o("You are being rate limited. Consider upgrading your plan."), K.RATE_LIMIT),
    Row("429: too fast", 429, _o("Request rate increased too quickly. Please ensure a gradual increase."), K.RATE_LIMIT),
    Row("403: plan of a key", 403, _o("预扣费额度失败, 用户剩余额度: $0.01, 需要预扣费额度: $0.06", "new_api_error", "insufficient_user_quota"), K.QUOTA_EXHAUSTED),
    Row("403: API rate limit", 403, {"message": "API rate limit exceeded for user ID 1."}, K.RATE_LIMIT),
    Row("403: secondary rate limit", 403, {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}, K.RATE_LIMIT),
    Row("403: reason in a list", 403, {"error": {"code": 403, "message": "Slower.", "errors": [{"domain": "usageLimits", "reason": "userRateLimitExceeded"}]}}, K.RATE_LIMIT),
    Row("400: OAuth", 400, {"error": "invalid_grant", "error_description": "Bad Request"}, K.AUTH),
    Row("429: of the month", 429, {"error": {"code": "RESOURCE_EXHAUSTED", "message": "You've reached your write unit limit for the current month. To continue writing data, upgrade your plan."}, "status": 429}, K.QUOTA_EXHAUSTED),
    # what is there already
    Row("file exists", 409, _o("A file with this name already exists.", "conflict_error"), K.INVALID_REQUEST),
)  # fmt: skip

ANTHROPIC = (
    Row("organization disabled", 400, _a(_INVALID, "This organization has been disabled."), K.PERMISSION, also=_REGION),
    Row("credential of another program", 400, _a(_INVALID, "This credential is only authorized for use with Claude Code and cannot be used for other API requests."), K.PERMISSION, also=_REGION),
)  # fmt: skip

GOOGLE = (
    Row("location", 400, {"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}, K.PERMISSION),
    Row("limit of nothing", 429, {"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing details. \n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3.1-pro\nPlease retry in 53.4s.", "status": "RESOURCE_EXHAUSTED"}}, K.QUOTA_EXHAUSTED, 53.4),
    Row("metric by day", 429, {"error": {"code": 429, "message": "Quota exceeded for metric: generativelanguage.googleapis.com/generate_requests_per_model_per_day, limit: 250, model: gemini-2.5-pro.", "status": "RESOURCE_EXHAUSTED"}}, K.QUOTA_EXHAUSTED),
    Row("leaked key", 403, {"error": {"code": 403, "message": "Your API key was reported as leaked. Please use another API key.", "status": "PERMISSION_DENIED"}}, K.AUTH, also=(K.PERMISSION,)),
    Row("cache", 403, {"error": {"code": 403, "message": "CachedContent not found (or permission denied)", "status": "PERMISSION_DENIED"}}, K.NOT_FOUND, also=(K.PERMISSION,)),
    Row("exists", 409, {"error": {"code": 409, "message": "Requested entity exists", "status": "ALREADY_EXISTS"}}, K.INVALID_REQUEST),
    Row("region of a model", 400, {"error": {"code": 400, "message": "Unsupported region for this model", "status": "FAILED_PRECONDITION"}}, K.PERMISSION, also=_REGION),
)  # fmt: skip

# code, status, message, kind, also
BEDROCK: tuple[tuple[str, int, str, K, tuple[K, ...]], ...] = (
    ("ValidationException", 400, "Access to Anthropic models is not allowed from unsupported countries, regions, or territories.", K.PERMISSION, ()),
    ("ValidationException", 400, "The provided model identifier is invalid.", K.NOT_FOUND, (K.INVALID_REQUEST,)),
    ("AccessDeniedException", 403, "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided.", K.QUOTA_EXHAUSTED, (K.PERMISSION,)),
    ("AccessDeniedException", 400, "The ciphertext refers to a customer master key that does not exist", K.PERMISSION, ()),
    ("ThrottlingException", 429, "Your request was denied due to exceeding the account daily token quota", K.QUOTA_EXHAUSTED, ()),
    ("RequestExpired", 400, "Request has expired.", K.AUTH, ()),
    ("ResourceAlreadyExistsException", 409, "It is there.", K.INVALID_REQUEST, ()),
)  # fmt: skip


def _openai(endpoint: Endpoint) -> Iterator[Case]:
    import openai

    chat = openai.OpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0).chat.completions
    yield from answered(
        endpoint, "held out: openai", OPENAI, lambda: chat.create(model="m", messages=ASK) and None
    )


def _anthropic(endpoint: Endpoint) -> Iterator[Case]:
    import anthropic

    claude = anthropic.Anthropic(api_key=KEY, base_url=endpoint.url, max_retries=0).messages

    def ask() -> None:
        claude.create(model="m", max_tokens=9, messages=ASK)

    yield from answered(endpoint, "held out: anthropic", ANTHROPIC, ask)


def _google(endpoint: Endpoint) -> Iterator[Case]:
    from google import genai

    gemini = genai.Client(api_key=KEY, http_options={"base_url": endpoint.url})  # type: ignore[arg-type]

    def ask() -> None:
        gemini.models.generate_content(model="m", contents="hi")

    yield from answered(endpoint, "held out: google", GOOGLE, ask)


def _bedrock(endpoint: Endpoint) -> Iterator[Case]:
    from botocore.exceptions import ClientError

    for code, status, message, kind, also in BEDROCK:
        answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        yield Case(
            "held out: bedrock",
            f"{code} {status}: {message[:40]}",
            lambda answer=answer: ClientError(answer, "Converse"),  # type: ignore[misc]
            kind,
            also=also,
        )


def _like(module: str, name: str, text: str, base: type[Exception] = Exception, **facts: object) -> Exception:
    """An error of the class *name*, as one of *module* would be."""
    error = type(name, (base,), {"__module__": module})(text)
    error.__dict__.update(facts)
    return error


def _closed(reason: str) -> Callable[[], BaseException]:
    return lambda: _like("websockets.exceptions", "ConnectionClosedError", f"{reason}; no close frame sent")


def _proxy(module: str, text: str) -> Callable[[], BaseException]:
    return lambda: _like(module, "ProxyError", text)


def _tried(status: int) -> Callable[[], BaseException]:
    text = f"HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: / (Caused by ResponseError('too many {status} error responses'))"
    return lambda: _like("requests.exceptions", "RetryError", text, OSError)


def _database(name: str, text: str, base: str = "OperationalError") -> Callable[[], BaseException]:
    parent = type(base, (Exception,), {"__module__": "psycopg"})
    return lambda: _like("psycopg.errors", name, text, parent)


def _redis(name: str, text: str) -> Callable[[], BaseException]:
    parent = type("ConnectionError", (Exception,), {"__module__": "redis.exceptions"})
    return lambda: _like("redis.exceptions", name, text, parent)


def _tls(reason: str) -> Callable[[], BaseException]:
    return lambda: ssl.SSLError(1, f"[SSL: {reason}] {reason.lower().replace('_', ' ')} (_ssl.c:1006)")


def _errno(number: int) -> Callable[[], BaseException]:
    return lambda: OSError(number, os.strerror(number))


def _bad_pickle() -> None:
    pickle.loads(b"")  # noqa: S301 - that is what fails


def _nested_loop() -> None:
    async def inner() -> None:
        pass

    async def outer() -> None:
        coroutine = inner()
        try:
            asyncio.run(coroutine)
        finally:
            coroutine.close()

    asyncio.run(outer())


_LITELLM = "litellm.exceptions"
# group, name, what fails, kind, also, may it be tried again (None: what the kind says)
LOCAL: tuple[tuple[str, str, Callable[[], BaseException | None], K, tuple[K, ...], bool | None], ...] = (
    ("proxy", "407 of a tunnel", _proxy("requests.exceptions", "Cannot connect to proxy. OSError('Tunnel connection failed: 407 Proxy Authentication Required')"), K.AUTH, (), False),
    ("proxy", "407 of httpx", _proxy("httpx", "407 Proxy Authentication Required"), K.AUTH, (), False),
    ("websocket", "policy", _closed("received 1008 (policy violation) not for you"), K.PERMISSION, (), False),
    ("websocket", "key", _closed("received 3000 (registered) invalid_request_error.invalid_api_key"), K.AUTH, (), False),
    ("websocket", "quota", _closed("received 1011 (internal error) You exceeded your current quota, please check your plan and billing details."), K.QUOTA_EXHAUSTED, (), False),
    ("websocket", "argument", _closed("received 1007 (invalid frame payload data) Request contains an invalid argument."), K.INVALID_REQUEST, (), False),
    ("websocket", "too big", _closed("received 1009 (message too big)"), K.CONTEXT_OVERFLOW, (), False),
    ("websocket", "server", _closed("received 1011 (internal error) internal error"), K.SERVER_ERROR, (), True),
    ("websocket", "later", _closed("received 1013 (try again later)"), K.OVERLOADED, (), True),
    ("websocket", "keepalive", _closed("sent 1011 (internal error) keepalive ping timeout"), K.NETWORK, (), True),
    ("tried", "503", _tried(503), K.OVERLOADED, (K.NETWORK,), True),
    ("tried", "429", _tried(429), K.RATE_LIMIT, (K.NETWORK,), True),
    ("tried", "500", _tried(500), K.SERVER_ERROR, (K.NETWORK,), True),
    ("tried", "504", _tried(504), K.TIMEOUT, (K.NETWORK,), True),
    ("database", "disk full", _database("DiskFull", "could not extend file"), K.RESOURCE_EXHAUSTED, (), False),
    ("database", "too many connections", _database("TooManyConnections", "too many connections for role"), K.OVERLOADED, (), True),
    ("database", "clients", _database("OperationalError", "connection failed: FATAL:  sorry, too many clients already"), K.OVERLOADED, (K.NETWORK,), True),
    ("database", "deadlock", _database("DeadlockDetected", "deadlock detected"), K.SERVER_ERROR, (), True),
    ("database", "statement timeout", _database("QueryCanceled", "canceling statement due to statement timeout"), K.TIMEOUT, (), True),
    ("database", "privilege", _database("InsufficientPrivilege", "permission denied for table x", "ProgrammingError"), K.PERMISSION, (), False),
    ("database", "wrong SQL", _database("SyntaxErrorOrAccessRule", "x", "ProgrammingError"), K.INVALID_REQUEST, (), False),
    ("database", "constraint of an ORM", lambda: _like("sqlalchemy.exc", "IntegrityError", "(sqlite3.IntegrityError) UNIQUE constraint failed: t.a"), K.INVALID_REQUEST, (), False),
    ("database", "no row", lambda: _like("sqlalchemy.exc", "NoResultFound", "No row was found when one was required"), K.NOT_FOUND, (), False),
    ("database", "sqlite constraint", lambda: sqlite3.IntegrityError("FOREIGN KEY constraint failed"), K.INVALID_REQUEST, (), False),
    ("database", "no such database", _database("OperationalError", 'connection failed: FATAL:  database "app" does not exist'), K.NOT_FOUND, (), False),
    ("database", "no such role", _database("OperationalError", 'connection failed: FATAL:  role "app" does not exist'), K.AUTH, (), False),
    ("database", "starting", _database("OperationalError", "connection failed: FATAL:  the database system is starting up"), K.OVERLOADED, (K.NETWORK,), True),
    ("database", "redis login", _redis("AuthenticationError", "WRONGPASS invalid username-password pair or user is disabled."), K.AUTH, (), False),
    ("database", "redis clients", _redis("MaxClientsError", "max number of clients reached"), K.OVERLOADED, (), True),
    ("database", "redis refused", _redis("ConnectionError", "Error 111 connecting to localhost:6379. Connection refused."), K.NETWORK, (), True),
    ("database", "MySQL went away", lambda: type("OperationalError", (Exception,), {"__module__": "pymysql.err"})(2006, "MySQL server has gone away"), K.NETWORK, (), True),
    ("database", "MySQL deadlock", lambda: type("OperationalError", (Exception,), {"__module__": "pymysql.err"})(1213, "Deadlock found when trying to get lock; try restarting transaction"), K.SERVER_ERROR, (), True),
    ("TLS", "unknown authority", _tls("TLSV1_ALERT_UNKNOWN_CA"), K.NETWORK, (), False),
    ("TLS", "certificate required", _tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), K.NETWORK, (), False),
    ("TLS", "no common ground", _tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), K.NETWORK, (), False),
    ("TLS", "small key", _tls("EE_KEY_TOO_SMALL"), K.NETWORK, (), False),
    ("TLS", "end of file", _tls("UNEXPECTED_EOF_WHILE_READING"), K.NETWORK, (), True),
    ("TLS", "bad record", _tls("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), K.NETWORK, (), True),
    ("machine", "another device", _errno(errno.EXDEV), K.INVALID_REQUEST, (), False),
    ("machine", "too many links", _errno(errno.ELOOP), K.INVALID_REQUEST, (), False),
    ("machine", "busy", _errno(errno.EBUSY), K.RESOURCE_EXHAUSTED, (), False),
    ("machine", "stale", _errno(errno.ESTALE), K.STORAGE_CORRUPTION, (), False),
    ("machine", "no such process", _errno(errno.ESRCH), K.NOT_FOUND, (), False),
    ("machine", "empty pickle", _bad_pickle, K.STORAGE_CORRUPTION, (), False),
    ("program", "loop in a loop", _nested_loop, K.INVALID_REQUEST, (), False),
    ("program", "closed loop", lambda: RuntimeError("Event loop is closed"), K.INVALID_REQUEST, (), False),
    ("program", "closed client", lambda: RuntimeError("Cannot send a request, as the client has been closed."), K.INVALID_REQUEST, (), False),
    ("program", "state of a future", lambda: asyncio.InvalidStateError("Result is not set."), K.INVALID_REQUEST, (), False),
    ("program", "stream read twice", lambda: _like("httpx", "StreamConsumed", "Attempted to read or stream some content, but the content has already been streamed.", RuntimeError), K.INVALID_REQUEST, (), False),
    ("program", "graph update", lambda: _like("langgraph.errors", "InvalidUpdateError", "At key 'x': Can receive only one value per step."), K.INVALID_REQUEST, (), False),
    ("program", "redirection", lambda: _like("httpx", "HTTPStatusError", "Redirect response '301 Moved Permanently'", status_code=301), K.INVALID_REQUEST, (), False),
    ("program", "YAML of a model", lambda: _like("yaml.parser", "ParserError", "expected ']'", type("YAMLError", (Exception,), {"__module__": "yaml.error"})), K.OUTPUT_VALIDATION, (), False),
    ("provider", "litellm lost the connection", lambda: _like(_LITELLM, "APIConnectionError", "litellm.APIConnectionError: OllamaException - [Errno 111] Connection refused", status_code=500), K.NETWORK, (), True),
    ("provider", "litellm budget", lambda: _like(_LITELLM, "BudgetExceededError", "Budget has been exceeded! Current cost: 1.2, Max budget: 1.0"), K.QUOTA_EXHAUSTED, (K.RESOURCE_EXHAUSTED,), False),
    ("provider", "no key of openai", lambda: _like("openai", "OpenAIError", "Missing credentials. Please pass an `api_key`, or set the `OPENAI_API_KEY` environment variable."), K.AUTH, (), False),
    ("provider", "no profile", lambda: _like("botocore.exceptions", "ProfileNotFound", "The config profile (prod) could not be found"), K.AUTH, (), False),
    ("provider", "input of a model server", lambda: _like("huggingface_hub.errors", "ValidationError", "Input validation error: `max_new_tokens` must be strictly positive"), K.INVALID_REQUEST, (), False),
    ("provider", "azure has it already", lambda: _like("azure.core.exceptions", "ResourceExistsError", "exists", status_code=409), K.INVALID_REQUEST, (), False),
    ("provider", "engine is dead", lambda: _like("vllm.engine", "AsyncEngineDeadError", "Background loop has errored already."), K.SERVER_ERROR, (), True),
)  # fmt: skip


def cases() -> Iterator[Case]:
    for group, name, make, kind, also, retryable in LOCAL:
        yield Case(f"held out: {group}", name, make, kind, retryable, also=also)


BUILDERS = (_openai, _anthropic, _google, _bedrock)
