"""``techrevati run``: a program as it is, with every model call of it guarded, counted and charged."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.budgets.windows import window
from techrevati.runtime.cli.child_process import NOT_EXECUTABLE, NOT_FOUND, run_child
from techrevati.runtime.cli.spend import show
from techrevati.runtime.cli.terminal import Terminal, visible
from techrevati.runtime.integrations.run_notes import read_notes
from techrevati.runtime.integrations.run_settings import PER_RUN, VARIABLE, RunSettings
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.ledger.report import unpriced_note
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from techrevati.runtime.integrations import Coverage

P = TypeVar("P", bound="argparse.ArgumentParser")

CANNOT_BEGIN, REFUSED, UNGUARDED = 2, 3, 4
_PERIODS = (PER_RUN, "minute", "hour", "day", "month", "total")


class _CannotBeginError(TechrevatiError, ValueError):
    """The text is the line that the user sees."""


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    import argparse

    parser = commands.add_parser(
        "run",
        help="run a program with every model call of it guarded and charged to a project",
        usage="techrevati run --project NAME [--budget-usd USD] [--per PERIOD] [--ledger FILE] "
        "[--prices FILE] [--observe-only] [--strict] -- COMMAND …",
        description="Runs COMMAND with the clients of openai, anthropic and SDKs generated like them "
        "guarded, in every Python that it starts; nothing of the program changes. What was spent and which "
        "calls were guarded is written to stderr at the end.",
        epilog="Exit status: that of COMMAND, 128 + n when signal n ended it. Its 0 becomes, with --strict, "
        "3 when calls were refused and 4 when calls passed through unguarded, did not say what they used or "
        "were not seen at all. 2 it could not begin, 126 COMMAND cannot be executed, 127 there is no such "
        "command.",
    )
    parser.add_argument("--project", metavar="NAME", required=True, help="whom the calls are charged to")
    parser.add_argument("--budget-usd", metavar="USD", help="refuse calls that might cost more altogether")
    parser.add_argument(
        "--per",
        choices=_PERIODS,
        default=PER_RUN,
        help="the budget is for this run alone (%(default)s), or for the project in the ledger: per minute, "
        "hour, day or month, or in total",
    )
    parser.add_argument(
        "--ledger", metavar="FILE", help="keep the books there; else they are thrown away at the end"
    )
    parser.add_argument(
        "--prices",
        metavar="FILE",
        help='prices of models that are not known by their names, such as deployments: {"models": {NAME: '
        '{"input_per_million": USD, "output_per_million": USD}}}, or a price book',
    )
    parser.add_argument(
        "--observe-only", action="store_true", help="refuse nothing; tell what would be refused"
    )
    parser.add_argument("--strict", action="store_true", help="see the exit status")
    parser.add_argument("program", metavar="COMMAND", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, *, clock: Callable[[], float] = time.monotonic) -> int:
    """Run the command and tell what it spent; returns the exit status."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        try:
            command = _command(options.program)
            notes = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="techrevati-run-", ignore_cleanup_errors=True)
            )
            settings = _settings(options, notes)
            _check_prices(settings)
            with SpendLedger(settings.ledger) as ledger:  # made here, so that trouble is told before
                settings.budget(ledger)
        except (ValueError, StoreError) as error:
            return _told(str(error), CANNOT_BEGIN)
        begin_s = clock()
        try:
            status = run_child(command, settings.environment(os.environ))
        except FileNotFoundError:
            return _told(f"there is no command {command[0]!r}", NOT_FOUND)
        except OSError as error:
            return _told(f"{command[0]!r} cannot be executed: {error.strerror or error}", NOT_EXECUTABLE)
        called, processes = read_notes(notes)
        _report(settings, called, processes, status, clock() - begin_s)
        return _status(status, called, processes) if options.strict else status


def _told(text: str, status: int) -> int:
    sys.stderr.write(f"techrevati run: {visible(text)}\n")
    return status


def _command(given: Sequence[str]) -> list[str]:
    command = list(given[1:] if given[:1] == ["--"] else given)
    if not command:
        raise _CannotBeginError(
            "a command is missing, as in: techrevati run --project acme -- python agent.py"
        )
    if command[0].endswith((".py", ".pyw")):
        command.insert(0, sys.executable)
    return command


