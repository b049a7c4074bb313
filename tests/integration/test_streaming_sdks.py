"""Watched streams of the real openai and anthropic SDKs, sync and async; a provider falls silent."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import anthropic
import openai
import pytest

from techrevati.runtime import StreamOutcome, StreamStalledError, StreamUsage, watch
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind

NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
USER: list[Any] = [{"role": "user", "content": NOTES}]
HOUR_S = 3_600.0
PATIENCE_S = 10.0
STALLED = Fault(FaultKind.STALLED_STREAM, after_tokens=3, delay_s=HOUR_S)
SLOW = Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=HOUR_S)
SDKS = ["openai", "anthropic", "anthropic helper"]
OPENAI: dict[str, Any] = {"api_key": "sk-x", "max_retries": 0, "timeout": 60}


def opened(sdk: str, client: Any) -> Any:
    """A stream of one SDK; for async clients to be awaited."""
    if sdk == "openai":
        options = {"include_usage": True}
        return client.chat.completions.create(
            model="gpt-4.1-mini", messages=USER, stream=True, stream_options=options
        )
    return client.messages.create(model="claude-haiku-4-5", max_tokens=200, messages=USER, stream=True)


def sync_client(sdk: str, server: ChaosServer) -> Any:
    if sdk == "openai":
        return openai.OpenAI(base_url=server.base_url, **OPENAI)
    return anthropic.Anthropic(base_url=server.anthropic_base_url, **OPENAI)


def async_client(sdk: str, server: ChaosServer) -> Any:
    if sdk == "openai":
        return openai.AsyncOpenAI(base_url=server.base_url, **OPENAI)
    return anthropic.AsyncAnthropic(base_url=server.anthropic_base_url, **OPENAI)


def used_up(sdk: str, server: ChaosServer, **limits: Any) -> tuple[StreamOutcome, type | None]:
    """One stream to its end."""
    usage = StreamUsage(input_tokens=50)
    with sync_client(sdk, server) as client:
        if sdk == "anthropic helper":
            with client.messages.stream(model="claude-haiku-4-5", max_tokens=200, messages=USER) as source:
                return _sync(watch(source, **limits, usage=usage))
        return _sync(watch(opened(sdk, client), **limits, usage=usage))


def _sync(stream: Any) -> tuple[StreamOutcome, type | None]:
    try:
        for _ in stream:
            pass
    except Exception as error:
        return stream.outcome, type(error)
    return stream.outcome, None


async def aused_up(sdk: str, server: ChaosServer, **limits: Any) -> tuple[StreamOutcome, type | None]:
    """:func:`used_up` for tasks."""
    usage = StreamUsage(input_tokens=50)
    async with async_client(sdk, server) as client:
        if sdk == "anthropic helper":
            async with client.messages.stream(
                model="claude-haiku-4-5", max_tokens=200, messages=USER
            ) as source:
                return await _async(watch(source, **limits, usage=usage))
        return await _async(watch(await opened(sdk, client), **limits, usage=usage))


async def _async(stream: Any) -> tuple[StreamOutcome, type | None]:
    try:
        async for _ in stream:
            pass
    except Exception as error:
        return stream.outcome, type(error)
    return stream.outcome, None


def both(colour: str, sdk: str, server: ChaosServer, **limits: Any) -> tuple[StreamOutcome, type | None]:
    if colour == "sync":
        return used_up(sdk, server, **limits)

    async def main() -> tuple[StreamOutcome, type | None]:
        found = await aused_up(sdk, server, **limits)
        for _ in range(10):  # the SDKs leave generators of theirs to the loop
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    return asyncio.run(main())


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_whole_stream_is_measured_as_it_is_billed(colour: str, sdk: str) -> None:
    with ChaosServer() as server:
        outcome, raised = both(colour, sdk, server, first_token_seconds=30, idle_seconds=30)
        bill = server.bill
    assert (raised, outcome.state, outcome.estimated) == (None, "completed", False)
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (
        bill.input_tokens,
        bill.output_tokens,
    )


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_stream_that_falls_silent_is_interrupted(colour: str, sdk: str) -> None:
    """The provider says nothing for an hour; what it said is estimated.  No thread and no task is left."""
    with ChaosServer([STALLED]) as server:
        outcome, raised = both(colour, sdk, server, first_token_seconds=30, idle_seconds=0.1)
        assert (raised, outcome.state, outcome.estimated) == (StreamStalledError, "stalled", True)
        assert isinstance(outcome.error, StreamStalledError)
        assert (outcome.error.phase, outcome.error.chunks) == ("idle", outcome.chunks)
        assert outcome.usage is not None
        assert outcome.usage.output_tokens >= 3
        assert outcome.usage.input_tokens > 0
        assert both(colour, sdk, server, idle_seconds=30)[1] is None, "the client's next stream is sound"
    until = time.monotonic() + PATIENCE_S
    while any(thread.name == "techrevati-stream-watchdog" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_leaving_early_closes_the_connection(colour: str, sdk: str) -> None:
    async def leave() -> StreamOutcome | None:
        async with async_client(sdk, server) as client:
            if sdk == "anthropic helper":
                manager = client.messages.stream(model="claude-haiku-4-5", max_tokens=200, messages=USER)
                async with manager as source, watch(source, idle_seconds=30) as stream:
                    await anext(stream)
            else:
                async with watch(await opened(sdk, client), idle_seconds=30) as stream:
                    await anext(stream)
        for _ in range(10):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return stream.outcome

    with ChaosServer([STALLED]) as server:
        if colour == "async":
            outcome = asyncio.run(leave())
        else:
            with sync_client(sdk, server) as client:
                if sdk == "anthropic helper":
                    manager = client.messages.stream(model="claude-haiku-4-5", max_tokens=200, messages=USER)
                    with manager as source, watch(source, idle_seconds=30) as stream:
                        next(stream)
                else:
                    with watch(opened(sdk, client), idle_seconds=30) as stream:
                        next(stream)
            outcome = stream.outcome
    assert outcome is not None
    assert outcome.state == "closed"


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_first_token_that_does_not_come(colour: str, sdk: str) -> None:
    """Where the provider sends its headers and opening events, and then nothing."""
    silent = Fault(FaultKind.STALLED_STREAM, after_tokens=0, delay_s=HOUR_S)
    with ChaosServer([silent]) as server:
        outcome, raised = both(colour, sdk, server, first_token_seconds=0.1, idle_seconds=30)
    assert raised is StreamStalledError
    assert isinstance(outcome.error, StreamStalledError)
    assert outcome.error.phase == "first_token"
