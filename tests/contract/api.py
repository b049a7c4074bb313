"""The public API as text, to be read in a review: names, signatures, enum values, bases of errors.

    python -m tests.contract.api > tests/contract/api.txt

The text is the same on every supported Python: it shows annotations as they are written and leaves out
what Python itself generates.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from typing import get_origin

import techrevati.runtime

PACKAGE = "techrevati.runtime"
_LONGEST = 90
_VALUES = (int, float, str, bool, tuple, type(None))


def public_modules() -> list[str]:
    """Every module of the package whose name does not start with an underscore."""
    found = pkgutil.iter_modules(techrevati.runtime.__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def public_names(module: object) -> list[str]:
    """What a module offers: its ``__all__``, else the public names that are defined in it."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    here = getattr(module, "__name__", "")
    return [
        name
        for name in sorted({*vars(module), *dir(module)})  # dir has what is loaded when it is first used
        if not name.startswith("_") and _is_defined_in(here, name, getattr(module, name))
    ]


def _is_defined_in(module: str, name: str, value: object) -> bool:
    if inspect.ismodule(value) or type(value).__name__ in ("_Feature", "TypeVar", "ParamSpec"):
        return False
    origin = getattr(value, "__module__", None)
    if inspect.isclass(value) or inspect.isroutine(value):
        return str(origin).startswith(module)
    return name != "TYPE_CHECKING" and (name.isupper() or get_origin(value) is not None)


def written(annotation: object) -> str:
    """An annotation as it stands in the source."""
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation.strip("'\"")
    return getattr(annotation, "__name__", str(annotation))


def shown(value: object) -> str:
    """A default as text that has no addresses in it."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if inspect.isroutine(value):
        return f"{getattr(value, '__module__', '')}.{value.__name__}".lstrip(".")
    text = repr(value)
    return "…" if " at 0x" in text else text


def signature(call: object, *, skip_first: bool = False) -> str:
    """Parameters and result of *call*, annotations unquoted."""
    found = inspect.signature(call)  # type: ignore[arg-type]
    parts: list[str] = []
    parameters = list(found.parameters.values())[skip_first:]
    starred = False
    for index, parameter in enumerate(parameters):
        kind = parameter.kind
        if kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(kind, "")
        starred = starred or kind is parameter.VAR_POSITIONAL
        text = prefix + parameter.name
        annotation = written(parameter.annotation)
        if annotation:
            text += f": {annotation}"
        if parameter.default is not parameter.empty:
            text += f" = {shown(parameter.default)}" if annotation else f"={shown(parameter.default)}"
        parts.append(text)
        last_positional = index + 1 == len(parameters) or parameters[index + 1].kind is not kind
        if kind is parameter.POSITIONAL_ONLY and last_positional:
            parts.append("/")
    result = written(found.return_annotation)
    arrow = f" -> {result}" if result else ""
    text = ", ".join(parts)
    if len(text) + len(arrow) > _LONGEST:  # one parameter a line, so that a change is one line
        return "(\n" + "".join(f"        {part},\n" for part in parts) + f"    ){arrow}"
    return f"({text}){arrow}"


def _ours(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if base.__module__.startswith(PACKAGE)]


def _attributes(kind: type) -> dict[str, str]:
    """Public instance attributes with their annotations, read from ``__init__`` and class bodies."""
    found: dict[str, str] = {}
    for base in reversed(_ours(kind)):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for node in definition.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = ast.unparse(node.annotation)
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                found.update(_assigned(node))
    return {name: annotation for name, annotation in found.items() if not name.startswith("_")}


def _assigned(init: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    parameters = [*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs]
    annotations = {one.arg: ast.unparse(one.annotation) for one in parameters if one.annotation}
    for node in ast.walk(init):
        if isinstance(node, ast.AnnAssign):
            targets: list[ast.expr] = [node.target]
            annotation = ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            targets = [one for target in node.targets for one in getattr(target, "elts", [target])]
            annotation = annotations.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield target.attr, annotation


def _members(kind: type) -> Iterator[str]:
    """Public attributes, properties and methods, those of our own bases included, by name."""
    lines: dict[str, str] = {}
    for base in reversed(_ours(kind)):
        for name, value in vars(base).items():
            if name.startswith("_") and name not in ("__call__", "__enter__", "__aenter__"):
                continue
            if isinstance(value, property):
                lines[name] = f"{name}: {_result(value.fget)}  (property)"
            elif isinstance(value, (classmethod, staticmethod)):
                word = type(value).__name__
                skip = isinstance(value, classmethod)
                lines[name] = f"{name}{signature(value.__func__, skip_first=skip)}  ({word})"
            elif inspect.isfunction(value):
                word = "async " if inspect.iscoroutinefunction(value) else ""
                lines[name] = f"{word}{name}{signature(value, skip_first=True)}"
    for name, annotation in _attributes(kind).items():
        lines.setdefault(name, f"{name}: {annotation}" if annotation else name)
    for name in sorted(lines):
        yield lines[name]


def _result(getter: object) -> str:
    return written(inspect.signature(getter).return_annotation)  # type: ignore[arg-type]


def described(name: str, value: object) -> Iterator[str]:
    """One public name as lines of text."""
    if not inspect.isclass(value):
        if inspect.isroutine(value):
            word = "async def" if inspect.iscoroutinefunction(value) else "def"
            yield f"{word} {name}{signature(value)}"
        elif get_origin(value) is not None:
            yield f"type {name} = {value}"
        elif name != "__version__" and isinstance(value, _VALUES) and len(repr(value)) < _LONGEST:
            yield f"{name}: {type(value).__name__} = {shown(value)}"
        else:
            yield f"{name}: {type(value).__name__}"
        return
    if value.__name__ != name:
        yield f"class {name} = {value.__name__}"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__ if base.__name__ not in ("object", "Generic"))
    heading = f"class {name}({bases})" if bases else f"class {name}"
    if issubclass(value, enum.Enum):
        yield heading
        yield from (f"    {member.name} = {member.value!r}" for member in value)
    elif getattr(value, "_is_protocol", False):
        yield f"protocol {name}"
    else:
        yield heading
        own = next((base for base in _ours(value) if "__init__" in vars(base)), None)
        if own is not None:
            yield f"    {signature(own.__init__, skip_first=True).removesuffix(' -> None')}"  # type: ignore[misc]
    yield from (f"    {line}" for line in _members(value))


def api() -> str:
    """The whole text: the package's names by module, then what modules have beyond them."""
    exported = {
        name: getattr(techrevati.runtime, name)
        for name in (*techrevati.runtime.__all__, "_warned_unpriced_models")
    }
    lines = [f"# {PACKAGE}: generated by `python -m tests.contract.api > tests/contract/api.txt`", ""]
    lines.append("# --- importable from the package")
    for name in sorted(exported, key=str.lower):
        lines += ["", *described(name, exported[name])]
    for room in public_modules():
        module = importlib.import_module(f"{PACKAGE}.{room}")
        names = sorted(public_names(module), key=str.lower)
        again = [name for name in names if name in exported]
        own = [name for name in names if name not in exported]
        lines += ["", f"# --- {PACKAGE}.{room}"]
        lines += textwrap.wrap(
            "from the package: " + ", ".join(again or ["none"]),
            100,
            initial_indent="# ",
            subsequent_indent="#   ",
        )
        for name in own:
            lines += ["", *described(name, getattr(module, name))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(api(), end="")  # noqa: T201
