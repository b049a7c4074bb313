"""The 0.1 API, line by line: whoever relied on it then can rely on it now.

Everything here is promised to users of 0.1.0; nothing here may change without a new major version.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import techrevati.runtime as package
from techrevati.runtime import (
    agent_events,
    circuit_breaker,
    guardrails,
    policy_engine,
    retry_policy,
    usage_tracking,
)
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus, AgentFailureClass
from techrevati.runtime.agent_lifecycle import (
    AgentRegistry,
    AgentStatus,
    AgentWorker,
    AgentWorkerEvent,
    InvalidTransitionError,
)
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.guardrails import (
    AllowAllGuardrail,
    Guardrail,
    GuardrailOutcome,
    GuardrailStage,
    GuardrailViolatedError,
    run_post_checks,
    run_pre_checks,
)
from techrevati.runtime.handoffs import Handoff
from techrevati.runtime.orchestrator import (
    AgentSession,
    AsyncOrchestrationSession,
    MaxIterationsExceededError,
    OrchestrationSession,
    Orchestrator,
    PermissionDeniedError,
    TurnTimeoutError,
)
from techrevati.runtime.permissions import (
    PermissionEnforcer,
    PermissionMode,
    PermissionOutcome,
    PermissionPolicy,
    RolePermissionConfig,
)
from techrevati.runtime.policy_engine import (
    AgentFailed,
    AllAgentsComplete,
    And,
    CostExceeded,
    GateBelow,
    Or,
    PhaseCompleted,
    PhaseContext,
    PolicyAction,
    PolicyActionData,
    PolicyEngine,
    PolicyRule,
    QualityAt,
    RetryExhausted,
    TimedOut,
)
from techrevati.runtime.quality_gate import QualityGate, QualityGateOutcome, QualityLevel
from techrevati.runtime.retry_policy import (
    EscalationPolicy,
    FailureScenario,
    RecoveryContext,
    RecoveryEvent,
    RecoveryRecipe,
    RecoveryResult,
    RecoveryStep,
    aattempt_recovery,
    attempt_recovery,
    backoff_delay,
    classify_exception,
    next_provider,
    recipe_for,
    smaller_context_budget,
)
from techrevati.runtime.sinks import (
    DEFAULT_RING_CAPACITY,
    EventSink,
    NoopEventSink,
    NoopUsageSink,
    RingBufferEventSink,
    RingBufferUsageSink,
    UsageSink,
)
from techrevati.runtime.testing import FakeClock, run
from techrevati.runtime.usage_tracking import (
    PRICING_TABLE,
    BudgetExceededError,
    ModelPricing,
    UsageSnapshot,
    UsageTracker,
    has_pricing,
    load_pricing_from_file,
    register_pricing,
)

NAMES = {
    "agent_events": "AgentEvent AgentEventName AgentEventStatus AgentFailureClass",
    "agent_lifecycle": "AgentRegistry AgentStatus AgentWorker AgentWorkerEvent InvalidTransitionError",
    "circuit_breaker": "AsyncCircuitBreaker CircuitBreaker CircuitOpenError CircuitState",
    "guardrails": "AllowAllGuardrail Guardrail GuardrailOutcome GuardrailStage GuardrailViolatedError",
    "handoffs": "Handoff",
    "permissions": (
        "PermissionEnforcer PermissionMode PermissionOutcome PermissionPolicy RolePermissionConfig"
    ),
    "policy_engine": "PhaseContext PolicyAction PolicyActionData PolicyCondition PolicyEngine PolicyRule",
    "quality_gate": "QualityGate QualityGateOutcome QualityLevel",
    "retry_policy": (
        "EscalationPolicy FailureScenario RecoveryContext RecoveryEvent RecoveryRecipe RecoveryResult "
        "RecoveryStep aattempt_recovery attempt_recovery backoff_delay classify_exception next_provider "
        "recipe_for smaller_context_budget"
    ),
    "sinks": (
        "DEFAULT_RING_CAPACITY EventSink NoopEventSink NoopUsageSink RingBufferEventSink "
        "RingBufferUsageSink UsageSink"
    ),
    "usage_tracking": (
        "BudgetExceededError ModelPricing PRICING_TABLE UsageSnapshot UsageTracker _warned_unpriced_models "
        "has_pricing load_pricing_from_file register_pricing"
    ),
    "orchestrator": (
        "AgentSession AsyncOrchestrationSession MaxIterationsExceededError OrchestrationSession Orchestrator "
        "PermissionDeniedError TurnTimeoutError"
    ),
}
MODULE_ONLY = {
    "guardrails": "run_pre_checks run_post_checks",
    "policy_engine": (
        "And Or QualityAt PhaseCompleted AgentFailed GateBelow RetryExhausted TimedOut AllAgentsComplete "
        "CostExceeded"
    ),
    "otel": "OpenTelemetrySink OpenTelemetryUsageSink _OTEL_AVAILABLE _OTEL_IMPORT_ERROR",
}
EVERYWHERE = [(module, name) for module, names in NAMES.items() for name in names.split()]
THERE = EVERYWHERE + [(module, name) for module, names in MODULE_ONLY.items() for name in names.split()]


@pytest.fixture(autouse=True)
def prices() -> Iterator[None]:
    """Every test starts and ends with the same price table and warnings."""
    table, warned = dict(PRICING_TABLE), set(usage_tracking._warned_unpriced_models)
    yield
    PRICING_TABLE.clear()
    PRICING_TABLE.update(table)
    usage_tracking._warned_unpriced_models.clear()
    usage_tracking._warned_unpriced_models.update(warned)


def leading(call: Callable[..., object], count: int) -> list[tuple[str, object]]:
    """The first *count* parameters as (name, default), where ``...`` means required."""
    found = [
        parameter for parameter in inspect.signature(call).parameters.values() if parameter.name != "self"
    ]
    for parameter in found[:count]:
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, parameter
    return [(one.name, ... if one.default is one.empty else one.default) for one in found[:count]]


def order(call: Callable[..., object], names: str) -> None:
    """*names* are the first parameters of *call*, in this order."""
    assert [name for name, _ in leading(call, len(names.split()))] == names.split()


def values(kind: type[Enum]) -> dict[str, object]:
    return {member.name: member.value for member in kind}


def lower_case(names: str) -> dict[str, object]:
    return {name: name.lower() for name in names.split()}


def frozen(record: object, field: str) -> None:
    """*record* refuses that its *field* is changed."""
    with pytest.raises((AttributeError, TypeError)):
        setattr(record, field, getattr(record, field))


# --- the package -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name"), THERE)
def test_a_name_is_in_its_module(module: str, name: str) -> None:
    """``from techrevati.runtime.<module> import <name>`` works."""
    assert hasattr(importlib.import_module(f"techrevati.runtime.{module}"), name)


@pytest.mark.parametrize(("module", "name"), EVERYWHERE)
def test_a_name_is_in_the_package(module: str, name: str) -> None:
    """``from techrevati.runtime import <name>`` gives the same object."""
    home = importlib.import_module(f"techrevati.runtime.{module}")
    assert getattr(package, name) is getattr(home, name)


@pytest.mark.parametrize(("module", "name"), [pair for pair in EVERYWHERE if not pair[1].startswith("_")])
def test_a_name_comes_with_a_star_import(module: str, name: str) -> None:
    """``from techrevati.runtime import *`` brings every public name."""
    assert name in package.__all__


def test_version_is_a_string() -> None:
    """``__version__`` is a string on the package."""
    assert isinstance(package.__version__, str)


def test_the_package_is_typed_and_needs_nothing() -> None:
    """``py.typed`` is there, and the metadata asks for Python 3.11 and no other distribution."""
    import tomllib

    (folder,) = map(Path, package.__path__)
    assert (folder / "py.typed").exists()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == []
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize(
    "area", ["agent_lifecycle", "circuit_breaker", "orchestrator", "retry_policy", "sinks", "usage_tracking"]
)
def test_loggers_have_a_null_handler(area: str) -> None:
    """An application that has set up nothing sees nothing on its standard error."""
    importlib.import_module(f"techrevati.runtime.{area}")
    if area == "orchestrator":
        importlib.import_module("techrevati.runtime.orchestrator.session")
    logger = logging.root.manager.loggerDict[f"techrevati.runtime.{area}"]
    assert isinstance(logger, logging.Logger)
    assert any(isinstance(handler, logging.NullHandler) for handler in logger.handlers)


def test_warnings_reach_no_terminal_by_themselves() -> None:
    """A warning of ours in a program without logging set up prints nothing."""
    program = (
        "from techrevati.runtime import UsageTracker, UsageSnapshot\n"
        "UsageTracker().record_turn('unpriced', UsageSnapshot(1, 1))\n"
    )
    root = str(Path(package.__path__[0]).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r})\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


STR_ENUMS = [
    AgentEventName,
    AgentEventStatus,
    AgentFailureClass,
    AgentStatus,
    CircuitState,
    EscalationPolicy,
    FailureScenario,
    PolicyAction,
    RecoveryStep,
]


@pytest.mark.parametrize("kind", STR_ENUMS)
def test_enums_are_strings(kind: type[Enum]) -> None:
    """A member equals its wire value, is a ``str``, and is found by it."""
    assert issubclass(kind, str)
    for member in kind:
        assert isinstance(member.value, str)
        assert member == member.value
        assert kind(member.value) is member
        assert json.dumps(member) == json.dumps(member.value)


# --- agent_events ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "AGENT_STARTED": "agent.started",
        "AGENT_READY": "agent.ready",
        "AGENT_BLOCKED": "agent.blocked",
        "AGENT_TOOL_CALLED": "agent.tool_called",
        "AGENT_TOOL_COMPLETED": "agent.tool_completed",
        "AGENT_COMPLETED": "agent.completed",
        "AGENT_FAILED": "agent.failed",
        "PHASE_STARTED": "phase.started",
        "PHASE_COMPLETED": "phase.completed",
        "PHASE_GATE_EVALUATED": "phase.gate_evaluated",
        "PHASE_GATE_PASSED": "phase.gate_passed",
        "PHASE_GATE_FAILED": "phase.gate_failed",
        "RECOVERY_ATTEMPTED": "agent.recovery.attempted",
        "RECOVERY_SUCCEEDED": "agent.recovery.succeeded",
        "RECOVERY_FAILED": "agent.recovery.failed",
        "RECOVERY_ESCALATED": "agent.recovery.escalated",
        "RECOVERY_PROVIDER_SWITCHED": "agent.recovery.provider_switched",
        "HOOK_PRE_TOOL": "hook.pre_tool",
        "HOOK_POST_TOOL": "hook.post_tool",
    }.items(),
)
def test_event_names(name: str, value: str) -> None:
    """Each event keeps its wire name; more may be added."""
    assert AgentEventName[name].value == value


def test_event_statuses() -> None:
    """Seven statuses with lower-case values."""
    assert values(AgentEventStatus) == lower_case("RUNNING READY BLOCKED GREEN RED COMPLETED FAILED")


def test_failure_classes_are_exactly_ten() -> None:
    """Ten failure classes with lower-case values, not one more."""
    assert values(AgentFailureClass) == lower_case(
        "LLM_TIMEOUT LLM_ERROR TOOL_ERROR CONTEXT_OVERFLOW RATE_LIMIT DEPENDENCY_FAILED MEMORY_CORRUPTION "
        "VALIDATION_ERROR PROMPT_REJECTION UNKNOWN"
    )
    assert len(AgentFailureClass) == 10


def full_event() -> AgentEvent:
    return AgentEvent(
        AgentEventName.AGENT_FAILED,
        AgentEventStatus.FAILED,
        "2026-05-14T12:00:00+00:00",
        "writer",
        "draft",
        "p1",
        AgentFailureClass.RATE_LIMIT,
        "slow down",
        {"n": 1},
    )


def test_event_fields_in_order() -> None:
    """Event, status, emitted_at, role, phase, project_id, failure_class, detail, data; also by name."""
    event = full_event()
    assert (event.event, event.status) == (AgentEventName.AGENT_FAILED, AgentEventStatus.FAILED)
    assert event.emitted_at == "2026-05-14T12:00:00+00:00"
    assert (event.role, event.phase, event.project_id) == ("writer", "draft", "p1")
    assert (event.failure_class, event.detail) == (AgentFailureClass.RATE_LIMIT, "slow down")
    assert event.data == {"n": 1}
    order(AgentEvent, "event status emitted_at role phase project_id failure_class detail data")


def test_event_defaults() -> None:
    """Everything after emitted_at defaults to None, and emitted_at to now in ISO-8601 UTC."""
    from datetime import UTC, datetime, timedelta

    before = datetime.now(UTC)
    event = AgentEvent(event=AgentEventName.AGENT_READY, status=AgentEventStatus.READY)
    emitted = datetime.fromisoformat(event.emitted_at)
    assert before - timedelta(milliseconds=1) <= emitted <= datetime.now(UTC) + timedelta(milliseconds=1)
    assert emitted.utcoffset() == timedelta(0)
    for name in ("role", "phase", "project_id", "failure_class", "detail", "data"):
        assert getattr(event, name) is None


@pytest.mark.parametrize(
    "field",
    ["event", "status", "emitted_at", "role", "phase", "project_id", "failure_class", "detail", "data"],
)
def test_events_are_immutable(field: str) -> None:
    """No field can be set."""
    frozen(full_event(), field)


def test_events_give_changed_copies() -> None:
    """The four ``with_`` methods return copies that differ in one field; the original stays."""
    event = full_event()
    changes: list[tuple[AgentEvent, str, object]] = [
        (event.with_failure_class(AgentFailureClass.UNKNOWN), "failure_class", AgentFailureClass.UNKNOWN),
        (event.with_detail("other"), "detail", "other"),
        (event.with_data({"m": 2}), "data", {"m": 2}),
        (event.with_project("p2"), "project_id", "p2"),
    ]
    for changed, field, value in changes:
        assert getattr(changed, field) == value
        before, after = event.to_dict(), changed.to_dict()
        assert {key for key in before if before[key] != after[key]} == {field}
    assert event == full_event()


@pytest.mark.parametrize(
    ("event", "name", "status", "facts"),
    [
        (AgentEvent.started("r", "p"), "agent.started", "running", {"role": "r", "phase": "p"}),
        (AgentEvent.completed("r", "p"), "agent.completed", "completed", {"role": "r", "phase": "p"}),
        (
            AgentEvent.completed("r", "p", "d"),
            "agent.completed",
            "completed",
            {"role": "r", "phase": "p", "detail": "d"},
        ),
        (
            AgentEvent.failed("r", "p", AgentFailureClass.LLM_ERROR),
            "agent.failed",
            "failed",
            {"role": "r", "phase": "p", "failure_class": "llm_error"},
        ),
        (
            AgentEvent.failed("r", "p", AgentFailureClass.LLM_ERROR, "d"),
            "agent.failed",
            "failed",
            {"role": "r", "phase": "p", "failure_class": "llm_error", "detail": "d"},
        ),
        (AgentEvent.phase_started("p"), "phase.started", "running", {"phase": "p"}),
        (AgentEvent.gate_passed("p"), "phase.gate_passed", "green", {"phase": "p"}),
        (AgentEvent.gate_passed("p", "d"), "phase.gate_passed", "green", {"phase": "p", "detail": "d"}),
        (AgentEvent.gate_failed("p"), "phase.gate_failed", "red", {"phase": "p"}),
        (AgentEvent.gate_failed("p", "d"), "phase.gate_failed", "red", {"phase": "p", "detail": "d"}),
        (
            AgentEvent.recovery_attempted("r", "p"),
            "agent.recovery.attempted",
            "running",
            {"role": "r", "phase": "p"},
        ),
        (
            AgentEvent.recovery_attempted("r", "p", "d"),
            "agent.recovery.attempted",
            "running",
            {"role": "r", "phase": "p", "detail": "d"},
        ),
    ],
)
def test_event_constructors(event: AgentEvent, name: str, status: str, facts: dict[str, str]) -> None:
    """Each constructor sets its name, its status and what it was given; the wire form has nothing else."""
    wire = event.to_dict()
    assert wire.pop("emitted_at") == event.emitted_at
    assert wire == {"event": name, "type": name.split(".")[-1], "status": status, **facts}


@pytest.mark.parametrize(
    ("constructor", "parameters"),
    [
        (AgentEvent.started, [("role", ...), ("phase", ...)]),
        (AgentEvent.completed, [("role", ...), ("phase", ...), ("detail", None)]),
        (AgentEvent.failed, [("role", ...), ("phase", ...), ("failure_class", ...), ("detail", None)]),
        (AgentEvent.phase_started, [("phase", ...)]),
        (AgentEvent.gate_passed, [("phase", ...), ("detail", None)]),
        (AgentEvent.gate_failed, [("phase", ...), ("detail", None)]),
        (AgentEvent.recovery_attempted, [("role", ...), ("phase", ...), ("detail", None)]),
    ],
)
def test_event_constructor_parameters(
    constructor: Callable[..., object], parameters: list[tuple[str, object]]
) -> None:
    """Their parameters work by position and by name."""
    assert leading(constructor, len(parameters)) == parameters


def test_event_wire_form() -> None:
    """Enums as values, ``type`` is the part after the last dot."""
    assert full_event().to_dict() == {
        "event": "agent.failed",
        "type": "failed",
        "status": "failed",
        "emitted_at": "2026-05-14T12:00:00+00:00",
        "role": "writer",
        "phase": "draft",
        "project_id": "p1",
        "failure_class": "rate_limit",
        "detail": "slow down",
        "data": {"n": 1},
    }
    switched = AgentEvent(AgentEventName.RECOVERY_PROVIDER_SWITCHED, AgentEventStatus.RUNNING)
    assert switched.to_dict()["type"] == "provider_switched"
    wire = full_event().to_dict()
    assert type(wire["event"]) is type(wire["status"]) is type(wire["failure_class"]) is str


@pytest.mark.parametrize("name", AgentEventName)
def test_events_round_trip(name: AgentEventName) -> None:
    """``from_dict`` and ``from_json`` undo ``to_dict`` and ``to_json``."""
    event = AgentEvent(name, AgentEventStatus.RUNNING, role="r", data={"a": [1, {"b": None}]})
    assert AgentEvent.from_dict(event.to_dict()) == event
    assert AgentEvent.from_json(event.to_json()) == event
    assert AgentEvent.from_json(full_event().to_json()) == full_event()
    assert json.loads(event.to_json()) == event.to_dict()


@pytest.mark.parametrize("field", ["event", "status"])
@pytest.mark.parametrize("wrong", [..., "no.such", "", None, 7, ["agent.failed"], {}])
def test_a_missing_or_wrong_event_or_status_is_named(field: str, wrong: object) -> None:
    """A ValueError names the field."""
    wire = full_event().to_dict()
    if wrong is ...:
        del wire[field]
    else:
        wire[field] = wrong
    with pytest.raises(ValueError, match=rf"\b{field}\b"):
        AgentEvent.from_dict(wire)
    if wrong is not ...:
        with pytest.raises(ValueError, match=rf"\b{field}\b"):
            AgentEvent.from_json(json.dumps(wire))


def test_otel_attributes() -> None:
    """Three attributes always, five when set."""
    assert full_event().to_otel_attributes() == {
        "agent.event": "agent.failed",
        "agent.event.status": "failed",
        "agent.event.timestamp": "2026-05-14T12:00:00+00:00",
        "agent.role": "writer",
        "agent.phase": "draft",
        "agent.project_id": "p1",
        "agent.failure_class": "rate_limit",
        "agent.detail": "slow down",
    }
    bare = AgentEvent(AgentEventName.AGENT_READY, AgentEventStatus.READY)
    assert set(bare.to_otel_attributes()) == {"agent.event", "agent.event.status", "agent.event.timestamp"}


# --- agent_lifecycle -------------------------------------------------------------------------------------

S = AgentStatus
MOVES = {
    S.IDLE: {S.INITIALIZING, S.FAILED, S.CANCELLED},
    S.INITIALIZING: {S.WAITING_FOR_INPUT, S.RUNNING, S.FAILED, S.CANCELLED},
    S.WAITING_FOR_INPUT: {S.RUNNING, S.FAILED, S.CANCELLED},
    S.RUNNING: {S.WAITING_FOR_INPUT, S.COMPLETED, S.FAILED, S.CANCELLED},
    S.COMPLETED: set[AgentStatus](),
    S.FAILED: set[AgentStatus](),
    S.CANCELLED: set[AgentStatus](),
}
WAYS = {
    S.IDLE: [],
    S.INITIALIZING: [S.INITIALIZING],
    S.WAITING_FOR_INPUT: [S.INITIALIZING, S.WAITING_FOR_INPUT],
    S.RUNNING: [S.INITIALIZING, S.RUNNING],
    S.COMPLETED: [S.INITIALIZING, S.RUNNING, S.COMPLETED],
    S.FAILED: [S.FAILED],
    S.CANCELLED: [S.CANCELLED],
}


def worker_in(status: AgentStatus) -> AgentWorker:
    worker = AgentWorker("w", "writer", "draft")
    for step in WAYS[status]:
        worker.transition(step)
    return worker


def test_agent_statuses() -> None:
    """Seven, with lower-case values."""
    assert values(AgentStatus) == lower_case(
        "IDLE INITIALIZING WAITING_FOR_INPUT RUNNING COMPLETED FAILED CANCELLED"
    )


@pytest.mark.parametrize("current", AgentStatus)
@pytest.mark.parametrize("target", AgentStatus)
def test_the_move_table(current: AgentStatus, target: AgentStatus) -> None:
    """All 49 pairs: a legal move is made, any other raises and changes nothing."""
    worker = worker_in(current)
    assert worker.status is current
    if target in MOVES[current]:
        assert worker.transition(target).status is target
        assert worker.status is target
        return
    moves = len(worker.events)
    with pytest.raises(InvalidTransitionError) as caught:
        worker.transition(target)
    assert (caught.value.current, caught.value.target) == (current, target)
    assert worker.status is current
    assert len(worker.events) == moves


@pytest.mark.parametrize("status", AgentStatus)
def test_terminal_states(status: AgentStatus) -> None:
    """COMPLETED, FAILED and CANCELLED are terminal."""
    assert worker_in(status).is_terminal is (status in {S.COMPLETED, S.FAILED, S.CANCELLED})


def test_invalid_transition_error_takes_its_facts() -> None:
    """``InvalidTransitionError(current, target)`` with attributes of those names."""
    error = InvalidTransitionError(S.IDLE, S.RUNNING)
    assert (error.current, error.target) == (S.IDLE, S.RUNNING)


def test_worker_events() -> None:
    """seq from 1, kind, status, detail, timestamp; immutable; ``to_dict``."""
    worker = AgentWorker("w", "writer", "draft")
    first = worker.transition(S.INITIALIZING)
    second = worker.transition(S.RUNNING, "go")
    assert isinstance(first, AgentWorkerEvent)
    assert (first.seq, second.seq) == (1, 2)
    assert worker.events == [first, second]
    assert (first.detail, second.detail) == (None, "go")
    assert isinstance(first.kind, str)
    assert second.to_dict() == {
        "seq": 2,
        "kind": second.kind,
        "status": "running",
        "detail": "go",
        "timestamp": second.timestamp,
    }
    for field in ("seq", "kind", "status", "detail", "timestamp"):
        frozen(first, field)


def test_a_worker_at_first() -> None:
    """IDLE, no events, no retries, no error, no provider; its times are equal."""
    assert leading(AgentWorker, 4) == [
        ("worker_id", ...),
        ("role", ...),
        ("phase", ...),
        ("project_id", None),
    ]
    worker = AgentWorker("w", "writer", "draft", "p1")
    assert (worker.worker_id, worker.role, worker.phase, worker.project_id) == ("w", "writer", "draft", "p1")
    assert AgentWorker("w", "writer", "draft").project_id is None
    assert worker.status is S.IDLE
    assert worker.events == []
    assert worker.retry_count == 0
    assert worker.last_error is None
    assert worker.provider_used is None
    assert worker.is_terminal is False
    assert worker.created_at == worker.updated_at
    assert isinstance(worker.to_dict(), dict)
    assert json.loads(json.dumps(worker.to_dict()))["worker_id"] == "w"


def test_a_failure_with_a_detail_is_the_last_error() -> None:
    """Exactly message and timestamp; a failure without a detail sets nothing."""
    worker = AgentWorker("w", "writer", "draft")
    move = worker.transition(S.FAILED, "it broke")
    assert worker.last_error == {"message": "it broke", "timestamp": move.timestamp}
    silent = AgentWorker("w", "writer", "draft")
    silent.transition(S.FAILED)
    assert silent.last_error is None
    cancelled = AgentWorker("w", "writer", "draft")
    cancelled.transition(S.CANCELLED, "enough")
    assert cancelled.last_error is None


def test_registry() -> None:
    """create, get, transition, list_active, get_by_role_phase, get_by_project, clear."""
    registry = AgentRegistry()
    first = registry.create("writer", "draft")
    second = registry.create("writer", "draft", "p1")
    third = registry.create("editor", "draft", project_id="p1")
    assert first.worker_id.startswith("writer-draft-")
    assert len({worker.worker_id for worker in (first, second, third)}) == 3
    assert (first.project_id, second.project_id) == (None, "p1")
    assert registry.get(first.worker_id) is first
    assert registry.get("nobody") is None
    assert registry.list_active() == [first, second, third]
    assert registry.get_by_role_phase("writer", "draft") is first
    move = registry.transition(first.worker_id, S.FAILED, "broke")
    assert (move.status, move.detail, first.status) == (S.FAILED, "broke", S.FAILED)
    assert registry.get_by_role_phase("writer", "draft") is second
    assert registry.get_by_role_phase("nobody", "draft") is None
    assert registry.list_active() == [second, third]
    assert registry.get_by_project("p1") == [second, third]
    with pytest.raises(KeyError):
        registry.transition("nobody", S.FAILED)
    registry.clear()
    assert registry.list_active() == []
    assert registry.get(first.worker_id) is None


# --- circuit_breaker -------------------------------------------------------------------------------------


def boom() -> None:
    raise ConnectionError("boom")


async def aboom() -> None:
    raise ConnectionError("boom")


def test_circuit_states() -> None:
    """CLOSED, OPEN, HALF_OPEN with lower-case values."""
    assert values(CircuitState) == lower_case("CLOSED OPEN HALF_OPEN")


def test_circuit_open_error() -> None:
    """``CircuitOpenError(name)``: ``.name``, and the name is in its text."""
    error = CircuitOpenError("model-api")
    assert error.name == "model-api"
    assert "model-api" in str(error)


@pytest.mark.parametrize("kind", [CircuitBreaker, AsyncCircuitBreaker])
def test_breaker_parameters(kind: Callable[..., object]) -> None:
    """The five parameters of 0.1, with their defaults, in both classes."""
    import time

    assert leading(kind, 5) == [
        ("name", ...),
        ("failure_threshold", 5),
        ("recovery_timeout_seconds", 60.0),
        ("half_open_max_probes", 1),
        ("clock", time.monotonic),
    ]


def test_breaker_passes_arguments_and_errors() -> None:
    """``call(fn, *args, **kwargs)`` hands over both kinds of arguments, and returns or raises as fn does."""
    breaker = CircuitBreaker("b")
    assert breaker.call(sorted, [2, 3, 1], reverse=True) == [3, 2, 1]
    with pytest.raises(ConnectionError, match="boom"):
        breaker.call(boom)


def test_breaker_life() -> None:
    """Consecutive failures open it, a success resets the count, a good probe closes, a failed one reopens."""
    clock = FakeClock()
    breaker = CircuitBreaker("b", 2, 10.0, 1, clock)
    breaker.record_failure()
    breaker.record_success()
    breaker.record_failure()
    assert breaker.state() is CircuitState.CLOSED
    assert breaker.is_open() is False
    breaker.record_failure()
    assert breaker.state() is CircuitState.OPEN
    assert breaker.is_open() is True
    with pytest.raises(CircuitOpenError, match="b"):
        breaker.call(boom)
    clock.advance(10.0)
    assert breaker.state() is CircuitState.HALF_OPEN
    with pytest.raises(ConnectionError):
        breaker.call(boom)
    clock.advance(9.0)
    assert breaker.state() is CircuitState.OPEN
    clock.advance(1.0)
    assert breaker.call(lambda: "back") == "back"
    assert breaker.state() is CircuitState.CLOSED
    breaker.record_failure()
    breaker.record_failure()
    breaker.reset()
    assert breaker.state() is CircuitState.CLOSED


def test_breaker_admits_so_many_probes() -> None:
    """At most ``half_open_max_probes`` run at once; the next caller gets CircuitOpenError."""
    clock = FakeClock()
    breaker = CircuitBreaker("b", failure_threshold=1, half_open_max_probes=2, clock=clock)
    breaker.record_failure()
    clock.advance(60.0)

    def third() -> None:
        with pytest.raises(CircuitOpenError):
            breaker.call(lambda: None)

    breaker.call(breaker.call, third)
    assert breaker.state() is CircuitState.CLOSED


def test_async_breaker_has_the_same_methods() -> None:
    """Every method is awaitable, and a coroutine factory takes arguments."""

    async def main() -> None:
        clock = FakeClock()
        breaker = AsyncCircuitBreaker("b", 1, 10.0, 1, clock)

        async def add(a: int, *, b: int) -> int:
            return a + b

        assert await breaker.call(add, 1, b=2) == 3
        await breaker.record_success()
        with pytest.raises(ConnectionError):
            await breaker.call(aboom)
        assert await breaker.is_open() is True
        with pytest.raises(CircuitOpenError):
            await breaker.call(add, 1, b=2)
        clock.advance(10.0)
        assert await breaker.state() is CircuitState.HALF_OPEN
        await breaker.record_failure()
        assert await breaker.state() is CircuitState.OPEN
        await breaker.reset()
        assert await breaker.state() is CircuitState.CLOSED

    run(main())


# --- guardrails ------------------------------------------------------------------------------------------


class Refusing:
    """A guardrail that refuses at one stage and remembers what it was asked."""

    def __init__(self, name: str, stage: str) -> None:
        self.name = name
        self.stage = stage
        self.asked: list[object] = []

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        self.asked.append((role, tool))
        return GuardrailOutcome(self.stage != "pre", "not before")

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        self.asked.append((value, role, tool))
        return GuardrailOutcome(self.stage != "post", "not after")


def test_guardrail_stage() -> None:
    """A Literal of "pre" and "post"."""
    assert get_origin(GuardrailStage) is Literal
    assert get_args(GuardrailStage) == ("pre", "post")


def test_guardrail_outcome() -> None:
    """``GuardrailOutcome(allowed, reason=None)``."""
    assert leading(GuardrailOutcome, 2) == [("allowed", ...), ("reason", None)]
    assert GuardrailOutcome(False, "no").reason == "no"
    assert GuardrailOutcome(True).allowed is True


def test_guardrail_is_a_runtime_checkable_protocol() -> None:
    """Anything with a name and both checks is one."""
    assert isinstance(Refusing("r", "pre"), Guardrail)
    assert isinstance(AllowAllGuardrail(), Guardrail)
    assert not isinstance(object(), Guardrail)


def test_allow_all_guardrail() -> None:
    """Named allow_all by default, and allows everything."""
    guardrail = AllowAllGuardrail()
    assert guardrail.name == "allow_all"
    assert AllowAllGuardrail(name="mine").name == "mine"
    assert guardrail.check_pre(role="r", tool="t").allowed
    assert guardrail.check_post("v", role="r", tool="t").allowed


def test_guardrail_violated_error() -> None:
    """Built by keyword, with those attributes, the reason in its text."""
    outcome = GuardrailOutcome(False, "too long")
    error = GuardrailViolatedError(outcome, guardrail="g", role="r", tool="t", stage="post")
    assert (error.outcome, error.guardrail, error.role) == (outcome, "g", "r")
    assert (error.tool, error.stage) == ("t", "post")
    assert "too long" in str(error)
    with pytest.raises(TypeError):
        GuardrailViolatedError(outcome, "g", "r", "t", "post")  # type: ignore[call-arg,misc]


def test_pre_checks_stop_at_the_first_violation() -> None:
    """Later guardrails are not consulted."""
    fine, strict, late = Refusing("fine", "post"), Refusing("strict", "pre"), Refusing("late", "pre")
    with pytest.raises(GuardrailViolatedError) as caught:
        run_pre_checks([fine, strict, late], role="r", tool="t")
    assert (caught.value.guardrail, caught.value.stage) == ("strict", "pre")
    assert (caught.value.role, caught.value.tool, caught.value.outcome.reason) == ("r", "t", "not before")
    assert (fine.asked, strict.asked, late.asked) == ([("r", "t")], [("r", "t")], [])


def test_post_checks_stop_at_the_first_violation() -> None:
    """They see the value; later guardrails are not consulted."""
    fine, strict, late = Refusing("fine", "pre"), Refusing("strict", "post"), Refusing("late", "post")
    with pytest.raises(GuardrailViolatedError) as caught:
        run_post_checks([fine, strict, late], 7, role="r", tool="t")
    assert (caught.value.guardrail, caught.value.stage) == ("strict", "post")
    assert (fine.asked, strict.asked, late.asked) == ([(7, "r", "t")], [(7, "r", "t")], [])


def test_run_checks_are_module_only_names() -> None:
    """They exist in ``guardrails``; all pass silently when nothing refuses."""
    assert guardrails.run_pre_checks is run_pre_checks
    run_pre_checks([AllowAllGuardrail()], role="r", tool="t")
    run_post_checks([], None, role="r", tool="t")


# --- handoffs --------------------------------------------------------------------------------------------


def test_handoff() -> None:
    """Four positional facts, four defaults, immutable, ``to_dict``."""
    order(Handoff, "source_role target_role phase reason context project_id target_worker_id created_at")
    bare = Handoff("writer", "editor", "draft", "done")
    assert (bare.context, bare.project_id, bare.target_worker_id) == ({}, None, "")
    full = Handoff("writer", "editor", "draft", "done", {"k": 1}, "p1", "w1", "2026-05-14T12:00:00+00:00")
    assert full.to_dict() == {
        "source_role": "writer",
        "target_role": "editor",
        "phase": "draft",
        "reason": "done",
        "context": {"k": 1},
        "project_id": "p1",
        "target_worker_id": "w1",
        "created_at": "2026-05-14T12:00:00+00:00",
    }
    frozen(bare, "reason")


# --- permissions -----------------------------------------------------------------------------------------


def test_permission_modes() -> None:
    """An IntEnum: READ_ONLY 1 < WORKSPACE_WRITE 2 < FULL_ACCESS 3."""
    assert issubclass(PermissionMode, IntEnum)
    assert values(PermissionMode) == {"READ_ONLY": 1, "WORKSPACE_WRITE": 2, "FULL_ACCESS": 3}
    assert PermissionMode.READ_ONLY < PermissionMode.WORKSPACE_WRITE < PermissionMode.FULL_ACCESS


def test_permission_outcome() -> None:
    """Its four fields with defaults, and ``to_dict``."""
    assert leading(PermissionOutcome, 4) == [
        ("allowed", ...),
        ("reason", None),
        ("active_mode", ""),
        ("required_mode", ""),
    ]
    assert PermissionOutcome(False, "no", "READ_ONLY", "FULL_ACCESS").to_dict() == {
        "allowed": False,
        "reason": "no",
        "active_mode": "READ_ONLY",
        "required_mode": "FULL_ACCESS",
    }


def test_role_permission_config() -> None:
    """``RolePermissionConfig(role, mode, allowed_tools=None, denied_tools=[])``."""
    config = RolePermissionConfig("r", PermissionMode.READ_ONLY)
    assert (config.role, config.mode) == ("r", PermissionMode.READ_ONLY)
    assert (config.allowed_tools, config.denied_tools) == (None, [])
    config = RolePermissionConfig("r", PermissionMode.READ_ONLY, ["a"], ["b"])
    assert (list(config.allowed_tools or ()), list(config.denied_tools)) == (["a"], ["b"])


def policy(
    mode: PermissionMode,
    allowed: list[str] | None = None,
    denied: list[str] | None = None,
    **needs: PermissionMode,
) -> PermissionPolicy:
    return PermissionPolicy(
        role_configs={"r": RolePermissionConfig("r", mode, allowed, denied or [])}, tool_requirements=needs
    )


def test_denied_tools_come_first_and_ignore_case() -> None:
    """A denied tool is refused whatever else allows it."""
    strict = policy(PermissionMode.FULL_ACCESS, ["bash"], ["Bash"])
    assert not strict.authorize("r", "bash").allowed
    assert not strict.authorize("r", "BASH").allowed
    assert not policy(PermissionMode.FULL_ACCESS, None, ["BASH"]).authorize("r", "bash").allowed


def test_the_mode_is_checked_next() -> None:
    """The role's mode name is in the reason; a tool without a requirement needs READ_ONLY."""
    low = policy(PermissionMode.READ_ONLY, write=PermissionMode.WORKSPACE_WRITE)
    outcome = low.authorize("r", "write")
    assert not outcome.allowed
    assert outcome.reason is not None
    assert "READ_ONLY" in outcome.reason
    assert (outcome.active_mode, outcome.required_mode) == ("READ_ONLY", "WORKSPACE_WRITE")
    assert low.authorize("r", "unknown").allowed
    high = policy(PermissionMode.FULL_ACCESS, write=PermissionMode.WORKSPACE_WRITE)
    assert high.authorize("r", "write").allowed


