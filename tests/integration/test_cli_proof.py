"""``techrevati proof`` shows its claim with real processes, and would notice if it were false."""

from __future__ import annotations

import json
import multiprocessing
import re
import signal
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from techrevati.runtime.cli import main, proof, proof_processes
from techrevati.runtime.cli.proof import Figures
from techrevati.runtime.cli.proof_processes import AgentProcess, Crew, ProofError
from techrevati.runtime.cli.proof_worker import GUARDED, Plan
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import register_pricing
from techrevati.runtime.usage import UsageSnapshot


def figures(**changed: object) -> Figures:
    values: dict[str, object] = dict.fromkeys(("billed", "booked", "difference"), Decimal(0))
    counts = ("calls", "refused", "spared", "sent_in_vain", "doubts", "recalled", "repeated", "done")
    return Figures(**{**values, **dict.fromkeys(counts, 0), "seconds": 1.0, **changed})  # type: ignore[arg-type]


def test_the_claim_holds_and_counting_after_the_call_overspends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command, with both SDKs, 24 agents, an outage and a SIGKILL; its processes are started
    once for both runs, as that takes longer than all else."""
    kept = tmp_path / "proof"
    started: list[str] = []

    class Counted(AgentProcess):
        def __init__(self, context: Any, sdk: str) -> None:
            super().__init__(context, sdk)
            started.append(sdk)

    monkeypatch.setattr(proof_processes, "AgentProcess", Counted)
    status = main(["proof", "--json", "--keep", str(kept)])
    said = capsys.readouterr()
    assert status == 0, said
    assert len(started) == proof.PROCESSES + 2  # and those that took the places of the two that were killed
    assert set(started) == {"openai", "anthropic"}
    found = json.loads(said.out)
    ours, theirs = found["guarded"], found["naive"]
    assert Decimal(ours["billed"]) == Decimal(ours["booked"]) > 0
    assert Decimal(ours["difference"]) == Decimal(ours["over"]) == ours["repeated"] == 0
    assert Decimal(ours["billed"]) <= Decimal(ours["limit"])
    assert ours["refused"] > 0
    assert ours["doubts"] > 0  # it was killed with calls under way
    assert Decimal(theirs["over"]) > 0
    assert Decimal(theirs["difference"]) > 0  # what was killed is on nobody's books
    register_pricing(proof.MODEL, proof.PRICES)
    with SpendLedger(kept / "guarded" / "spend.db") as ledger:
        assert ledger.total() == Decimal(ours["booked"])
        assert ledger.doubts() == []


def test_the_readme_shows_the_table_as_it_is_printed() -> None:
    """Its rows, in their order; and figures for which the claim holds."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```text\n")[2].partition("```")[0].splitlines()
    printed = [line for line in proof._told(figures(), figures(), ["openai"]) if line.startswith("  ")]
    labels = [re.split(r" {2,}", line.strip())[0] for line in printed]
    assert [re.split(r" {2,}", line.strip())[0] for line in shown] == labels
    values = {line[2:50].strip(): re.split(r" {2,}", line.strip())[1:] for line in shown[1:]}
    assert values["the provider's bill"][0] == values["our books"][0]
    assert values["difference, agent by agent"][0] == "$0"
    assert values["steps repeated after the kill"][0] == "0"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started."""
    monkeypatch.setattr(proof, "Crew", lambda sdks, processes, spares: SimpleNamespace(close=lambda: None))


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    "wrong", [{"difference": Decimal("0.000001")}, {"billed": proof.LIMIT * 2}, {"repeated": 1}]
)
def test_what_would_show_that_the_claim_is_false(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figures().holds
    monkeypatch.setattr(proof, "_result", lambda way, folder, crew: figures(**wrong))
    assert main(["proof"]) == 1
    assert "THE CLAIM DOES NOT HOLD" in capsys.readouterr().out


@pytest.mark.usefixtures("nobody")
def test_a_run_that_missed_the_kill_is_made_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a busy machine the agents may have ended first; three times in a row is an error, and no proof."""
    missed = iter([True, True, False, False])

    def result(way: str, folder: str, crew: Crew) -> Figures:
        (Path(folder) / "spend.db").touch(exist_ok=False)  # a folder of its own each time
        if next(missed):
            raise proof._MissedError("the agents did not get as far as the kill")
        return figures()

    monkeypatch.setattr(proof, "_result", result)
    assert main(["proof"]) == 0
    missed = iter([True] * proof.TRIES)
    assert main(["proof"]) == 2
    assert "did not get as far" in capsys.readouterr().err


def test_a_process_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    missing = AgentProcess(context, "no_such_sdk")
    with pytest.raises(ProofError, match=r"an agent did not start: .*no_such_sdk"):
        missing.wait_ready()
    missing.kill()
    process = AgentProcess(context, "json")  # has no client
    process.tell(Plan(GUARDED, str(tmp_path), "", "", "1", 1, [0]))
    with pytest.raises(ProofError, match=r"an agent failed: .*no attribute"):
        process.wait_done()
    with pytest.raises(ProofError, match="an agent failed: its process ended"):
        process.wait_done()
    assert process.seems_done()  # so nobody waits for it
    process.kill()


def test_of_a_crew_one_is_killed_and_another_takes_its_place() -> None:
    crew = Crew(["json", "csv"], 2, spares=1)
    with closing(crew):
        first = crew.processes[0]
        spare = crew.replace(0)
        assert crew.processes[0] is spare is not first
        spare.wait_ready()
        assert first._process.exitcode == -signal.SIGKILL
    assert all(process._process.exitcode is not None for process in crew.processes)


class Books:
    """A ledger with one record and one doubt of the same agent."""

    def __init__(self, booked: UsageSnapshot) -> None:
        self.booked = booked
        self.settled: list[UsageSnapshot | None] = []

    def leases(self) -> list[object]:
        return []

    def doubts(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(key="k", about={"user": "worker-00"})]

    def records(self, user: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(usage=self.booked)]

    def resolve(self, key: str, *, usage: UsageSnapshot | None = None, not_sent: bool = False) -> None:
        self.settled.append(usage)


@pytest.mark.parametrize(
    ("booked", "settled"),
    [
        pytest.param(UsageSnapshot(10, 5), UsageSnapshot(12, 0), id="the request that nobody booked"),
        pytest.param(UsageSnapshot(10, 6), UsageSnapshot(10, 5), id="a wrong record is not made up for"),
    ],
)
def test_a_doubt_is_one_request_and_hides_no_other_difference(
    booked: UsageSnapshot, settled: UsageSnapshot
) -> None:
    books = Books(booked)
    listed = {"worker-00": [UsageSnapshot(10, 5), UsageSnapshot(12, 0)]}
    assert proof._resolved(books, listed) == 1  # type: ignore[arg-type]
    assert books.settled == [settled]


def test_without_an_sdk_it_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proof, "find_spec", lambda name: None)
    assert main(["proof"]) == 2
    assert "pip install openai anthropic" in capsys.readouterr().err


def test_a_kept_proof_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "guarded").mkdir()
    assert main(["proof", "--keep", str(tmp_path)]) == 2
    assert "choose another folder" in capsys.readouterr().err
