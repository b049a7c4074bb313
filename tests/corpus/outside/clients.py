"""The real clients of the SDKs that are installed, each failing on the answers of an outsider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.corpus.case import Case
from tests.corpus.endpoint import Endpoint
from tests.corpus.outside import answers
from tests.corpus.sdks import KEY, answered, streamed

_HI = [{"role": "user", "content": "hi"}]


def _openai(endpoint: Endpoint) -> Iterator[Case]:
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)

    def chat() -> None:
        client.chat.completions.create(model="m", messages=_HI)  # type: ignore[call-overload]

    def stream() -> None:
        list(client.chat.completions.create(model="m", messages=_HI, stream=True))  # type: ignore[call-overload]

    yield from answered(endpoint, "outside: openai", answers.OPENAI, chat)
    yield from streamed(endpoint, "outside: openai", answers.OPENAI_STREAMED, stream)


def _anthropic(endpoint: Endpoint) -> Iterator[Case]:
    import anthropic

    client = anthropic.Anthropic(api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)

    def message() -> None:
        client.messages.create(model="m", max_tokens=1, messages=_HI)  # type: ignore[arg-type]

    def stream() -> None:
        list(client.messages.create(model="m", max_tokens=1, messages=_HI, stream=True))  # type: ignore[arg-type]

    yield from answered(endpoint, "outside: anthropic", answers.ANTHROPIC, message)
    yield from streamed(endpoint, "outside: anthropic", answers.ANTHROPIC_STREAMED, stream, "error")


def _google(endpoint: Endpoint) -> Iterator[Case]:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=endpoint.url, timeout=5_000)
    client = genai.Client(api_key=KEY, http_options=options)
    yield from answered(
        endpoint,
        "outside: google-genai",
        answers.GOOGLE,
        lambda: client.models.generate_content(model="m", contents="hi"),
    )


def _mistral(endpoint: Endpoint) -> Iterator[Case]:
    from mistralai.client import Mistral

    client = Mistral(api_key=KEY, server_url=endpoint.url, timeout_ms=5_000)
    yield from answered(
        endpoint,
        "outside: mistralai",
        answers.MISTRAL,
        lambda: client.chat.complete(model="m", messages=_HI),
    )


def _cohere(endpoint: Endpoint) -> Iterator[Case]:
    import cohere

    client: Any = cohere.ClientV2(api_key=KEY, base_url=endpoint.url, timeout=5.0)
    yield from answered(
        endpoint,
        "outside: cohere",
        answers.COHERE,
        lambda: client.chat(model="m", messages=_HI, request_options={"max_retries": 0}),
    )


def _groq(endpoint: Endpoint) -> Iterator[Case]:
    import groq

    client: Any = groq.Groq(api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)
    yield from answered(
        endpoint,
        "outside: groq",
        answers.GROQ,
        lambda: client.chat.completions.create(model="m", messages=_HI),
    )


def _bedrock(endpoint: Endpoint) -> Iterator[Case]:
    import boto3
    from botocore.config import Config

    client: Any = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=endpoint.url,
        aws_access_key_id="AKIAnotreal",
        aws_secret_access_key="not-real",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=5),
    )
    for code, status, message, kind, also in answers.BEDROCK:

        def make(code: str = code, status: int = status, message: str = message) -> None:
            headers = {"x-amzn-ErrorType": code, "x-amzn-RequestId": "a-b"}
            endpoint.answer(status, json.dumps({"message": message}).encode(), headers)
            client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])

        yield Case("outside: boto3 bedrock", f"{code}: {message}", make, kind, also=also)


def _langchain(endpoint: Endpoint) -> Iterator[Case]:
    from langchain_anthropic import ChatAnthropic

    model = ChatAnthropic(model="m", api_key=KEY, base_url=endpoint.url, max_retries=0, timeout=5)  # type: ignore[call-arg]
    yield from answered(
        endpoint, "outside: langchain-anthropic", answers.ANTHROPIC[::3], lambda: model.invoke("hi")
    )


def _pydantic_ai(endpoint: Endpoint) -> Iterator[Case]:
    from anthropic import AsyncAnthropic
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    def ask() -> None:
        async def main() -> None:
            async with AsyncAnthropic(api_key=KEY, base_url=endpoint.url, max_retries=0) as client:
                await Agent(AnthropicModel("m", provider=AnthropicProvider(anthropic_client=client))).run(
                    "hi"
                )

        asyncio.run(main())

    yield from answered(endpoint, "outside: pydantic-ai", answers.ANTHROPIC[1::3], ask)


def _agents(endpoint: Endpoint) -> Iterator[Case]:
    import agents
    import openai

    agents.set_tracing_disabled(True)

    def ask() -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0) as client:
                model = agents.OpenAIResponsesModel("m", openai_client=client)
                await agents.Runner.run(agents.Agent("a", model=model), "hi")

        asyncio.run(main())

    yield from answered(endpoint, "outside: openai-agents", answers.OPENAI[3::12], ask)


def _litellm(endpoint: Endpoint) -> Iterator[Case]:
    import os

    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches prices when imported
    import litellm

    litellm.suppress_debug_info = True

    def complete(model: str) -> None:
        litellm.completion(
            model=model,
            messages=_HI,
            api_base=endpoint.url,
            api_key=KEY,
            timeout=5.0,
            num_retries=0,
            max_retries=0,
        )

    yield from answered(
        endpoint, "outside: litellm openai", answers.OPENAI[::4], lambda: complete("openai/m")
    )
    yield from answered(
        endpoint, "outside: litellm anthropic", answers.ANTHROPIC[::3], lambda: complete("anthropic/m")
    )
    yield from answered(
        endpoint, "outside: litellm gemini", answers.GOOGLE[::3], lambda: complete("gemini/m")
    )


def _requests(endpoint: Endpoint) -> Iterator[Case]:
    import requests

    def post() -> None:
        requests.post(endpoint.url, json={}, timeout=5).raise_for_status()

    yield from answered(endpoint, "outside: requests", answers.OPENAI[5::12], post)


BUILDERS: tuple[Callable[[Endpoint], Iterator[Case]], ...] = (
    _openai, _anthropic, _google, _mistral, _cohere, _groq, _bedrock, _langchain, _pydantic_ai, _agents,
    _litellm, _requests,
)  # fmt: skip
