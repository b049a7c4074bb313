"""pydantic-ai, where a call could be counted twice, or stay open."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import count_tokens
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import coverage
from techrevati.runtime.ledger import SpendLedger
from tests.integration.adapters import MAX_TOKENS, _pa_history, _pa_model, assert_no_task_left
from tests.integration.guard_shapes import MODEL, NOTES, async_openai_client, endpoint
from tests.integration.test_adapters import FlakyModel


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


def test_the_model_that_was_given_stays_as_it_is(ledger: SpendLedger) -> None:
    """Its provider's client, too: what is asked of it itself is on no books."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    async def go(server: Any) -> None:
        client: Any = async_openai_client(server)
        async with client:
            model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
            guarded = GuardedModel(model, ledger=ledger, breaker=BreakerRegistry())
            for one in (model, guarded):
                agent: Any = Agent(one, model_settings={"max_tokens": MAX_TOKENS})
                await agent.run(NOTES, message_history=_pa_history())

    with endpoint() as server:
        asyncio.run(go(server))
        server.wait_idle()
        assert (server.bill.requests, len(list(ledger.records()))) == (2, 1)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_whole_request_is_bounded(streamed: bool) -> None:
    """Prompt, images, tools, and the maximum of the run or of the model itself."""
    from pydantic_ai import Agent, ImageUrl
    from pydantic_ai.models.test import TestModel

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    def look_up(word: str) -> str:
        """Look something up."""
        return word

    look_up.__doc__ = "x" * 6_000
    budget = Budget("acme", limits={"input_tokens": 4_000, "output_tokens": 50})

    def ask(prompt: Any = "hi", most: int | None = 50, own: int | None = None, tools: Any = ()) -> None:
        inner = TestModel(
            call_tools=[], custom_output_text="hi", settings={"max_tokens": own} if own else None
        )
        settings: Any = {"max_tokens": most} if most else None
        agent: Any = Agent(GuardedModel(inner, budget=budget, breaker=BreakerRegistry()), tools=list(tools))

        async def stream() -> None:
            async with agent.run_stream(prompt, model_settings=settings) as result:
                await result.get_output()

        asyncio.run(stream() if streamed else agent.run(prompt, model_settings=settings))

    picture = ImageUrl("https://example.com/a.png")
    for refused in (
        {"most": 51},
        {"most": None, "own": 51},
        {"prompt": "x" * 4_000},
        {"tools": [look_up]},
        {"prompt": ["what is it?", picture, picture]},
    ):
        with pytest.raises(BudgetExceededError):
            ask(**refused)  # type: ignore[arg-type]
    assert not any(budget.snapshot().settled.values())
    ask()


def test_what_says_no_usage_is_estimated(ledger: SpendLedger) -> None:
    """Zeros are no measure; a stream that is left counts what came."""
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.models.wrapper import WrapperModel
    from pydantic_ai.usage import RequestUsage

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    class Silent(WrapperModel):
        async def request(self, *args: Any, **more: Any) -> Any:
            return ModelResponse(parts=[TextPart("hi")], usage=RequestUsage())

    once(GuardedModel(Silent(FlakyModel().model()), ledger=ledger, breaker=BreakerRegistry()))

    async def pieces(history: Any, info: Any) -> Any:
        for _ in range(9):
            yield "x" * 40

    async def leave() -> None:
        from pydantic_ai.models.function import FunctionModel

        model = FunctionModel(stream_function=pieces, model_name=MODEL)
        agent: Any = Agent(GuardedModel(model, ledger=ledger, breaker=BreakerRegistry()))
        async with agent.run_stream("hi") as result:
            async for _ in result.stream_text(delta=True, debounce_by=None):
                break

    asyncio.run(leave())
    silent, left = ledger.records()
    assert (silent.certainty, left.certainty) == ("estimated", "estimated")
    assert silent.usage.input_tokens > 0
    assert count_tokens("x" * 40) <= left.usage.output_tokens <= 9 * count_tokens("x" * 40)
