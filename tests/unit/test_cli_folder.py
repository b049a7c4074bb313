"""The folder that agents may look into, and that nothing leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from techrevati.runtime.cli.chat_client import ToolCall
from techrevati.runtime.cli.folder import (
    MAX_FILES,
    MAX_HITS,
    MAX_READ_CHARACTERS,
    Folder,
    FolderError,
    OutsideFolderError,
)
from techrevati.runtime.cli.secrets_guardrail import SecretsGuardrail
from techrevati.runtime.cli.toolbox import POLICY, Toolbox, ToolCallError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with texts in it, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("the secret outside", encoding="utf-8")
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "b.md").write_text("# Tides\n\nThe tide turns twice a day.", encoding="utf-8")
    (inside / "deep" / "a.txt").write_text("A harbour seal sleeps.", encoding="utf-8")
    (inside / ".hidden").write_text("hidden text", encoding="utf-8")
    (inside / ".git").mkdir()
    (inside / ".git" / "config").write_text("hidden too", encoding="utf-8")
    (inside / "picture.png").write_bytes(b"\x89PNG\r\n\x00\x00data")
    (inside / "noise.txt").write_bytes(bytes(range(128, 256)) * 4)
    (inside / "empty.txt").write_text("  \n", encoding="utf-8")
    return inside


def test_only_text_files_are_listed_in_a_fixed_order(place: Path) -> None:
    """Hidden, binary, undecodable and empty files are left out."""
    assert Folder(place).names == ("b.md", "deep/a.txt")


@pytest.mark.parametrize(
    "name", ["../secret.txt", "deep/../../secret.txt", "/etc/passwd", "..", "", ".", "deep", "no.txt"]
)
def test_names_that_lead_outside_are_refused(place: Path, name: str) -> None:
    """No name reads anything but a file inside."""
    with pytest.raises((FolderError, OSError)) as caught:
        Folder(place).read(name)
    assert "secret outside" not in str(caught.value)


def test_absolute_names_outside_are_refused(place: Path) -> None:
    """The full path of a file beside the folder leads out of it."""
    with pytest.raises(OutsideFolderError):
        Folder(place).read(str(place.parent / "secret.txt"))


@pytest.mark.parametrize("name", [".hidden", ".git/config", "deep/../.hidden"])
def test_hidden_files_stay_hidden(place: Path, name: str) -> None:
    """What is not listed for being hidden cannot be read by guessing its name."""
    with pytest.raises(FolderError, match="hidden"):
        Folder(place).read(name)


def test_links_out_of_the_folder_are_refused(place: Path) -> None:
    """Neither a link to a file outside nor a linked folder is listed, searched or read."""
    os.symlink(place.parent / "secret.txt", place / "link.txt")
    os.symlink(place.parent, place / "up")
    folder = Folder(place)
    assert folder.names == ("b.md", "deep/a.txt")
    for name in ("link.txt", "up/secret.txt"):
        with pytest.raises(OutsideFolderError):
            folder.read(name)
    assert not folder.search("secret outside")


def test_a_file_that_becomes_a_link_is_refused(place: Path) -> None:
    """What a name was when it was listed does not count: it is resolved again."""
    folder = Folder(place)
    (place / "b.md").unlink()
    os.symlink(place.parent / "secret.txt", place / "b.md")
    with pytest.raises(OutsideFolderError):
        folder.read("b.md")
    assert dict(folder.texts()).keys() == {"deep/a.txt"}


def test_links_inside_are_fine_and_pipes_are_not_waited_for(place: Path) -> None:
    """A link to a neighbour is that neighbour; a named pipe is no file."""
    os.symlink(place / "b.md", place / "c.md")
    os.mkfifo(place / "pipe.txt")
    folder = Folder(place)
    assert folder.names == ("b.md", "c.md", "deep/a.txt")
    assert folder.listed_name("deep/../c.md") == "b.md"
    with pytest.raises(FolderError):
        folder.read("pipe.txt")


def test_a_file_may_be_left_out(place: Path) -> None:
    """The log of the run is no part of the folder it stands in."""
    assert Folder(place, leave_out=[place / "deep" / ".." / "b.md"]).names == ("deep/a.txt",)


def test_what_is_given_out_is_bounded(tmp_path: Path) -> None:
    """Long files are cut and say so; long lists and many hits end."""
    for number in range(MAX_FILES + 5):
        (tmp_path / f"{number:04}.txt").write_text("tide\n" * 9, encoding="utf-8")
    (tmp_path / "0000.txt").write_text("x" * (MAX_READ_CHARACTERS + 7), encoding="utf-8")
    folder = Folder(tmp_path)
    assert len(folder.names) == MAX_FILES
    assert folder.more
    assert folder.read("0000.txt").endswith("(cut here: 7 more characters)")
    assert len(folder.search("tide")) == MAX_HITS
    assert "(and more)" in Toolbox(folder).use(ToolCall("1", "list_files", {}))


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "only binary"])
def test_a_folder_without_texts_is_an_error(tmp_path: Path, kind: str) -> None:
    """A folder that does not exist, is a file, or holds no text is said to be so, by its name."""
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("text", encoding="utf-8")
    elif kind != "missing":
        path.mkdir()
    if kind == "only binary":
        (path / "a.bin").write_bytes(b"\0\1")
    with pytest.raises(FolderError, match="/x'"):
        Folder(path)


def test_the_best_lines_come_first(place: Path) -> None:
    """A search finds words by their beginning, in any case, best lines first."""
    hits = Folder(place).search("SEAL tide harbour")
    assert [(hit.name, hit.number) for hit in hits] == [("deep/a.txt", 1), ("b.md", 1), ("b.md", 3)]


def test_tools_answer_and_remember_what_was_read(place: Path) -> None:
    """Each tool works by its name; a file counts as read only once its text was given out."""
    toolbox = Toolbox(Folder(place))
    read = ToolCall("1", "read_file", {"path": "./deep/../b.md"})
    assert toolbox.use(ToolCall("1", "list_files", {})) == "b.md\ndeep/a.txt"
    assert toolbox.use(ToolCall("1", "search_files", {"query": "seal"})).startswith("deep/a.txt:1: ")
    assert toolbox.use(ToolCall("1", "search_files", {"query": "walrus"})) == "No matches."
    assert "turns twice" in toolbox.use(read)
    assert not toolbox.read
    toolbox.given_out(read)
    assert toolbox.read == {"b.md"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("read_file", {}), ("read_file", None), ("read_file", {"path": 3}), ("delete_file", {"path": "b.md"})],
)
def test_calls_that_make_no_sense_are_refused(
    place: Path, name: str, arguments: dict[str, object] | None
) -> None:
    """A missing or wrong argument and an unknown tool are errors that the model can be told."""
    with pytest.raises(ToolCallError, match=name):
        Toolbox(Folder(place)).use(ToolCall("1", name, arguments))
    assert (place / "b.md").exists()


def test_who_may_use_what() -> None:
    """The researcher reads and changes nothing; writer and editor use no tool at all."""
    assert POLICY.authorize("researcher", "read_file").allowed
    assert not POLICY.authorize("researcher", "delete_file").allowed
    assert not POLICY.authorize("researcher", "unheard_of").allowed
    assert not POLICY.authorize("writer", "read_file").allowed


@pytest.mark.parametrize(
    "text",
    [
        "key: sk-larkspur-0000000000000000",
        "AKIAABCDEFGHIJKLMNOP",
        "-----BEGIN RSA PRIVATE KEY-----",
        "ghp_abcdefghijklmnopqrstuvwxyz",
        "the program's own hunter2-hunter2",
    ],
)
def test_credentials_are_withheld_and_not_repeated(text: str) -> None:
    """The refusal names the line and the kind, never the credential."""
    outcome = SecretsGuardrail(["hunter2-hunter2"]).check_post(f"one\n{text}\n", role="r", tool="t")
    assert not outcome.allowed
    assert "line 2" in str(outcome.reason)
    assert text.split()[-1] not in str(outcome.reason)


@pytest.mark.parametrize("text", ["Set the password: it is required.", "api_key = os.environ[...]", "", None])
def test_words_about_credentials_are_no_credentials(text: object) -> None:
    """A text that speaks of keys may be read; so may what is no text."""
    assert SecretsGuardrail([""]).check_post(text, role="r", tool="t").allowed