def test_the_mode_comes_before_the_allowed_list() -> None:
    """A tool that is neither allowed nor within the mode is refused for its mode."""
    outcome = policy(PermissionMode.READ_ONLY, ["other"], write=PermissionMode.FULL_ACCESS).authorize(
        "r", "write"
    )
    assert not outcome.allowed
    assert "READ_ONLY" in str(outcome.reason)


def test_the_allowed_list_is_checked_last() -> None:
    """Within the mode, only listed tools pass; an empty list passes none."""
    listed = policy(PermissionMode.FULL_ACCESS, ["read"])
    assert listed.authorize("r", "read").allowed
    assert not listed.authorize("r", "write").allowed
    assert not policy(PermissionMode.FULL_ACCESS, []).authorize("r", "read").allowed


def test_a_role_without_a_config_is_allowed() -> None:
    """By default, also with no configuration at all."""
    assert PermissionPolicy().authorize("anyone", "anything").allowed
    assert policy(PermissionMode.READ_ONLY, [], ["bash"]).authorize("other", "bash").allowed
    assert leading(PermissionPolicy, 2) == [("role_configs", None), ("tool_requirements", None)]


def test_permission_enforcer() -> None:
    """check, is_allowed and filter_tools by ``__name__``."""

    def read() -> None: ...
    def bash() -> None: ...

    enforcer = PermissionEnforcer(policy(PermissionMode.FULL_ACCESS, None, ["bash"]))
    assert enforcer.check("r", "read") == PermissionPolicy.authorize(enforcer.policy, "r", "read")
    assert enforcer.is_allowed("r", "read") is True
    assert enforcer.is_allowed("r", "bash") is False
    assert enforcer.filter_tools("r", [read, bash]) == [read]


