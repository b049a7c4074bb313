"""Decide what to do next in a phase, from rules that people can read.

A condition looks at a ``PhaseContext``; a rule ties a condition to actions; the engine collects the actions
of every rule that matches, in order of priority.  Nothing here acts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from techrevati.runtime._core import arguments
from techrevati.runtime._core.quality import QualityLevel


@dataclass(slots=True)
class PhaseContext:
    """How a phase stands.

    Attributes:
        phase: Its name.
        quality_level: The quality observed; None when nobody looked.
        gate_score, gate_threshold: What a gate scored and what it asked for.
        completed_roles, failed_roles, all_roles: Roles that ended well, ended badly, and all there are.
        elapsed_seconds: Seconds since the phase began.
        retry_exhausted_scenarios: Failure scenarios whose recovery is used up.
        phase_completed: True when the phase says it is done.
        total_cost_usd: US dollars spent so far.
    """

    phase: str = ""
    quality_level: QualityLevel | None = None
    gate_score: float = 0.0
    gate_threshold: float = 0.0
    completed_roles: Collection[str] = field(default_factory=set[str])
    failed_roles: Collection[str] = field(default_factory=set[str])
    all_roles: Collection[str] = field(default_factory=set[str])
    elapsed_seconds: float = 0.0
    retry_exhausted_scenarios: Collection[str] = field(default_factory=set[str])
    phase_completed: bool = False
    total_cost_usd: float = 0.0


@runtime_checkable
class PolicyCondition(Protocol):
    """Looks at a phase and says whether a rule applies."""

    def matches(self, ctx: PhaseContext) -> bool:
        """True when the rule applies to *ctx*."""
        ...


@dataclass(frozen=True, slots=True)
class And:
    """Every condition matches; an empty list matches."""

    conditions: Sequence[PolicyCondition]

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return all(condition.matches(ctx) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one condition matches; an empty list does not."""

    conditions: Sequence[PolicyCondition]

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return any(condition.matches(ctx) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class QualityAt:
    """The observed quality is at least *level*; unobserved quality is not."""

    level: QualityLevel

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return ctx.quality_level is not None and ctx.quality_level >= self.level


@dataclass(frozen=True, slots=True)
class PhaseCompleted:
    """The phase says it is done."""

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return ctx.phase_completed


@dataclass(frozen=True, slots=True)
class AgentFailed:
    """*role* failed; any role when None."""

    role: str | None = None

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return bool(ctx.failed_roles) if self.role is None else self.role in ctx.failed_roles


@dataclass(frozen=True, slots=True)
class GateBelow:
    """The gate scored less than *threshold*."""

    threshold: float

    def __post_init__(self) -> None:
        arguments.number("threshold", self.threshold, minimum=float("-inf"), infinite=True)

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return ctx.gate_score < self.threshold


@dataclass(frozen=True, slots=True)
class RetryExhausted:
    """Recovery from *scenario* is used up; from any scenario when None."""

    scenario: str | None = None

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        exhausted = ctx.retry_exhausted_scenarios
        return bool(exhausted) if self.scenario is None else self.scenario in exhausted


@dataclass(frozen=True, slots=True)
class TimedOut:
    """More than *seconds* seconds have passed."""

    seconds: float

    def __post_init__(self) -> None:
        arguments.number("seconds", self.seconds, infinite=True)

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return ctx.elapsed_seconds > self.seconds


@dataclass(frozen=True, slots=True)
class AllAgentsComplete:
    """Every role ended, well or badly."""

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return set(ctx.completed_roles) | set(ctx.failed_roles) == set(ctx.all_roles)


@dataclass(frozen=True, slots=True)
class CostExceeded:
    """More than *budget_usd* US dollars were spent."""

    budget_usd: float

    def __post_init__(self) -> None:
        arguments.number("budget_usd", self.budget_usd, infinite=True)

    def matches(self, ctx: PhaseContext) -> bool:
        """See the class."""
        return ctx.total_cost_usd > self.budget_usd


class PolicyAction(str, Enum):
    """What a rule asks for."""

    ADVANCE_PHASE = "advance_phase"
    RETRY_AGENT = "retry_agent"
    RETRY_PHASE = "retry_phase"
    RECOVER_ONCE = "recover_once"
    ESCALATE = "escalate"
    STORE_GATE_FEEDBACK = "store_gate_feedback"
    GENERATE_HANDOFF = "generate_handoff"
    NOTIFY = "notify"
    ABORT_PHASE = "abort_phase"


@dataclass(frozen=True, slots=True)
class PolicyActionData:
    """An action and what it needs to know.

    Attributes:
        action: What to do.
        params: Facts for whoever does it; None means none.
    """

    action: PolicyAction
    params: Mapping[str, object] | None = None

    def to_dict(self) -> dict[str, object]:
        """Both fields as plain values."""
        return {
            "action": self.action.value,
            "params": None if self.params is None else dict(self.params),
        }


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """When *condition* matches, do *actions*.

    Attributes:
        name: For people; not empty.
        condition: When it applies.
        actions: What to do then, in order.
        priority: Lower comes first; rules of equal priority keep their order.
    """

    name: str
    condition: PolicyCondition
    actions: Sequence[PolicyActionData]
    priority: int = 50

    def __post_init__(self) -> None:
        arguments.text("name", self.name)
        if not callable(getattr(self.condition, "matches", None)):
            raise TypeError(f"condition must have the method matches, got {self.condition!r}")


class PolicyEngine:
    """Rules in order of priority.  Immutable after construction; thread-safe."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Iterable[PolicyRule]) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.priority)

    @property
    def rules(self) -> list[PolicyRule]:
        """A copy of the rules, lowest priority number first."""
        return list(self._rules)

    def evaluate(self, ctx: PhaseContext) -> list[PolicyActionData]:
        """The actions of every rule that matches *ctx*, flat, in order of priority."""
        return [action for rule in self._rules if rule.condition.matches(ctx) for action in rule.actions]
