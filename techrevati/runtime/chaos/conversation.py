"""What a request asks and what a reply says, free of any provider's wire format."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool that the model asks for."""

    id: str
    name: str
    arguments: dict[str, object] = field(default_factory=dict[str, object])

    @property
    def arguments_json(self) -> str:
        """The arguments as compact JSON, as they go over the wire."""
        return json.dumps(self.arguments, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. *role* is ``system``, ``user``, ``assistant`` or ``tool``; only an assistant calls tools,
    and a tool's message names the call that it answers."""

    role: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    failed: bool = False
    cache_mark: str = ""  # "5m" or "1h": the client asked to cache everything up to here, for so long


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool on offer; *parameters* is a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request to the model. *choice* is ``auto``, ``none``, ``required`` or ``tool:<name>``."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    parallel: bool = True  # several tool calls in one reply are welcome
    stream: bool = False
    stream_usage: bool = True
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()  # the answer ends before the first of these
    json_answer: bool = False
    json_schema: dict[str, object] | None = None  # what a JSON answer must look like; None: any object
    tools_mark: str = ""  # as cache_mark, for the tools


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answers: text, tool calls, or text before tool calls.

    *finish* is ``stop``, ``tool_calls``, ``length`` or ``content_filter``; *stopped_by* is the stop sequence
    that ended it.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    stopped_by: str = ""