# --- policy_engine ---------------------------------------------------------------------------------------


def context(**facts: Any) -> PhaseContext:
    return PhaseContext(**facts)


class Never:
    def matches(self, ctx: PhaseContext) -> bool:
        return False


class Always:
    def matches(self, ctx: PhaseContext) -> bool:
        return True


CONDITIONS = [
    (And([]), context(), True),
    (And([Always(), Always()]), context(), True),
    (And([Always(), Never()]), context(), False),
    (Or([]), context(), False),
    (Or([Never(), Always()]), context(), True),
    (Or([Never()]), context(), False),
    (QualityAt(QualityLevel.STRICT), context(quality_level=QualityLevel.STRICT), True),
    (QualityAt(QualityLevel.STRICT), context(quality_level=QualityLevel.RELEASE), True),
    (QualityAt(QualityLevel.STRICT), context(quality_level=QualityLevel.STANDARD), False),
    (QualityAt(QualityLevel.MINIMAL), context(), False),
    (PhaseCompleted(), context(phase_completed=True), True),
    (PhaseCompleted(), context(), False),
    (AgentFailed(), context(failed_roles={"a"}), True),
    (AgentFailed(), context(), False),
    (AgentFailed("a"), context(failed_roles={"a", "b"}), True),
    (AgentFailed(role="a"), context(failed_roles={"b"}), False),
    (GateBelow(0.8), context(gate_score=0.79), True),
    (GateBelow(0.8), context(gate_score=0.8), False),
    (GateBelow(threshold=0.8), context(gate_score=0.9), False),
    (RetryExhausted(), context(retry_exhausted_scenarios={"llm_error"}), True),
    (RetryExhausted(), context(), False),
    (RetryExhausted("llm_error"), context(retry_exhausted_scenarios={"llm_error"}), True),
    (RetryExhausted(scenario="llm_error"), context(retry_exhausted_scenarios={"llm_timeout"}), False),
    (RetryExhausted(FailureScenario.LLM_ERROR), context(retry_exhausted_scenarios={"llm_error"}), True),
    (TimedOut(5.0), context(elapsed_seconds=5.1), True),
    (TimedOut(seconds=5.0), context(elapsed_seconds=5.0), False),
    (
        AllAgentsComplete(),
        context(completed_roles={"a"}, failed_roles={"b"}, all_roles={"a", "b"}),
        True,
    ),
    (AllAgentsComplete(), context(completed_roles=["b", "a"], all_roles=["a", "b"]), True),
    (AllAgentsComplete(), context(completed_roles={"a"}, all_roles={"a", "b"}), False),
    (CostExceeded(1.0), context(total_cost_usd=1.01), True),
    (CostExceeded(budget_usd=1.0), context(total_cost_usd=1.0), False),
]


