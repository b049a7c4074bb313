"""Journals: what happened is not done again, what is in doubt is said, nobody else writes."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.approvals import ApprovalPendingError, Approvals
from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.failures import classify
from techrevati.runtime.guardrails import GuardrailOutcome
from techrevati.runtime.journal import (
    Happened,
    InDoubtError,
    Journal,
    JournalError,
    RecordedFailureError,
    Recorder,
    Replayer,
    ReplayMismatchError,
    ResultNotStorableError,
    RunBusyError,
)
from techrevati.runtime.orchestrator import Orchestrator, ToolCall
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.stores import MemoryStore, SqliteStore, Store, StoreUnavailableError
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot


class Counted:
    """A call that counts itself."""

    def __init__(self, result: object = "done") -> None:
        self.calls, self.result = 0, result

    def __call__(self, **given: object) -> object:
        self.calls += 1
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def never() -> Any:
    """Must not be called."""
    raise AssertionError("called again")


class DeadError(BaseException):
    """Stands for the death of a process."""


def test_a_stored_result_has_no_credentials_and_is_never_cut(tmp_path: Path) -> None:
    """Unless the caller wants texts as they are."""
    key, long = "sk-proj-abcdefghijklmnop0123456789", "a long answer. " * 1_000
    path = tmp_path / "journal.db"
    with Journal(SqliteStore(path)).open("r") as run:
        run.step("a", Counted({"said": f"use {key}", "long": long}))
    with Journal(SqliteStore(path)).open("r") as run:
        assert run.step("a", never) == {"said": "use [redacted]", "long": long}
    assert not any(key.encode() in file.read_bytes() for file in tmp_path.iterdir())
    as_it_is = Journal(MemoryStore(), redact=str)
    with as_it_is.open("r") as run:
        run.step("a", Counted(key))
    with as_it_is.open("r") as run:
        assert run.step("a", never) == key


def test_a_stored_result_has_nothing_under_the_name_of_a_secret() -> None:
    """Whatever it looks like; but numbers and the words of a model, which stand under "token", stay."""
    result = {
        "headers": [{"X-Api-Key": "opaque"}, {"password": "hunter2 or so"}],
        "logprobs": [{"token": " international", "logprob": -0.5}, {"token": "internationally"}],
        "session": {"token": "c29tZXRoaW5nLW9wYXF1ZQ=="},
        "access_token": None,
        "secret": 7,
    }
    stored = {
        **result,
        "headers": [{"X-Api-Key": "[redacted]"}, {"password": "[redacted]"}],
        "session": {"token": "[redacted]"},
    }
    for redact, expected in ((None, stored), (str, result)):
        journal = Journal(MemoryStore(), redact=redact)
        with journal.open("r") as run:
            assert run.step("a", Counted(result)) == result
        with journal.open("r") as run:
            assert run.step("a", never) == expected


def test_a_finished_step_is_not_done_again() -> None:
    """A later life gets the result, in the same life and the next."""
    journal = Journal(MemoryStore())
    with journal.open("r") as run:
        assert run.step("a", Counted({"n": 1})) == {"n": 1}
        assert run.step("a", never) == {"n": 1}
    with journal.open("r") as run:
        assert run.step("a", never) == {"n": 1}
        assert run.replayed == 1
    assert journal.run("r").state == "completed"


def in_doubt(journal: Journal) -> None:
    """Leave a run with a step in doubt."""
    with pytest.raises(DeadError), journal.open("r") as run:
        run.step("pay", Counted(DeadError()))


def test_doubt_is_said_verified_or_resolved() -> None:
    """A begun step without an end is never repeated on its own."""
    journal = Journal(MemoryStore())
    in_doubt(journal)
    assert journal.run("r").in_doubt == ("pay",)
    with journal.open("r") as run, pytest.raises(InDoubtError):
        run.step("pay", never)
    with journal.open("r") as run, pytest.raises(InDoubtError):
        run.step("pay", never, verify=lambda: None)
    with journal.open("r") as run:
        assert run.step("pay", never, verify=lambda: Happened(7)) == 7
    with journal.open("r") as run:
        assert run.step("pay", never) == 7


def test_doubt_may_be_repeated_where_that_is_said() -> None:
    """idempotent, a verify that says no, and a person who says no."""
    for how in ("idempotent", "verify", "resolve"):
        journal = Journal(MemoryStore())
        in_doubt(journal)
        if how == "resolve":
            journal.resolve("r", "pay", happened=False)
        call = Counted()
        with journal.open("r") as run:
            run.step("pay", call, idempotent=how == "idempotent", verify=lambda: False)
        assert call.calls == 1, how
        assert journal.run("r").in_doubt == ()


def test_a_second_attempt_is_not_taken_for_the_first() -> None:
    """What was said of one attempt says nothing about the next, which may be in doubt again."""
    journal = Journal(MemoryStore())
    for attempt in (1, 2, 3):
        in_doubt(journal)
        assert journal.run("r").in_doubt == ("pay",)
        assert journal.steps("r")[0].attempt == attempt
        with journal.open("r") as run, pytest.raises(InDoubtError):
            run.step("pay", never)
        journal.resolve("r", "pay", happened=False)
        assert journal.steps("r") == ()


def test_one_owner_at_a_time() -> None:
    """A second opener is refused until the lease ends; then the first one can write no more."""
    clock = FakeClock(1000.0)
    journal = Journal(MemoryStore(clock=clock), clock=clock, lease_seconds=600)
    first = journal.open("r")
    with pytest.raises(RunBusyError):
        journal.open("r")
    clock.advance(601)
    with journal.open("r"), pytest.raises(RunBusyError):
        first.step("a", never)
    first.close()


def test_four_threads_on_one_key_run_it_once() -> None:
    """The others wait and get its result."""
    journal, gate, begun = Journal(MemoryStore()), threading.Barrier(4), Counted(1)
    found: list[object] = []
    with journal.open("r") as run:

        def work() -> None:
            gate.wait(30)
            found.append(run.step("k", begun))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert (found, begun.calls) == ([1] * 4, 1)


def test_a_changed_program_is_noticed() -> None:
    """Another key, tool or argument where something else is on record; nothing is called."""
    journal = Journal(MemoryStore())
    with journal.open("r") as run:
        run.step("a", Counted())
        run.step(None, Counted(), kind="tool", name="t", arguments={"x": 1})
    with journal.open("r") as run, pytest.raises(ReplayMismatchError) as caught:
        run.step("b", never)
    assert caught.value.recorded is not None
    assert (caught.value.recorded.key, caught.value.asked.key) == ("a", "b")
    with journal.open("r") as run, pytest.raises(ReplayMismatchError):
        run.step("a", never)
        run.step(None, never, kind="tool", name="t", arguments={"x": 2})


def test_what_cannot_be_stored_is_not_done_again() -> None:
    """The result is in the error once; later lives are told that it is lost."""
    journal, thing = Journal(MemoryStore()), object()
    with journal.open("r") as run, pytest.raises(ResultNotStorableError) as caught:
        run.step("a", Counted(thing))
    assert caught.value.result is thing
    with journal.open("r") as run, pytest.raises(ResultNotStorableError):
        run.step("a", never)


@pytest.mark.parametrize("store", [MemoryStore, lambda: SqliteStore(":memory:")], ids=["memory", "sqlite"])
def test_half_a_surrogate_pair_is_no_name(store: Callable[[], Store]) -> None:
    """A run, a step and an orchestrator say which argument it was; a tool's name that a model cut is kept."""
    half = "cut \ud83d"
    journal = Journal(store())
    for use in (journal.open, journal.run, journal.steps, journal.forget):
        with pytest.raises(ValueError, match=r"run_id must be text that UTF-8 can encode.*ud83d") as caught:
            use(half)
        assert not isinstance(caught.value, UnicodeError)
    with pytest.raises(ValueError, match="run_id must be text that UTF-8 can encode"):
        Orchestrator("a", "b", run_id=half)
    with journal.open("r") as run:
        with pytest.raises(ValueError, match=r"key must be text that UTF-8 can encode.*ud83d"):
            run.step(half, lambda: 1)
        key = run._places.reserved("tool", half, {"x": half})
        assert run.step(key, lambda: 1, kind="tool", name=half, arguments={"x": half}) == 1
    assert [(step.name, step.state) for step in journal.steps("r")] == [(half, "done")]


