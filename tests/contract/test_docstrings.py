"""Every public thing says what it is, and every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import techrevati.runtime

PACKAGE = "techrevati.runtime"


def module_names() -> list[str]:
    """Every module of the package, private ones included; ``__main__`` would run."""
    found = pkgutil.walk_packages(techrevati.runtime.__path__, f"{PACKAGE}.")
    return [PACKAGE, *(module.name for module in found if not module.name.endswith("__main__"))]


NAMES = module_names()
ROOMS = [name for name in NAMES if name.count(".") == 2]


def offered(room: ModuleType) -> Iterator[tuple[str, object]]:
    """Public classes and functions of a room, wherever defined, and what the classes hold."""
    for name, value in vars(room).items():
        home = str(getattr(value, "__module__", ""))
        if name.startswith("_") or not (home == room.__name__ or home.startswith(f"{room.__name__}.")):
            continue
        if inspect.isclass(value):
            yield name, value
            for attribute, member in vars(value).items():
                plain = getattr(member, "__func__", member)
                if attribute.startswith("_") or not (
                    inspect.isfunction(plain) or isinstance(plain, property)
                ):
                    continue
                if isinstance(plain, property) and f"{attribute}: " in (value.__doc__ or ""):
                    continue  # told among the attributes of its class
                yield f"{name}.{attribute}", plain
        elif inspect.isfunction(value):
            yield name, value


def is_generated(value: object) -> bool:
    """A dataclass without a docstring gets its signature as one."""
    text = getattr(value, "__doc__", None) or ""
    return inspect.isclass(value) and text.startswith(f"{value.__name__}(") and text.endswith(")")


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_its_idea(name: str) -> None:
    """Its docstring starts with a sentence."""
    text = inspect.getdoc(importlib.import_module(name))
    assert text, f"{name} has no docstring"
    assert text.split("\n\n")[0].endswith((".", ":", "?"))


@pytest.mark.parametrize("name", ROOMS)
def test_public_things_have_docstrings(name: str) -> None:
    """Every public class, function, method and property of our own says what its signature cannot."""
    found = dict(offered(importlib.import_module(name)))
    silent = [
        what for what, value in found.items() if not getattr(value, "__doc__", None) or is_generated(value)
    ]
    assert not silent, f"{name}: no docstring: {', '.join(silent)}"


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name: str) -> None:
    """Every example gives what it says, in any order and twice."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    for _ in range(2):
        for test in finder.find(module, name):
            shown: list[str] = []
            results = doctest.DocTestRunner(optionflags=flags).run(test, out=shown.append, clear_globs=False)
            assert results.failed == 0, "".join(shown)


def test_there_are_examples() -> None:
    """The finder finds the breaker's and the tracker's."""
    finder = doctest.DocTestFinder()
    for name in ("circuit_breaker.breaker", "usage_tracking", "testing.clock"):
        module = importlib.import_module(f"{PACKAGE}.{name}")
        assert any(test.examples for test in finder.find(module)), name
