"""Streamed turns: breaker, budget, deadline, journal, guardrails and events cover them to their end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime import (
    AgentEventName,
    AgentEventStatus,
    BudgetExceededError,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    Deadline,
    DeadlineExceededError,
    GuardrailOutcome,
    GuardrailViolatedError,
    InDoubtError,
    LoopDetectedError,
    LoopDetection,
    MaxIterationsExceededError,
    PatternGuardrail,
    RecordedFailureError,
    Recovery,
    ReplayMismatchError,
    ResultNotStorableError,
    SessionEndedError,
    StreamStalledError,
    UsageSnapshot,
)
from techrevati.runtime.budgets import Budget
from techrevati.runtime.journal import Happened, Journal, JournalError, Replayer
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.stores import MemoryStore, SqliteStore
from techrevati.runtime.testing import FakeClock, run

MODEL = "stream-small"
COLOURS = ["sync", "async"]


@pytest.fixture(autouse=True)
def prices() -> None:
    register_pricing(MODEL, ModelPricing(1, 2))


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


def text_of(chunk: dict[str, Any]) -> str | None:
    return "".join(choice["delta"]["content"] for choice in chunk["choices"]) or None


LAST = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 50}}
WHOLE = (said("The breaker "), said("opens."), LAST)
MEASURED = UsageSnapshot(100, 50)


class Provider:
    """Gives the same chunks to every caller of either colour; a number is waited for."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = chunks
        self.calls = 0
        self.closed = 0

    def sync(self, **_: object) -> Iterator[Any]:
        self.calls += 1
        return self._give()

    def _give(self) -> Iterator[Any]:
        try:
            for chunk in self.chunks:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk() if callable(chunk) else chunk
        finally:
            self.closed += 1

    async def awaited(self, **_: object) -> AsyncIterator[Any]:
        self.calls += 1
        return self._agive()

    async def _agive(self) -> AsyncIterator[Any]:
        try:
            for chunk in self.chunks:
                await asyncio.sleep(0)
                if isinstance(chunk, BaseException):
                    raise chunk
                if isinstance(chunk, int):
                    await asyncio.sleep(chunk)
                else:
                    yield chunk
        finally:
            self.closed += 1


class Turn:
    """One stream in one session of either colour, used up or left after so many items."""

    def __init__(self, colour: str, desk: Orchestrator, provider: Provider) -> None:
        self.colour, self.desk, self.provider = colour, desk, provider
        self.items: list[Any] = []
        self.session: Any = None
        self.stream: Any = None
        self.raised: BaseException | None = None

    def run(self, leave_after: int | None = None, **options: Any) -> Turn:
        self.items, self.raised = [], None
        try:
            if self.colour == "sync":
                self._sync(leave_after, options)
            else:
                run(self._async(leave_after, options))
        except Exception as error:
            self.raised = error
        return self

    def _sync(self, leave_after: int | None, options: dict[str, Any]) -> None:
        with self.desk.session() as self.session:
            self.stream = self.session.run_stream(self.provider.sync, MODEL, **options)
            with self.stream:
                while leave_after is None or len(self.items) < leave_after:
                    try:
                        self.items.append(next(self.stream))
                    except StopIteration:
                        break

    async def _async(self, leave_after: int | None, options: dict[str, Any]) -> None:
        async with self.desk.asession() as self.session:
            self.stream = await self.session.arun_stream(self.provider.awaited, MODEL, **options)
            async with self.stream:
                while leave_after is None or len(self.items) < leave_after:
                    try:
                        self.items.append(await anext(self.stream))
                    except StopAsyncIteration:
                        break

    @property
    def end(self) -> Any:
        """The event of its end."""
        (event,) = (e for e in self.session.events if e.event is AgentEventName.AGENT_STREAM_ENDED)
        return event


def desk(**options: Any) -> Orchestrator:
    return Orchestrator("writer", "draft", "acme", **options)


