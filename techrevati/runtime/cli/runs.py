"""``techrevati runs``: the runs of a journal, with state, spend and what is in doubt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli.terminal import visible
from techrevati.runtime.journal import Journal
from techrevati.runtime.stores import SqliteStore, StoreError

if TYPE_CHECKING:
    import argparse

P = TypeVar("P", bound="argparse.ArgumentParser")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "runs",
        help="list the runs of a journal: state, spend, steps in doubt",
        description="Lists the runs in a SQLite file of a journal.",
    )
    parser.add_argument("file", metavar="FILE", help="the file of the SqliteStore")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them; returns the exit status."""
    if not Path(options.file).is_file():
        sys.stderr.write(f"techrevati runs: there is no file {visible(options.file)!r}\n")
        return 2
    try:
        with SqliteStore(options.file) as store:
            for found in Journal(store).runs():
                spent = f"${float(found.spent_picodollars / 10**12):.6f}"
                doubt = f"  in doubt: {', '.join(map(visible, found.in_doubt))}" if found.in_doubt else ""
                sys.stdout.write(
                    f"{visible(found.run_id)}  {found.state}  {found.steps} steps  {spent}{doubt}\n"
                )
    except StoreError as error:
        sys.stderr.write(f"techrevati runs: {visible(str(error))}\n")
        return 2
    return 0
