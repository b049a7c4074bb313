"""``techrevati report``: one whole page, nothing from elsewhere, nothing unescaped, every table bounded."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.cli import main
from techrevati.runtime.cli.report_page import page
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


def written_at(ledger: SpendLedger) -> str:
    return page(ledger, None, {}, datetime.fromtimestamp(NOW, UTC))


def test_the_page_is_whole_and_alone(book: Path, tmp_path: Path) -> None:
    """Elements balance, nothing is loaded, no script runs, both themes and small screens are served."""
    text = written(tmp_path)
    read = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    assert not {"src", "href", "onload"} & {name for name, _ in read.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme:dark" in text
    assert ("name", "viewport") in read.attributes
    assert "$15.00" in text or "$15" in text
    assert "&lt;script&gt;" in text


def test_tables_are_bounded(book: Path, tmp_path: Path) -> None:
    """Of 60 projects 50 are shown, of 60 runs 20, and the page says so."""
    text = written(tmp_path)
    assert text.count("10 more rows are not shown.") == text.count("40 more rows are not shown.") == 1


def test_what_budgets_have_left(book: Path, tmp_path: Path) -> None:
    """The limit less what is settled and reserved; the ledger keeps it, the command line may know better."""
    with SpendLedger(book) as ledger:
        (doubt,) = ledger.doubts()
    assert f">${5 - doubt.cost:f} left<" in written(tmp_path)
    assert f">${7 - doubt.cost:f} left<" in written(tmp_path, "--limit", f"{EVIL}=7")
    text = written(tmp_path, "--limit", f"{EVIL}=0.0005")
    assert f">${doubt.cost - Decimal('0.0005'):f} over<" in text
    assert 'class="held" x="0.00" y="0" width="600.00"' in text


@pytest.mark.parametrize("per", [None, "minute", "hour", "day", "month"])
def test_a_budget_and_its_window_are_told_apart(
    per: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A colon in either is no border; a limit for a budget that is not there is told."""
    with SpendLedger(tmp_path / "spend.db", clock=lambda: NOW) as ledger:
        budget = Budget("team:a", limit_usd=1, per=per, ledger=ledger, clock=lambda: NOW)
        budget.reserve(model="gpt-4o", input_tokens=1, max_output_tokens=1).settle(UsageSnapshot())
    window = budget.snapshot().window
    shown = f' <span class="dim">{window}</span>' if per else ""
    assert f"<p>team:a{shown} <span" in written(tmp_path, "--limit", "team:a=7")
    assert not capsys.readouterr().err
    assert ">$7 left<" in written(tmp_path, "--limit", "team:a=7", "--limit", "taem=3")
    assert "has no budget 'taem'" in capsys.readouterr().err


def test_limits_of_every_unit_and_window(tmp_path: Path) -> None:
    """Counts beside money, the newest window first; a budget without limits is not among them."""
    with SpendLedger(tmp_path / "spend.db", clock=lambda: NOW) as ledger:
        for day, limit in ((0, 10), (1, 20)):
            budget = Budget(
                "team",
                per="day",
                limits={"model_calls": limit, "wall_seconds": 90},
                ledger=ledger,
                clock=lambda day=day: NOW + day * 86_400.0,  # type: ignore[misc]
                monotonic=lambda: 0.0,
            )
            for _ in range(3):
                budget.reserve(model="m", wall_seconds=1.5).settle(UsageSnapshot(1))
            open_call = budget.reserve(model="m", wall_seconds=1.5)
        Budget("free", ledger=ledger).reserve(model="m").settle(UsageSnapshot(1))
        text = written_at(ledger)
        text = text[text.index("Budgets") :]
        open_call.release()
    assert text.index("2025-06-16") < text.index("2025-06-15")
    for part in (
        "16 left<",
        "6 left<",
        ">3 model calls settled, 1 reserved of 20 model calls<",
        ">88.5 left<",
        ">0 wall seconds settled, 1.5 reserved of 90 wall seconds<",
    ):
        assert part in text, part
    assert "free" not in text


