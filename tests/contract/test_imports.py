"""Who may import whom, and what a user of one primitive must not pay for.

The rules are read from the source with ``ast`` and proved once more in fresh interpreters.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import techrevati.runtime

PACKAGE = "techrevati.runtime"
(FOLDER,) = map(Path, techrevati.runtime.__path__)

# --- the table -----------------------------------------------------------------------------------------

CORE = {"_core"}
VOCABULARY = {"agent_events", "failures", "pricing", "stores", "usage"}
PRIMITIVES = {
    "agent_lifecycle",
    "approvals",
    "budgets",
    "bulkhead",
    "circuit_breaker",
    "deadlines",
    "failover",
    "guardrails",
    "handoffs",
    "hedging",
    "journal",
    "ledger",
    "loop_detection",
    "permissions",
    "policy_engine",
    "quality_gate",
    "rate_limit",
    "redaction",
    "retry_policy",
    "sinks",
    "streaming",
    "usage_tracking",
}
PIPELINE = {"pipeline"}
ADAPTERS = {"chaos", "integrations", "otel", "testing"}
ORCHESTRATOR = {"orchestrator"}
FLEET = {"fleet"}
PROGRAM = {"__main__", "cli"}
ROOMS = CORE | VOCABULARY | PRIMITIVES | PIPELINE | ADAPTERS | ORCHESTRATOR | FLEET | PROGRAM

# Room -> the other rooms it may import.  Siblings are never among them, but for what is named here.
MAY_IMPORT: dict[str, set[str]] = {
    "_core": set(),
    **dict.fromkeys(VOCABULARY, CORE),
    "pricing": CORE | {"usage"},
    **dict.fromkeys(PRIMITIVES, CORE | VOCABULARY),
    **dict.fromkeys(PIPELINE, CORE | VOCABULARY | PRIMITIVES),
    **dict.fromkeys(ADAPTERS, CORE | VOCABULARY | PRIMITIVES | PIPELINE),
    **dict.fromkeys(ORCHESTRATOR, CORE | VOCABULARY | PRIMITIVES | PIPELINE),
    **dict.fromkeys(FLEET, CORE | VOCABULARY | PRIMITIVES | PIPELINE | ORCHESTRATOR),
    **dict.fromkeys(PROGRAM, ROOMS),
}

HEAVY = {"asyncio", "http", "json", "logging", "random", "sqlite3", "ssl"}
MAY_BE_HEAVY = {"chaos", "integrations", "testing", *PROGRAM}
MAY_USE_OTHERS = {"integrations", "otel", "chaos"}  # and only where asked, or under ``try``

# --- reading ---------------------------------------------------------------------------------------------


def modules() -> list[tuple[str, str, Path]]:
    """(dotted name below the package, room, file) of every module on disk but the package itself."""
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts:
            found.append((".".join(parts), parts[0], path))
    return found


MODULES = modules()
ROOMS_ON_DISK = sorted({room for _, room, _ in MODULES})
PUBLIC_ROOMS = [room for room in ROOMS_ON_DISK if not room.startswith("_")]


def is_type_checking(node: ast.AST) -> bool:
    """``if TYPE_CHECKING:`` in any spelling."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports(tree: ast.AST, module: str, is_package: bool, *, in_functions: bool = True) -> Iterator[str]:
    """Every module that *tree* imports at run time, as absolute names."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            assert isinstance(node, ast.If)
            for statement in node.orelse:
                yield from imports(ast.Module([statement], []), module, is_package, in_functions=in_functions)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not in_functions:
            continue
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = f"{PACKAGE}.{module}".split(".")
                here = here[: len(here) - node.level + is_package]
                base = ".".join([*here, *([base] if base else [])])
            yield base
            if base == PACKAGE or base.startswith(f"{PACKAGE}."):
                yield from (f"{base}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, module, is_package, in_functions=in_functions)


def imported_by(name: str, path: Path, *, in_functions: bool = True) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return set(imports(tree, name, path.name == "__init__.py", in_functions=in_functions))


def room_of(imported: str) -> str | None:
    """The room of ours that an absolute name leads to; None for foreign names and the bare package."""
    if imported == PACKAGE or not imported.startswith(f"{PACKAGE}."):
        return None
    return imported.removeprefix(f"{PACKAGE}.").split(".")[0]


# --- the rules, read -------------------------------------------------------------------------------------


def test_the_reader_sees_what_it_must() -> None:
    """Relative, nested and function-level imports are seen; TYPE_CHECKING ones are not."""
    source = """
import os
from . import usage
from .._core import lazy
if TYPE_CHECKING:
    import json
else:
    import ssl
if typing.TYPE_CHECKING:
    import http
def f():
    import sqlite3
    from techrevati.runtime.pricing import usd
class C:
    import random
try:
    import asyncio
except ImportError:
    pass
