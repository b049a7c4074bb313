"""The documented exceptions are those that the installed SDKs raise."""

from __future__ import annotations

from tests.contract.exception_tables import PAGE, with_table


def test_the_page_shows_what_the_sdks_raise() -> None:
    """``python -m tests.contract.exception_tables`` brings the page up to date."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text)