@pytest.mark.parametrize(("condition", "ctx", "expected"), CONDITIONS)
def test_conditions(condition: policy_engine.PolicyCondition, ctx: PhaseContext, expected: bool) -> None:
    """Each condition at, above and below its bound."""
    assert condition.matches(ctx) is expected


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        (And([PhaseCompleted()]), ["And", "PhaseCompleted"]),
        (Or([PhaseCompleted()]), ["Or", "PhaseCompleted"]),
        (QualityAt(QualityLevel.STRICT), ["QualityAt", "STRICT"]),
        (PhaseCompleted(), ["PhaseCompleted"]),
        (AgentFailed("writer"), ["AgentFailed", "writer"]),
        (GateBelow(0.75), ["GateBelow", "0.75"]),
        (RetryExhausted("llm_error"), ["RetryExhausted", "llm_error"]),
        (TimedOut(12.5), ["TimedOut", "12.5"]),
        (AllAgentsComplete(), ["AllAgentsComplete"]),
        (CostExceeded(2.5), ["CostExceeded", "2.5"]),
    ],
    ids=repr,
)
def test_conditions_have_a_useful_repr(condition: object, parts: list[str]) -> None:
    """It names the condition and its numbers."""
    for part in parts:
        assert part in repr(condition)


def test_conditions_are_policy_conditions() -> None:
    """``PolicyCondition`` describes them all; anything with ``matches`` will do."""
    for condition, _, _ in CONDITIONS:
        assert callable(condition.matches)
    assert package.PolicyCondition is policy_engine.PolicyCondition


