"""``techrevati proof`` shows its claim with real processes, and would notice if it were false."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from techrevati.runtime.cli import main, proof
from techrevati.runtime.cli.proof import Figures
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import register_pricing
from techrevati.runtime.usage import UsageSnapshot


def figures(**changed: object) -> Figures:
    values: dict[str, object] = dict.fromkeys(("billed", "booked", "difference"), Decimal(0))
    counts = ("calls", "refused", "spared", "sent_in_vain", "doubts", "recalled", "repeated", "done")
    return Figures(**{**values, **dict.fromkeys(counts, 0), "seconds": 1.0, **changed})  # type: ignore[arg-type]


def test_the_claim_holds_and_counting_after_the_call_overspends(tmp_path: Path) -> None:
    """The whole command, with both SDKs, 24 agents, an outage and a SIGKILL."""
    kept = tmp_path / "proof"
    done = subprocess.run(
        [sys.executable, "-m", "techrevati.runtime", "proof", "--json", "--keep", kept],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
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


@pytest.mark.parametrize(
    "wrong", [{"difference": Decimal("0.000001")}, {"billed": proof.LIMIT * 2}, {"repeated": 1}]
)
def test_what_would_show_that_the_claim_is_false(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figures().holds
    monkeypatch.setattr(proof, "_result", lambda way, folder, sdks: figures(**wrong))
    assert main(["proof"]) == 1
    assert "THE CLAIM DOES NOT HOLD" in capsys.readouterr().out


def test_a_run_that_missed_the_kill_is_made_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a busy machine the agents may have ended first; three times in a row is an error, and no proof."""
    missed = iter([True, True, False, False])

    def result(way: str, folder: str, sdks: list[str]) -> Figures:
        (Path(folder) / "spend.db").touch(exist_ok=False)  # a folder of its own each time
        if next(missed):
            raise proof._MissedError("the agents did not get as far as the kill")
        return figures()

    monkeypatch.setattr(proof, "_result", result)
    assert main(["proof"]) == 0
    missed = iter([True] * proof.TRIES)
    assert main(["proof"]) == 2
    assert "did not get as far" in capsys.readouterr().err


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
