"""``@guarded`` on functions of every colour that call the real SDKs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.deadlines import DeadlineExceededError
from techrevati.runtime.integrations import CallGuard, ModelRequest, coverage, guarded
from techrevati.runtime.ledger import SpendLedger
from tests.integration.guard_shapes import (
    ANSWER,
    MODEL,
    async_openai_client,
    endpoint,
    openai_client,
    request,
)
from tests.integration.test_guard_calls import at_once

BUSY = Fault(FaultKind.UNAVAILABLE)
KINDS = ["def", "async def", "generator", "async generator"]


@pytest.fixture
def ledger() -> Iterator[SpendLedger]:
    """Books in memory."""
    with SpendLedger(":memory:") as made:
        yield made


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


def ask(kind: str, server: ChaosServer, take: int | None = None, **options: Any) -> str:
    """Make one call with a function of that kind; *take* items of a stream at most."""
    options.setdefault("breaker", BreakerRegistry())
    made: dict[str, Any] = {**request(), "stream_options": {"include_usage": True}, "stream": True}

    def chunk_text(chunk: Any) -> str:
        return chunk.choices[0].delta.content or "" if chunk.choices else ""

    if kind == "def":

        @guarded(**options)
        def create(client: Any, model: str, max_tokens: int, messages: list[Any]) -> Any:
            return client.chat.completions.create(model=model, max_tokens=max_tokens, messages=messages)

        with openai_client(server, max_retries=0) as client:
            return create(client, **request()).choices[0].message.content
    if kind == "generator":

        @guarded(**options)
        def chunks(client: Any, **body: Any) -> Iterator[Any]:
            yield from client.chat.completions.create(**body)

        with openai_client(server, max_retries=0) as client:
            stream = chunks(client, **made)
            if take is None:
                return "".join(map(chunk_text, stream))
            for _ in range(take):
                next(stream)
            stream.close()
            return ""

    async def go() -> str:
        async with async_openai_client(server, max_retries=0) as client:
            if kind == "async def":

                @guarded(**options)
                async def acreate(**body: Any) -> Any:
                    return await client.chat.completions.create(**body)

                return (await acreate(**request())).choices[0].message.content

            @guarded(**options)
            async def achunks(**body: Any) -> AsyncIterator[Any]:
                async for chunk in await client.chat.completions.create(**body):
                    yield chunk

            stream: Any = achunks(**made)
            text, seen = "", 0
            async for chunk in stream:
                text += chunk_text(chunk)
                seen += 1
                if seen == take:
                    break
            await stream.aclose()
            for _ in range(100):  # the SDK's own generators are closed by the loop, a moment later
                if len(asyncio.all_tasks()) == 1:
                    break
                await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1
            return text

    return asyncio.run(go())


@pytest.mark.parametrize("kind", KINDS)
def test_the_bill_equals_the_ledger(kind: str, ledger: SpendLedger) -> None:
    """Two refusals and an answer: three physical requests on both sides, one of them billed."""
    budget = Budget("acme", 1, ledger=ledger)
    with endpoint(BUSY, BUSY) as server:
        assert ask(kind, server, budget=budget, project="acme", retry=at_once()) == ANSWER
        server.wait_idle()
        assert server.bill.requests == len(list(ledger.records())) == 3
        assert ledger.total(project="acme") == server.bill.cost_usd > 0
        assert {record.certainty for record in ledger.records() if record.failure is None} == {"measured"}
    (row,) = coverage()
    assert (row.treatment, row.calls, row.requests, row.without_usage) == ("guarded", 1, 3, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_veto_sends_nothing(kind: str) -> None:
    """An open breaker and a budget that is too small refuse before the function runs."""
    breaker = CircuitBreaker("api")
    breaker.force_open()
    with endpoint() as server:
        with pytest.raises(CircuitOpenError):
            ask(kind, server, breaker=breaker)
        with pytest.raises(BudgetExceededError):
            ask(kind, server, budget=Budget("small", 0.000001))
        with pytest.raises(DeadlineExceededError):
            ask(kind, server, deadline=1e-9)
        server.wait_idle()
        assert server.bill.requests == 0


@pytest.mark.parametrize("kind", KINDS)
def test_errors_keep_their_type(kind: str) -> None:
    """The last attempt's own exception comes out."""
    with endpoint(Fault(FaultKind.RATE_LIMIT, retry_after_s=0), BUSY) as server:
        with pytest.raises(openai.InternalServerError):
            ask(kind, server, retry=at_once(2))
        assert server.bill.requests == 2


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_stream_that_is_left_is_estimated(kind: str, ledger: SpendLedger) -> None:
    """The books hold what had come, and say that it is an estimate."""
    with endpoint() as server:
        ask(kind, server, take=2, ledger=ledger)
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert record.usage.output_tokens >= 1
    (row,) = coverage()
    assert row.without_usage == 1


def test_the_signature_stays() -> None:
    """Names, defaults, annotations and docstring are the function's own."""

    @guarded(model=MODEL, max_output_tokens=5)
    def ask_model(prompt: str, *, calm: bool = True) -> str:
        """Ask."""
        return prompt

    assert str(inspect.signature(ask_model)) == "(prompt: 'str', *, calm: 'bool' = True) -> 'str'"
    assert ask_model.__doc__ == "Ask."


def test_usage_by_hand(ledger: SpendLedger) -> None:
    """``usage_of`` and ``request`` say what cannot be read."""
    seen: list[ModelRequest] = []

    def read(prompt: str) -> ModelRequest:
        seen.append(ModelRequest("mine", MODEL, "mine", content=prompt, max_output_tokens=10))
        return seen[-1]

    @guarded(
        ledger=ledger, request=read, usage_of=lambda answer: {"input_tokens": answer[1], "output_tokens": 2}
    )
    def ask_model(prompt: str) -> tuple[str, int]:
        return prompt, 7

    assert ask_model("hello") == ("hello", 7)
    (record,) = ledger.records()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (7, 2)
    assert record.model == MODEL
    assert len(seen) == 1


def test_silence_is_not_free(ledger: SpendLedger) -> None:
    """An answer without usage is on the books as an estimate, and coverage says so."""

    @guarded(model=MODEL, ledger=ledger, max_output_tokens=10)
    def ask_model(prompt: str) -> str:
        return "yes"

    ask_model("hello")
    (row,) = coverage()
    assert row.without_usage == 1
    (record,) = ledger.records()
    assert record.certainty != "measured"


def test_clients_among_the_arguments_are_not_input() -> None:
    """Only texts, lists and mappings are."""

    @guarded(model=MODEL, budget=Budget("b", limits={"input_tokens": 2_000}))
    def ask_model(client: object, prompt: str) -> dict[str, Any]:
        return {"usage": {"input_tokens": 1, "output_tokens": 1}}

    ask_model(CallGuard(), "hello")
    with pytest.raises(BudgetExceededError):
        ask_model(None, "x" * 5_000)


def test_bad_arguments_are_told_at_once() -> None:
    """The text names the argument."""
    with pytest.raises(ValueError, match="provider"):
        guarded(provider="")
    with pytest.raises(TypeError, match="budget"):
        guarded(budget=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="function"):
        guarded()(int)
