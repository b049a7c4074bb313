"""Replays: a recorded run once more, without a call, in its own order, strict or lenient."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from techrevati.runtime.journal import (
    InDoubtError,
    Journal,
    JournalError,
    Recorder,
    Replayer,
    ReplayMismatchError,
    ResultNotStorableError,
    RunBusyError,
)
from techrevati.runtime.orchestrator import OrchestrationSession, Orchestrator, ToolCall
from techrevati.runtime.stores import MemoryStore, SqliteStore
from techrevati.runtime.testing import run as virtual
from techrevati.runtime.usage import UsageSnapshot


def never(**_: object) -> object:
    """Must not be called."""
    raise AssertionError("called in a replay")


def refused() -> str:
    """A step that fails."""
    raise ConnectionError("no route")


def program(session: OrchestrationSession, live: bool) -> list[object]:
    """An agent with turns, tools, parallel tools, a step of its own and a failure."""
    found: list[object] = [session.run_turn(lambda: "hi" if live else never(), "m", UsageSnapshot(7, 3))]
    found.append(session.run_tool("add", (lambda x: x + 1) if live else never, {"x": 1}))
    calls = [ToolCall("p", (lambda n: n * n) if live else never, {"n": n}) for n in range(6)]
    found += [each.value for each in session.run_tools(calls)]
    found.append(session.step("own", (lambda: {"a": [1]}) if live else never))
    with pytest.raises(ConnectionError, match="no route"):
        session.step("fails", refused if live else never)
    return [*found, session.tracker.total_input_tokens]


def recorded(journal: Journal) -> list[object]:
    """Record the program as run r."""
    with Orchestrator("role", "phase", journal=journal, run_id="r").session() as session:
        return program(session, live=True)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("source", ["journal", "file"])
def test_a_finished_run_replays_without_a_call(tmp_path: Path, source: str, strict: bool) -> None:
    """From a journal, or from the file of a recorder; as often as one likes; nothing is written."""
    file = tmp_path / "run.jsonl"
    journal = Recorder(file) if source == "file" else Journal(SqliteStore(tmp_path / "run.db"))
    first = recorded(journal)
    before = list(journal.history("r"))
    replayer = Replayer(
        file if source == "file" else journal, None if source == "file" else "r", strict=strict
    )
    for run_id in ("r", None):  # whatever the session is called
        agent = Orchestrator("role", "phase", journal=replayer, run_id=run_id)
        with agent.session() as session:
            assert program(session, live=False) == first
    assert list(journal.history("r")) == before
    assert replayer.run("r").state == "completed"
    journal.store.close()


def test_steps_end_in_the_order_in_which_they_were_recorded() -> None:
    """Three threads, whose steps ended in another order than they began: each replay gives the same one."""
    journal, gates = Journal(MemoryStore()), [threading.Event() for _ in range(4)]
    order = [2, 0, 1]

    def one(run: object, n: int, live: bool, ended: list[int]) -> None:
        def effect() -> int:
            assert gates[order.index(n)].wait(30)
            return n * 10

        got = run.step(f"k{n}", effect if live else never, on_record=lambda step: ended.append(n))  # type: ignore[attr-defined]
        assert got == n * 10

    with journal.open("r") as run:
        threads = [threading.Thread(target=one, args=(run, n, True, [])) for n in range(3)]
        for thread in threads:
            thread.start()
        for place, n in enumerate(order):
            gates[place].set()
            threads[n].join(30)
    for starts in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        ended: list[int] = []
        with Replayer(journal, "r").open() as replay:
            threads = [threading.Thread(target=one, args=(replay, n, False, ended)) for n in starts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert ended == order


def test_tasks_end_in_the_order_in_which_they_were_recorded() -> None:
    """The same for tasks on one loop, in virtual time."""
    journal, waits = Journal(MemoryStore()), {"a": 3.0, "b": 1.0, "c": 2.0}

    async def life(opened: object, live: bool, ended: list[str]) -> None:
        async def effect(name: str) -> str:
            assert live
            await asyncio.sleep(waits[name])
            return name

        async def one(name: str) -> None:
            assert await opened.astep(name, lambda: effect(name)) == name  # type: ignore[attr-defined]
            ended.append(name)

        async with asyncio.TaskGroup() as group:
            for name in waits:
                group.create_task(one(name))

    first: list[str] = []
    with journal.open("r") as run:
        virtual(life(run, True, first))
    again: list[str] = []
    with Replayer(journal, "r").open() as replay:
        virtual(life(replay, False, again))
    assert first == again == ["b", "c", "a"]


def test_a_step_waits_in_vain_for_one_that_nobody_asks_for() -> None:
    """Strict: a mismatch with both sides after its patience, in threads and tasks; lenient: no waiting."""
    journal = Journal(MemoryStore())
    with journal.open("r") as run:
        threads = [threading.Thread(target=run.step, args=(key, lambda: 1)) for key in ("a", "b")]
        for thread in threads:
            thread.start()
            thread.join(30)
    seen: list[ReplayMismatchError] = []

    def work(patience: float, strict: bool) -> None:
        replay = Replayer(journal, "r", strict=strict, patience_seconds=patience).open()
        try:
            assert replay.step("b", never) == 1
        except ReplayMismatchError as error:
            seen.append(error)

    for strict in (True, False):
        thread = threading.Thread(target=work, args=(0.01, strict))
        thread.start()
        thread.join(30)
    (error,) = seen
    assert error.recorded is not None
    assert error.asked is not None
    assert (error.recorded.key, error.asked.key) == ("a", "b")

    async def main() -> None:
        replay = Replayer(journal, "r", patience_seconds=100).open()
        replay._main = (0, 0)  # the loop of this test runs in the thread that opened it
        with pytest.raises(ReplayMismatchError, match="nobody asks"):
            await replay.astep("b", never)  # type: ignore[arg-type]

    virtual(main())


def test_strict_notices_what_changed() -> None:
    """Another step, one more, one less; both sides are in the error and its text."""
    journal = Journal(MemoryStore())
    with journal.open("r") as run:
        run.step("a", lambda: 1)
        run.step(None, lambda: 2, kind="tool", name="t", arguments={"x": 1})
    replayer = Replayer(journal, "r")
    with pytest.raises(ReplayMismatchError) as caught, replayer.open() as replay:
        replay.step("a", never)
        replay.step(None, never, kind="tool", name="t", arguments={"x": 2})
    recorded, asked = caught.value.recorded, caught.value.asked
    assert recorded is not None
    assert asked is not None
    assert recorded.arguments[:12] in str(caught.value)
    assert asked.arguments[:12] in str(caught.value)
    said = "nothing more, the program asks for step 'c'"
    with pytest.raises(ReplayMismatchError, match=said), replayer.open() as replay:
        replay.step("a", never)
        replay.step(None, never, kind="tool", name="t", arguments={"x": 1})
        replay.step("c", never)
    with (
        pytest.raises(ReplayMismatchError, match="asks for nothing more") as caught,
        replayer.open() as replay,
    ):
        replay.step("a", never)
    assert caught.value.asked is None
    with journal.open("s") as run:
        thread = threading.Thread(target=run.step, args=("p", lambda: 1))  # it has no place in line
        thread.start()
        thread.join(30)
    with pytest.raises(ReplayMismatchError), Replayer(journal, "s").open() as replay:
        replay.step("p", never, arguments={"x": 1})
    with pytest.raises(KeyError), replayer.open() as replay:  # an error of the program is not hidden
        raise KeyError


def test_lenient_gives_what_fits_best() -> None:
    """By key, by arguments, by name; what has no answer at all is still a mismatch, never a call."""
    journal = Journal(MemoryStore())
    with journal.open("r") as run:
        for n in range(3):
            run.step(None, lambda n=n: n, kind="tool", name="t", arguments={"n": n})
        run.step("own", lambda: "mine", arguments={"v": 1})
    replay = Replayer(journal, "r", strict=False).open()
    ask = lambda n: replay.step(None, never, kind="tool", name="t", arguments={"n": n})  # noqa: E731
    assert [ask(2), ask(0), ask(7)] == [2, 0, 1]
    assert replay.step("own", never, arguments={"v": 2}) == "mine"
    assert len(replay.mismatches) == 4
    with pytest.raises(ReplayMismatchError, match="nothing more"):
        ask(1)
    run = Replayer(journal, "r", strict=False).open()
    with pytest.raises(ReplayMismatchError, match="'other'"):  # another tool is no answer
        run.step(None, never, kind="tool", name="other", arguments={"n": 0})
    replay.close("completed")
    with pytest.raises(JournalError, match="closed"):
        ask(1)


def test_what_the_record_does_not_know_is_said() -> None:
    """A doubt stays a doubt, a lost result is lost, a run under way or unknown is refused."""
    journal = Journal(MemoryStore())
    run = journal.open("r")
    with pytest.raises(KeyboardInterrupt):
        run.step("pay", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(ResultNotStorableError):
        run.step("odd", object)
    with pytest.raises(RunBusyError, match="under way"):
        Replayer(journal, "r")
    run.close()
    replay = Replayer(journal, "r").open()
    with pytest.raises(InDoubtError):
        replay.step("pay", never, idempotent=True)
    with pytest.raises(ResultNotStorableError):
        replay.step("odd", never)
    with pytest.raises(JournalError, match="no such run"):
        Replayer(journal, "s")
    with pytest.raises(ValueError, match="run_id"):
        Replayer(journal)


def test_a_recording_is_whole_or_not_there(tmp_path: Path) -> None:
    """A recorder starts anew each time; a foreign or newer file is refused; a failed write leaves the old."""
    file = tmp_path / "run.jsonl"
    recorder = Recorder(file)
    for result in (1, 2):
        with recorder.open("r") as run:
            run.step("a", lambda result=result: result)
    with Replayer(file).open() as replay:
        assert replay.step("a", never) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]
    lines = file.read_text().splitlines()
    assert json.loads(lines[0]) == {"recording": 1, "run_id": "r", "state": "completed"}
    for text in (
        "",
        "{}\n",
        "[1]\n",
        lines[0] + "\n{\n",
        lines[0] + '\n{"nokey": 1}\n',
        '{"recording": 2}\n',
    ):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(JournalError, match=r"recording|format"):
            Replayer(tmp_path / "bad")
    with pytest.raises(FileNotFoundError):
        Replayer(tmp_path / "none")
