"""The books as text: one line for a request, one for a model, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from techrevati.runtime.chaos.bill import Bill, BilledUsage, InjectedRecord
    from techrevati.runtime.chaos.verdict import Verdict

_COUNTS = ("input", "output", "write 5m", "write 1h", "cache read", "cost in $")


def report_text(records: Sequence[InjectedRecord], bill: Bill, verdict: Verdict, *, dropped: int = 0) -> str:
    """Three tables of plain text; the requests are those kept, the bill counts all."""
    lines = ["Requests", *_table(_REQUEST_HEAD, [_request_row(one) for one in records])]
    if dropped:
        lines.append(f"({dropped} older requests are no longer listed; the bill has them)")
    rows = [
        [
            name or "(no model)",
            str(line.requests),
            str(line.billed_requests),
            *_counts(line.usage, line.cost_usd),
        ]
        for name, line in sorted(bill.models.items())
    ]
    rows.append(["total", str(bill.requests), str(bill.billed_requests), *_counts(bill.usage, bill.cost_usd)])
    lines += ["", "Bill (tokens)", *_table(["model", "requests", "billed", *_COUNTS], rows)]
    return "\n".join([*lines, "", "Verdict on the client", str(verdict)])


_REQUEST_HEAD = ["#", "at", "api", "model", "kind", "injected", "status", "outcome", "wait", *_COUNTS]


def _request_row(one: InjectedRecord) -> list[str]:
    return [
        str(one.sequence),
        f"{one.arrived_s:.3f} s",
        one.api,
        one.model or one.path,
        "stream" if one.stream else "plain",
        one.fault.value if one.fault else "-",
        str(one.status) if one.status else "-",
        one.outcome.value,
        "-" if one.retry_after_s is None else f"{one.retry_after_s:g} s",
        *_counts(one.billed, one.cost_usd),
    ]


def _counts(usage: BilledUsage, cost_usd: Decimal | None) -> list[str]:
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
    )
    return [*(f"{count:,}" for count in counts), dollars(cost_usd)]


def dollars(cost_usd: Decimal | None) -> str:
    """A cost with all its digits and no others; a question mark when it is not known."""
    if cost_usd is None:
        return "?"
    text = f"{cost_usd:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        return "  ".join(cells).rstrip()

    return [line(head), "  ".join("-" * width for width in widths), *map(line, rows)]
