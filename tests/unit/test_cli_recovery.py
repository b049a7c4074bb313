"""Asking until answered: waits, switches and circuits, in virtual time against a real endpoint."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from techrevati.runtime import (
    AgentEventName as Name,
    CircuitState,
    ModelPricing,
    Orchestrator,
    RingBufferEventSink,
    register_pricing,
)
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.cli.announcements import Announcer
from techrevati.runtime.cli.chat_client import ChatClient, ChatError
from techrevati.runtime.cli.conversation import Conversation
from techrevati.runtime.cli.model_route import ModelRoute, Patience
from techrevati.runtime.cli.recovering_call import ModelCaller
from techrevati.runtime.cli.tally import Tally
from techrevati.runtime.testing import FakeClock

PATIENCE = Patience(1.0, 3.0, longest_wait_s=60.0, failure_threshold=2, open_s=30.0)
QUESTION = "When does the tide turn?"


class Bench:
    """A caller with everything around it, whose sleeps only move a clock."""

    def __init__(self, server: ChaosServer, models: Sequence[str] = ("first", "second")) -> None:
        self.clock = FakeClock()
        self.sink = RingBufferEventSink()
        self.tally = Tally()
        self.waits: list[float] = []
        announcer = Announcer(self.sink)
        self.route = ModelRoute(models, PATIENCE, self.clock, announcer)
        client = ChatClient(server.base_url)
        self.caller = ModelCaller(
            client, self.route, PATIENCE, announcer, self.tally, sleep=self.sleep, draw=lambda: 0.0
        )

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.clock.sleep(seconds)

    def ask(self, times: int = 1) -> str:
        text = ""
        with Orchestrator("writer", "test", event_sink=self.sink).session() as session:
            for _ in range(times):
                talk = Conversation(
                    "You write.", f"Question: {QUESTION}\n\nNotes:\nThe tide turns.", QUESTION
                )
                text = self.caller.ask(session, talk).text
            self.tally.close("writer", session.tracker)
        return text

    def names(self) -> list[Name]:
        return [event.event for event in self.sink.events]


def at(model: str, first: int, last: int, kind: str, wait_s: float | None = None) -> Rule:
    return Rule(Fault(FaultKind(kind), retry_after_s=wait_s), model=model, calls=((first, last),))


def test_a_rate_limit_is_waited_for_as_asked() -> None:
    """Retry-After decides the wait; then the next model is really called."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=7.5)]) as server:
        bench = Bench(server)
        assert "tide" in bench.ask()
    assert bench.waits == [7.5]
    assert {key[1]: (row.calls, row.retries, row.turns) for key, row in bench.tally.rows.items()} == {
        "first": (1, 0, 0),
        "second": (1, 1, 1),
    }
    assert bench.names().index(Name.RECOVERY_ATTEMPTED) < bench.names().index(Name.RECOVERY_SUCCEEDED)


def test_every_call_begins_with_the_preferred_model_again() -> None:
    """A switch lasts for one call; two failures in a row open the preferred model's circuit, which refuses
    without sending anything until its time is over."""
    rules = (at("first", 1, 2, "unavailable"),)
    with ChaosServer(Scenario("s", rules)) as server:
        bench = Bench(server)
        bench.ask(3)
        first = bench.route.circuits["first"]
        assert (first.opened, first.refused) == (1, 1)
        assert first.breaker.state() is CircuitState.OPEN
        assert bench.tally.rows["writer", "first"].calls == 2
        bench.clock.advance(30.0)
        bench.ask()
        assert first.breaker.state() is CircuitState.CLOSED
    circuits = [name for name in bench.names() if name.value.startswith("circuit.")]
    assert circuits == [Name.CIRCUIT_OPENED, Name.CIRCUIT_HALF_OPENED, Name.CIRCUIT_CLOSED]


def test_the_only_model_is_waited_for_until_its_circuit_lets_a_call_try() -> None:
    """With nobody to switch to, the wait is as long as the circuit is open, and the call is then made."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE), Fault(FaultKind.UNAVAILABLE)]) as server:
        bench = Bench(server, ["only"])
        assert "tide" in bench.ask()
    assert bench.waits == [1.0, 30.0]
    assert bench.tally.rows["writer", "only"].calls == 3
    assert bench.route.circuits["only"].refused == 0


def test_a_used_up_recipe_ends_with_the_last_failure() -> None:
    """Nothing is repeated beyond the recipe, and nothing is called a recovery."""
    with ChaosServer(Scenario("s", (Rule(Fault(FaultKind.UNAVAILABLE)),))) as server:
        bench = Bench(server)
        with pytest.raises(ChatError, match="503"):
            bench.ask()
    assert bench.tally.total().calls == 3
    assert Name.RECOVERY_ESCALATED in bench.names()
    assert Name.RECOVERY_SUCCEEDED not in bench.names()


@pytest.mark.parametrize("kind", ["invalid_key", "quota_exhausted", "content_filter"])
def test_what_would_fail_again_is_not_repeated(kind: str) -> None:
    """One request, no wait, no switch."""
    with ChaosServer([Fault(FaultKind(kind))]) as server:
        bench = Bench(server)
        with pytest.raises(ChatError):
            bench.ask()
    assert bench.tally.total().calls == 1
    assert bench.waits == []
    assert Name.RECOVERY_PROVIDER_SWITCHED not in bench.names()


def test_nobody_waits_for_ever() -> None:
    """An endpoint that asks for more patience than we have is not waited for."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=61.0)]) as server:
        bench = Bench(server)
        with pytest.raises(ChatError, match="429"):
            bench.ask()
    assert bench.waits == []


def test_a_context_that_cannot_shrink_is_not_sent_again() -> None:
    """The recipe fails where nothing can be left out."""
    with ChaosServer([Fault(FaultKind.CONTEXT_OVERFLOW)]) as server:
        bench = Bench(server)
        with (
            Orchestrator("writer", "test", event_sink=bench.sink).session() as session,
            pytest.raises(ChatError, match="context_length_exceeded"),
        ):
            bench.caller.ask(session, Conversation("You write.", f"Question: {QUESTION}", QUESTION))
    assert bench.tally.total().calls == 1


def test_every_call_gets_the_recipes_anew() -> None:
    """A session survives more trouble than one recipe, as long as no single call does."""
    rules = tuple(at("only", n, n, "rate_limit", 1.0) for n in range(1, 12, 2))
    with ChaosServer(Scenario("s", rules)) as server:
        bench = Bench(server, ["only"])
        bench.ask(6)
    assert bench.tally.rows["writer", "only"].retries == 6


def test_the_tally_agrees_with_tracker_and_endpoint() -> None:
    """Tokens and requests of our table are those on the endpoint's bill; cost is the price times them."""
    register_pricing("priced-model", ModelPricing(2.0, 8.0))
    with ChaosServer() as server:
        bench = Bench(server, ["priced-model"])
        bench.ask(3)
        bill = server.bill
    row = bench.tally.total()
    assert (row.calls, row.turns) == (bill.requests, 3)
    read = bill.input_tokens + bill.cached_tokens + bill.cache_write_tokens
    assert (row.input_tokens, row.output_tokens) == (read, bill.output_tokens)
    assert row.cost_usd == pytest.approx((bill.input_tokens * 2 + bill.output_tokens * 8) / 1e6)