# --- the end is told everywhere -----------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_a_whole_stream_is_a_turn(colour: str, tmp_path: Path) -> None:
    with SpendLedger(tmp_path / "spend.db") as ledger:
        provider = Provider(*WHOLE)
        turn = Turn(colour, desk(ledger=ledger), provider).run(first_token_seconds=30, idle_seconds=30)
        assert turn.raised is None
        assert turn.items == list(WHOLE)
        assert turn.stream.outcome.state == "completed"
        assert not turn.stream.replayed
        (record,) = ledger.records()
        assert (record.usage.input_tokens, record.usage.output_tokens) == (100, 50)
        assert (record.cost, record.certainty) == (Decimal("0.0002"), "measured")
        assert ledger.leases() == []
        assert turn.session.tracker.total_cost() == pytest.approx(0.0002)
    assert turn.end.status is AgentEventStatus.COMPLETED
    assert turn.end.data["state"] == "completed"
    assert turn.end.data["estimated"] is False
    assert provider.closed == 1


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("end", ["left", "failed", "session left"])
def test_a_stream_that_ends_early_is_estimated(colour: str, end: str, tmp_path: Path) -> None:
    chunks = [said("four"), said("eight ch"), *([ConnectionError("reset")] if end == "failed" else [LAST])]
    provider = Provider(*chunks)
    with SpendLedger(tmp_path / "spend.db") as ledger:
        turn = Turn(colour, desk(ledger=ledger), provider).run(
            None if end == "failed" else 2, input_tokens=20
        )
        (record,) = ledger.records()
        assert (record.usage.input_tokens, record.usage.output_tokens) == (20, 3)
        assert record.certainty == "estimated"
        assert ledger.leases() == []
    assert isinstance(turn.raised, ConnectionError if end == "failed" else type(None))
    assert turn.end.data["state"] == ("failed" if end == "failed" else "closed")
    assert (turn.end.data["estimated"], turn.end.data["chunks"]) == (True, 2)
    assert (turn.end.status is AgentEventStatus.FAILED) == (end == "failed")
    assert provider.closed == 1
    recovered = [e for e in turn.session.events if e.event is AgentEventName.RECOVERY_ATTEMPTED]
    assert bool(recovered) == (end == "failed")


@pytest.mark.parametrize("colour", COLOURS)
def test_leaving_the_session_closes_its_streams(colour: str) -> None:
    provider = Provider(*WHOLE)
    config = desk()
    if colour == "sync":
        with config.session() as session:
            stream = session.run_stream(provider.sync, MODEL)
            next(stream)
        assert stream.outcome is not None
        assert stream.outcome.state == "closed"
        assert list(stream) == []
    else:

        async def main() -> None:
            async with config.asession() as session:
                astream = await session.arun_stream(provider.awaited, MODEL)
                await anext(astream)
            assert astream.outcome is not None
            assert astream.outcome.state == "closed"
            assert [item async for item in astream] == []

        run(main())
    assert provider.closed == 1


def test_a_dropped_stream_is_booked() -> None:
    budget = Budget("acme", 1)
    with desk(budget=budget).session() as session:
        stream = session.run_stream(Provider(*WHOLE).sync, MODEL, input_tokens=10, max_output_tokens=100)
        next(stream)
        assert budget.snapshot().reserved["usd"] == Decimal("0.00021")
        del stream
        gc.collect()
        assert not budget.snapshot().reserved.get("usd")
        assert budget.snapshot().settled["usd"] == Decimal("0.000016")


