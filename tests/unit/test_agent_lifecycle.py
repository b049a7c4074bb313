"""Workers and their registry: bounded, thread-safe, and forgetting the finished first."""

from __future__ import annotations

import copy
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from techrevati.runtime.agent_lifecycle import (
    DEFAULT_REGISTRY_CAPACITY,
    HISTORY_CAPACITY,
    AgentRegistry,
    AgentStatus,
    AgentWorker,
    InvalidTransitionError,
)

S = AgentStatus


def running() -> AgentWorker:
    worker = AgentWorker("w", "writer", "draft")
    worker.transition(S.INITIALIZING)
    worker.transition(S.RUNNING)
    return worker


# --- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["worker_id", "role", "phase"])
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_empty_names_are_refused(name: str, value: str) -> None:
    """A ValueError names the argument and shows the value."""
    arguments = {"worker_id": "w", "role": "r", "phase": "p", name: value}
    with pytest.raises(ValueError, match=name) as caught:
        AgentWorker(**arguments)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["worker_id", "role", "phase"])
def test_names_that_are_no_text_are_refused(name: str) -> None:
    """A TypeError names the argument."""
    arguments = {"worker_id": "w", "role": "r", "phase": "p", name: 7}
    with pytest.raises(TypeError, match=name):
        AgentWorker(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("capacity", "kind"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("9", TypeError)]
)
def test_a_registry_needs_a_capacity(capacity: object, kind: type[Exception]) -> None:
    """At least one; the error names the argument and the value."""
    with pytest.raises(kind, match="capacity") as caught:
        AgentRegistry(capacity=capacity)  # type: ignore[arg-type]
    assert repr(capacity) in str(caught.value)


@pytest.mark.parametrize(("role", "phase"), [("", "p"), ("r", "")])
def test_a_registry_refuses_empty_names(role: str, phase: str) -> None:
    """And stays as it was."""
    registry = AgentRegistry()
    with pytest.raises(ValueError):
        registry.create(role, phase)
    assert len(registry) == 0


# --- one worker --------------------------------------------------------------------------------------------


def test_an_illegal_move_leaves_no_trace() -> None:
    """State, history, time and last error are as before, and the next move has the next number."""
    worker = AgentWorker("w", "r", "p")
    worker.transition(S.INITIALIZING)
    before = worker.to_dict()
    with pytest.raises(InvalidTransitionError) as caught:
        worker.transition(S.COMPLETED, "too early")
    assert worker.to_dict() == before
    assert worker.transition(S.RUNNING).seq == 2
    for part in ("initializing", "completed", "running"):
        assert part in str(caught.value)


def test_staying_is_no_move() -> None:
    """A state is never entered from itself."""
    worker = running()
    with pytest.raises(InvalidTransitionError):
        worker.transition(S.RUNNING)


def test_the_history_is_bounded_and_numbers_go_on() -> None:
    """The last 256 moves are kept, with their own numbers."""
    worker = running()
    for _ in range(HISTORY_CAPACITY):
        worker.transition(S.WAITING_FOR_INPUT)
        worker.transition(S.RUNNING)
    moves = worker.events
    assert len(moves) == HISTORY_CAPACITY == 256
    last = 2 + 2 * HISTORY_CAPACITY
    assert [move.seq for move in moves] == list(range(last - HISTORY_CAPACITY + 1, last + 1))
    kept = worker.to_dict()["events"]
    assert isinstance(kept, list)
    assert len(kept) == HISTORY_CAPACITY


def test_the_history_is_a_copy() -> None:
    """Changing the list changes nothing."""
    worker = running()
    worker.events.clear()
    assert [move.status for move in worker.events] == [S.INITIALIZING, S.RUNNING]


def test_times_are_iso_and_in_order() -> None:
    """Created, then every move, then updated at the last; all in UTC."""
    before = datetime.now(UTC)
    worker = running()
    times = [worker.created_at, *(move.timestamp for move in worker.events)]
    moments = [datetime.fromisoformat(time) for time in times]
    assert moments == sorted(moments)
    assert all(moment.utcoffset() == timedelta(0) for moment in moments)
    assert worker.updated_at == worker.events[-1].timestamp
    assert moments[0] >= before - timedelta(milliseconds=1)


def test_moves_compare_and_copy() -> None:
    """Equal when they say the same."""
    move = running().events[0]
    assert copy.copy(move) == move
    assert move != running().events[1]
    assert len({move, copy.copy(move)}) == 1


