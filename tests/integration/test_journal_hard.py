"""Journals between processes and on bad disks: real processes, real limits, real SQLite errors."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from techrevati.runtime.journal import (
    InDoubtError,
    Journal,
    ResultNotStorableError,
    RunBusyError,
    owner,
)
from techrevati.runtime.stores import SqliteStore, StoreUnavailableError

SPAWN = multiprocessing.get_context("spawn")
NOBODY = 65534
STEPS = 4
WRITES = 1 + 2 * STEPS + 1  # open, an intent and an outcome each, close


def hold(path: str, lease_seconds: float, elsewhere: bool, pipe: Any) -> None:
    """Open the run, finish one step, begin another, and stay in it."""
    if elsewhere:
        owner._host = lambda: "another machine"
    journal = Journal(SqliteStore(path), lease_seconds=lease_seconds)
    with journal.open("r") as run:
        run.step("first", lambda: os.getpid())

        def stay() -> None:
            pipe.send("inside")
            pipe.recv()

        run.step("second", stay)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same machine", "another machine"])
def test_two_processes_on_one_run(tmp_path: Path, elsewhere: bool) -> None:
    """The second is refused while the first lives, even past its first lease; after a SIGKILL it goes on: at
    once where the death can be seen, otherwise when the lease has ended."""
    path, lease_s = str(tmp_path / "run.db"), 0.6
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=hold, args=(path, lease_s, elsewhere, theirs))
    process.start()
    assert ours.recv() == "inside"
    with SqliteStore(path) as store:
        journal = Journal(store)
        before = json.loads(store.load("journal/run/r").value)["until"]  # type: ignore[union-attr]
        with pytest.raises(RunBusyError) as caught:
            journal.open("r")
        assert caught.value.retry_after is not None
        assert caught.value.retry_after <= lease_s
        assert journal.run("r").state == "running"
        end = time.monotonic() + 60
        while json.loads(store.load("journal/run/r").value)["until"] == before:  # type: ignore[union-attr]
            assert time.monotonic() < end
            time.sleep(0.02)  # it is renewed by the process that lives
        with pytest.raises(RunBusyError):
            journal.open("r")
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        if elsewhere:
            late = Journal(store, clock=lambda: time.time() + lease_s)
            assert late.run("r").state == "interrupted"
        else:
            late = journal
        with late.open("r") as run:
            assert run.step("first", lambda: 0) == process.pid
            with pytest.raises(InDoubtError):
                run.step("second", lambda: None)
        ours.close()


def die_in_a_step(path: str) -> None:
    """Finish one step, and be killed in the next."""
    with Journal(SqliteStore(path)).open("r") as run:
        run.step("first", os.getpid)
        run.step("second", lambda: os.kill(os.getpid(), signal.SIGKILL))


def resume(path: str, effects: str, ready: Any, tried: Any, told: Any) -> None:
    """Take the run over, at the same moment as others; who has it goes on once all have tried."""

    def leave_a_line() -> int:
        with open(effects, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        return os.getpid()

    with SqliteStore(path) as store:
        journal = Journal(store)
        ready.wait(60)
        try:
            run = journal.open("r")
        except RunBusyError:
            tried.wait(60)
            told.put((os.getpid(), "busy", None))
            return
        with run:
            tried.wait(60)
            first = run.step("first", lambda: 0)
            second = run.step("second", leave_a_line, verify=lambda: False)
            told.put((os.getpid(), "owner", (first, second)))


def test_processes_that_resume_one_run_at_once(tmp_path: Path) -> None:
    """Three of them, after a SIGKILL: one has it, two are refused; no step runs twice."""
    path, effects = str(tmp_path / "run.db"), tmp_path / "effects"
    dead = SPAWN.Process(target=die_in_a_step, args=(path,))
    dead.start()
    dead.join(60)
    assert dead.exitcode == -signal.SIGKILL
    ready, tried, told = SPAWN.Barrier(3), SPAWN.Barrier(3), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=resume, args=(path, str(effects), ready, tried, told)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    said = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    ((owner_pid, _, results),) = (one for one in said if one[1] == "owner")
    assert results == (dead.pid, owner_pid)
    assert effects.read_text(encoding="utf-8") == f"{owner_pid}\n"
    with SqliteStore(path) as store:
        assert Journal(store).run("r").state == "completed"
        assert [step.attempt for step in Journal(store).steps("r")] == [1, 2]


class BadDisk(SqliteStore):
    """From its n-th write on the disk is full, or read-only."""

    def __init__(self, path: Path, bad_at: int, how: str) -> None:
        super().__init__(path, durability="batched")
        self.path, self.left, self.how = path, bad_at, how

    def update(self, keys: Any, decide: Callable[..., Any], *, durable: bool = True) -> Any:
        """One write."""
        self.left -= 1
        if self.left == 0:
            if self.how == "full":
                size = os.stat(f"{self.path}-wal").st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            elif self.how == "permissions":
                self._file.close()  # what is open stays writable
                for path in self.path.parent.glob("run.db*"):
                    path.chmod(0o444)
                self.path.parent.chmod(0o555)
            else:
                self._file.read(lambda connection: None)  # it is open
                assert self._file._connection is not None
                self._file._connection.execute("PRAGMA query_only=ON")
        return super().update(keys, decide, durable=durable)


def live(folder: Path, bad_at: int, how: str) -> dict[str, Any]:
    """One life on a disk that goes bad; what it saw."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if how == "permissions" and os.geteuid() == 0:  # root may write everything
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    seen: dict[str, Any] = {"results": {}, "errors": []}
    store = BadDisk(folder / "run.db", bad_at, how)
    try:
        with Journal(store, lease_seconds=600).open("r") as run:
            for n in range(STEPS):
                key = f"k{n}"

                def act(key: str = key) -> str:
                    with (folder / "world" / "effects").open("a") as effects:
                        effects.write(f"{key}\n")
                    return f"result of {key}"

                try:
                    seen["results"][key] = run.step(key, act)
                except ResultNotStorableError as lost:
                    seen["results"][key] = lost.result
                    seen["in_doubt"] = lost.in_doubt
                    raise
    except (StoreUnavailableError, ResultNotStorableError) as error:
        while error is not None:
            seen["errors"].append([type(error).__name__, str(error), getattr(error, "cause", None)])
            error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return seen