def test_half_a_surrogate_pair_is_stored(tmp_path: Path) -> None:
    """An answer that was cut inside an emoji is no UTF-8, and is not lost: as a result, as the text of a
    failure, in arguments that people are shown, and in a recorder's file."""
    cut = "so far \ud83d"
    store = MemoryStore()
    recorder = Recorder(tmp_path / "run.jsonl")
    for journal in (Journal(store), Journal(store), recorder):
        with journal.open("r") as run:
            assert run.step("cut", lambda: {"text": cut}) == {"text": cut}
            with pytest.raises(ValueError, match="so far"):
                run.step("bad", Counted(ValueError(cut)))
    with Replayer(tmp_path / "run.jsonl", strict=False).open() as run:
        assert run.step("cut", never) == {"text": cut}
    approvals = Approvals(store)
    name = approvals.request("say", {"text": cut}, reason=cut)
    assert approvals.grant(name, by="Bea").reason == cut
    assert approvals.consume(name, "say", {"text": cut}).state == "consumed"


def test_a_failure_is_raised_again_as_what_it_was() -> None:
    """``except`` clauses of the program see the same type."""
    journal = Journal(MemoryStore())
    for call in (Counted(ConnectionError("no")), never):
        with journal.open("r") as run:
            with pytest.raises(ConnectionError, match="no"):
                run.step("a", call)
            run.step("b", Counted())
    with journal.open("r") as run, pytest.raises(RecordedFailureError):
        run.step("a", never)


