"""The words of events; the values are the wire format."""

from __future__ import annotations

from enum import Enum


class AgentEventName(str, Enum):
    """What happened; the value is the wire name."""

    AGENT_STARTED = "agent.started"
    AGENT_READY = "agent.ready"
    AGENT_BLOCKED = "agent.blocked"
    AGENT_TOOL_CALLED = "agent.tool_called"
    AGENT_TOOL_COMPLETED = "agent.tool_completed"
    AGENT_COMPLETED = "agent.completed"
    AGENT_FAILED = "agent.failed"
    AGENT_CANCELLED = "agent.cancelled"
    AGENT_LATE_RESULT = "agent.late_result"
    AGENT_LOOP_DETECTED = "agent.loop_detected"
    AGENT_STREAM_ENDED = "agent.stream_ended"
    PHASE_STARTED = "phase.started"
    PHASE_COMPLETED = "phase.completed"
    PHASE_GATE_EVALUATED = "phase.gate_evaluated"
    PHASE_GATE_PASSED = "phase.gate_passed"
    PHASE_GATE_FAILED = "phase.gate_failed"
    RECOVERY_ATTEMPTED = "agent.recovery.attempted"
    RECOVERY_SUCCEEDED = "agent.recovery.succeeded"
    RECOVERY_FAILED = "agent.recovery.failed"
    RECOVERY_ESCALATED = "agent.recovery.escalated"
    RECOVERY_PROVIDER_SWITCHED = "agent.recovery.provider_switched"
    CIRCUIT_OPENED = "circuit.opened"
    CIRCUIT_HALF_OPENED = "circuit.half_opened"
    CIRCUIT_CLOSED = "circuit.closed"
    BUDGET_THRESHOLD = "budget.threshold"
    BUDGET_OVERRUN = "budget.overrun"
    MODEL_CALLED = "model.called"
    MODEL_FAILED = "model.failed"
    MODEL_ABANDONED = "model.abandoned"
    MODEL_REFUSED = "model.refused"
    MODEL_UNGUARDED = "model.unguarded"
    DEADLINE_STARTED = "deadline.started"
    DEADLINE_SHORTENED = "deadline.shortened"
    DEADLINE_ENDED = "deadline.ended"
    HOOK_PRE_TOOL = "hook.pre_tool"
    HOOK_POST_TOOL = "hook.post_tool"
    TURN_STARTED = "turn.started"
    TURN_ENDED = "turn.ended"
    ATTEMPT_STARTED = "attempt.started"
    ATTEMPT_ENDED = "attempt.ended"
    RUN_ENDED = "run.ended"


class AgentEventStatus(str, Enum):
    """How things stand after the event."""

    RUNNING = "running"
    READY = "ready"
    BLOCKED = "blocked"
    GREEN = "green"
    RED = "red"
    COMPLETED = "completed"
    FAILED = "failed"


# Where the parts of a run begin and end; only sinks that ask for them with ``follows_turns`` are told.
TURN_EVENTS = frozenset({
    AgentEventName.TURN_STARTED, AgentEventName.TURN_ENDED, AgentEventName.ATTEMPT_STARTED,
    AgentEventName.ATTEMPT_ENDED, AgentEventName.RUN_ENDED,
})  # fmt: skip

# What became of single requests; only sinks that ask for contents with ``takes_content`` are told these, too.
REQUEST_EVENTS = frozenset({
    AgentEventName.MODEL_CALLED, AgentEventName.MODEL_FAILED, AgentEventName.MODEL_ABANDONED,
    AgentEventName.MODEL_REFUSED,
})  # fmt: skip
