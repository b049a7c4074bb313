"""What the exceptions of the SDKs amount to.

openai and anthropic are the real ones, driven over a transport that answers from a script; the others are
stand-ins with the module, class names and attributes that the real ones were seen to have.
"""

from __future__ import annotations

import json
from types import FunctionType, SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest
from anthropic import _exceptions as anthropic_exceptions
from openai import _exceptions as openai_exceptions

from techrevati.runtime.failures import (
    Failure,
    FailureKind,
    FailureOrigin,
    FailureScenario,
    classify,
    classify_exception,
    provider_failures,
)

K, Origin, S = FailureKind, FailureOrigin, FailureScenario
# httpx2 in the current majors, httpx in the ones before
openai_http = getattr(openai_exceptions, "httpx2", None) or openai_exceptions.httpx
anthropic_http = getattr(anthropic_exceptions, "httpx2", None) or anthropic_exceptions.httpx


def caught(call: Any) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("the call did not fail")


def openai_error(
    status: int,
    body: object,
    headers: dict[str, str] | None = None,
    *,
    url: str = "https://api.openai.com/v1",
    stream: bool = False,
) -> Exception:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(request: Any) -> Any:
        kind = {"content-type": "text/event-stream" if stream else "application/json"}
        return openai_http.Response(status, headers={**kind, **(headers or {})}, content=content)

    client = openai.OpenAI(
        api_key="sk-not-a-real-key-000000",
        base_url=url,
        max_retries=0,
        http_client=openai_http.Client(transport=openai_http.MockTransport(answer)),
    )

    def call() -> None:
        answered = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=stream
        )
        if stream:
            list(answered)

    return caught(call)


def anthropic_error(
    status: int, body: object, headers: dict[str, str] | None = None, *, stream: bool = False
) -> Exception:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(request: Any) -> Any:
        kind = {"content-type": "text/event-stream" if stream else "application/json"}
        return anthropic_http.Response(status, headers={**kind, **(headers or {})}, content=content)

    client = anthropic.Anthropic(
        api_key="sk-ant-not-a-real-key-000000",
        max_retries=0,
        http_client=anthropic_http.Client(transport=anthropic_http.MockTransport(answer)),
    )

    def call() -> None:
        answered: Any = client.messages.create(
            model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}], stream=stream
        )
        if stream:
            list(answered)

    return caught(call)


def openai_body(code: str | None, message: str = "no", kind: str = "invalid_request_error") -> object:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_body(kind: str, message: str = "no", **more: object) -> object:
    return {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_body"}


# --- openai -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, openai_body("insufficient_quota", "You exceeded your current quota"), K.QUOTA_EXHAUSTED),
        (429, openai_body("billing_hard_limit_reached"), K.QUOTA_EXHAUSTED),
        (
            429,
            openai_body("rate_limit_exceeded", "Rate limit reached for gpt on tokens per min (TPM)"),
            K.RATE_LIMIT,
        ),
        (
            429,
            openai_body("rate_limit_exceeded", "Request too large for gpt on tokens per min"),
            K.CONTEXT_OVERFLOW,
        ),
        (429, {}, K.RATE_LIMIT),
        (400, openai_body("context_length_exceeded"), K.CONTEXT_OVERFLOW),
        (400, openai_body(None, "This model's maximum context length is 8192 tokens."), K.CONTEXT_OVERFLOW),
        (400, openai_body(None, "Your input exceeds the context window of this model."), K.CONTEXT_OVERFLOW),
        (400, openai_body("content_filter", "The response was filtered"), K.CONTENT_POLICY),
        (400, openai_body("content_policy_violation"), K.CONTENT_POLICY),
        (400, openai_body("unknown_parameter", "Unknown parameter: 'timeout'."), K.INVALID_REQUEST),
        (400, openai_body(None, "timeout must be positive"), K.INVALID_REQUEST),
        (400, openai_body(None, "Invalid value 429 for 'n'"), K.INVALID_REQUEST),
        (401, openai_body("invalid_api_key"), K.AUTH),
        (402, {}, K.QUOTA_EXHAUSTED),
        (403, openai_body("unsupported_country_region_territory"), K.PERMISSION),
        (403, {}, K.PERMISSION),
        (404, openai_body("model_not_found"), K.NOT_FOUND),
        (408, {}, K.TIMEOUT),
        (413, {}, K.CONTEXT_OVERFLOW),
        (422, {}, K.INVALID_REQUEST),
        (500, {}, K.SERVER_ERROR),
        (502, b"<html>bad gateway</html>", K.SERVER_ERROR),
        (503, {}, K.OVERLOADED),
        (504, {}, K.TIMEOUT),
        (418, {}, K.INVALID_REQUEST),
        (599, {}, K.SERVER_ERROR),
    ],
)
def test_openai_statuses_and_codes(status: int, body: object, kind: FailureKind) -> None:
    """A code outranks the words, the words outrank the status."""
    failure = classify(openai_error(status, body))
    assert (failure.kind, failure.status_code, failure.provider) == (kind, status, "openai")


