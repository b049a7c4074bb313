"""Every way to call a model through the SDKs, for the tests of guarded clients."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import anthropic
import openai
from pydantic import BaseModel

from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.pricing import ModelPricing, register_pricing

MODEL = "guard-small"
PRICES = ModelPricing(2.5, 10, cache_write_per_million=3.125, cache_read_per_million=0.25)
register_pricing(MODEL, PRICES)
NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
ANSWER = "The breaker opens after five failures, then it waits. [a.md]"
KEY = "sk-test-0123456789abcdef"


class Wrapping(Protocol):
    """``guard`` with everything but the client given."""

    def __call__(self, client: Any) -> Any:
        """Guard *client*."""
        ...


class Answer(BaseModel):
    """What the parsed calls ask for."""

    answer: str


def endpoint(*faults: Any, **more: Any) -> ChaosServer:
    """A server that charges what the ledger expects."""
    return ChaosServer(faults or None, models=(MODEL,), prices={MODEL: PRICES}, **more)


def request() -> dict[str, Any]:
    """A request unlike every other one, so that nothing is taken for its retry."""
    messages = [
        {"role": "user", "content": f"Call {uuid.uuid4().hex}."},
        {"role": "assistant", "content": "Yes?"},
    ]
    return {"model": MODEL, "max_tokens": 60, "messages": [*messages, {"role": "user", "content": NOTES}]}


def responses_request() -> dict[str, Any]:
    """The same for the Responses API."""
    body = request()
    return {"model": MODEL, "max_output_tokens": body["max_tokens"], "input": body["messages"]}


def openai_client(server: ChaosServer, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=server.base_url, **more)


def async_openai_client(server: ChaosServer, **more: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=KEY, base_url=server.base_url, **more)


def anthropic_client(server: ChaosServer, **more: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=KEY, base_url=server.base_url.removesuffix("/v1"), **more)


def async_anthropic_client(server: ChaosServer, **more: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key=KEY, base_url=server.base_url.removesuffix("/v1"), **more)


# --- the shapes: each makes one call and returns the text of the answer -----------------------------------


def chat_create(client: Any) -> str:
    return client.chat.completions.create(**request()).choices[0].message.content


def chat_parse(client: Any) -> str:
    said = client.chat.completions.parse(**request(), response_format=Answer)
    assert isinstance(said.choices[0].message.parsed, Answer)
    return ANSWER


def chat_raw(client: Any) -> str:
    raw = client.chat.completions.with_raw_response.create(**request())
    assert raw.headers["content-type"].startswith("application/json")
    return raw.parse().choices[0].message.content


def chat_streaming_response(client: Any) -> str:
    with client.chat.completions.with_streaming_response.create(**request()) as response:
        return response.parse().choices[0].message.content


def chat_stream_lines(client: Any) -> str:
    with client.chat.completions.with_streaming_response.create(**request(), stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert not any('"choices":[]' in line for line in lines)
    return ANSWER


def chunks_text(chunks: list[Any]) -> str:
    """The text of a stream whose reader did not ask for its usage."""
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def chat_streamed(client: Any) -> str:
    return chunks_text(list(client.chat.completions.create(**request(), stream=True)))


def chat_streamed_usage(client: Any) -> str:
    stream = client.chat.completions.create(**request(), stream=True, stream_options={"include_usage": True})
    *chunks, last = list(stream)
    assert last.choices == []
    assert last.usage.completion_tokens > 0
    return chunks_text(chunks)


def chat_streamed_raw(client: Any) -> str:
    raw = client.chat.completions.with_raw_response.create(**request(), stream=True)
    return chunks_text(list(raw.parse()))


def chat_stream(client: Any) -> str:
    with client.chat.completions.stream(**request()) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().choices[0].message.content


def chat_options(client: Any) -> str:
    return chat_create(client.with_options(timeout=30, max_retries=2).copy(timeout=20))


def responses_create(client: Any) -> str:
    return client.responses.create(**responses_request()).output_text


def responses_parse(client: Any) -> str:
    said = client.responses.parse(**responses_request(), text_format=Answer)
    assert isinstance(said.output_parsed, Answer)
    return ANSWER


def responses_raw(client: Any) -> str:
    return client.responses.with_raw_response.create(**responses_request()).parse().output_text


def responses_streaming_response(client: Any) -> str:
    with client.responses.with_streaming_response.create(**responses_request()) as response:
        return response.parse().output_text


def events_text(events: list[Any]) -> str:
    assert events[-1].type == "response.completed"
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def responses_streamed(client: Any) -> str:
    return events_text(list(client.responses.create(**responses_request(), stream=True)))


def responses_stream(client: Any) -> str:
    with client.responses.stream(**responses_request()) as stream:
        for _ in stream:
            pass
        return stream.get_final_response().output_text


def embeddings_request() -> dict[str, Any]:
    """A text to embed, unlike every other one."""
    return {"model": MODEL, "input": f"{NOTES} {uuid.uuid4().hex}"}


def vector_text(answer: Any) -> str:
    """What embeddings give instead of a text, looked at."""
    assert answer.usage.prompt_tokens > 0
    assert all(isinstance(number, float) for number in answer.data[0].embedding)
    return ANSWER


def embeddings_create(client: Any) -> str:
    return vector_text(client.embeddings.create(**embeddings_request()))


def embeddings_raw(client: Any) -> str:
    return vector_text(client.embeddings.with_raw_response.create(**embeddings_request()).parse())


def embeddings_streaming_response(client: Any) -> str:
    with client.embeddings.with_streaming_response.create(**embeddings_request()) as response:
        return vector_text(response.parse())


def messages_create(client: Any) -> str:
    return client.messages.create(**request()).content[0].text


def messages_parse(client: Any) -> str:
    said = client.messages.parse(**request(), output_format=Answer)
    assert isinstance(said.parsed_output, Answer)
    return ANSWER


def messages_raw(client: Any) -> str:
    return client.messages.with_raw_response.create(**request()).parse().content[0].text


def messages_streaming_response(client: Any) -> str:
    with client.messages.with_streaming_response.create(**request()) as response:
        return response.parse().content[0].text


def messages_streamed(client: Any) -> str:
    events = list(client.messages.create(**request(), stream=True))
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def messages_stream(client: Any) -> str:
    with client.messages.stream(**request()) as stream:
        return "".join(stream.text_stream)


def messages_beta(client: Any) -> str:
    return client.beta.messages.create(**request()).content[0].text


async def achat_create(client: Any) -> str:
    return (await client.chat.completions.create(**request())).choices[0].message.content


async def achat_parse(client: Any) -> str:
    said = await client.chat.completions.parse(**request(), response_format=Answer)
    assert isinstance(said.choices[0].message.parsed, Answer)
    return ANSWER


async def achat_raw(client: Any) -> str:
    raw = await client.chat.completions.with_raw_response.create(**request())
    return raw.parse().choices[0].message.content


async def achat_streaming_response(client: Any) -> str:
    async with client.chat.completions.with_streaming_response.create(**request()) as response:
        return (await response.parse()).choices[0].message.content


async def achat_streamed(client: Any) -> str:
    stream = await client.chat.completions.create(**request(), stream=True)
    return chunks_text([chunk async for chunk in stream])


async def achat_streamed_raw(client: Any) -> str:
    raw = await client.chat.completions.with_raw_response.create(**request(), stream=True)
    return chunks_text([chunk async for chunk in raw.parse()])


async def achat_stream(client: Any) -> str:
    async with client.chat.completions.stream(**request()) as stream:
        async for _ in stream:
            pass
        return (await stream.get_final_completion()).choices[0].message.content


async def achat_options(client: Any) -> str:
    return await achat_create(client.with_options(timeout=30, max_retries=2).copy(timeout=20))


async def aresponses_create(client: Any) -> str:
    return (await client.responses.create(**responses_request())).output_text


async def aresponses_parse(client: Any) -> str:
    said = await client.responses.parse(**responses_request(), text_format=Answer)
    assert isinstance(said.output_parsed, Answer)
    return ANSWER


async def aresponses_raw(client: Any) -> str:
    return (await client.responses.with_raw_response.create(**responses_request())).parse().output_text


async def aresponses_streamed(client: Any) -> str:
    stream = await client.responses.create(**responses_request(), stream=True)
    return events_text([event async for event in stream])


async def aresponses_stream(client: Any) -> str:
    async with client.responses.stream(**responses_request()) as stream:
        async for _ in stream:
            pass
        return (await stream.get_final_response()).output_text


async def aresponses_streaming_response(client: Any) -> str:
    async with client.responses.with_streaming_response.create(**responses_request()) as response:
        return (await response.parse()).output_text


async def aembeddings_create(client: Any) -> str:
    return vector_text(await client.embeddings.create(**embeddings_request()))


async def aembeddings_raw(client: Any) -> str:
    raw = await client.embeddings.with_raw_response.create(**embeddings_request())
    return vector_text(raw.parse())


async def aembeddings_streaming_response(client: Any) -> str:
    async with client.embeddings.with_streaming_response.create(**embeddings_request()) as response:
        return vector_text(await response.parse())


async def amessages_create(client: Any) -> str:
    return (await client.messages.create(**request())).content[0].text


async def amessages_parse(client: Any) -> str:
    said = await client.messages.parse(**request(), output_format=Answer)
    assert isinstance(said.parsed_output, Answer)
    return ANSWER


async def amessages_raw(client: Any) -> str:
    raw = await client.messages.with_raw_response.create(**request())
    said = raw.parse()
    if isinstance(said, Awaitable):
        said = await said
    return said.content[0].text


async def amessages_streaming_response(client: Any) -> str:
    async with client.messages.with_streaming_response.create(**request()) as response:
        return (await response.parse()).content[0].text


async def amessages_streamed(client: Any) -> str:
    stream = await client.messages.create(**request(), stream=True)
    return "".join([event.delta.text async for event in stream if event.type == "content_block_delta"])


async def amessages_stream(client: Any) -> str:
    async with client.messages.stream(**request()) as stream:
        return "".join([text async for text in stream.text_stream])


class Shape(NamedTuple):
    """One way to make a call."""

    make: Callable[..., Any]
    client: Callable[..., Any]

    @property
    def name(self) -> str:
        """For test ids."""
        return self.make.__name__

    def call(self, server: ChaosServer, guarded: Wrapping, **options: Any) -> str:
        """The text that one call of a guarded client gives."""
        if not asyncio.iscoroutinefunction(self.make):
            with guarded(self.client(server, **options)) as client:
                return self.make(client)

        async def main() -> str:
            async with guarded(self.client(server, **options)) as client:
                text: str = await self.make(client)
                return text

        return asyncio.run(main())


SHAPES = [
    *(
        Shape(make, openai_client)
        for make in (
            chat_create,
            chat_parse,
            chat_raw,
            chat_streaming_response,
            chat_stream_lines,
            chat_streamed,
            chat_streamed_usage,
            chat_streamed_raw,
            chat_stream,
            chat_options,
            responses_create,
            responses_parse,
            responses_raw,
            responses_streaming_response,
            responses_streamed,
            responses_stream,
            embeddings_create,
            embeddings_raw,
            embeddings_streaming_response,
        )
    ),
    *(
        Shape(make, async_openai_client)
        for make in (
            achat_create,
            achat_parse,
            achat_raw,
            achat_streaming_response,
            achat_streamed,
            achat_streamed_raw,
            achat_stream,
            achat_options,
            aresponses_create,
            aresponses_parse,
            aresponses_raw,
            aresponses_streaming_response,
            aresponses_streamed,
            aresponses_stream,
            aembeddings_create,
            aembeddings_raw,
            aembeddings_streaming_response,
        )
    ),
    *(
        Shape(make, anthropic_client)
        for make in (
            messages_create,
            messages_parse,
            messages_raw,
            messages_streaming_response,
            messages_streamed,
            messages_stream,
            messages_beta,
        )
    ),
    *(
        Shape(make, async_anthropic_client)
        for make in (
            amessages_create,
            amessages_parse,
            amessages_raw,
            amessages_streaming_response,
            amessages_streamed,
            amessages_stream,
        )
    ),
]
