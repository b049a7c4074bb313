"""Policies: conditions compose, rules keep their order, nothing acts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.policy_engine import (
    AgentFailed,
    AllAgentsComplete,
    And,
    CostExceeded,
    GateBelow,
    Or,
    PhaseContext,
    PolicyAction,
    PolicyActionData,
    PolicyCondition,
    PolicyEngine,
    PolicyRule,
    QualityAt,
    RetryExhausted,
    TimedOut,
)
from techrevati.runtime.quality_gate import QualityLevel

numbers = st.floats(-1e6, 1e6, allow_nan=False)
amounts = st.floats(0, 1e6, allow_nan=False)
roles = st.frozensets(st.sampled_from("abcd"))


class Fixed:
    """A condition with a fixed answer that counts how often it is asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked = 0

    def matches(self, ctx: PhaseContext) -> bool:
        self.asked += 1
        return self.answer


@given(st.lists(st.booleans(), max_size=6))
def test_and_or_are_all_and_any(answers: list[bool]) -> None:
    """Nested as well; they stop at the first answer that decides."""
    ctx = PhaseContext()
    fixed = [Fixed(answer) for answer in answers]
    assert And(fixed).matches(ctx) is all(answers)
    decided = answers.index(False) + 1 if False in answers else len(answers)
    assert [one.asked for one in fixed] == [1] * decided + [0] * (len(answers) - decided)
    assert Or([Fixed(answer) for answer in answers]).matches(ctx) is any(answers)
    assert And([Or([one]) for one in fixed]).matches(ctx) is all(answers)


@given(numbers, numbers)
def test_bounds_are_strict(bound: float, value: float) -> None:
    """Below, over and later mean just that; exactly at the bound does not match."""
    assert GateBelow(bound).matches(PhaseContext(gate_score=value)) is (value < bound)
    assert GateBelow(bound).matches(PhaseContext(gate_score=bound)) is False
    limit, amount = abs(bound), abs(value)
    assert TimedOut(limit).matches(PhaseContext(elapsed_seconds=amount)) is (amount > limit)
    assert TimedOut(limit).matches(PhaseContext(elapsed_seconds=limit)) is False
    assert CostExceeded(limit).matches(PhaseContext(total_cost_usd=amount)) is (amount > limit)
    assert CostExceeded(limit).matches(PhaseContext(total_cost_usd=limit)) is False


@given(roles, roles, roles)
def test_all_agents_complete(
    completed: frozenset[str], failed: frozenset[str], everybody: frozenset[str]
) -> None:
    """Ended roles and all roles are the same sets, in any collection type."""
    expected = completed | failed == everybody
    for kind in (frozenset, set, list, tuple, sorted):
        ctx = PhaseContext(
            completed_roles=kind(completed), failed_roles=kind(failed), all_roles=kind(everybody)
        )
        assert AllAgentsComplete().matches(ctx) is expected
        assert AgentFailed().matches(ctx) is bool(failed)
        assert AgentFailed("a").matches(ctx) is ("a" in failed)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: TimedOut(-1), "seconds"),
        (lambda: TimedOut(float("nan")), "seconds"),
        (lambda: CostExceeded(-0.01), "budget_usd"),
        (lambda: CostExceeded(float("nan")), "budget_usd"),
        (lambda: GateBelow(float("nan")), "threshold"),
        (lambda: PolicyRule("", Fixed(True), []), "name"),
    ],
)
def test_wrong_bounds_are_refused(build: Any, named: str) -> None:
    """At once, with the argument's name."""
    with pytest.raises(ValueError, match=named):
        build()


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: TimedOut("5"), "seconds"),
        (lambda: CostExceeded(None), "budget_usd"),
        (lambda: GateBelow("high"), "threshold"),
        (lambda: PolicyRule(None, Fixed(True), []), "name"),  # type: ignore[arg-type]
    ],
)
def test_wrong_kinds_are_refused(build: Any, named: str) -> None:
    """A TypeError with the argument's name."""
    with pytest.raises(TypeError, match=named):
        build()


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), max_size=12))
def test_actions_come_in_order_of_priority(rules: list[tuple[int, bool]]) -> None:
    """Lower first, equal ones as they were given, only of rules that match; nothing is asked twice."""
    built = [
        PolicyRule(f"r{n}", Fixed(match), [PolicyActionData(PolicyAction.NOTIFY, {"n": n})], priority)
        for n, (priority, match) in enumerate(rules)
    ]
    expected = [n for _, n in sorted((priority, n) for n, (priority, match) in enumerate(rules) if match)]
    actions = PolicyEngine(built).evaluate(PhaseContext())
    assert [(action.params or {})["n"] for action in actions] == expected
    assert all(rule.condition.asked == 1 for rule in built if isinstance(rule.condition, Fixed))


def test_the_engine_keeps_its_rules_to_itself() -> None:
    """Neither the list given nor the list read changes it."""
    rules = [PolicyRule("r", Fixed(True), [PolicyActionData(PolicyAction.NOTIFY)])]
    engine = PolicyEngine(iter(rules))
    rules.clear()
    engine.rules.clear()
    assert len(engine.evaluate(PhaseContext())) == 1


def test_a_condition_that_raises_is_heard() -> None:
    """A broken rule is not silently skipped."""

    class Broken:
        def matches(self, ctx: PhaseContext) -> bool:
            raise RuntimeError("broken rule")

    engine = PolicyEngine([PolicyRule("broken", Broken(), [])])
    with pytest.raises(RuntimeError, match="broken rule"):
        engine.evaluate(PhaseContext())


def test_actions_become_dicts() -> None:
    """The params are copied."""
    params: dict[str, object] = {"to": "me"}
    action = PolicyActionData(PolicyAction.ESCALATE, params)
    wire = action.to_dict()
    assert wire == {"action": "escalate", "params": {"to": "me"}}
    assert isinstance(wire["params"], dict)
    wire["params"]["to"] = "you"
    assert params == {"to": "me"}
    assert PolicyActionData(PolicyAction.NOTIFY).to_dict() == {"action": "notify", "params": None}


@given(st.sampled_from(QualityLevel), st.none() | st.sampled_from(QualityLevel))
def test_quality_that_nobody_saw_is_no_quality(level: QualityLevel, seen: QualityLevel | None) -> None:
    """None never reaches a level, not even the lowest."""
    assert QualityAt(level).matches(PhaseContext(quality_level=seen)) is (seen is not None and seen >= level)


def test_every_condition_is_a_policy_condition() -> None:
    """The protocol is runtime-checkable."""
    conditions: list[object] = [
        And([]),
        Or([]),
        QualityAt(QualityLevel.STRICT),
        AgentFailed(),
        GateBelow(0.5),
        RetryExhausted(),
        TimedOut(1),
        AllAgentsComplete(),
        CostExceeded(1),
        Fixed(True),
    ]
    assert all(isinstance(condition, PolicyCondition) for condition in conditions)
    assert not isinstance(object(), PolicyCondition)
