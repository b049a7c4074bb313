"""Loops are found whatever their period, distinct steps never are, and memory stays bounded."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime.failures import FailureKind, classify
from techrevati.runtime.loop_detection import LoopDetectedError, LoopDetection, LoopState


def told(rules: LoopDetection, steps: list[tuple[object, object]]) -> list[Any]:
    """What was found before each step."""
    state, found = LoopState(), []
    for call, result in steps:
        found.append(rules.before(state, call))
        state = rules.after(state, call, result)
    return found


@given(
    prefix=st.lists(st.integers(0, 3), max_size=40),
    period=st.integers(1, 6),
    limit=st.integers(3, 6),
)
def test_every_planted_cycle_is_found_at_the_limit(prefix: list[int], period: int, limit: int) -> None:
    """Whatever went before: the last step of round *limit* is refused at the latest, and told before."""
    rules = LoopDetection(warn_at=2, limit=limit, max_period=6, no_progress_limit=None)
    cycle = [(f"call {n}", "same") for n in range(period)]
    found = told(rules, [*((n, "x") for n in prefix), *(cycle * limit)])
    planted = found[len(prefix) :]
    assert not any(planted[: period * (limit - 1)][at] and planted[at].stop for at in range(period))
    last = planted[-1]
    assert last is not None
    assert last.stop
    assert (last.period, last.repetitions) == (period, limit)
    assert last.kind == ("repeated_call" if period == 1 else "cycle")
    assert planted[period * 2 - 1] is not None  # an event comes first


@given(st.lists(st.integers(), unique=True, max_size=200))
def test_distinct_calls_are_never_a_loop(calls: list[int]) -> None:
    """However many, with equal results."""
    assert not any(told(LoopDetection(), [(call, None) for call in calls]))


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=100))
def test_a_call_whose_result_changes_is_progress(results: list[int]) -> None:
    """Polling for something that moves on is no loop."""
    assert not any(told(LoopDetection(), [("poll", result) for result in results]))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=300))
def test_memory_is_bounded_and_no_progress_means_nothing_new(steps: list[tuple[int, int]]) -> None:
    """At most the window is kept; ``stale`` counts the newest steps that were in it."""
    rules = LoopDetection(warn_at=2, limit=3, max_period=2, no_progress_limit=4, window=8)
    state = LoopState()
    for step in steps:
        seen = step in state.steps
        expected = state.stale + 1 if seen else 0
        state = rules.after(state, *step)
        assert len(state.steps) <= 8
        assert state.stale == expected
        found = rules.found(state)
        assert (state.stale < 4) or (found is not None and found.stop)


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 4))
def test_a_finding_is_true(calls: list[int], max_period: int) -> None:
    """What is said to be repeated really stands there so often (model: comparing slices)."""
    rules = LoopDetection(warn_at=2, limit=4, max_period=max_period, no_progress_limit=None)
    state = LoopState()
    for number, call in enumerate(calls, 1):
        state = rules.after(state, call)
        found = rules.found(state)
        tail = calls[:number]
        best = [
            (period, rounds)
            for period in range(1, max_period + 1)
            for rounds in range(2, number // period + 1)
            if tail[-period * rounds :] == tail[-period:] * rounds
        ]
        assert (found is not None) == bool(best)
        if found is not None:
            assert (found.period, found.repetitions) in best
            assert found.stop == any(rounds >= 4 for _, rounds in best)


@pytest.mark.parametrize(
    ("name", "value"),
    [("warn_at", 1), ("limit", 3), ("max_period", 0), ("no_progress_limit", 1), ("window", 5)],
)
def test_wrong_rules_are_refused_by_name(name: str, value: int) -> None:
    """At construction."""
    given_: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        LoopDetection(**given_)


def test_the_error_has_the_facts() -> None:
    """It pickles without its result, and is classified as used up."""
    error = LoopDetectedError("cycle", period=2, repetitions=5, limit=5, step="tool 'a'", result=lambda: 1)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.kind, again.period, again.repetitions, again.result) == ("cycle", 2, 5, None)
    assert str(again) == str(error) == "loop: the same 2 steps, 5 times, at most 4 (last: tool 'a')"
    assert "no progress" in str(LoopDetectedError("no_progress", period=0, repetitions=20, limit=20))
    assert classify(error).kind is FailureKind.RESOURCE_EXHAUSTED
    assert not classify(error).retryable
