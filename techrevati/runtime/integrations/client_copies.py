"""A copy of an SDK client that shares its connections.

The SDK's own ``copy`` makes a new client by calling the constructor with the SDK's arguments.  A subclass may
have a constructor of its own; its clients are copied attribute by attribute, and what hangs on the old client
is made anew.
"""

from __future__ import annotations

from functools import cached_property, partial
from inspect import getattr_static, signature
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    C = TypeVar("C")


def copy_of(client: C, left_out: frozenset[str] = frozenset()) -> C:
    """A client like *client*, of the same class, on the same connections.

    Args:
        left_out: Attributes that the copy must not have.

    Raises:
        TypeError: It cannot be made: the class keeps something that goes on calling the old client.
    """
    try:
        return connected_copy(client)
    except Exception as error:
        return _by_attributes(client, left_out, error)


def connected_copy(client: C, **changes: object) -> C:
    """The SDK's own copy of *client* with *changes*, on the same connections.

    Copies of Bedrock's clients, before anthropic 2, make new ones unless they are given the old ones.
    """
    copy: Callable[..., C] = type(client).copy  # type: ignore[attr-defined]
    http_client = getattr(client, "_client", None)
    if http_client is not None and "http_client" in signature(copy).parameters:
        changes.setdefault("http_client", http_client)
    return copy(client, **changes)


def _by_attributes(client: C, left_out: frozenset[str], error: Exception) -> C:
    kind = type(client)
    made = object.__new__(kind)
    for name, value in vars(client).items():
        if name in left_out or isinstance(getattr_static(kind, name, None), cached_property):
            continue
        if _calls(value, client):
            raise TypeError(
                f"{kind.__name__} cannot be guarded: its copy() fails ({type(error).__name__}), and "
                f"its attribute {name!r} would go on calling the client as it is, unguarded; give the class "
                "a copy() of its own, or guard by techrevati run, which copies nothing"
            ) from error
        vars(made)[name] = value
    return made


def _calls(value: Any, client: object) -> bool:
    """Whether *value* is a resource of *client*, one of its methods, or a method of one of them."""
    if isinstance(value, partial):
        value = value.func
    value = getattr(value, "__self__", value)
    return value is client or getattr(value, "_client", None) is client
