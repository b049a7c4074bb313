"""What is sent to a model, and how it becomes smaller when it was too much.

What a search found goes first, then paragraphs of files that do not speak of the question; those that do stay
as long as their file is not a long one.  The first paragraph of every text stays, since it says what the text
is, and a heading goes with what stands below it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from techrevati.runtime.cli.topics import telling_stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHARACTERS_A_TOKEN = 4  # a rule of thumb for English; only used to say "about"
SHORT_TEXT = 400  # characters; a file that short is not cut, for there is hardly anything to gain
LONG_TEXT = 4_000  # characters; only a file that long may lose what speaks of the question
LEFT_OUT = "No longer shown, to save room."


class Conversation:
    """Messages and tools on offer, as the next request has them.

    Args:
        order: Who the model is to be.
        request: What it is asked.
        question: What all this is about; decides what is kept.
        tools: Tools on offer.
    """

    def __init__(
        self, order: str, request: str, question: str, tools: Sequence[dict[str, object]] = ()
    ) -> None:
        self.messages: list[dict[str, object]] = [
            {"role": "system", "content": order},
            {"role": "user", "content": request},
        ]
        self.tools: list[dict[str, object]] = list(tools)
        self._wanted = telling_stems(question)

    def about_tokens(self) -> int:
        """How many tokens it has, roughly."""
        return len(json.dumps([self.messages, self.tools])) // CHARACTERS_A_TOKEN

    def about_material_tokens(self) -> int:
        """How many of them are texts that may shrink."""
        return sum(len(str(one["content"])) for one in self._material()) // CHARACTERS_A_TOKEN

    def add(self, message: dict[str, object]) -> None:
        """Go on with *message*."""
        self.messages.append(message)

    def shrink(self, target_tokens: int) -> bool:
        """Leave out paragraphs until it has about *target_tokens*; False when nothing could be left out."""
        before = self.about_tokens()
        while self.about_tokens() > target_tokens and self._leave_one_out():
            pass
        return self.about_tokens() < before

    def drop_tool(self, name: str) -> bool:
        """Stop offering a tool and showing what it returned; False when it was not on offer."""
        kept = [tool for tool in self.tools if _tool_name(tool) != name]
        if len(kept) == len(self.tools):
            return False
        self.tools = kept
        calls = {call for message in self.messages for call, tool in _calls(message) if tool == name}
        for message in self.messages:
            if message.get("tool_call_id") in calls:
                message["content"] = LEFT_OUT
        return True

    def _material(self) -> list[dict[str, object]]:
        """What tools returned, without the list of files; the request where there is nothing else."""
        names = {call for message in self.messages for call, tool in _calls(message) if tool == "list_files"}
        results = [one for one in self.messages if one["role"] == "tool"]
        return [one for one in results if one.get("tool_call_id") not in names] or self.messages[1:2]

    def _leave_one_out(self) -> bool:
        texts = self._material()
        # Of a request, the question and the first of the material stay.
        kept = 1 if texts[0]["role"] == "tool" else 2
        files = {call for message in self.messages for call, tool in _calls(message) if tool == "read_file"}
        least: tuple[bool, int, int, int] | None = None
        for index, message in enumerate(texts):
            text = str(message["content"])
            is_file = message.get("tool_call_id") in files
            if is_file and len(text) <= SHORT_TEXT:
                continue
            for place, part in enumerate(_parts(text)):
                shared = len(self._wanted & telling_stems(part))
                # Of several that tell as little, the last one.
                rank = (is_file, shared, -index, -place)
                needed = place < kept or (is_file and shared > 0 and len(text) <= LONG_TEXT)
                if not needed and (least is None or rank < least):
                    least = rank
        if least is None:
            return False
        message = texts[-least[2]]
        parts = _parts(str(message["content"]))
        del parts[-least[3]]
        message["content"] = "".join(parts).rstrip("\n")
        return True


def _parts(text: str) -> list[str]:
    """*text* in paragraphs, or in lines where it has no paragraphs; a heading belongs to what follows."""
    pieces = text.split("\n\n")
    end = "\n\n"
    if len(pieces) == 1:
        pieces, end = text.split("\n"), "\n"
    parts: list[str] = []
    heading = ""
    for piece in pieces:
        if piece.startswith("#") and "\n" not in piece:
            heading += piece + end
        else:
            parts.append(heading + piece + end)
            heading = ""
    return [*parts, heading] if heading else parts


def _tool_name(tool: dict[str, object]) -> str:
    function = tool.get("function")
    return str(function.get("name")) if isinstance(function, dict) else ""


def _calls(message: dict[str, object]) -> Iterator[tuple[str, str]]:
    """(id, tool) of every call in an assistant's message."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        yield str(call.get("id")), str(call.get("function", {}).get("name"))
