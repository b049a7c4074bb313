"""Streamed turns of the real openai and anthropic SDKs: the ledger says what the provider billed."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from techrevati.runtime import CircuitBreaker, CircuitState, InDoubtError, Orchestrator, StreamStalledError
from techrevati.runtime.budgets import Budget
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.journal import Journal
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.stores import SqliteStore

NOTES = "Question: what opens?\nNotes:\n- The breaker opens after five failures, then it waits. [a.md]"
USER: list[Any] = [{"role": "user", "content": NOTES}]
STALLED = Fault(FaultKind.STALLED_STREAM, after_tokens=3, delay_s=3_600.0)
MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5"}
SDKS = list(MODELS)
COLOURS = ["sync", "async"]
OPTIONS: dict[str, Any] = {"api_key": "sk-x", "max_retries": 0, "timeout": 60}


def opening(sdk: str, client: Any) -> Any:
    if sdk == "openai":
        return client.chat.completions.create(
            model=MODELS[sdk], messages=USER, stream=True, stream_options={"include_usage": True}
        )
    return client.messages.create(model=MODELS[sdk], max_tokens=200, messages=USER, stream=True)


def text_of(chunk: Any) -> str | None:
    """What one chunk of either SDK says."""
    if hasattr(chunk, "choices"):
        return chunk.choices[0].delta.content or None if chunk.choices else None
    return getattr(getattr(chunk, "delta", None), "text", None) or None


def stream(
    colour: str, sdk: str, server: ChaosServer, desk: Orchestrator, leave_after: int | None = None
) -> str:
    """One streamed turn to its end, or left after so many items."""
    bounds: dict[str, Any] = {
        "input_tokens": 200,
        "max_output_tokens": 500,
        "first_token_seconds": 30,
        "idle_seconds": 0.2,
        "item": text_of,
    }
    said: list[str] = []

    async def main() -> None:
        kind = openai.AsyncOpenAI if sdk == "openai" else anthropic.AsyncAnthropic
        base_url = server.base_url if sdk == "openai" else server.anthropic_base_url
        client: Any = kind(base_url=base_url, **OPTIONS)
        async with client, desk.asession() as session:
            opened = await session.arun_stream(lambda: opening(sdk, client), MODELS[sdk], **bounds)
            async with opened:
                async for item in opened:
                    said.append(item)
                    if len(said) == leave_after:
                        break

    if colour == "async":
        asyncio.run(main())
        return "".join(said)
    kind = openai.OpenAI if sdk == "openai" else anthropic.Anthropic
    base_url = server.base_url if sdk == "openai" else server.anthropic_base_url
    client: Any = kind(base_url=base_url, **OPTIONS)
    with client, desk.session() as session:
        for item in session.run_stream(lambda: opening(sdk, client), MODELS[sdk], **bounds):
            said.append(item)
            if len(said) == leave_after:
                break  # leaving the session closes it
    return "".join(said)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("colour", COLOURS)
def test_the_bill_of_whole_streams_is_the_ledger(colour: str, sdk: str, tmp_path: Path) -> None:
    with SpendLedger(tmp_path / "spend.db") as ledger, ChaosServer() as server:
        desk = Orchestrator("writer", "draft", ledger=ledger)
        answers = [stream(colour, sdk, server, desk) for _ in range(3)]
        assert "breaker opens" in answers[0]
        records = list(ledger.records())
        assert {record.certainty for record in records} == {"measured"}
        assert sum(record.usage.input_tokens for record in records) == server.bill.input_tokens
        assert sum(record.usage.output_tokens for record in records) == server.bill.output_tokens
        assert ledger.total() == server.bill.cost_usd
        assert ledger.total() > 0
        assert ledger.leases() == []


@pytest.mark.parametrize("end", ["stalled", "left"])
@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("colour", COLOURS)
def test_what_ends_early_is_on_the_books_as_estimated(
    colour: str, sdk: str, end: str, tmp_path: Path
) -> None:
    breaker = CircuitBreaker("provider", failure_threshold=1)
    with SpendLedger(tmp_path / "spend.db") as ledger, ChaosServer([STALLED]) as server:
        budget = Budget("team", 1, ledger=ledger)
        desk = Orchestrator("writer", "draft", budget=budget, circuit_breaker=breaker)
        if end == "stalled":
            with pytest.raises(StreamStalledError):
                stream(colour, sdk, server, desk)
        else:
            assert stream(colour, sdk, server, desk, leave_after=2)
        (record,) = ledger.records()
        assert record.certainty == "estimated"
        assert record.usage.output_tokens >= (3 if end == "stalled" else 2)
        assert record.usage.input_tokens > 0
        assert record.cost is not None
        assert record.cost > 0
        assert ledger.leases() == []
        assert not budget.snapshot().reserved.get("usd")
    assert breaker.state() is (CircuitState.OPEN if end == "stalled" else CircuitState.CLOSED)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_resumed_run_pays_for_no_stream_twice(colour: str, sdk: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "run.db")
    with SpendLedger(tmp_path / "spend.db") as ledger, ChaosServer() as server:
        desk = Orchestrator("writer", "draft", ledger=ledger, journal=Journal(store), run_id="r")
        first = stream(colour, sdk, server, desk)
        assert stream(colour, sdk, server, desk) == first
        assert server.bill.billed_requests == 1
        assert ledger.total() == server.bill.cost_usd
    with SpendLedger(tmp_path / "other.db") as ledger, ChaosServer() as server:
        desk = Orchestrator("writer", "draft", ledger=ledger, journal=Journal(store), run_id="left")
        stream(colour, sdk, server, desk, leave_after=2)
        with pytest.raises(InDoubtError):
            stream(colour, sdk, server, desk)
        assert ledger.total() > Decimal(0)
    store.close()
    until = time.monotonic() + 10.0  # the watchdog's thread ends by itself, behind the last stream
    while any(thread.name == "techrevati-stream-watchdog" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.001)
