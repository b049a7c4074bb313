"""The page of ``techrevati report``, from a ledger and what the events tell of circuit breakers."""

from __future__ import annotations

import json
from collections import deque
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.cli.ledger_file import LedgerFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from techrevati.runtime.ledger import SpendGroup, SpendLedger

ROWS, DAYS, TRANSITIONS, CIRCUITS = 50, 90, 2000, 30
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#59636e;--line:#d1d9e0;--bar:#2f6fde;
--closed:#2e8b57;--half:#c98a00;--open:#c93c37}
@media (prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e6e9ed;--dim:#9aa5b1;--line:#2d343d;
--bar:#6ea1ff;--closed:#4cc38a;--half:#e3b341;--open:#ff7b72}}
*{box-sizing:border-box}body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;
margin:0 auto;padding:1rem;max-width:60rem}h1{font-size:1.5rem;margin:.5rem 0}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.dim{color:var(--dim);font-size:.875rem}.big{font-size:2.2rem;font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;
overflow-wrap:anywhere;min-width:4rem}
th{color:var(--dim);font-weight:500}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
svg{display:block;width:100%;height:auto}.bar{fill:var(--bar)}.axis{stroke:var(--line)}
.closed{fill:var(--closed)}.half_open{fill:var(--half)}.open{fill:var(--open)}.other{fill:var(--dim)}
"""


class Transition(NamedTuple):
    """One change of a circuit breaker."""

    at: datetime
    circuit: str
    after: str


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


def transitions(path: str) -> list[Transition]:
    """The last changes of circuit breakers in a file of events; lines that are no events are passed over."""
    found: deque[Transition] = deque(maxlen=TRANSITIONS)
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if '"circuit.' not in line:
                continue
            try:
                event = json.loads(line)
                name, data = event["event"], event.get("data") or {}
                if not name.startswith("circuit."):
                    continue
                at = datetime.fromisoformat(event["emitted_at"])
                circuit = str(data.get("circuit") or data.get("name") or event.get("role") or "circuit")
                after = str(data.get("after") or name.removeprefix("circuit.").removesuffix("ed"))
                if at.tzinfo is not None:
                    found.append(Transition(at, circuit, after))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
    return sorted(found)


def page(
    ledger: SpendLedger,
    told: Sequence[Transition] | None,
    known: Mapping[str, Decimal],
    now: datetime,
) -> str:
    """The whole page."""
    projects = ledger.by("project")
    calls = sum(group.calls for group in projects)
    parts = [
        "<header><h1>Spend</h1>",
        f'<p class="big">${projects.total:f}</p>',
        f'<p class="dim">{calls:,} calls; {escape(ledger.path)}; written {now:%Y-%m-%d %H:%M} UTC</p>',
        "</header>",
        _section("Days", _days(ledger.by("day"))),
        _section("Projects", _groups(("Project",), projects)),
        _section("Models", _groups(("Model",), ledger.by("model"))),
        _section("Budgets", _budgets(ledger, known)),
        _section("Most expensive runs", _runs(ledger)),
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


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """The first *texts* columns are names, the others numbers; at most ``ROWS`` rows."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="n">{escape(cell)}</{tag}>' if n >= texts else f"<{tag}>{escape(cell)}</{tag}>"
            for n, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows[:ROWS])
    more = _note(f"{len(rows) - ROWS:,} more rows are not shown.") if len(rows) > ROWS else ""
    head = cells("th", heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
    )


def _groups(heads: Sequence[str], groups: Iterable[SpendGroup]) -> str:
    ordered = sorted(groups, key=lambda group: -group.cost)
    if not ordered:
        return _note("No calls are on the books.")
    rows = [
        (str(group.group) or "(none)", f"{group.calls:,}", f"{group.tokens:,}", f"{group.cost:f}")
        for group in ordered
    ]
    return _table((*heads, "Calls", "Tokens", "USD"), rows)


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
            f"{shown[0].group} to {shown[-1].group}, days with calls; the highest is ${most:f}. Days are UTC."
        )
    )


def _budgets(ledger: SpendLedger, known: Mapping[str, Decimal]) -> str:
    rows = []
    for key, (settled, reserved) in ledger.budgets().items():
        name = key.rpartition(":")[0]
        for unit in sorted({*settled, *reserved}):
            scale = {"usd": 10**12, "wall_seconds": 1000}.get(unit, 1)
            spent, held = (_amount(amounts.get(unit, 0), scale) for amounts in (settled, reserved))
            limit = known.get(name) if unit == "usd" else None
            left = "" if limit is None else f"{limit - spent - held:f}"
            rows.append((key, unit.replace("_", " "), f"{spent:f}", f"{held:f}", left))
    if not rows:
        return _note("No budget keeps its reservations in this ledger.")
    note = "" if known else _note("What is left is shown for budgets whose limit is given with --limit.")
    return _table(("Budget", "Unit", "Settled", "Reserved", "Left"), rows[::-1], 2) + note


def _amount(amount: int | Fraction, scale: int) -> Decimal:
    exact = amount * Fraction(1, scale)
    return Decimal(exact.numerator) / Decimal(exact.denominator)


def _runs(ledger: SpendLedger) -> str:
    named = [group for group in ledger.by("run") if group.group]
    return _groups(("Run",), named) if named else _note("No call says which run it was of.")


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


def _circuits(told: Sequence[Transition]) -> str:
    if not told:
        return _note("No circuit breaker changed.")
    names = list(dict.fromkeys(one.circuit for one in told))
    begin, end = told[0].at, told[-1].at
    # A little after the last change, so that the last state can be seen.
    span = max((end - begin).total_seconds(), 0.001) * 1.08
    parts = [_note(f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} {begin.tzname()}.")]
    for name in names[:CIRCUITS]:
        own = [one for one in told if one.circuit == name]
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
