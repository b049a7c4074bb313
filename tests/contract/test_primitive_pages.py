"""Each primitive has a page: what it decides, when to use it, its numbers, what it does not do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import reduce
from math import inf
from pathlib import Path
from typing import Any

import pytest

import techrevati.runtime as runtime
from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.testing import ScriptedModel, run

DOCS = Path(__file__).parents[2] / "docs"
NOT_PUBLIC = ("_core", "cli", "data")
COMPOSE = ("integrations", "otel")  # they decide nothing; their pages say how others show and get all of it
ELSEWHERE = {"ChaosServer": ChaosServer, "ScriptedModel": ScriptedModel, "run": run}
NOTHING = ("none", "no limit", "for ever")


def table() -> dict[str, Path]:
    """The page of each module, as the list of primitives has it."""
    found = {}
    for modules, page in re.findall(r"^\| (`[^|]+) \|[^|]+\| \[[^]]+\]\(([^)#]+)\) \|$", LIST, re.M):
        for module in re.findall(r"`(\w+)`", modules):
            found[module] = DOCS / page
    return found


LIST = (DOCS / "primitives.md").read_text(encoding="utf-8")
MODULES = table()
PAGES = sorted(
    {page for module, page in MODULES.items() if module not in COMPOSE}
    | set((DOCS / "primitives").glob("*.md"))
)


def test_every_module_has_a_page() -> None:
    package = Path(runtime.__file__).parent
    modules = {
        path.stem
        for path in package.iterdir()
        if not path.name.startswith("__") and path.suffix in ("", ".py")
    }
    assert modules - set(NOT_PUBLIC) == set(MODULES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_all_that_a_reader_needs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    beginning = text.partition("```")[0]
    assert re.search(r"[Dd]ecides? \*\*|decides \*\*nothing", beginning), "what it decides"
    assert re.search(r"\b[Uu]se\b", beginning), "when to use it"
    assert "```python" in text
    assert re.search(r"^##+ (Its|Their) numbers$", text, re.M)
    assert re.search(r"^##+ What it does not do$", text, re.M)


def rows(page: Path) -> Iterator[tuple[str, str, str]]:
    """(callable, argument, default as written) of the page's tables of arguments."""
    text = page.read_text(encoding="utf-8")
    for head, lines in re.findall(
        r"^\| argument([^|]*)\| default \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M
    ):
        name = "".join(re.findall(r"`([\w.]+)`", head))
        for line in lines.splitlines():
            first, default = (cell.strip() for cell in line.split("|")[1:3])
            arguments = []
            for code in re.findall(r"`([^`]+)`", first):
                called, _, inside = code.rpartition("(")
                name = called or name
                arguments += [each.strip("=…)") for each in inside.split(", ") if each.strip("=…)")]
            several = default.split(", ") if len(arguments) > 1 and ", " in default else [default]
            for argument, shown in zip(arguments, several * (len(arguments) // len(several)), strict=True):
                yield name, argument, shown


def parameters(name: str) -> dict[str, object]:
    found: Any = ELSEWHERE.get(name) or getattr(runtime.OrchestrationSession, name, None)
    made: Any = found or reduce(getattr, name.split("."), runtime)
    signature = inspect.signature(made)
    return {
        key: None if each.default in (inf, ()) else each.default for key, each in signature.parameters.items()
    }


def value(shown: str) -> object:
    shown = shown.partition(":")[0].strip("`")
    if shown in NOTHING:
        return None
    if shown == "must be given":
        return inspect.Parameter.empty
    if shown in ("True", "False"):
        return shown == "True"
    return shown.strip('"') if shown.startswith('"') else float(shown.replace(",", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_numbers_are_those_of_the_code(page: Path) -> None:
    for name, argument, shown in rows(page):
        assert (name, argument, parameters(name)[argument]) == (name, argument, value(shown))


def test_the_tables_are_found() -> None:
    """So that a table in another form is not taken for one without an error."""
    assert sum(1 for page in PAGES for _ in rows(page)) > 60