def test_policy_actions() -> None:
    """Nine, with lower-case values."""
    assert values(PolicyAction) == lower_case(
        "ADVANCE_PHASE RETRY_AGENT RETRY_PHASE RECOVER_ONCE ESCALATE STORE_GATE_FEEDBACK GENERATE_HANDOFF "
        "NOTIFY ABORT_PHASE"
    )


def test_policy_action_data() -> None:
    """``PolicyActionData(action, params=None)`` and ``to_dict``."""
    assert leading(PolicyActionData, 2) == [("action", ...), ("params", None)]
    wire = PolicyActionData(PolicyAction.NOTIFY, {"to": "me"}).to_dict()
    assert (wire["action"], wire["params"]) == ("notify", {"to": "me"})


def test_policy_rule() -> None:
    """``PolicyRule(name, condition, actions, priority=50)``."""
    assert leading(PolicyRule, 4) == [("name", ...), ("condition", ...), ("actions", ...), ("priority", 50)]


def test_policy_engine_orders_by_priority() -> None:
    """Lower first, equal ones as given; the actions of every matching rule, flat."""
    acts = [PolicyActionData(PolicyAction.NOTIFY, {"n": n}) for n in range(5)]
    late = PolicyRule("late", Always(), [acts[3], acts[4]], priority=90)
    first = PolicyRule("first", Always(), [acts[0]], priority=1)
    default = PolicyRule("default", Always(), [acts[1]])
    again = PolicyRule("again", Always(), [acts[2]], priority=50)
    silent = PolicyRule("silent", Never(), [acts[0]], priority=0)
    engine = PolicyEngine([late, default, silent, again, first])
    assert engine.evaluate(context()) == acts
    assert list(engine.rules) == [silent, first, default, again, late]
    assert PolicyEngine([]).evaluate(context()) == []


def test_phase_context() -> None:
    """Its fields in order with their defaults; the collections start empty."""
    order(
        PhaseContext,
        "phase quality_level gate_score gate_threshold completed_roles failed_roles all_roles "
        "elapsed_seconds retry_exhausted_scenarios phase_completed total_cost_usd",
    )
    bare = PhaseContext()
    assert (bare.phase, bare.quality_level, bare.gate_score, bare.gate_threshold) == ("", None, 0.0, 0.0)
    for name in ("completed_roles", "failed_roles", "all_roles", "retry_exhausted_scenarios"):
        assert len(getattr(bare, name)) == 0
    assert (bare.elapsed_seconds, bare.phase_completed, bare.total_cost_usd) == (0.0, False, 0.0)


# --- quality_gate ----------------------------------------------------------------------------------------


def test_quality_levels() -> None:
    """An IntEnum from MINIMAL 1 to RELEASE 4 with title-case labels."""
    assert issubclass(QualityLevel, IntEnum)
    assert values(QualityLevel) == {"MINIMAL": 1, "STANDARD": 2, "STRICT": 3, "RELEASE": 4}
    assert [level.label for level in QualityLevel] == ["Minimal", "Standard", "Strict", "Release"]


@pytest.mark.parametrize("required", QualityLevel)
@pytest.mark.parametrize("observed", [None, *QualityLevel])
def test_quality_gate(required: QualityLevel, observed: QualityLevel | None) -> None:
    """Satisfied when the observed level reaches the required one; None never does."""
    outcome = QualityGate(required).evaluate(observed)
    expected = observed is not None and observed >= required
    assert isinstance(outcome, QualityGateOutcome)
    assert outcome.satisfied is outcome.is_satisfied() is expected
    assert (outcome.required_level, outcome.observed_level) == (required, observed)
    assert outcome.to_dict() == {
        "satisfied": expected,
        "required_level": required.name,
        "observed_level": None if observed is None else observed.name,
    }
    if observed is not None:
        assert QualityGate(required_level=required).is_satisfied_by(observed) is expected


def test_quality_gate_outcome_fields() -> None:
    """``QualityGateOutcome(satisfied, required_level, observed_level)``."""
    order(QualityGateOutcome, "satisfied required_level observed_level")


# --- retry_policy ----------------------------------------------------------------------------------------

F, R, E = FailureScenario, RecoveryStep, EscalationPolicy
RECIPES = {
    F.LLM_TIMEOUT: ([R.RETRY_WITH_BACKOFF], 2, E.ALERT_HUMAN),
    F.LLM_ERROR: ([R.RETRY_WITH_BACKOFF, R.SWITCH_PROVIDER], 2, E.ALERT_HUMAN),
    F.TOOL_EXECUTION_ERROR: ([R.RESTART_AGENT], 1, E.LOG_AND_CONTINUE),
    F.CONTEXT_OVERFLOW: ([R.RETRY_WITH_SMALLER_CONTEXT, R.REDUCE_TOOL_SET], 1, E.ALERT_HUMAN),
    F.DEPENDENCY_TIMEOUT: ([R.RETRY_WITH_BACKOFF], 1, E.ALERT_HUMAN),
    F.MEMORY_CORRUPTION: ([R.CLEAR_MEMORY_CACHE, R.RESTART_AGENT], 1, E.ABORT),
    F.PROVIDER_FAILURE: ([R.SWITCH_PROVIDER, R.RETRY_WITH_BACKOFF], 2, E.ABORT),
}


def test_retry_enums() -> None:
    """Scenarios, steps and escalation policies with lower-case values."""
    assert values(FailureScenario) == lower_case(
        "LLM_TIMEOUT LLM_ERROR TOOL_EXECUTION_ERROR CONTEXT_OVERFLOW DEPENDENCY_TIMEOUT MEMORY_CORRUPTION "
        "PROVIDER_FAILURE"
    )
    assert values(RecoveryStep) == lower_case(
        "RETRY_WITH_BACKOFF RETRY_WITH_SMALLER_CONTEXT SWITCH_PROVIDER RESTART_AGENT CLEAR_MEMORY_CACHE "
        "REDUCE_TOOL_SET ESCALATE_TO_HUMAN"
    )
    assert values(EscalationPolicy) == lower_case("ALERT_HUMAN LOG_AND_CONTINUE ABORT")


@pytest.mark.parametrize("scenario", FailureScenario)
def test_default_recipes(scenario: FailureScenario) -> None:
    """Steps, attempts and escalation of each scenario."""
    recipe = recipe_for(scenario)
    steps, attempts, escalation = RECIPES[scenario]
    assert recipe.scenario is scenario
    assert list(recipe.steps) == steps
    assert (recipe.max_attempts, recipe.escalation_policy) == (attempts, escalation)


def test_recovery_recipe_fields() -> None:
    """``RecoveryRecipe(scenario, steps, max_attempts, escalation_policy)``."""
    recipe = RecoveryRecipe(F.LLM_ERROR, [R.RESTART_AGENT], 3, E.ABORT)
    assert (recipe.scenario, list(recipe.steps)) == (F.LLM_ERROR, [R.RESTART_AGENT])
    assert (recipe.max_attempts, recipe.escalation_policy) == (3, E.ABORT)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("scenario", FailureScenario)