def test_who_lost_a_run_leaves_it_to_its_new_owner() -> None:
    """Closing it late changes nothing of the other one's."""
    clock = FakeClock(1_000_000.0)
    store = MemoryStore(clock=clock)
    slow = Journal(store, lease_seconds=10, clock=clock).open("r")
    clock.advance(11)
    with Journal(store, lease_seconds=10, clock=clock).open("r") as run:
        slow.close("failed")
        assert Journal(store, clock=clock).run("r").state == "running"
        with pytest.raises(RunBusyError):
            Journal(store, clock=clock).open("r")
        assert run.step("a", Counted()) == "done"
    assert Journal(store, clock=clock).run("r").state == "completed"


def test_a_step_inside_itself_is_refused_and_waits_for_nobody() -> None:
    """In this thread or task, where it would wait for itself; inside another step it may be."""
    with Journal(MemoryStore()).open("r") as run:
        assert run.step("outer", lambda: run.step("inner", Counted("x"))) == "x"
        with pytest.raises(JournalError, match="inside itself"):
            run.step("a", lambda: run.step("b", lambda: run.step("a", never)))

        async def again() -> object:
            return await run.astep("c", again)

        with pytest.raises(JournalError, match="inside itself"):
            asyncio.run(again())


@pytest.mark.parametrize("kind", ["step", "tool", "turn"])
@pytest.mark.parametrize("idempotent", [False, True])
def test_what_a_run_ended_with_is_tried_again_where_that_is_harmless(kind: str, idempotent: bool) -> None:
    """A turn, or what is idempotent; any other effect fails again as it did, and is not repeated."""
    journal = Journal(MemoryStore())
    with pytest.raises(ConnectionError), journal.open("r") as run:
        run.step("a", Counted(ConnectionError("no")), kind=kind, idempotent=idempotent)
    with journal.open("r") as run:
        if kind == "turn" or idempotent:
            assert run.step("a", Counted("again"), kind=kind, idempotent=idempotent) == "again"
        else:
            with pytest.raises(ConnectionError, match="no"):
                run.step("a", never, kind=kind)


