"""The examples of guarded calls run as they are, offline."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
NEEDS = {
    "guard_openai": "openai",
    "guard_function": "openai",
    "guard_langchain": "langchain",
    "guard_langgraph": "langgraph",
    "guard_openai_agents": "agents",
    "guard_pydantic_ai": "pydantic_ai",
}


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_runs(name: str) -> None:
    """It ends well: its own assertions hold, and nothing is left open."""
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    path = FOLDER / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ledger" in done.stdout
