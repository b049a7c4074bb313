"""``techrevati doubts``: reservations whose process died, and saying what became of them."""

from __future__ import annotations

import sys
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli import ledger_file
from techrevati.runtime.cli.terminal import visible
from techrevati.runtime.ledger import UnknownReservationError
from techrevati.runtime.pricing import UnknownPriceError
from techrevati.runtime.stores import StoreError
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    import argparse

    from techrevati.runtime.ledger import Doubt, SpendLedger

P = TypeVar("P", bound="argparse.ArgumentParser")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "doubts",
        help="reservations whose process died: list them, say what became of them",
        description="A reservation whose process died stays counted against its budget until somebody says "
        "what the call used, or that it was never sent.",
        epilog="Exit status: list 0 when there is none, 1 while any is open; resolve 0 done, 1 there is no "
        "such reservation; 2 it could not begin.",
    )
    parser.add_argument("action", choices=["list", "resolve"])
    parser.add_argument("key", metavar="KEY", nargs="?", help="which one to resolve")
    parser.add_argument("--ledger", metavar="FILE", default=ledger_file.DEFAULT, help="default %(default)s")
    parser.add_argument("--not-sent", action="store_true", help="nothing was sent: give it back")
    parser.add_argument("--input-tokens", metavar="N", type=int, help="what the provider billed")
    parser.add_argument("--output-tokens", metavar="N", type=int, help="what the provider billed")
    parser.add_argument("--cached-tokens", metavar="N", type=int, help="read from the provider's cache")
    parser.add_argument("--cost-usd", metavar="USD", help="what it cost; default: what the price book says")
    parser.add_argument("--estimated", action="store_true", help="these numbers are an estimate")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List or resolve; returns the exit status."""
    problem = _problem(options)
    if problem is not None:
        sys.stderr.write(f"techrevati doubts: {problem}\n")
        return 2
    try:
        with ledger_file.opened(options.ledger, read_only=options.action == "list") as ledger:
            return _list(ledger) if options.action == "list" else _resolve(ledger, options)
    except UnknownReservationError as error:
        sys.stderr.write(f"techrevati doubts: {visible(str(error))}\n")
        return 1
    except UnknownPriceError as error:
        sys.stderr.write(f"techrevati doubts: {visible(str(error))}: --cost-usd says it\n")
        return 2
    except (ValueError, StoreError) as error:
        sys.stderr.write(f"techrevati doubts: {visible(str(error))}\n")
        return 2


def _counts(options: argparse.Namespace) -> dict[str, int]:
    given = {
        "input_tokens": options.input_tokens,
        "output_tokens": options.output_tokens,
        "cache_read_tokens": options.cached_tokens,
    }
    return {name: count for name, count in given.items() if count is not None}


def _problem(options: argparse.Namespace) -> str | None:
    counts = _counts(options)
    if options.action == "list":
        said = options.key is not None or options.not_sent or options.estimated or options.cost_usd or counts
        return "list takes no KEY and no answer" if said else None
    if options.key is None:
        return "resolve needs a KEY"
    if options.not_sent is bool(counts):
        return "resolve needs either --not-sent or --input-tokens and --output-tokens"
    if counts and not {"input_tokens", "output_tokens"} <= set(counts):
        return "resolve needs both --input-tokens and --output-tokens"
    if options.not_sent and (options.estimated or options.cost_usd is not None):
        return "--estimated and --cost-usd belong to token counts"
    try:
        if options.cost_usd is not None and not 0 <= Decimal(options.cost_usd) < Decimal("Infinity"):
            raise ValueError
    except (ValueError, InvalidOperation):
        return f"--cost-usd must be US dollars >= 0, got {visible(str(options.cost_usd))!r}"
    if any(count < 0 for count in counts.values()):
        return "token counts must be >= 0"
    return None


def _list(ledger: SpendLedger) -> int:
    found = ledger.doubts()
    for one in found:
        sys.stdout.write(f"{line(one)}\n")
    if not found:
        sys.stdout.write("No reservation is in doubt.\n")
    return 1 if found else 0


def line(doubt: Doubt) -> str:
    """One doubt for people."""
    about = "  ".join(
        f"{name} {doubt.about[name]}" for name in ("project", "model", "user", "run") if doubt.about.get(name)
    )
    text = f"{doubt.key}  ${doubt.cost:f}  since {doubt.expired_at:%Y-%m-%d %H:%M} UTC  {about}"
    return visible(text).rstrip()


def _resolve(ledger: SpendLedger, options: argparse.Namespace) -> int:
    # Only what is in doubt: the call of a living process is its own to settle.
    if options.key not in {one.key for one in ledger.doubts()}:
        raise UnknownReservationError(options.key)
    if options.not_sent:
        ledger.resolve(options.key, not_sent=True)
    else:
        certainty = "estimated" if options.estimated else "measured"
        cost = None if options.cost_usd is None else Decimal(options.cost_usd)
        usage = UsageSnapshot.from_dict(_counts(options))
        ledger.resolve(options.key, usage=usage, certainty=certainty, cost=cost)
    sys.stdout.write(f"{visible(options.key)}: resolved\n")
    return 0