def test_openai_quota_is_not_a_rate_limit_although_its_class_says_so() -> None:
    error = openai_error(
        429, openai_body("insufficient_quota"), {"x-request-id": "req_1", "retry-after": "3"}
    )
    assert isinstance(error, openai.RateLimitError)
    failure = classify(error)
    assert (failure.kind, failure.retryable, failure.code) == (K.QUOTA_EXHAUSTED, False, "insufficient_quota")
    assert (failure.request_id, failure.retry_after) == ("req_1", 3.0)


def test_azure_content_filter_keeps_the_inner_code() -> None:
    body = openai_body("content_filter")
    body["error"]["innererror"] = {"code": "ResponsibleAIPolicyViolation"}  # type: ignore[index]
    failure = classify(openai_error(400, body, url="https://x.openai.azure.com/openai/v1"))
    assert (failure.kind, failure.provider) == (K.CONTENT_POLICY, "azure")
    assert failure.code == "ResponsibleAIPolicyViolation"


def test_xai_exhausted_credits_stand_outside_of_what_openai_calls_the_body() -> None:
    body = {
        "code": "The caller does not have permission",
        "error": "Your team has used all available credits",
    }
    failure = classify(openai_error(403, body, url="https://api.x.ai/v1"))
    assert (failure.kind, failure.provider) == (K.QUOTA_EXHAUSTED, "xai")


def test_openrouter_key_limit_is_quota() -> None:
    body = {"error": {"message": "Key limit exceeded (total limit)", "code": 403}}
    failure = classify(openai_error(403, body, url="https://openrouter.ai/api/v1"))
    assert (failure.kind, failure.provider) == (K.QUOTA_EXHAUSTED, "openrouter")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"message": "The server had an error", "type": "server_error", "code": None}, K.SERVER_ERROR),
        ({"message": "no", "type": None, "code": None}, K.SERVER_ERROR),
        ({"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"}, K.RATE_LIMIT),
        ({"message": "overloaded", "type": "server_is_overloaded", "code": None}, K.OVERLOADED),
        ({"message": "no", "type": "x", "code": "insufficient_quota"}, K.QUOTA_EXHAUSTED),
        ({"message": "Provider returned error", "code": 502}, K.SERVER_ERROR),
    ],
)
def test_openai_errors_inside_a_stream_have_no_status(event: object, kind: FailureKind) -> None:
    error = openai_error(200, b"data: " + json.dumps({"error": event}).encode() + b"\n\n", stream=True)
    assert type(error) is openai.APIError
    assert classify(error).kind is kind


@pytest.mark.parametrize("body", [b"", b'{"id": '])
def test_an_empty_or_cut_answer_is_the_servers_error(body: bytes) -> None:
    """The SDK raises a bare JSONDecodeError; its frames tell that it was reading an answer."""
    for error in (openai_error(200, body), anthropic_error(200, body)):
        assert isinstance(error, json.JSONDecodeError)
        failure = classify(error)
        assert (failure.kind, failure.retryable, failure.origin) == (K.SERVER_ERROR, True, Origin.PROVIDER)
        assert failure.scenario is S.MEMORY_CORRUPTION
        assert provider_failures(error)


def test_bad_json_that_the_model_wrote_is_output_validation() -> None:
    """The same class raised by code of ours is about the output, not about the provider's health."""
    error = caught(lambda: json.loads('{"answer": '))
    failure = classify(error)
    assert (failure.kind, failure.retryable, failure.scenario) == (
        K.OUTPUT_VALIDATION,
        False,
        S.MEMORY_CORRUPTION,
    )
    assert not provider_failures(error)


def test_bad_json_inside_a_tool_that_an_sdk_called_is_not_the_providers() -> None:
    """The frame that called the parser decides, not every frame above it."""
    run = in_module("openai.runner", lambda tool: tool())
    assert classify(caught(lambda: run(lambda: json.loads("{")))).kind is K.OUTPUT_VALIDATION
    read = in_module("openai.runner", lambda: json.loads("{"))
    assert classify(caught(read)).kind is K.SERVER_ERROR
    written_by_the_model = in_module("openai.lib.parsing", lambda: json.loads("{"))
    assert classify(caught(written_by_the_model)).kind is K.OUTPUT_VALIDATION


def in_module(name: str, function: Any) -> Any:
    """*function* as if it stood in the module *name*."""
    return FunctionType(function.__code__, {"__name__": name, "json": json})