def test_recovery_until_exhausted(scenario: FailureScenario, asynchronous: bool) -> None:
    """A plain context recovers as often as the recipe allows, then escalates; one event a call."""
    ctx = RecoveryContext()
    steps, attempts, _ = RECIPES[scenario]

    def attempt() -> RecoveryResult:
        if asynchronous:
            return asyncio.run(aattempt_recovery(scenario, ctx))
        return attempt_recovery(scenario, ctx)

    assert ctx.attempt_count(scenario) == 0
    for number in range(1, attempts + 1):
        result = attempt()
        assert result.outcome == "recovered"
        assert result.steps_taken == len(steps)
        assert list(result.recovered_steps) == steps
        assert list(result.remaining_steps) == []
        assert ctx.attempt_count(scenario) == number
    refused = attempt()
    assert refused.outcome == "escalation_required"
    assert "exhausted" in str(refused.reason)
    assert refused.steps_taken == 0
    events = ctx.events
    assert [event.event_type for event in events] == ["succeeded"] * attempts + ["escalated"]
    assert all(isinstance(event, RecoveryEvent) and event.scenario is scenario for event in events)
    assert all(list(event.recipe_steps) == steps for event in events)
    assert events[-1].result == refused
    others = [other for other in FailureScenario if other is not scenario]
    assert [ctx.attempt_count(other) for other in others] == [0] * len(others)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_recovery_stops_at_the_step_a_subclass_names(asynchronous: bool) -> None:
    """``_fail_at_step`` makes it partial, and the event "failed"."""

    class Stops(RecoveryContext):
        def _fail_at_step(self) -> int | None:
            return 1

    ctx = Stops()
    if asynchronous:
        result = asyncio.run(aattempt_recovery(F.LLM_ERROR, ctx))
    else:
        result = attempt_recovery(F.LLM_ERROR, ctx)
    assert result.outcome == "partial_recovery"
    assert result.steps_taken == 1
    assert list(result.recovered_steps) == [R.RETRY_WITH_BACKOFF]
    assert list(result.remaining_steps) == [R.SWITCH_PROVIDER]
    assert [event.event_type for event in ctx.events] == ["failed"]


def test_async_recovery_never_sleeps_with_a_plain_context() -> None:
    """The sleeper is not called."""
    waits: list[float] = []

    async def sleeper(seconds: float) -> None:
        waits.append(seconds)

    asyncio.run(aattempt_recovery(F.LLM_TIMEOUT, RecoveryContext(), sleeper=sleeper))
    assert waits == []


def test_recovery_records_become_dicts() -> None:
    """Both records have ``to_dict`` with their fields, as plain JSON values."""
    ctx = RecoveryContext()
    result = attempt_recovery(F.LLM_ERROR, ctx)
    fields = ["outcome", "steps_taken", "recovered_steps", "remaining_steps", "reason"]
    assert sorted(result.to_dict()) == sorted(fields)
    assert [name for name, _ in leading(RecoveryResult, 5)] == fields
    (event,) = ctx.events
    fields = ["event_type", "scenario", "recipe_steps", "result", "timestamp"]
    assert sorted(event.to_dict()) == sorted(fields)
    assert [name for name, _ in leading(RecoveryEvent, 5)] == fields
    wire = json.loads(json.dumps(event.to_dict()))
    assert wire["scenario"] == "llm_error"
    assert wire["recipe_steps"] == ["retry_with_backoff", "switch_provider"]
    assert wire["result"]["outcome"] == "recovered"


def test_backoff_parameters() -> None:
    """``backoff_delay(attempt, base=2.0, jitter="decorrelated", cap=60.0, prev_delay=0.0)``."""
    assert leading(backoff_delay, 5) == [
        ("attempt", ...),
        ("base", 2.0),
        ("jitter", "decorrelated"),
        ("cap", 60.0),
        ("prev_delay", 0.0),
    ]


@pytest.mark.parametrize("attempt", [0, 1, 3, 5, 6, 50, 5000])
def test_backoff_ranges(attempt: int) -> None:
    """Every mode stays in its range over many draws, and fills it."""
    random.seed(7)
    whole = min(60.0, 2.0 ** min(attempt, 100))
    assert backoff_delay(attempt, jitter="none") == whole
    assert backoff_delay(attempt, jitter=False) == whole
    ranges: list[tuple[Any, float, float, float]] = [
        ("full", 0.0, whole, 0.0),
        (True, 0.0, whole, 0.0),
        ("equal", whole / 2, whole, 0.0),
        ("decorrelated", 2.0, 6.0, 0.0),
        ("decorrelated", 2.0, 30.0, 10.0),
        ("decorrelated", 2.0, 60.0, 50.0),
    ]
    for jitter, low, high, previous in ranges:
        draws = [backoff_delay(attempt, jitter=jitter, prev_delay=previous) for _ in range(300)]
        assert low <= min(draws) <= low + (high - low) * 0.1
        assert high - (high - low) * 0.1 <= max(draws) <= high


@pytest.mark.parametrize("jitter", ["some", "", "FULL", None])
def test_unknown_jitter(jitter: Any) -> None:
    """A ValueError says "unknown jitter mode"."""
    with pytest.raises(ValueError, match="unknown jitter mode"):
        backoff_delay(1, jitter=jitter)


def test_next_provider() -> None:
    """The first that is not current, else None."""
    assert next_provider(["a", "b", "c"], "a") == "b"
    assert next_provider(["a", "b", "c"], "b") == "a"
    assert next_provider(["a"], "a") is None
    assert next_provider([], "a") is None
    order(next_provider, "providers current")


def test_smaller_context_budget() -> None:
    """Three quarters by default."""
    assert smaller_context_budget(1000) == 750
    assert smaller_context_budget(1000, 0.5) == 500
    assert smaller_context_budget(1000, reduction=0.5) == 500


class RateLimitError(Exception):
    pass


class ToolExecutionError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "scenario"),
    [
        (TimeoutError(), F.LLM_TIMEOUT),
        (Exception("request timed out"), F.LLM_TIMEOUT),
        (RateLimitError("slow down"), F.LLM_ERROR),
        (Exception("rate limit reached"), F.LLM_ERROR),
        (Exception("429 Too Many Requests"), F.LLM_ERROR),
        (Exception("too many requests"), F.LLM_ERROR),
        (Exception("error code: context_length_exceeded"), F.CONTEXT_OVERFLOW),
        (Exception("too many tokens in the prompt"), F.CONTEXT_OVERFLOW),
        (Exception("maximum context length is 8192 tokens"), F.CONTEXT_OVERFLOW),
        (json.JSONDecodeError("Expecting value", "", 0), F.MEMORY_CORRUPTION),
        (ConnectionError("no route"), F.PROVIDER_FAILURE),
        (ConnectionRefusedError(), F.PROVIDER_FAILURE),
        (ConnectionResetError(), F.PROVIDER_FAILURE),
        (Exception("502 Bad Gateway"), F.PROVIDER_FAILURE),
        (Exception("503 service unavailable"), F.PROVIDER_FAILURE),
        (Exception("401 Unauthorized"), F.PROVIDER_FAILURE),
        (ToolExecutionError("grep failed"), F.TOOL_EXECUTION_ERROR),
        (Exception("tool execution failed"), F.TOOL_EXECUTION_ERROR),
        (Exception("something"), F.LLM_ERROR),
        (ValueError("odd"), F.LLM_ERROR),
    ],
    ids=repr,
)
def test_classify_exception(error: Exception, scenario: FailureScenario) -> None:
    """The 0.1 answers, also for plain exceptions that only their text explains."""
    assert classify_exception(error) is scenario


def test_classify_exception_takes_error_by_name() -> None:
    """``classify_exception(error)``: the parameter keeps its name."""
    order(classify_exception, "error")


# --- sinks -----------------------------------------------------------------------------------------------


def test_sinks_are_runtime_checkable_protocols() -> None:
    """Anything with ``emit`` or ``record`` is a sink."""

    class Mine:
        def emit(self, event: AgentEvent) -> None: ...
        def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None: ...

    for kind in (Mine, NoopEventSink, RingBufferEventSink):
        assert isinstance(kind(), EventSink)
    for other in (Mine, NoopUsageSink, RingBufferUsageSink):
        assert isinstance(other(), UsageSink)
    assert not isinstance(object(), EventSink)
    assert not isinstance(object(), UsageSink)
    order(UsageSink.record, "model usage cost_usd")
    order(EventSink.emit, "event")


def test_noop_sinks_keep_nothing() -> None:
    """They take records and return None."""
    assert NoopEventSink().emit(full_event()) is None  # type: ignore[func-returns-value]
    assert NoopUsageSink().record("m", UsageSnapshot(), 0.0) is None  # type: ignore[func-returns-value]


def test_rings_drop_the_oldest() -> None:
    """``.events`` and ``.records`` hold the newest; ``clear`` empties; 1000 by default."""
    assert DEFAULT_RING_CAPACITY == 1000
    assert leading(RingBufferEventSink, 1) == [("capacity", 1000)]
    assert leading(RingBufferUsageSink, 1) == [("capacity", 1000)]
    events, usages = RingBufferEventSink(capacity=2), RingBufferUsageSink(capacity=2)
    made = [AgentEvent.phase_started(str(n)) for n in range(3)]
    for n, event in enumerate(made):
        events.emit(event)
        usages.record(f"m{n}", UsageSnapshot(n), n / 10)
    assert list(events.events) == made[1:]
    assert list(usages.records) == [("m1", UsageSnapshot(1), 0.1), ("m2", UsageSnapshot(2), 0.2)]
    events.clear()
    usages.clear()
    assert (list(events.events), list(usages.records)) == ([], [])


# --- usage_tracking --------------------------------------------------------------------------------------


def test_usage_snapshot() -> None:
    """Four counts that default to 0, immutable, to and from dict and JSON."""
    fields = ["input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens"]
    assert leading(UsageSnapshot, 4) == [(name, 0) for name in fields]
    usage = UsageSnapshot(1, 2, 3, 4)
    wire = usage.to_dict()
    assert {name: wire[name] for name in fields} == dict(zip(fields, (1, 2, 3, 4), strict=True))
    assert UsageSnapshot.from_dict(wire) == usage
    assert json.loads(usage.to_json()) == wire
    assert UsageSnapshot.from_json(usage.to_json()) == usage
    assert list(UsageSnapshot().to_dict()) == fields
    frozen(usage, "input_tokens")