def test_simultaneous_moves_are_made_once() -> None:
    """Of eight threads that complete one worker, one succeeds and seven are told."""
    for _ in range(50):
        worker = running()
        start = threading.Barrier(8)
        outcomes: list[str] = []

        def end(
            worker: AgentWorker = worker, start: threading.Barrier = start, told: list[str] = outcomes
        ) -> None:
            start.wait()
            try:
                worker.transition(S.COMPLETED)
            except InvalidTransitionError as error:
                told.append(error.current.value)
            else:
                told.append("moved")

        threads = [threading.Thread(target=end) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["completed"] * 7 + ["moved"]
        assert [move.seq for move in worker.events] == [1, 2, 3]


# --- the registry ------------------------------------------------------------------------------------------


def test_terminal_workers_go_first_and_in_the_order_of_their_end() -> None:
    """A full registry forgets the one that ended first, however young, and keeps the active ones."""
    registry = AgentRegistry(capacity=4)
    old, second, third, fourth = (registry.create("r", "p") for _ in range(4))
    registry.transition(third.worker_id, S.FAILED)
    second.transition(S.CANCELLED)  # by itself, not through the registry
    fifth = registry.create("r", "p")
    assert registry.get(third.worker_id) is None
    assert registry.get(second.worker_id) is second
    sixth = registry.create("r", "p")
    assert registry.get(second.worker_id) is None
    assert registry.list_active() == [old, fourth, fifth, sixth]
    assert len(registry) == 4


def test_active_workers_go_only_when_none_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    """Then the oldest goes, and the log says so; the worker itself lives on."""
    registry = AgentRegistry(capacity=2)
    first, second = registry.create("r", "p"), registry.create("r", "p")
    with caplog.at_level(logging.WARNING, logger="techrevati.runtime.agent_lifecycle"):
        third = registry.create("r", "p")
    assert first.worker_id in caplog.text
    assert registry.list_active() == [second, third]
    first.transition(S.FAILED)
    registry.create("r", "p")
    assert registry.get(second.worker_id) is None, "a forgotten worker's end makes no room"


def test_forgetting_ended_workers_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is the normal course of things."""
    registry = AgentRegistry(capacity=1)
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            registry.transition(registry.create("r", "p").worker_id, S.CANCELLED)
    assert not caplog.records
    assert len(registry) == 1


def test_the_registry_is_bounded_by_default() -> None:
    """10,000 workers, more only push out."""
    assert AgentRegistry().capacity == DEFAULT_REGISTRY_CAPACITY == 10_000
    registry = AgentRegistry(capacity=100)
    for _ in range(1_000):
        registry.create("r", "p").transition(S.FAILED, "x")
    assert len(registry) == 100
    assert registry.list_active() == []


def test_lists_are_copies() -> None:
    """Changing what was listed changes nothing."""
    registry = AgentRegistry()
    worker = registry.create("r", "p", "x")
    registry.list_active().clear()
    registry.get_by_project("x").clear()
    assert registry.list_active() == registry.get_by_project("x") == [worker]


def test_a_project_keeps_its_ended_workers() -> None:
    """``get_by_project`` lists every kept worker; the other two list only live ones."""
    registry = AgentRegistry()
    ended, live = registry.create("r", "p", "x"), registry.create("r", "p", "x")
    ended.transition(S.FAILED)
    assert registry.get_by_project("x") == [ended, live]
    assert registry.get_by_role_phase("r", "p") is live
    live.transition(S.CANCELLED)
    assert registry.get_by_role_phase("r", "p") is None


def test_clearing_really_forgets() -> None:
    """After ``clear`` the full capacity is free again, ended workers included."""
    registry = AgentRegistry(capacity=2)
    before = [registry.create("r", "p") for _ in range(2)]
    registry.clear()
    for worker in before:
        worker.transition(S.FAILED)
    after = [registry.create("r", "p") for _ in range(2)]
    assert registry.list_active() == after


def test_a_registry_under_eight_threads() -> None:
    """Created, moved, listed and evicted from everywhere: never above its capacity, no id twice."""
    registry = AgentRegistry(capacity=50)
    start = threading.Barrier(8)
    ids: list[str] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            for turn in range(200):
                worker = registry.create("r", "p", "x")
                ids.append(worker.worker_id)
                worker.transition(S.INITIALIZING)
                worker.transition(S.FAILED if turn % 2 else S.RUNNING)
                if not worker.is_terminal:
                    worker.transition(S.COMPLETED)
                assert len(registry) <= 50
                assert len(registry.get_by_project("x")) <= 50
                assert all(isinstance(active, AgentWorker) for active in registry.list_active())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(ids) == len(set(ids)) == 1_600
    assert len(registry) == 50


def test_a_status_may_be_given_by_its_value() -> None:
    """The wire value becomes the member; anything else names the argument and what is allowed."""
    worker = AgentWorker("w", "writer", "draft")
    worker.transition("initializing")  # type: ignore[arg-type]
    assert worker.status is AgentStatus.INITIALIZING
    with pytest.raises(ValueError, match=r"new_status must be one of idle, .*; got 'dancing'"):
        worker.transition("dancing")  # type: ignore[arg-type]
