"""The demo's model, asked through the real SDK of openai or anthropic and ``guard``.

The conversation stays in the form of chat completions; for Anthropic it is put into that of messages.  The
guard keeps the books; tries and circuits are those of the pipeline around it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.cli.chat_client import ChatClient, ChatReply, ToolCall, UnreadableReplyError
from techrevati.runtime.integrations import guard
from techrevati.runtime.retry_policy import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from techrevati.runtime.cli.demo_spend import Books

SDKS = ("openai", "anthropic")
MAX_TOKENS = 4096  # Anthropic wants to be told
_NEVER = 1_000_000_000


class MissingSdkError(TechrevatiError, ValueError):
    """The SDK is not installed; nothing was sent."""


class SdkClient(ChatClient):
    """A ``ChatClient`` whose requests an SDK sends and a guard admits.  Thread-safe as the SDK.

    Args:
        sdk: "openai" or "anthropic".
        base_url: As OpenAI clients call it; for Anthropic an ending ``/v1`` is left out.

    Raises:
        MissingSdkError: The SDK cannot be imported.
        UnusableEndpointError: See ``ChatClient``.
    """

    def __init__(self, sdk: str, base_url: str, api_key: str | None = None) -> None:
        super().__init__(base_url, api_key)
        if sdk == "openai":
            make, url = _class("openai", "OpenAI"), base_url
        else:
            make, url = _class("anthropic", "Anthropic"), base_url.rstrip("/").removesuffix("/v1")
        self.sdk: str = sdk
        self._plain = make(base_url=url, api_key=api_key or "none", max_retries=0)
        self._guarded: dict[tuple[str, str], Any] = {}
        self._books: Books | None = None
        self._now = self._plain

    def keep(self, books: Books) -> None:
        """Have the guard write every physical request into *books*, as which they are kept from now on."""
        self._books = books
        books.kept_by_guard = True

    def on_behalf(self, role: str, session: str) -> None:
        """Whose requests the next ones are."""
        found = self._guarded.get((role, session))
        if found is None:
            books = self._books
            found = guard(
                self._plain,
                project=None if books is None else books.project,
                ledger=None if books is None else books.ledger,
                budget=None if books is None else books.budget,
                user=role,
                session=session,
                run=None if books is None else books.run,
                retry=Retry(1),
                breaker=CircuitBreaker("demo", failure_threshold=_NEVER),
            )
            self._guarded[role, session] = found
        self._now = found

    def close(self) -> None:
        """Close the connections."""
        self._plain.close()

    def complete(
        self,
        model: str,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] = (),
        *,
        may_use_tools: bool = True,
    ) -> ChatReply:
        """Send one request, once.

        Raises:
            Exception: What the SDK or the guard raises.
        """
        if self.sdk == "openai":
            return self._chat(model, messages, tools, may_use_tools)
        return self._message(model, messages, tools, may_use_tools)

    def _chat(
        self, model: str, messages: Sequence[object], tools: Sequence[object], may_use_tools: bool
    ) -> ChatReply:
        more: dict[str, object] = self._storing()
        if tools:
            more |= {"tools": tools, "tool_choice": "auto" if may_use_tools else "none"}
        said = self._now.chat.completions.create(model=model, messages=messages, **more)
        if not said.choices:
            raise UnreadableReplyError("the reply is no chat completion")
        message = said.choices[0].message
        calls = tuple(
            _tool_call(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        )
        return _reply(message.content or "", calls, said.usage.to_dict() if said.usage else None)

    def _message(
        self,
        model: str,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]],
        may_use_tools: bool,
    ) -> ChatReply:
        more: dict[str, object] = {}
        if tools:
            more = {
                "tools": [_anthropic_tool(tool) for tool in tools],
                "tool_choice": {"type": "auto" if may_use_tools else "none"},
            }
        system, turns = anthropic_messages(messages)
        said = self._now.messages.create(
            model=model, max_tokens=MAX_TOKENS, system=system, messages=turns, **more
        )
        text = "".join(block.text for block in said.content if block.type == "text")
        calls = tuple(
            ToolCall(block.id, block.name, block.input if isinstance(block.input, dict) else None)
            for block in said.content
            if block.type == "tool_use"
        )
        return _reply(text, calls, said.usage.to_dict())


def _class(module: str, name: str) -> Any:
    from importlib import import_module

    try:
        return getattr(import_module(module), name)
    except ImportError:
        raise MissingSdkError(
            f"--sdk {module} needs the SDK of that name, which is not installed here: pip install {module}"
        ) from None


def _tool_call(call: str, name: str, raw: str) -> ToolCall:
    try:
        arguments: object = json.loads(raw or "{}")
    except ValueError:
        arguments = None
    return ToolCall(call, name, arguments if isinstance(arguments, dict) else None)


def _reply(text: str, calls: tuple[ToolCall, ...], usage: object) -> ChatReply:
    message: dict[str, object] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments or {})},
            }
            for call in calls
        ]
    return ChatReply(text, calls, message, usage)


# --- chat completions as Anthropic messages -----------------------------------------------------------------


def anthropic_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[dict[str, object]]]:
    """The system prompt, and the turns with tool calls and their results as blocks.

    Neighbours of one role become one turn, as results of parallel calls must.
    """
    system: list[str] = []
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        role, text = message["role"], str(message.get("content") or "")
        if role == "system":
            system.append(text)
            continue
        blocks: list[dict[str, object]] = []
        if role == "tool":
            role = "user"
            blocks.append({"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": text})
        elif text:
            blocks.append({"type": "text", "text": text})
        for call in message.get("tool_calls") or ():
            given = json.loads(call["function"]["arguments"] or "{}")
            blocks.append(
                {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given}
            )
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return "\n\n".join(system), [{"role": role, "content": blocks} for role, blocks in turns]


def _anthropic_tool(tool: Mapping[str, Any]) -> dict[str, object]:
    function = tool["function"]
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "input_schema": function["parameters"],
    }