def test_openai_connection_errors_and_timeouts() -> None:
    def error_for(problem: Exception) -> Exception:
        def answer(request: Any) -> Any:
            raise problem

        client = openai.OpenAI(
            api_key="x",
            max_retries=0,
            http_client=openai_http.Client(transport=openai_http.MockTransport(answer)),
        )
        return caught(client.models.list)

    network = classify(error_for(openai_http.ConnectError("refused")))
    assert (network.kind, network.origin, network.provider) == (K.NETWORK, Origin.NETWORK, "openai")
    timeout = classify(error_for(openai_http.ReadTimeout("slow")))
    assert (timeout.kind, timeout.scenario) == (K.TIMEOUT, S.LLM_TIMEOUT)
    # The SDK wraps whatever a transport or hook raises; the cause says whose trouble it is.
    bug = classify(error_for(TypeError("hook() takes 1 argument")))
    assert (bug.kind, bug.origin, bug.retryable) == (K.INVALID_REQUEST, Origin.CALLER, False)
    wrong_url = classify(error_for(openai_http.UnsupportedProtocol("no scheme")))
    assert (wrong_url.kind, wrong_url.retryable) == (K.INVALID_REQUEST, False)


@pytest.mark.parametrize(("word", "retryable"), [("true", True), ("false", False), ("maybe", None)])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_the_servers_word_on_retrying_overrides_the_kind(
    status: int, word: str, retryable: bool | None
) -> None:
    failure = classify(openai_error(status, {}, {"x-should-retry": word}))
    assert failure.retryable is ((status != 400) if retryable is None else retryable)


def test_openai_without_a_key_is_the_callers() -> None:
    error = openai.OpenAIError("The api_key client option must be set")
    assert (classify(error).kind, provider_failures(error)) == (K.AUTH, False)


def test_finish_reasons_of_openai() -> None:
    length = openai.LengthFinishReasonError(completion=SimpleNamespace(usage=None))  # type: ignore[arg-type]
    assert classify(length).kind is K.OUTPUT_VALIDATION
    assert classify(openai.ContentFilterFinishReasonError()).kind is K.CONTENT_POLICY


# --- anthropic --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (529, anthropic_body("overloaded_error", "Overloaded"), K.OVERLOADED),
        (500, anthropic_body("api_error"), K.SERVER_ERROR),
        (504, anthropic_body("timeout_error"), K.TIMEOUT),
        (429, anthropic_body("rate_limit_error", "This request would exceed your rate limit"), K.RATE_LIMIT),
        (
            429,
            anthropic_body("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
            K.QUOTA_EXHAUSTED,
        ),
        (
            429,
            anthropic_body("rate_limit_error", details={"error_code": "ramp_limit_exceeded"}),
            K.RATE_LIMIT,
        ),
        (400, anthropic_body("invalid_request_error", "Your credit balance is too low"), K.QUOTA_EXHAUSTED),
        (
            400,
            anthropic_body("invalid_request_error", "You have reached your specified API usage limits."),
            K.QUOTA_EXHAUSTED,
        ),
        (
            400,
            anthropic_body("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            K.CONTEXT_OVERFLOW,
        ),
        (
            400,
            anthropic_body("invalid_request_error", "Output blocked by content filtering policy"),
            K.CONTENT_POLICY,
        ),
        (400, anthropic_body("invalid_request_error", "max_tokens: field required"), K.INVALID_REQUEST),
        (401, anthropic_body("authentication_error", "invalid x-api-key"), K.AUTH),
        (402, anthropic_body("billing_error"), K.QUOTA_EXHAUSTED),
        (403, anthropic_body("permission_error"), K.PERMISSION),
        (404, anthropic_body("not_found_error"), K.NOT_FOUND),
        (413, anthropic_body("request_too_large"), K.CONTEXT_OVERFLOW),
    ],
)
def test_anthropic_statuses_and_types(status: int, body: object, kind: FailureKind) -> None:
    failure = classify(anthropic_error(status, body, {"request-id": "req_1"}))
    assert (failure.kind, failure.status_code, failure.provider) == (kind, status, "anthropic")
    assert failure.request_id is not None


@pytest.mark.parametrize(
    ("kind_on_the_wire", "kind"),
    [("overloaded_error", K.OVERLOADED), ("api_error", K.SERVER_ERROR), ("rate_limit_error", K.RATE_LIMIT)],
)
def test_anthropic_errors_inside_a_stream_have_status_200(kind_on_the_wire: str, kind: FailureKind) -> None:
    event = f"event: error\ndata: {json.dumps(anthropic_body(kind_on_the_wire))}\n\n".encode()
    error = anthropic_error(200, event, stream=True)
    assert error.status_code == 200  # type: ignore[attr-defined]
    failure = classify(error)
    assert (failure.kind, failure.retryable, failure.code) == (kind, True, kind_on_the_wire)


