"""What the demo leaves on the books."""

from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from techrevati.runtime.cli.conversation import Conversation
from techrevati.runtime.cli.demo_spend import Books, spend_files
from techrevati.runtime.cli.terminal import Terminal
from techrevati.runtime.ledger import SpendLedger

TALK = Conversation("You write.", "Question: When does the tide turn?", "When does the tide turn?")
REPLY = SimpleNamespace(usage={"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010})
DAY_S = 86_400.0


def shown(books: Books) -> str:
    out = io.StringIO()
    books.show(Terminal(out))
    return out.getvalue()


def test_every_answer_is_on_the_books(tmp_path: Path) -> None:
    """One record for a request, a table with its project, and a page beside the events."""
    book, report = spend_files(tmp_path / "events.jsonl")
    books = Books(tmp_path / "events.jsonl", "lockers")
    with books.attempt("gpt-4o", "writer", "run-1", TALK) as attempt:
        attempt.answered(REPLY)
    told = shown(books)
    books.close()
    with SpendLedger(book) as ledger:
        (record,) = ledger.records()
    assert (record.project, record.user, record.model) == ("lockers", "writer", "gpt-4o")
    assert (record.session, record.run, record.certainty) == ("run-1", books.run, "measured")
    assert (record.usage.input_tokens, record.usage.output_tokens) == (1000, 10)
    assert "lockers" in told
    assert "lockers" in report.read_text(encoding="utf-8")


def test_it_is_reserved_before_it_is_sent(tmp_path: Path) -> None:
    """A process that died while a request was under way leaves a doubt."""
    books = Books(tmp_path / "events.jsonl", "lockers")
    with books.attempt("gpt-4o", "writer", "run-1", TALK) as attempt:
        book, _ = spend_files(tmp_path / "events.jsonl")
        with SpendLedger(book, clock=lambda: time.time() + DAY_S) as later:
            (doubt,) = later.doubts()
        attempt.answered(REPLY)
    assert (doubt.about["model"], doubt.about["user"]) == ("gpt-4o", "writer")


@pytest.mark.parametrize(
    ("error", "certainty"),
    [(ConnectionResetError("lost"), "estimated"), (KeyboardInterrupt(), "estimated"), (None, "estimated")],
)
def test_an_answer_that_did_not_come_is_an_estimate(
    tmp_path: Path, error: BaseException | None, certainty: str
) -> None:
    """A lost connection, Ctrl-C, or a reply that does not say what it used: counted by what was sent."""
    books = Books(tmp_path / "events.jsonl", "lockers")
    try:
        with books.attempt("gpt-4o", "writer", "run-1", TALK) as attempt:
            if error is not None:
                raise error
            attempt.answered(SimpleNamespace(text="tides"))
    except (ConnectionResetError, KeyboardInterrupt):
        pass
    sums = books.sums()
    assert sums is not None
    assert (sums[0].calls, sums[1].calls) == (0, 1)
    assert sums[1].input_tokens > 0


def test_a_file_that_is_no_ledger_is_one_line(tmp_path: Path) -> None:
    """The demo goes on and its answer stands, whatever lies where its ledger should."""
    (tmp_path / "spend.db").write_text("not a database" * 500)
    books = Books(tmp_path / "events.jsonl", "lockers")
    with books.attempt("gpt-4o", "writer", "run-1", TALK) as attempt:
        attempt.answered(REPLY)
    assert "The spend is not on the books: " in shown(books)
    assert books.sums() is None
    books.close()
    assert not (tmp_path / "report.html").exists()