"""
    everything = set(imports(ast.parse(source), "failures.rules", False))
    at_import = set(imports(ast.parse(source), "failures.rules", False, in_functions=False))
    assert everything >= {"os", "ssl", "sqlite3", "random", "asyncio", f"{PACKAGE}.pricing"}
    assert everything >= {f"{PACKAGE}.failures.usage", f"{PACKAGE}._core.lazy"}
    assert not everything & {"json", "http"}
    assert everything - at_import == {"sqlite3", f"{PACKAGE}.pricing", f"{PACKAGE}.pricing.usd"}


@pytest.mark.parametrize("room", ROOMS_ON_DISK)
def test_every_module_has_its_place(room: str) -> None:
    """A module that the table does not know is a decision that nobody took."""
    assert room in ROOMS, (
        f"{PACKAGE}.{room} is new: put it into VOCABULARY, PRIMITIVES, ADAPTERS or another set of the table "
        f"in {Path(__file__).name}, as far to the left as what it imports allows"
    )


@pytest.mark.parametrize(("name", "room", "path"), MODULES, ids=[name for name, _, _ in MODULES])
def test_a_module_imports_only_what_stands_to_its_left(name: str, room: str, path: Path) -> None:
    """``_core <- vocabulary <- primitives <- pipeline <- orchestrator <- fleet``; siblings stay apart."""
    allowed = MAY_IMPORT.get(room, set()) | {room}
    ours = {other for imported in imported_by(name, path) if (other := room_of(imported)) is not None}
    public_names = set(techrevati.runtime.__all__)
    wrong = ours - allowed - public_names
    assert not wrong, f"{PACKAGE}.{name} must not import {sorted(wrong)}"
    lazy = ours & public_names
    assert not lazy or room in PROGRAM, (
        f"{PACKAGE}.{name} imports {lazy} from the lazy package; name the module"
    )


@pytest.mark.parametrize(("name", "room", "path"), MODULES, ids=[name for name, _, _ in MODULES])
def test_a_module_imports_nothing_foreign(name: str, room: str, path: Path) -> None:
    """Only the standard library; adapters may look for what they adapt to."""
    tops = {imported.split(".")[0] for imported in imported_by(name, path)}
    foreign = tops - set(sys.stdlib_module_names) - {"techrevati"}
    if room not in MAY_USE_OTHERS:
        assert not foreign
    else:
        unconditional = {imported.split(".")[0] for imported in unguarded(path)}
        assert not (foreign & unconditional) or name.endswith("plugin")


def unguarded(path: Path) -> set[str]:
    """Imports that run, and may fail, as soon as the module is imported."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize(("name", "room", "path"), MODULES, ids=[name for name, _, _ in MODULES])
def test_no_heavy_import_at_module_level(name: str, room: str, path: Path) -> None:
    """asyncio, sqlite3, json, logging, random, ssl and http are imported where they are needed, if ever."""
    if room in MAY_BE_HEAVY:
        return
    tops = {imported.split(".")[0] for imported in imported_by(name, path, in_functions=False)}
    assert not tops & HEAVY


def test_only_fleet_and_cli_import_the_orchestrator() -> None:
    """Nothing else knows that sessions exist; only the program knows fleet, testing, chaos and adapters."""
    for name, room, path in MODULES:
        ours = {other for imported in imported_by(name, path) if (other := room_of(imported)) is not None}
        others = ours - {room}
        if "orchestrator" in others:
            assert room in FLEET | PROGRAM, name
        if others & (FLEET | ADAPTERS):
            assert room in PROGRAM, name


def test_nothing_imports_by_string() -> None:
    """``import_module`` of a name of ours, in whatever disguise, stays in the lazy loader and the program."""
    for name, room, path in MODULES:
        if name == "_core.lazy" or room in PROGRAM | {"integrations"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                text = ast.unparse(node)
                assert not (called.endswith(("import_module", "__import__")) and "techrevati" in text), name


# --- the package -----------------------------------------------------------------------------------------


def test_techrevati_is_a_namespace_package() -> None:
    """Other distributions may live in ``techrevati`` too."""
    assert not (FOLDER.parent / "__init__.py").exists()
    assert (FOLDER / "py.typed").exists()


def package_tree() -> ast.Module:
    return ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8"))


def names_for_checkers() -> dict[str, str]:
    """Public name -> module, as the TYPE_CHECKING imports tell type checkers."""
    (block,) = (node for node in package_tree().body if is_type_checking(node))
    assert isinstance(block, ast.If)
    found: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.level == 0
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name} must be imported `as {alias.name}`: a re-export"
            found[alias.name] = (node.module or "").removeprefix(f"{PACKAGE}.")
    return found


