"""``techrevati prices``: what a model costs, how another price file differs, and taking one over."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from techrevati.runtime.pricing import PriceBook
    from techrevati.runtime.pricing.entry import Entry, Period

P = TypeVar("P", bound="argparse.ArgumentParser")

IMPORTED = "prices.book"
_FORMS = "a price book of ours, LiteLLM's model_prices_and_context_window.json or genai-prices' data.json"
_WEEKDAYS = ("", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "prices",
        help="show a model's prices, compare a price file, take one over",
        description="Prices are US dollars per million tokens, of searches and requests per thousand.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    show = actions.add_parser("show", help="every price of a model: dates, hours, tiers, long inputs")
    show.add_argument("model", metavar="MODEL", help="as its provider names it, or PROVIDER/MODEL")
    show.add_argument("--provider", help="who charges, when MODEL does not say it")
    show.add_argument("--book", metavar="FILE", help="ask this file instead of the bundled book")
    show.set_defaults(run=run_show)
    diff = actions.add_parser(
        "diff",
        help="what a price file would change",
        description=f"Compares the bundled book with FILE ({_FORMS}), by the prices in force now.",
        epilog="Exit status: 0 no price differs; 1 some do; 2 FILE is no price file.",
    )
    diff.add_argument("file", metavar="FILE")
    diff.set_defaults(run=run_diff)
    taken = actions.add_parser(
        "import",
        help="turn a price file into a book that programs load",
        description=f"Checks every price of FILE ({_FORMS}) and writes them as a price book.",
    )
    taken.add_argument("file", metavar="FILE")
    taken.add_argument("-o", "--output", default=IMPORTED, metavar="BOOK", help="(%(default)s)")
    taken.set_defaults(run=run_import)


def run_show(options: argparse.Namespace) -> int:
    """Every price of one model; 1 when no book knows it."""
    from techrevati.runtime.pricing import PriceBook

    try:
        book = PriceBook.bundled() if options.book is None else PriceBook.load(options.book)
    except (OSError, ValueError) as error:
        return _refused("show", error)
    entry = book.find(options.model, options.provider)
    if entry is None:
        near = book.near(options.model)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        sys.stderr.write(f"techrevati prices show: no price for model {options.model!r}{hint}\n")
        return 1
    terminal = Terminal(sys.stdout)
    limit = entry.max_output_tokens
    terminal.line(f"{entry.provider}/{entry.model}" + (f", at most {limit:,} output tokens" if limit else ""))
    terminal.line(f"book: {book.version}")
    for label, text in _lines(entry):
        terminal.line(text, head="  ", word=f"{label}:", word_width=len(label) + 1)
    return 0


def run_diff(options: argparse.Namespace) -> int:
    """What another file says differently."""
    from techrevati.runtime.pricing import PriceBook

    try:
        theirs = PriceBook.load(options.file)
    except (OSError, ValueError) as error:
        return _refused("diff", error)
    terminal = Terminal(sys.stdout)
    ours = PriceBook.bundled()
    new = changed = same = less = 0
    for mark, name, text in _differences(ours, theirs, time.time()):
        new += mark == "+"
        changed += mark == "~"
        same += mark == "="
        less += mark == "-"
        if mark in "+~":
            terminal.line(text, head=f"{mark} ", word=name, word_width=len(name))
    terminal.line(
        f"{changed:,} changed, {new:,} new, {same:,} the same, {less:,} the same in what they price; "
        f"{theirs.version} against {ours.version}"
    )
    return 1 if new or changed else 0


def run_import(options: argparse.Namespace) -> int:
    """Write a price file as a book."""
    from techrevati.runtime.pricing import PriceBook
    from techrevati.runtime.pricing.files import read_any

    try:
        text = read_any(options.file)
        book = PriceBook(text)
        _write(options.output, text)
    except (OSError, ValueError) as error:
        return _refused("import", error)
    terminal = Terminal(sys.stdout)
    terminal.line(f"{len(book):,} names of {len(book.providers)} providers in {options.output}; to use them:")
    terminal.line("from techrevati.runtime import PriceBook, use_price_book")
    terminal.line(f"use_price_book(PriceBook.load({options.output!r}))")
    return 0


def _refused(action: str, error: Exception) -> int:
    sys.stderr.write(f"techrevati prices {action}: {error}\n")
    return 2


def _write(path: str, text: str) -> None:
    """All or nothing: whoever loads *path* meanwhile sees the old book or the new one."""
    import os
    import tempfile

    folder = os.path.dirname(os.path.abspath(path))
    handle, draft = tempfile.mkstemp(prefix=".prices-", dir=folder)
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _differences(ours: PriceBook, theirs: PriceBook, now_s: float) -> Iterator[tuple[str, str, str]]:
    for name in theirs.names():
        entry = theirs.entry(name)
        assert entry is not None
        provider, _, own = name.partition("/")
        known = ours.find(own, provider)
        said = _in_force(entry, now_s)
        if known is None:
            yield "+", name, _listed(said)
            continue
        before = _in_force(known, now_s)
        # What a file leaves out it does not say otherwise: most files know fewer parts and tiers than we do.
        changes = [
            f"{part} {before.get(part, '-')} -> {price}"
            for part, price in said.items()
            if before.get(part) != price
        ]
        if changes:
            yield "~", name, ", ".join(changes)
        else:
            yield ("=" if len(said) == len(before) else "-"), name, ""


def _in_force(entry: Entry, now_s: float) -> dict[str, str]:
    """Prices as text, by part, those of tiers as ``part (tier)``."""
    from fractions import Fraction

    from techrevati.runtime.pricing.errors import UnknownPriceError

    shown = _texts(entry.rates(now_s, ()).prices)
    for tier, prices in sorted(entry.tiers.items()):
        if isinstance(prices, Fraction):
            shown[f"all ({tier})"] = f"x {float(prices):g}"
            continue
        try:
            of_tier = _texts(entry.rates(now_s, (tier,)).prices)
        except UnknownPriceError:  # not yet
            continue
        shown |= {f"{part} ({tier})": text for part, text in of_tier.items() if text != shown.get(part)}
    return shown


def _lines(entry: Entry) -> Iterator[tuple[str, str]]:
    from fractions import Fraction

    for period in entry.standard:
        yield "standard" + _condition(period), _listed(_texts(period.prices))
    for tier, prices in sorted(entry.tiers.items()):
        if isinstance(prices, Fraction):
            yield tier, f"{float(prices):g} times the price of tokens"
            continue
        for period in prices:
            yield tier + _condition(period), _listed(_texts(period.prices))


def _condition(period: Period) -> str:
    from datetime import UTC, datetime

    words = []
    if period.start_s is not None:
        words.append(f"from {datetime.fromtimestamp(period.start_s, UTC):%Y-%m-%d}")
    if period.hours:
        windows = (f"{_clock(start)}-{_clock(end)}" for start, end in period.hours)
        words.append(f"{', '.join(windows)} UTC")
    if period.days:
        words.append(", ".join(_WEEKDAYS[day] for day in period.days))
    return "".join(f" {word}" for word in words)


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second % 3600 // 60:02d}"


def _texts(prices: Mapping[str, object]) -> dict[str, str]:
    from techrevati.runtime.pricing.rates import PARTS

    return {part: _text(prices[part]) for part in PARTS if prices.get(part) is not None}


def _text(price: object) -> str:
    from techrevati.runtime.pricing.rates import decimal_text, per_piece

    if isinstance(price, list):
        steps = zip(price[1::2], price[2::2], strict=True)
        above = ", ".join(f"{_text(dear)} above {start:,} input" for start, dear in steps)
        return f"{_text(price[0])} ({above})" if above else _text(price[0])
    return decimal_text(per_piece(price, "input"), "input")


def _listed(texts: Mapping[str, str]) -> str:
    return ", ".join(f"{part} {text}" for part, text in texts.items())
