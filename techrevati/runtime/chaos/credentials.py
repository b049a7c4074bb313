"""Tell clients apart by their API keys without keeping a key.

A key becomes a number, in the order of first use.  Behind the number stands a hash under a secret that is
drawn for each server and never leaves it, so neither the books nor a dump of the memory tell a key.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CREDENTIALS = 4_096
NOBODY = 0


class Credentials:
    """Numbers of credentials; not locked, for one thread. The one unused for longest is forgotten first."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._numbers: dict[bytes, int] = {}
        self._count = 0

    def number(self, key: str) -> int:
        """The number of *key*, from 1; 0 for none."""
        if not key:
            return NOBODY
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), key=self._secret, digest_size=16).digest()
        number = self._numbers.pop(digest, None)
        if number is None:
            self._count += 1
            number = self._count
            if len(self._numbers) >= MAX_CREDENTIALS:
                del self._numbers[next(iter(self._numbers))]
        self._numbers[digest] = number
        return number


def key_in(headers: Mapping[str, str]) -> str:
    """The key that a request brings, in any of the ways that providers take it; "" for none."""
    bare = headers.get("x-api-key") or headers.get("api-key") or headers.get("authorization", "")
    scheme, _, rest = bare.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else bare
