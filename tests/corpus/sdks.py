"""Real SDK clients, each failing on what the endpoint answers; a group whose SDK is not installed is left out.

A builder of clients is given the endpoint and returns calls that fail; ``accident`` and ``refused`` are what
a client raises when the connection breaks or nobody listens.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from techrevati.runtime.failures import FailureKind as K
from tests.corpus import openai_rows, provider_rows
from tests.corpus.case import Case, Row, raised
from tests.corpus.endpoint import CLOSED, CUT, GARBAGE, RESET, SILENT, Endpoint, closed_url

KEY = "sk-not-a-real-key-000000"
_HI = [{"role": "user", "content": "hi"}]
# Only of a server that says nothing: a busy machine takes longer to answer than that.
_BRIEF_S, _PATIENT_S = 0.05, 5.0

Call = Callable[[], Any]
_ACCIDENTS = (
    ("reset", RESET, K.NETWORK),
    ("closed", CLOSED, K.NETWORK),
    ("garbage", GARBAGE, K.NETWORK),
    ("silent", SILENT, K.TIMEOUT),
)


def _awaited(call: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        await call()

    asyncio.run(main())


def answered(endpoint: Endpoint, group: str, rows: Iterable[Row], call: Call) -> Iterator[Case]:
    """Each row as *call* meets it."""
    for row in rows:

        def make(row: Row = row) -> None:
            endpoint.answer(row.status, row.content, row.headers)
            call()

        yield row.case(group, make)


def streamed(
    endpoint: Endpoint, group: str, rows: Iterable[Row], call: Call, event: str = ""
) -> Iterator[Case]:
    """Each row as an event inside a stream that began with 200."""
    for row in rows:

        def make(row: Row = row) -> None:
            head = f"event: {event}\n" if event else ""
            endpoint.answer(
                200, f"{head}data: {json.dumps(row.body)}\n\n".encode(), {"content-type": "text/event-stream"}
            )
            call()

        yield row.case(f"{group}, streamed", make)


def broken(
    endpoint: Endpoint, group: str, call: Callable[[float], Any], refused: Call, cut: K | None = None
) -> Iterator[Case]:
    """Connections that break, stay silent or are refused; *call* takes its timeout in seconds, *cut* is what
    half an answer means."""

    def accident(what: str) -> Call:
        def make() -> None:
            endpoint.fail(what)
            call(_BRIEF_S if what == SILENT else _PATIENT_S)

        return make

    for name, what, kind in _ACCIDENTS:
        also = (K.SERVER_ERROR,) if what == GARBAGE else ()
        yield Case(group, f"connection: {name}", accident(what), kind, also=also)
    if cut is not None:
        yield Case(group, "connection: cut", accident(CUT), cut, also=(K.SERVER_ERROR, K.NETWORK))
    yield Case(group, "connection: refused", refused, K.NETWORK)


def _openai(endpoint: Endpoint) -> Iterator[Case]:
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)

    def chat(which: Any = client, **more: Any) -> None:
        which.chat.completions.create(model="m", messages=_HI, **more)

    def responses() -> None:
        client.responses.create(model="m", input="hi")

    def stream() -> None:
        list(client.chat.completions.create(model="m", messages=_HI, stream=True))

    def concurrently() -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0) as other:
                await other.chat.completions.create(model="m", messages=_HI)

        asyncio.run(main())

    yield from answered(endpoint, "openai", openai_rows.OPENAI, chat)
    yield from answered(endpoint, "openai responses", openai_rows.OPENAI[::9], responses)
    yield from answered(endpoint, "openai async", openai_rows.OPENAI[3::9], concurrently)
    yield from answered(endpoint, "openai dialect", openai_rows.OTHERS, chat)
    yield from streamed(endpoint, "openai", openai_rows.STREAMED, stream)
    yield from broken(
        endpoint,
        "openai",
        lambda timeout_s: chat(client.with_options(timeout=timeout_s)),
        lambda: chat(client.with_options(base_url=closed_url())),
        K.NETWORK,
    )
    azure = openai.AzureOpenAI(
        api_key=KEY, azure_endpoint=endpoint.url, api_version="2024-10-21", max_retries=0
    )
    yield from answered(endpoint, "azure openai", openai_rows.AZURE, lambda: chat(azure))

    def unreadable() -> None:
        endpoint.answer(200, b'{"id": "x", "choi')
        chat()

    yield Case("openai", "half an answer", unreadable, K.SERVER_ERROR)
    yield Case(
        "openai",
        "client without a key",
        lambda: (openai.OpenAI(api_key="") and None) or openai.OpenAI(),
        K.AUTH,
        also=(K.INVALID_REQUEST,),
    )
    yield Case(
        "openai", "wrong argument", lambda: client.chat.completions.create(model="m"), K.INVALID_REQUEST
    )  # type: ignore[call-overload]

    def wrong_keyword() -> None:
        client.chat.completions.create(model="m", messages=_HI, tiemout=3)  # type: ignore[call-overload]

    yield Case("openai", "misspelt argument", wrong_keyword, K.INVALID_REQUEST)


def _anthropic(endpoint: Endpoint) -> Iterator[Case]:
    import anthropic

    client = anthropic.Anthropic(api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)

    def message(which: Any = client) -> None:
        which.messages.create(model="m", max_tokens=1, messages=_HI)

    def stream() -> None:
        list(client.messages.create(model="m", max_tokens=1, messages=_HI, stream=True))

    yield from answered(endpoint, "anthropic", provider_rows.ANTHROPIC, message)
    yield from streamed(endpoint, "anthropic", provider_rows.ANTHROPIC_STREAMED, stream, "error")
    yield from broken(
        endpoint,
        "anthropic",
        lambda timeout_s: message(client.with_options(timeout=timeout_s)),
        lambda: message(client.with_options(base_url=closed_url())),
        K.NETWORK,
    )


def _google(endpoint: Endpoint) -> Iterator[Case]:
    from google import genai
    from google.genai import types

    def client(url: str, timeout_ms: int = 5_000) -> Any:
        return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url, timeout=timeout_ms))

    ours, nobody = client(endpoint.url), client(closed_url())

    def generate(which: Any = ours) -> None:
        which.models.generate_content(model="m", contents="hi")

    def stream() -> None:
        list(ours.models.generate_content_stream(model="m", contents="hi"))

    yield from answered(endpoint, "google-genai", provider_rows.GOOGLE, generate)
    yield from answered(endpoint, "google-genai stream", provider_rows.GOOGLE[::6], stream)
    yield from broken(
        endpoint,
        "google-genai",
        lambda timeout_s: generate(client(endpoint.url, int(timeout_s * 1000))),
        lambda: generate(nobody),
        K.NETWORK,
    )


def _mistral(endpoint: Endpoint) -> Iterator[Case]:
    try:
        from mistralai.client import Mistral
    except ImportError:
        from mistralai import Mistral  # type: ignore[no-redef]

    def client(url: str, timeout_ms: int = 5_000) -> Any:
        return Mistral(api_key=KEY, server_url=url, timeout_ms=timeout_ms)

    ours, nobody = client(endpoint.url), client(closed_url())

    def complete(which: Any = ours) -> None:
        which.chat.complete(model="m", messages=_HI)

    yield from answered(endpoint, "mistralai", provider_rows.MISTRAL, complete)
    yield from broken(
        endpoint,
        "mistralai",
        lambda timeout_s: complete(client(endpoint.url, int(timeout_s * 1000))),
        lambda: complete(nobody),
        K.NETWORK,
    )

    def foreign() -> None:
        endpoint.answer(200, b'{"what": "is this"}')
        complete()

    yield Case(
        "mistralai", "an answer of another shape", foreign, K.SERVER_ERROR, also=(K.OUTPUT_VALIDATION,)
    )


def _cohere(endpoint: Endpoint) -> Iterator[Case]:
    import cohere

    def client(url: str, timeout_s: float = 5.0) -> Any:
        return cohere.ClientV2(api_key=KEY, base_url=url, timeout=timeout_s)

    ours, nobody = client(endpoint.url), client(closed_url())

    def chat(which: Any = ours) -> None:
        which.chat(model="m", messages=_HI, request_options={"max_retries": 0})

    yield from answered(endpoint, "cohere", provider_rows.COHERE, chat)
    yield from broken(
        endpoint,
        "cohere",
        lambda timeout_s: chat(client(endpoint.url, timeout_s)),
        lambda: chat(nobody),
        K.NETWORK,
    )


def _groq(endpoint: Endpoint) -> Iterator[Case]:
    import groq

    client = groq.Groq(api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)

    def chat(which: Any = client) -> None:
        which.chat.completions.create(model="m", messages=_HI)

    yield from answered(endpoint, "groq", provider_rows.GROQ, chat)
    yield from broken(
        endpoint,
        "groq",
        lambda timeout_s: chat(client.with_options(timeout=timeout_s)),
        lambda: chat(client.with_options(base_url=closed_url())),
        K.NETWORK,
    )


def _bedrock(endpoint: Endpoint) -> Iterator[Case]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import EventStreamError, NoCredentialsError

    def client(url: str, timeout_s: float = 5.0, **more: Any) -> Any:
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=timeout_s, connect_timeout=2
        )
        return boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="AKIAnotreal",
            aws_secret_access_key="not-real",
            config=config,
        )

    ours, nobody = client(endpoint.url), client(closed_url())

    def converse(which: Any = ours) -> None:
        which.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])

    def rows() -> Iterator[Case]:
        for code, status, message, kind, also in provider_rows.BEDROCK:

            def make(code: str = code, status: int = status, message: str = message) -> None:
                headers = {
                    "x-amzn-ErrorType": f"{code}:http://internal.amazon.com/",
                    "x-amzn-RequestId": "a-b",
                }
                endpoint.answer(status, json.dumps({"message": message}).encode(), headers)
                converse()

            yield Case("boto3 bedrock", f"{code}: {message}", make, kind, also=also)

    yield from rows()
    for code, message, kind in provider_rows.BEDROCK_STREAMED:
        error = EventStreamError({"Error": {"Code": code, "Message": message}}, "ConverseStream")
        yield Case("boto3 bedrock, streamed", f"{code}: {message}", lambda error=error: error, kind)
    yield from broken(
        endpoint,
        "boto3 bedrock",
        lambda timeout_s: converse(client(endpoint.url, timeout_s)),
        lambda: converse(nobody),
    )
    yield Case(
        "boto3 bedrock",
        "wrong argument",
        lambda: ours.converse(modelId="m", messages="hi"),
        K.INVALID_REQUEST,
    )
    yield Case("boto3 bedrock", "no credentials", NoCredentialsError, K.AUTH)


def _azure(endpoint: Endpoint) -> Iterator[Case]:
    from azure.ai.inference import ChatCompletionsClient
    from azure.ai.inference.models import UserMessage
    from azure.core import exceptions as azure
    from azure.core.credentials import AzureKeyCredential
    from azure.core.exceptions import ClientAuthenticationError

    def client(url: str) -> Any:
        return ChatCompletionsClient(
            endpoint=url, credential=AzureKeyCredential(KEY), retry_total=0, read_timeout=5
        )

    ours, nobody = client(endpoint.url), client(closed_url())

    def complete(which: Any = ours, **more: Any) -> None:
        which.complete(messages=[UserMessage("hi")], **more)

    yield from answered(endpoint, "azure-ai-inference", openai_rows.AZURE, complete)
    yield from broken(
        endpoint,
        "azure-ai-inference",
        lambda timeout_s: complete(read_timeout=timeout_s),
        lambda: complete(nobody),
        K.NETWORK,
    )
    yield Case(
        "azure-core",
        "authentication",
        lambda: ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token"),
        K.AUTH,
    )
    yield Case("azure-core", "not found", lambda: azure.ResourceNotFoundError("no"), K.NOT_FOUND)
    yield Case(
        "azure-core", "read timeout", lambda: azure.ServiceResponseTimeoutError("read timed out"), K.TIMEOUT
    )
    yield Case("azure-core", "incomplete read", lambda: azure.IncompleteReadError("incomplete"), K.NETWORK)
    yield Case("azure-core", "decoding", lambda: azure.DecodeError("JSON is invalid"), K.SERVER_ERROR)


def _langchain(endpoint: Endpoint) -> Iterator[Case]:
    from langchain_core.exceptions import OutputParserException
    from langchain_core.tools import ToolException
    from langchain_openai import ChatOpenAI

    def model(url: str, timeout_s: float = 5.0) -> Any:
        return ChatOpenAI(model="m", api_key=KEY, base_url=url, max_retries=0, timeout=timeout_s)  # type: ignore[arg-type]

    ours, nobody = model(endpoint.url), model(closed_url())
    yield from answered(endpoint, "langchain-openai", openai_rows.OPENAI[::2], lambda: ours.invoke("hi"))
    yield from answered(endpoint, "langchain-openai", openai_rows.OTHERS[::5], lambda: ours.invoke("hi"))
    yield from broken(
        endpoint,
        "langchain-openai",
        lambda timeout_s: model(endpoint.url, timeout_s).invoke("hi"),
        lambda: nobody.invoke("hi"),
    )

    def error_in_200(code: int) -> Callable[[], None]:
        def make() -> None:
            endpoint.answer(
                200, json.dumps({"error": {"message": "Provider returned error", "code": code}}).encode()
            )
            ours.invoke("hi")

        return make

    for code, kind in ((502, K.SERVER_ERROR), (429, K.RATE_LIMIT), (503, K.OVERLOADED)):
        yield Case("langchain-openai", f"{code} inside of 200", error_in_200(code), kind)
    yield Case("langchain", "tool", lambda: ToolException("429 too many requests"), K.TOOL_ERROR)
    yield Case(
        "langchain",
        "parser",
        lambda: OutputParserException("Could not parse LLM output: timeout"),
        K.OUTPUT_VALIDATION,
    )
    try:
        from langchain_anthropic import ChatAnthropic
        from langgraph.errors import GraphRecursionError
    except ImportError:
        return
    claude = ChatAnthropic(model="m", api_key=KEY, base_url=endpoint.url, max_retries=0, max_tokens=9)  # type: ignore[call-arg, arg-type]
    yield from answered(
        endpoint, "langchain-anthropic", provider_rows.ANTHROPIC[::2], lambda: claude.invoke("hi")
    )
    yield Case(
        "langgraph",
        "recursion",
        lambda: GraphRecursionError("Recursion limit of 25 reached"),
        K.RESOURCE_EXHAUSTED,
    )


def _pydantic_ai(endpoint: Endpoint) -> Iterator[Case]:
    import openai
    import pydantic_ai
    from pydantic_ai import Agent, exceptions
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def ask(url: str, timeout_s: float = 5.0) -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(
                api_key=KEY, base_url=url, max_retries=0, timeout=timeout_s
            ) as client:
                await Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))).run("hi")

        asyncio.run(main())

    yield from answered(endpoint, "pydantic-ai", openai_rows.OPENAI[1::2], lambda: ask(endpoint.url))
    yield from answered(endpoint, "pydantic-ai", openai_rows.OTHERS[2::5], lambda: ask(endpoint.url))
    yield from broken(
        endpoint, "pydantic-ai", lambda timeout_s: ask(endpoint.url, timeout_s), lambda: ask(closed_url())
    )
    yield Case(
        "pydantic-ai",
        "usage",
        lambda: exceptions.UsageLimitExceeded("The next request would exceed the request_limit of 50"),
        K.RESOURCE_EXHAUSTED,
    )
    yield Case(
        "pydantic-ai",
        "behaviour",
        lambda: exceptions.UnexpectedModelBehavior("Exceeded maximum retries (1) for output validation"),
        K.OUTPUT_VALIDATION,
    )
    yield Case(
        "pydantic-ai",
        "model retry",
        lambda: exceptions.ModelRetry("Use another name"),
        K.OUTPUT_VALIDATION,
        also=(K.TOOL_ERROR,),
    )
    yield Case("pydantic-ai", "user", lambda: exceptions.UserError("Unknown model: x"), K.INVALID_REQUEST)
    yield Case(
        "pydantic-ai",
        "http 429",
        lambda: exceptions.ModelHTTPError(429, "m", {"message": "no"}),
        K.RATE_LIMIT,
    )
    yield Case("pydantic-ai", "http 503", lambda: exceptions.ModelHTTPError(503, "m", None), K.OVERLOADED)
    yield Case(
        "pydantic-ai",
        "http 400 context",
        lambda: exceptions.ModelHTTPError(
            400, "m", {"code": "context_length_exceeded", "message": "too long"}
        ),
        K.CONTEXT_OVERFLOW,
    )
    fallback = getattr(exceptions, "FallbackExceptionGroup", None)
    if fallback is not None:
        both = fallback(
            "All models failed",
            [exceptions.ModelHTTPError(429, "a", None), exceptions.ModelHTTPError(503, "b", None)],
        )
        yield Case("pydantic-ai", "fallback, all passing", lambda: both, K.RATE_LIMIT, also=(K.OVERLOADED,))
        one = fallback(
            "All models failed",
            [exceptions.ModelHTTPError(429, "a", None), exceptions.ModelHTTPError(401, "b", None)],
        )
        yield Case("pydantic-ai", "fallback, one key wrong", lambda: one, K.AUTH)
    del pydantic_ai


def _agents(endpoint: Endpoint) -> Iterator[Case]:
    import agents
    import openai
    from agents import exceptions

    agents.set_tracing_disabled(True)

    def ask(url: str, timeout_s: float = 5.0) -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(
                api_key=KEY, base_url=url, max_retries=0, timeout=timeout_s
            ) as client:
                model = agents.OpenAIChatCompletionsModel("m", openai_client=client)
                await agents.Runner.run(agents.Agent("a", model=model), "hi")

        asyncio.run(main())

    yield from answered(endpoint, "openai-agents", openai_rows.OPENAI[::4], lambda: ask(endpoint.url))
    yield from broken(
        endpoint, "openai-agents", lambda timeout_s: ask(endpoint.url, timeout_s), lambda: ask(closed_url())
    )
    yield Case(
        "openai-agents",
        "turns",
        lambda: exceptions.MaxTurnsExceeded("Max turns (10) exceeded"),
        K.RESOURCE_EXHAUSTED,
    )
    yield Case(
        "openai-agents",
        "behaviour",
        lambda: exceptions.ModelBehaviorError("Tool x not found in agent a"),
        K.OUTPUT_VALIDATION,
    )
    yield Case("openai-agents", "user", lambda: exceptions.UserError("Invalid timeout"), K.INVALID_REQUEST)

    def tripped(kind: str) -> BaseException:
        error = getattr(exceptions, kind)
        made = error.__new__(error)
        made.args = ("Guardrail triggered tripwire",)
        return made  # type: ignore[no-any-return]

    for kind in ("InputGuardrailTripwireTriggered", "OutputGuardrailTripwireTriggered"):
        yield Case("openai-agents", kind, lambda kind=kind: tripped(kind), K.CONTENT_POLICY)


def _mcp(endpoint: Endpoint) -> Iterator[Case]:
    import mcp

    error = getattr(mcp, "MCPError", None) or mcp.McpError

    def made(code: int, message: str) -> BaseException:
        try:
            return error(code, message)  # type: ignore[no-any-return]
        except TypeError:
            from mcp.types import ErrorData

            return error(ErrorData(code=code, message=message))  # type: ignore[no-any-return]

    for code, message in (
        (-32602, "Invalid params"),
        (-32603, "Internal error"),
        (-32601, "Method not found"),
        (-32000, "Connection closed"),
        (408, "Timed out while waiting for response to ClientRequest"),
    ):
        yield Case(
            "mcp",
            message,
            lambda code=code, message=message: made(code, message),
            K.TOOL_ERROR,
            also=(K.TIMEOUT, K.NETWORK) if code in (408, -32000) else (),
        )
    try:
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:
        return
    yield Case("mcp", "tool", lambda: ToolError("Error executing tool search: rate limit"), K.TOOL_ERROR)


def _litellm(endpoint: Endpoint) -> Iterator[Case]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches prices when imported
    import litellm

    litellm.suppress_debug_info = True

    def complete(model: str = "openai/m", url: str = endpoint.url, timeout_s: float = 5.0) -> None:
        litellm.completion(
            model=model,
            messages=_HI,
            api_base=url,
            api_key=KEY,
            timeout=timeout_s,
            num_retries=0,
            max_retries=0,
        )

    yield from answered(endpoint, "litellm openai", openai_rows.OPENAI, complete)
    yield from answered(
        endpoint, "litellm anthropic", provider_rows.ANTHROPIC, lambda: complete("anthropic/m")
    )
    yield from answered(endpoint, "litellm gemini", provider_rows.GOOGLE, lambda: complete("gemini/m"))
    yield from answered(endpoint, "litellm mistral", provider_rows.MISTRAL, lambda: complete("mistral/m"))
    yield from answered(endpoint, "litellm groq", provider_rows.GROQ, lambda: complete("groq/m"))
    yield from answered(
        endpoint, "litellm openrouter", openai_rows.OTHERS[7:20], lambda: complete("openrouter/m")
    )
    yield from broken(
        endpoint,
        "litellm openai",
        lambda timeout_s: complete(timeout_s=timeout_s),
        lambda: complete(url=closed_url()),
    )


def _transports(endpoint: Endpoint) -> Iterator[Case]:
    """HTTP libraries by themselves: a status, its body still there to be read."""
    rows = (*openai_rows.OPENAI[::4], *provider_rows.ANTHROPIC[::6], *provider_rows.GOOGLE[::6])
    for name in ("httpx", "httpx2"):
        try:
            http: Any = __import__(name)
        except ImportError:
            continue

        def get(http: Any = http, url: str = endpoint.url, timeout_s: float = 5.0) -> None:
            http.post(url, json={}, timeout=timeout_s).raise_for_status()

        yield from answered(endpoint, name, rows, get)
        yield from broken(
            endpoint,
            name,
            lambda timeout_s, get=get: get(timeout_s=timeout_s),
            lambda get=get: get(url=closed_url()),
            K.NETWORK,
        )
        yield Case(name, "protocol", lambda http=http: http.get("ftp://127.0.0.1/"), K.INVALID_REQUEST)
        yield Case(name, "no host", lambda http=http: http.get("http://"), K.INVALID_REQUEST)
        yield Case(name, "pool", lambda http=http: http.PoolTimeout("no"), K.TIMEOUT)
        yield Case(name, "proxy", lambda http=http: http.ProxyError("403 Forbidden"), K.NETWORK)
        yield Case(
            name,
            "redirects",
            lambda http=http: http.TooManyRedirects("Exceeded maximum allowed redirects."),
            K.INVALID_REQUEST,
        )
        yield Case(
            name,
            "certificate",
            lambda http=http: raised(
                http.ConnectError(
                    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"
                )
            ),
            K.NETWORK,
            retryable=False,
        )
        yield Case(
            name,
            "name",
            lambda http=http: raised(http.ConnectError("[Errno -2] Name or service not known")),
            K.NETWORK,
        )


def _requests(endpoint: Endpoint) -> Iterator[Case]:
    import requests

    rows = (*openai_rows.OPENAI[1::4], *provider_rows.ANTHROPIC[3::6], *provider_rows.GOOGLE[3::6])

    def post(url: str = endpoint.url, timeout_s: float = 5.0) -> Any:
        answer = requests.post(url, json={}, timeout=timeout_s)
        answer.raise_for_status()
        return answer

    yield from answered(endpoint, "requests", rows, post)
    yield from broken(
        endpoint,
        "requests",
        lambda timeout_s: post(timeout_s=timeout_s),
        lambda: post(closed_url()),
        K.NETWORK,
    )

    def unreadable() -> None:
        endpoint.answer(200, b"<html>")
        post().json()

    yield Case("requests", "no JSON", unreadable, K.SERVER_ERROR, also=(K.OUTPUT_VALIDATION,))
    yield Case("requests", "no scheme", lambda: requests.get("127.0.0.1/x"), K.INVALID_REQUEST)
    yield Case(
        "requests",
        "redirects",
        lambda: requests.TooManyRedirects("Exceeded 30 redirects."),
        K.INVALID_REQUEST,
    )
    yield Case(
        "requests",
        "certificate",
        lambda: requests.exceptions.SSLError(
            "HTTPSConnectionPool(host='a', port=443): Max retries exceeded with url: / (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired')))"
        ),
        K.NETWORK,
        retryable=False,
    )
    yield Case(
        "requests", "proxy", lambda: requests.exceptions.ProxyError("Cannot connect to proxy."), K.NETWORK
    )


def _aiohttp(endpoint: Endpoint) -> Iterator[Case]:
    import aiohttp

    def post(url: str = endpoint.url, timeout_s: float = 5.0) -> None:
        async def call() -> None:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            async with (
                aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
                session.post(url, json={}) as answer,
            ):
                await answer.json()

        _awaited(call)

    rows = [
        row
        for row in openai_rows.OPENAI
        if row.name.startswith(
            (
                "no body",
                "cloudflare",
                "conflict",
                "request timeout",
                "unprocessable",
                "teapot",
                "gateway",
                "method",
                "rate limit, ",
            )
        )
        and "prose" not in row.name  # aiohttp keeps the status line and headers, never the body
    ]
    yield from answered(endpoint, "aiohttp", rows, post)
    yield from broken(
        endpoint,
        "aiohttp",
        lambda timeout_s: post(timeout_s=timeout_s),
        lambda: post(closed_url()),
        K.NETWORK,
    )
    yield Case("aiohttp", "no URL", lambda: post("nothing"), K.INVALID_REQUEST)

    def html() -> None:
        endpoint.answer(200, b"<html>", {"content-type": "text/html"})
        post()

    yield Case("aiohttp", "HTML instead of JSON", html, K.SERVER_ERROR)


def _urllib(endpoint: Endpoint) -> Iterator[Case]:
    import urllib.error
    import urllib.request

    def post(url: str = endpoint.url, timeout_s: float = 5.0) -> Any:
        with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=timeout_s) as answer:
            return answer.read()

    def make(row: Row) -> BaseException:
        endpoint.answer(row.status, row.content, row.headers)
        try:
            post()
        except urllib.error.HTTPError as error:
            error.read()
            error.close()
            return error
        raise AssertionError("nothing failed")

    bare = [
        row
        for row in openai_rows.OPENAI
        if row.name.startswith(
            (
                "no body",
                "cloudflare",
                "conflict",
                "request timeout",
                "unprocessable",
                "teapot",
                "gateway",
                "method",
                "rate limit, retry",
                "rate limit, date",
            )
        )
    ]
    for row in bare:
        yield row.case("urllib", lambda row=row: make(row))
    yield from broken(
        endpoint, "urllib", lambda timeout_s: post(timeout_s=timeout_s), lambda: post(closed_url()), K.NETWORK
    )
    yield Case(
        "urllib",
        "scheme",
        lambda: post("what://127.0.0.1/"),
        K.INVALID_REQUEST,
        also=(K.NETWORK,),
        retryable=False,
    )
    yield Case("urllib", "name", lambda: post("http://no-such-host.invalid/"), K.NETWORK)


def _urllib3(endpoint: Endpoint) -> Iterator[Case]:
    import urllib3

    def post(url: str = endpoint.url, timeout_s: float = 5.0, retries: Any = False) -> None:
        with urllib3.PoolManager() as pool:
            pool.request("POST", url, body=b"{}", timeout=timeout_s, retries=retries)

    yield from broken(
        endpoint,
        "urllib3",
        lambda timeout_s: post(timeout_s=timeout_s),
        lambda: post(closed_url()),
        K.NETWORK,
    )
    yield Case("urllib3", "max retries, refused", lambda: post(closed_url(), retries=0), K.NETWORK)
    yield Case("urllib3", "no host", lambda: post("http:///x"), K.INVALID_REQUEST)


BUILDERS: tuple[Callable[[Endpoint], Iterator[Case]], ...] = (
    _openai, _anthropic, _google, _mistral, _cohere, _groq, _bedrock, _azure, _langchain, _pydantic_ai,
    _agents, _mcp, _litellm, _transports, _requests, _aiohttp, _urllib, _urllib3,
)  # fmt: skip
