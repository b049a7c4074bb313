"""Clients with middleware: what it sends is guarded request by request, and what it does not send is not."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import assert_guarded, guard
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.retry_policy import Retry
from tests.integration.guard_shapes import MODEL, anthropic_client, async_anthropic_client, endpoint, request

pytestmark = pytest.mark.skipif(
    not hasattr(anthropic.Anthropic, "with_middleware"), reason="this anthropic has no middleware"
)


def guarded(client: Any, ledger: SpendLedger, **more: Any) -> Any:
    """With a budget whose reservations must all come back."""
    settings = {"budget": Budget("acme", 1, ledger=ledger), "retry": Retry(2, base_delay_seconds=0), **more}
    return guard(client, ledger=ledger, breaker=BreakerRegistry(), **settings)


def assert_even(server: ChaosServer, ledger: SpendLedger, requests: int) -> None:
    """The bill is the ledger, request by request."""
    server.wait_idle()
    assert server.bill.requests == requests == len(list(ledger.records()))
    assert ledger.total() == server.bill.cost_usd
    assert not any(Budget("acme", 1, ledger=ledger).snapshot().reserved.values())


def twice(call: Any, call_next: Any) -> Any:
    """What middleware may do: ask again."""
    call_next(call)
    return call_next(call)


async def atwice(call: Any, call_next: Any) -> Any:
    """The same for tasks."""
    await call_next(call)
    return await call_next(call)


async def apasses(call: Any, call_next: Any) -> Any:
    """What most middleware does in the end."""
    return await call_next(call)


def cheaper(call: Any, call_next: Any) -> Any:
    """Another request than the one that was asked for."""
    call.options.json_data = {**call.options.json_data, "max_tokens": 5}
    return call_next(call)


@pytest.mark.parametrize("stream", [False, True])
def test_each_request_of_middleware_is_on_the_books(stream: bool, ledger: SpendLedger) -> None:
    """A refusal in between included: it is tried again with all that is around it."""
    with endpoint(Fault(FaultKind.UNAVAILABLE)) as server, anthropic_client(server) as plain:
        client = guarded(plain.with_middleware(lambda call, call_next: call_next(call)), ledger)
        if stream:
            with client.messages.stream(**request()) as events:
                assert events.get_final_text()
        else:
            assert client.messages.create(**request()).content
        assert_even(server, ledger, 2)
        assert client.with_middleware(twice).messages.create(**request()).content
        assert_even(server, ledger, 4)
    assert_guarded()


def test_each_request_of_async_middleware_is_on_the_books(ledger: SpendLedger) -> None:
    """The same for tasks, on books in memory and the loop's own thread."""

    async def go(server: ChaosServer) -> None:
        async with async_anthropic_client(server) as plain:
            client = guarded(plain.with_middleware(atwice), ledger)
            assert (await client.messages.create(**request())).content
            client = guarded(plain.with_middleware(apasses), ledger)
            async with client.messages.stream(**request()) as events:
                assert await events.get_final_text()

    with endpoint() as server:
        asyncio.run(go(server))
        assert_even(server, ledger, 3)


def test_what_middleware_does_not_send_costs_nothing(ledger: SpendLedger) -> None:
    """An answer of its own, or an error."""
    answers: list[Any] = []

    def remembers(call: Any, call_next: Any) -> Any:
        if not answers:
            answers.append(call_next(call).parse())
        return answers[0]

    def refuses(call: Any, call_next: Any) -> Any:
        raise LookupError("not today")

    with endpoint() as server, anthropic_client(server) as plain:
        client = guarded(plain.with_middleware(remembers), ledger)
        assert client.messages.create(**request()) is client.messages.create(**request())
        with pytest.raises(LookupError):
            client.with_middleware(refuses).copy(middleware=[refuses]).messages.create(**request())
        assert_even(server, ledger, 1)


def test_the_second_request_of_middleware_may_be_refused(ledger: SpendLedger) -> None:
    """There is budget for one."""
    budget = Budget("acme", limits={"model_calls": 1}, ledger=ledger)
    with endpoint() as server, anthropic_client(server) as plain:
        client = guarded(plain.with_middleware(twice), ledger, budget=budget)
        with pytest.raises(BudgetExceededError):
            client.messages.create(**request())
        server.wait_idle()
        assert server.bill.requests == 1


def test_what_middleware_asks_for_instead_is_reserved(ledger: SpendLedger) -> None:
    """Not what was asked of it."""
    budget = Budget("acme", limits={"output_tokens": 20}, ledger=ledger)
    with endpoint() as server, anthropic_client(server) as plain:
        client = guarded(plain, ledger, budget=budget)
        with pytest.raises(BudgetExceededError):
            client.messages.create(**request())
        dearer = guarded(
            plain.with_middleware(lambda call, call_next: call_next(call), cheaper), ledger, budget=budget
        )
        with pytest.raises(BudgetExceededError):  # what is asked for must fit as well
            dearer.messages.create(**request())
        small = {**request(), "max_tokens": 9}
        assert dearer.messages.create(**small).usage.output_tokens <= 5
        server.wait_idle()
        assert server.bill.requests == 1
    assert budget.snapshot().settled["output_tokens"] <= 5


@pytest.mark.parametrize("stream", [False, True])
def test_the_fallbacks_of_the_sdk_are_on_the_books(stream: bool, ledger: SpendLedger) -> None:
    """A refused answer, and that of the model asked instead; this endpoint gives no stream a token."""
    refused = Fault(FaultKind.CONTENT_FILTER_STOP)
    with endpoint(refused) as server, anthropic_client(server) as plain:
        fallbacks = anthropic.BetaRefusalFallbackMiddleware([{"model": MODEL}])
        client = guarded(plain.with_middleware(fallbacks), ledger)
        body = {**request(), "stream": stream}
        answer = client.beta.messages.create(**body)
        if stream:
            list(answer)
        assert_even(server, ledger, 1 if stream else 2)


def test_a_class_that_cannot_be_copied_with_more_middleware_goes_on(
    ledger: SpendLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """Its calls are one request each, and that is said."""

    class Own(anthropic.Anthropic):
        def __init__(self, url: str) -> None:
            super().__init__(
                api_key="any", base_url=url, middleware=[lambda call, call_next: call_next(call)]
            )

    with endpoint() as server, Own(server.base_url.removesuffix("/v1")) as plain:
        client = guarded(plain, ledger)
        assert client.messages.create(**request()).content
        assert_even(server, ledger, 1)
    assert "are not told apart" in caplog.text