class ProviderError(Exception):
    """What an SDK raises."""

    status_code, code, headers = 429, "rate_limit_exceeded", {"retry-after": "7"}


def test_a_recorded_failure_is_judged_as_it_was() -> None:
    """What decides by ``classify`` decides the same in every life, also where the type is not known."""
    journal, error = Journal(MemoryStore()), ProviderError("slow down")
    with journal.open("r") as run:
        with pytest.raises(ProviderError):
            run.step("a", Counted(error))
        run.step("b", Counted())
    first = classify(error)
    with journal.open("r") as run, pytest.raises(RecordedFailureError) as caught:
        run.step("a", never)
    again = classify(caught.value)
    names = ("kind", "retryable", "retry_after", "origin", "status_code", "code", "scenario", "failure_class")
    assert [getattr(again, name) for name in names] == [getattr(first, name) for name in names]
    assert classify(pickle.loads(pickle.dumps(caught.value))) == again  # noqa: S301
    assert classify(RecordedFailureError("r", "a", {"type": "x"})).kind.value == "unknown"


def program(session: object, tool: Counted, model: Counted) -> list[object]:
    """A small agent."""
    found: list[object] = []
    for _ in range(2):
        found.append(session.run_turn(model, "m", usage=UsageSnapshot(10, 5))[0])  # type: ignore[attr-defined]
        found.append(session.run_tool("t", tool, {"x": 1}))  # type: ignore[attr-defined]
    calls = [ToolCall("p", Counted(n), {"n": n}) for n in range(4)]
    found += [each.value for each in session.run_tools(calls)]  # type: ignore[attr-defined]
    return found


def test_a_session_goes_on_where_it_was() -> None:
    """Nothing is called again; tracker and iterations are as they were; parallel results are not swapped."""
    journal, tool, model = Journal(MemoryStore()), Counted("tool"), Counted("model")
    agent = Orchestrator("role", "phase", journal=journal, run_id="r", max_iterations=2)
    seen = []
    for _ in range(2):
        with agent.session() as session:
            seen.append((program(session, tool, model), session.tracker.turns, session._iteration_count))
    assert seen[0] == seen[1]
    assert seen[0][0][4:] == [0, 1, 2, 3]
    assert (tool.calls, model.calls) == (2, 2)


class Told:
    """A usage sink."""

    def __init__(self) -> None:
        self.models: list[str] = []

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        self.models.append(model)


TURN_PRICES = {"turn-large": ModelPricing(1.0, 2.0), "turn-small": ModelPricing(0.1, 0.2)}
TURN_ANSWER = {"text": "yes", "usage": {"prompt_tokens": 1000, "completion_tokens": 10}}


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("died", [False, True], ids=["finished", "in doubt"])
def test_a_later_life_prices_a_turn_as_the_model_that_answered(colour: str, died: bool) -> None:
    """Where a function says which model is asked, that of the record counts, not the one preferred now.  A
    turn in doubt that did happen is counted, told and held to the budget in the life that finds that out."""
    for model, pricing in TURN_PRICES.items():
        register_pricing(model, pricing)
    journal, told = Journal(MemoryStore()), Told()
    asked = ["turn-large"]

    def first() -> dict[str, object]:
        asked[0] = "turn-small"
        if died:
            raise DeadError
        return TURN_ANSWER

    def found() -> Happened:
        asked[0] = "turn-small"
        return Happened(TURN_ANSWER)

    def life(fn: Callable[[], dict[str, object]]) -> tuple[float, float]:
        asked[0] = "turn-large"
        agent = Orchestrator("role", "phase", journal=journal, run_id="r", usage_sink=told, max_iterations=1)
        if colour == "sync":
            with agent.session() as session:
                session.run_turn(fn, lambda: asked[0], key="t", verify=found)
                return session.tracker.total_cost(), float(journal.run("r").spent_picodollars) / 1e12

        async def main() -> tuple[float, float]:
            async def call() -> dict[str, object]:
                return fn()

            async with agent.asession() as session:
                await session.arun_turn(call, lambda: asked[0], key="t", verify=found)
                return session.tracker.total_cost(), float(journal.run("r").spent_picodollars) / 1e12

        return asyncio.run(main())

    cost = 1000 * 0.1e-6 + 10 * 0.2e-6
    if died:
        with pytest.raises(DeadError):
            life(first)
    else:
        assert life(first) == pytest.approx((cost, cost))
    for _ in range(2):
        assert life(never) == pytest.approx((cost, cost))
    assert told.models == ["turn-small"]


