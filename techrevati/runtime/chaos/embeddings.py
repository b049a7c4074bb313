"""OpenAI's embeddings: a vector for each text, the same every time, near that of texts that share words.

Each stem of a text adds to a few places of the vector that its digest names, so that a search over them finds
something sensible.  Input tokens are billed, nothing else is.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.bill import BilledUsage
from techrevati.runtime.chaos.openai_checks import empty, integer, missing, wrong_type
from techrevati.runtime.chaos.shape import items, string
from techrevati.runtime.chaos.tokens import count_tokens
from techrevati.runtime.chaos.wire import InvalidRequestError, compact
from techrevati.runtime.chaos.words import stem, words_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_INPUTS = 2_048
MAX_INPUT_TOKENS = 8_192  # of one input
MAX_DIMENSIONS = 3_072
_LARGE = "text-embedding-3-large"
_PLACES = 8  # of the vector, for each word
_KNOWN = ("model", "input", "encoding_format", "dimensions", "user")
_FORMATS = ("float", "base64")
Text = str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What to embed: texts, or texts that the client has cut into tokens itself."""

    model: str
    inputs: tuple[Text, ...]
    dimensions: int
    base64: bool

    @property
    def usage(self) -> BilledUsage:
        """What is billed."""
        return BilledUsage(input_tokens=sum(map(_tokens, self.inputs)))


def embedding_request(body: Mapping[str, object]) -> EmbeddingRequest:
    """The request in *body*; raises ``InvalidRequestError`` where the provider would answer 400."""
    for name in body:
        if name not in _KNOWN:
            raise InvalidRequestError(f"Unrecognized request argument supplied: {name[:100]}")
    model = string(body.get("model"))
    if not model:
        raise InvalidRequestError("you must provide a model parameter")
    form = body.get("encoding_format")
    if form is not None and form not in _FORMATS:
        raise InvalidRequestError(
            f"Invalid value: '{str(form)[:100]}'. Supported values are: 'float' and 'base64'.",
            param="encoding_format",
            code="invalid_value",
        )
    integer("dimensions", body.get("dimensions"), 1)
    most = MAX_DIMENSIONS if model.startswith(_LARGE) else MAX_DIMENSIONS // 2
    asked = body.get("dimensions")
    size = asked if isinstance(asked, int) else most
    if size > most:
        raise InvalidRequestError(
            f"Invalid value for 'dimensions' = {size}. Must be less than or equal to {most}.",
            param="dimensions",
        )
    return EmbeddingRequest(model, _inputs(body.get("input")), size, form == "base64")


def embeddings(asked: EmbeddingRequest) -> bytes:
    """The list of embeddings."""
    tokens = asked.usage.input_tokens
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(one, asked)}
        for index, one in enumerate(asked.inputs)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return compact({"object": "list", "data": data, "model": asked.model, "usage": usage})


def _inputs(given: object) -> tuple[Text, ...]:
    if given is None:
        raise missing("input")
    if isinstance(given, str):
        return (_input(given, "input"),)
    if not isinstance(given, list):
        raise wrong_type("input", "one of a string or array", given)
    held = items(given)
    if not held:
        raise empty("input")
    if _is_tokens(held):
        return (_input(held, "input"),)
    if len(held) > MAX_INPUTS:
        raise InvalidRequestError(
            f"Invalid 'input': array too long. Expected an array with maximum length {MAX_INPUTS}, but got "
            f"an array with length {len(held)} instead.",
            param="input",
            code="array_above_max_length",
        )
    return tuple(_input(one, f"input[{index}]") for index, one in enumerate(held))


def _input(given: object, path: str) -> Text:
    if isinstance(given, str):
        text: Text = given
        if not given:
            raise InvalidRequestError(f"'{path}' cannot be an empty string.", param="input")
    elif isinstance(given, list) and _is_tokens(held := items(given)):
        text = tuple(one for one in held if isinstance(one, int))
    else:
        raise wrong_type(path, "one of a string or array of integers", given)
    tokens = _tokens(text)
    if tokens > MAX_INPUT_TOKENS:
        raise InvalidRequestError(
            f"This model's maximum context length is {MAX_INPUT_TOKENS} tokens, however you requested "
            f"{tokens} tokens ({tokens} in your prompt; 0 for the completion). Please reduce your prompt; or "
            "completion length.",
            param="input",
        )
    return text


def _is_tokens(held: list[object]) -> bool:
    return bool(held) and all(isinstance(one, int) and not isinstance(one, bool) for one in held)


def _tokens(one: Text) -> int:
    return count_tokens(one) if isinstance(one, str) else len(one)


def _encoded(one: Text, asked: EmbeddingRequest) -> str | list[float]:
    vector = _vector(one, asked.dimensions)
    packed = struct.pack(f"<{len(vector)}f", *vector)
    if asked.base64:
        return base64.b64encode(packed).decode("ascii")
    return [round(value, 9) for value in struct.unpack(f"<{len(vector)}f", packed)]


def _vector(one: Text, dimensions: int) -> list[float]:
    """A vector of length one."""
    features: Iterable[str] = map(str, one) if not isinstance(one, str) else map(stem, words_in(one))
    vector = [0.0] * dimensions
    for feature in features:
        digest = hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=4 * _PLACES).digest()
        for value in struct.unpack(f"<{_PLACES}I", digest):
            vector[(value >> 1) % dimensions] += 1.0 if value & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    if not length:  # no word in it, or words that cancel each other out
        vector[0] = length = 1.0
    return [value / length for value in vector]