@pytest.mark.parametrize("colour", COLOURS)
def test_what_cannot_be_reserved_is_not_opened(colour: str) -> None:
    budget, provider = Budget("acme", 0.0001), Provider(*WHOLE)
    turn = Turn(colour, desk(budget=budget), provider).run(input_tokens=100, max_output_tokens=100)
    assert isinstance(turn.raised, BudgetExceededError)
    assert provider.calls == 0
    turn = Turn(colour, desk(budget=Budget("acme", 1)), provider).run()
    assert isinstance(turn.raised, ValueError)
    assert "input_tokens must be given" in str(turn.raised)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_session_budget_is_heard_at_the_end(colour: str) -> None:
    turn = Turn(colour, desk(budget_usd=0.0001, enforce_budget=True), Provider(*WHOLE)).run()
    assert isinstance(turn.raised, BudgetExceededError)
    assert turn.items == list(WHOLE)
    assert turn.raised.usage is not None
    assert turn.stream.outcome.state == "completed"


class RefusedError(Exception):
    status_code = 429


@pytest.mark.parametrize("colour", COLOURS)
def test_a_stream_that_is_refused_at_once_costs_nothing(colour: str, tmp_path: Path) -> None:
    with SpendLedger(tmp_path / "spend.db") as ledger:
        turn = Turn(colour, desk(ledger=ledger), Provider(RefusedError("slow down"))).run(input_tokens=100)
        assert isinstance(turn.raised, RefusedError)
        assert [(r.usage.input_tokens, r.cost) for r in ledger.records()] == [(0, 0)]
    assert not turn.session.tracker.total_cost()


@pytest.mark.parametrize("colour", COLOURS)
def test_an_opening_that_failed_is_on_record(colour: str) -> None:
    def broken(**_: object) -> Any:
        raise ConnectionError("refused")

    store = MemoryStore()
    turn = Turn(colour, desk(journal=Journal(store), run_id="r"), Provider())
    turn.provider.sync = turn.provider.awaited = broken  # type: ignore[method-assign,assignment]
    assert isinstance(turn.run().raised, ConnectionError)
    (step,) = Journal(store).steps("r")
    assert step.state == "failed"


@pytest.mark.parametrize("colour", COLOURS)
def test_a_refused_opening_costs_nothing(colour: str, tmp_path: Path) -> None:
    def refuse(**_: object) -> Any:
        raise RefusedError("slow down")

    with SpendLedger(tmp_path / "spend.db") as ledger:
        turn = Turn(colour, desk(ledger=ledger), Provider())
        turn.provider.sync = turn.provider.awaited = refuse  # type: ignore[method-assign,assignment]
        assert isinstance(turn.run(input_tokens=100).raised, RefusedError)
        assert [(r.usage.input_tokens, r.cost) for r in ledger.records()] == [(0, 0)]
        assert ledger.leases() == []
    assert not turn.session.tracker.total_cost()


# --- breaker and recovery -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_the_breaker_hears_the_end_and_nothing_of_those_who_left(colour: str) -> None:
    breaker = CircuitBreaker("api", failure_threshold=2)
    config = desk(circuit_breaker=breaker)
    broken = Provider(said("a"), ConnectionError("reset"))
    for _ in range(3):
        Turn(colour, config, Provider(*WHOLE)).run(1)
    assert breaker.snapshot().failures == 0
    Turn(colour, config, broken).run()
    assert breaker.snapshot().failures == 1
    Turn(colour, config, Provider(*WHOLE)).run()
    assert breaker.snapshot().failures == 0
    for _ in range(2):
        Turn(colour, config, broken).run()
    assert breaker.state() == CircuitState.OPEN
    refused = Turn(colour, config, broken).run()
    assert isinstance(refused.raised, CircuitOpenError)
    assert broken.calls == 3


@pytest.mark.parametrize("colour", COLOURS)
def test_leaving_gives_a_probe_back(colour: str) -> None:
    clock = FakeClock()
    breaker = CircuitBreaker("api", failure_threshold=1, recovery_timeout_seconds=10, clock=clock)
    config = desk(circuit_breaker=breaker)
    Turn(colour, config, Provider(ConnectionError("reset"))).run()
    clock.advance(10)
    Turn(colour, config, Provider(*WHOLE)).run(1)
    Turn(colour, config, Provider(*WHOLE)).run()
    assert breaker.state() == CircuitState.CLOSED


