"""``techrevati report`` in headless Chromium: alone, readable in both schemes, wide and narrow, and right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.cli import main
from techrevati.runtime.cli.report_page import RUNS
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import decimal_usd
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0
LONG = "a-project-with-a-name-that-is-much-longer-than-a-phone-is-wide-" * 2
EVIL = "<script>document.title = 'taken'</script><img src=https://example.com/x>"
VIEWS = [(scheme, width) for scheme in ("light", "dark") for width in (360, 1280)]
# WCAG 2.2: 4.5 for text, 3 for large text and for what is drawn.
TEXT, DRAWN = 4.5, 3.0


class Seen(NamedTuple):
    page: Page
    requests: list[str]
    complaints: list[str]


PATIENCE_MS = 120_000  # however busy the machine is


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of four projects, names of every kind, failures, budgets of every state, a doubt, circuits."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "spend.db"
    for day in range(6):
        now_s = NOW - day * DAY_S
        with SpendLedger(path, clock=lambda now_s=now_s: now_s) as ledger:  # type: ignore[misc]
            for number, project in enumerate(("search", "support", LONG, EVIL)):
                usage = UsageSnapshot(1000 * (day + 1), 200 * (number + 1))
                for model in ("gpt-4o", "claude-sonnet-4-5"):
                    ledger.record(project=project, model=model, usage=usage, run=f"{project[:9]}-{day}")
    clock = [NOW]
    with SpendLedger(path, clock=lambda: clock[0]) as ledger:

        def budget(name: str, limit_usd: float) -> Budget:
            return Budget(name, limit_usd, "day", ledger=ledger, clock=lambda: clock[0])

        def call(of: Budget, error: Exception | None, **more: str) -> None:
            with of.reserve(model="gpt-4o", input_tokens=4000, max_output_tokens=500, **more) as reserved:
                if error is not None:
                    raise error
                reserved.settle(UsageSnapshot(3000, 400))

        for error in (None, TimeoutError(), ConnectionResetError()):
            with suppress(OSError):
                call(budget("search, a day", 0.05), error, project="search")
        call(budget(LONG, 0.02), None)
        budget("support", 1).reserve(model="gpt-4o", input_tokens=50_000, max_output_tokens=1, key=EVIL)
    changes = [(0, "closed"), (10, "open"), (40, "half_open"), (45, "closed"), (60, "closed")]
    with open(folder / "events.jsonl", "w", encoding="utf-8") as file:
        for second, after in changes:
            event = {
                "event": f"circuit.{after}" if 0 < second < 60 else "agent.started",
                "emitted_at": datetime.fromtimestamp(NOW + second, UTC).isoformat(),
                "data": {"circuit": "gpt-4o", "after": after},
            }
            file.write(json.dumps(event) + "\n")
    output = folder / "report.html"
    arguments = ["report", str(path), "-o", str(output), "--events", str(folder / "events.jsonl")]
    assert main(arguments) == 0
    return path


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def seen(browser: Browser, book: Path, request: pytest.FixtureRequest) -> Iterator[Seen]:
    scheme, width = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests, complaints = list[str](), list[str]()
    page.on("request", lambda sent: requests.append(sent.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(book.with_name("report.html").as_uri(), timeout=PATIENCE_MS)
    yield Seen(page, requests, complaints)
    page.close()


def test_it_is_alone_and_quiet(seen: Seen, book: Path) -> None:
    """One request, for the file itself; nothing on the console; names are text and run nothing."""
    assert seen.requests == [book.with_name("report.html").as_uri()]
    assert seen.complaints == []
    assert seen.page.title() == "Spend"
    assert seen.page.locator("img, script, iframe").count() == 0
    assert EVIL in seen.page.inner_text("body")


def test_nothing_is_wider_than_the_screen(seen: Seen) -> None:
    """Neither the page nor any of its texts; a table scrolls in its own box if it must."""
    wide = seen.page.evaluate(
        """() => [document.documentElement.scrollWidth > innerWidth,
        [...document.querySelectorAll('h1, h2, p, svg, .scroll')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.textContent)]"""
    )
    assert wide == [False, []]


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2, of an opaque colour as browsers compute it."""
    parts = [float(part) for part in re.findall(r"[\d.]+", colour)]
    assert len(parts) == 3 or parts[3] == 1, colour
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (p / 255 for p in parts[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_of_contrast_is_right() -> None:
    """Black on white is 21, equal colours are 1."""
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(9, 99, 200)", "rgb(9, 99, 200)") == 1


def test_it_can_be_read_in_both_schemes(seen: Seen) -> None:
    """Every text and everything drawn stands out from what is behind it."""
    ground, texts, drawn = seen.page.evaluate(
        """() => {
        const of = (selector, name) => [...document.querySelectorAll(selector)]
            .map(e => [e.tagName + '.' + (e.className.baseVal ?? e.className), getComputedStyle(e)[name]]);
        return [getComputedStyle(document.body).backgroundColor,
            of('h1, h2, p, td, th, span', 'color'),
            of('.bar, .spent, .closed, .half_open, .open', 'fill')]}"""
    )
    assert {kind for kind, _ in drawn} >= {"rect.bar", "rect.spent", "rect.open", "rect.closed"}
    for least, shown in ((TEXT, texts), (DRAWN, drawn)):
        low = {(kind, colour) for kind, colour in shown if contrast(colour, ground) < least}
        assert not low


def test_the_schemes_differ(browser: Browser, book: Path) -> None:
    """Light is light and dark is dark."""
    grounds = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(book.with_name("report.html").as_uri(), timeout=PATIENCE_MS)
        grounds.append(luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")))
        page.close()
    assert grounds[0] > 0.9
    assert grounds[1] < 0.1


def rows(page: Page, title: str) -> list[list[str]]:
    table = page.locator("section", has=page.locator("h2", has_text=re.compile(f"^{title}$")))
    return [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]


def test_its_figures_are_those_of_the_ledger(seen: Seen, book: Path) -> None:
    """Total, every table, what budgets have left, and the doubts."""
    page = seen.page
    with SpendLedger(book, read_only=True) as ledger:
        assert page.inner_text(".big") == f"${ledger.total():f}"
        for title, name in (
            ("Projects", "project"),
            ("Models", "model"),
            ("Most expensive runs", "run"),
            ("Failed calls and what they cost", "failure"),
            ("How the spend is known", "certainty"),
        ):
            shown = {
                row[0]: (row[1].replace(",", ""), row[2].replace(",", ""), row[3])
                for row in rows(page, title)
            }
            booked = {
                str(group.group): (str(group.calls), str(group.tokens), format(group.cost, "f"))
                for group in ledger.by(name)
                if group.group or name not in ("run", "failure")
            }
            assert shown.items() <= booked.items(), title
            assert len(shown) == min(len(booked), RUNS), title
        days = page.locator("rect.bar > title").all_text_contents()
        assert days == [f"{g.group}: ${g.cost:f}, {g.calls:,} calls" for g in ledger.by("day")]
        assert [row[0] for row in rows(page, "In doubt")] == [doubt.key for doubt in ledger.doubts()]
        left = {text.rpartition(" ")[0] for text in page.locator(".budget .left").all_inner_texts()}
        assert left == {
            f"${decimal_usd(limits['usd'] - settled.get('usd', 0) - reserved.get('usd', 0)):f}"
            for settled, reserved, limits in ledger.budgets().values()
        }
    drawn: Callable[[str], float] = lambda kind: sum(  # noqa: E731
        float(width or 0)
        for width in page.locator(f"svg[aria-label='states of gpt-4o'] .{kind}").evaluate_all(
            "all => all.map(e => e.getAttribute('width'))"
        )
    )
    assert [drawn(kind) for kind in ("closed", "open", "half_open")] == [250, 300, 50]