def test_an_anthropic_class_about_tools_is_no_tool_that_failed() -> None:
    error = anthropic_error(400, anthropic_body("invalid_request_error", "tool names must be unique"))
    kind = class_named("anthropic.types.ToolNameConflictError", anthropic.BadRequestError)
    conflict = kind("no", response=error.response, body=error.body)  # type: ignore[attr-defined]
    assert classify(conflict).kind is K.INVALID_REQUEST


# --- stand-ins ----------------------------------------------------------------------------------------------


def class_named(qualified: str, *bases: type, **members: object) -> type[Any]:
    """A class whose module and name are those of the real one."""
    module, _, name = qualified.rpartition(".")
    return type(name, bases or (Exception,), {"__module__": module, **members})


def error_named(qualified: str, *args: object, bases: tuple[type, ...] = (), **attributes: object) -> Any:
    error = class_named(qualified, *bases)(*args)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def google(status: int, name: str, message: str = "no", *details: object) -> Any:
    body = {"error": {"code": status, "message": message, "status": name, "details": list(details)}}
    base = class_named("google.genai.errors.APIError")
    return error_named(
        "google.genai.errors.ClientError",
        f"{status} {name}. {body}",
        bases=(base,),
        code=status,
        status=name,
        message=message,
        details=body,
        response=SimpleNamespace(headers={}),
    )


def quota(name: str) -> object:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}


def test_google_minute_limits_and_daily_quotas_differ_by_the_quota_id_alone() -> None:
    said = "You exceeded your current quota, please check your plan and billing details."
    minute = google(
        429, "RESOURCE_EXHAUSTED", said, quota("GenerateRequestsPerMinutePerProject-FreeTier"), RETRY_INFO
    )
    day = google(
        429, "RESOURCE_EXHAUSTED", said, quota("GenerateRequestsPerDayPerProject-FreeTier"), RETRY_INFO
    )
    first, second = classify(minute), classify(day)
    assert (first.kind, first.retryable, first.retry_after) == (K.RATE_LIMIT, True, 34.0)
    assert (second.kind, second.retryable) == (K.QUOTA_EXHAUSTED, False)
    assert (first.code, second.code, first.provider) == ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "google")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (google(400, "INVALID_ARGUMENT", "bad", {"reason": "API_KEY_INVALID"}), K.AUTH),
        (google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), K.AUTH),
        (
            google(
                400,
                "INVALID_ARGUMENT",
                "The input token count (2) exceeds the maximum number of tokens allowed (1).",
            ),
            K.CONTEXT_OVERFLOW,
        ),
        (google(400, "INVALID_ARGUMENT", "temperature must be below 2"), K.INVALID_REQUEST),
        (google(400, "FAILED_PRECONDITION", "Please enable billing on your project"), K.QUOTA_EXHAUSTED),
        (google(403, "PERMISSION_DENIED"), K.PERMISSION),
        (google(404, "NOT_FOUND"), K.NOT_FOUND),
        (google(429, "RESOURCE_EXHAUSTED"), K.RATE_LIMIT),
        (google(500, "INTERNAL"), K.SERVER_ERROR),
        (google(503, "UNAVAILABLE", "The model is overloaded."), K.OVERLOADED),
        (google(504, "DEADLINE_EXCEEDED"), K.TIMEOUT),
    ],
)
def test_google_genai(error: Exception, kind: FailureKind) -> None:
    assert classify(error).kind is kind


def mistral(status: int, body: str, headers: object = None) -> Any:
    base = class_named("mistralai.client.errors.mistralerror.MistralError")
    return error_named(
        "mistralai.client.errors.sdkerror.SDKError",
        bases=(base,),
        message=f"API error occurred: Status {status}. Body: {body}",
        status_code=status,
        body=body,
        headers=headers or {},
        raw_response=SimpleNamespace(status_code=status),
    )


def test_mistral_keeps_its_code_inside_of_a_json_text() -> None:
    body = '{"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"}'
    failure = classify(mistral(429, body, {"Retry-After": "2"}))
    assert (failure.kind, failure.code, failure.retry_after) == (K.RATE_LIMIT, "rate_limited", 2.0)
    too_long = (
        '{"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"}'
    )
    assert classify(mistral(400, too_long)).kind is K.CONTEXT_OVERFLOW
    assert classify(mistral(422, '{"detail": [{"msg": "field required"}]}')).kind is K.INVALID_REQUEST
    cut = class_named("mistralai.client.errors.responsevalidationerror.ResponseValidationError")
    error = cut("Response validation failed")
    error.status_code, error.body = 200, '{"id":'
    assert classify(error).kind is K.SERVER_ERROR


