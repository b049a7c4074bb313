"""The examiner's answers, met through the real SDKs; and what these raise by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from techrevati.runtime.failures import FailureKind as K, FailureOrigin as O
from tests.corpus.case import Case
from tests.corpus.endpoint import CUT, RESET, Endpoint, closed_url
from tests.corpus.outside import exam_answers as answers
from tests.corpus.sdks import KEY, answered, streamed

ASK: Any = [{"role": "user", "content": "hi"}]


def _openai(endpoint: Endpoint) -> Iterator[Case]:
    import openai
    from pydantic import BaseModel

    client = openai.OpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0)

    def chat() -> None:
        client.chat.completions.create(model="gpt-5", messages=ASK)

    def stream() -> None:
        for _ in client.chat.completions.create(model="gpt-5", messages=ASK, stream=True):
            pass

    yield from answered(endpoint, "exam openai", answers.OPENAI, chat)
    yield from streamed(endpoint, "exam openai", answers.OPENAI_STREAMED, stream)

    def refused() -> None:
        openai.OpenAI(api_key=KEY, base_url=closed_url(), max_retries=0).models.list()

    def empty() -> None:
        endpoint.answer(200, b"")
        chat()

    def fails(how: str) -> Any:
        def make() -> None:
            endpoint.fail(how)
            chat()

        return make

    def completion(content: str | None, finish: str) -> bytes:
        import json

        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return json.dumps(
            {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": [choice]}
        ).encode()

    class Answer(BaseModel):
        city: str

    def parsed(content: str | None, finish: str) -> Any:
        def make() -> None:
            endpoint.answer(200, completion(content, finish))
            client.chat.completions.parse(model="gpt-5", messages=ASK, response_format=Answer)

        return make

    def keyless() -> BaseException:
        return openai.OpenAIError(
            "The api_key client option must be set either by passing api_key to the client or by setting the "
            "OPENAI_API_KEY environment variable"
        )

    yield Case("exam openai", "refused", refused, K.NETWORK, origin=O.NETWORK)
    yield Case("exam openai", "reset", fails(RESET), K.NETWORK, origin=O.NETWORK)
    yield Case("exam openai", "cut", fails(CUT), K.NETWORK, origin=O.NETWORK)
    yield Case("exam openai", "empty", empty, K.SERVER_ERROR)
    yield Case(
        "exam openai",
        "parse: length",
        parsed('{"ci', "length"),
        K.OUTPUT_VALIDATION,
        also=(K.CONTEXT_OVERFLOW,),
    )
    yield Case("exam openai", "parse: filtered", parsed("", "content_filter"), K.CONTENT_POLICY)
    yield Case("exam openai", "parse: wrong shape", parsed('{"town": 503}', "stop"), K.OUTPUT_VALIDATION)
    yield Case("exam openai", "no key", keyless, K.AUTH, origin=O.CALLER, also=(K.INVALID_REQUEST,))


def _anthropic(endpoint: Endpoint) -> Iterator[Case]:
    import anthropic

    client = anthropic.Anthropic(api_key=KEY, base_url=endpoint.url, max_retries=0)

    def ask(tokens: int = 64) -> None:
        client.messages.create(model="claude-sonnet-4-5", max_tokens=tokens, messages=ASK)

    def stream() -> None:
        with client.messages.stream(model="claude-sonnet-4-5", max_tokens=64, messages=ASK) as events:
            for _ in events:
                pass

    yield from answered(endpoint, "exam anthropic", answers.ANTHROPIC, ask)
    yield from streamed(endpoint, "exam anthropic", answers.ANTHROPIC_STREAMED, stream, "error")
    yield Case(
        "exam anthropic", "would take too long", lambda: ask(100_000), K.INVALID_REQUEST, origin=O.CALLER
    )

    def refused() -> None:
        anthropic.Anthropic(api_key=KEY, base_url=closed_url(), max_retries=0).models.list()

    yield Case("exam anthropic", "refused", refused, K.NETWORK, origin=O.NETWORK)


def _google(endpoint: Endpoint) -> Iterator[Case]:
    from google import genai
    from google.auth import exceptions

    client = genai.Client(api_key=KEY, http_options={"base_url": endpoint.url})  # type: ignore[arg-type]

    def ask() -> None:
        client.models.generate_content(model="gemini-2.5-flash", contents="hi")

    def refused() -> None:
        lost = genai.Client(api_key=KEY, http_options={"base_url": closed_url()})  # type: ignore[arg-type]
        lost.models.generate_content(model="gemini-2.5-flash", contents="hi")

    yield from answered(endpoint, "exam google", answers.GOOGLE, ask)
    yield Case("exam google", "refused", refused, K.NETWORK, origin=O.NETWORK)
    yield Case(
        "exam google",
        "refresh",
        lambda: exceptions.RefreshError("('invalid_grant: Token has been expired or revoked.', {})"),
        K.AUTH,
    )
    yield Case(
        "exam google",
        "no credentials",
        lambda: exceptions.DefaultCredentialsError("Your default credentials were not found."),
        K.AUTH,
    )


def _mistral(endpoint: Endpoint) -> Iterator[Case]:
    from mistralai.client import Mistral

    client = Mistral(api_key=KEY, server_url=endpoint.url)

    def ask() -> None:
        client.chat.complete(model="mistral-small", messages=ASK)

    def shapeless() -> None:
        endpoint.answer(200, b'{"choices": 503}')
        ask()

    yield from answered(endpoint, "exam mistral", answers.MISTRAL, ask)
    yield Case("exam mistral", "shapeless", shapeless, K.SERVER_ERROR, also=(K.OUTPUT_VALIDATION,))


def _cohere(endpoint: Endpoint) -> Iterator[Case]:
    import cohere

    client = cohere.ClientV2(api_key=KEY, base_url=endpoint.url)

    def ask() -> None:
        client.chat(model="command-r", messages=ASK, request_options={"max_retries": 0})

    yield from answered(endpoint, "exam cohere", answers.COHERE, ask)


def _groq(endpoint: Endpoint) -> Iterator[Case]:
    import groq

    client = groq.Groq(api_key=KEY, base_url=endpoint.url, max_retries=0)

    def ask() -> None:
        client.chat.completions.create(model="llama", messages=ASK)

    yield from answered(endpoint, "exam groq", answers.GROQ, ask)


def _bedrock(endpoint: Endpoint) -> Iterator[Case]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError, EventStreamError, NoCredentialsError, ParamValidationError

    def made(url: str) -> Any:
        return boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="not-a-secret",
            config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=2),
        )

    client = made(endpoint.url)

    def ask() -> None:
        client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])

    def wrong() -> None:
        client.converse(modelId="m", messages="hi")

    def refused() -> None:
        made(closed_url()).converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])

    def streaming(code: str, message: str) -> Any:
        return lambda: EventStreamError({"Error": {"Code": code, "Message": message}}, "ConverseStream")

    def other(code: str, status: int, message: str) -> Any:
        answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return lambda: ClientError(answer, "GetItem")  # type: ignore[arg-type]

    group = "exam bedrock"
    yield from answered(endpoint, group, answers.BEDROCK, ask)
    yield Case(group, "wrong parameters", wrong, K.INVALID_REQUEST, origin=O.CALLER)
    yield Case(group, "refused", refused, K.NETWORK, origin=O.NETWORK)
    yield Case(group, "no credentials", NoCredentialsError, K.AUTH, origin=O.CALLER)
    yield Case(
        group, "validation", lambda: ParamValidationError(report="Missing: timeout"), K.INVALID_REQUEST
    )
    yield Case(group, "stream: throttled", streaming("throttlingException", "Too many tokens"), K.RATE_LIMIT)
    yield Case(group, "stream: model", streaming("modelStreamErrorException", "Unexpected"), K.SERVER_ERROR)
    yield Case(
        group,
        "stream: validation",
        streaming(
            "validationException",
            "The model returned the following errors: prompt is too long: 2 > 1 maximum",
        ),
        K.CONTEXT_OVERFLOW,
    )
    yield Case(
        group,
        "dynamo",
        other(
            "ProvisionedThroughputExceededException",
            400,
            "The level of configured provisioned throughput was exceeded",
        ),
        K.RATE_LIMIT,
    )
    yield Case(group, "s3: key", other("NoSuchKey", 404, "The specified key does not exist."), K.NOT_FOUND)
    yield Case(
        group,
        "s3: slow down",
        other("SlowDown", 503, "Please reduce your request rate."),
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    )
    yield Case(
        group,
        "condition",
        other("ConditionalCheckFailedException", 400, "The conditional request failed"),
        K.INVALID_REQUEST,
    )


def _azure(endpoint: Endpoint) -> Iterator[Case]:
    from azure.ai.inference import ChatCompletionsClient
    from azure.core import exceptions
    from azure.core.credentials import AzureKeyCredential

    client = ChatCompletionsClient(endpoint.url, AzureKeyCredential(KEY), retry_total=0)

    def ask() -> None:
        client.complete(messages=ASK)

    yield from answered(endpoint, "exam azure", answers.AZURE, ask)
    yield Case(
        "exam azure",
        "request",
        lambda: exceptions.ServiceRequestError("Failed to establish a new connection"),
        K.NETWORK,
    )
    yield Case(
        "exam azure", "read", lambda: exceptions.ServiceResponseTimeoutError("Read timed out"), K.TIMEOUT
    )


def _rows(rows: list[Any], *names: str) -> list[Any]:
    return [row for row in rows if row.name in names]


SOME = (
    "tokens per minute, milliseconds",
    "no quota",
    "wrong key",
    "window, without a code",
    "engine overloaded",
    "image moderation",
)


def _langchain(endpoint: Endpoint) -> Iterator[Case]:
    from langchain_core.exceptions import OutputParserException
    from langchain_core.output_parsers import PydanticOutputParser
    from langchain_core.tools import ToolException
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel, SecretStr

    model = ChatOpenAI(model="gpt-5", api_key=SecretStr(KEY), base_url=endpoint.url, max_retries=0)

    class Answer(BaseModel):
        city: str

    def unparsed() -> None:
        PydanticOutputParser(pydantic_object=Answer).parse("I am sorry, 503 of them")

    yield from answered(
        endpoint, "exam langchain", _rows(answers.OPENAI, *SOME), lambda: model.invoke("hi") and None
    )
    yield Case("exam langchain", "unparsed", unparsed, K.OUTPUT_VALIDATION)
    yield Case(
        "exam langchain",
        "parser",
        lambda: OutputParserException("Could not parse LLM output: `timeout`"),
        K.OUTPUT_VALIDATION,
    )
    yield Case(
        "exam langchain",
        "tool",
        lambda: ToolException("search returned 503 rows"),
        K.TOOL_ERROR,
        origin=O.TOOL,
    )
    yield Case(
        "exam langchain",
        "openrouter in a 200",
        lambda: ValueError({"message": "Provider returned error", "code": 502}),
        K.SERVER_ERROR,
    )


def _pydantic_ai(endpoint: Endpoint) -> Iterator[Case]:
    import openai
    from pydantic_ai import Agent, exceptions
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def ask() -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0) as client:
                await Agent(OpenAIChatModel("gpt-5", provider=OpenAIProvider(openai_client=client))).run("hi")

        asyncio.run(main())

    group = "exam pydantic-ai"
    yield from answered(endpoint, group, _rows(answers.OPENAI, *SOME), ask)
    http = exceptions.ModelHTTPError
    yield Case(
        group,
        "tries used up",
        lambda: exceptions.UnexpectedModelBehavior("Exceeded maximum retries (1) for output validation"),
        K.OUTPUT_VALIDATION,
    )
    yield Case(
        group,
        "usage limit",
        lambda: exceptions.UsageLimitExceeded("The next request would exceed the request_limit of 50"),
        K.QUOTA_EXHAUSTED,
        also=(K.RESOURCE_EXHAUSTED, K.INVALID_REQUEST),
    )
    yield Case(
        group,
        "user",
        lambda: exceptions.UserError("Unknown model: timeout"),
        K.INVALID_REQUEST,
        origin=O.CALLER,
    )
    yield Case(
        group,
        "all fallbacks, one for good",
        lambda: exceptions.FallbackExceptionGroup("All models failed", [http(503, "a"), http(401, "b")]),
        K.AUTH,
    )
    yield Case(
        group,
        "all fallbacks, for a while",
        lambda: exceptions.FallbackExceptionGroup("All models failed", [http(503, "a"), http(429, "b")]),
        K.OVERLOADED,
        also=(K.RATE_LIMIT,),
    )


def _agents(endpoint: Endpoint) -> Iterator[Case]:
    import agents
    import openai

    def ask() -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(api_key=KEY, base_url=endpoint.url, max_retries=0) as client:
                agent = agents.Agent(name="a", model=agents.OpenAIChatCompletionsModel("gpt-5", client))
                await agents.Runner.run(agent, "hi", run_config=agents.RunConfig(tracing_disabled=True))

        asyncio.run(main())

    group = "exam openai-agents"
    yield from answered(endpoint, group, _rows(answers.OPENAI, *SOME), ask)
    yield Case(
        group,
        "turns",
        lambda: agents.MaxTurnsExceeded("Max turns (10) exceeded"),
        K.RESOURCE_EXHAUSTED,
        also=(K.INVALID_REQUEST, K.OUTPUT_VALIDATION, K.QUOTA_EXHAUSTED, K.TOOL_ERROR),
    )
    yield Case(
        group,
        "behaviour",
        lambda: agents.ModelBehaviorError("Tool timeout_503 not found in agent a"),
        K.OUTPUT_VALIDATION,
    )
    yield Case(
        group, "user", lambda: agents.UserError("No timeout given"), K.INVALID_REQUEST, origin=O.CALLER
    )


BUILDERS = (
    _openai,
    _anthropic,
    _google,
    _mistral,
    _cohere,
    _groq,
    _bedrock,
    _azure,
    _langchain,
    _pydantic_ai,
    _agents,
)
