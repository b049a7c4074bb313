"""Model calls on the library's parts: waits, switches and circuits, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from techrevati.runtime import (
    AgentEventName as Name,
    CircuitState,
    DeadlineExceededError,
    ModelPricing,
    OrchestrationSession,
    Orchestrator,
    RingBufferEventSink,
    register_pricing,
)
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.cli.announcements import Announcer
from techrevati.runtime.cli.chat_client import ChatClient, ChatError
from techrevati.runtime.cli.circuits import Patience
from techrevati.runtime.cli.conversation import Conversation
from techrevati.runtime.cli.demo_spend import Books
from techrevati.runtime.cli.model_calls import ModelCaller
from techrevati.runtime.cli.run_deadline import RunDeadline
from techrevati.runtime.cli.tally import Tally
from techrevati.runtime.testing import FakeClock

PATIENCE = Patience(1.0, 40.0, longest_wait_s=60.0, failure_threshold=2, open_s=30.0)
QUESTION = "When does the tide turn?"


class Bench:
    """A caller with everything around it, whose sleeps only move a clock."""

    def __init__(
        self,
        server: ChaosServer,
        folder: Path,
        models: Sequence[str] = ("first", "second"),
        patience: Patience = PATIENCE,
    ) -> None:
        self.clock = FakeClock()
        self.sink = RingBufferEventSink()
        self.tally = Tally()
        self.waits: list[float] = []
        announcer = Announcer(self.sink)
        self.end = RunDeadline(patience.deadline_s, self.clock, announcer)
        self.books = Books(folder / "events.jsonl", "test")
        client = ChatClient(server.base_url)
        self.caller = ModelCaller(
            client,
            models,
            patience,
            self.end.deadline,
            announcer,
            self.tally,
            self.books,
            clock=self.clock,
            sleep=self.sleep,
            draw=lambda: 0.0,
        )

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.clock.sleep(seconds)

    def ask(self, times: int = 1) -> str:
        text = ""
        with self.session() as session:
            for _ in range(times):
                talk = Conversation(
                    "You write.", f"Question: {QUESTION}\n\nNotes:\nThe tide turns.", QUESTION
                )
                text = self.caller.ask(session, talk).text
            self.tally.close("writer", session.tracker)
        return text

    def session(self) -> OrchestrationSession:
        recovery = self.caller.recovery
        return Orchestrator("writer", "test", event_sink=self.sink, recovery=recovery).session()

    def names(self) -> list[Name]:
        return [event.event for event in self.sink.events]


def at(model: str, first: int, last: int, kind: str, wait_s: float | None = None) -> Rule:
    return Rule(Fault(FaultKind(kind), retry_after_s=wait_s), model=model, calls=((first, last),))


def test_a_rate_limit_is_waited_for_as_asked(tmp_path: Path) -> None:
    """With nobody else to ask, Retry-After decides the wait, which is told before it begins."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=7.5)]) as server:
        bench = Bench(server, tmp_path, ["only"])
        assert "tide" in bench.ask()
    assert bench.waits == [7.5]
    assert {key[1]: (row.calls, row.retries, row.turns) for key, row in bench.tally.rows.items()} == {
        "only": (2, 1, 1)
    }
    (told,) = [event for event in bench.sink.events if event.event is Name.RECOVERY_ATTEMPTED]
    assert "429" in (told.detail or "")
    assert "waits 7.5 s, as the endpoint asked" in (told.detail or "")
    assert bench.names().index(Name.RECOVERY_ATTEMPTED) < bench.names().index(Name.RECOVERY_SUCCEEDED)


def test_another_model_is_asked_at_once(tmp_path: Path) -> None:
    """Nobody waits for a model while another can answer; the limited one is left alone as it asked."""
    with ChaosServer(Scenario("s", (at("first", 1, 1, "rate_limit", 7.5),))) as server:
        bench = Bench(server, tmp_path)
        bench.ask(2)
        assert {key[1]: (row.calls, row.retries, row.turns) for key, row in bench.tally.rows.items()} == {
            "first": (1, 0, 0),
            "second": (2, 1, 2),
        }
        bench.clock.advance(7.5)
        bench.ask()
    assert bench.waits == []
    assert bench.tally.rows["writer", "first"].turns == 1
    switched = [event.detail for event in bench.sink.events if event.event is Name.RECOVERY_PROVIDER_SWITCHED]
    assert switched == ["asks second instead of first"] * 2


def test_when_every_model_is_in_trouble_the_last_ones_wish_is_waited_for(tmp_path: Path) -> None:
    """The preferred model's circuit is open and the other one asks for a wait: then it is waited."""
    rules = (at("first", 1, 2, "unavailable"), at("second", 3, 3, "rate_limit", 30.0))
    with ChaosServer(Scenario("s", rules)) as server:
        bench = Bench(server, tmp_path)
        bench.ask(3)
    assert bench.waits == [30.0]
    assert bench.tally.rows["writer", "first"].turns == 1  # its circuit let a probe through by then
    assert bench.caller.circuits["first"].breaker.state() is CircuitState.CLOSED