def test_cohere() -> None:
    base = class_named("cohere.core.api_error.ApiError")

    def error(name: str, status: int, body: object, **headers: str) -> Any:
        return error_named(
            f"cohere.errors.{name}", bases=(base,), status_code=status, body=body, headers=headers
        )

    limited = classify(error("TooManyRequestsError", 429, {"message": "trial"}, **{"retry-after": "0"}))
    assert (limited.kind, limited.retry_after, limited.provider) == (K.RATE_LIMIT, 0.0, "cohere")
    too_long = error(
        "BadRequestError", 400, {"message": "too many tokens: total number of tokens in the prompt"}
    )
    assert classify(too_long).kind is K.CONTEXT_OVERFLOW
    assert classify(error("InvalidTokenError", 498, {"message": "bad token"})).kind is K.AUTH
    assert classify(error("ApiError", 200, '{"id":')).kind is K.SERVER_ERROR


def test_groq_says_rate_limit_when_the_request_is_too_large() -> None:
    def error(status: int, code: str | None) -> Any:
        body = {"error": {"message": "no", "type": "tokens", "code": code}}
        return error_named(
            "groq.APIStatusError", f"Error code: {status} - {body}", status_code=status, body=body
        )

    large = classify(error(413, "rate_limit_exceeded"))
    assert (large.kind, large.retryable, large.scenario) == (K.CONTEXT_OVERFLOW, False, S.CONTEXT_OVERFLOW)
    assert classify(error(429, "rate_limit_exceeded")).kind is K.RATE_LIMIT
    assert classify(error(498, None)).kind is K.OVERLOADED


def botocore(code: str, status: int | None, message: str = "no", name: str = "ClientError") -> Any:
    response: dict[str, Any] = {"Error": {"Code": code, "Message": message}}
    if status is not None:
        response["ResponseMetadata"] = {
            "HTTPStatusCode": status,
            "RequestId": "aws-1",
            "HTTPHeaders": {"retry-after": "5"},
        }
    said = (
        f"An error occurred ({code}) when calling the Converse operation (reached max retries: 0): {message}"
    )
    return error_named(f"botocore.exceptions.{name}", said, response=response, operation_name="Converse")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            botocore("ThrottlingException", 429, "Too many tokens, please wait before trying again."),
            K.RATE_LIMIT,
        ),
        (botocore("throttlingException", None, "Too many tokens", "EventStreamError"), K.RATE_LIMIT),
        (botocore("modelStreamErrorException", None, name="EventStreamError"), K.SERVER_ERROR),
        (botocore("internalServerException", None, name="EventStreamError"), K.SERVER_ERROR),
        (botocore("ModelNotReadyException", 429), K.OVERLOADED),
        (botocore("ModelTimeoutException", 408), K.TIMEOUT),
        (botocore("ModelErrorException", 424), K.SERVER_ERROR),
        (botocore("ServiceUnavailableException", 503), K.OVERLOADED),
        (botocore("ServiceQuotaExceededException", 400), K.QUOTA_EXHAUSTED),
        (botocore("AccessDeniedException", 403), K.PERMISSION),
        (botocore("ExpiredTokenException", 403), K.AUTH),
        (botocore("UnrecognizedClientException", 403), K.AUTH),
        (botocore("ResourceNotFoundException", 404), K.NOT_FOUND),
        (botocore("ValidationException", 400, "Input is too long for requested model."), K.CONTEXT_OVERFLOW),
        (botocore("ValidationException", 400, "Malformed input"), K.INVALID_REQUEST),
        (botocore("503", 503, "oops"), K.OVERLOADED),
        (error_named("botocore.exceptions.HTTPClientError", "no", response=None), K.NETWORK),
        (error_named("botocore.exceptions.EndpointConnectionError", "no"), K.NETWORK),
        (error_named("botocore.exceptions.ReadTimeoutError", "no"), K.TIMEOUT),
        (error_named("botocore.exceptions.NoCredentialsError", "no"), K.AUTH),
        (error_named("botocore.exceptions.ParamValidationError", "no"), K.INVALID_REQUEST),
    ],
)
def test_botocore(error: Exception, kind: FailureKind) -> None:
    failure = classify(error)
    assert (failure.kind, failure.provider) == (kind, "aws")


def test_botocore_metadata_is_read() -> None:
    failure = classify(botocore("ThrottlingException", 429))
    assert (failure.status_code, failure.request_id, failure.retry_after) == (429, "aws-1", 5.0)
    assert failure.code == "ThrottlingException"


def test_azure_core() -> None:
    def error(status: int, code: str, message: str, inner: object = None) -> Any:
        return error_named(
            "azure.core.exceptions.HttpResponseError",
            f"({code}) {message}",
            status_code=status,
            error=SimpleNamespace(code=code, message=message, innererror=inner),
            response=SimpleNamespace(status_code=status, headers={"x-ms-request-id": "az-1"}),
        )

    limited = classify(error(429, "429", "Rate limit is exceeded. Try again in 26 seconds."))
    assert (limited.kind, limited.retry_after, limited.request_id) == (K.RATE_LIMIT, 26.0, "az-1")
    assert classify(error(403, "403", "Out of call volume quota.")).kind is K.QUOTA_EXHAUSTED
    filtered = classify(error(400, "content_filter", "no", {"code": "ResponsibleAIPolicyViolation"}))
    assert filtered.kind is K.CONTENT_POLICY
    assert classify(error_named("azure.core.exceptions.ServiceRequestError", "no")).kind is K.NETWORK
    assert classify(error_named("azure.core.exceptions.ServiceResponseTimeoutError", "no")).kind is K.TIMEOUT


