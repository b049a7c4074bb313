"""Which program a run of the demo is, and in what another one differs: a later life must be the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Program:
    """What is run: a later life must be the same.

    Attributes:
        folder: As it was given; None for the sample.
        question: As it was given, without secrets.
        is_whole: Whether that is all of it.
        sdk, model, address: Which endpoint is asked, and how; no *address* for the one of the demo.
        asked: The question that is asked, as a digest.
        files: What is in the folder.
        orders: What the roles are told.
    """

    folder: str | None
    question: str | None
    is_whole: bool
    sdk: str | None
    model: str | None
    address: str | None
    asked: str
    files: str
    orders: str

    def differences(self, other: Mapping[str, object]) -> list[str]:
        """In words, where *other* is another program."""
        words = {
            "asked": "the question",
            "files": "the files of the folder",
            "sdk": "--sdk",
            "model": "--model",
            "address": "--base-url",
            "orders": "the demo itself",
        }
        return [said for name, said in words.items() if getattr(self, name) != other.get(name)]

    def facts(self) -> dict[str, object]:
        """As a plain mapping."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def digest(parts: Sequence[object]) -> str:
    """A name for *parts*, which are any texts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
