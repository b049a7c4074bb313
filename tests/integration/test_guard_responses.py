"""Responses that end early, and embeddings, through a guarded client: what is charged is on the books."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import openai
import pytest

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Outcome
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.integrations import guard
from techrevati.runtime.ledger import SpendLedger, SpendRecord
from techrevati.runtime.retry_policy import Retry
from tests.integration.guard_shapes import MODEL, NOTES, async_openai_client, endpoint, openai_client

STALLS = Fault(FaultKind.STALLED_STREAM, after_tokens=6, delay_s=300)  # after 10 events: 4 before the text


def guarded(client: Any, ledger: SpendLedger, **more: Any) -> Any:
    settings = {"breaker": CircuitBreaker("api", failure_threshold=1), "retry": Retry(1), **more}
    return guard(client, project="acme", ledger=ledger, **settings)


def asked(**more: Any) -> dict[str, Any]:
    """A request unlike every other one."""
    return {"model": MODEL, "max_output_tokens": 60, "input": f"{NOTES}\n({uuid.uuid4().hex})", **more}


def assert_estimated(server: ChaosServer, ledger: SpendLedger) -> SpendRecord:
    """Never less input than the bill, and the output within a few tokens of it."""
    assert server.wait_idle()
    (record,) = ledger.records()
    (billed,) = server.injected
    assert billed.outcome in (Outcome.ABORTED, Outcome.DAMAGED)
    assert record.certainty == "estimated"
    assert record.usage.input_tokens >= billed.billed.input_tokens > 0
    assert abs(record.usage.output_tokens - billed.billed.output_tokens) <= 3
    return record


def test_an_aborted_stream(ledger: SpendLedger) -> None:
    """Closed by its reader after some deltas; that does not count against the breaker."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    with endpoint(STALLS) as server, openai_client(server) as plain:
        with guarded(plain, ledger, breaker=breaker).responses.create(**asked(), stream=True) as stream:
            for _ in range(10):
                next(stream)
        assert_estimated(server, ledger)
    assert breaker.snapshot().failures == 0


def test_an_aborted_stream_of_the_stream_method(ledger: SpendLedger) -> None:
    """The same through ``responses.stream``."""
    with endpoint(STALLS) as server, openai_client(server) as plain:
        with guarded(plain, ledger).responses.stream(**asked()) as stream:
            for _, _event in zip(range(10), stream, strict=False):
                pass
        assert_estimated(server, ledger)


def test_a_cancelled_stream(ledger: SpendLedger) -> None:
    """The task is cancelled while it reads; nothing is left running."""

    async def main(server: ChaosServer) -> None:
        async with async_openai_client(server) as plain:
            client = guarded(plain, ledger)
            reading = asyncio.Event()

            async def read() -> None:
                number = 0
                async for _ in await client.responses.create(**asked(), stream=True):
                    number += 1
                    if number == 10:
                        reading.set()

            task = asyncio.create_task(read())
            await reading.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with endpoint(STALLS) as server:
        asyncio.run(main(server))
        assert_estimated(server, ledger)


@pytest.mark.parametrize("kind", [FaultKind.RESET_MID_BODY, FaultKind.TRUNCATED_BODY])
def test_a_broken_stream(kind: FaultKind, ledger: SpendLedger) -> None:
    """What the SDK raises without a guard; the breaker has heard of it."""

    def raised(client: openai.OpenAI) -> Exception:
        with client.responses.create(**asked(), stream=True) as stream, pytest.raises(Exception) as caught:
            list(stream)
        return caught.value

    breaker = CircuitBreaker("api", failure_threshold=1)
    with endpoint(Fault(kind)) as server, openai_client(server) as plain:
        bare = raised(plain)
    with endpoint(Fault(kind)) as server, openai_client(server) as plain:
        error = raised(guarded(plain, ledger, breaker=breaker))
        assert_estimated(server, ledger)
    assert type(error) is type(bare)
    assert str(error) == str(bare)
    assert breaker.is_open()


def test_a_stream_that_fails_inside(ledger: SpendLedger) -> None:
    """``response.failed`` says no usage, and the SDK raises nothing: estimated, and the breaker hears it."""
    breaker = CircuitBreaker("api", failure_threshold=1)
    with endpoint(Fault(FaultKind.MID_STREAM_ERROR)) as server, openai_client(server) as plain:
        with guarded(plain, ledger, breaker=breaker).responses.create(**asked(), stream=True) as stream:
            assert [event.type for event in stream][-2:] == ["error", "response.failed"]
        assert_estimated(server, ledger)
    assert breaker.is_open()


def test_an_incomplete_stream_is_measured(ledger: SpendLedger) -> None:
    """``response.incomplete`` has its usage: bill and ledger are equal."""
    long = asked(
        input=NOTES + "\n- The breaker opens " + "after five failures and a half, " * 6, max_output_tokens=16
    )
    with endpoint() as server, openai_client(server) as plain:
        with guarded(plain, ledger).responses.create(**long, stream=True) as stream:
            kinds = [event.type for event in stream]
        (record,) = ledger.records()
        assert (record.certainty, record.cost) == ("measured", server.bill.cost_usd)
    assert kinds[-1] in ("response.incomplete", "response.completed")


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_embeddings_are_on_the_books(asynchronous: bool, raw: bool, ledger: SpendLedger) -> None:
    """A failed attempt at $0, then the answer: bill and ledger are equal."""
    texts = ["The breaker opens.", uuid.uuid4().hex]
    retry = Retry(2, base_delay_seconds=0.001)

    def sync(server: ChaosServer) -> Any:
        with openai_client(server) as plain:
            held = guarded(plain, ledger, retry=retry, breaker=None).embeddings
            made = held.with_raw_response.create if raw else held.create
            said = made(model=MODEL, input=texts)
            return said.parse() if raw else said

    async def main(server: ChaosServer) -> Any:
        async with async_openai_client(server) as plain:
            held = guarded(plain, ledger, retry=retry, breaker=None).embeddings
            made = held.with_raw_response.create if raw else held.create
            said = await made(model=MODEL, input=texts)
            return said.parse() if raw else said

    with endpoint(Fault(FaultKind.UNAVAILABLE)) as server:
        said = asyncio.run(main(server)) if asynchronous else sync(server)
        assert len(said.data) == 2
        assert len(said.data[0].embedding) == 1536
        first, second = ledger.records()
        assert (first.cost, second.certainty) == (0, "measured")
        assert ledger.total() == server.bill.cost_usd
        assert second.usage.input_tokens == server.bill.input_tokens == said.usage.prompt_tokens
