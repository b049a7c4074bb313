"""What the server does with one request, as data: bytes to send, waits, and how the connection ends.

Everything about a fault is decided here; whoever carries out a plan only sends, sleeps and hangs up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.chaos.bill import Outcome
from techrevati.runtime.chaos.conversation import Reply, ToolCall
from techrevati.runtime.chaos.faults import Fault, FaultKind
from techrevati.runtime.chaos.tokens import count_tokens, pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from techrevati.runtime.chaos.wire import Event, Generation, Refusal, Wire


class Send(NamedTuple):
    """Bytes for the client; *tokens* of output are generated once they are on their way."""

    data: bytes
    tokens: int = 0


class Wait(NamedTuple):
    """Nothing happens for so many seconds of scenario time."""

    seconds: float


class HangUp(NamedTuple):
    """The connection ends here, with a reset or as if all were well."""

    reset: bool


Step = Send | Wait | HangUp


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one response. After the last one the connection stays open if *keep_open*.

    *cut_text* is what a client has in hand of an answer that was cut off, for the verdict.
    """

    status: int | None
    steps: tuple[Step, ...]
    outcome: Outcome
    keep_open: bool = True
    cut_text: str | None = None

    def without_body(self) -> Plan:
        """The same with the head alone, for a HEAD request."""
        sent = b"".join(step.data for step in self.steps if isinstance(step, Send))
        return replace(self, steps=(Send(sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"),))


@dataclass(frozen=True, slots=True)
class Framing:
    """How the client's HTTP wants an answer: chunks need HTTP/1.1, an open connection its consent."""

    chunked: bool = True
    keep_open: bool = True


def head(status: int, headers: Mapping[str, str], framing: Framing, length: int | None) -> bytes:
    """The status line and headers; *length* None is a stream."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Overloaded" if status == 529 else "Unknown"
    size = f"content-length: {length}" if length is not None else ""
    if length is None and framing.chunked:
        size = "transfer-encoding: chunked"
    stays = framing.keep_open and bool(size)
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), size]
    lines.append(f"connection: {'keep-alive' if stays else 'close'}")
    return "\r\n".join([line for line in lines if line]).encode("latin-1", "replace") + b"\r\n\r\n"


def plain_plan(
    status: int, headers: Mapping[str, str], body: bytes, framing: Framing, outcome: Outcome, tokens: int = 0
) -> Plan:
    """A whole response that nothing happens to."""
    data = head(status, headers, framing, len(body)) + body
    return Plan(status, (Send(data, tokens),), outcome, framing.keep_open)


def refusal_plan(refusal: Refusal, framing: Framing, outcome: Outcome = Outcome.REFUSED) -> Plan:
    """An error response; nothing is generated."""
    return plain_plan(refusal.status, refusal.headers, refusal.body, framing, outcome)


def scripted(reply: Reply, fault: Fault | None, sequence: int) -> Reply:
    """The reply that *fault* puts into the model's mouth, or *reply*."""
    match fault.kind if fault else None:
        case FaultKind.SAYS if fault:
            return Reply(text=fault.text or "")
        case FaultKind.TOOL_CALL if fault:
            call = ToolCall(f"call_scripted{sequence:012d}", fault.tool or "", fault.arguments)
            return Reply(calls=(call,), finish="tool_calls")
        case FaultKind.CONTENT_FILTER_STOP if fault and not reply.calls:
            return Reply(text="".join(pieces(reply.text)[: fault.after_tokens]), finish="content_filter")
        case _:
            return reply


def output_tokens(reply: Reply) -> int:
    """Tokens of a whole reply."""
    calls = sum(count_tokens(call.name) + count_tokens(call.arguments_json) for call in reply.calls)
    return count_tokens(reply.text) + calls


def answer_plan(
    wire: Wire, made: Generation, fault: Fault | None, framing: Framing, *, stream: bool, request_id: str
) -> Plan:
    """The answer *made*, with what *fault* does to it on its way."""
    headers = wire.success_headers(request_id)
    if stream:
        headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        return _streamed(wire, made, fault, framing, headers, request_id)
    return whole_answer_plan(wire.plain(made), made.usage.output_tokens, fault, framing, headers)


def whole_answer_plan(
    body: bytes, tokens: int, fault: Fault | None, framing: Framing, headers: dict[str, str]
) -> Plan:
    """The answer *body*, which is not streamed, with what *fault* does to it on its way."""
    headers = {**headers, "content-type": "application/json"}
    whole = plain_plan(200, headers, body, framing, Outcome.COMPLETE, tokens)
    if fault is None:
        return whole
    start = head(200, headers, framing, len(body))
    half = len(body) // 2
    first, rest = Send(start + body[:half], tokens), Send(body[half:], tokens)
    delay = Wait(fault.delay_s or 0.0)
    match fault.kind:
        case FaultKind.SLOW_FIRST_TOKEN:
            return replace(whole, steps=(delay, *whole.steps))
        case FaultKind.SLOW_STREAM:
            return replace(whole, steps=(Wait(delay.seconds * tokens), *whole.steps))
        case FaultKind.STALLED_STREAM:
            return replace(whole, steps=(first, delay, rest))
        case FaultKind.RESET:
            # A provider has computed all of a plain answer before it sends the first byte: all is billed.
            return Plan(None, (Send(b"", tokens), HangUp(True)), Outcome.DAMAGED, False)
        case FaultKind.RESET_MID_BODY:
            return Plan(200, (first, HangUp(True)), Outcome.DAMAGED, False)
        case FaultKind.TRUNCATED_BODY:
            return Plan(200, (first, HangUp(False)), Outcome.DAMAGED, False)
        case FaultKind.TRUNCATED_STREAM:
            return plain_plan(200, headers, body[:half], framing, Outcome.DAMAGED, tokens)
        case FaultKind.WRONG_JSON:
            wrong = body.replace(b',"', b',,"', 1)
            return plain_plan(200, headers, wrong, framing, Outcome.DAMAGED, tokens)
        case _:
            return whole


def _streamed(
    wire: Wire,
    made: Generation,
    fault: Fault | None,
    framing: Framing,
    headers: dict[str, str],
    request_id: str,
) -> Plan:
    events = wire.events(made)
    framed = [Send(_framed(event.data, framing), event.tokens) for event in events]
    start = Send(head(200, headers, framing, None))
    end = Send(b"0\r\n\r\n" if framing.chunked else b"", made.usage.output_tokens)
    keep_open = framing.keep_open and framing.chunked
    whole = Plan(200, (start, *framed, end), Outcome.COMPLETE, keep_open)
    if fault is None:
        return whole
    count = _arriving(fault, events)
    arrived, tokens = framed[:count], framed[count - 1].tokens
    text = "".join(pieces(made.reply.text)[:tokens])
    delay = Wait(fault.delay_s or 0.0)
    match fault.kind:
        case FaultKind.SLOW_FIRST_TOKEN:
            before = sum(event.tokens == 0 for event in events)
            return replace(whole, steps=(start, *framed[:before], delay, *framed[before:], end))
        case FaultKind.SLOW_STREAM:
            return replace(whole, steps=(start, *_paced(framed, delay), end))
        case FaultKind.STALLED_STREAM:
            return replace(whole, steps=(start, *arrived, delay, *framed[count:], end))
        case FaultKind.RESET:
            return Plan(None, (HangUp(True),), Outcome.DAMAGED, False)
        case FaultKind.RESET_MID_BODY:
            return Plan(200, (start, *arrived, HangUp(True)), Outcome.DAMAGED, False, text)
        case FaultKind.TRUNCATED_BODY:
            return Plan(200, (start, *arrived, HangUp(False)), Outcome.DAMAGED, False, text)
        case FaultKind.TRUNCATED_STREAM:
            last = end._replace(tokens=tokens)
            return Plan(200, (start, *arrived, last), Outcome.DAMAGED, keep_open, text)
        case FaultKind.WRONG_JSON:
            noise = Send(_framed(_broken(events[min(count, len(events) - 1)].data), framing), tokens)
            return Plan(
                200, (start, *arrived, noise, end._replace(tokens=tokens)), Outcome.DAMAGED, keep_open, text
            )
        case FaultKind.MID_STREAM_ERROR:
            said = wire.error_event(fault.message, request_id, made, count)
            error = Send(_framed(said, framing), tokens)
            return Plan(
                200, (start, *arrived, error, end._replace(tokens=tokens)), Outcome.DAMAGED, keep_open, text
            )
        case _:
            return whole


def _arriving(fault: Fault, events: Sequence[Event]) -> int:
    """How many events arrive before the fault: those of its tokens, never those of the last one."""
    limit = min(fault.after_tokens, events[-1].tokens - 1)
    return max(1, sum(event.tokens <= limit for event in events))


def _paced(framed: Sequence[Send], delay: Wait) -> list[Step]:
    steps: list[Step] = []
    tokens = 0
    for each in framed:
        if each.tokens > tokens:
            steps.append(Wait(delay.seconds * (each.tokens - tokens)))
            tokens = each.tokens
        steps.append(each)
    return steps


def _framed(data: bytes, framing: Framing) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if framing.chunked else data


def _broken(event: bytes) -> bytes:
    """An event whose JSON breaks off in the middle; the event itself is complete."""
    bare = event.rstrip(b"\n")
    return bare[: len(bare) // 2] + b"\n\n"