def test_every_call_begins_with_the_preferred_model_again(tmp_path: Path) -> None:
    """A switch lasts for one call; two failures in a row open the preferred model's circuit, which refuses
    without sending anything until its time is over."""
    rules = (at("first", 1, 2, "unavailable"),)
    with ChaosServer(Scenario("s", rules)) as server:
        bench = Bench(server, tmp_path)
        bench.ask(3)
        first = bench.caller.circuits["first"]
        assert (first.opened, first.refused) == (1, 1)
        assert first.breaker.state() is CircuitState.OPEN
        assert bench.tally.rows["writer", "first"].calls == 2
        bench.clock.advance(30.0)
        bench.ask()
        assert first.breaker.state() is CircuitState.CLOSED
    circuits = [name for name in bench.names() if name.value.startswith("circuit.")]
    assert circuits == [Name.CIRCUIT_OPENED, Name.CIRCUIT_HALF_OPENED, Name.CIRCUIT_CLOSED]


def test_every_model_has_a_circuit_of_its_own(tmp_path: Path) -> None:
    """The other model's opens by its own failures; with both open the call is made when the first lets it."""
    rules = (at("first", 1, 2, "unavailable"), at("second", 1, 2, "unavailable"))
    with ChaosServer(Scenario("s", rules)) as server:
        bench = Bench(server, tmp_path, patience=replace(PATIENCE, attempts=5))
        bench.ask()
    opened = [event.detail for event in bench.sink.events if event.event is Name.CIRCUIT_OPENED]
    assert [(detail or "").split()[0] for detail in opened] == ["first", "second"]
    assert bench.waits == [1.0, 1.0, 29.0]
    assert bench.tally.rows["writer", "first"].turns == 1


def test_the_only_model_is_waited_for_until_its_circuit_lets_a_call_try(tmp_path: Path) -> None:
    """With nobody to switch to, the wait is as long as the circuit is open, and the call is then made."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE), Fault(FaultKind.UNAVAILABLE)]) as server:
        bench = Bench(server, tmp_path, ["only"], replace(PATIENCE, attempts=4))
        assert "tide" in bench.ask()
    assert bench.waits == [1.0, 1.0, 29.0]
    assert bench.tally.rows["writer", "only"].calls == 3
    assert bench.caller.circuits["only"].refused == 1


def test_used_up_attempts_end_with_the_last_failure(tmp_path: Path) -> None:
    """Every model is asked as often as it was said, and nothing is called a recovery."""
    with ChaosServer(Scenario("s", (Rule(Fault(FaultKind.UNAVAILABLE)),))) as server:
        bench = Bench(server, tmp_path, patience=replace(PATIENCE, failure_threshold=9))
        with pytest.raises(ChatError, match="503"):
            bench.ask()
        assert server.bill.requests == 6
    assert bench.tally.total().calls == 6
    assert Name.RECOVERY_FAILED in bench.names()
    assert Name.RECOVERY_SUCCEEDED not in bench.names()


@pytest.mark.parametrize("kind", ["invalid_key", "quota_exhausted", "content_filter"])
def test_what_would_fail_again_is_not_repeated(kind: str, tmp_path: Path) -> None:
    """One request, no wait."""
    with ChaosServer([Fault(FaultKind(kind))]) as server:
        bench = Bench(server, tmp_path, ["only"])
        with pytest.raises(ChatError):
            bench.ask()
    assert bench.tally.total().calls == 1
    assert bench.waits == []


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    """An endpoint that asks for more patience than we have is not waited for."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=61.0)]) as server:
        bench = Bench(server, tmp_path, ["only"])
        with pytest.raises(ChatError, match="429"):
            bench.ask()
    assert bench.waits == []


def test_no_wait_outlasts_the_deadline(tmp_path: Path) -> None:
    """What an endpoint asks for is not waited for when the run ends before; why is told."""
    with ChaosServer([Fault(FaultKind.RATE_LIMIT, retry_after_s=9.0)]) as server:
        bench = Bench(server, tmp_path, ["only"], Patience(0.1, 0.2, deadline_s=8.0))
        with pytest.raises(ChatError, match="429"), bench.end.deadline:
            bench.ask()
    assert bench.waits == []
    told = [event.detail or "" for event in bench.sink.events if event.event is Name.RECOVERY_FAILED]
    assert "the wait would outlast the deadline" in told[0]


def test_after_the_deadline_nothing_is_sent(tmp_path: Path) -> None:
    """The run ends where it stands, and the reason is its own."""
    with ChaosServer() as server:
        bench = Bench(server, tmp_path)
        bench.clock.advance(600.0)
        with pytest.raises(DeadlineExceededError):
            bench.ask()
        assert server.bill.requests == 0


def test_an_answer_is_not_waited_for_longer_than_the_run_has(tmp_path: Path) -> None:
    """The first request of a role tells how much the deadline took from its wait."""
    with ChaosServer() as server:
        bench = Bench(server, tmp_path, patience=Patience(deadline_s=25.0))
        bench.clock.advance(5.0)
        with bench.end.deadline:
            bench.ask(2)
    told = [event.detail for event in bench.sink.events if event.event is Name.DEADLINE_SHORTENED]
    assert told == ["waits up to 20.0 s instead of 60 s for an answer"]


