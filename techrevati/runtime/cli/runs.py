"""``techrevati runs``: the runs of a journal, with state, spend and what is in doubt; answers for them."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli.terminal import visible
from techrevati.runtime.journal import Journal, JournalError
from techrevati.runtime.stores import SqliteStore, StoreError

if TYPE_CHECKING:
    import argparse
    from fractions import Fraction

P = TypeVar("P", bound="argparse.ArgumentParser")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "runs",
        help="list the runs of a journal: state, spend, steps in doubt; answer one that waits",
        description="Lists the runs in a SQLite file of a journal, or answers the question of one of them.",
        usage="techrevati runs FILE [--json]\n       techrevati runs answer FILE RUN TEXT [--key KEY]",
    )
    parser.add_argument("words", metavar="FILE", nargs="+", help="the file of the SqliteStore")
    parser.add_argument("--json", action="store_true", help="as one JSON array, money in US dollars as text")
    parser.add_argument("--key", help="which question, when a run waits for several answers")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List or answer; returns the exit status: 1 when there is nothing to answer, 2 for a bad command."""
    words: list[str] = options.words
    answers = words[0] == "answer" and len(words) > 1
    if len(words) != (4 if answers else 1):
        return _said("expected FILE, or: answer FILE RUN TEXT", 2)
    file = words[1] if answers else words[0]
    if not Path(file).is_file():
        return _said(f"there is no file {file!r}", 2)
    try:
        with SqliteStore(file) as store:
            journal = Journal(store)
            if answers:
                journal.answer(words[2], words[3], key=options.key)
                sys.stdout.write(f"{visible(words[2])} goes on with it in its next life\n")
            elif options.json:
                _write_json(journal)
            else:
                _write_lines(journal)
    except JournalError as error:
        return _said(str(error), 1)
    except StoreError as error:
        return _said(str(error), 2)
    return 0


def _said(what: str, status: int) -> int:
    sys.stderr.write(f"techrevati runs: {visible(what)}\n")
    return status


def _write_lines(journal: Journal) -> None:
    found = None
    for found in journal.runs():
        spent = f"${float(found.spent_picodollars / 10**12):.6f}"
        doubt = f"  in doubt: {', '.join(map(visible, found.in_doubt))}" if found.in_doubt else ""
        sys.stdout.write(f"{visible(found.run_id)}  {found.state}  {found.steps} steps  {spent}{doubt}\n")
    if found is None:
        _said("no runs are in this file", 0)


def _write_json(journal: Journal) -> None:
    import json

    found = [
        {
            "run_id": run.run_id,
            "state": run.state,
            "steps": run.steps,
            "spent_usd": f"{_usd(run.spent_picodollars):f}",
            "in_doubt": list(run.in_doubt),
        }
        for run in journal.runs()
    ]
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _usd(amount: Fraction) -> Decimal:
    # To 28 digits.
    return Decimal(amount.numerator) / Decimal(amount.denominator) / Decimal(10**12)