def test_an_async_session_too() -> None:
    """The same for coroutines."""

    async def main() -> None:
        agent = Orchestrator("role", "phase", journal=Journal(MemoryStore()), run_id="r")
        tool, model = Counted("tool"), Counted("model")
        for _ in range(2):
            async with agent.asession() as session:
                await session.arun_turn(model, "m")
                calls = [ToolCall("p", Counted(n), {"n": n}) for n in range(4)]
                assert [each.value for each in await session.arun_tools(calls)] == [0, 1, 2, 3]
                await session.arun_tool("t", tool, {"x": 1})
        assert (tool.calls, model.calls) == (1, 1)

    asyncio.run(main())


def test_an_approval_parks_the_run(tmp_path: Path) -> None:
    """Until a human granted it; then the tool runs once, whatever happens after."""
    store = SqliteStore(tmp_path / "one.db")
    agent = Orchestrator("role", "phase", journal=Journal(store), run_id="r")
    approvals, tool = Approvals(store), Counted("sent")
    with pytest.raises(ApprovalPendingError) as caught, agent.session() as session:
        session.run_tool("send", tool, {"to": "Ann"}, approval=approvals)
    assert session.worker.status.value == "waiting_for_input"
    assert Journal(store).run("r").state == "waiting"
    approvals.grant(caught.value.id, "Bea")
    for _ in range(2):
        with agent.session() as session:
            assert session.run_tool("send", tool, {"to": "Ann"}, approval=approvals) == "sent"
    assert tool.calls == 1
    assert approvals.get(caught.value.id).state == "consumed"
    store.close()


def test_parallel_tools_have_their_own_keys_and_approvals() -> None:
    """What waits for a human is that call's own result; once granted, each act happens once."""
    store = MemoryStore()
    approvals, acts = Approvals(store), Counted("done")
    agent = Orchestrator("role", "phase", journal=Journal(store), run_id="r")

    def calls() -> list[ToolCall[object]]:
        pays = [ToolCall("pay", acts, {"usd": n}, key=f"pay-{n}", approval=approvals) for n in range(2)]
        return [*pays, ToolCall("look", acts, key="look")]

    with pytest.raises(ApprovalPendingError), agent.session() as session:
        results = session.run_tools(calls())
        assert [result.ok for result in results] == [False, False, True]
        _ = results[0].value
    assert acts.calls == 1
    assert Journal(store).run("r").state == "waiting"
    for one in approvals.list():
        approvals.grant(one.id, "Bea")

    async def again() -> None:
        for _ in range(2):
            async with agent.asession() as session:
                assert [result.value for result in await session.arun_tools(calls())] == ["done"] * 3

    asyncio.run(again())
    assert acts.calls == 3
    assert {step.key for step in Journal(store).steps("r")} == {"pay-0", "pay-1", "look"}


def test_a_question_nobody_answered_in_time_is_put_again() -> None:
    """A run that waited longer than its approval holds is not lost: its next life asks anew."""
    clock = FakeClock(1_000_000.0)
    store = MemoryStore(clock=clock)
    approvals, tool = Approvals(store, clock=clock), Counted("sent")
    agent = Orchestrator("role", "phase", journal=Journal(store, clock=clock), run_id="r")
    for _ in range(2):
        with pytest.raises(ApprovalPendingError) as caught, agent.session() as session:
            session.run_tool("send", tool, {"to": "Ann"}, approval=approvals)
        clock.advance(3600)
    with pytest.raises(ApprovalPendingError), agent.session() as session:
        session.run_tool("send", tool, {"to": "Ann"}, approval=approvals)
    approvals.grant(caught.value.id, "Bea")
    with agent.session() as session:
        assert session.run_tool("send", tool, {"to": "Ann"}, approval=approvals) == "sent"
    assert tool.calls == 1


