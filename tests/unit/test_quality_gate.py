"""Quality gates: a level is enough or it is not, and nothing is never enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.quality_gate import QualityGate, QualityGateOutcome, QualityLevel

levels = st.sampled_from(QualityLevel)


@given(levels, levels)
def test_higher_levels_satisfy_whatever_lower_ones_do(low: QualityLevel, high: QualityLevel) -> None:
    """Gates are monotonic in what they see and in what they ask."""
    low, high = sorted((low, high))
    for required in QualityLevel:
        if QualityGate(required).is_satisfied_by(low):
            assert QualityGate(required).is_satisfied_by(high)
    for observed in QualityLevel:
        if QualityGate(high).is_satisfied_by(observed):
            assert QualityGate(low).is_satisfied_by(observed)


@given(levels, st.none() | levels)
def test_outcomes_are_plain_values(required: QualityLevel, observed: QualityLevel | None) -> None:
    """Their dict is JSON with levels by name, None kept; equal outcomes are equal."""
    outcome = QualityGate(required).evaluate(observed)
    wire = json.loads(json.dumps(outcome.to_dict()))
    assert wire == outcome.to_dict()
    assert wire["required_level"] == required.name
    assert wire["observed_level"] == (None if observed is None else observed.name)
    assert outcome == QualityGateOutcome(outcome.satisfied, required, observed)
    with pytest.raises(AttributeError):
        outcome.satisfied = True  # type: ignore[misc]


@pytest.mark.parametrize("level", [0, 5, "STRICT", None])
def test_a_gate_asks_for_a_level_that_exists(level: Any) -> None:
    """Anything else is refused at once, with its value."""
    with pytest.raises((ValueError, TypeError)) as caught:
        QualityGate(level)
    assert repr(level) in str(caught.value)


def test_a_level_may_be_given_by_number() -> None:
    """It becomes the member."""
    gate = QualityGate(3)  # type: ignore[arg-type]
    assert gate.required_level is QualityLevel.STRICT
    assert "STRICT" in repr(gate)
