"""``techrevati report``: one whole page, nothing from elsewhere, nothing unescaped, every table bounded."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.cli import main
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.usage import UsageSnapshot

NOW = 1_750_000_000.0
EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "rect", "line"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.rows = 0
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        self.rows += tag == "tr"
        if tag != "meta":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "spend.db"
    usage = UsageSnapshot(input_tokens=100, output_tokens=10)
    ledger = SpendLedger(path, clock=lambda: NOW)
    for number in range(60):
        ledger.record(project=f"{EVIL}{number}", model=EVIL, usage=usage, cost=0.25, run=f"run {number}")
    budget = Budget(EVIL, limit_usd=5, ledger=ledger, clock=lambda: NOW)
    budget.reserve(model="gpt-4o", input_tokens=100, max_output_tokens=50, project=EVIL, key=f"{EVIL} key")
    return path


def written(tmp_path: Path, *arguments: str) -> str:
    output = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "spend.db"), "-o", str(output), *arguments]) == 0
    return output.read_text(encoding="utf-8")


def test_the_page_is_whole_and_alone(book: Path, tmp_path: Path) -> None:
    """Elements balance, nothing is loaded, no script runs, both themes and small screens are served."""
    text = written(tmp_path)
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme:dark" in text
    assert ("name", "viewport") in page.attributes
    assert "$15.00" in text or "$15" in text
    assert "&lt;script&gt;" in text


def test_tables_are_bounded(book: Path, tmp_path: Path) -> None:
    """Of 60 projects and 60 runs 50 are shown, and the page says so."""
    text = written(tmp_path)
    assert text.count("10 more rows are not shown.") == 2


def test_what_is_left_is_told_for_given_limits(book: Path, tmp_path: Path) -> None:
    """A limit from the command line less what is settled and reserved, and the doubt that holds it."""
    with SpendLedger(book) as ledger:
        (doubt,) = ledger.doubts()
    left = format(5 - doubt.cost, "f")
    assert f">{left}<" in written(tmp_path, "--limit", f"{EVIL}=5")
    assert f">{left}<" not in written(tmp_path)


def test_circuits_are_a_timeline(book: Path, tmp_path: Path) -> None:
    """Changes are drawn; lines that are none are passed over."""
    lines = ["{", "[]", '"circuit."', '{"event": "circuit.opened"}', '{"event": 1, "x": "circuit."}']
    for second, after in ((1, "open"), (5, "half_open"), (6, "closed")):
        lines.append(
            json.dumps(
                {
                    "event": f"circuit.{after}",
                    "emitted_at": f"2026-01-01T00:00:0{second}+00:00",
                    "data": {"circuit": EVIL, "after": after},
                }
            )
        )
    events = tmp_path / "events.jsonl"
    events.write_text("\n".join(lines))
    text = written(tmp_path, "--events", str(events))
    page = Page(text)
    states = [value for name, value in page.attributes if name == "class"]
    assert [states.count(state) for state in ("open", "half_open", "closed")] == [1, 1, 1]
    assert "<script" not in text


def test_an_empty_ledger_has_a_page(tmp_path: Path) -> None:
    """Nothing spent is said, not drawn."""
    SpendLedger(tmp_path / "spend.db").close()
    text = written(tmp_path)
    Page(text)
    assert "No calls are on the books." in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.db"],
        ["spend.db", "-o", "spend.db"],
        ["spend.db", "-o", "no/such/folder.html"],
        ["spend.db", "--events", "none.jsonl"],
        ["spend.db", "--limit", "team"],
        ["spend.db", "--limit", "team=-1"],
        ["spend.db", "--limit", "team=nan"],
    ],
)
def test_what_cannot_be_is_one_line(
    book: Path,
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status 2, one line, and no page."""
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("techrevati report: ")
    assert error.count("\n") == 1
    assert not Path("report.html").exists()
