"""Read by pyright, never run: a guarded client has the types of its SDK."""

from __future__ import annotations

from typing import assert_type

import anthropic
import openai
from anthropic.types import Message
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from techrevati.runtime.integrations import guard

client = guard(openai.OpenAI(), project="acme")
assert_type(client, openai.OpenAI)
assert_type(guard(openai.AsyncOpenAI()), openai.AsyncOpenAI)
assert_type(guard(openai.AzureOpenAI()), openai.AzureOpenAI)
assert_type(guard(anthropic.Anthropic()), anthropic.Anthropic)
assert_type(guard(anthropic.AsyncAnthropic()), anthropic.AsyncAnthropic)
assert_type(client.with_options(timeout=3), openai.OpenAI)
assert_type(client.chat.completions.create(model="m", messages=[]), ChatCompletion)
for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
    assert_type(chunk, ChatCompletionChunk)
assert_type(client.embeddings.create(model="m", input="x"), CreateEmbeddingResponse)
assert_type(guard(anthropic.Anthropic()).messages.create(model="m", max_tokens=1, messages=[]), Message)


async def tasks() -> None:
    """The asynchronous ones."""
    aclient = guard(openai.AsyncOpenAI())
    assert_type(await aclient.chat.completions.create(model="m", messages=[]), ChatCompletion)
    async for chunk in await aclient.chat.completions.create(model="m", messages=[], stream=True):
        assert_type(chunk, ChatCompletionChunk)


client.no_such_name  # type: ignore  # noqa: B018  # pyright reports an ignore that nothing needs
