"""Answers that were cut off, and whether a client takes one for complete.

A later request gives it away: it holds the part that came, and not the whole; or, after the very same
messages, an assistant's message that is that part, were it a single token.  A request that says that the
answer broke off, or that ends with the part (so that the model goes on with it), is honest.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime.chaos.bill import InjectedRecord, Outcome
from techrevati.runtime.chaos.faults import FaultKind
from techrevati.runtime.chaos.tokens import pieces

if TYPE_CHECKING:
    from techrevati.runtime.chaos.conversation import Conversation, Message, Reply

MAX_CUTS = 256
MAX_WHOLE = 1_024
MIN_WORDS = 3  # fewer prove nothing inside another text
_HONEST = re.compile(
    r"(?i)\b(?:cut (?:off|short)|broke(?:n)? off|truncated|incomplete|interrupted|unfinished|partial"
    r"|(?:continue|go on|carry on|resume) (?:exactly |right |from )?where)\b"
)
_LEFT = (FaultKind.STALLED_STREAM, FaultKind.SLOW_STREAM)  # whoever gives up waiting has a part in hand


@dataclass(frozen=True, slots=True)
class Cut:
    """What the client may have of an answer, and what it should have been; *prompt* is a digest."""

    sequence: int
    partial: str
    reply: Reply
    prompt: str
    messages: int


class CutAnswers:
    """The last of them; not locked, for one thread."""

    def __init__(self) -> None:
        self._cuts: deque[Cut] = deque(maxlen=MAX_CUTS)
        self._waiting: dict[int, tuple[Conversation, Reply]] = {}
        self._whole: dict[bytes, None] = {}
        self.dropped: int = 0

    def planned(self, sequence: int, talk: Conversation, reply: Reply, cut_text: str | None) -> None:
        """Note an answer on its way; *cut_text* is what arrives of it when it is cut off by plan."""
        if cut_text is None:
            self._waiting[sequence] = talk, reply
        else:
            self._add(sequence, talk, reply, cut_text)

    def ended(self, record: InjectedRecord) -> None:
        """Note how the request of an answer ended."""
        talk, reply = self._waiting.pop(record.sequence, (None, None))
        if talk is None or reply is None:
            return
        if record.outcome is Outcome.COMPLETE:
            digest = _digest(reply.text.strip())
            self._whole.pop(digest, None)
            self._whole[digest] = None
            if len(self._whole) > MAX_WHOLE:
                del self._whole[next(iter(self._whole))]
        elif record.outcome is Outcome.ABORTED and record.stream and record.fault in _LEFT:
            came = "".join(pieces(reply.text)[: record.billed.output_tokens])
            self._add(record.sequence, talk, reply, came)

    def _add(self, sequence: int, talk: Conversation, reply: Reply, text: str) -> None:
        self.dropped += len(self._cuts) == self._cuts.maxlen
        prompt = _prefixes(talk)[-1]
        self._cuts.append(Cut(sequence, text.strip(), reply, prompt, len(talk.messages)))

    def known(self) -> tuple[tuple[int, str, str], ...]:
        """Number, the part that came and the whole text of each, newest last."""
        return tuple(
            (one.sequence, one.partial, one.reply.text)
            for one in tuple(self._cuts)
            if _digest(one.partial) not in self._whole
        )

    def carried(self, talk: Conversation) -> tuple[int, ...]:
        """Numbers of those that *talk* goes on with as if they were complete."""
        if not self._cuts:
            return ()
        prefixes = _prefixes(talk)
        return tuple(one.sequence for one in self._cuts if _carried(one, talk, prefixes))


def accepts(text: str, partial: str, whole: str) -> bool:
    """Whether *text* holds *partial*, three words of it at least, but not the *whole* answer."""
    return len(partial.split()) >= MIN_WORDS and partial in text and whole.strip() not in text


def _carried(cut: Cut, talk: Conversation, prefixes: list[str]) -> bool:
    messages = talk.messages
    last = len(messages) - 1
    for index, message in enumerate(messages):
        if any(
            call.name == whole.name and _same_call(call.id, whole.id) and call.arguments != whole.arguments
            for call in message.calls
            for whole in cut.reply.calls
        ):
            return True
        ours = message.role == "assistant"
        if _honest(message, ours) or (ours and (index == last or _honest(messages[index + 1], False))):
            continue
        if accepts(message.text, cut.partial, cut.reply.text):
            return True
        follows = ours and index == cut.messages and prefixes[index - 1] == cut.prompt and not message.calls
        if follows and message.text.strip() == cut.partial != cut.reply.text.strip():
            return True
    return False


def _honest(message: Message, ours: bool) -> bool:
    return not ours and bool(_HONEST.search(message.text))


def _same_call(one: str, other: str) -> bool:
    return one.rpartition("_")[2] == other.rpartition("_")[2]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _prefixes(talk: Conversation) -> list[str]:
    """A digest of the first message, of the first two, and so on."""
    digest = hashlib.sha256()
    found: list[str] = []
    for one in talk.messages:
        calls = [(call.name, call.arguments_json) for call in one.calls]
        digest.update(repr((one.role, one.text, calls, one.answers)).encode("utf-8", "replace"))
        found.append(digest.hexdigest())
    return found
