"""What well-known services and machines say, written and labelled before ``classify`` saw any of it.

Some come as an SDK leaves them, with facts; most as a program's own error that quotes the words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import Case, raised


class _What(NamedTuple):
    name: str
    make: Callable[[], BaseException]
    kind: K
    also: tuple[K, ...] = ()
    retryable: bool | None = None
    wait_s: float | None = None


def _of(name: str, text: str, base: type[Exception] = Exception, **facts: object) -> Exception:
    """An error of a class of the program's own."""
    error = type(name, (base,), {"__module__": "service"})(text)
    error.__dict__.update(facts)
    return error


def _page(status: int, title: str, server: str) -> str:
    return (
        f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n<center><h1>{status} {title}"
        f"</h1></center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>"
    )


_BUG = (K.UNKNOWN, K.TOOL_ERROR)

# name, text, kind, also, may it be retried (None: what the kind says), seconds
_WORDS: tuple[tuple[str, str, K, tuple[K, ...], bool | None, float | None], ...] = (
    # gateways and proxies
    ("nginx 413 page", _page(413, "Request Entity Too Large", "nginx/1.25.3"), K.CONTEXT_OVERFLOW, (K.INVALID_REQUEST,), False, None),
    ("nginx 502 page", _page(502, "Bad Gateway", "nginx"), K.SERVER_ERROR, (), True, None),
    ("nginx 504 page", _page(504, "Gateway Time-out", "nginx/1.18.0 (Ubuntu)"), K.TIMEOUT, (), True, None),
    ("cloudflare 522 page", "<title>api.example.com | 522: Connection timed out</title>", K.SERVER_ERROR, (K.TIMEOUT, K.NETWORK), True, None),
    ("cloudflare 1020", "error code: 1020 Access denied: this website is using a security service to protect itself", K.PERMISSION, (), False, None),
    ("cloudflare 525", "HTTP 525: SSL handshake failed between Cloudflare and the origin web server", K.SERVER_ERROR, (K.NETWORK,), True, None),
    ("envoy no upstream", "upstream connect error or disconnect/reset before headers. reset reason: connection failure", K.NETWORK, (K.SERVER_ERROR, K.OVERLOADED), True, None),
    ("squid 407", "Tunnel connection failed: 407 Proxy Authentication Required", K.AUTH, (), False, None),
    ("gunicorn worker", "[CRITICAL] WORKER TIMEOUT (pid:4032)", K.TIMEOUT, (K.SERVER_ERROR,), True, None),
    ("haproxy 503", "503 Service Unavailable: No server is available to handle this request.", K.OVERLOADED, (), True, None),
    # providers, in words
    ("vertex quota", "429 Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model with base model: gemini-2.5-pro. Please submit a quota increase request.", K.RATE_LIMIT, (), True, None),
    ("vertex location", "400 User location is not supported for the API use.", K.PERMISSION, (K.INVALID_REQUEST,), False, None),
    ("vertex safety", "The response was blocked by safety settings: HARM_CATEGORY_DANGEROUS_CONTENT", K.CONTENT_POLICY, (), False, None),
    ("bedrock on demand", "ValidationException: Invocation of model ID anthropic.claude-v9 with on-demand throughput isn't supported. Retry your request with the ID of an inference profile.", K.INVALID_REQUEST, (), False, None),
    ("bedrock throttled", "An error occurred (ThrottlingException) when calling the Converse operation (reached max retries: 4): Too many requests, please wait before trying again.", K.RATE_LIMIT, (), True, None),
    ("azure filter", "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", K.CONTENT_POLICY, (), False, None),
    ("openrouter empty", "No endpoints found that support tool use. To learn more about provider routing, visit the docs", K.NOT_FOUND, (K.INVALID_REQUEST,), False, None),
    ("openrouter credits", "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 1200", K.QUOTA_EXHAUSTED, (), False, None),
    ("vllm length", "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens in the messages", K.CONTEXT_OVERFLOW, (), False, None),
    ("vllm dead", "AsyncEngineDeadError: Background loop has errored already.", K.SERVER_ERROR, (K.UNKNOWN,), None, None),
    ("ollama not pulled", 'model "llama9" not found, try pulling it first', K.NOT_FOUND, (), False, None),
    ("ollama not running", "Failed to connect to Ollama. Please check that Ollama is downloaded, running and accessible.", K.NETWORK, (), True, None),
    ("ollama memory", "model requires more system memory (24.2 GiB) than is available (7.9 GiB)", K.RESOURCE_EXHAUSTED, (), False, None),
    ("tgi overloaded", "Model is overloaded", K.OVERLOADED, (), True, None),
    ("huggingface loading", "Model meta/x is currently loading, estimated_time: 20.0", K.OVERLOADED, (), True, None),
    ("deepseek balance", "Error code: 402 - Insufficient Balance", K.QUOTA_EXHAUSTED, (), False, None),
    ("groq per day", "Rate limit reached for model `x` on tokens per day (TPD): Limit 500000, Used 499000. Please try again in 12m3s.", K.QUOTA_EXHAUSTED, (K.RATE_LIMIT,), False, 723.0),
    # credentials
    ("aws session", "The security token included in the request is expired", K.AUTH, (), False, None),
    ("aws skew", "Signature expired: 20261120T101010Z is now earlier than 20261120T101500Z", K.AUTH, (), False, None),
    ("aws profile", "The config profile (production) could not be found", K.AUTH, (K.NOT_FOUND, K.INVALID_REQUEST), False, None),
    ("google adc", "Your default credentials were not found. To set up Application Default Credentials, see the documentation", K.AUTH, (), False, None),
    ("jwt", "jwt expired", K.AUTH, (), False, None),
    # names, sockets, TLS
    ("dns linux", "[Errno -3] Temporary failure in name resolution", K.NETWORK, (), True, None),
    ("dns windows", "[Errno 11001] getaddrinfo failed", K.NETWORK, (), True, None),
    ("windows reset", "[WinError 10054] An existing connection was forcibly closed by the remote host", K.NETWORK, (), True, None),
    ("windows refused", "[WinError 10061] No connection could be made because the target machine actively refused it", K.NETWORK, (), True, None),
    ("windows late", "[WinError 10060] A connection attempt failed because the connected party did not properly respond after a period of time", K.NETWORK, (K.TIMEOUT,), True, None),
    ("tls self-signed", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1000)", K.NETWORK, (), False, None),
    ("tls name", "Hostname mismatch, certificate is not valid for 'api.internal'", K.NETWORK, (), False, None),
    ("tls eof", "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol (_ssl.c:1006)", K.NETWORK, (), True, None),
    ("http2 goaway", "<ConnectionTerminated error_code:0, last_stream_id:191, additional_data:None>", K.NETWORK, (), True, None),
    # other languages
    ("german quota", "Ihr Kontingent ist aufgebraucht.", K.UNKNOWN, (K.QUOTA_EXHAUSTED, K.INVALID_REQUEST), False, None),
    ("spanish refusal", "Se agotó el tiempo de espera de la conexión", K.UNKNOWN, (K.TIMEOUT, K.NETWORK), None, None),
    ("chinese limit", "您的账户已达到速率限制 请稍后重试", K.RATE_LIMIT, (), True, None),
    ("chinese balance", "账户余额不足 请充值", K.QUOTA_EXHAUSTED, (), False, None),
    # look-alikes
    ("ticket number", "Ticket 429 was closed by the customer", K.UNKNOWN, _BUG, False, None),
    ("retry count", "retries must be an integer between 0 and 503", K.UNKNOWN, (K.INVALID_REQUEST, K.TOOL_ERROR), False, None),
    ("amount", "Order total 502.00 EUR does not match the sum of its lines", K.UNKNOWN, (K.INVALID_REQUEST, K.TOOL_ERROR, K.OUTPUT_VALIDATION), False, None),
    ("rate as a word", "interest rate limits are defined per country; none for XK", K.UNKNOWN, _BUG, False, None),
    ("option", "unrecognized arguments: --connect-timeout", K.UNKNOWN, (K.INVALID_REQUEST, K.TOOL_ERROR), False, None),
    ("a user's story", "assertion failed: expected 'the server was overloaded with orders' in summary", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST, K.OUTPUT_VALIDATION), False, None),
    # --- a second set, written after the first had mended the rules, and labelled before it was run ---
    ("apache 413 page", "<h1>Request Entity Too Large</h1>The requested resource does not allow request data with POST requests, or the amount of data provided in the request exceeds the capacity limit.", K.CONTEXT_OVERFLOW, (K.INVALID_REQUEST, K.UNKNOWN), False, None),
    ("traefik", "HTTP/1.1 502 Bad Gateway", K.SERVER_ERROR, (), True, None),
    ("cloudflare 524", "Error 524: A timeout occurred", K.TIMEOUT, (), True, None),
    ("cloudflare 521", "Web server is down Error code 521", K.SERVER_ERROR, (K.NETWORK,), True, None),
    ("aws gateway", "Endpoint request timed out", K.TIMEOUT, (), True, None),
    ("kubernetes", 'dial tcp 10.96.0.1:443: connect: connection refused', K.NETWORK, (), True, None),
    ("go dns", "dial tcp: lookup api.example.com on 127.0.0.11:53: no such host", K.NETWORK, (), True, None),
    ("go deadline", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)", K.TIMEOUT, (), True, None),
    ("node dns", "getaddrinfo EAI_AGAIN api.openai.com", K.NETWORK, (), True, None),
    ("node hang up", "FetchError: request to https://api.x.dev/v1 failed, reason: socket hang up", K.NETWORK, (), True, None),
    ("curl 28", "curl: (28) Operation timed out after 30001 milliseconds with 0 bytes received", K.TIMEOUT, (K.NETWORK,), True, None),
    ("curl 56", "curl: (56) Recv failure: Connection reset by peer", K.NETWORK, (), True, None),
    ("java", "java.net.SocketTimeoutException: Read timed out", K.TIMEOUT, (), True, None),
    ("grpc", "StatusCode.UNAVAILABLE: failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:50051: Failed to connect to remote host", K.NETWORK, (K.OVERLOADED,), True, None),
    ("grpc exhausted", "StatusCode.RESOURCE_EXHAUSTED: Received message larger than max (5000000 vs. 4194304)", K.RATE_LIMIT, (K.CONTEXT_OVERFLOW, K.INVALID_REQUEST, K.RESOURCE_EXHAUSTED), False, None),
    ("pinecone", "Index 'docs' is not ready, try again shortly", K.OVERLOADED, (), True, None),
    ("elevenlabs", "quota_exceeded: This request exceeds your quota of 10000. You have 12 credits remaining", K.QUOTA_EXHAUSTED, (), False, None),
    ("github", "API rate limit exceeded for user ID 583231.", K.RATE_LIMIT, (), True, None),
    ("github secondary", "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", K.RATE_LIMIT, (), True, None),
    ("slack", "The request to the Slack API failed. The server responded with: {'ok': False, 'error': 'ratelimited'}", K.RATE_LIMIT, (), True, None),
    ("slack auth", "The request to the Slack API failed. The server responded with: {'ok': False, 'error': 'invalid_auth'}", K.AUTH, (K.TOOL_ERROR,), False, None),
    ("stripe", "Your card was declined. Your request was in live mode", K.UNKNOWN, (K.QUOTA_EXHAUSTED, K.TOOL_ERROR, K.INVALID_REQUEST), False, None),
    ("postgres many", "FATAL: sorry, too many clients already", K.OVERLOADED, (K.RESOURCE_EXHAUSTED, K.RATE_LIMIT, K.UNKNOWN), None, None),
    ("postgres deadlock", "deadlock detected DETAIL: Process 12 waits for ShareLock on transaction 5", K.UNKNOWN, (K.TOOL_ERROR, K.SERVER_ERROR, K.INVALID_REQUEST), None, None),
    ("postgres statement", "canceling statement due to statement timeout", K.TIMEOUT, (K.CANCELLED,), None, None),
    ("postgres disk", "could not extend file: No space left on device", K.RESOURCE_EXHAUSTED, (), False, None),
    ("mongo", "No replica set members available for replica set name rs0, Timeout: 30s", K.TIMEOUT, (K.NETWORK, K.OVERLOADED, K.UNKNOWN), None, None),
    ("kafka", "KafkaTimeoutError: Failed to update metadata after 60.0 secs.", K.TIMEOUT, (), True, None),
    ("cuda", "CUDA out of memory. Tried to allocate 2.00 GiB", K.RESOURCE_EXHAUSTED, (), False, None),
    ("llama.cpp", "the request exceeds the available context size. try increasing the context size or enable context shift", K.CONTEXT_OVERFLOW, (), False, None),
    ("lmstudio", "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens", K.CONTEXT_OVERFLOW, (), False, None),
    ("gemini tokens", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", K.CONTEXT_OVERFLOW, (), False, None),
    ("moderation", "Your request was rejected as a result of our safety system.", K.CONTENT_POLICY, (), False, None),
    ("bedrock guardrail", "Sorry, the model cannot answer this question. (blocked by guardrail)", K.CONTENT_POLICY, (), False, None),
    ("deactivated", "Your account has been deactivated, please check your email", K.AUTH, (K.PERMISSION,), False, None),
    ("organisation", "You must be a member of an organization to use the API", K.PERMISSION, (K.AUTH,), False, None),
    ("ip", "Your IP address is not authorized to access this resource", K.PERMISSION, (), False, None),
    ("tool schema", "Invalid schema for function 'search': 'timeout' is not of type 'object'", K.INVALID_REQUEST, (K.UNKNOWN, K.TOOL_ERROR), False, None),
    ("look-alike: page count", "expected 404 pages, found 403", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST), False, None),
    ("look-alike: quota", "import quota must be between 0 and 100 percent", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST), False, None),
    ("look-alike: cancelled", "subscription 17 is cancelled at period end", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST, K.CANCELLED), False, None),
    ("look-alike: connection", "table connections has no column named timeout", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST), False, None),
    ("look-alike: flag", "error: argument --read-timeout: expected one argument", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST), False, None),
    ("look-alike: variable", "environment variable REQUEST_TIMEOUT is not a number", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST), False, None),
    ("look-alike: line", "syntax error at line 500, column 3", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST), False, None),
    ("look-alike: path", "cannot open /var/log/timeouts.log: not a directory", K.UNKNOWN, (*_BUG, K.INVALID_REQUEST, K.NOT_FOUND), False, None),
)  # fmt: skip


