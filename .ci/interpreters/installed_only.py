"""A pytest plugin for a second interpreter with the package, pytest and hypothesis alone.

A file that imports a package which is not installed is left out, and the summary names it: nothing is left
out in silence.  Properties are tried with few examples and slow tests are not run: that they hold is shown by
the full run, here the question is the interpreter.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from hypothesis import settings

_EXAMPLES = 10
_left_out: set[str] = set()


def _imported(source: str) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.suffix != ".py":
        return None
    missing = {
        name
        for name in _imported(collection_path.read_text(encoding="utf-8"))
        if importlib.util.find_spec(name) is None
    }
    _left_out.update(f"{collection_path.name} (needs {name})" for name in missing)
    return bool(missing) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
    for item in items:
        function = getattr(item, "function", None)
        machine = getattr(item, "cls", None)
        for place, name in ((function, "_hypothesis_internal_use_settings"), (machine, "settings")):
            asked = getattr(place, name, None)
            if isinstance(asked, settings):
                setattr(place, name, settings(asked, max_examples=min(asked.max_examples, _EXAMPLES)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.write_line("left out: " + ", ".join(sorted(_left_out)))
