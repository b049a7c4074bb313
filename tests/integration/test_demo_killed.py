"""The demo killed by SIGKILL and gone on with: every life is a process, and so is the endpoint.

Lives are forked from the test, which has everything loaded, and wait on a clock that only moves.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.cli import demo, dying_store
from techrevati.runtime.cli.chat_client import ChatClient
from techrevati.runtime.cli.demo_lives import Lives
from techrevati.runtime.cli.demo_program import Program
from techrevati.runtime.cli.demo_provider import Provider
from techrevati.runtime.cli.terminal import Terminal
from techrevati.runtime.journal import Journal
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.stores import SqliteStore
from techrevati.runtime.testing import FakeClock

KILLED = -signal.SIGKILL
LAST = 32  # entries of a journal nobody dies at
BOUND_S = 60.0


class Life:
    """One process of the demo: its status (-9 when it was killed), and what it wrote."""

    def __init__(self, folder: Path, *arguments: str, before: Callable[[], object] = lambda: None) -> None:
        with open(folder / "out", "w+b") as out, open(folder / "error", "w+b") as error:
            pid = os.fork()
            if pid == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(error.fileno(), 2)
                os._exit(_status(folder, arguments, before))
            self.status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            out.seek(0)
            error.seek(0)
            self.out, self.error = out.read().decode(), error.read().decode()

    def told(self, line: str) -> str:
        """What stands behind *line* at the end."""
        (found,) = re.findall(rf"^  {line} +(.*)$", self.out, re.MULTILINE)
        return found

    @property
    def doubts(self) -> list[str]:
        """How each doubt was decided."""
        return re.findall(r"^ +\w+ +in doubt +(.*)$", self.out, re.MULTILINE)


def _status(folder: Path, arguments: tuple[str, ...], before: Callable[[], object]) -> int:
    """The demo, in a process that was forked."""
    try:
        os.chdir(folder)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        before()
        parser = argparse.ArgumentParser()
        demo.add_to(parser.add_subparsers())
        clock = FakeClock()
        status = demo.run(parser.parse_args(["demo", *arguments]), sleep=clock.sleep, clock=clock)
        sys.stdout.flush()
        sys.stderr.flush()
        return status
    except BaseException:
        traceback.print_exc()
        return 99


def provider_of(folder: Path) -> Provider | None:
    """The process that plays the provider of the run in *folder*."""
    with SqliteStore(folder / "runs.db") as store:
        found = store.load("demo")
    facts = None if found is None else json.loads(found.value)["provider"]
    return None if facts is None else Provider(facts)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in demo.KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    if (tmp_path / "demo-bill.jsonl").is_file() and (provider := provider_of(tmp_path)) is not None:
        provider.stop()


def check_end(folder: Path, life: Life, lives: int) -> None:
    """Answered, published once, and the provider's bill is what our ledger says, to the last digit."""
    assert (life.status, life.error) == (0, "")
    assert f", {lives} lives\n" in life.out
    assert life.told("Difference") == "$0"
    answers = (folder / "demo-answers.md").read_text(encoding="utf-8")
    assert answers.count("## Why did the lockers refuse") == 1
    assert "new certificate" in answers
    rows = [json.loads(line) for line in (folder / "demo-bill.jsonl").read_text().splitlines()]
    bill = sum(Decimal(row["cost_usd"]) for row in rows)
    with SpendLedger(folder / "spend.db", read_only=True) as ledger:
        records = list(ledger.records())
    assert sum(record.cost or Decimal(0) for record in records) == bill > 0
    assert len(records) == len(rows)
    assert all(record.certainty == "measured" for record in records)
    assert life.told("Provider's bill").startswith(f"${bill:f} ")
    provider = provider_of(folder)
    assert provider is not None
    assert not provider.is_alive()


