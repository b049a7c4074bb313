"""The documented failure table is the one the code follows."""

from __future__ import annotations

from tests.contract.failure_tables import PAGE, with_table


def test_the_page_shows_the_table_of_the_code() -> None:
    """``python -m tests.contract.failure_tables`` brings the page up to date."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text)
