"""What notebooks show: one table for trackers and ledgers, escaped, balanced, without colours of its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import UsageTracker

EVIL = "<script>alert('x')</script>&\"quoted\""


class Balanced(HTMLParser):
    """Collects tags and texts; every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def tracker() -> str:
    made = UsageTracker()
    made.record_turn(EVIL, UsageSnapshot(1_000, 10))
    return made._repr_html_()


def ledger() -> str:
    with SpendLedger(":memory:") as made:
        made.record(project=EVIL, model=EVIL, usage=UsageSnapshot(1_000, 10))
        made.record(project="b", model=EVIL, usage=UsageSnapshot(1_000, 10))
        return made._repr_html_()


@pytest.mark.parametrize("show", [tracker, ledger])
def test_notebooks_show_a_table(show: object) -> None:
    """Names come out as they are, sums stand below, and both themes can be read."""
    register_pricing(EVIL, ModelPricing(1, 2))
    shown = show()  # type: ignore[operator]
    page = Balanced()
    page.feed(shown)
    assert page.open == []
    assert set(page.seen) <= {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"}
    assert {"thead", "tbody", "tfoot"} <= set(page.seen)
    assert EVIL in page.texts
    assert any("0.00102" in text or "0.00204" in text for text in page.texts)
    # Neither text nor background has a colour of ours: the theme's are in force, in the dark, too.
    assert not re.search(r"background|[;\"]color:|#[0-9a-f]{3}", shown)