@pytest.mark.parametrize("how", ["full", "read-only", "permissions"])
def test_a_bad_disk_at_every_write(how: str) -> None:
    """The error says what is wrong; no effect and no result is lost; nothing is done twice afterwards."""
    with TemporaryDirectory() as place:  # pytest's own folders are for their user alone
        os.chmod(place, 0o755)
        bad_disk_at_every_write(Path(place), how)


def bad_disk_at_every_write(place: Path, how: str) -> None:
    """One run for each of its writes."""
    for bad_at in range(1, WRITES + 1):
        folder = place / str(bad_at)
        (folder / "world").mkdir(parents=True)
        SqliteStore(folder / "run.db").close()
        if os.geteuid() == 0:
            for path in (folder, folder / "world", *folder.glob("run.db*")):
                os.chown(path, NOBODY, NOBODY)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, json.dumps(live(folder, bad_at, how)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            seen = json.loads(pipe.read())
        os.waitpid(pid, 0)
        folder.chmod(0o755)
        for path in folder.glob("run.db*"):
            path.chmod(0o644)

        kinds = [kind for kind, _, _ in seen["errors"]]
        at_outcome = bad_at % 2 == 1 and 1 < bad_at < WRITES
        assert "StoreUnavailableError" in kinds, bad_at
        assert (kinds[0] == "ResultNotStorableError" or "ResultNotStorableError" in kinds) is at_outcome
        causes = {cause for _, _, cause in seen["errors"]}
        assert causes & {"full", "read-only", "cannot open", "input/output"}, seen
        effects = folder / "world" / "effects"
        done = effects.read_text().split() if effects.exists() else []
        assert seen["results"] == {key: f"result of {key}" for key in done}  # whatever happened was returned
        assert len(done) == min(STEPS, (bad_at - 1) // 2), bad_at

        with SqliteStore(folder / "run.db") as store, Journal(store).open("r") as run:
            for n in range(STEPS):
                key = f"k{n}"
                if at_outcome and key == done[-1]:
                    with pytest.raises(InDoubtError):
                        run.step(key, lambda: pytest.fail("done twice"))
                elif key in done:
                    assert run.step(key, lambda: pytest.fail("done twice")) == f"result of {key}"
                else:
                    assert run.step(key, lambda: "new") == "new"
