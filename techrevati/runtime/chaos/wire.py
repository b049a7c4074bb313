"""What every provider's wire format can do: read a request, write a reply, a stream, a refusal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.chaos.bill import NOTHING, BilledUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime.chaos.conversation import Conversation, Reply
    from techrevati.runtime.chaos.faults import Fault

BAD_GATEWAY = b"""<html>\r
<head><title>502 Bad Gateway</title></head>\r
<body>\r
<center><h1>502 Bad Gateway</h1></center>\r
<hr><center>cloudflare</center>\r
</body>\r
</html>\r
"""


class InvalidRequestError(TechrevatiError, ValueError):
    """The client sent what the provider would refuse; never raised out of the server.

    Attributes:
        message: The provider's words.
        param: The field that is wrong, if one is.
        code: The provider's code, if it has one.
        status: The HTTP status, 400 unless said otherwise.
    """

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Generation:
    """A reply and all that its wire form needs; *request* is the body that it answers."""

    id: str
    model: str
    created: int
    reply: Reply
    usage: BilledUsage = NOTHING
    stream_usage: bool = True
    request: Mapping[str, object] = field(default_factory=dict[str, object])


class Event(NamedTuple):
    """Bytes of a stream and how many output tokens are generated once they are sent."""

    data: bytes
    tokens: int


class Refusal(NamedTuple):
    """An error response."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class RefusalFacts:
    """What error responses quote: *wait_s* is in real seconds, *now_s* since 1970."""

    request_id: str
    model: str
    input_tokens: int
    wait_s: float | None
    now_s: float


class Wire(Protocol):
    """One provider's wire format."""

    api: str
    id_prefix: str  # of an answer

    def conversation(self, body: Mapping[str, object]) -> Conversation:
        """The request in *body*; raises ``InvalidRequestError``."""
        ...

    def plain(self, made: Generation) -> bytes:
        """The JSON body of a whole answer."""
        ...

    def events(self, made: Generation) -> list[Event]:
        """The answer as stream events, at most one token each."""
        ...

    def success_headers(self, request_id: str) -> dict[str, str]:
        """Headers of an answer beside its type and length."""
        ...

    def refusal(self, fault: Fault, facts: RefusalFacts) -> Refusal:
        """The error response for a fault that refuses."""
        ...

    def invalid(self, error: InvalidRequestError, request_id: str) -> Refusal:
        """The error response for a request that is wrong by itself."""
        ...

    def error_event(self, message: str | None, request_id: str, made: Generation, sent: int) -> bytes:
        """The event that ends the stream of *made* with an error after *sent* events."""
        ...


def compact(value: object) -> bytes:
    """*value* as JSON in UTF-8 without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def wait_headers(form: str, default: str, wait_s: float | None, now_s: float) -> dict[str, str]:
    """The Retry-After headers for a wait of *wait_s* real seconds in the asked *form*.

    ``retry-after`` is whole seconds, rounded up, as HTTP has it; only ``retry-after-ms`` is exact.
    """
    import math
    from email.utils import formatdate

    shape = default if form == "default" else form
    if wait_s is None or shape == "none":
        return {}
    headers: dict[str, str] = {}
    if shape in ("ms", "both"):
        headers["retry-after-ms"] = str(math.ceil(wait_s * 1000 - 1e-6))
    if shape in ("seconds", "both"):
        headers["retry-after"] = str(math.ceil(wait_s - 1e-9))
    if shape == "date":
        headers["retry-after"] = formatdate(math.ceil(now_s + wait_s), usegmt=True)
    return headers


def checked_turns(talk: Conversation, unanswered: str, orphan: str) -> Conversation:
    """*talk*, or the error that providers give when a tool call has no result, or a result no call.

    *unanswered* and *orphan* are the texts.
    """
    open_ids: list[str] = []
    asked: list[str] = []
    for index, message in enumerate(talk.messages):
        if message.role == "tool":
            if message.answers not in asked:
                text = orphan.format(id=message.answers[:100])
                raise InvalidRequestError(text, param=f"messages.[{index}].role")
            if message.answers in open_ids:
                open_ids.remove(message.answers)
            continue
        if open_ids:
            break
        open_ids = [call.id for call in message.calls]
        asked = list(open_ids)
    if open_ids:
        raise InvalidRequestError(unanswered.format(ids=", ".join(open_ids)), param="messages")
    return talk
