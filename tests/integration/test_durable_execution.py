"""Turns inside durable steps: the engine's key is ours, and no death of the process pays a call twice."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from techrevati.runtime import InDoubtError, SpendLedger
from techrevati.runtime.chaos import NOTHING_FOUND, ChaosServer, Fault, FaultKind

ROOT = Path(__file__).parents[2]
DBOS_EXAMPLE = ROOT / "examples" / "durable_workflow.py"
LIFE_S = 60
LEASE_S = 3_600
ANSWERS = "Five open it.\nA probe closes it.\nAnn asks.\n"
DYING_ONCE_ANSWERED = """
import os, runpy, signal, sys
from openai.resources.chat.completions import Completions

plain, answered = Completions.create, []

def create(*given, **asked):
    answered.append(plain(*given, **asked))
    if len(answered) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return answered[-1]

Completions.create = create
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def life(
    server: ChaosServer, folder: Path, *, die_after: str = "", die_answered: bool = False
) -> subprocess.Popen[str]:
    """One process that starts the workflow or goes on with it.

    It dies after turn *die_after*, or when its second request is answered and nothing of that is on record.
    """
    known = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-test", "DIE_AFTER_TURN": die_after}
    program = ["-c", DYING_ONCE_ANSWERED] if die_answered else []
    return subprocess.Popen(
        [sys.executable, *program, str(DBOS_EXAMPLE), "invoice-17"],
        cwd=folder,
        env={**os.environ, **known},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIFE_S)
    return process.returncode, out, err


def assert_books_agree(server: ChaosServer, folder: Path) -> None:
    """The ledger has what the provider charges, to the last digit, and nothing is in doubt."""
    with SpendLedger(folder / "spend.db") as ledger:
        assert ledger.doubts() == []
        assert ledger.total() == server.bill.cost_usd
        assert sum(row.calls for row in ledger.by("model")) == server.bill.billed_requests


def test_a_killed_workflow_goes_on_and_pays_once(tmp_path: Path) -> None:
    """SIGKILL between our record and the engine's, in each turn: three requests, three records."""
    pytest.importorskip("dbos")
    with ChaosServer() as server:
        for number in (1, 2, 3):
            code, _, error = ended(life(server, tmp_path, die_after=str(number)))
            assert code == -signal.SIGKILL, error
            assert server.bill.requests == number
        code, out, error = ended(life(server, tmp_path))
        assert (code, out) == (0, ANSWERS), error
        assert server.bill.requests == 3
        assert_books_agree(server, tmp_path)
        code, out, error = ended(life(server, tmp_path))  # the whole workflow is on record
        assert (code, out, server.bill.requests) == (0, ANSWERS, 3), error


def assert_in_doubt_and_settled(server: ChaosServer, folder: Path, requests: int) -> None:
    """The next life sends nothing for the lost turn; its cost stands in doubt until somebody says it."""
    code, _, error = ended(life(server, folder))
    assert code == 1
    assert InDoubtError.__name__ in error
    assert server.bill.requests == requests
    # What a dead process reserved is in doubt once its lease has run out.
    with SpendLedger(folder / "spend.db", clock=lambda: time.time() + LEASE_S) as ledger:
        (doubt,) = ledger.doubts()
        ledger.resolve(doubt.key, usage=server.injected[-1].billed.snapshot())
    assert_books_agree(server, folder)


def test_a_call_whose_answer_was_lost_is_in_doubt_not_paid_again(tmp_path: Path) -> None:
    """SIGKILL after the answer came and before it is on record."""
    pytest.importorskip("dbos")
    with ChaosServer() as server:
        code, _, error = ended(life(server, tmp_path, die_answered=True))
        assert code == -signal.SIGKILL, error
        assert_in_doubt_and_settled(server, tmp_path, 2)


def test_a_call_that_was_under_way_is_in_doubt_not_paid_again(tmp_path: Path) -> None:
    """SIGKILL from outside while the provider computes."""
    pytest.importorskip("dbos")
    with ChaosServer([None, Fault(FaultKind.STALLED_STREAM, delay_s=300)]) as server:
        process = life(server, tmp_path)
        until = time.monotonic() + LIFE_S
        while server.bill.billed_requests < 2 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        code, _, error = ended(process)
        assert code == -signal.SIGKILL, error
        assert server.wait_idle()
        assert_in_doubt_and_settled(server, tmp_path, 2)


def test_an_activity_of_temporal_has_one_key_for_all_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempt 2 of an activity gets what attempt 1 put on record; another activity asks anew."""
    pytest.importorskip("temporalio")
    from dataclasses import replace

    from temporalio.testing import ActivityEnvironment

    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    durable_activity = importlib.import_module("durable_activity")

    question = [{"role": "user", "content": "What opens it? Five failures open it."}]
    with ChaosServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.chdir(tmp_path)

        def attempt(number: int, activity_id: str) -> str:
            environment = ActivityEnvironment()
            environment.info = replace(environment.info, attempt=number, activity_id=activity_id)
            answer: str = environment.run(durable_activity.turn, question)
            return answer

        first = attempt(1, "7")
        assert not first.startswith(NOTHING_FOUND)
        assert [attempt(2, "7"), attempt(3, "7")] == [first, first]
        assert server.bill.requests == 1
        assert attempt(1, "8") == first
        assert server.bill.requests == 2
        with SpendLedger(tmp_path / "spend.db") as ledger:
            (row,) = ledger.by("model")
            assert (row.calls, ledger.doubts()) == (2, [])
        assert_books_agree(server, tmp_path)
