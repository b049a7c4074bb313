"""An upper bound of a request's input tokens, for requests whose tokens nobody counted.

Every tokenizer in use is byte-level at its bottom: no text has more tokens than UTF-8 bytes.  A message adds
a few control tokens.  Images and audio are bounded by what providers publish as their most expensive case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    Request: TypeAlias = object

PER_MESSAGE = 16
PER_REQUEST = 512  # hidden system text, such as that of tool use
PER_IMAGE = 40_000
PER_BINARY_BYTE = 1
_MAX_DEPTH = 64


def estimate_input_tokens(request: Request) -> int:
    """The most input tokens that *request* can have; a bound, several times the truth for plain text.

    Args:
        request: A text, the list of messages, or the whole request as a mapping (messages, system, tools…)
            or as an object with ``model_dump``.

    Counted are: the UTF-8 bytes of every text and of every name in it, ``PER_MESSAGE`` tokens for every
    mapping or list, ``PER_REQUEST`` once, and ``PER_IMAGE`` for every part whose type or MIME type says
    image, as the APIs of OpenAI, Anthropic, Gemini and Bedrock write them.  Not covered: what a provider adds
    from elsewhere by reference (files, cached content, earlier turns kept by the provider); add those
    yourself.

    Raises:
        ValueError: It is nested deeper than any request.

    >>> estimate_input_tokens("Why is the sky blue?")
    532
    """
    return PER_REQUEST + _size(request, 0)


def estimate_of_texts(request: Mapping[str, object], texts: str) -> int | None:
    """:func:`estimate_input_tokens` of a request that has under the name *texts* a text, or messages that are
    a role and a text each, as most have, in one pass; None of any other, which has to be looked through.
    """
    size = PER_REQUEST + PER_MESSAGE
    for name, value in request.items():
        if name == texts:
            size += len(name)
            if type(value) is str:
                size += len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
                continue
            if type(value) is not list:
                return None
            size += PER_MESSAGE
            for message in value:
                if type(message) is not dict or len(message) != 2:
                    return None
                role, text = message.get("role"), message.get("content")
                if type(role) is not str or type(text) is not str:
                    return None
                if not (text.isascii() and role.isascii()):
                    text += role
                    size += _ROLE_AND_TEXT + len(text.encode("utf-8", "surrogatepass"))
                else:
                    size += _ROLE_AND_TEXT + len(role) + len(text)
        elif name in _PART_OF_IMAGES or type(name) is not str or not name.isascii():
            return None
        else:
            size += len(name)
            if type(value) is int:
                size += len(str(value))
            elif type(value) is str and value.isascii():
                size += len(value)
            else:
                size += _size(value, 1)
    return size


_ROLE_AND_TEXT = PER_MESSAGE + len("role") + len("content")
_PART_OF_IMAGES = frozenset({"type", "mime_type", "mimeType", "format"})


def _size(value: object, depth: int) -> int:
    if depth > _MAX_DEPTH:
        raise ValueError(f"request must be nested at most {_MAX_DEPTH} deep, got more")
    if type(value) is str:  # what requests are made of, first
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if type(value) is dict:
        return _mapping_size(value, depth)
    if type(value) is list:
        size = PER_MESSAGE
        for item in value:
            size += _size(item, depth + 1)
        return size
    if value is None or isinstance(value, bool):
        return 2
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray)):
        return len(value) * PER_BINARY_BYTE
    if isinstance(value, (int, float)):
        return len(str(value))
    if isinstance(value, Mapping):
        return _mapping_size(value, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return PER_MESSAGE + sum(_size(item, depth + 1) for item in value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return _size(dump(), depth + 1)
    attributes = getattr(value, "__dict__", None)
    return _size(attributes, depth + 1) if attributes else len(str(value).encode("utf-8", "surrogatepass"))


def _mapping_size(value: Mapping[object, object], depth: int) -> int:
    size = PER_MESSAGE
    if ("type" in value or "mime_type" in value or "mimeType" in value or "format" in value) and is_image(
        value
    ):
        size += PER_IMAGE
    for name, item in value.items():
        # Names and texts are most of it: not one call for each.
        size += len(name) if type(name) is str and name.isascii() else _size(str(name), depth + 1)
        size += len(item) if type(item) is str and item.isascii() else _size(item, depth + 1)
    return size


def is_image(part: Mapping[object, object]) -> bool:
    """Of a flat picture the tokens are more than its compressed bytes."""
    kind = part.get("type") or part.get("mime_type") or part.get("mimeType")
    if isinstance(kind, str):
        return "image" in kind
    return "format" in part and "source" in part and part["format"] in _IMAGE_FORMATS  # Bedrock


_IMAGE_FORMATS = ("png", "jpeg", "gif", "webp")
