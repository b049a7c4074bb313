"""The failure table of ``docs/failures.md``, made from the code.

``python -m tests.contract.failure_tables`` writes it; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from techrevati.runtime.failures import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
BEGIN, END = "<!-- table of kinds: begin -->", "<!-- table of kinds: end -->"


def table() -> str:
    """One row for each kind of failure."""
    rows = [
        "| kind | origin | the same call may succeed later | counts against a breaker | scenario | class |",
        "|---|---|---|---|---|---|",
    ]
    for kind, (origin, retryable, scenario, failure_class, counts) in KINDS.items():
        yes_retry, yes_counts = ("yes" if answer else "no" for answer in (retryable, counts))
        names = [kind.value, origin.value, yes_retry, yes_counts, scenario.value, failure_class.value]
        rows.append("| " + " | ".join(names) + " |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """The page with the table as it should be."""
    return re.sub(f"{BEGIN}.*{END}", f"{BEGIN}\n{table()}\n{END}", text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
