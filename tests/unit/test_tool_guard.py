"""A tool guard alone, without a framework: the order of its questions, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.approvals import ApprovalPendingError, Approvals
from techrevati.runtime.budgets import Budget
from techrevati.runtime.guardrails import GuardrailChain, GuardrailOutcome, GuardrailViolatedError
from techrevati.runtime.integrations import ToldRefusal, ToolGuard
from techrevati.runtime.permissions import (
    PermissionDeniedError,
    PermissionEnforcer,
    PermissionMode,
    PermissionPolicy,
    RolePermissionConfig,
)
from techrevati.runtime.redaction import Redactor
from techrevati.runtime.sinks import RingBufferEventSink
from techrevati.runtime.stores import MemoryStore

POLICY = PermissionPolicy([RolePermissionConfig("reader", PermissionMode.READ_ONLY, ["look", "send"])])


class Asked:
    """A guardrail that notes what it is asked, and obeys."""

    name = "asked"

    def __init__(self, log: list[str], before: Any = None, after: Any = None) -> None:
        self.log = log
        self.before = before or GuardrailOutcome(True)
        self.after = after or GuardrailOutcome(True)

    def check_pre(self, *, role: str, tool: str, arguments: Any = None) -> GuardrailOutcome:
        self.log.append(f"before {role} {tool} {arguments}")
        made: GuardrailOutcome = self.before
        return made

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        self.log.append(f"after {role} {tool} {value}")
        made: GuardrailOutcome = self.after
        return made


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call a tool through a guard."""

    def used(guard: ToolGuard, tool: str, arguments: Any, run: Callable[[Any], Any], **more: Any) -> Any:
        if request.param == "sync":
            return guard.call(tool, arguments, run, **more)

        async def ran(given: Any) -> Any:
            return run(given)

        return asyncio.run(guard.acall(tool, arguments, ran, **more))

    return used


def told(sink: RingBufferEventSink) -> list[tuple[Name, Status, str | None]]:
    return [(event.event, event.status, event.detail) for event in sink.events]


def test_what_may_be_called_is_called_and_told(use: Callable[..., Any]) -> None:
    """Names, never arguments or results."""
    log: list[str] = []
    sink = RingBufferEventSink(10)
    guard = ToolGuard(role="reader", guardrails=[Asked(log)], event_sink=sink, project="acme")
    assert use(guard, "look", {"at": "sea"}, lambda given: f"seen {given['at']}") == "seen sea"
    assert log == ["before reader look {'at': 'sea'}", "after reader look seen sea"]
    assert told(sink) == [
        (Name.AGENT_TOOL_CALLED, Status.RUNNING, None),
        (Name.AGENT_TOOL_COMPLETED, Status.COMPLETED, None),
    ]
    assert {(event.role, event.project_id, (event.data or {})["tool"]) for event in sink.events} == {
        ("reader", "acme", "look")
    }
    assert "sea" not in str([event.to_dict() for event in sink.events])


@pytest.mark.parametrize("permissions", [POLICY, PermissionEnforcer(POLICY)])
def test_who_may_not_is_asked_nothing_more(permissions: Any, use: Callable[..., Any]) -> None:
    """No guardrail, no human, no budget hears of it."""
    log: list[str] = []
    budget = Budget("tools", limits={"tool_calls": 5})
    approvals = Approvals(MemoryStore())
    guard = ToolGuard(
        role="reader",
        permissions=permissions,
        guardrails=[Asked(log)],
        budget=budget,
        approvals=approvals,
        ask_first=["erase"],
    )
    with pytest.raises(PermissionDeniedError):
        use(guard, "erase", {}, log.append)
    assert log == []
    assert approvals.list() == ()
    assert budget.snapshot().settled == {}
    assert use(guard, "look", {}, lambda given: "ok") == "ok"


def test_guardrails_rewrite_both_ways(use: Callable[..., Any]) -> None:
    """The tool sees the new arguments, the model the new result."""
    log: list[str] = []
    chain = GuardrailChain(
        [Asked(log, GuardrailOutcome.rewrite({"at": "land"}), GuardrailOutcome.rewrite("hidden"))]
    )
    guard = ToolGuard(guardrails=chain)
    assert use(guard, "look", {"at": "sea"}, lambda given: log.append(str(given))) == "hidden"
    assert log == ["before agent look {'at': 'sea'}", "{'at': 'land'}", "after agent look None"]


def test_a_refused_result_was_a_call(use: Callable[..., Any]) -> None:
    """It ran and counts; what it returned is kept back."""
    budget = Budget("tools", limits={"tool_calls": 5})
    sink = RingBufferEventSink(10)
    refusing = Asked([], after=GuardrailOutcome(False, "a secret"))
    for tells in ("raise", "tell"):
        guard = ToolGuard(guardrails=[refusing], budget=budget, event_sink=sink, on_refusal=tells)
        if tells == "raise":
            with pytest.raises(GuardrailViolatedError):
                use(guard, "look", {}, lambda given: "x")
        else:
            answer = use(guard, "look", {}, lambda given: "x")
            assert isinstance(answer, ToldRefusal)
            assert answer.startswith("look was refused: ")
    assert budget.snapshot().settled == {"tool_calls": 2}
    assert [name for name, _, _ in told(sink)][:3] == [
        Name.AGENT_TOOL_CALLED,
        Name.AGENT_TOOL_COMPLETED,
        Name.AGENT_BLOCKED,
    ]
    assert told(sink)[2][1] is Status.BLOCKED
    assert "a secret" in str(told(sink)[2][2])


