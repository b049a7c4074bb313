"""Streams that end early: aborted, cancelled, broken, forgotten; each is on the books once, as estimated."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anthropic
import openai
import pytest

from techrevati.runtime._core.collector import caught_up
from techrevati.runtime.agent_events import AgentEvent, AgentEventName
from techrevati.runtime.budgets import Budget
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Outcome
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker
from techrevati.runtime.deadlines import Deadline, DeadlineExceededError
from techrevati.runtime.integrations import coverage, guard, guarded as guarded_function
from techrevati.runtime.ledger import SpendLedger, SpendRecord
from techrevati.runtime.retry_policy import Retry
from tests.integration.guard_shapes import (
    MODEL,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    endpoint,
    openai_client,
    request,
)
from tests.unit.test_answer_tap import MESSAGE

SLOW = Fault(FaultKind.SLOW_STREAM, delay_s=0.05)  # what was read is what was generated, or nearly


def guarded(client: Any, ledger: SpendLedger, **more: Any) -> Any:
    """With a breaker of its own, and a budget whose reservations must all come back."""
    settings = {"breaker": CircuitBreaker("api", failure_threshold=1), "retry": Retry(1), **more}
    return guard(client, project="acme", ledger=ledger, **settings)


def the_record(ledger: SpendLedger, budget: Budget | None = None) -> SpendRecord:
    """The one record there is."""
    (record,) = ledger.records()
    assert record.project == "acme"
    assert budget is None or not any(budget.snapshot().reserved.values())
    return record


def assert_estimated(server: ChaosServer, ledger: SpendLedger) -> SpendRecord:
    """The input as on the bill, and the output within the few tokens that were on their way."""
    server.wait_idle()
    record = the_record(ledger)
    (billed,) = server.injected
    assert billed.outcome in (Outcome.ABORTED, Outcome.DAMAGED)
    assert record.certainty == "estimated"
    assert record.usage.input_tokens == billed.billed.input_tokens > 0
    assert abs(record.usage.output_tokens - billed.billed.output_tokens) <= 3
    return record


def test_an_aborted_chat_stream(ledger: SpendLedger) -> None:
    """Closed by its reader after some chunks; that does not count against the breaker."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    with endpoint(SLOW) as server, openai_client(server) as plain:
        client = guarded(plain, ledger, breaker=breaker)
        with client.chat.completions.create(**request(), stream=True) as stream:
            for _ in range(6):
                next(stream)
        assert_estimated(server, ledger)
    assert breaker.snapshot().failures == 0
    (row,) = coverage()
    assert (row.requests, row.without_usage) == (1, 1)


def test_an_aborted_chat_stream_helper(ledger: SpendLedger) -> None:
    """``.stream()`` left before its end."""
    with endpoint(SLOW) as server, openai_client(server) as plain:
        with guarded(plain, ledger).chat.completions.stream(**request()) as stream:
            for seen, _ in enumerate(stream):
                if seen == 8:
                    break
        assert_estimated(server, ledger)


def test_an_aborted_messages_stream_knows_its_input(ledger: SpendLedger) -> None:
    """Anthropic says the input first: that part is exact."""
    with endpoint(SLOW) as server, anthropic_client(server) as plain:
        with guarded(plain, ledger).messages.stream(**request()) as stream:
            for seen, _ in enumerate(stream.text_stream):
                if seen == 4:
                    break
        record = assert_estimated(server, ledger)
        assert record.usage.input_tokens == server.bill.input_tokens


@pytest.mark.parametrize("read", [0, 1])
@pytest.mark.parametrize("limited", [False, True])
def test_a_streaming_response_that_nobody_reads(read: int, limited: bool, ledger: SpendLedger) -> None:
    """Closed with its body unread, or not read to its end: the provider had generated all of it."""
    body = request()
    if not limited:
        del body["max_tokens"]
    with endpoint() as server, openai_client(server) as plain:
        client = guarded(plain, ledger)
        with client.chat.completions.with_streaming_response.create(**body) as response:
            for _ in range(read):
                next(response.iter_bytes(10))
        server.wait_idle()
        record = the_record(ledger)
        assert record.certainty == "estimated"
        assert record.usage.input_tokens > 0
        assert server.bill.output_tokens <= record.usage.output_tokens <= (60 if limited else 1_000)
        if limited:
            assert record.usage.output_tokens == 60


@pytest.mark.parametrize("headers", [{}, {"content-length": None}, {"content-encoding": "gzip"}])
def test_an_unread_response_is_as_long_as_it_says(headers: dict[str, Any], ledger: SpendLedger) -> None:
    """Where it does not say, or is packed, the most that the request allows; embeddings generate nothing."""

    def arrived(response: Any) -> None:
        for name, value in headers.items():
            response.headers.pop(name, None)
            if value is not None:
                response.headers[name] = value

    http = openai.DefaultHttpxClient(event_hooks={"response": [arrived]})
    with endpoint() as server, openai_client(server, http_client=http) as plain:
        client = guarded(plain, ledger)
        with client.embeddings.with_streaming_response.create(model=MODEL, input="hello"):
            pass
        body = {**request(), "max_tokens": 2_000}
        with client.chat.completions.with_streaming_response.create(**body):
            pass
    vectors, chat = (record.usage.output_tokens for record in ledger.records())
    assert vectors == 0
    assert chat == 2_000 if headers else 60 < chat < 1_000


