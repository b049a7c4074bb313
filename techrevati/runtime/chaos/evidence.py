"""What tools have shown so far: names of files, folders not looked into, and documents with their origin."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.shape import items, mapping, parsed, string
from techrevati.runtime.chaos.toolkit import ToolUse, path_parameter, tool_use

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from techrevati.runtime.chaos.conversation import Conversation, Message, Tool, ToolCall

_NAME_KEYS = (
    "path",
    "file",
    "filename",
    "file_name",
    "name",
    "document",
    "doc",
    "source",
    "uri",
    "url",
    "id",
)
_TEXT_KEYS = ("text", "content", "line", "snippet", "match", "body", "excerpt", "result", "answer", "value")
_FILE = re.compile(r"(?<![\w@])(?:[\w.~-]+/)*[\w~-][\w.~-]*\.[A-Za-z][A-Za-z0-9]{0,7}\b(?!\()")
_GREP = re.compile(
    r"^\s*(?:[-*]\s+)?(?P<name>[^\s:|][^:|\n]{0,200}?)(?::(?P<line>\d+))?\s*[:|]\s*(?P<text>\S.*)$"
)
_LISTED = re.compile(r"^\s*(?:[-*•]\s+|\d+[.)]\s+)?(?P<name>[^\s:,;()\"']+)/?\s*(?:[\s(:,].*)?$")
_NOTHING = re.compile(r"(?i)^\W*(?:no|none|nothing|0|not found|empty)\b.{0,80}$")
_FAILED = re.compile(
    r"(?i)^\W*(?:\w*error\b|failed\b|denied\b|refused\b|blocked\b|forbidden\b|permission denied)"
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text that a tool returned; *source* is the file it is from, "" when unknown."""

    source: str
    text: str
    use: ToolUse
    call: str = ""  # id of the call that returned it


@dataclass(frozen=True, slots=True)
class Evidence:
    """All tool results of a conversation, in order."""

    names: tuple[str, ...]
    folders: tuple[str, ...]
    documents: tuple[Document, ...]
    calls: tuple[ToolCall, ...]  # calls made since the question was asked
    empty: frozenset[str]  # ids of calls that found nothing or failed


def gathered(talk: Conversation, since: int) -> Evidence:
    """The evidence in *talk*; the calls are those after message number *since*."""
    tools = {tool.name: tool for tool in talk.tools}
    results = {message.answers: message for message in talk.messages if message.role == "tool"}
    names: dict[str, None] = {}
    folders: dict[str, None] = {}
    documents: list[Document] = []
    empty: set[str] = set()
    for message in talk.messages:
        for call in message.calls:
            result = results.get(call.id)
            if result is None or says_nothing(result):
                empty.add(call.id)
                continue
            tool = tools.get(call.name)
            use = tool_use(tool) if tool else ToolUse.LOOKUP
            found = list(_documents(result.text, use, _asked_name(tool, call)))
            documents += [replace(one, call=call.id) for one in found]
            if use in (ToolUse.LIST, ToolUse.SEARCH):
                listed, inside = _names(result.text, use, found)
                names |= dict.fromkeys(listed)
                folders |= dict.fromkeys(inside)
    made = tuple(call for message in talk.messages[since:] for call in message.calls)
    return Evidence(tuple(names), tuple(folders), tuple(documents), made, frozenset(empty))


def says_nothing(result: Message) -> bool:
    """True for a tool result that is empty, an error or "no matches"."""
    text = result.text.strip()
    value = parsed(text)
    if isinstance(value, dict):
        held = mapping(text and value)
        return bool(held.get("error")) or not any(held.values())
    return (
        result.failed
        or not text
        or text in ("[]", "{}", "null")
        or bool(_NOTHING.match(text) or _FAILED.match(text))
    )


def _asked_name(tool: Tool | None, call: ToolCall) -> str:
    target = path_parameter(tool) if tool else None
    value = call.arguments.get(target) if target else None
    return value if isinstance(value, str) else ""


def _documents(text: str, use: ToolUse, asked: str) -> Iterator[Document]:
    if use is ToolUse.LIST:
        return
    value = parsed(text) if text[:1] in '[{"' else None
    if isinstance(value, (dict, list)):
        for name, content in _json_texts(value, asked if use is ToolUse.READ else ""):
            yield Document(name, content, use)
    elif isinstance(value, str):
        yield Document(asked if use is ToolUse.READ else "", value, use)
    elif use is ToolUse.SEARCH:
        yield from _grep_documents(text)
    else:
        yield Document(asked if use is ToolUse.READ else "", text, use)


def _grep_documents(text: str) -> Iterator[Document]:
    """Lines such as ``file.md:12: words``, lines under a file's name, and whatever else there is."""
    above = ""
    for line in text.splitlines():
        hit = _GREP.match(line)
        if hit and (hit["line"] or _FILE.fullmatch(hit["name"].strip())):
            above = hit["name"].strip()
            yield Document(above, hit["text"], ToolUse.SEARCH)
        elif _FILE.fullmatch(line.strip().strip("-*#:` ")):
            above = line.strip().strip("-*#:` ")
        elif line.strip():
            yield Document(above, line, ToolUse.SEARCH)


def _json_texts(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Every text in a JSON result with the name that stands beside it."""
    if isinstance(value, dict):
        held = mapping(value)
        here = next((string(held[key]) for key in _NAME_KEYS if string(held.get(key))), name)
        texts = [key for key in _TEXT_KEYS if string(held.get(key))]
        for key in texts:
            yield here, string(held[key])
        for key, inner in held.items():
            if key in texts or key in _NAME_KEYS:
                continue
            if isinstance(inner, (dict, list)):
                yield from _json_texts(inner, here)
            elif not texts and isinstance(inner, (str, int, float)) and not isinstance(inner, bool):
                yield here, f"{key.replace('_', ' ')}: {inner}"
    else:
        for inner in items(value):
            if isinstance(inner, str):
                yield name, inner
            else:
                yield from _json_texts(inner, name)


def _names(text: str, use: ToolUse, found: Sequence[Document]) -> tuple[list[str], list[str]]:
    """File names and folders that a result shows, in its order."""
    value = parsed(text) if text[:1] in "[{" else None
    if isinstance(value, (dict, list)):
        shown = list(_json_names(value))
    elif use is ToolUse.SEARCH:
        shown = [one.source for one in found if one.source]
    else:
        shown = _listed_names(text)
    files = [name for name in shown if not name.endswith("/")]
    return files, [name for name in shown if name.endswith("/")]


def _json_names(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in items(value):
        yield from _json_names(inner)
    held = mapping(value)
    name = next((string(held[key]) for key in _NAME_KEYS if string(held.get(key))), "")
    if name:
        yield name + ("/" if _is_folder(held) and not name.endswith("/") else "")
    for inner in held.values():
        if isinstance(inner, (dict, list)):
            yield from _json_names(inner)


def _is_folder(held: Mapping[str, object]) -> bool:
    kind = string(held.get("type")) or string(held.get("kind"))
    return kind in ("dir", "directory", "folder") or held.get("is_dir") is True


def _listed_names(text: str) -> list[str]:
    """Names in a plain listing: one a line, or every file name in running text."""
    shown: list[str] = []
    for line in text.splitlines():
        entry = _LISTED.match(line)
        if entry and (line.strip() == entry["name"] or _FILE.fullmatch(entry["name"]) or "/" in line):
            bare = entry["name"]
            shown.append(bare + "/" if line.strip().endswith(bare + "/") and not bare.endswith("/") else bare)
        else:
            shown += [hit[0] for hit in _FILE.finditer(line)]
    return shown
