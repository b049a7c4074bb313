"""``techrevati approvals``: see what agents wait for, and say yes or no."""

from __future__ import annotations

import getpass
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.approvals import ApprovalError, Approvals
from techrevati.runtime.approvals.vocabulary import GRANTED, PENDING
from techrevati.runtime.cli import store_file
from techrevati.runtime.cli.terminal import visible
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    import argparse

P = TypeVar("P", bound="argparse.ArgumentParser")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "approvals",
        help="list, grant or deny what agents ask humans for",
        description="Lists, grants or denies the approvals in a SQLite file.",
        epilog="Exit status: 0 done, 1 it was too late or there is no such approval, 2 it could not begin.",
    )
    parser.add_argument("action", choices=["list", "grant", "deny"])
    parser.add_argument("file", metavar="FILE", help="the file of the SqliteStore")
    parser.add_argument("id", metavar="ID", nargs="?", help="which one to grant or deny")
    parser.add_argument("--by", help="who decides; the user of this machine when left out")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    problem = None
    if (options.id is None) != (options.action == "list"):
        problem = "list takes no ID" if options.action == "list" else f"{options.action} needs an ID"
    if problem is not None:
        sys.stderr.write(f"techrevati approvals: {visible(problem)}\n")
        return 2
    try:
        with store_file.opened(options.file) as store:
            approvals = Approvals(store)
            if options.action == "list":
                for one in approvals.list():
                    late = one.state in (PENDING, GRANTED) and time.time() >= one.expires_at
                    state = "expired" if late else one.state
                    line = f"{one.id}  {state}  {one.tool} {one.shown}  {one.reason}"
                    sys.stdout.write(f"{visible(line)}\n")
                return 0
            decide = approvals.grant if options.action == "grant" else approvals.deny
            decide(options.id, options.by or getpass.getuser())
            sys.stdout.write(f"{visible(options.id)}: {options.action}\n")
    except ApprovalError as error:
        sys.stderr.write(f"techrevati approvals: {visible(str(error))}\n")
        return 1
    except (StoreError, store_file.StoreFileError) as error:
        sys.stderr.write(f"techrevati approvals: {visible(str(error))}\n")
        return 2
    return 0
