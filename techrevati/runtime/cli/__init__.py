"""The ``techrevati`` command, also ``python -m techrevati.runtime``: one small module for each command.

A command writes what it has to say to *stdout*, one clear line to *stderr* when it cannot do its work, and
returns the exit status.  No traceback ever reaches the user of a command.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from techrevati.runtime.cli.terminal import OutputClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main"]

INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the whole usage is what ``--help`` is for."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    from techrevati import runtime
    from techrevati.runtime.cli import (
        approvals,
        chaos,
        demo,
        doubts,
        events,
        prices,
        proof,
        replay,
        report,
        run,
        runs,
        spend,
    )

    parser = _Parser(prog="techrevati", description="A reliability toolkit for LLM agent loops.")
    parser.add_argument("--version", action="version", version=f"techrevati-runtime {runtime.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    demo.add_to(commands)
    run.add_to(commands)
    chaos.add_to(commands)
    prices.add_to(commands)
    proof.add_to(commands)
    runs.add_to(commands)
    replay.add_to(commands)
    events.add_to(commands)
    approvals.add_to(commands)
    spend.add_to(commands)
    report.add_to(commands)
    doubts.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; *argv* is ``sys.argv[1:]`` when None.

    Returns:
        The exit status: 0 when the command did its work, 1 when it did not, 2 when it could not begin,
        130 after Ctrl-C.
    """
    try:
        parser = _parser()
        try:
            options = parser.parse_args(argv)
        except SystemExit as end:  # --help, --version and wrong arguments: argparse has said it all
            return end.code if isinstance(end.code, int) else 2
        if options.command is None:
            parser.print_help(sys.stdout)
            return 0
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("techrevati: interrupted\n")
        return INTERRUPTED
    except (OutputClosedError, BrokenPipeError):
        # The interpreter flushes once more at its end; that must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, for one
        sys.stderr.write(f"techrevati: {error.strerror or error}\n")
        return 2
    return status