def _settings(options: argparse.Namespace, notes: str) -> RunSettings:
    if os.environ.get(VARIABLE):
        raise _CannotBeginError("this is inside a techrevati run already, whose budget would not hold here")
    if not options.project.strip():
        raise _CannotBeginError("--project is empty")
    if options.per != PER_RUN and (options.ledger is None or options.budget_usd is None):
        raise _CannotBeginError(
            f"--per {options.per} needs --budget-usd and a --ledger that outlives the run"
        )
    return RunSettings(
        os.urandom(4).hex(),
        options.project,
        str(Path(notes, "spend.db") if options.ledger is None else Path(options.ledger).absolute()),
        notes,
        None if options.budget_usd is None else _usd(options.budget_usd),
        options.per,
        options.observe_only,
        None if options.prices is None else str(Path(options.prices).absolute()),
    )


def _check_prices(settings: RunSettings) -> None:
    try:
        settings.load_prices()
    except OSError as error:
        raise _CannotBeginError(f"--prices {settings.prices}: {error.strerror or error}") from None
    except ValueError as error:
        raise _CannotBeginError(f"--prices: {error}") from None


def _usd(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise _CannotBeginError(f"--budget-usd must be a number >= 0, got {text!r}")
    return amount


def _status(status: int, called: Coverage, processes: int) -> int:
    if status:
        return status
    if any(row.refused for row in called):
        return REFUSED
    blind = called.passed_through or called.without_usage or any(row.treatment == "unseen" for row in called)
    return UNGUARDED if blind or not processes else 0


# --- the report ----------------------------------------------------------------------------------------


def _report(settings: RunSettings, called: Coverage, processes: int, status: int, seconds: float) -> None:
    terminal = Terminal(sys.stderr)
    terminal.title(f"techrevati run: {settings.project}, {seconds:.1f} s, exit status {status}")
    if not processes:
        terminal.line("No call was seen: no Python below it used openai or anthropic.")
        return
    try:
        with SpendLedger(settings.ledger) as ledger:
            _spend(terminal, settings, ledger)
    except StoreError as error:
        terminal.line(f"the ledger cannot be read: {error}")
    terminal.line()
    for line in str(called).splitlines():
        terminal.line("", head=visible(line))
    terminal.line()
    terminal.line(_verdict(settings, called, processes))


def _spend(terminal: Terminal, settings: RunSettings, ledger: SpendLedger) -> None:
    show(terminal, ledger.by("model", "certainty", run=settings.run))
    unpriced = ledger.unpriced(run=settings.run)
    if unpriced:
        terminal.line(visible(unpriced_note(unpriced)))
    budget = settings.budget(ledger)
    if budget is not None:
        now = budget.snapshot()
        spent, reserved = now.settled.get("usd", Decimal(0)), now.reserved.get("usd", Decimal(0))
        what = "this run" if settings.per == PER_RUN else f"{settings.project}, {settings.per}"
        if settings.observe_only:
            spent = _observed_spend(settings, ledger)
        line = f"Budget of {what}: ${spent:f} of ${settings.budget_usd:f}"
        if reserved:
            line += f", and ${reserved:f} is held for calls whose process ended before their answer"
        terminal.line(line)


def _observed_spend(settings: RunSettings, ledger: SpendLedger) -> Decimal:
    """What was spent in the budget's window; what would have been refused is not in the budget itself."""
    if settings.per == PER_RUN:
        return ledger.total(run=settings.run)
    since = None
    if settings.per != "total":
        since = datetime.fromtimestamp(window(settings.per, time.time()).start_s, UTC)
    return ledger.total(project=settings.project, since=since)


def _verdict(settings: RunSettings, called: Coverage, processes: int) -> str:
    guarded = [row for row in called if row.treatment == "guarded"]
    refused = sum(row.refused for row in called)
    passed = sum(row.calls for row in called.passed_through)
    silent = sum(row.without_usage for row in called)
    where = f"{processes} process{'' if processes == 1 else 'es'}"
    calls = sum(row.calls for row in guarded)
    parts = [
        f"{calls} call{'' if calls == 1 else 's'} guarded in {where}",
        f"{passed} passed through unguarded",
        f"{silent} without usage (estimated)",
        f"{refused} {'would have been ' if settings.observe_only else ''}refused",
    ]
    unseen = [row.provider for row in called if row.treatment == "unseen"]
    if unseen:
        parts.append(f"calls of {', '.join(unseen)} are not seen")
    return "; ".join(parts) + "."
