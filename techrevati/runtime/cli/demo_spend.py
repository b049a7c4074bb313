"""The demo's answers on the books of a ledger, and the page about it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from techrevati.runtime.cli.report_page import page, transitions
from techrevati.runtime.cli.spend import show
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from techrevati.runtime.cli.tally import Tally
    from techrevati.runtime.cli.terminal import Terminal


def spend_files(events: Path) -> tuple[Path, Path]:
    """The ledger and the page, beside the events."""
    return events.with_name("spend.db"), events.with_name("report.html")


def show_spend(terminal: Terminal, tally: Tally, events: Path, project: str) -> None:
    """Record every answer, print the sums of this ledger and write the page; trouble is one line."""
    book, report = spend_files(events)
    run = os.urandom(4).hex()
    terminal.title("Spend per project")
    try:
        with SpendLedger(book) as ledger:
            for role, model, usage in tally.answers:
                ledger.record(project=project, model=model, usage=usage, user=role, run=run)
            show(terminal, ledger.by("project", "model"))
            told = transitions(str(events)) if events.is_file() else None
            text = page(ledger, told, {}, datetime.now(UTC))
        report.write_text(text, encoding="utf-8")
    except (OSError, StoreError) as error:
        terminal.line(f"The spend is not on the books: {error}")
        return
    terminal.line(f"Every answer is on the books in {book}; {report} shows them.")
