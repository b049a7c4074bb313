"""Add up a streamed response's usage, whichever way its provider spreads it over the events.

Most providers repeat a cumulative count or say it once at the end: the newest word replaces what was said
before.  Anthropic says the parts in two events that complete each other.  Only langchain's chunks are meant
to be added.  A stream that ends early leaves a partial snapshot, and ``complete`` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.looking import items, view, word
from techrevati.runtime.usage.responses import find
from techrevati.runtime.usage.snapshot import UsageSnapshot

if TYPE_CHECKING:
    from techrevati.runtime.usage.looking import View
    from techrevati.runtime.usage.shapes import Fields

_ENDS = {
    *("response.completed", "response.incomplete", "response.failed", "message-end", "stream-end"),
    *("response.done", "interaction.completed"),  # realtime; Gemini's interactions
}
_ANTHROPIC = {"message_start", "message_delta", "message_stop"}
_UNFINISHED = {"", "null", "FINISH_REASON_UNSPECIFIED", "0"}


class UsageAccumulator:
    """The usage of one streamed response.  One accumulator per response; for one task or thread at a time.

    Attributes:
        complete: Whether the final usage was seen.  False after a stream that was cut off, and for OpenAI
            chat streams without ``stream_options={"include_usage": True}``: what was used is then not known.

    >>> usage = UsageAccumulator()
    >>> usage.add({"choices": [{"delta": {"content": "Hi"}}], "usage": None})
    >>> usage.add({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})
    >>> usage.complete, usage.snapshot().input_tokens
    (True, 9)
    """

    __slots__ = ("_added", "_ended", "_fields", "_model", "_pieces", "_tier", "complete")

    def __init__(self) -> None:
        self.complete: bool = False
        self._fields: Fields = {}
        self._pieces: dict[str, object] = {}  # Anthropic's usage, put together
        self._added: UsageSnapshot | None = None
        self._ended = False
        self._model: str | None = None
        self._tier: str | None = None

    def add(self, event: object) -> None:
        """Take one event: an SDK's object, its dict, its JSON text or a line of server-sent events.

        Events that say nothing of usage are fine; none is refused.
        """
        if isinstance(event, (str, bytes)):
            for inner in _events(event):
                self._take(inner)
        else:
            self._take(event)

    def snapshot(self) -> UsageSnapshot:
        """What is known so far; partial while :attr:`complete` is False, and empty if nothing was said."""
        if self._added is not None:
            if self._model is not None and self._added.model is None:
                return _with_names(self._added, self._added, UsageSnapshot(model=self._model))
            return self._added
        fields = dict(self._fields)
        if fields:
            if self._model is not None:
                fields.setdefault("model", self._model)
            if self._tier is not None:
                fields.setdefault("tier", self._tier)
        return UsageSnapshot(**fields)  # type: ignore[arg-type]

    # --- one event ------------------------------------------------------------------------------------------

    def _take(self, event: object) -> None:
        source = view(event)
        kind = word(source.get("type")) or word(source.get("event_type"))
        if kind is None or kind == "raw_response_event":  # Mistral's SDK and openai-agents wrap the event
            wrapped = source.get("data")
            if wrapped is not None and not isinstance(wrapped, (str, bytes, list, tuple)):
                self._take(wrapped)
                return
        chunk = source.get("chunk")
        if chunk is not None and not isinstance(chunk, (str, bytes)):
            if isinstance(view(chunk).get("bytes"), (bytes, str)):  # Bedrock InvokeModel
                self.add(view(chunk).get("bytes"))
                return
            if kind == "chunk":  # the OpenAI SDK's helper for chat streams
                self._take(chunk)
                return
        if kind in _ANTHROPIC:
            self._take_anthropic(kind, source)
        elif type(event).__name__ == "AIMessageChunk" or kind == "AIMessageChunk":
            self._take_langchain(source)
        else:
            self._take_newest(kind, source)

    def _take_anthropic(self, kind: str, event: View) -> None:
        message = view(event.get("message"))
        usage = message.get("usage") if kind == "message_start" else event.get("usage")
        known = view(usage)
        for name in _ANTHROPIC_NAMES:
            value = known.get(name)
            if value is not None:  # cumulative: the newest word counts, and silence changes nothing
                self._pieces[name] = value
        if kind == "message_start":
            self._model = word(message.get("model")) or self._model
        if usage is not None:
            self._pieces.setdefault("cache_read_input_tokens", 0)
            self._pieces.setdefault("output_tokens", 0)
            context = {"usage": self._pieces, "model": self._model}
            self._fields = find(context) or self._fields
        if kind == "message_delta" and usage is not None and self._fields:
            self.complete = True
        elif kind == "message_stop" and not self._fields:
            self._take_newest(None, event)  # Bedrock's own count comes with the last event

    def _take_langchain(self, chunk: View) -> None:
        if chunk.get("usage_metadata") is not None:
            fields = find(chunk)
            if fields is not None:
                new = UsageSnapshot(**fields)  # type: ignore[arg-type]
                self._added = new if self._added is None else _with_names(self._added + new, self._added, new)
        about = view(chunk.get("response_metadata"))
        self._model = word(about.get("model_name")) or self._model
        self._ended = (
            self._ended
            or word(chunk.get("chunk_position")) == "last"
            or any(about.get(name) for name in ("finish_reason", "stop_reason", "stopReason", "done_reason"))
        )
        self.complete = self._ended and self._added is not None

    def _take_newest(self, kind: str | None, event: View) -> None:
        source = event
        for name in ("response", "interaction", "delta"):  # responses events; Cohere's last event
            inner = event.get(name)
            if inner is not None and not isinstance(inner, str) and kind is not None:
                source = view(inner)
        self._model = word(source.get("model")) or self._model
        self._tier = word(source.get("service_tier")) or self._tier
        fields = find(source)
        if fields is not None:
            searches = self._fields.get("web_searches")
            if searches and not fields.get("web_searches"):  # Gemini tells them in one chunk, tokens in each
                fields["web_searches"] = searches
            self._fields = fields
        self._ended = self._ended or kind in _ENDS or _finished(source)
        last_word = fields is not None and (self._ended or _only_usage(source))
        # Gemini may end with a chunk that repeats no usage.
        if last_word or (self._ended and self._fields and items(source.get("candidates"))):
            self.complete = True


_ANTHROPIC_NAMES = (
    *("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    *("cache_creation", "server_tool_use", "service_tier", "inference_geo", "speed", "iterations"),
    "output_tokens_details",
)


def _finished(event: View) -> bool:
    """Whether the event says that the answer has ended."""
    for choice in (*items(event.get("choices")), *items(event.get("candidates"))):
        about = view(choice)
        for name in ("finish_reason", "finishReason"):
            reason = about.get(name)
            if reason is not None and str(getattr(reason, "value", reason)) not in _UNFINISHED:
                return True
    if event.get("done") is True or view(event.get("metadata")).get("usage") is not None:
        return True
    if "generation" in event:  # Llama through Bedrock InvokeModel
        return word(event.get("stop_reason")) is not None
    if "outputText" in event:  # Titan, too
        return word(event.get("completionReason")) is not None
    feedback = view(event.get("prompt_feedback") or event.get("promptFeedback"))  # no answer
    return (feedback.get("block_reason") or feedback.get("blockReason")) is not None


def _only_usage(event: View) -> bool:
    """The last chunk of an OpenAI chat stream, and events that stand for usage alone."""
    choices = event.get("choices")
    if choices is not None:
        return not items(choices)
    return not items(event.get("candidates")) and not any(
        name in event for name in ("usage_metadata", "usageMetadata", "generation", "outputText")
    )


def _with_names(total: UsageSnapshot, old: UsageSnapshot, new: UsageSnapshot) -> UsageSnapshot:
    fields = {name: getattr(total, name) for name in UsageSnapshot.__dataclass_fields__}
    fields["model"] = new.model or old.model
    fields["tier"] = new.tier or old.tier
    return UsageSnapshot(**fields)


def _events(text: str | bytes) -> list[object]:
    """The JSON in one event's text: bare, or the data lines of server-sent events."""
    import json

    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    found: list[object] = []
    # Lines of events end in these alone; what an answer says may hold other ends of lines (U+2028, U+0085).
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines:
        data = line.strip().removeprefix("data:").strip()
        if data[:1] != "{":
            continue
        try:
            found.append(json.loads(data))
        except (ValueError, RecursionError):
            continue
    if not found and text.lstrip()[:1] == "{":
        try:
            found.append(json.loads(text))  # one object on several lines
        except (ValueError, RecursionError):
            pass
    return found
