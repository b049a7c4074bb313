"""The page of ``techrevati report``, from a ledger and what the events tell of circuit breakers."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.tally import UNITS, USD
from techrevati.runtime.cli.ledger_file import LedgerFileError
from techrevati.runtime.ledger.report import unpriced_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from techrevati.runtime.ledger import SpendGroup, SpendLedger

_WINDOW = re.compile(r"(.*):(total|\d{4}-\d\d(?:-\d\d(?:T\d\d(?::\d\d)?)?)?)", re.S)
_EMITTED = re.compile(r'"emitted_at": ?"([^"]{10,40})"')
ROWS, RUNS, DAYS, TRANSITIONS, CIRCUITS = 50, 20, 90, 2000, 30
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#59636e;--line:#d1d9e0;--bar:#2f6fde;
--held:#9dbcf5;--closed:#2e8b57;--half:#a87000;--open:#c93c37}
@media (prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e6e9ed;--dim:#9aa5b1;--line:#2d343d;
--bar:#6ea1ff;--held:#3d5f9e;--closed:#4cc38a;--half:#e3b341;--open:#ff7b72}}
*{box-sizing:border-box}body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;
margin:0 auto;padding:1rem;max-width:60rem}h1{font-size:1.5rem;margin:.5rem 0}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.dim{color:var(--dim);font-size:.875rem}
.big{font-size:2.2rem;font-weight:600;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;
overflow-wrap:anywhere;min-width:4rem}
th{color:var(--dim);font-weight:500}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
@media(max-width:30rem){table{font-size:.8rem}th,td{padding:.35rem .2rem}td:first-child{min-width:6rem}}
svg{display:block;width:100%;height:auto}.bar,.spent{fill:var(--bar)}.held{fill:var(--held)}
.room{fill:var(--line)}.budget{margin:.6rem 0 1rem}.budget svg{height:12px;border-radius:3px}
.left{float:right}.axis{stroke:var(--line)}
.closed{fill:var(--closed)}.half_open{fill:var(--half)}.open{fill:var(--open)}.other{fill:var(--dim)}
"""


class Transition(NamedTuple):
    """One change of a circuit breaker."""

    at: datetime
    circuit: str
    after: str


class Timeline(NamedTuple):
    """From the first event of a file to the last, and the changes of circuit breakers between them."""

    begin: datetime
    end: datetime
    changes: Sequence[Transition]


def limits(given: Iterable[str]) -> dict[str, Decimal]:
    """``NAME=USD`` texts as limits by budget.

    Raises:
        LedgerFileError: One is not of that form.
    """
    found: dict[str, Decimal] = {}
    for text in given:
        name, _, amount = text.rpartition("=")
        try:
            found[name] = Decimal(amount)
        except InvalidOperation:
            found[name] = Decimal("NaN")
        if not name or not found[name].is_finite() or found[name] < 0:
            raise LedgerFileError(f"--limit must be like team=5.00, got {text!r}")
    return found


def timeline(path: str) -> Timeline:
    """The last changes of circuit breakers in a file of events; lines that are no events are passed over."""
    found: deque[Transition] = deque(maxlen=TRANSITIONS)
    first = last = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            at = _moment(line)
            if at is None:
                continue
            first, last = at if first is None else min(first, at), at if last is None else max(last, at)
            if '"circuit.' in line:
                change = _transition(line, at)
                if change is not None:
                    found.append(change)
    if first is None or last is None:
        first = last = datetime.fromtimestamp(0, UTC)
    return Timeline(first, last, sorted(found))