def test_what_failures_cost(tmp_path: Path) -> None:
    """By kind: what the provider refused, what broke off after it was sent, what a caller said of it."""

    class RefusedError(Exception):
        status_code = 429

    with SpendLedger(tmp_path / "spend.db") as ledger:
        budget = Budget("team", 5, ledger=ledger)

        def fails(error: BaseException | None) -> None:
            with budget.reserve(model="gpt-4o", input_tokens=1000, max_output_tokens=1):
                if error is not None:
                    raise error

        for error in (RefusedError(), RefusedError(), TimeoutError(), ConnectionResetError(), None):
            with suppress(Exception):
                fails(error)
        ledger.record(project="p", model="gpt-4o", usage=UsageSnapshot(10), failure="output_validation")
        ledger.record(project="p", model="gpt-4o", usage=UsageSnapshot(10))
        by_kind = {group.group: (group.calls, format(group.cost, "f")) for group in ledger.by("failure")}
    assert by_kind == {
        "": (2, "0.002525"),
        "rate_limit": (2, "0"),
        "timeout": (1, "0.0025"),
        "network": (1, "0.0025"),
        "output_validation": (1, "0.000025"),
    }
    text = written(tmp_path)
    failed = text[text.index("Failed calls") : text.index("How the spend is known")]
    assert Page(failed[failed.index("<div") : failed.index("</section>")]).rows == 5
    for kind, (calls, cost) in by_kind.items():
        row = f'<td>{kind.replace("_", " ")}</td><td class="n">{calls}</td>'
        assert (row in failed) is (kind != "")
        assert not kind or f'<td class="n">{cost}</td>' in failed.split(row)[1].split("</tr>")[0]


def test_circuits_are_a_timeline(book: Path, tmp_path: Path) -> None:
    """Changes are drawn; lines that are none are passed over."""
    lines = ["{", "[]", '"circuit."', '{"event": "circuit.opened"}', '{"event": 1, "x": "circuit."}']
    lines += [f'{{"event":"agent.started","emitted_at":"2026-01-01T00:00:{s:02}+00:00"}}' for s in (0, 10)]
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
    read = Page(text)
    states = [value for name, value in read.attributes if name == "class"]
    assert [states.count(state) for state in ("open", "half_open", "closed")] == [1, 1, 2]
    assert "<script" not in text
    # From the first event of the file to the last: closed for 1 s, open for 4, half-open for 1, closed for 4.
    widths = [value for name, value in read.attributes if name == "width"][-4:]
    assert widths == ["60.00", "240.00", "60.00", "240.00"]


def test_a_file_without_events_has_no_timeline(book: Path, tmp_path: Path) -> None:
    """It is said, not drawn."""
    (tmp_path / "events.jsonl").write_text('{"emitted_at": "yesterday"}\n')
    assert "No circuit breaker changed." in written(tmp_path, "--events", str(tmp_path / "events.jsonl"))


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


def test_windows_of_now_are_shown_however_many_are_over(tmp_path: Path) -> None:
    """A budget by the minute does not push out what another one has left."""
    now = [NOW - 60 * 80]
    with SpendLedger(tmp_path / "spend.db", clock=lambda: now[0]) as ledger:
        for name, per in (("acme", "day"), ("base", "month"), ("cap", None)):
            Budget(name, 5, per, ledger=ledger, clock=lambda: NOW).reserve(max_cost_usd=1).settle(
                UsageSnapshot(1), cost=1
            )
        minutes = Budget("zoom", 5, "minute", ledger=ledger, clock=lambda: now[0])
        for _ in range(81):
            minutes.reserve(max_cost_usd=1).settle(UsageSnapshot(1), cost=1)
            now[0] += 60
        text = written_at(ledger)
    assert "31 older windows" not in text
    assert "34 older windows" in text
    for name in ("acme", "base", "cap", "zoom"):
        assert f"<p>{name}" in text
    assert f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%dT%H:%M}" in text


def test_a_full_disk_is_told_with_the_page_that_it_has_no_room_for(
    book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of writing does not say where."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    assert main(["report", str(book), "-o", "/dev/full"]) == 2
    assert "/dev/full" in capsys.readouterr().err
