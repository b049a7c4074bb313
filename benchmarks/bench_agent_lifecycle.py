"""One legal move of a state machine, to and fro between running and waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from benchmarks.harness import (
    Aim,
    Comparison,
    Effort,
    Figure,
    Subject,
    WrongAnswerError,
    answer,
    compare_all,
    floor,
)
from techrevati.runtime.agent_lifecycle import AgentStatus, AgentWorker

WHAT = "lifecycle transition"
AIM = Aim(12)


def comparison() -> Comparison:
    """Ours over the floor."""
    worker = AgentWorker("researcher-draft-1", "researcher", "draft")
    worker.transition(AgentStatus.INITIALIZING)
    worker.transition(AgentStatus.RUNNING)
    code = "worker.transition(WAITING)\nworker.transition(RUNNING)\nresult = None"
    names: dict[str, object] = {
        "worker": worker,
        "WAITING": AgentStatus.WAITING_FOR_INPUT,
        "RUNNING": AgentStatus.RUNNING,
    }

    def history() -> str:
        moves = [(move.seq, move.status) for move in worker.events[-2:]]
        if worker.status is not AgentStatus.RUNNING or moves != [
            (3, AgentStatus.WAITING_FOR_INPUT),
            (4, AgentStatus.RUNNING),
        ]:
            raise WrongAnswerError(f"{worker!r} remembers {moves}")
        return "keeps a history, thread-safe"

    ours = Subject("ours", code, names, operations=2, check=history)
    return Comparison(
        WHAT, Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1), [ours], AIM
    )


def transitions_machine() -> Subject:
    """The same two moves with ``transitions``."""

    class Model:
        state: str
        go: Callable[[], bool]
        wait: Callable[[], bool]

    model = Model()
    moves = [["wait", "running", "waiting"], ["go", "waiting", "running"]]
    states = ["running", "waiting"]
    machine: Any = import_module("transitions").Machine
    machine(model, states=states, transitions=moves, initial="running", auto_transitions=False)
    code = "model.wait()\nresult = model.go()"
    return Subject("transitions", code, {"model": model}, True, operations=2, check=lambda: "no history")


def statemachine_machine() -> Subject:
    """The same two moves with ``python-statemachine``."""
    module: Any = import_module("statemachine")
    running, waiting = module.State(initial=True), module.State()
    body = {"running": running, "waiting": waiting}
    body |= {"wait_": running.to(waiting), "go": waiting.to(running)}
    machine = type(module.StateMachine)("Life", (module.StateMachine,), body)()

    def moved() -> str:
        if not machine.running.is_active:
            raise WrongAnswerError("the machine is not where it should be")
        return "no history"

    code = "machine.wait_()\nresult = machine.go()"
    return Subject("python-statemachine", code, {"machine": machine}, operations=2, check=moved)


PEERS = (("transitions", transitions_machine), ("python-statemachine", statemachine_machine))


def with_peers(ours: Comparison) -> tuple[Comparison, list[Figure]]:
    """The same comparison with every peer that is there, and lines for those that are not."""
    subjects, absent = list(ours.subjects), []
    for name, build in PEERS:
        try:
            subjects.append(build())
        except Exception as error:
            absent.append(
                Figure(WHAT, name, note=str(error) if isinstance(error, ImportError) else repr(error))
            )
    return Comparison(ours.what, ours.floor, subjects, ours.aim), absent


def comparisons() -> Iterator[Comparison]:
    """Ours over the floor."""
    yield comparison()


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    compared, absent = with_peers(comparison()) if peers else (comparison(), [])
    return compare_all([compared], effort) + absent