def test_model_pricing() -> None:
    """``ModelPricing(input, output, cache_write=0.0, cache_read=0.0)`` in USD per million."""
    assert leading(ModelPricing, 4) == [
        ("input_per_million", ...),
        ("output_per_million", ...),
        ("cache_write_per_million", 0.0),
        ("cache_read_per_million", 0.0),
    ]
    prices = ModelPricing(1.0, 2.0, 3.0, 4.0)
    assert (prices.input_per_million, prices.output_per_million) == (1.0, 2.0)
    assert (prices.cache_write_per_million, prices.cache_read_per_million) == (3.0, 4.0)


def test_pricing_table() -> None:
    """A mutable dict, lower-case model to prices; registering overrides."""
    assert isinstance(PRICING_TABLE, dict)
    register_pricing("Demo-Small", ModelPricing(1.0, 2.0))
    assert PRICING_TABLE["demo-small"] == ModelPricing(1.0, 2.0)
    register_pricing(model="demo-small", pricing=ModelPricing(3.0, 4.0))
    assert PRICING_TABLE["demo-small"] == ModelPricing(3.0, 4.0)
    PRICING_TABLE["by-hand"] = ModelPricing(1.0, 1.0)
    assert has_pricing("by-hand")
    del PRICING_TABLE["by-hand"]
    assert not has_pricing("by-hand")


def test_the_pricing_table_starts_empty() -> None:
    """It holds what callers registered, nothing else."""
    program = "from techrevati.runtime import PRICING_TABLE; assert PRICING_TABLE == {}, PRICING_TABLE"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_load_pricing_from_file(tmp_path: Path) -> None:
    """``{"models": {name: {input_per_million, …}}}``."""
    path = tmp_path / "prices.json"
    path.write_text(
        json.dumps(
            {
                "models": {
                    "Demo-A": {"input_per_million": 1, "output_per_million": 2.5},
                    "demo-b": {
                        "input_per_million": 1.0,
                        "output_per_million": 2.0,
                        "cache_write_per_million": 3.0,
                        "cache_read_per_million": 0.5,
                    },
                }
            }
        ),
        encoding="utf-8",
    )
    load_pricing_from_file(str(path))
    assert PRICING_TABLE["demo-a"] == ModelPricing(1.0, 2.5)
    load_pricing_from_file(path)
    assert PRICING_TABLE["demo-b"] == ModelPricing(1.0, 2.0, 3.0, 0.5)


def test_a_dated_variant_finds_its_family() -> None:
    """``family-20260514`` has the prices of ``family``."""
    register_pricing("demo-family", ModelPricing(1.0, 2.0))
    assert has_pricing("demo-family-20260514")
    assert UsageTracker().cost_for_turn("demo-family-20260514", UsageSnapshot(1_000_000)) == 1.0
    assert not has_pricing("demo-familiar")


def test_usage_tracker() -> None:
    """Turns, tokens, costs, summaries and budgets of two models."""
    register_pricing("demo-small", ModelPricing(1.0, 2.0, 4.0, 0.5))
    tracker = UsageTracker()
    assert tracker.turns == 0
    assert tracker.total_cost() == 0.0
    usage = UsageSnapshot(1_000_000, 500_000, 250_000, 2_000_000)
    tracker.record_turn("demo-small", usage)
    assert tracker.cost_for_turn("demo-small", usage) == 4.0
    tracker.record_turn("demo-none", UsageSnapshot(5, 6))
    assert tracker.turns == 2
    assert tracker.total_cost() == 4.0
    assert tracker.total_input_tokens == 1_000_005
    assert tracker.total_output_tokens == 500_006
    assert tracker.format_cost() == "$4.00"
    assert tracker.budget_remaining(10.0) == 6.0
    assert tracker.budget_remaining(1.0) == -3.0
    assert tracker.is_over_budget(3.99) is True
    assert tracker.is_over_budget(4.0) is False
    assert tracker.summary() == {
        "turns": 2,
        "total_input_tokens": 1_000_005,
        "total_output_tokens": 500_006,
        "total_cost_usd": 4.0,
        "formatted_cost": "$4.00",
    }
    assert tracker.per_model_summary() == {"demo-small": 4.0, "demo-none": 0.0}


@pytest.mark.parametrize(
    ("price", "text"),
    [(0.0, "$0.0000"), (0.0042, "$0.0042"), (0.0099, "$0.0099"), (0.01, "$0.01"), (1.239, "$1.24")],
)
def test_format_cost(price: float, text: str) -> None:
    """Four decimals below a cent, else two."""
    register_pricing("demo-one", ModelPricing(price, 0.0))
    tracker = UsageTracker()
    tracker.record_turn("demo-one", UsageSnapshot(1_000_000))
    assert tracker.format_cost() == text


def test_summary_rounds_to_four_decimals() -> None:
    """``total_cost_usd`` is rounded; ``total_cost`` is not."""
    register_pricing("demo-one", ModelPricing(0.123456, 0.0))
    tracker = UsageTracker()
    tracker.record_turn("demo-one", UsageSnapshot(1_000_000))
    assert tracker.summary()["total_cost_usd"] == 0.1235
    assert tracker.total_cost() == 0.123456


def test_unpriced_models_are_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """Once a model, whatever the tracker; never for the empty name; the set remembers them."""
    usage_tracking._warned_unpriced_models.clear()
    with caplog.at_level("WARNING", logger="techrevati.runtime.usage_tracking"):
        for _ in range(2):
            tracker = UsageTracker()
            tracker.record_turn("demo-unpriced", UsageSnapshot(1, 1))
            tracker.record_turn("", UsageSnapshot(1, 1))
    assert len(caplog.records) == 1
    assert "demo-unpriced" in caplog.text
    assert usage_tracking._warned_unpriced_models == {"demo-unpriced"}
    assert isinstance(usage_tracking._warned_unpriced_models, set)
    assert tracker.total_cost() == 0.0
    assert (tracker.total_input_tokens, tracker.total_output_tokens) == (2, 2)


def test_budget_exceeded_error() -> None:
    """``BudgetExceededError(budget_usd, current_cost_usd)`` with those attributes."""
    error = BudgetExceededError(1.0, 1.25)
    assert (error.budget_usd, error.current_cost_usd) == (1.0, 1.25)
    error = BudgetExceededError(budget_usd=1.0, current_cost_usd=1.25)
    assert (error.budget_usd, error.current_cost_usd) == (1.0, 1.25)


# --- orchestrator ----------------------------------------------------------------------------------------


def test_orchestrator_parameters() -> None:
    """Fifteen parameters in order with their defaults."""
    order(
        Orchestrator,
        "role phase project_id registry permissions circuit_breaker async_circuit_breaker "
        "policy_engine quality_gate budget_usd enforce_budget max_iterations guardrails "
        "event_sink usage_sink",
    )
    bare = Orchestrator("writer", "draft")
    for name in (
        "project_id",
        "permissions",
        "circuit_breaker",
        "async_circuit_breaker",
        "policy_engine",
        "quality_gate",
    ):
        assert getattr(bare, name) is None
    assert (bare.budget_usd, bare.enforce_budget, bare.max_iterations) == (None, False, 25)
    assert bare.guardrails == []
    assert isinstance(bare.registry, AgentRegistry)
    assert isinstance(bare.event_sink, NoopEventSink)
    assert isinstance(bare.usage_sink, NoopUsageSink)
    assert AgentSession is Orchestrator


def test_session_life() -> None:
    """Entering walks INITIALIZING -> RUNNING, leaving cleanly completes."""
    registry = AgentRegistry()
    with Orchestrator("writer", "draft", "p1", registry).session() as session:
        assert isinstance(session, OrchestrationSession)
        assert [move.status for move in session.worker.events] == [S.INITIALIZING, S.RUNNING]
        assert session.registry is registry
        assert (session.role, session.phase, session.project_id) == ("writer", "draft", "p1")
        assert isinstance(session.tracker, UsageTracker)
        assert isinstance(session.recovery, RecoveryContext)
        assert all(isinstance(event, AgentEvent) for event in session.events)
    assert session.worker.status is S.COMPLETED


def test_async_session_life() -> None:
    """The same for ``async with``."""

    async def main() -> AgentStatus:
        async with Orchestrator("writer", "draft").asession() as session:
            assert isinstance(session, AsyncOrchestrationSession)
            assert session.worker.status is S.RUNNING
        return session.worker.status

    assert run(main()) is S.COMPLETED


def test_an_exception_fails_the_worker_and_goes_on() -> None:
    """It is classified and re-raised."""
    session = Orchestrator("writer", "draft").session()
    with pytest.raises(TimeoutError), session:
        raise TimeoutError("slow")
    assert session.worker.status is S.FAILED
    failed = [event for event in session.events if event.event is AgentEventName.AGENT_FAILED]
    assert [event.failure_class for event in failed] == [AgentFailureClass.LLM_TIMEOUT]


def test_a_cancelled_task_cancels_the_worker() -> None:
    """CancelledError moves it to CANCELLED and is re-raised."""

    async def main() -> AgentStatus:
        session = Orchestrator("writer", "draft").asession()
        with pytest.raises(asyncio.CancelledError):
            async with session:
                raise asyncio.CancelledError
        return session.worker.status

    assert run(main()) is S.CANCELLED


@pytest.mark.parametrize("name", ["run_turn", "arun_turn"])
def test_run_turn_parameters(name: str) -> None:
    """``(fn, model="", usage=None, estimate_usage=None, timeout=None)``."""
    kind = OrchestrationSession if name == "run_turn" else AsyncOrchestrationSession
    assert leading(getattr(kind, name), 5) == [
        ("fn", ...),
        ("model", ""),
        ("usage", None),
        ("estimate_usage", None),
        ("timeout", None),
    ]


class Response:
    def __init__(self) -> None:
        self.usage = {"prompt_tokens": 7, "completion_tokens": 3}


