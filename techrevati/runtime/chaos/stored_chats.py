"""Chat completions that the client asked the provider to store, to be looked up after the answer was lost.

As OpenAI has it: a request with ``"store": true`` may name itself in ``metadata``; a GET of its path lists
what is stored, filtered by ``model`` and ``metadata[key]``, and a GET of ``…/completions/ID`` gives one.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from techrevati.runtime.chaos.shape import mapping, string
from techrevati.runtime.chaos.wire import Generation, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_STORED = 1_024  # the oldest goes first
MAX_PAIRS, MAX_KEY_LENGTH, MAX_VALUE_LENGTH = 16, 64, 512  # of metadata, as the provider limits them
DEFAULT_LIMIT, MAX_LIMIT = 20, 100


class _Stored(NamedTuple):
    model: str
    metadata: dict[str, str]
    body: dict[str, object]


class StoredChats:
    """The store of one server; bounded.  Not locked, for one thread."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, _Stored] = OrderedDict()

    def store(self, made: Generation, plain: bytes) -> None:
        """Remember the answer *plain* if its request asks for it."""
        if made.request.get("store") is not True:
            return
        metadata = {name: string(value) for name, value in mapping(made.request.get("metadata")).items()}
        body = mapping(json.loads(plain)) | {"metadata": metadata}
        self._stored[made.id] = _Stored(made.model, metadata, body)
        while len(self._stored) > MAX_STORED:
            self._stored.popitem(last=False)

    def one(self, name: str) -> dict[str, object]:
        """The answer of that id; raises ``InvalidRequestError`` with status 404."""
        if name not in self._stored:
            raise InvalidRequestError(
                f"Chat completion with id '{name[:100]}' not found.", status=404, code="not_found"
            )
        return self._stored[name].body

    def listed(self, query: str) -> dict[str, object]:
        """One page, newest first unless the *query* says ``order=asc``; raises ``InvalidRequestError``."""
        asked = dict(parse_qsl(query, keep_blank_values=True))
        limit = _limit(asked.get("limit"))
        wanted = {
            name[len("metadata[") : -1]: value
            for name, value in asked.items()
            if name.startswith("metadata[") and name.endswith("]")
        }
        found = [
            name
            for name, one in self._stored.items()
            if asked.get("model", one.model) == one.model and wanted.items() <= one.metadata.items()
        ]
        if asked.get("order") != "asc":
            found.reverse()
        after = asked.get("after")
        if after is not None:
            if after not in found:
                raise InvalidRequestError(f"No chat completion '{after[:100]}' to go on from.", param="after")
            found = found[found.index(after) + 1 :]
        page = found[:limit]
        return {
            "object": "list",
            "data": [self._stored[name].body for name in page],
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
            "has_more": len(found) > limit,
        }


def check_metadata(body: Mapping[str, object]) -> None:
    """Raise ``InvalidRequestError`` where the provider refuses the ``metadata`` of a request to be stored."""
    given = body.get("metadata")
    if given is None or body.get("store") is not True:
        return
    pairs = given if isinstance(given, dict) else None
    if pairs is None or not all(isinstance(one, str) for one in pairs.values()):
        raise InvalidRequestError(
            "Invalid type for 'metadata': expected an object with string values.",
            param="metadata",
            code="invalid_type",
        )
    if len(pairs) > MAX_PAIRS or any(
        len(name) > MAX_KEY_LENGTH or len(value) > MAX_VALUE_LENGTH for name, value in pairs.items()
    ):
        raise InvalidRequestError(
            f"Invalid 'metadata': at most {MAX_PAIRS} pairs, keys of {MAX_KEY_LENGTH} and values of "
            f"{MAX_VALUE_LENGTH} characters.",
            param="metadata",
            code="invalid_value",
        )


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_LIMIT
    if not given.isdecimal() or not 1 <= int(given[:9]) <= MAX_LIMIT:
        raise InvalidRequestError(
            f"Invalid 'limit': expected an integer from 1 to {MAX_LIMIT}.",
            param="limit",
            code="invalid_value",
        )
    return int(given)
