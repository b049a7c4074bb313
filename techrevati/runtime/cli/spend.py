"""``techrevati spend``: what every project spent, from the file of a ``SpendLedger``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli import ledger_file
from techrevati.runtime.cli.terminal import Terminal, visible
from techrevati.runtime.ledger.report import unpriced_note
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from techrevati.runtime.ledger import SpendReport

_WIDEST = 48
_ADVICE = "Next time: register_pricing(), or PriceBook.load() of a newer file."
P = TypeVar("P", bound="argparse.ArgumentParser")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "spend",
        help="what every project spent",
        description="Sums the calls in the file of a SpendLedger. Nothing is written.",
        epilog="Exit status: 0 done, 2 it could not begin.",
    )
    parser.add_argument("--ledger", metavar="FILE", default=ledger_file.DEFAULT, help="default %(default)s")
    parser.add_argument(
        "--by",
        metavar="NAMES",
        default="project,model",
        help="of project, model, provider, user, certainty, day, month, hour, session, run, source, failure; "
        "default %(default)s",
    )
    parser.add_argument("--since", metavar="WHEN", help="90m, 24h, 7d, 2w or a date in UTC")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="JSON; money is text, so that no digit is lost")
    form.add_argument("--csv", action="store_true", help="CSV")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, *, clock: Callable[[], float] = time.time) -> int:
    """Print the sums; returns the exit status."""
    names = [name.strip() for name in options.by.split(",")]
    try:
        since = None if options.since is None else ledger_file.since(options.since, clock)
        with ledger_file.opened(options.ledger) as ledger:
            report = ledger.by(*names, since=since)
            unpriced = ledger.unpriced(since=since)
    except (ValueError, StoreError) as error:
        sys.stderr.write(f"techrevati spend: {visible(str(error))}\n")
        return 2
    if options.json:
        _json(report, unpriced)
        return 0
    note = f"{visible(unpriced_note(unpriced))} {_ADVICE}" if unpriced else ""
    if options.csv:
        _csv(report)
        if note:  # beside the data, not in it
            sys.stderr.write(f"techrevati spend: {note}\n")
        return 0
    terminal = Terminal(sys.stdout)
    show(terminal, report)
    if note:
        terminal.line(note)
    return 0


def show(terminal: Terminal, report: SpendReport) -> None:
    """The sums as a table with its total."""
    rows = [[_short(visible(cell)) or "-" for cell in row] for row in report.rows()]
    if not rows:
        terminal.line("No calls are on the books.")
        return
    calls, tokens = sum(group.calls for group in report), sum(group.tokens for group in report)
    width = len(report.names)
    total = ["total", *[""] * (width - 1), str(calls), str(tokens), format(report.total, "f")]
    table = [[*report.names, "calls", "tokens", "USD"], *rows, total]
    widths = [max(len(row[n]) for row in table) for n in range(width + 3)]
    for number, row in enumerate(table):
        cells = [cell.ljust(widths[n]) if n < width else cell.rjust(widths[n]) for n, cell in enumerate(row)]
        # Not wrapped: a cell belongs under its heading.
        terminal.line("", head="  ".join(cells))
        if number in (0, len(table) - 2):
            terminal.line("", head="-" * (sum(widths) + 2 * (len(widths) - 1)))


def _short(cell: str) -> str:
    """A name that leaves room for the numbers; whole names are in JSON and CSV."""
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…"


def _json(report: SpendReport, unpriced: Mapping[str, int]) -> None:
    import json

    groups = [
        {
            **dict(zip(report.names, row, strict=False)),
            "calls": group.calls,
            "tokens": group.tokens,
            "cost_usd": row[-1],
        }
        for group, row in zip(report, report.rows(), strict=True)
    ]
    whole = {"groups": groups, "total_usd": format(report.total, "f"), "unpriced_calls": unpriced}
    sys.stdout.write(json.dumps(whole, indent=2) + "\n")


def _csv(report: SpendReport) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*report.names, "calls", "tokens", "cost_usd"])
    for row in report.rows():
        writer.writerow([_cell(text) for text in row])


def _cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: names come from outside."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