def test_a_refusal_that_is_told_runs_nothing(use: Callable[..., Any]) -> None:
    ran: list[Any] = []
    budget = Budget("tools", limits={"tool_calls": 5})
    guard = ToolGuard(role="reader", permissions=POLICY, budget=budget, on_refusal="tell")
    answer = use(guard, "erase", {}, ran.append)
    assert isinstance(answer, ToldRefusal)
    assert "erase" in answer
    assert ran == []
    assert budget.snapshot().settled == {}


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_the_tool_raises_is_its_own(error: BaseException, use: Callable[..., Any]) -> None:
    """It is told as failed; no guardrail is asked about a result."""
    log: list[str] = []
    sink = RingBufferEventSink(10)
    guard = ToolGuard(guardrails=[Asked(log)], event_sink=sink, on_refusal="tell")

    def fail(given: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        use(guard, "look", None, fail)
    assert log == ["before agent look None"]
    assert [status for _, status, _ in told(sink)] == [Status.RUNNING, Status.FAILED]
    assert told(sink)[1][0] is Name.AGENT_TOOL_COMPLETED
    assert told(sink)[1][2]


def test_a_human_allows_one_act_once(use: Callable[..., Any]) -> None:
    """By the id of the call, within its run; the arguments are those that the guardrails left."""
    approvals = Approvals(MemoryStore())
    rewrite = GuardrailOutcome.rewrite({"to": "bob"})
    guard = ToolGuard(
        guardrails=[Asked([], rewrite)], approvals=approvals, ask_first=["send"], run="run-1", role="reader"
    )
    with pytest.raises(ApprovalPendingError) as pending:
        use(guard, "send", {"to": "BOB"}, str, call_id="c1")
    (asked,) = approvals.list()
    assert (asked.id, pending.value.id) == ("run-1/c1", "run-1/c1")
    assert (asked.tool, asked.shown) == ("send", "{'to': 'bob'}")
    assert asked.reason == "call of send by reader"
    approvals.grant("run-1/c1", "alice")
    assert use(guard, "send", {"to": "BOB"}, str, call_id="c1") == "{'to': 'bob'}"
    assert use(guard, "look", {}, str) == "{'to': 'bob'}"  # nobody is asked about others


@pytest.mark.parametrize(
    ("limits", "tool", "counted"),
    [
        ({"tool_calls": 9}, "look", {"tool_calls": 1}),
        ({"tool_calls": 9}, "research", {"tool_calls": 1}),
        ({"delegated_tasks": 9}, "research", {"delegated_tasks": 1}),
        ({"tool_calls": 9, "delegated_tasks": 9}, "research", {"tool_calls": 1, "delegated_tasks": 1}),
        ({"tool_calls": 9, "delegated_tasks": 9}, "look", {"tool_calls": 1, "delegated_tasks": 0}),
        ({"tool_calls": 9, "wall_seconds": 0}, "look", {"tool_calls": 1}),
        ({"delegated_tasks": 9}, "look", {}),
        ({"model_calls": 9}, "look", {}),
    ],
)
def test_what_a_call_counts(
    limits: dict[str, float], tool: str, counted: dict[str, int], use: Callable[..., Any]
) -> None:
    budget = Budget("tools", limits=limits)
    guard = ToolGuard(budget=budget, delegates=["research"])
    use(guard, tool, {}, str)
    settled = {unit: amount for unit, amount in budget.snapshot().settled.items() if amount}
    assert settled == {unit: amount for unit, amount in counted.items() if amount}
    assert not any(budget.snapshot().reserved.values())


def test_a_spent_budget_raises_in_any_case(use: Callable[..., Any]) -> None:
    ran: list[Any] = []
    sink = RingBufferEventSink(10)
    guard = ToolGuard(budget=Budget("tools", limits={"tool_calls": 0}), on_refusal="tell", event_sink=sink)
    with pytest.raises(Exception, match="tool_calls"):
        use(guard, "look", {}, ran.append)
    assert ran == []
    assert told(sink) == []


def test_without_a_name_the_same_act_is_the_same_call(use: Callable[..., Any]) -> None:
    approvals = Approvals(MemoryStore())
    guard = ToolGuard(approvals=approvals, ask_first=["send"])
    for to in ("bob", "eve", "bob"):
        with pytest.raises(ApprovalPendingError):
            use(guard, "send", {"to": to}, str)
    assert len(approvals.list()) == 2


def test_events_pass_the_redactor(use: Callable[..., Any]) -> None:
    sink = RingBufferEventSink(10)
    guard = ToolGuard(event_sink=sink, redactor=Redactor(patterns=["Mrs Miller"]))

    def fail(given: Any) -> None:
        raise ValueError("no letter for Mrs Miller")

    with pytest.raises(ValueError, match="Mrs Miller"):
        use(guard, "look", {}, fail)
    assert "Miller" not in str(told(sink))


def test_a_sink_that_fails_does_not_keep_a_tool_from_running(use: Callable[..., Any]) -> None:
    class Broken:
        def emit(self, event: object) -> None:
            raise OSError("full")

    assert use(ToolGuard(event_sink=Broken()), "look", {}, lambda given: "ok") == "ok"


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"role": ""}, ValueError, "role"),
        ({"role": 3}, TypeError, "role"),
        ({"run": ""}, ValueError, "run"),
        ({"permissions": "all"}, TypeError, "permissions"),
        ({"budget": 5}, TypeError, "budget"),
        ({"approvals": object()}, TypeError, "approvals"),
        ({"ask_first": "send"}, TypeError, "ask_first"),
        ({"delegates": "send"}, TypeError, "delegates"),
        ({"ask_first": ["send"]}, ValueError, "approvals="),
        ({"on_refusal": "shout"}, ValueError, "on_refusal"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        ToolGuard(**arguments)