def in_context(error: BaseException, context: BaseException) -> BaseException:
    error.__context__ = context
    return error


def litellm(name: str, status: int, message: str, **attributes: object) -> Any:
    base = {429: openai.RateLimitError, 400: openai.BadRequestError}.get(status, openai.APIStatusError)
    kind = class_named(
        f"litellm.exceptions.{name}", base, __init__=lambda self, text: Exception.__init__(self, text)
    )
    error = kind(message)
    error.__dict__.update(
        status_code=status, body=None, code=None, type=None, llm_provider="openai", message=message
    )
    error.response = SimpleNamespace(headers={}, status_code=status)
    error.__dict__.update(attributes)
    return error


def test_litellm_hides_headers_and_the_original() -> None:
    original = openai_error(429, openai_body("insufficient_quota"), {"x-request-id": "req_9"})
    wrapped = litellm(
        "RateLimitError", 429, "litellm.RateLimitError: OpenAIException - no", type="throttling_error"
    )
    failure = classify(in_context(wrapped, original))
    assert (failure.kind, failure.code, failure.provider) == (
        K.QUOTA_EXHAUSTED,
        "insufficient_quota",
        "openai",
    )
    assert failure.request_id == "req_9"
    headed = litellm("RateLimitError", 429, "no", litellm_response_headers={"retry-after": "9"})
    assert classify(headed).retry_after == 9.0
    assert classify(litellm("ContextWindowExceededError", 400, "no")).kind is K.CONTEXT_OVERFLOW
    assert classify(litellm("ContentPolicyViolationError", 400, "no")).kind is K.CONTENT_POLICY
    assert classify(litellm("Timeout", 408, "no")).kind is K.TIMEOUT


def test_litellm_gemini_carries_the_json_in_its_text() -> None:
    body = json.dumps(
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota",
                "status": "RESOURCE_EXHAUSTED",
                "details": [quota("GenerateRequestsPerMinutePerProject-FreeTier"), RETRY_INFO],
            }
        }
    )
    failure = classify(litellm("RateLimitError", 429, f"litellm.RateLimitError: GeminiException - {body}"))
    assert (failure.kind, failure.retry_after) == (K.RATE_LIMIT, 34.0)


def test_langchain_inherits_the_class_of_the_sdk() -> None:
    model_error = class_named("langchain_core.exceptions.ModelRateLimitError", Exception, is_retryable=True)
    original = openai_error(429, openai_body("insufficient_quota"))
    kind = class_named(
        "langchain_openai.chat_models.base.OpenAIRateLimitError", openai.RateLimitError, model_error
    )
    error = kind("no", response=original.response, body=original.body)  # type: ignore[attr-defined]
    failure = classify(error)
    assert (failure.kind, failure.provider) == (K.QUOTA_EXHAUSTED, "openai")
    overflow = class_named("langchain_core.exceptions.ContextOverflowError")
    kind = class_named(
        "langchain_openai.chat_models.base.OpenAIContextOverflowError", openai.BadRequestError, overflow
    )
    bad = openai_error(400, {})
    assert classify(kind("no", response=bad.response, body=None)).kind is K.CONTEXT_OVERFLOW  # type: ignore[attr-defined]
    parser = error_named(
        "langchain_core.exceptions.OutputParserException", "Invalid json output", bases=(ValueError,)
    )
    assert classify(parser).kind is K.OUTPUT_VALIDATION


@pytest.mark.parametrize("wrapped", [dict, str])
def test_openrouter_error_in_a_200_arrives_as_a_value_error(wrapped: Any) -> None:
    """langchain raises ValueError(response_dict.get("error")), whole or as text."""
    failure = classify(ValueError(wrapped({"message": "Provider returned error", "code": 502})))
    assert (failure.kind, failure.status_code, failure.retryable) == (K.SERVER_ERROR, 502, True)


