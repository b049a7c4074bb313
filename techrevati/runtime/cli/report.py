"""``techrevati report``: one page that shows what a ledger knows, for people and without a server.

The page carries everything itself: no script, no font and no picture comes from elsewhere.  Whatever comes
from the ledger or the events is escaped, and every table is bounded and says what it leaves out.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli import ledger_file
from techrevati.runtime.cli.terminal import visible
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

P = TypeVar("P", bound="argparse.ArgumentParser")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "report",
        help="write a page about a ledger: spend, budgets, doubts, circuits",
        description="Writes one HTML page, complete in itself, about the file of a SpendLedger.",
        epilog="Exit status: 0 done, 2 it could not begin.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default=ledger_file.DEFAULT, help="the ledger")
    parser.add_argument("-o", "--output", metavar="FILE", default="report.html", help="default %(default)s")
    parser.add_argument("--events", metavar="FILE", help="an events.jsonl, for the circuit breakers")
    parser.add_argument(
        "--limit",
        metavar="BUDGET=USD",
        action="append",
        default=[],
        help="a limit other than the one that the budget itself had",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, *, clock: Callable[[], float] = time.time) -> int:
    """Write the page; returns the exit status."""
    from techrevati.runtime.cli.report_page import budget_and_window, limits, page, timeline

    try:
        if os.path.exists(options.output) and os.path.samefile(options.output, options.file):
            raise ledger_file.LedgerFileError("-o is the ledger itself")
        known = limits(options.limit)
        with ledger_file.opened(options.file) as ledger:
            told = None if options.events is None else timeline(options.events)
            text = page(ledger, told, known, datetime.fromtimestamp(clock(), UTC))
            strangers = (
                known.keys() - {budget_and_window(key)[0] for key in ledger.budgets()} if known else ()
            )
        for name in sorted(strangers):
            sys.stderr.write(f"techrevati report: {visible(options.file)} has no budget {visible(name)!r}\n")
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        place = error.filename or options.output  # a write that fails does not say where
        reason = str(error) if isinstance(error, StoreError) else f"{place}: {error.strerror}"
        sys.stderr.write(f"techrevati report: {visible(reason)}\n")
        return 2
    except (ValueError, StoreError) as error:
        sys.stderr.write(f"techrevati report: {visible(str(error))}\n")
        return 2
    sys.stdout.write(f"{visible(options.output)} is written.\n")
    return 0