@pytest.mark.parametrize("colour", COLOURS)
def test_a_recovery_opens_again_but_never_repeats_what_began(colour: str) -> None:
    provider = Provider(*WHOLE)
    first = [TimeoutError("no answer")]

    def opening(**_: object) -> Any:
        if first:
            raise first.pop()
        return provider.sync() if colour == "sync" else provider.awaited()

    flaky = Provider()
    flaky.sync = flaky.awaited = opening  # type: ignore[method-assign,assignment]
    recovery = Recovery(sleep=lambda _: None) if colour == "sync" else Recovery()
    turn = Turn(colour, desk(recovery=recovery), flaky).run()
    assert turn.raised is None
    assert turn.items == list(WHOLE)
    broken = Provider(said("a"), TimeoutError("silent"))
    turn = Turn(colour, desk(recovery=recovery), broken).run()
    assert isinstance(turn.raised, TimeoutError)
    assert broken.calls == 1


@pytest.mark.parametrize("colour", COLOURS)
def test_it_counts_as_a_turn(colour: str) -> None:
    config = desk(max_iterations=1)
    provider = Provider(*WHOLE)
    with config.session() as session:
        assert len(list(session.run_stream(provider.sync, MODEL))) == 3
        with pytest.raises(MaxIterationsExceededError):
            session.run_stream(provider.sync, MODEL)
    with pytest.raises(SessionEndedError):
        session.run_stream(provider.sync, MODEL)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"first_token_seconds": 0}, "first_token_seconds"),
        ({"idle_seconds": -1}, "idle_seconds"),
        ({"item": 5}, "item must be callable"),
        ({"input_tokens": -1}, "input_tokens"),
    ],
)
def test_bad_arguments_are_named_and_cost_no_turn(options: dict[str, Any], text: str) -> None:
    with desk(max_iterations=1).session() as session:
        with pytest.raises((TypeError, ValueError), match=text):
            session.run_stream(Provider().sync, MODEL, **options)
        assert list(session.run_stream(Provider(*WHOLE).sync, MODEL)) == list(WHOLE)


# --- limits -------------------------------------------------------------------------------------------------


def test_an_opening_that_takes_too_long_is_a_stall() -> None:
    async def main() -> None:
        breaker = CircuitBreaker("api", failure_threshold=1)

        async def slow() -> AsyncIterator[str]:
            await asyncio.sleep(60)
            raise AssertionError

        async with desk(circuit_breaker=breaker).asession() as session:
            with pytest.raises(StreamStalledError, match="no first token within 5 s"):
                await session.arun_stream(slow, MODEL, first_token_seconds=5)
            assert breaker.state() == CircuitState.OPEN
            breaker.reset()
            with pytest.raises(DeadlineExceededError), Deadline(3, clock=asyncio.get_running_loop().time):
                await session.arun_stream(slow, MODEL, first_token_seconds=5)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_sync_opening_that_takes_too_long_is_a_stall_and_is_closed_later() -> None:
    import threading

    go, closed = threading.Event(), threading.Event()

    class Late:
        def __iter__(self) -> Iterator[str]:
            return iter(())

        def close(self) -> None:
            closed.set()

    def slow() -> Late:
        assert go.wait(10)
        return Late()

    with desk().session() as session:
        with pytest.raises(StreamStalledError, match="no first token"):
            session.run_stream(slow, MODEL, first_token_seconds=0.01)
        go.set()
        assert closed.wait(10)


def test_opening_takes_from_the_time_for_the_first_token() -> None:
    async def main() -> None:
        async def opens() -> AsyncIterator[Any]:
            await asyncio.sleep(3)
            return Provider(3, said("a"))._agive()

        async with desk().asession() as session:
            stream = await session.arun_stream(opens, MODEL, first_token_seconds=5)
            with pytest.raises(StreamStalledError):
                await anext(stream)
            assert asyncio.get_running_loop().time() == 5.0

    run(main())