class Overtaking:
    """Lets the first call of a life begin only when the second has ended."""

    name = "overtaking"

    def __init__(self, thread: bool) -> None:
        self.came = 0
        self.done: Any = threading.Event() if thread else asyncio.Event()

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        self.came += 1
        if self.came == 1:
            assert self.done.wait(30)
        return GuardrailOutcome(True)

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        self.done.set()
        return GuardrailOutcome(True)


class AsyncOvertaking(Overtaking):
    """The same for tasks."""

    async def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:  # type: ignore[override]
        self.came += 1
        if self.came == 1:
            await self.done.wait()
        return GuardrailOutcome(True)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_calls_that_are_alike_keep_their_results(colour: str) -> None:
    """Told apart by their order in the list, not by who came first in that life."""
    journal = Journal(MemoryStore())

    def agent(guardrails: list[Any]) -> Orchestrator:
        return Orchestrator("role", "phase", journal=journal, run_id="r", guardrails=guardrails)

    def calls() -> list[ToolCall[object]]:
        return [ToolCall("roll", Counted(n)) for n in range(2)]

    async def life(guardrails: list[Any]) -> list[object]:
        async with agent(guardrails).asession() as session:
            return [each.value for each in await session.arun_tools(calls())]

    if colour == "sync":
        for guardrails in ([Overtaking(thread=True)], []):
            with agent(guardrails).session() as session:
                assert [each.value for each in session.run_tools(calls())] == [0, 1]
    else:
        assert asyncio.run(life([AsyncOvertaking(thread=False)])) == [0, 1]
        assert asyncio.run(life([])) == [0, 1]
    assert [step.result for step in journal.steps("r")] == ["1", "0"]  # the second ended first
    with Orchestrator("role", "phase", journal=Replayer(journal, "r")).session() as session:
        assert [each.value for each in session.run_tools(calls())] == [0, 1]


def test_a_call_with_bad_arguments_does_not_keep_its_siblings() -> None:
    """What cannot be hashed is that call's own failure."""
    agent = Orchestrator("role", "phase", journal=Journal(MemoryStore()), run_id="r")
    with agent.session() as session:
        results = session.run_tools(
            [ToolCall("a", Counted(1)), ToolCall("b", Counted(2), [1]), ToolCall("c", Counted(3))]  # type: ignore[arg-type]
        )
    assert [result.ok for result in results] == [True, False, True]


def test_a_tool_on_record_is_not_counted_again() -> None:
    """The budget of tool calls is what happened, however often the run is resumed."""
    budget = Budget("tools", limits={"tool_calls": 2})
    agent = Orchestrator("role", "phase", journal=Journal(MemoryStore()), run_id="r", budget=budget)
    for _ in range(3):
        with agent.session() as session:
            session.run_tool("a", Counted())
    assert budget.snapshot().settled["tool_calls"] == 1
    with agent.session() as session:
        session.run_tool("a", never)
        session.run_tool("b", Counted())
        with pytest.raises(BudgetExceededError):
            session.run_tool("c", never)
    assert len(Journal(agent.journal.store).steps("r")) == 2  # type: ignore[union-attr]


