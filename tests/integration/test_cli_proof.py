"""``techrevati proof`` shows its claim with real processes, and would notice if it were false."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.cli import main, proof
from techrevati.runtime.cli.proof import Figures
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import register_pricing


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