def test_a_forgotten_stream_is_settled(ledger: SpendLedger) -> None:
    """Neither read to its end nor closed: when it is collected."""
    budget = Budget("acme", 1, ledger=ledger)
    with endpoint() as server, openai_client(server) as plain:
        stream = guarded(plain, ledger, budget=budget).chat.completions.create(**request(), stream=True)
        next(stream)
        assert any(budget.snapshot().reserved.values())
        stream.response.close = lambda: None  # not even the SDK's own cleaning up
        http = stream.response
        del stream
        gc.collect()
        type(http).close(http)
        del http
        gc.collect()
        caught_up()
        assert the_record(ledger, budget).certainty == "estimated"


@pytest.mark.parametrize("kind", ["stream of an SDK", "generator"])
def test_the_collector_waits_for_no_lock(kind: str, ledger: SpendLedger) -> None:
    """It runs anywhere, also where its thread holds a lock of ours, or of an event sink as here."""
    budget = Budget("acme", 1, ledger=ledger)
    locked = threading.Lock()
    told: list[AgentEvent] = []

    class Sink:
        def emit(self, event: AgentEvent) -> None:
            with locked:
                told.append(event)

    about: Any = {"ledger": ledger, "budget": budget, "event_sink": Sink(), "project": "acme"}
    with endpoint() as server, openai_client(server) as plain:
        if kind == "generator":

            @guarded_function(model=MODEL, max_output_tokens=9, breaker=BreakerRegistry(), **about)
            def says() -> Iterator[str]:
                yield "one"
                yield "two"

            cycle: list[Any] = [says()]
        else:
            cycle = [
                iter(
                    guard(plain, breaker=BreakerRegistry(), **about).chat.completions.create(
                        **request(), stream=True
                    )
                )
            ]
        next(cycle[0])
        cycle.append(cycle)
        del cycle

        def collect() -> None:
            with locked:
                gc.collect()

        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        caught_up()
        assert the_record(ledger, budget).certainty == "estimated"
    assert [event.event for event in told] == [AgentEventName.MODEL_ABANDONED]


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_task(api: str, stream: bool, ledger: SpendLedger) -> None:
    """The cancellation lands, leaves no task, and the request is on the books."""
    budget = Budget("acme", 1, ledger=ledger)
    breaker = CircuitBreaker("api", failure_threshold=1)
    fault = SLOW if stream else Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=30)

    async def main(server: ChaosServer) -> None:
        make = async_openai_client if api == "openai" else async_anthropic_client
        async with guarded(make(server), ledger, budget=budget, breaker=breaker) as client:
            create = client.chat.completions.create if api == "openai" else client.messages.create
            begun = asyncio.Event()

            async def call() -> None:
                if not stream:
                    begun.set()
                    await create(**request())
                    return
                seen = 0
                async for _ in await create(**request(), stream=True):
                    seen += 1
                    if seen == 6:
                        begun.set()

            task = asyncio.create_task(call())
            await begun.wait()
            while not server.injected:  # noqa: ASYNC110  # the server is in another thread
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with endpoint(fault) as server:
        asyncio.run(main(server))
        server.wait_idle()
        (billed,) = server.injected
    record = the_record(ledger, budget)
    assert record.certainty == "estimated"
    assert record.usage.input_tokens >= billed.billed.input_tokens
    if stream:
        assert abs(record.usage.output_tokens - billed.billed.output_tokens) <= 3
    assert breaker.snapshot().failures == 0


