"""The ``techrevati`` command, also ``python -m techrevati.runtime``: one small module for each command.

A command writes what it has to say to *stdout*, one clear line to *stderr* when it cannot do its work, and
returns the exit status.  No traceback ever reaches the user of a command.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from techrevati.runtime.cli.terminal import OutputClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main"]

# In the order of --help; each is a module of this package with add_to().
_COMMANDS = (
    "demo",
    "run",
    "chaos",
    "prices",
    "proof",
    "runs",
    "replay",
    "events",
    "approvals",
    "spend",
    "report",
    "doubts",
)
INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the whole usage is what ``--help`` is for."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """What is left over is the command's to refuse: its help is the one to see."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser(arguments: Sequence[str]) -> _Parser:
    """The parser, with the one command that is asked for, or with all of them."""
    from techrevati import runtime

    parser = _Parser(prog="techrevati", description="A reliability toolkit for LLM agent loops.")
    parser.add_argument("--version", action="version", version=f"techrevati-runtime {runtime.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    # A command that is named loads no other: `run` stands before programs that should start at once.
    for name in arguments[:1] if arguments and arguments[0] in _COMMANDS else _COMMANDS:
        import_module(f"techrevati.runtime.cli.{name}").add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; *argv* is ``sys.argv[1:]`` when None.

    Returns:
        The exit status: 0 when the command did its work, 1 when it did not, 2 when it could not begin,
        130 after Ctrl-C.
    """
    try:
        arguments = sys.argv[1:] if argv is None else argv
        parser = _parser(arguments)
        try:
            options = parser.parse_args(arguments)
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