def test_the_package_module_holds_nothing_else() -> None:
    """A docstring, ``__version__``, imports for checkers, the lazy loader and a literal ``__all__``."""
    docstring, version, flag, block, names = package_tree().body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    assert ast.unparse(version).startswith("__version__ = '")
    assert ast.unparse(flag) == "TYPE_CHECKING = False"
    assert isinstance(block, ast.If)
    assert is_type_checking(block)
    *loaders, assignment = block.orelse
    for loader in loaders:
        assert isinstance(loader, ast.ImportFrom)
        assert str(loader.module).startswith(f"{PACKAGE}._core.")
    assert ast.unparse(assignment) == "__getattr__, __dir__ = lazy_names(__name__, HOME, MODULES)"
    assert isinstance(names, ast.Assign)
    assert ast.unparse(names.targets[0]) == "__all__"
    assert isinstance(names.value, ast.List)
    assert all(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in names.value.elts)


def test_all_names_are_told_to_checkers_and_to_the_loader() -> None:
    """``__all__``, the TYPE_CHECKING imports and the loader's table say the same."""
    from techrevati.runtime._core.exports import HOME

    names = techrevati.runtime.__all__
    assert len(names) == len(set(names))
    assert names_for_checkers() == HOME
    assert {name for name in HOME if not name.startswith("_")} | {"__version__"} == set(names)


@pytest.mark.parametrize("name", techrevati.runtime.__all__)
def test_every_public_name_loads_from_its_module(name: str) -> None:
    """The package hands out the very object of the module."""
    if name == "__version__":
        assert isinstance(techrevati.runtime.__version__, str)
        return
    home = importlib.import_module(f"{PACKAGE}.{names_for_checkers()[name]}")
    assert getattr(techrevati.runtime, name) is getattr(home, name)


def test_no_public_name_equals_a_module_name() -> None:
    """Otherwise importing the module would replace the name in the package."""
    assert not set(techrevati.runtime.__all__) & (ROOMS | set(ROOMS_ON_DISK))


def test_unknown_names_are_attribute_errors() -> None:
    """A misspelt name fails as it does in any module, and ``dir`` shows what there is."""
    with pytest.raises(AttributeError, match="CircuitBraker"):
        _ = techrevati.runtime.CircuitBraker  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="CircuitBraker"):
        exec("from techrevati.runtime import CircuitBraker")  # noqa: S102
    assert set(techrevati.runtime.__all__) <= set(dir(techrevati.runtime))


# --- the rules, proved in fresh interpreters -------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    """The modules that *statement* loads in an interpreter without site-packages and their hooks."""
    program = (
        "import sys; before = set(sys.modules); "
        f"sys.path.insert(0, {str(FOLDER.parents[1])!r}); {statement}; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("room", [room for room in PUBLIC_ROOMS if room not in MAY_BE_HEAVY | {"otel"}])
def test_a_module_alone_loads_nothing_heavy_and_nothing_foreign(room: str) -> None:
    """Whoever imports one module pays for that module and what stands to its left."""
    loaded = loaded_by(f"import {PACKAGE}.{room}")
    tops = {name.split(".")[0] for name in loaded}
    assert not tops & HEAVY
    assert not tops - set(sys.stdlib_module_names) - {"techrevati"}
    rooms = {other for name in loaded if (other := room_of(name)) is not None}
    assert rooms <= MAY_IMPORT[room] | {room}


@pytest.mark.parametrize("room", PUBLIC_ROOMS)
def test_a_module_is_reachable_through_the_package(room: str) -> None:
    """After ``import techrevati.runtime`` alone, every public module is an attribute of it."""
    statement = f"import {PACKAGE}; assert {PACKAGE}.{room}.__name__ == '{PACKAGE}.{room}'"
    assert f"{PACKAGE}.{room}" in loaded_by(statement)


def test_the_package_alone_loads_only_its_loader() -> None:
    """The names' table and the loader, of ours nothing else, and nothing heavy."""
    loaded = loaded_by(f"import {PACKAGE}")
    ours = {name for name in loaded if name.startswith("techrevati")}
    assert ours == {
        "techrevati",
        PACKAGE,
        f"{PACKAGE}._core",
        f"{PACKAGE}._core.exports",
        f"{PACKAGE}._core.lazy",
    }
    assert not loaded & (HEAVY | {"dataclasses", "typing", "contextlib", "re"})


def test_the_breaker_alone_stays_light() -> None:
    """``circuit_breaker`` loads ``_core`` and itself, and none of the modules that cost 10 ms each."""
    loaded = loaded_by(f"from {PACKAGE}.circuit_breaker import CircuitBreaker")
    assert not loaded & {"dataclasses", "typing", "contextlib", "logging", "re", "inspect"}
    assert {room for name in loaded if (room := room_of(name))} == {"_core", "circuit_breaker"}


def test_a_breaker_name_from_the_package_loads_no_more() -> None:
    """The lazy way costs the loader's table and nothing beyond."""
    direct = loaded_by(f"from {PACKAGE}.circuit_breaker import CircuitBreaker")
    lazy = loaded_by(f"from {PACKAGE} import CircuitBreaker")
    assert lazy - direct <= {f"{PACKAGE}._core.exports", f"{PACKAGE}._core.lazy"}
