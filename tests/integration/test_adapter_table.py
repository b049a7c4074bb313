"""The documented promises of the adapters are those that the conformance kit tests."""

from __future__ import annotations

from tests.contract.adapter_table import COLUMNS, PAGE, table, with_table
from tests.integration import test_adapter_conformance as kit


def test_the_page_shows_what_the_kit_tests() -> None:
    """``python -m tests.contract.adapter_table`` runs the kit and brings the page up to date."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text, table())


def test_every_test_of_the_kit_is_in_the_table() -> None:
    """And no promise is left out."""
    shown = {test for tests in COLUMNS.values() for test in tests}
    assert shown == {name for name in vars(kit) if name.startswith("test_")}
