"""Count tokens the same way every time.

A token is a run of up to six ASCII letters, digits or underscores, or one other visible character; white
space belongs to the token after it.  Real tokenizers count a little differently, but a bill only needs a
count that both sides can repeat.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from techrevati.runtime._core.likely_tokens import PER_MESSAGE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.chaos.conversation import Message, Tool


def pieces(text: str) -> list[str]:
    """*text* cut into its tokens; joined they are *text* again. White space alone is one token."""
    # White space at the end has no token after it, and looking for one from every place in it is slow.
    body = text.rstrip()
    found = TOKEN.findall(body)
    rest = text[len(body) :]
    if rest:
        found[-1:] = [found[-1] + rest] if found else [rest]
    return found


def count_tokens(text: str) -> int:
    """How many tokens *text* is; 0 for an empty one."""
    return len(pieces(text))


def message_tokens(message: Message) -> int:
    """Tokens of one message: its text, its tool calls (name and arguments) and 4 for its envelope."""
    calls = sum(count_tokens(call.name) + count_tokens(call.arguments_json) for call in message.calls)
    return PER_MESSAGE + count_tokens(message.text) + calls


def tool_tokens(tools: Sequence[Tool]) -> int:
    """Tokens of the offered tools: name, description and the compact JSON of the parameters."""
    return sum(
        count_tokens(tool.name)
        + count_tokens(tool.description)
        + count_tokens(json.dumps(tool.parameters, separators=(",", ":"), sort_keys=True))
        for tool in tools
    )