@pytest.mark.parametrize(
    ("kill_at", "decided", "replayed", "run"),
    [
        (1, [], 0, 16),
        (8, ["researcher, turn 2: the provider has its answer, paid for once; taken from there"], 3, 12),
        (LAST, ["the step 'publish': the answer is in demo-answers.md; not repeated"], 15, 0),
    ],
    ids=["first", "paid", "last"],
)
def test_a_killed_demo_goes_on(
    folder: Path, kill_at: int, decided: list[str], replayed: int, run: int
) -> None:
    """What happened is answered from the journal, what is in doubt is told and decided, nothing is paid or
    published twice."""
    first = Life(folder, "--kill-at", str(kill_at))
    assert (first.status, first.error) == (KILLED, "")
    assert f"SIGKILL at entry {kill_at} of the journal" in first.out
    assert first.out.endswith("Go on with: techrevati demo --resume\n")
    second = Life(folder, "--resume")
    check_end(folder, second, 2)
    assert second.doubts == decided
    assert second.told("Steps replayed").startswith(f"{replayed} ")
    assert (second.told("Steps run"), second.told("In doubt")) == (str(run), str(len(decided)))
    assert second.told("Provider's bill") == "$0.0047848  14 requests, over all lives"
    third = Life(folder, "--resume")
    assert (third.status, third.out) == (2, "")
    assert re.fullmatch(r"techrevati demo: run demo-\w+ is finished; without .*\n", third.error)


def test_killed_again_and_again(folder: Path) -> None:
    """Lives that die at their sixth entry: in the end all steps are done, and none was paid twice."""
    life, lives = Life(folder, "--kill-at", "6"), 1
    doubts: list[str] = []
    while life.status == KILLED:
        assert lives < 2 * LAST
        life, lives = Life(folder, "--resume", "--kill-at", "6"), lives + 1
        doubts += life.doubts
    check_end(folder, life, lives)
    with SqliteStore(folder / "runs.db") as store:
        steps = [step for run in Journal(store).runs() for step in Journal(store).steps(run.run_id)]
        states = {run.run_id.partition("/")[2]: run.state for run in Journal(store).runs()}
    assert states == dict.fromkeys(["", "researcher", "writer", "editor"], "completed") | {
        "abridger": "failed"
    }
    assert {step.state for step in steps} == {"done"}
    turns = [one.partition(": ")[2] for one in doubts if ", turn " in one]
    assert set(turns) == {"the provider has its answer, paid for once; taken from there"}
    tools = [one for one in doubts if ", tool " in one]
    assert tools
    assert all(one.endswith(" only reads; done again") for one in tools)


def test_an_entry_that_is_never_made(folder: Path) -> None:
    """The demo says so, and how many there were."""
    life = Life(folder, "--kill-at", str(LAST + 1))
    assert life.status == 0
    assert f"--kill-at {LAST + 1} was never reached: this life made {LAST} entries" in life.out
    assert (life.told("Steps run"), life.told("Difference")) == ("16", "$0")


def test_a_request_under_way_is_found_with_the_provider(folder: Path) -> None:
    """Killed from outside with an answer in the hand and a reservation open, which is settled by what the
    provider stored, and the answer is taken from there."""

    def die_with_the_answer() -> None:
        posted = ChatClient._posted

        def last(self: ChatClient, body: bytes) -> Any:
            posted(self, body)
            dying_store.die()

        ChatClient._posted = last  # type: ignore[method-assign]

    assert Life(folder, "--kill-at", "99", before=die_with_the_answer).status == KILLED
    with SpendLedger(folder / "spend.db", read_only=True) as ledger:
        assert (len(ledger.leases()), len(list(ledger.records()))) == (1, 0)
    life = Life(folder, "--resume")
    check_end(folder, life, 2)
    assert life.doubts == ["researcher, turn 1: the provider has its answer, paid for once; taken from there"]


def test_a_provider_that_forgot(folder: Path) -> None:
    """When its process is gone, too, nobody can look an answer up: it is asked for again, and that is told;
    the bill of both is what the ledger says."""
    Life(folder, "--kill-at", "4")
    provider = provider_of(folder)
    assert provider is not None
    os.kill(provider.facts["pid"], signal.SIGKILL)
    end_s = time.monotonic() + BOUND_S
    while provider.is_alive():
        assert time.monotonic() < end_s
    life = Life(folder, "--resume")
    assert life.doubts == [
        "researcher, turn 1: nobody can look it up; asked again, so that it may be paid twice"
    ]
    assert "Its endpoint had ended and begins again" in life.out
    check_end(folder, life, 2)


def test_through_an_sdk(folder: Path) -> None:
    """The guard keeps the books, and what the provider stored is found as well."""
    pytest.importorskip("openai").OpenAI(api_key="none").close()  # loads what a life would load
    assert Life(folder, "--sdk", "openai", "--kill-at", "4").status == KILLED
    life = Life(folder, "--resume")
    assert (life.status, life.error) == (0, "")
    assert life.doubts == ["researcher, turn 1: the provider has its answer, paid for once; taken from there"]
    assert "1 request on our books is estimated: the answer was lost" in life.told("Difference")


