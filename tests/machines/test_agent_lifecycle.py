"""Random lives of many workers in a small registry: the table holds, and the finished go first."""

from __future__ import annotations

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.agent_lifecycle import AgentRegistry, AgentStatus, AgentWorker, InvalidTransitionError

S = AgentStatus
TERMINAL = {S.COMPLETED, S.FAILED, S.CANCELLED}
MOVES = {
    S.IDLE: {S.INITIALIZING},
    S.INITIALIZING: {S.WAITING_FOR_INPUT, S.RUNNING},
    S.WAITING_FOR_INPUT: {S.RUNNING},
    S.RUNNING: {S.WAITING_FOR_INPUT, S.COMPLETED},
}
CAPACITY = 4


class RegistryMachine(RuleBasedStateMachine):
    """A model beside the registry: who is kept in which order, who ended when, who is where."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = AgentRegistry(CAPACITY)
        self.everybody: list[AgentWorker] = []
        self.states: dict[str, AgentStatus] = {}
        self.kept: list[str] = []  # oldest first
        self.ended: list[str] = []  # of the kept, in the order of their end
        self.moves: dict[str, int] = {}

    def one(self, nth: int) -> AgentWorker:
        return self.everybody[nth % len(self.everybody)]

    @rule(role=st.sampled_from(["writer", "editor"]), project=st.sampled_from([None, "x"]))
    def create(self, role: str, project: str | None) -> None:
        if len(self.kept) == CAPACITY:
            gone = self.ended[0] if self.ended else self.kept[0]
            self.kept.remove(gone)
            if gone in self.ended:
                self.ended.remove(gone)
        worker = self.registry.create(role, "draft", project)
        assert worker.worker_id not in self.states
        assert worker.worker_id.startswith(f"{role}-draft-")
        self.everybody.append(worker)
        self.kept.append(worker.worker_id)
        self.states[worker.worker_id] = S.IDLE
        self.moves[worker.worker_id] = 0

    @precondition(lambda self: self.everybody)
    @rule(
        nth=st.integers(0, 50),
        goal=st.sampled_from(S),
        detail=st.none() | st.text(max_size=5),
        direct=st.booleans(),
    )
    def move(self, nth: int, goal: AgentStatus, detail: str | None, direct: bool) -> None:
        worker = self.one(nth)
        name = worker.worker_id
        current = self.states[name]
        legal = current not in TERMINAL and (goal in MOVES[current] or goal in {S.FAILED, S.CANCELLED})
        if not direct and name not in self.kept:
            with pytest.raises(KeyError):
                self.registry.transition(name, goal, detail)
            return
        if not legal:
            with pytest.raises(InvalidTransitionError):
                worker.transition(goal, detail)
            return
        event = worker.transition(goal, detail) if direct else self.registry.transition(name, goal, detail)
        self.moves[name] += 1
        assert (event.seq, event.status, event.detail) == (self.moves[name], goal, detail)
        self.states[name] = goal
        if goal in TERMINAL and name in self.kept:
            self.ended.append(name)
        if goal is S.FAILED and detail is not None:
            assert worker.last_error == {"message": detail, "timestamp": event.timestamp}

    @rule()
    @precondition(lambda self: len(self.kept) == CAPACITY)
    def clear(self) -> None:
        self.registry.clear()
        self.kept.clear()
        self.ended.clear()

    @invariant()
    def workers_are_where_the_model_says(self) -> None:
        for worker in self.everybody:
            state = self.states[worker.worker_id]
            assert worker.status is state
            assert worker.is_terminal is (state in TERMINAL)
            assert len(worker.events) == self.moves[worker.worker_id]

    @invariant()
    def the_registry_keeps_what_the_model_keeps(self) -> None:
        assert len(self.registry) == len(self.kept) <= CAPACITY
        for worker in self.everybody:
            expected = worker if worker.worker_id in self.kept else None
            assert self.registry.get(worker.worker_id) is expected
        live = [name for name in self.kept if self.states[name] not in TERMINAL]
        assert [worker.worker_id for worker in self.registry.list_active()] == live


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