def test_where_usage_comes_from() -> None:
    """The usage given, else the estimate, else the result itself, else zeros."""
    with Orchestrator("writer", "draft").session() as session:
        given, guess = UsageSnapshot(1, 2), UsageSnapshot(3, 4)
        assert session.run_turn(Response, "", given, lambda _: guess)[1] == given
        assert session.run_turn(Response, estimate_usage=lambda _: guess)[1] == guess
        assert session.run_turn(Response)[1] == UsageSnapshot(7, 3)
        assert session.run_turn(lambda: "text") == ("text", UsageSnapshot())
        assert session.tracker.total_input_tokens == 1 + 3 + 7


def test_a_tuple_result_is_not_unpacked() -> None:
    """It comes back whole."""
    pair = ("answer", UsageSnapshot(9, 9))
    with Orchestrator("writer", "draft").session() as session:
        result, usage = session.run_turn(lambda: pair)
        assert result is pair
        assert usage == UsageSnapshot()


def test_run_tool_order() -> None:
    """Permission, pre-guardrails, fn, post-guardrails."""
    seen: list[str] = []

    class Watching:
        name = "watching"

        def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
            seen.append(f"pre {tool}")
            return GuardrailOutcome(True)

        def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
            seen.append(f"post {value}")
            return GuardrailOutcome(True)

    strict = policy(PermissionMode.FULL_ACCESS, None, ["bash"])
    with Orchestrator("r", "p", permissions=strict, guardrails=[Watching()]).session() as session:
        assert session.run_tool("read", lambda: seen.append("fn") or "text") == "text"
        assert seen == ["pre read", "fn", "post text"]
        with pytest.raises(PermissionDeniedError) as caught:
            session.run_tool("bash", lambda: seen.append("bash"))
        assert caught.value.outcome.allowed is False
        assert seen == ["pre read", "fn", "post text"]
        session.authorize("read")


def test_permission_denied_error() -> None:
    """``PermissionDeniedError(outcome)``."""
    outcome = PermissionOutcome(False, "no")
    assert PermissionDeniedError(outcome).outcome is outcome


def test_evaluate_policy_parameters() -> None:
    """Its keyword facts and their defaults; the elapsed time is measured when not given."""
    assert leading(OrchestrationSession.evaluate_policy, 8) == [
        ("gate_score", 0.0),
        ("gate_threshold", 0.0),
        ("completed_roles", None),
        ("failed_roles", None),
        ("all_roles", None),
        ("elapsed_seconds", None),
        ("phase_completed", False),
        ("quality_level", None),
    ]
    clock = FakeClock()
    late = PolicyRule("late", TimedOut(5.0), [PolicyActionData(PolicyAction.ESCALATE)])
    engine = PolicyEngine([late])
    with Orchestrator("r", "p", policy_engine=engine, clock=clock).session() as session:
        assert list(session.evaluate_policy() or ()) == []
        clock.advance(6.0)
        assert session.evaluate_policy() == [PolicyActionData(PolicyAction.ESCALATE)]
        assert list(session.evaluate_policy(elapsed_seconds=1.0) or ()) == []


def test_evaluate_gate() -> None:
    """None without a gate; else an outcome and a gate_passed or gate_failed event."""
    with Orchestrator("r", "p").session() as session:
        assert session.evaluate_gate(QualityLevel.STRICT) is None
    with Orchestrator("r", "p", quality_gate=QualityGate(QualityLevel.STRICT)).session() as session:
        good, bad = session.evaluate_gate(QualityLevel.RELEASE), session.evaluate_gate(None)
        assert good is not None
        assert bad is not None
        assert (good.satisfied, bad.satisfied) == (True, False)
        names = [event.event for event in session.events]
        assert names.count(AgentEventName.PHASE_GATE_PASSED) == 1
        assert names.count(AgentEventName.PHASE_GATE_FAILED) == 1


@pytest.mark.parametrize(
    ("end", "status"), [("complete", S.COMPLETED), ("fail", S.FAILED), ("cancel", S.CANCELLED)]
)
def test_ending_by_hand(end: str, status: AgentStatus) -> None:
    """complete, fail and cancel move the worker at once; leaving changes nothing more."""
    with Orchestrator("r", "p").session() as session:
        getattr(session, end)()
        assert session.worker.status is status
    assert session.worker.status is status


def test_handoff_to() -> None:
    """Source COMPLETED, a new INITIALIZING worker in the same registry, the handoff in the event's data."""
    with Orchestrator("writer", "draft", "p1").session() as session:
        handoff = session.handoff_to("editor", "draft is done", {"pages": 3})
        assert isinstance(handoff, Handoff)
        assert session.worker.status is S.COMPLETED
        target = session.registry.get(handoff.target_worker_id)
        assert target is not None
        assert (target.role, target.status, target.project_id) == ("editor", S.INITIALIZING, "p1")
        assert (handoff.source_role, handoff.target_role) == ("writer", "editor")
        assert (handoff.reason, handoff.context["pages"]) == ("draft is done", 3)
        assert any("handoff" in (event.data or {}) for event in session.events)
    assert leading(OrchestrationSession.handoff_to, 3) == [
        ("target_role", ...),
        ("reason", ...),
        ("context", None),
    ]


def test_session_summary() -> None:
    """Exactly worker, usage, per_model_cost, recovery_events, agent_events."""
    with Orchestrator("r", "p").session() as session:
        session.run_turn(lambda: "x", usage=UsageSnapshot(1, 1))
    summary = session.summary()
    assert set(summary) == {"worker", "usage", "per_model_cost", "recovery_events", "agent_events"}
    json.dumps(summary)


def test_async_turns_and_tools() -> None:
    """``arun_turn`` and ``arun_tool``."""

    async def answer() -> str:
        return "yes"

    async def main() -> None:
        async with Orchestrator("r", "p").asession() as session:
            assert await session.arun_turn(answer) == ("yes", UsageSnapshot())
            assert await session.arun_tool("ask", answer) == "yes"

    run(main())


def test_pausing_for_input() -> None:
    """The worker waits for input; a second pending pause is a RuntimeError; the value arrives."""

    async def main() -> None:
        async with Orchestrator("r", "p").asession() as session:
            first = asyncio.ensure_future(session.pause_for_input("go on?"))
            await asyncio.sleep(0)
            assert session.worker.status is S.WAITING_FOR_INPUT
            with pytest.raises(RuntimeError):
                await session.pause_for_input("again?")
            session.provide_input("yes")
            assert await first == "yes"
            assert session.worker.status is S.RUNNING

    run(main())


def test_turns_are_capped() -> None:
    """The turn past the cap raises before fn runs; ``_iteration_count`` counts."""
    ran: list[int] = []
    with Orchestrator("r", "p", max_iterations=2).session() as session:
        session.run_turn(lambda: ran.append(1))
        session.run_turn(lambda: ran.append(2))
        assert session._iteration_count == 2
        with pytest.raises(MaxIterationsExceededError) as caught:
            session.run_turn(lambda: ran.append(3))
        assert caught.value.max_iterations == 2
    assert ran == [1, 2]


def test_a_failed_turn_emits_a_recovery_event_and_raises() -> None:
    """One event of the recovery family."""
    with Orchestrator("r", "p").session() as session:
        with pytest.raises(ConnectionError):
            session.run_turn(boom)
        recoveries = [event for event in session.events if event.event.value.startswith("agent.recovery.")]
        assert len(recoveries) == 1


def test_turn_timeout_error() -> None:
    """``TurnTimeoutError(timeout_seconds)``."""
    assert TurnTimeoutError(1.5).timeout_seconds == 1.5


def test_over_budget_is_told_and_with_enforcement_raised() -> None:
    """An AGENT_FAILED event whose data is the budget; the error only when enforced."""
    register_pricing("demo-small", ModelPricing(1.0, 1.0))
    dear = UsageSnapshot(2_000_000)
    with Orchestrator("r", "p", budget_usd=1.0).session() as session:
        session.run_turn(lambda: "x", "demo-small", dear)
        failed = [event for event in session.events if event.event is AgentEventName.AGENT_FAILED]
        assert [event.data for event in failed] == [{"budget_usd": 1.0}]
    with Orchestrator("r", "p", budget_usd=1.0, enforce_budget=True).session() as session:
        with pytest.raises(BudgetExceededError) as caught:
            session.run_turn(lambda: "x", "demo-small", dear)
        assert (caught.value.budget_usd, caught.value.current_cost_usd) == (1.0, 2.0)


def test_a_raising_sink_never_breaks_a_session(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged as ``event_sink.emit raised …`` and ``usage_sink.record raised …``."""

    class Broken:
        def emit(self, event: AgentEvent) -> None:
            raise RuntimeError("no disk")

        def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
            raise RuntimeError("no disk")

    with (
        caplog.at_level("WARNING", logger="techrevati.runtime.orchestrator"),
        Orchestrator("r", "p", event_sink=Broken(), usage_sink=Broken()).session() as session,
    ):
        assert session.run_turn(lambda: "x")[0] == "x"
    assert session.worker.status is S.COMPLETED
    assert "event_sink.emit raised" in caplog.text
    assert "usage_sink.record raised" in caplog.text


# --- otel ------------------------------------------------------------------------------------------------


def test_otel_sink_parameters() -> None:
    """Their parameters and defaults, and they are no names of the package."""
    from techrevati.runtime import otel

    assert leading(otel.OpenTelemetrySink, 3) == [
        ("tracer", None),
        ("provider_name", "techrevati"),
        ("agent_id", None),
    ]
    assert leading(otel.OpenTelemetryUsageSink, 2) == [("meter", None), ("provider_name", "techrevati")]
    assert "OpenTelemetrySink" not in package.__all__


def test_otel_without_opentelemetry() -> None:
    """The module imports; building a sink raises ImportError that names the extra."""
    root = str(Path(package.__path__[0]).parents[1])
    program = f"""
import sys
sys.path.insert(0, {root!r})
sys.modules["opentelemetry"] = None
from techrevati.runtime import otel
assert otel._OTEL_AVAILABLE is False
assert isinstance(otel._OTEL_IMPORT_ERROR, ImportError)
for sink in (otel.OpenTelemetrySink, otel.OpenTelemetryUsageSink):
    try:
        sink()
    except ImportError as error:
        assert "techrevati-runtime[otel]" in str(error), error
    else:
        raise AssertionError(sink)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_these_tests_know_every_module() -> None:
    """What 0.1 had is all imported above."""
    for module in (agent_events, circuit_breaker, retry_policy):
        assert inspect.ismodule(module)