def _moment(line: str) -> datetime | None:
    """When the event of a line was; without reading all of it."""
    written = _EMITTED.search(line)
    try:
        at = datetime.fromisoformat(written[1]) if written is not None else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _transition(line: str, at: datetime) -> Transition | None:
    try:
        event = json.loads(line)
        name, data = event["event"], event.get("data") or {}
        if not name.startswith("circuit."):
            return None
        circuit = str(data.get("circuit") or data.get("name") or event.get("role") or "circuit")
        after = str(data.get("after") or name.removeprefix("circuit.").removesuffix("ed"))
        return Transition(at, circuit, after)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def page(
    ledger: SpendLedger,
    told: Timeline | None,
    known: Mapping[str, Decimal],
    now: datetime,
) -> str:
    """The whole page."""
    projects = ledger.by("project")
    calls, file = projects.calls, escape(os.path.basename(ledger.path))
    unpriced = ledger.unpriced()
    parts = [
        "<header><h1>Spend</h1>",
        f'<p class="big">${ledger.total():f}</p>',
        f'<p class="dim">{calls:,} calls; {file}; written {now:%Y-%m-%d %H:%M} UTC</p>',
        *([_note(unpriced_note(unpriced))] if unpriced else []),
        "</header>",
        _section("Days", _days(ledger.by("day"))),
        _section("Projects", _groups(("Project",), projects)),
        _section("Models", _groups(("Model",), ledger.by("model"))),
        _section("Budgets", _budgets(ledger, known, now)),
        _section("Most expensive runs", _runs(ledger)),
        _section("Failed calls and what they cost", _failures(ledger)),
        _section("How the spend is known", _certainties(ledger)),
        _section("In doubt", _doubts(ledger)),
    ]
    if told is not None:
        parts.append(_section("Circuit breakers", _circuits(told)))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Spend</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _note(text: str) -> str:
    return f'<p class="dim">{escape(text)}</p>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, most: int = ROWS) -> str:
    """The first *texts* columns are names, the others numbers; at most *most* rows."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="n">{escape(cell)}</{tag}>' if n >= texts else f"<{tag}>{escape(cell)}</{tag}>"
            for n, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows[:most])
    more = _note(f"{len(rows) - most:,} more rows are not shown.") if len(rows) > most else ""
    head = cells("th", heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
    )


def _groups(heads: Sequence[str], groups: Iterable[SpendGroup], most: int = ROWS) -> str:
    ordered = sorted(groups, key=lambda group: -group.cost)
    if not ordered:
        return _note("No calls are on the books.")
    rows = [
        (str(group.group) or "(none)", f"{group.calls:,}", f"{group.tokens:,}", f"{group.cost:f}")
        for group in ordered
    ]
    return _table((*heads, "Calls", "Tokens", "USD"), rows, most=most)


def _days(groups: Sequence[SpendGroup]) -> str:
    shown = list(groups)[-DAYS:]
    if not shown:
        return _note("No calls are on the books.")
    most = max(group.cost for group in shown) or Decimal(1)
    slot = min(40.0, 600 / len(shown))
    bars = []
    for n, group in enumerate(shown):
        height = float(group.cost / most) * 100
        label = escape(f"{group.group}: ${group.cost:f}, {group.calls:,} calls")
        bars.append(
            f'<rect class="bar" x="{n * slot:.2f}" y="{104 - height:.2f}" width="{slot * 0.8:.2f}" '
            f'height="{height:.2f}"><title>{label}</title></rect>'
        )
    return (
        '<svg viewBox="0 0 600 106" role="img" aria-label="US dollars by day">'
        f'{"".join(bars)}<line class="axis" x1="0" y1="105" x2="600" y2="105"/></svg>'
        + _note(
            f"{shown[0].group} (UTC), the only day with calls."
            if len(shown) == 1
            else f"{shown[0].group} to {shown[-1].group} (UTC), days with calls; the highest is ${most:f}."
        )
    )


def budget_and_window(key: str) -> tuple[str, str]:
    """The two parts of a key of ``ledger.budgets()``; either may have a colon in it."""
    found = _WINDOW.fullmatch(key)
    return (found[1], found[2]) if found else (key, "")


def _budgets(ledger: SpendLedger, known: Mapping[str, Decimal], now: datetime) -> str:
    """Windows that are not over first, then the newest; limits from the command line win over those on the
    books."""
    parts = []
    minute = f"{now:%Y-%m-%dT%H:%M}"

    def place(key: str) -> tuple[bool, str]:
        window = budget_and_window(key)[1]
        return window == "total" or window >= minute[: len(window)], window

    windows = list(ledger.budgets().items())[::-1]
    windows.sort(key=lambda one: place(one[0]), reverse=True)
    for key, (settled, reserved, limits) in windows[:ROWS]:
        name, window = budget_and_window(key)
        units = [unit for unit in UNITS if unit in {*settled, *reserved, *limits}]
        if not units and name in known:
            units = [USD]
        for unit in units:
            scale = {USD: 10**12, "wall_seconds": 1000}.get(unit, 1)
            spent, held = (_amount(amounts.get(unit, 0), scale) for amounts in (settled, reserved))
            limit = _amount(limits[unit], scale) if unit in limits else None
            if unit == USD:
                limit = known.get(name, limit)
            parts.append(_budget(name, window, unit, spent, held, limit))
    if not parts:
        return _note("No budget keeps its reservations in this ledger.")
    if len(windows) > ROWS:
        parts.append(_note(f"{len(windows) - ROWS:,} older windows are not shown."))
    return "".join(parts) + _note("Strong: settled. Weak: reserved by calls under way or in doubt.")


def _budget(name: str, window: str, unit: str, spent: Decimal, held: Decimal, limit: Decimal | None) -> str:
    """One limit: in words, and as a bar as long as the limit."""
    sign, noun = ("$", "") if unit == USD else ("", f" {unit.replace('_', ' ')}")
    title = escape(name) + ("" if window == "total" else f' <span class="dim">{escape(window)}</span>')
    used = f"{sign}{spent:,f}{noun} settled" + (f", {sign}{held:,f} reserved" if held else "")
    if limit is None:
        return f'<p>{title}<br><span class="dim">{used}; no limit on the books</span></p>'
    left = limit - spent - held
    told = f"{sign}{left:,f} left" if left >= 0 else f"{sign}{-left:,f} over"
    whole = max(limit, spent + held) or Decimal(1)
    bars = [(kind, float(amount / whole) * 600) for kind, amount in (("spent", spent), ("held", held))]
    bars[1:] = [("held", min(bars[1][1], 600 - bars[0][1]))]
    x, drawn = 0.0, ['<rect class="room" x="0" y="0" width="600" height="12"/>']
    for kind, width in bars:
        drawn.append(f'<rect class="{kind}" x="{x:.2f}" y="0" width="{width:.2f}" height="12"/>')
        x += width
    return (
        f'<div class="budget"><p>{title} <span class="left">{told}</span></p>'
        f'<svg viewBox="0 0 600 12" preserveAspectRatio="none" role="img" aria-label="{used} of {limit:,f}">'
        f'{"".join(drawn)}</svg><p class="dim">{used} of {sign}{limit:,f}{noun}</p></div>'
    )


def _amount(amount: int | Fraction, scale: int) -> Decimal:
    exact = amount * Fraction(1, scale)
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def _runs(ledger: SpendLedger) -> str:
    named = [group for group in ledger.by("run") if group.group]
    return _groups(("Run",), named, RUNS) if named else _note("No call says which run it was of.")


def _failures(ledger: SpendLedger) -> str:
    failed = [
        group._replace(group=str(group.group).replace("_", " "))
        for group in ledger.by("failure")
        if group.group
    ]
    if not failed:
        return _note("No call on the books is known to have failed.")
    explained = _note("What the provider refused costs nothing; of what broke off, what was sent is counted.")
    return _groups(("Failure",), failed) + explained


def _certainties(ledger: SpendLedger) -> str:
    explained = _note(
        "Measured: the provider said so. Estimated and unknown: calls that failed, timed out or were cut "
        "off, charged as what was sent."
    )
    return _groups(("Certainty",), ledger.by("certainty")) + explained


def _doubts(ledger: SpendLedger) -> str:
    found = ledger.doubts()
    if not found:
        return _note("No reservation is in doubt.")
    rows = [
        (one.key, str(one.about.get("project") or ""), f"{one.expired_at:%Y-%m-%d %H:%M}", f"{one.cost:f}")
        for one in found
    ]
    return _table(("Key", "Project", "Since (UTC)", "USD reserved"), rows, 2)


def _circuits(told: Timeline) -> str:
    begin, end, changes = told
    if not changes:
        return _note("No circuit breaker changed.")
    names = list(dict.fromkeys(one.circuit for one in changes))
    # A little after the last change, so that the last state can be seen.
    span = max((end - begin).total_seconds(), (changes[-1].at - begin).total_seconds() * 1.05, 0.001)
    parts = [_note(f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} {begin.tzname()}.")]
    for name in names[:CIRCUITS]:
        own = [one for one in changes if one.circuit == name]
        # A breaker begins closed; of a longer file only the last changes are known.
        if len(changes) < TRANSITIONS:
            own.insert(0, Transition(begin, name, "closed"))
        bars = []
        for n, one in enumerate(own):
            x = (one.at - begin).total_seconds() / span * 600
            until = (own[n + 1].at - begin).total_seconds() / span * 600 if n + 1 < len(own) else 600
            state = one.after if one.after in ("closed", "half_open", "open") else "other"
            label = escape(f"{one.after} from {one.at:%Y-%m-%d %H:%M:%S}")
            bars.append(
                f'<rect class="{state}" x="{x:.2f}" y="0" width="{max(until - x, 1):.2f}" height="14">'
                f"<title>{label}</title></rect>"
            )
        shown, opened = escape(name), sum(one.after == "open" for one in own)
        parts.append(
            f'<p>{shown} <span class="dim">opened {opened}&times;, last {escape(own[-1].after)}</span></p>'
            f'<svg viewBox="0 0 600 14" role="img" aria-label="states of {shown}">{"".join(bars)}</svg>'
        )
    if len(names) > CIRCUITS:
        parts.append(_note(f"{len(names) - CIRCUITS} more circuits are not shown."))
    return "".join(parts) + _note("Green: closed. Yellow: half-open. Red: open.")