def test_a_question_survives_a_restart() -> None:
    """The run waits, nobody is in doubt; the answer is given in between, or to the next life; asked once."""
    journal = Journal(MemoryStore())
    agent = Orchestrator("role", "phase", journal=journal, run_id="r")

    async def life(answer: str | None) -> str:
        async with agent.asession() as session:
            asked = asyncio.ensure_future(session.pause_for_input("Send it?"))
            await asyncio.sleep(0)
            if answer is None and not asked.done():
                await asyncio.sleep(0)
            if not asked.done() and session.worker.status.value == "waiting_for_input":
                if answer is None:
                    asked.cancel()
                    raise DeadError
                session.provide_input(answer)
            return await asked

    with pytest.raises(DeadError):
        asyncio.run(life(None))
    assert journal.run("r")[1:] == ("waiting", 1, 0, ())
    with pytest.raises(JournalError, match="1 answers"):
        journal.answer("r", "yes", key="other")
    journal.answer("r", "yes")
    assert asyncio.run(life("no")) == "yes"
    with pytest.raises(JournalError, match="no answers"):
        journal.answer("r", "again")


def test_an_open_run_is_bounded() -> None:
    """One step more than allowed is refused before it begins, also after a resume; known ones answer."""
    journal = Journal(MemoryStore(), max_steps=3)
    for _ in range(2):
        with journal.open("r") as run:
            for n in range(3):
                assert run.step(f"k{n}" if n else None, lambda n=n: n) == n
            assert run._calls == {}
            for key in ("k3", None):
                with pytest.raises(JournalError, match="max_steps=3"):
                    run.step(key, never)
            assert run.step("k1", never) == 1
    with pytest.raises(ValueError, match="max_steps"):
        Journal(MemoryStore(), max_steps=0)


class FullStore(MemoryStore):
    """Refuses its n-th write of steps, as a full disk does."""

    left = 0

    def update(self, keys: Any, decide: Any, *, durable: bool = True) -> Any:
        """One write."""
        self.left -= 1
        if self.left == 0:
            raise StoreUnavailableError("disk", "full", "full")
        return super().update(keys, decide, durable=durable)


def test_a_result_that_meets_a_full_disk_reaches_the_caller() -> None:
    """It was paid for; the step stays in doubt, now and in later lives, and is not done again."""
    store = FullStore()
    journal, call = Journal(store), Counted("paid")
    with journal.open("r") as run:
        store.left = 2
        with pytest.raises(ResultNotStorableError, match="stays in doubt") as caught:
            run.step("a", call)
        assert (caught.value.result, caught.value.in_doubt) == ("paid", True)
        assert isinstance(caught.value.__cause__, StoreUnavailableError)
        with pytest.raises(InDoubtError):
            run.step("a", never)
    with journal.open("r") as run, pytest.raises(InDoubtError):
        run.step("a", never)
    assert call.calls == 1


@pytest.mark.parametrize(
    ("durability", "idempotent"), [("intents", False), ("intents", True), ("full", True)]
)
def test_what_waits_for_the_disk(durability: str, idempotent: bool) -> None:
    """Intents of what must not be repeated, and the end of the run; with "full" everything."""
    waited: list[bool] = []

    class Watched(MemoryStore):
        def update(self, keys: Any, decide: Any, *, durable: bool = True) -> Any:
            waited.append(durable)
            return super().update(keys, decide, durable=durable)

    with Journal(Watched(), durability=durability).open("r") as run:
        run.step("a", Counted(), idempotent=idempotent)
    full = durability == "full"
    assert waited == [True, full or not idempotent, full, True]
    with pytest.raises(ValueError, match="durability"):
        Journal(MemoryStore(), durability="none")


def test_a_run_taken_over_during_a_paid_step_loses_no_result() -> None:
    """The error has what the step gave; the new owner finds it in doubt; a failure stays the failure."""
    clock = FakeClock(1000.0)
    journal = Journal(MemoryStore(clock=clock), clock=clock, lease_seconds=10)
    run = journal.open("r")
    taker: list[Any] = []

    def paid() -> str:
        clock.advance(11)
        taker.append(journal.open("r"))
        return "paid for"

    with pytest.raises(RunBusyError) as caught:
        run.step("a", paid)
    assert (caught.value.has_result, caught.value.result, caught.value.key) == (True, "paid for", "a")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (again.has_result, again.result, again.key) == (True, "paid for", "a")
    with pytest.raises(InDoubtError):
        taker[0].step("a", never)
    with pytest.raises(RunBusyError) as before:
        run.step("b", never)
    assert not before.value.has_result

    def failing() -> None:
        clock.advance(11)
        taker.append(journal.open("r"))
        raise ValueError("the provider says no")

    with pytest.raises(ValueError, match="the provider says no") as failed:
        taker[0].step("c", failing)
    assert "took it over" in failed.value.__notes__[0]