def test_a_stall_is_booked_as_estimated() -> None:
    async def main() -> None:
        budget = Budget("acme", 1)
        breaker = CircuitBreaker("api", failure_threshold=1)
        async with desk(budget=budget, circuit_breaker=breaker).asession() as session:
            provider = Provider(said("four"), 60, LAST)
            stream = await session.arun_stream(
                provider.awaited, MODEL, idle_seconds=5, input_tokens=10, max_output_tokens=100
            )
            with pytest.raises(StreamStalledError):
                _ = [item async for item in stream]
            assert budget.snapshot().settled["usd"] == Decimal("0.000012")
            assert not budget.snapshot().reserved.get("usd")
            assert breaker.state() == CircuitState.OPEN
            assert provider.closed == 1
        (event,) = [e for e in session.events if e.event is AgentEventName.AGENT_STREAM_ENDED]
        assert event.failure_class is not None
        assert event.data is not None
        assert event.data["state"] == "stalled"

    run(main())


@pytest.mark.parametrize("at", range(12))
def test_a_cancellation_at_any_await_gives_everything_back(at: int) -> None:
    """Opening, waiting, closing: the books are balanced, and nothing is left."""

    async def main() -> None:
        budget = Budget("acme", 1)
        clock = FakeClock()
        breaker = CircuitBreaker("api", failure_threshold=1, recovery_timeout_seconds=1, clock=clock)
        breaker.record_failure()
        clock.advance(1)  # one probe: a permit that is not given back refuses the next
        config = desk(budget=budget, circuit_breaker=breaker, journal=Journal(MemoryStore()), run_id="r")
        provider = Provider(said("four"), 1, said("four"), 1, LAST)

        async def opening() -> AsyncIterator[Any]:
            await asyncio.sleep(0)
            return await provider.awaited()

        async def turn() -> None:
            async with config.asession() as session:
                bounds: dict[str, Any] = {"input_tokens": 10, "max_output_tokens": 100}
                async with await session.arun_stream(opening, MODEL, idle_seconds=9, **bounds) as stream:
                    async for _ in stream:
                        await asyncio.sleep(0)

        task = asyncio.create_task(turn())
        for _ in range(at):
            await asyncio.sleep(0.25 if at > 6 else 0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert task.cancelled()
        assert not budget.snapshot().reserved.get("usd")
        assert provider.closed == provider.calls or not provider.closed
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with breaker:
            pass
        assert breaker.state() == CircuitState.CLOSED

    run(main())


# --- what is handed out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_item_says_what_is_handed_out(colour: str) -> None:
    turn = Turn(colour, desk(), Provider(*WHOLE)).run(item=text_of)
    assert turn.items == ["The breaker ", "opens."]
    assert turn.stream.outcome.usage.output_tokens == 50

    def broken(chunk: Any) -> str:
        raise KeyError("mine")

    turn = Turn(colour, desk(), Provider(*WHOLE)).run(item=broken)
    assert isinstance(turn.raised, KeyError)
    assert turn.stream.outcome.state == "closed"


@pytest.mark.parametrize("colour", COLOURS)
def test_guardrails_see_the_whole_answer_before_anybody(colour: str) -> None:
    guard = PatternGuardrail("no opening", {"opening": r"breaker opens"}, action="block")
    turn = Turn(colour, desk(guardrails=[guard]), Provider(*WHOLE)).run(item=text_of)
    assert isinstance(turn.raised, GuardrailViolatedError)
    assert turn.items == []
    assert turn.stream.outcome.state == "completed"
    turn = Turn(colour, desk(guardrails=[guard]), Provider(said("fine"), LAST)).run(item=text_of)
    assert (turn.raised, turn.items) == (None, ["fine"])


@pytest.mark.parametrize("colour", COLOURS)
def test_guardrails_may_be_heard_at_the_end(colour: str) -> None:
    guard = PatternGuardrail("no opening", {"opening": r"breaker opens"}, action="block")
    turn = Turn(colour, desk(guardrails=[guard]), Provider(*WHOLE)).run(item=text_of, hold=False)
    assert isinstance(turn.raised, GuardrailViolatedError)
    assert turn.items == ["The breaker ", "opens."]


@pytest.mark.parametrize("colour", COLOURS)
def test_what_guardrails_rewrite_is_handed_out_or_refused(colour: str) -> None:
    class Shout:
        name = "shout"

        def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
            return GuardrailOutcome(True)

        def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
            return GuardrailOutcome(True)

        def check_answer(self, answer: object, *, role: str, model: str) -> GuardrailOutcome:
            return GuardrailOutcome.rewrite(str(answer).upper())

    config = desk(guardrails=[Shout()])
    assert Turn(colour, config, Provider(*WHOLE)).run(item=text_of).items == ["THE BREAKER OPENS."]
    turn = Turn(colour, config, Provider(*WHOLE)).run(item=text_of, hold=False)
    assert isinstance(turn.raised, GuardrailViolatedError)
    assert "handed out before" in str(turn.raised)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_prompt_goes_through_the_guardrails(colour: str) -> None:
    guard = PatternGuardrail("no names", {"name": "Ann"}, action="block")
    provider = Provider(*WHOLE)
    turn = Turn(colour, desk(guardrails=[guard]), provider).run(prompt="Write to Ann", item=text_of)
    assert isinstance(turn.raised, GuardrailViolatedError)
    assert provider.calls == 0


def test_answers_that_repeat_are_found() -> None:
    with desk(loop_detection=LoopDetection(warn_at=2, limit=3)).session() as session:
        for _ in range(2):
            list(session.run_stream(Provider(*WHOLE).sync, MODEL, item=text_of, prompt="go on"))
        with pytest.raises(LoopDetectedError):
            list(session.run_stream(Provider(*WHOLE).sync, MODEL, item=text_of, prompt="go on"))


# --- journal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", COLOURS)
def test_a_finished_stream_is_answered_from_the_record(colour: str, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    provider = Provider(*WHOLE)
    config = desk(journal=Journal(store), run_id="r", budget_usd=1)
    first = Turn(colour, config, provider).run(item=text_of)
    assert not first.stream.replayed
    again = Turn(colour, config, provider).run(item=text_of)
    assert again.raised is None
    assert again.items == first.items == ["The breaker ", "opens."]
    assert again.stream.replayed
    assert provider.calls == 1
    assert again.session.tracker.total_cost() == first.session.tracker.total_cost() > 0
    (step,) = Journal(store).steps("r")
    assert (step.kind, step.name, step.state) == ("stream", MODEL, "done")
    replay = Turn(colour, desk(journal=Replayer(Journal(store), "r"), run_id="r"), Provider()).run(
        item=text_of
    )
    assert (replay.raised, replay.items) == (None, first.items)
    store.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_stream_that_was_left_is_in_doubt(colour: str) -> None:
    store, provider = MemoryStore(), Provider(*WHOLE)
    config = desk(journal=Journal(store), run_id="r")
    Turn(colour, config, provider).run(1, item=text_of)
    doubt = Turn(colour, config, provider).run(item=text_of)
    assert isinstance(doubt.raised, InDoubtError)
    assert provider.calls == 1
    known = Turn(colour, config, provider).run(item=text_of, verify=lambda: Happened(["told"]))
    assert (known.raised, known.items, provider.calls) == (None, ["told"], 1)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_stream_in_doubt_runs_again_where_it_may(colour: str) -> None:
    store, provider = MemoryStore(), Provider(*WHOLE)
    config = desk(journal=Journal(store), run_id="r")
    Turn(colour, config, provider).run(1, item=text_of)
    again = Turn(colour, config, provider).run(item=text_of, idempotent=True)
    assert (again.raised, again.items, provider.calls) == (None, ["The breaker ", "opens."], 2)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_stream_that_failed_is_on_record_with_what_it_cost(colour: str) -> None:
    store = MemoryStore()
    config = desk(journal=Journal(store), run_id="r")
    broken = Provider(said("four"), ConnectionError("reset"))

    def program(turn: Turn) -> None:
        turn.run(item=text_of, key="stream", input_tokens=10)

    program(Turn(colour, config, broken))
    (step,) = Journal(store).steps("r")
    assert (step.state, step.usage) == (
        "failed",
        {
            "input_tokens": 10,
            "output_tokens": 1,
            "cache_write_tokens": 0,
            "cache_read_tokens": 0,
            "estimated": True,
        },
    )
    with Journal(store).open("r") as other:
        other.begin("stream", name=MODEL, idempotent=True).failed(
            ConnectionError("again"), dict(step.usage), "0"
        )
        other.step("other", lambda: 1)  # so that the failure did not end the run
    turn = Turn(colour, config, broken)
    program(turn)
    assert isinstance(turn.raised, RecordedFailureError)
    assert isinstance(turn.raised, ConnectionError)
    assert broken.calls == 1
    assert turn.session.tracker.total_cost() == pytest.approx(12e-6)


def test_items_that_cannot_be_stored_are_handed_out_first() -> None:
    store = MemoryStore()
    with desk(journal=Journal(store), run_id="r").session() as session:
        stream = session.run_stream(Provider(object(), said("a")).sync, MODEL)
        assert len([next(stream), next(stream)]) == 2
        with pytest.raises(ResultNotStorableError):
            next(stream)
    (step,) = Journal(store).steps("r")
    assert (step.state, step.result) == ("done", None)


def test_a_stream_that_is_open_cannot_be_asked_for_again() -> None:
    with desk(journal=Journal(MemoryStore()), run_id="r").session() as session:
        provider = Provider(*WHOLE)
        stream = session.run_stream(provider.sync, MODEL, key="s")
        for ask in (
            lambda: session.run_stream(provider.sync, MODEL, key="s"),
            lambda: session.run.step("s", lambda: 1, kind="stream", name=MODEL),
        ):
            with pytest.raises(JournalError, match="has not ended"):
                ask()
        assert list(stream) == list(WHOLE)
        assert list(session.run_stream(provider.sync, MODEL, key="s")) == list(WHOLE)
        assert provider.calls == 1


def test_another_program_is_refused() -> None:
    store = MemoryStore()
    config = desk(journal=Journal(store), run_id="r")
    with config.session() as session:
        list(session.run_stream(Provider(*WHOLE).sync, MODEL, item=text_of))
    with config.session() as session, pytest.raises(ReplayMismatchError):
        session.run_turn(lambda: "x", MODEL)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_replay_asks_the_guardrails_again(colour: str) -> None:
    store = MemoryStore()
    Turn(colour, desk(journal=Journal(store), run_id="r"), Provider(*WHOLE)).run(item=text_of)
    guard = PatternGuardrail("no opening", {"opening": r"breaker opens"}, action="block")
    config = desk(journal=Journal(store), run_id="r", guardrails=[guard])
    turn = Turn(colour, config, Provider()).run(item=text_of)
    assert isinstance(turn.raised, GuardrailViolatedError)
    assert turn.items == []


def test_the_signature_tells_types() -> None:
    """Checked by pyright and mypy; here that it runs."""
    with desk().session() as session:
        words: list[str] = list(session.run_stream(lambda: iter(["a"])))
        sizes: list[int] = list(session.run_stream(lambda: iter(["a", "bc"]), item=_size))
    assert (words, sizes) == (["a"], [1, 2])


_size: Callable[[str], int] = len
