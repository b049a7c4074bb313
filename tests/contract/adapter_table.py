"""The table of ``docs/adapters.md``: which adapter keeps which promise, with the installed packages.

``python -m tests.contract.adapter_table`` runs the conformance kit and writes the table of this environment;
run it in one of each generation.  A test compares the page with the kit: a cell is there when its test is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integration import test_adapter_conformance as kit

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
PACKAGES = ("langchain-core", "langgraph", "openai-agents", "pydantic-ai-slim", "openai", "anthropic")
COLUMNS = {
    "usage = bill, requests counted": ("test_usage_equals_the_bill",),
    "a veto sends nothing": (
        "test_an_open_breaker_sends_nothing",
        "test_a_spent_budget_sends_nothing",
        "test_a_deadline_that_is_over_sends_nothing",
    ),
    "breaker opens": ("test_failures_open_the_breaker",),
    "Retry-After once": ("test_retry_after_is_waited_for_once",),
    "errors keep their type": ("test_errors_keep_their_type",),
    "left streams estimated": ("test_a_stream_that_is_left_is_estimated",),
    "cancellation lands": ("test_cancellation_lands",),
    "permissions and guardrails": (
        "test_a_permission_refuses",
        "test_guardrails_see_arguments_and_result",
        "test_tool_calls_are_counted",
    ),
    "double resume refused": ("test_a_double_resume_is_refused",),
}


def generation() -> str:
    """What is installed: majors, or minors below 1."""
    return ", ".join(f"{name.removesuffix('-slim')} {_short(version(name))}" for name in PACKAGES)


def _short(full: str) -> str:
    major, minor, *_ = full.split(".")
    return f"0.{minor}" if major == "0" else major


def cells() -> dict[tuple[str, str], list[str]]:
    """(adapter, column) -> the ids of its tests in the kit."""
    found: dict[tuple[str, str], list[str]] = {}
    for column, tests in COLUMNS.items():
        for test in tests:
            (mark,) = (one for one in getattr(kit, test).pytestmark if one.name == "parametrize")
            for adapter in mark.args[1]:
                found.setdefault((adapter.name, column), []).append(f"{test}[{adapter.name}]")
    return found


def table(passed: Mapping[str, bool] | None = None) -> str:
    """The table; without outcomes, as it is when everything passes."""
    lines = [f"| adapter | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    ids = cells()
    for adapter in kit.HERE:
        row = []
        for column in COLUMNS:
            tests = ids.get((adapter.name, column))
            good = tests is not None and all(passed is None or passed.get(test, False) for test in tests)
            row.append("" if tests is None else "yes" if good else "**no**")
        lines.append(f"| {adapter.name} | {' | '.join(row)} |")
    return "\n".join(lines)


def with_table(text: str, made: str) -> str:
    """The page with the table of this environment in its place."""
    begin, end = f"<!-- {generation()}: begin -->", f"<!-- {generation()}: end -->"
    assert begin in text, f"docs/adapters.md has no place for {generation()}"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{made}\n\n{end}", text, flags=re.S)


class Outcomes:
    """A plugin of pytest that remembers what passed."""

    def __init__(self) -> None:
        self.passed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        name = report.nodeid.partition("::")[2]
        self.passed[name] = self.passed.get(name, True) and report.passed


def main() -> int:
    """Run the kit and write what came out."""
    outcomes = Outcomes()
    code = pytest.main(["-q", "-W", "ignore", "--tb=line", str(kit.__file__)], plugins=[outcomes])
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(outcomes.passed)), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
