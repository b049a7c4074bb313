"""``techrevati prices``: shown, compared, taken over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from techrevati.runtime.cli import main
from techrevati.runtime.pricing import PriceBook, cost_usd, use_price_book
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import UsageTracker
from tests.unit.test_price_books import GENAI, LITELLM, OURS


def written(tmp_path: Path, content: object) -> str:
    path = tmp_path / "given"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def test_every_price_of_a_model_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Tiers, dates, hours and days, by the model's own name or a dated one."""
    assert main(["prices", "show", "anthropic/claude-opus-4-8"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "anthropic/claude-opus-4-8, at most 128,000 output tokens",
        PriceBook.bundled().version,
        "standard: input 5, output 25, cache_write 6.25, cache_read 0.5",
        "batch: input 2.5",
        "us: 1.1 times the price of tokens",
    ):
        assert text in shown.replace("  ", " ")
    assert main(["prices", "show", "gemini-flash-latest", "--provider", "gemini"]) == 0
    assert "batch from 2026-10-14: input 0.375" in capsys.readouterr().out.replace("  ", " ")
    assert main(["prices", "show", "deepseek-v4-pro"]) == 0
    assert "standard from 2026-08-17 01:00-04:00, 06:00-10:00 UTC" in capsys.readouterr().out
    assert main(["prices", "show", "deepseek-flash-latest", "--provider", "deepseek"]) == 0
    assert "UTC Mon, Tue, Wed, Thu, Fri" in capsys.readouterr().out
    assert main(["prices", "show", "gpt-5.5", "--provider", "azure_openai"]) == 0
    assert "above 272,000 input" in capsys.readouterr().out


def test_an_unknown_model_is_one_line_and_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With what it looks like."""
    assert main(["prices", "show", "gpt-4oo"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "gpt-4oo" in said.err
    assert "openai/gpt-4o" in said.err
    assert said.err.count("\n") == 1
    assert main(["prices", "show", "house/small", "--book", written(tmp_path, OURS)]) == 0
    assert "output 1 (2.5 above 1,000 input)" in capsys.readouterr().out


def test_a_file_of_others_is_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Changed prices with both values, new models, counts; equal ones are not listed."""
    assert main(["prices", "diff", written(tmp_path, LITELLM)]) == 1
    shown = capsys.readouterr().out.replace("  ", " ")
    assert "+ house/small" in shown
    assert "input (batch) 0.75" in shown
    changed = next(line for line in shown.splitlines() if line.startswith("~ openai/gpt-4o"))
    assert "input 2.5 -> 7" in changed
    assert "output 10 -> 8" in changed
    assert "1 changed, 1 new, 0 the same" in shown


def test_what_a_file_leaves_out_is_no_difference(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """LiteLLM's and genai-prices' files know fewer tiers and parts; only a price of theirs can differ."""
    row = {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    assert main(["prices", "diff", written(tmp_path, {"gpt-4o": row})]) == 0
    assert capsys.readouterr().out.startswith("0 changed, 0 new, 0 the same, 1 the same in what they price")


def test_the_example_runs_twice_in_one_folder(tmp_path: Path) -> None:
    """Its limit is for a run, its ledger for all of them."""
    script = Path(__file__).parents[2] / "examples" / "track_spend.py"
    for calls in (9, 18):
        run = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert f"{calls} calls" in run.stdout
        assert "refused before it was sent" in run.stdout


@pytest.mark.slow
def test_the_same_prices_are_no_difference(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The bundled book does not differ from itself, in any tier or period."""
    from techrevati.runtime.pricing.files import read_bundled

    assert main(["prices", "diff", written(tmp_path, read_bundled())]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("0 changed, 0 new, ")


@pytest.mark.parametrize("content", [OURS, LITELLM, GENAI], ids=["ours", "litellm", "genai-prices"])
def test_an_imported_book_prices_calls(
    content: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The lines that the command prints are those that work; an old book is replaced whole."""
    target = tmp_path / "prices.book"
    target.write_text("old", encoding="utf-8")
    assert main(["prices", "import", written(tmp_path, content), "-o", str(target)]) == 0
    shown = capsys.readouterr().out.splitlines()
    try:
        exec("\n".join(line.strip() for line in shown[-2:]), {})  # noqa: S102
        assert cost_usd("house/small", UsageSnapshot(1_000_000)) > 0
    finally:
        use_price_book(None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "prices.book"]


@pytest.mark.parametrize("action", ["diff", "import"])
def test_what_is_no_price_file_is_one_line_and_2(
    action: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing is written, and an old book stays."""
    target = tmp_path / "prices.book"
    target.write_text("old", encoding="utf-8")
    more = ["-o", str(target)] if action == "import" else []
    for file in (written(tmp_path, "{}"), str(tmp_path / "none")):
        assert main(["prices", action, file, *more]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"techrevati prices {action}: ")
        assert said.err.count("\n") == 1
    assert target.read_text(encoding="utf-8") == "old"
    if action == "import":
        assert main(["prices", "import", written(tmp_path, OURS), "-o", str(tmp_path / "no" / "book")]) == 2


def test_a_notebook_shows_the_tracker() -> None:
    """The cost of each model and the sum, with names made harmless."""
    tracker = UsageTracker()
    tracker.record_turn("gpt-4o-mini", UsageSnapshot(1_000_000, 1_000))
    tracker.record_turn("<script>", UsageSnapshot(5, 5))
    shown = tracker._repr_html_()
    assert ">gpt-4o-mini</td>" in shown
    assert "$0.150600" in shown
    assert "<script>" not in shown
    assert "2 turns, 1,000,005 input and 1,005 output tokens" in shown