@pytest.mark.parametrize("kind", [FaultKind.RESET_MID_BODY, FaultKind.MID_STREAM_ERROR])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_broken_stream_counts_against_the_breaker(api: str, kind: FaultKind, ledger: SpendLedger) -> None:
    """The SDK's own error is raised; the breaker learns at the end of the stream."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    with endpoint(Fault(kind)) as server:
        make, sdk = (openai_client, openai) if api == "openai" else (anthropic_client, anthropic)
        with make(server) as plain:
            client = guarded(plain, ledger, breaker=breaker)
            create = client.chat.completions.create if api == "openai" else client.messages.create
            with pytest.raises(Exception) as caught:  # which one is the SDK's affair
                list(create(**request(), stream=True))
            assert type(caught.value).__module__.partition(".")[0] in (sdk.__name__, "httpx", "httpx2")
        record = assert_estimated(server, ledger)
    assert record.usage.output_tokens > 0
    assert breaker.is_open()


def test_a_deadline_ends_a_slow_stream(ledger: SpendLedger) -> None:
    """Between two chunks, sync and async."""

    async def read(server: ChaosServer) -> None:
        async with guarded(async_openai_client(server), ledger, deadline=0.3) as client:
            async for _ in await client.chat.completions.create(**request(), stream=True):
                pass

    with endpoint(Fault(FaultKind.STALLED_STREAM)) as server, pytest.raises(DeadlineExceededError):
        asyncio.run(read(server))
    now = [0.0]
    deadline = Deadline(10, clock=lambda: now[0])
    with endpoint() as server, openai_client(server) as plain:
        client = guarded(plain, ledger, deadline=deadline)
        stream = client.chat.completions.create(**request(), stream=True)
        next(stream)
        now[0] = 11.0
        with pytest.raises(DeadlineExceededError):
            list(stream)
        stream.close()
    assert [record.certainty for record in ledger.records()] == ["estimated"] * 2


def test_a_stream_whose_server_tells_no_usage_is_estimated(ledger: SpendLedger) -> None:
    """ask_usage=False leaves the request as it is; coverage says that no usage came."""
    with endpoint() as server, openai_client(server) as plain:
        client = guarded(plain, ledger, ask_usage=False)
        chunks = list(client.chat.completions.create(**request(), stream=True))
        assert chunks
        server.wait_idle()
        record = the_record(ledger)
        assert record.certainty == "estimated"
        assert record.usage.input_tokens >= server.bill.input_tokens
        assert abs(record.usage.output_tokens - server.bill.output_tokens) <= 3
    (row,) = coverage()
    assert row.without_usage == 1


def test_an_answer_that_cannot_be_parsed_is_paid_all_the_same(ledger: SpendLedger) -> None:
    """The SDK refuses what it cannot parse; the provider billed it, and so do we, exactly."""
    from tests.integration.guard_shapes import Answer

    with endpoint() as server, openai_client(server) as plain:
        client = guarded(plain, ledger)
        body = {**request(), "max_tokens": 3}
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(**body, response_format=Answer)
        server.wait_idle()
        record = the_record(ledger)
        assert record.certainty == "measured"
        assert ledger.total() == server.bill.cost_usd


def test_a_stream_of_bedrock_counts(ledger: SpendLedger) -> None:
    """Its events come in binary frames."""
    pytest.importorskip("botocore")
    http_client = anthropic_client_library()

    def answer(_: Any) -> Any:
        return http_client.Response(
            200,
            headers={"content-type": "application/vnd.amazon.eventstream"},
            content=iter(MESSAGE[at : at + 50] for at in range(0, len(MESSAGE), 50)),
        )

    client = anthropic.AnthropicBedrock(
        aws_access_key="a",
        aws_secret_key="b",
        aws_region="us-east-1",
        http_client=http_client.Client(transport=http_client.MockTransport(answer)),
    )
    body: Any = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    assert len(list(guarded(client, ledger).messages.create(**body, stream=True))) == 4
    record = the_record(ledger)
    assert record.certainty == "measured"
    assert (record.usage.input_tokens, record.usage.output_tokens) == (9, 4)


def anthropic_client_library() -> Any:
    """The HTTP library that this anthropic uses."""
    return sys.modules[anthropic.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_stream_that_another_thread_closes_is_no_failure(api: str, ledger: SpendLedger) -> None:
    """Somebody pressed "stop" while its reader waited: that says nothing about the provider."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    body = request()
    make = openai_client if api == "openai" else anthropic_client
    with endpoint(Fault(FaultKind.SLOW_STREAM, delay_s=0.2)) as server, make(server) as plain:
        client = guarded(plain, ledger, breaker=breaker)
        surface = client.chat.completions if api == "openai" else client.messages
        stream = surface.create(**body, stream=True)
        begun = threading.Event()

        def read() -> None:
            with suppress(Exception):  # whatever the SDK makes of it
                for _ in stream:
                    begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(20)
        with suppress(Exception):
            stream.close()
        reader.join(20)
        assert not reader.is_alive()
    assert the_record(ledger).certainty == "estimated"
    assert the_record(ledger).failure is None
    assert not breaker.is_open()


def test_a_stream_that_another_task_closes_is_no_failure(ledger: SpendLedger) -> None:
    """The same for tasks."""
    breaker = CircuitBreaker("api", failure_threshold=1)

    async def go(server: ChaosServer) -> None:
        async with async_openai_client(server) as plain:
            client = guarded(plain, ledger, breaker=breaker)
            stream = await client.chat.completions.create(**request(), stream=True)
            begun = asyncio.Event()

            async def read() -> None:
                async for _ in stream:
                    begun.set()

            reader = asyncio.ensure_future(read())
            await asyncio.wait_for(begun.wait(), 20)
            with suppress(Exception):
                await stream.close()
            with suppress(Exception):
                await asyncio.wait_for(reader, 20)

    with endpoint(Fault(FaultKind.SLOW_STREAM, delay_s=0.2)) as server:
        asyncio.run(go(server))
    assert the_record(ledger).failure is None
    assert not breaker.is_open()