@pytest.mark.parametrize(("sdk", "stores"), [(None, True), ("openai", True), ("anthropic", False)])
def test_who_stores_answers(folder: Path, sdk: str | None, stores: bool) -> None:
    """OpenAI's API has it, Anthropic's has not: then a turn in doubt is asked again, and that is told."""
    program = Program(None, None, True, sdk, None, None, "Why?", "files", "orders")
    with Lives(folder / "events.jsonl", program, Terminal(sys.stdout), resume=False, kill_at=None) as life:
        life.begin("a.md")
        assert (life.about("editor", "turn 1") is not None) is stores
        assert life.answered("editor", "turn 1") is None
        assert life.used_by("request") is None
        (doubt,) = life._doubts
        assert ("asked again, so that it may be paid twice" in doubt) is not stores


def test_a_real_endpoint(folder: Path) -> None:
    """Its bill is not ours to know; what is in doubt is asked again."""
    with ChaosServer() as server:
        command = [sys.executable, "-m", "techrevati.runtime", "demo"]
        given = ["--base-url", server.base_url, "--model", "chaos-small", "--kill-at", "4"]
        for more, status in ((given, KILLED), (["--resume"], 0)):
            done = subprocess.run(
                [*command, *more], cwd=folder, capture_output=True, text=True, timeout=BOUND_S, check=False
            )
            assert (done.returncode, done.stderr) == (status, "")
        server.wait_idle()
        assert server.bill.billed_requests == 1 + done.stdout.count(" usage  ")
    assert "researcher, turn 1: nobody can look it up; asked again" in done.stdout
    assert "Provider's bill   known to the provider alone" in done.stdout


# --- what cannot be gone on with ---------------------------------------------------------------------------


def refused(folder: Path, *arguments: str) -> str:
    """The one line that says why."""
    life = Life(folder, *arguments)
    assert (life.status, life.out) == (2, "")
    assert life.error.startswith("techrevati demo: ")
    assert life.error.count("\n") == 1
    return life.error


def test_nothing_to_resume(folder: Path) -> None:
    """No journal, a journal of something else, and a file that is none."""
    assert "there is nothing to resume: no runs.db here" in refused(folder, "--resume")
    with SqliteStore(folder / "runs.db") as store, Journal(store).open("other") as run:
        run.step("a", lambda: 1)
    assert "runs.db has no run of the demo" in refused(folder, "--resume")
    (folder / "runs.db").write_bytes(b"no database at all, but long enough to be looked at" * 50)
    assert "there is nothing to resume: " in refused(folder, "--resume")


@pytest.mark.parametrize("number", ["0", "-3"])
def test_an_entry_that_cannot_be(folder: Path, number: str) -> None:
    """Entries are counted from 1."""
    assert "--kill-at must be an integer >= 1" in refused(folder, "--kill-at", number)


def test_a_changed_program_is_refused(folder: Path) -> None:
    """Another question, other files, another SDK: said in words; as it was, the run can still be resumed."""
    texts = folder / "texts"
    texts.mkdir()
    (texts / "tides.md").write_text("The tide turns at noon.", encoding="utf-8")
    given = ["texts", "--question", "When does the tide turn?"]
    assert Life(folder, *given, "--kill-at", "3").status == KILLED
    assert "the question changed since" in refused(folder, "--resume", "--question", "Who is it?")
    (texts / "more.md").write_text("Boats wait.", encoding="utf-8")
    assert "the files of the folder changed since" in refused(folder, "--resume")
    (texts / "more.md").unlink()
    assert "--sdk changed since" in refused(folder, "--resume", "--sdk", "openai")
    life = Life(folder, "--resume")
    assert (life.status, life.error) == (0, "")


def test_another_process_has_the_run(folder: Path) -> None:
    """Neither gone on with nor pushed aside while its process lives."""
    Life(folder, "--kill-at", "3")
    with SqliteStore(folder / "runs.db") as store:
        (name,) = [run.run_id for run in Journal(store).runs() if "/" not in run.run_id]
        with Journal(store).open(name):
            assert f"run {name} is under way in another process" in refused(folder, "--resume")
            assert f"run {name} is under way here in another process" in refused(folder, "--kill-at", "1")


def test_a_new_run_ends_the_provider_of_the_old_one(folder: Path) -> None:
    """Nobody will resume that one."""
    Life(folder, "--kill-at", "3")
    old = provider_of(folder)
    assert old is not None
    assert old.is_alive()
    Life(folder, "--kill-at", "1")
    assert not old.is_alive()
