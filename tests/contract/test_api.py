"""The public API is what ``api.txt`` says: no name, default or value changes without a review."""

from __future__ import annotations

import difflib
from pathlib import Path

import techrevati.runtime
from tests.contract import api

REVIEWED = Path(__file__).with_name("api.txt")


def test_the_api_is_as_reviewed() -> None:
    """The generated text equals the file; if the change is wanted, one command updates it."""
    reviewed = REVIEWED.read_text(encoding="utf-8").splitlines()
    found = api.api().splitlines()
    difference = "\n".join(difflib.unified_diff(reviewed, found, "api.txt", "the code", lineterm="", n=1))
    command = "python -m tests.contract.api > tests/contract/api.txt"
    assert not difference, f"the public API changed; if that is wanted: {command}\n{difference}"


def test_the_text_shows_every_public_name() -> None:
    """Nothing that the package exports is missing from the review."""
    text = REVIEWED.read_text(encoding="utf-8")
    head = text.split("\n# --- ")[1]
    for name in techrevati.runtime.__all__:
        assert any(f"{word}{name}" in head for word in ("class ", "def ", "protocol ", "type ", "\n")), name


def test_the_text_has_no_addresses() -> None:
    """It is the same in every process and on every Python."""
    assert " at 0x" not in REVIEWED.read_text(encoding="utf-8")
