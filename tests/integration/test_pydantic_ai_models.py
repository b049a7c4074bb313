"""pydantic-ai, where a call could be counted twice, or stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import coverage
from techrevati.runtime.ledger import SpendLedger
from tests.integration.adapters import MAX_TOKENS, _pa_history, _pa_model, assert_no_task_left
from tests.integration.guard_shapes import MODEL, NOTES, endpoint
from tests.integration.test_adapters import FlakyModel


@pytest.fixture
def ledger() -> Iterator[SpendLedger]:
    """Books in memory."""
    with SpendLedger(":memory:") as made:
        yield made


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


def once(model: Any) -> str:
    """One run."""
    from pydantic_ai import Agent

    agent: Any = Agent(model, model_settings={"max_tokens": MAX_TOKENS})
    return str(asyncio.run(agent.run("hi")).output)


@pytest.mark.parametrize("inside", ["itself", "fallback", "wrapper"])
def test_a_guarded_model_gets_the_new_guard(inside: str, ledger: SpendLedger) -> None:
    """Instead of the old one, wherever that is; the model that was given keeps its own."""
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.wrapper import WrapperModel

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    with SpendLedger(":memory:") as old:
        first: Any = GuardedModel(FlakyModel().model(), ledger=old, breaker=BreakerRegistry())
        around = {"itself": first, "fallback": FallbackModel(first), "wrapper": WrapperModel(first)}[inside]
        assert once(GuardedModel(around, ledger=ledger, breaker=BreakerRegistry())) == "hello there"
        assert (len(list(old.records())), len(list(ledger.records()))) == (0, 1)
        assert once(around) == "hello there"
        assert (len(list(old.records())), len(list(ledger.records()))) == (1, 1)


def test_a_guarded_client_gets_the_new_guard(ledger: SpendLedger) -> None:
    """So does a model that talks through an SDK client."""
    from pydantic_ai import Agent

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    async def go(server: Any, old: SpendLedger) -> None:
        model, client = _pa_model(server, {"ledger": old, "breaker": BreakerRegistry()})
        async with client:
            agent: Any = Agent(GuardedModel(model, ledger=ledger, breaker=BreakerRegistry()))
            await agent.run(NOTES, message_history=_pa_history())

    with endpoint() as server, SpendLedger(":memory:") as old:
        asyncio.run(go(server, old))
        assert (len(list(old.records())), len(list(ledger.records()))) == (0, 1)


def test_a_stream_that_fails_at_its_end_holds_nothing(ledger: SpendLedger) -> None:
    """What the model raises when its stream is closed is a failure like any other."""
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    class Broken(TestModel):
        @asynccontextmanager
        async def request_stream(self, *args: Any, **more: Any) -> Any:
            async with super().request_stream(*args, **more) as stream:
                yield stream
            raise ConnectionError("at the very end")

    budget = Budget("acme", 1, ledger=ledger)
    model = GuardedModel(Broken(model_name=MODEL), budget=budget, ledger=ledger, breaker=BreakerRegistry())

    async def go() -> None:
        agent: Any = Agent(model, model_settings={"max_tokens": MAX_TOKENS})
        async with agent.run_stream("hi") as result:
            async for _ in result.stream_text():
                pass

    with pytest.raises(ConnectionError, match="at the very end"):
        asyncio.run(go())
    (record,) = ledger.records()
    assert (record.failure, record.certainty) == ("network", "estimated")
    assert not any(budget.snapshot().reserved.values())


def test_what_is_asked_again_is_counted_again(ledger: SpendLedger) -> None:
    """A validator of outputs that asks twice more: three requests on both sides, to the last token."""
    from pydantic_ai import Agent, ModelRetry

    budget = Budget("acme", 1, ledger=ledger)

    async def go(server: Any) -> None:
        model, client = _pa_model(server, {"budget": budget, "ledger": ledger, "breaker": BreakerRegistry()})
        agent: Any = Agent(model, model_settings={"max_tokens": MAX_TOKENS}, retries=2)
        seen: list[str] = []

        @agent.output_validator
        def twice_more(text: str) -> str:
            seen.append(text)
            if len(seen) < 3:
                raise ModelRetry("say it again")
            return text

        async with client:
            await agent.run(NOTES, message_history=_pa_history())
            await assert_no_task_left()

    with endpoint() as server:
        asyncio.run(go(server))
        server.wait_idle()
        assert server.bill.requests == len(list(ledger.records())) == 3
        assert ledger.total() == server.bill.cost_usd == budget.snapshot().settled["usd"]