def test_pydantic_ai() -> None:
    base = class_named("pydantic_ai.exceptions.ModelAPIError", RuntimeError)
    http = class_named("pydantic_ai.exceptions.ModelHTTPError", base)

    def error(name: str, status: int, **attributes: object) -> Any:
        kind = class_named(f"pydantic_ai.exceptions.{name}", base)
        both = class_named(f"pydantic_ai.exceptions._{name}HTTP", kind, http)
        built = both(f"status_code: {status}, model_name: m, body: None")
        for attribute, value in {"status_code": status, "body": None, "headers": None, **attributes}.items():
            setattr(built, attribute, value)
        return built

    limited = error("ModelRateLimitError", 429, retry_after=1.5, provider_error_code="rate_limit_exceeded")
    limited.__cause__ = openai_error(429, openai_body("rate_limit_exceeded"), {"x-request-id": "r1"})
    failure = classify(limited)
    assert (failure.kind, failure.retry_after, failure.code) == (K.RATE_LIMIT, 1.5, "rate_limit_exceeded")
    assert (failure.provider, failure.request_id) == ("openai", "r1")
    assert classify(error("ModelQuotaExceededError", 429)).kind is K.QUOTA_EXHAUSTED
    assert classify(error("ModelContextWindowExceededError", 400)).kind is K.CONTEXT_OVERFLOW
    assert classify(error("ModelHTTPError", 503)).kind is K.OVERLOADED
    plain = error("ModelHTTPError", 429)
    plain.__cause__ = openai_error(429, openai_body("insufficient_quota"))
    assert classify(plain).kind is K.QUOTA_EXHAUSTED
    exceeded = error_named("pydantic_ai.exceptions.UsageLimitExceeded", "limit", bases=(RuntimeError,))
    assert (classify(exceeded).kind, provider_failures(exceeded)) == (K.RESOURCE_EXHAUSTED, False)


def test_openai_agents() -> None:
    assert classify(error_named("agents.exceptions.MaxTurnsExceeded", "x")).kind is K.RESOURCE_EXHAUSTED
    assert classify(error_named("agents.exceptions.ModelBehaviorError", "x")).kind is K.OUTPUT_VALIDATION
    assert classify(error_named("agents.exceptions.ModelTimeoutError", "x")).kind is K.TIMEOUT
    tripped = error_named("agents.exceptions.InputGuardrailTripwireTriggered", "x")
    assert classify(tripped).kind is K.CONTENT_POLICY
    tool = error_named("agents.exceptions.ToolTimeoutError", "x")
    assert (classify(tool).origin, provider_failures(tool)) == (Origin.TOOL, False)


@pytest.mark.parametrize("package", ["httpx", "httpx2", "httpcore", "httpcore2"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ReadTimeout", K.TIMEOUT),
        ("ConnectTimeout", K.TIMEOUT),
        ("PoolTimeout", K.TIMEOUT),
        ("ConnectError", K.NETWORK),
        ("ReadError", K.NETWORK),
        ("RemoteProtocolError", K.NETWORK),
        ("ProxyError", K.NETWORK),
        ("LocalProtocolError", K.INVALID_REQUEST),
        ("UnsupportedProtocol", K.INVALID_REQUEST),
    ],
)
def test_transports_by_name_whatever_the_package(package: str, name: str, kind: FailureKind) -> None:
    assert classify(error_named(f"{package}.{name}", "x")).kind is kind


class HeadersOfHttpx:
    """Case-insensitive headers with ``raw``, like httpx has them."""

    def __init__(self, **headers: str) -> None:
        self.raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


@pytest.mark.parametrize(
    "name", ["httpx.HTTPStatusError", "httpx2.HTTPStatusError", "requests.exceptions.HTTPError"]
)
def test_status_errors_of_transports_read_the_body_that_is_there(name: str) -> None:
    def error(status: int, content: object, **headers: str) -> Any:
        response = SimpleNamespace(status_code=status, headers=HeadersOfHttpx(**headers), _content=content)
        request = SimpleNamespace(url="https://api.anthropic.com/v1/messages")
        return error_named(name, "no", response=response, request=request)

    failure = classify(error(503, b"", Retry_After="7", Request_Id="req_2"))
    assert (failure.kind, failure.retry_after, failure.request_id) == (K.OVERLOADED, 7.0, "req_2")
    assert failure.provider == "anthropic"
    quota_error = error(429, json.dumps(openai_body("insufficient_quota")).encode())
    assert classify(quota_error).kind is K.QUOTA_EXHAUSTED
    assert classify(error(429, False)).kind is K.RATE_LIMIT  # requests: not read yet


def test_a_response_is_never_read_from_the_network() -> None:
    class Response:
        status_code = 429
        headers: dict[str, str] = {}  # noqa: RUF012
        reads = 0

        @property
        def content(self) -> bytes:
            Response.reads += 1
            return b'{"error": {"code": "insufficient_quota"}}'

        text = content

    assert (
        classify(error_named("requests.exceptions.HTTPError", "no", response=Response())).kind is K.RATE_LIMIT
    )
    assert Response.reads == 0