def test_a_context_that_cannot_shrink_is_not_sent_again(tmp_path: Path) -> None:
    """The recipe fails where nothing can be left out."""
    with ChaosServer([Fault(FaultKind.CONTEXT_OVERFLOW)]) as server:
        bench = Bench(server, tmp_path)
        with (
            bench.session() as session,
            pytest.raises(ChatError, match="context_length_exceeded"),
        ):
            bench.caller.ask(session, Conversation("You write.", f"Question: {QUESTION}", QUESTION))
    assert bench.tally.total().calls == 1


def test_a_context_that_is_too_long_is_sent_smaller(tmp_path: Path) -> None:
    """The same model gets less, and only its answer is called a recovery."""
    notes = "\n\n".join(f"Gulls are loud, says note {n}. " + "Loud gulls. " * 20 for n in range(40))
    with ChaosServer([Fault(FaultKind.CONTEXT_OVERFLOW)]) as server:
        bench = Bench(server, tmp_path)
        with bench.session() as session:
            talk = Conversation("You write.", f"Question: {QUESTION}\n\n{notes}", QUESTION)
            before = talk.about_tokens()
            bench.caller.ask(session, talk)
        first, second = server.injected
    assert talk.about_tokens() < before
    assert (first.model, second.model) == ("first", "first")
    recoveries = [name for name in bench.names() if name.value.startswith("agent.recovery")]
    assert recoveries == [Name.RECOVERY_ATTEMPTED, Name.RECOVERY_ATTEMPTED, Name.RECOVERY_SUCCEEDED]


def test_every_call_gets_its_attempts_anew(tmp_path: Path) -> None:
    """A session survives more trouble than one call may, as long as no single call does."""
    rules = tuple(at("only", n, n, "rate_limit", 1.0) for n in range(1, 12, 2))
    with ChaosServer(Scenario("s", rules)) as server:
        bench = Bench(server, tmp_path, ["only"])
        bench.ask(6)
    assert bench.tally.rows["writer", "only"].retries == 6


def test_the_tally_agrees_with_tracker_and_endpoint(tmp_path: Path) -> None:
    """Tokens and requests of our table are those on the endpoint's bill; cost is the price times them."""
    register_pricing("priced-model", ModelPricing(2.0, 8.0))
    with ChaosServer() as server:
        bench = Bench(server, tmp_path, ["priced-model"])
        bench.ask(3)
        bill = server.bill
    row = bench.tally.total()
    assert (row.calls, row.turns) == (bill.requests, 3)
    read = bill.input_tokens + bill.cached_tokens + bill.cache_write_tokens
    assert (row.input_tokens, row.output_tokens) == (read, bill.output_tokens)
    assert row.cost_usd == pytest.approx((bill.input_tokens * 2 + bill.output_tokens * 8) / 1e6)


def test_the_model_that_answered_is_the_one_that_is_priced(tmp_path: Path) -> None:
    """A turn that went on to a cheaper model costs what that model costs."""
    register_pricing("dear-model", ModelPricing(1000.0, 1000.0))
    register_pricing("cheap-model", ModelPricing(1.0, 1.0))
    with ChaosServer(Scenario("s", (at("dear-model", 1, 1, "unavailable"),))) as server:
        bench = Bench(server, tmp_path, ["dear-model", "cheap-model"])
        bench.ask()
        bill = server.bill
    assert bench.tally.total().cost_usd == pytest.approx(bill.usage.total_tokens / 1e6)


def test_every_request_is_on_the_books_also_one_whose_answer_was_lost(tmp_path: Path) -> None:
    """What came back is there as the endpoint bills it; a refused request cost nothing; a lost answer is an
    estimate, by what was sent."""
    register_pricing("priced-model", ModelPricing(2.0, 8.0))
    faults = [Fault(FaultKind.UNAVAILABLE), None, Fault(FaultKind.RESET), None]
    with ChaosServer(faults) as server:
        bench = Bench(server, tmp_path, ["priced-model"])
        bench.ask(2)
        server.wait_idle()
        lost = [one for one in server.injected if one.outcome.value == "damaged"]
        bill = server.bill
    sums = bench.books.sums()
    assert sums is not None
    ours, guessed = sums
    assert (ours.calls, guessed.calls, len(lost)) == (3, 1, 1)
    assert ours.input_tokens == bill.usage.prompt_tokens - lost[0].billed.prompt_tokens
    assert ours.output_tokens == bill.usage.output_tokens - lost[0].billed.output_tokens
    assert bill.cost_usd is not None
    assert lost[0].cost_usd is not None
    assert ours.cost_usd == bill.cost_usd - lost[0].cost_usd
    assert guessed.input_tokens >= lost[0].billed.prompt_tokens > 0
    assert guessed.cost_usd > 0