def test_a_turn_of_a_run_taken_over_is_booked() -> None:
    clock = FakeClock(1000.0)
    journal = Journal(MemoryStore(clock=clock), clock=clock, lease_seconds=10)

    def paid() -> str:
        clock.advance(11)
        journal.open("r")
        return "paid for"

    session = Orchestrator("role", "phase", journal=journal, run_id="r").session()
    with pytest.raises(RunBusyError) as caught, session:
        session.run_turn(paid, "m", usage=UsageSnapshot(7, 1))
    assert caught.value.result == "paid for"
    assert session.tracker.summary()["total_input_tokens"] == 7


def test_a_turn_asked_for_twice_in_one_life_is_counted_once() -> None:
    """By its own life, by a later one, and by threads that wait for the same call."""
    journal = Journal(MemoryStore())
    used = UsageSnapshot(10, 5)
    for call in (Counted(), never):
        with Orchestrator("role", "phase", journal=journal, run_id="r").session() as session:
            for _ in range(3):
                assert session.run_turn(call, "m", usage=used, key="k") == ("done", used)
            assert session.tracker.summary()["total_input_tokens"] == 10

    both = threading.Barrier(2)
    with Orchestrator("role", "phase", journal=journal, run_id="threads").session() as session:
        answers: list[object] = []

        def slow() -> str:
            both.wait(10)
            return "done"

        def ask() -> None:
            answers.append(session.run_turn(slow, "m", usage=used, key="k"))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        both.wait(10)
        for thread in threads:
            thread.join(10)
        assert answers == [("done", used)] * 4
        assert session.tracker.summary()["total_input_tokens"] == 10


def test_a_stream_asked_for_twice_in_one_life_is_counted_once() -> None:
    journal = Journal(MemoryStore())
    for _ in range(2):
        with Orchestrator("role", "phase", journal=journal, run_id="r").session() as session:
            for _ in range(2):
                with session.run_stream(lambda: iter("ab"), "m", key="k") as stream:
                    assert list(stream) == ["a", "b"] or stream.replayed
            first = session.tracker.summary()
        assert first["turns"] == 1


@pytest.mark.parametrize("wait_s", [4.0, 5.5])
def test_a_write_renews_a_lease_that_is_half_over(wait_s: float) -> None:
    """Not sooner, as that is one page more to write; not later, as the next pause may be long."""
    clock = FakeClock(1000.0)
    store = MemoryStore(clock=clock)
    with Journal(store, clock=clock, lease_seconds=10).open("r") as run:
        run.step("a", Counted())
        clock.advance(wait_s)
        run.step("b", Counted())
        clock.advance(9.9 - wait_s)
        assert run.step("c", Counted()) == "done"
        clock.advance(wait_s if wait_s > 5 else 0.0)
        if wait_s > 5:
            with pytest.raises(RunBusyError):
                Journal(store, clock=clock).open("r")


def test_the_keeper_renews_three_times_in_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps a third of a lease at a time, and each time makes the lease whole again."""
    clock = FakeClock(1000.0)
    waits: list[float] = []

    class Pause(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            clock.advance(timeout)
            return len(waits) > 9

    monkeypatch.setattr("techrevati.runtime.journal.lease.Event", Pause)
    run = Journal(MemoryStore(clock=clock), clock=clock, lease_seconds=9).open("r")
    run._lease._keeper.join(10)  # type: ignore[union-attr]
    assert waits == [3.0] * 10
    assert run.step("a", Counted()) == "done"  # 30 s later it is still its own