def _words() -> Iterator[_What]:
    for number, (name, text, kind, also, retryable, wait_s) in enumerate(_WORDS):
        made = (RuntimeError, Exception, ValueError)[number % 3]
        yield _What(name, lambda made=made, text=text: made(text), kind, also, retryable, wait_s)


def _document() -> BaseException:
    try:
        json.loads('{"error": "upstream request timeout", "status": 504')
    except ValueError as error:
        return error
    raise AssertionError


def _classes() -> Iterator[_What]:
    yield _What("json of a timeout", _document, K.OUTPUT_VALIDATION, (), False)
    yield _What(
        "pydantic-like",
        lambda: _of("ValidationError", "1 validation error for Plan\ntimeout\n  Input should be a valid integer", ValueError),
        K.OUTPUT_VALIDATION,
        (),
        False,
    )  # fmt: skip
    yield _What(
        "psycopg closed",
        lambda: _of("OperationalError", "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally"),
        K.NETWORK,
        (),
        True,
    )  # fmt: skip
    yield _What(
        "psycopg password",
        lambda: _of("OperationalError", 'connection to server at "10.0.0.4", port 5432 failed: FATAL:  password authentication failed for user "app"'),
        K.AUTH,
        (K.PERMISSION,),
        False,
    )  # fmt: skip
    yield _What(
        "sqlalchemy pool",
        lambda: _of("TimeoutError", "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00"),
        K.TIMEOUT,
        (K.RESOURCE_EXHAUSTED,),
        True,
    )  # fmt: skip
    yield _What(
        "sqlalchemy constraint",
        lambda: _of("IntegrityError", "(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint \"users_pkey\""),
        K.INVALID_REQUEST,
        (*_BUG, K.OUTPUT_VALIDATION),
        False,
    )  # fmt: skip
    yield _What(
        "redis loading",
        lambda: _of("BusyLoadingError", "Redis is loading the dataset in memory"),
        K.OVERLOADED,
        (K.UNKNOWN, K.NETWORK),
        None,
    )
    yield _What("redis readonly", lambda: _of("ReadOnlyError", "You can't write against a read only replica."), K.PERMISSION, (*_BUG, K.NETWORK), False)  # fmt: skip
    yield _What("mcp", lambda: _of("McpError", "Timed out while waiting for response to ClientRequest. Waited 5.0 seconds."), K.TOOL_ERROR, (K.TIMEOUT,), False)  # fmt: skip
    yield _What("mcp closed", lambda: _of("McpError", "Connection closed"), K.TOOL_ERROR, (K.NETWORK,), False)
    yield _What(
        "openrouter inside a 200",
        lambda: ValueError({"message": "Provider returned error", "code": 502, "metadata": {"provider_name": "X"}}),
        K.SERVER_ERROR,
        (),
        True,
    )  # fmt: skip
    yield _What(
        "own error with a grpc-like code",
        lambda: _of("RpcError", "Deadline Exceeded", code="DEADLINE_EXCEEDED"),
        K.TIMEOUT,
        (),
        True,
    )
    yield _What(
        "own error with a page",
        lambda: _of("ApiError", "bad answer", status=502, body=_page(502, "Bad Gateway", "cloudflare")),
        K.SERVER_ERROR,
        (),
        True,
    )
    yield _What(
        "own error with a wait in its body",
        lambda: _of("ApiError", "slow down", status_code=429, headers={"Retry-After": "12"}, body={"error": "Too Many Requests"}),
        K.RATE_LIMIT,
        (),
        True,
        12.0,
    )  # fmt: skip
    yield _What(
        "own error around a broken pipe",
        lambda: raised(_of("StepFailed", "step 3 failed"), BrokenPipeError(32, "Broken pipe")),
        K.NETWORK,
        (),
        True,
    )
    yield _What(
        "own error around a missing key",
        lambda: raised(_of("StepFailed", "step 3 failed"), KeyError("timeout")),
        K.INVALID_REQUEST,
        _BUG,
        False,
    )
    yield _What(
        "499 of a proxy",
        lambda: _of("ApiError", "client closed request", status_code=499),
        K.CANCELLED,
        (),
        False,
    )


def cases() -> Iterator[Case]:
    """All of them, each with its label."""
    for what in (*_words(), *_classes()):
        yield Case(
            "outside: service", what.name, what.make, what.kind, what.retryable, what.wait_s, what.also
        )
