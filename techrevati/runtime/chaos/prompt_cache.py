"""Prompt caching as providers bill it: OpenAI's by itself, Anthropic's where the client marks a block.

Prefixes end at message boundaries.  Below 1,024 tokens nothing is cached; OpenAI counts in steps of 128.
What Anthropic writes up to the last mark of an hour is kept for an hour, the rest for five minutes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from techrevati.runtime._core.likely_tokens import PER_REPLY
from techrevati.runtime.chaos.bill import BilledUsage
from techrevati.runtime.chaos.tokens import message_tokens, tool_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from techrevati.runtime.chaos.conversation import Conversation

MIN_TOKENS = 1_024
STEP_TOKENS = 128
MAX_PREFIXES = 1_024


def prompt_prefixes(talk: Conversation, api: str) -> list[tuple[str, int, str]]:
    """Each prefix of the prompt: digest, tokens so far, and the mark that the client set at its end."""
    digest = hashlib.sha256(repr((api, talk.model, talk.tools)).encode("utf-8", "replace"))
    total = PER_REPLY + tool_tokens(talk.tools)
    found = [(digest.hexdigest(), total, talk.tools_mark)] if talk.tools_mark else []
    for message in talk.messages:
        calls = [(call.name, call.arguments_json) for call in message.calls]
        digest.update(repr((message.role, message.text, calls, message.answers)).encode("utf-8", "replace"))
        total += message_tokens(message)
        found.append((digest.hexdigest(), total, message.cache_mark))
    return found


def input_tokens(talk: Conversation) -> int:
    """All input tokens of a request, cached ones included."""
    return PER_REPLY + tool_tokens(talk.tools) + sum(map(message_tokens, talk.messages))


class PromptCache:
    """Remembers the last prefixes; not locked, for one thread."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    def input_usage(self, talk: Conversation, *, api: str) -> BilledUsage:
        """What the input of an accepted request costs; the prompt is remembered for the next one."""
        prefixes = prompt_prefixes(talk, api)
        total = prefixes[-1][1]
        if api == "anthropic":
            marked = [one for one in prefixes if one[2] and one[1] >= MIN_TOKENS]
            end = marked[-1][1] if marked else 0
            # A mark also finds what an earlier one wrote before it.
            hits = (tokens for digest, tokens, _ in prefixes if tokens <= end and digest in self._seen)
            read = max(hits, default=0)
            long = max(0, max((one[1] for one in marked if one[2] == "1h"), default=0) - read)
            self._remember(digest for digest, _, _ in marked)
            return BilledUsage(total - max(read, end), 0, max(0, end - read) - long, read, long)
        found = (tokens for digest, tokens, _ in prefixes if digest in self._seen)
        read = max(found, default=0)
        read = min(read, total - 1) // STEP_TOKENS * STEP_TOKENS if read >= MIN_TOKENS else 0
        self._remember(digest for digest, tokens, _ in prefixes if tokens >= MIN_TOKENS)
        return BilledUsage(total - read, 0, 0, read)

    def _remember(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._seen.pop(digest, None)
            self._seen[digest] = None
        while len(self._seen) > MAX_PREFIXES:
            del self._seen[next(iter(self._seen))]
