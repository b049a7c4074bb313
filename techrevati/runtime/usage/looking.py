"""Look into responses without knowing their types: dicts, objects of SDKs, dataclasses, messages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    class View(Protocol):
        """What can be asked by name; a missing name is None."""

        def get(self, name: str, /) -> object:
            """The value of *name*."""

        def __contains__(self, name: object, /) -> bool: ...


class _Attributes:
    """An object that keeps its values elsewhere than in ``__dict__``, asked one by one."""

    __slots__ = ("_source",)

    def __init__(self, source: object) -> None:
        self._source = source

    def get(self, name: str, /) -> object:
        """The attribute, None if there is none or it cannot be read."""
        try:
            return getattr(self._source, name, None)
        except Exception:  # a property of a stream that was not read, for one
            return None

    def __contains__(self, name: object, /) -> bool:
        return isinstance(name, str) and self.get(name) is not None


_NOTHING: Mapping[str, object] = {}
_AS_DICT, _AS_MOCK, _AS_MODEL, _AS_NOTHING, _AS_OBJECT, _AS_RECORD = range(6)
_kinds: dict[type, int] = {dict: _AS_DICT, type(None): _AS_NOTHING}
_CAPACITY = 512  # types remembered; a program that makes new ones starts over


def view(source: object) -> View:
    """*source* as something that can be asked by name; of None, a number or text, nothing."""
    if type(source) is dict:
        return source
    kind = _kinds.get(type(source))
    if kind is None:
        kind = _kind(source)
    if kind == _AS_DICT:  # a subclass
        return source  # type: ignore[return-value]
    if kind == _AS_MODEL:
        values: Mapping[str, object] = source.__dict__
        extra = source.__pydantic_extra__  # type: ignore[attr-defined]
        return {**values, **extra} if extra else values
    if kind == _AS_RECORD:
        return source.__dict__
    if kind == _AS_MOCK:
        return _set_on(source)
    return _NOTHING if kind == _AS_NOTHING else _Attributes(source)


def _kind(source: object) -> int:
    """How objects of the type of *source* are looked into; remembered."""
    if isinstance(source, dict):
        kind = _AS_DICT
    elif isinstance(source, (str, bytes, int, float, list, tuple)):
        kind = _AS_NOTHING
    elif _is_model(source):
        kind = _AS_MODEL
    elif _is_record(source):
        kind = _AS_RECORD
    elif _answers_anything(source):
        kind = _AS_MOCK
    else:
        kind = _AS_OBJECT
    if len(_kinds) >= _CAPACITY:
        _kinds.clear()
    _kinds[type(source)] = kind
    return kind


def _answers_anything(source: object) -> bool:
    """A mock or a recorder: whatever it is asked for it makes up, and asking on and on has no end."""
    if "_mock_children" in getattr(source, "__dict__", ()):
        return True  # and not asked, for it would keep the question
    try:
        return getattr(source, "techrevati_asks_for_what_nobody_has", None) is not None
    except Exception:
        return False


def _set_on(source: object) -> Mapping[str, object]:
    """What a program set on an object that answers anything: ``unittest.mock`` keeps its children apart."""
    own = getattr(source, "__dict__", _NOTHING)
    children = own.get("_mock_children")
    values = {name: value for name, value in own.items() if name[:1] != "_" and name != "method_calls"}
    return {**children, **values} if type(children) is dict else values


def _is_model(source: object) -> bool:
    """A pydantic model, whose fields can be read at once."""
    return (
        type(getattr(source, "__dict__", None)) is dict
        and hasattr(type(source), "__pydantic_fields__")
        and hasattr(source, "__pydantic_extra__")
    )


def _is_record(source: object) -> bool:
    """An object whose every value is in its ``__dict__``: no property, method or default of its class."""
    if type(getattr(source, "__dict__", None)) is not dict:
        return False
    kind = type(source)
    if kind.__getattribute__ not in (object.__getattribute__, SimpleNamespace.__getattribute__):
        return False
    names = {name for base in kind.__mro__[:-1] for name in vars(base)}
    fields = getattr(kind, "__dataclass_fields__", ())
    return names.isdisjoint(("__getattr__", "__slots__")) and all(
        name in fields or name[:2] == "__" for name in names
    )


def whole(value: object) -> int | None:
    """A whole number >= 0; anything else, mocks and bools included, is no count."""
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, float) and value.is_integer() and value >= 0:
        return int(value)
    return None


def one(source: View, name: str) -> int:
    """*name* as a count, 0 if it is none."""
    found = source.get(name)
    if type(found) is int and found >= 0:
        return found
    return 0 if found is None else whole(found) or 0


def count(source: View, *names: str) -> int:
    """The first of *names* that is a count, 0 if none is."""
    for name in names:
        found = source.get(name)
        if found is not None:
            number = whole(found)
            if number is not None:
                return number
    return 0


def word(value: object) -> str | None:
    """Text, or the text of an enum's member; None for anything else and for nothing."""
    if type(value) is not str:
        if value is None:
            return None
        value = str.__str__(value) if isinstance(value, str) else getattr(value, "value", value)
    return value if isinstance(value, str) and value and not value.isspace() else None


def items(value: object) -> list[object]:
    """A list's items; of anything that is no list or tuple, none."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if type(value).__name__.startswith("Repeated"):  # protocol buffers
        try:
            return list(value)  # type: ignore[call-overload, no-any-return]
        except Exception:
            return []
    return []


def described(response: object) -> str:
    """The type and the names found in it, never the values."""
    if isinstance(response, dict):
        values: Iterable[object] = response
    elif _answers_anything(response):
        values = _set_on(response)
    else:
        values = getattr(response, "__dict__", ())
    shown = ", ".join(str(name)[:40] for name in list(values)[:12]) or "nothing"
    return f"{type(response).__name__} with {shown}"
