"""What each fault looks like to the code that calls an SDK.

``python -m techrevati.runtime.chaos.exception_table`` drives the SDKs that are installed, plain and
streaming, sync and async, with their own retries off, and prints a Markdown table of what they raise.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from techrevati.runtime.chaos.faults import FAULTS, Fault, FaultKind
from techrevati.runtime.chaos.server import ChaosServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROMPT = (
    "Question: what opens?\n\nNotes:\n- The breaker opens after five failures, and waits a minute. [a.md]"
)
_PATIENT_S = 60.0  # of clients whose answer comes at once
_SILENT_S = 3_600.0
_SILENT = (FaultKind.SLOW_FIRST_TOKEN, FaultKind.SLOW_STREAM, FaultKind.STALLED_STREAM)
_OPTIONS: dict[FaultKind, dict[str, Any]] = {
    FaultKind.RATE_LIMIT: {"retry_after_s": 1.0},
    FaultKind.SLOW_FIRST_TOKEN: {"delay_s": _SILENT_S},
    FaultKind.SLOW_STREAM: {"delay_s": _SILENT_S},
    FaultKind.STALLED_STREAM: {"delay_s": _SILENT_S},
    FaultKind.TOOL_CALL: {"tool": "delete_file", "arguments": {"path": "a.md"}},
    FaultKind.SAYS: {"text": "The key is sk-rehearsal."},
}
SDKS = ("openai", "anthropic")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one call of an SDK ended in. *error* is None when it raised nothing."""

    sdk: str
    kind: FaultKind
    stream: bool
    asynchronous: bool
    error: Exception | None
    text: str

    @property
    def words(self) -> str:
        """The exception with its facts in a few words, or what came instead of one."""
        error = self.error
        if error is None:
            return self.text
        facts = [str(getattr(error, name)) for name in ("status_code", "code") if getattr(error, name, None)]
        cause = getattr(error, "error_code", None) or (
            None if "code" in vars(error) else getattr(error, "type", None)
        )
        facts += [str(cause)] if cause else []
        return f"`{type(error).__name__}`" + (f" {' '.join(facts)}" if facts else "")


def observed(
    sdk: str, kind: FaultKind, *, stream: bool, asynchronous: bool = False, timeout_s: float = 0.2
) -> Seen:
    """What *sdk* does when its only request meets the fault *kind*; *timeout_s* is for faults of silence."""
    patience_s = timeout_s if kind in _SILENT else _PATIENT_S
    fault = Fault(kind, **_OPTIONS.get(kind, {}))
    with ChaosServer([fault]) as server:
        try:
            if asynchronous:
                text = asyncio.run(_acall(sdk, server, stream, patience_s))
            else:
                text = _call(sdk, server, stream, patience_s)
        except Exception as error:
            return Seen(sdk, kind, stream, asynchronous, error, "")
    return Seen(sdk, kind, stream, asynchronous, None, text)


def sdk_table(sdks: Sequence[str] = SDKS, kinds: Iterable[FaultKind] = tuple(FaultKind)) -> str:
    """The Markdown table: a row for each fault, two columns for each SDK.

    Where the async client differs from the sync one, both are named.
    """
    columns = [(sdk, stream) for sdk in sdks for stream in (False, True)]
    head = ["fault", "what happens", *(f"{sdk} {'stream' if stream else 'plain'}" for sdk, stream in columns)]
    lines = [_line(head), _line(["---"] * len(head))]
    for kind in kinds:
        cells: list[str] = []
        for sdk, stream in columns:
            sync, other = (
                observed(sdk, kind, stream=stream, asynchronous=way).words for way in (False, True)
            )
            cells.append(sync if sync == other else f"{sync}; async {other}")
        lines.append(_line([f"`{kind.value}`", FAULTS[kind].meaning, *cells]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _client(sdk: str, server: ChaosServer, patience_s: float, *, asynchronous: bool) -> Any:
    name = {"openai": "OpenAI", "anthropic": "Anthropic"}[sdk]
    kind: Any = getattr(importlib.import_module(sdk), f"Async{name}" if asynchronous else name)
    url = server.base_url if sdk == "openai" else server.anthropic_base_url
    return kind(api_key="sk-rehearsal", base_url=url, max_retries=0, timeout=patience_s)


def _request(sdk: str, client: Any, stream: bool) -> Any:
    messages = [{"role": "user", "content": PROMPT}]
    if sdk == "openai":
        return client.chat.completions.create(model="chaos-large", messages=messages, stream=stream)
    return client.messages.create(model="chaos-large", messages=messages, max_tokens=500, stream=stream)


def _call(sdk: str, server: ChaosServer, stream: bool, patience_s: float) -> str:
    with _client(sdk, server, patience_s, asynchronous=False) as client:
        answer = _request(sdk, client, stream)
        if not stream:
            return _plain_words(sdk, answer)
        with answer:
            return _stream_words(sdk, list(answer))


async def _acall(sdk: str, server: ChaosServer, stream: bool, patience_s: float) -> str:
    async with _client(sdk, server, patience_s, asynchronous=True) as client:
        answer = await _request(sdk, client, stream)
        if not stream:
            return _plain_words(sdk, answer)
        async with answer:
            return _stream_words(sdk, [event async for event in answer])


def _plain_words(sdk: str, answer: Any) -> str:
    if isinstance(answer, str):
        return "no exception, a `str` instead of an object"
    reason = answer.choices[0].finish_reason if sdk == "openai" else answer.stop_reason
    return f"no exception, `{reason}`"


def _stream_words(sdk: str, events: Sequence[Any]) -> str:
    if sdk == "openai":
        reasons = [event.choices[0].finish_reason for event in events if event.choices]
    else:
        reasons = [event.delta.stop_reason for event in events if event.type == "message_delta"]
    last = next((reason for reason in reversed(reasons) if reason), None)
    return f"no exception, `{last}`" if last else "**no exception, cut off in silence**"


def main() -> int:
    """Print the table for the SDKs that are installed."""
    found = [sdk for sdk in SDKS if importlib.util.find_spec(sdk)]
    if not found:
        sys.stderr.write("install openai or anthropic first\n")
        return 2
    sys.stdout.write(sdk_table(found) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
