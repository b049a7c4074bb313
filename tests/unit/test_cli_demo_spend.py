"""What the demo leaves on the books."""

from __future__ import annotations

import io
from pathlib import Path

from techrevati.runtime.cli.demo_spend import show_spend, spend_files
from techrevati.runtime.cli.tally import Tally
from techrevati.runtime.cli.terminal import Terminal
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.usage import UsageSnapshot


def tally() -> Tally:
    made = Tally()
    made.answers.append(("writer", "gpt-4o", UsageSnapshot(input_tokens=1000, output_tokens=10)))
    return made


def test_every_answer_is_on_the_books(tmp_path: Path) -> None:
    """One record for an answer, a table with its project, and a page beside the events."""
    out = io.StringIO()
    book, report = spend_files(tmp_path / "events.jsonl")
    show_spend(Terminal(out), tally(), tmp_path / "events.jsonl", "lockers")
    with SpendLedger(book) as ledger:
        (record,) = ledger.records()
    assert (record.project, record.user, record.model) == ("lockers", "writer", "gpt-4o")
    assert "lockers" in out.getvalue()
    assert "lockers" in report.read_text(encoding="utf-8")


def test_a_file_that_is_no_ledger_is_one_line(tmp_path: Path) -> None:
    """The demo's answer stands, whatever lies where its ledger should."""
    out = io.StringIO()
    (tmp_path / "spend.db").write_text("not a database" * 500)
    show_spend(Terminal(out), tally(), tmp_path / "events.jsonl", "lockers")
    assert "The spend is not on the books: " in out.getvalue()
    assert not (tmp_path / "report.html").exists()