def test_requests() -> None:
    base = class_named("requests.exceptions.RequestException", OSError)
    connection = class_named("requests.exceptions.ConnectionError", base)
    assert not issubclass(connection, ConnectionError)
    assert classify(connection("refused")).kind is K.NETWORK
    assert classify(class_named("requests.exceptions.ReadTimeout", base)("slow")).kind is K.TIMEOUT
    assert classify(class_named("requests.exceptions.ConnectTimeout", connection)("slow")).kind is K.TIMEOUT
    assert (
        classify(class_named("requests.exceptions.MissingSchema", base, ValueError)("x")).kind
        is K.INVALID_REQUEST
    )
    decode = class_named("requests.exceptions.JSONDecodeError", base, json.JSONDecodeError)
    failure = classify(decode("Expecting value", "", 0))
    assert (failure.kind, failure.scenario) == (K.SERVER_ERROR, S.MEMORY_CORRUPTION)


def test_aiohttp() -> None:
    base = class_named("aiohttp.client_exceptions.ClientError")

    asked: list[object] = []

    def deprecated(self: object) -> int:
        asked.append(self)  # the real one warns
        return 503

    answered = class_named("aiohttp.client_exceptions.ClientResponseError", base, code=property(deprecated))
    error = answered("x")
    error.status, error.headers, error.message = 503, {"Retry-After": "7"}, "Service Unavailable"
    failure = classify(error)
    assert (failure.kind, failure.status_code, failure.retry_after) == (K.OVERLOADED, 503, 7.0)
    assert not asked
    connection = class_named("aiohttp.client_exceptions.ClientConnectionError", base)
    timeout = class_named("aiohttp.client_exceptions.SocketTimeoutError", connection, TimeoutError)
    assert classify(timeout("Timeout on reading data")).kind is K.TIMEOUT
    payload = class_named("aiohttp.client_exceptions.ClientPayloadError", base)
    said = "Response payload is not completed: <TransferEncodingError: 400, message='Not enough data'>"
    assert (classify(payload(said)).kind, classify(payload(said)).status_code) == (K.NETWORK, None)
    # A broken answer arrives as a status 400 that nobody sent, raised from what broke.
    broken = answered("x")
    broken.status = 400
    broken.__cause__ = error_named(
        "aiohttp.http_exceptions.TransferEncodingError",
        "400, message='x'",
        bases=(class_named("aiohttp.http_exceptions.HttpProcessingError"),),
        code=400,
    )
    assert classify(broken).kind is K.NETWORK


def test_urllib_real() -> None:
    from email.message import Message
    from io import BytesIO
    from urllib.error import HTTPError, URLError

    headers = Message()
    headers["Retry-After"] = "11"
    with HTTPError("http://h/", 503, "Service Unavailable", headers, BytesIO(b"")) as error:
        failure = classify(error)
    assert (failure.kind, failure.status_code, failure.retry_after) == (K.OVERLOADED, 503, 11.0)
    assert classify(URLError(ConnectionRefusedError(111, "refused"))).kind is K.NETWORK


def test_grpc_codes_are_methods() -> None:
    error = error_named("grpc.aio._call.AioRpcError", "x")
    error.code = lambda: SimpleNamespace(name="UNAVAILABLE")
    assert classify(error).kind is K.OVERLOADED
    error.code = lambda: SimpleNamespace(name="UNAUTHENTICATED")
    assert classify(error).kind is K.AUTH


def test_what_the_scenarios_of_the_sdks_are() -> None:
    """The outcomes of 0.1 hold for real exceptions as they do for texts."""
    expected = {401: S.PROVIDER_FAILURE, 429: S.LLM_ERROR, 500: S.LLM_ERROR, 502: S.PROVIDER_FAILURE}
    expected |= {503: S.PROVIDER_FAILURE, 400: S.LLM_ERROR, 504: S.LLM_TIMEOUT}
    assert {status: classify_exception(openai_error(status, {})) for status in expected} == expected


def test_a_real_failure_survives_pickling_and_hides_the_key() -> None:
    import pickle

    error = openai_error(
        401, openai_body("invalid_api_key", "Incorrect API key provided: sk-abcdefghijklmnop1234")
    )
    failure = classify(error)
    copied = pickle.loads(pickle.dumps(failure))  # noqa: S301
    assert isinstance(copied, Failure)
    assert copied == failure
    for text in (repr(failure), str(failure.to_dict()), failure.message, repr(pickle.dumps(failure))):
        assert "sk-abcdefghijklmnop1234" not in text


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Gemini 2.5 Pro Preview doesn't have a free quota tier.", FailureKind.QUOTA_EXHAUSTED),
        ("Resource has been exhausted (e.g. check quota).", FailureKind.RATE_LIMIT),
    ],
)
def test_a_list_of_errors_as_google_sends_it_to_openais_client(message: str, kind: FailureKind) -> None:
    said = {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}}
    failure = classify(openai_error(429, [said]))
    assert (failure.kind, failure.retryable) == (kind, kind is FailureKind.RATE_LIMIT)
