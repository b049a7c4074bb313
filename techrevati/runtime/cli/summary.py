"""The end of a run: the answer, how it rests on the files, and what all of it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.pricing import has_pricing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from techrevati.runtime.cli.circuits import Circuit
    from techrevati.runtime.cli.tally import Row, Tally
    from techrevati.runtime.cli.terminal import Terminal

_HEADINGS = ("role", "model", "turns", "calls", "retries", "tokens in", "tokens out", "cost USD")
_WORDS = 2  # columns of words, to the left; the others are numbers, to the right


def show_table(terminal: Terminal, tally: Tally) -> None:
    """Turns, calls, retries, tokens and cost of each role and model, and of all."""
    lines: list[tuple[str, ...]] = [_HEADINGS]
    lines += [_cells(role, model, row) for (role, model), row in tally.rows.items()]
    total = tally.total()
    lines.append(_cells("all", "", total, priced=all(has_pricing(model) for _, model in tally.rows)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    if sum(widths) + 2 * (len(widths) - 1) > terminal.width:
        _show_list(terminal, lines[1:])
        return
    for number, line in enumerate(lines):
        if number in (1, len(lines) - 1):
            terminal.line("-" * (sum(widths) + 2 * (len(widths) - 1)), style="dim")
        terminal.line(_aligned(line, widths), style="bold" if number == 0 else "")


def _show_list(terminal: Terminal, lines: Sequence[Sequence[str]]) -> None:
    """The table's rows as sentences, for where it is too wide."""
    for role, model, *numbers in lines:
        named = (f"{number} {heading}" for number, heading in zip(numbers, _HEADINGS[2:], strict=True))
        terminal.line(", ".join(named), head=f"{role} {model}".rstrip() + ": ")


def show_circuits(terminal: Terminal, circuits: Iterable[Circuit]) -> None:
    """The state of each breaker and what it did."""
    known = list(circuits)
    width = max(len(circuit.model) for circuit in known)
    for circuit in known:
        state = circuit.breaker.state().value.replace("_", "-")
        style = {"closed": "green", "open": "red"}.get(state, "yellow")
        done = f"opened {_times(circuit.opened)}, refused {_calls(circuit.refused)}"
        if not circuit.opened:
            done = "never opened"
        head = f"  {circuit.model:<{width}}  "
        painted = terminal.styled(f"{state:<9}", style)
        terminal.line(done, head=head, word=painted, word_width=9)


def _cells(role: str, model: str, row: Row, *, priced: bool | None = None) -> tuple[str, ...]:
    known = has_pricing(model) if priced is None else priced
    return (
        role,
        model,
        f"{row.turns:,}",
        f"{row.calls:,}",
        f"{row.retries:,}",
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        f"{row.cost_usd:.6f}" if known else "no price",
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = enumerate(zip(cells, widths, strict=True))
    return "  ".join(f"{cell:<{width}}" if n < _WORDS else f"{cell:>{width}}" for n, (cell, width) in pairs)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _calls(count: int) -> str:
    return {0: "no call", 1: "1 call"}.get(count, f"{count} calls")
