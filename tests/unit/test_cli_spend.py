"""``techrevati spend`` and ``techrevati doubts``: sums, alerts, and one line when it cannot be."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.cli import main
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.usage import UsageSnapshot

NOW = 1_750_000_000.0
USAGE = UsageSnapshot(input_tokens=100, output_tokens=10)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "spend.db"
    with SpendLedger(path) as ledger:
        ledger.record(project="alpha", model="m1", usage=USAGE, cost=0.25)
        ledger.record(project="alpha", model="m2", usage=USAGE, cost=0.5)
        ledger.record(project="=beta()\x1b[31m", model="m1", usage=USAGE, cost=1)
    return path


def test_sums_are_a_table_with_a_total(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every group and the exact total are shown, and nothing steers the terminal."""
    assert main(["spend", "--ledger", str(book), "--by", "project"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = out.splitlines()
    assert lines[0].split() == ["project", "calls", "tokens", "USD"]
    assert ["alpha", "2", "220", "0.75"] in [line.split() for line in lines]
    assert lines[-1].split() == ["total", "3", "330", "1.75"]


def test_json_and_csv_keep_every_digit(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Money is text in JSON; a name that is a formula is none in CSV."""
    assert main(["spend", "--ledger", str(book), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total_usd"] == "1.75"
    assert {"project": "alpha", "model": "m2", "calls": 1, "tokens": 110, "cost_usd": "0.5"} in told["groups"]
    assert main(["spend", "--ledger", str(book), "--csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["project", "model", "calls", "tokens", "cost_usd"]
    assert any(row[0].startswith("'=beta()") for row in rows)


def test_calls_that_nothing_prices_are_not_free(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In every form, and on no form's own ground: CSV stays CSV."""
    with SpendLedger(book) as ledger:
        for number in range(7):
            ledger.record(project="alpha", model=f"nobody-knows-{number}", usage=USAGE)
        ledger.record(project="alpha", model="nobody-knows-3", usage=USAGE)
        html = ledger._repr_html_()
    said = "8 calls have no price and count as $0: nobody-knows-3 (2), nobody-knows-0 (1)"
    assert said in html
    assert "and 2 more models." in html
    assert main(["spend", "--ledger", str(book)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["spend", "--ledger", str(book), "--csv"]) == 0
    told = capsys.readouterr()
    assert said in told.err
    assert "$0" not in told.out
    assert main(["spend", "--ledger", str(book), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unpriced_calls"]["nobody-knows-3"] == 2
    page = book.with_name("report.html")
    assert main(["report", str(book), "-o", str(page)]) == 0
    assert said in page.read_text(encoding="utf-8")


def test_nothing_is_said_of_prices_when_all_are_known(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor of calls before the time that is asked about."""
    assert main(["spend", "--ledger", str(book)]) == 0
    assert "no price" not in capsys.readouterr().out
    with SpendLedger(book, clock=lambda: NOW) as ledger:
        ledger.record(project="alpha", model="nobody-knows", usage=USAGE)
    assert main(["spend", "--ledger", str(book), "--since", "7d"]) == 0
    assert "no price" not in capsys.readouterr().out


def test_a_long_name_leaves_room_for_the_numbers(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table; the other forms have it whole."""
    with SpendLedger(book) as ledger:
        ledger.record(project="p" * 900, model="m1", usage=USAGE, cost=1)
    assert main(["spend", "--ledger", str(book), "--by", "project"]) == 0
    out = capsys.readouterr().out
    assert "p" * 47 + "…" in out
    assert max(map(len, out.splitlines())) < 100
    assert main(["spend", "--ledger", str(book), "--csv"]) == 0
    assert "p" * 900 in capsys.readouterr().out


def test_since_leaves_older_calls_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls of 2025 are not of the last seven days, but they are since 2025-01-01."""
    path = tmp_path / "old.db"
    with SpendLedger(path, clock=lambda: NOW) as ledger:
        ledger.record(project="alpha", model="m", usage=USAGE, cost=1)
    assert main(["spend", "--ledger", str(path), "--since", "7d"]) == 0
    assert capsys.readouterr().out == "No calls are on the books.\n"
    assert main(["spend", "--ledger", str(path), "--since", "2025-01-01"]) == 0
    assert "alpha" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "7y"], "--since must be like"),
        (["--since", "999999w"], "--since must be like"),
        (["--by", "colour"], "colour"),
        (["--by", ""], "names must be of"),
    ],
)
def test_wrong_arguments_are_one_line(
    book: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is named, in one line, with status 2."""
    assert main(["spend", "--ledger", str(book), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [["spend"], ["doubts", "list"]])
def test_files_that_are_no_ledger_are_left_alone(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing, text, and another program's database: one line each, and the file stays as it was."""
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("not a database, but long enough to be looked at" * 50)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    for path in (tmp_path / "none.db", text, other, tmp_path):
        assert main([*command, "--ledger", str(path)]) == 2, path
        error = capsys.readouterr().err
        assert error.startswith(f"techrevati {command[0]}: ")
        assert error.count("\n") == 1
    assert other.read_bytes() == before
    assert not (tmp_path / "none.db").exists()


def doubtful(path: Path, key: str) -> None:
    """Leave a reservation behind whose lease ended long ago."""
    ledger = SpendLedger(path, clock=lambda: NOW)
    budget = Budget("team", limits={"total_tokens": 1000}, ledger=ledger, clock=lambda: NOW)
    budget.reserve(model="m1", input_tokens=100, max_output_tokens=50, project="alpha", key=key)


def test_doubts_alert_until_they_are_resolved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 while any is open; resolved ones are on the books, or given back."""
    path = tmp_path / "spend.db"
    doubtful(path, "one")
    doubtful(path, "two")
    ledger = ["--ledger", str(path)]
    assert main(["doubts", "list", *ledger]) == 1
    out = capsys.readouterr().out
    assert out.startswith("one  $")
    assert "alpha" in out
    assert main(["doubts", "resolve", "one", "--input-tokens", "90", "--output-tokens", "7", *ledger]) == 0
    assert main(["doubts", "list", *ledger]) == 1
    assert main(["doubts", "resolve", "two", "--not-sent", *ledger]) == 0
    assert main(["doubts", "list", *ledger]) == 0
    assert main(["doubts", "resolve", "two", "--not-sent", *ledger]) == 1
    with SpendLedger(path) as books:
        (record,) = books.records()
    assert (record.key, record.usage.input_tokens, record.usage.output_tokens) == ("one", 90, 7)


def test_a_doubt_of_an_unknown_price_is_resolved_with_its_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command knows no prices that the program registered: it says what to give, and keeps the doubt."""
    path = tmp_path / "spend.db"
    ledger = SpendLedger(path, clock=lambda: NOW)
    budget = Budget("team", 1, ledger=ledger, clock=lambda: NOW)
    budget.reserve(model="m1", input_tokens=100, max_output_tokens=50, max_cost_usd=0.5, key="one")
    command = ["doubts", "resolve", "one", "--input-tokens", "90", "--output-tokens", "7"]
    command += ["--ledger", str(path)]
    assert main(command) == 2
    assert "--cost-usd" in capsys.readouterr().err
    assert main(["doubts", "list", "--ledger", str(path)]) == 1
    assert main([*command, "--cost-usd", "0.125"]) == 0
    assert ledger.total() == Decimal("0.125")
    assert budget.snapshot().settled["usd"] == Decimal("0.125")
    ledger.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "key"],
        ["list", "--cost-usd", "1"],
        ["resolve", "key", "--not-sent", "--cost-usd", "1"],
        *(
            ["resolve", "key", "--input-tokens", "1", "--output-tokens", "1", "--cost-usd", cost]
            for cost in ("-1", "nan", "inf", "much")
        ),
        ["resolve"],
        ["resolve", "key"],
        ["resolve", "key", "--input-tokens", "1"],
        ["resolve", "key", "--not-sent", "--input-tokens", "1", "--output-tokens", "1"],
        ["resolve", "key", "--not-sent", "--estimated"],
        ["resolve", "key", "--input-tokens", "-1", "--output-tokens", "1"],
    ],
)
def test_half_an_answer_is_none(book: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing is said, with status 2, and nothing is resolved."""
    assert main(["doubts", *arguments, "--ledger", str(book)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_as_a_process(book: Path) -> None:
    """The command works as a user starts it, with the ledger in the folder it is started in."""
    done = subprocess.run(
        [sys.executable, "-m", "techrevati.runtime", "spend"],
        cwd=book.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "alpha" in done.stdout


def test_a_ledger_of_an_older_version_is_brought_forward(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that only looks works on it, too; a file that is no ledger does not become one."""
    first = Path(__file__).parents[1] / "data" / "ledger-1.sql"
    connection = sqlite3.connect(tmp_path / "spend.db")
    connection.executescript(first.read_text(encoding="utf-8"))
    connection.close()
    for command in (
        ["spend", "--ledger"],
        ["report", "-o", str(tmp_path / "r.html")],
        ["doubts", "list", "--ledger"],
    ):
        assert main([*command, str(tmp_path / "spend.db")]) in (0, 1), capsys.readouterr().err
    assert capsys.readouterr().err == ""
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.executescript(
        "CREATE TABLE techrevati_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL);"
        "INSERT INTO techrevati_schema VALUES ('store', 1)"  # of an older version, too
    )
    connection.close()
    assert main(["spend", "--ledger", str(tmp_path / "store.db")]) == 2
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert "spend" not in str(connection.execute("SELECT name FROM sqlite_master").fetchall())
