"""The answers that most calls get, read in one step: chat completions and messages as the SDKs of OpenAI and
Anthropic model them, with nothing to count but text, what a cache held of it, and reasoning.

Behind a call that took a millisecond every function is cold, and one costs what ten cost in a loop.  What has
more to say is left to the readers of shapes, which say the same of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.snapshot import UsageSnapshot, fill

if TYPE_CHECKING:
    from typing import Any

_CHAT = frozenset(
    {
        *("prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_tokens_details", "completion_tokens_details"),
    }
)
_MESSAGE = frozenset(
    {
        *("input_tokens", "output_tokens", "cache_read_input_tokens"),
        *("cache_creation", "cache_creation_input_tokens"),
        *("inference_geo", "output_tokens_details", "server_tool_use", "service_tier", "speed"),
        *("iterations", "fallback_credit"),
    }
)
# Whatever the readers of shapes would look at in an answer beside its usage, model and tier.
_BESIDE = frozenset(
    {
        *("output", "candidates", "tool_usage", "response_metadata", "provider_details"),
        *("serviceTier", "sdk_http_response", "model_version", "modelVersion", "model_name"),
    }
)
_TIERS = {None: None, "default": "default", "standard": "standard", "priority": "priority", "flex": "flex"}
_NOT_READ, _IS_CHAT, _IS_MESSAGE = range(3)
# What is known of types; a program that makes new ones starts over.  Of each, how many fields it has: an
# instance that holds more than them (a ``cached_property``, for one) or less is looked through.
_answers: dict[type, int] = {}  # 0: not read here
_usages: dict[type, tuple[int, int]] = {}
_CAPACITY = 512


def common(answer: Any) -> UsageSnapshot | None:
    """What *answer* used, if it is one of the common ones; None asks the readers of shapes."""
    size = _answers.get(type(answer))
    if not size and (size is not None or not (size := _answer_size(type(answer)))):
        return None
    try:
        said = answer.__dict__
        usage = said["usage"]
        known = _usages.get(type(usage))
        if known is None:
            known = _kind_and_size(type(usage))
        kind = known[0]
        if kind == _NOT_READ or answer.__pydantic_extra__ or usage.__pydantic_extra__:
            return None
        counts, model = usage.__dict__, said["model"]
        private = ("_request_id" in said) + ("_workspace_id" in said)  # by which the SDKs know their answers
        if len(said) != size + private or len(counts) != known[1]:
            return None
        if type(model) is not str or not model or "gemini" in model or model.isspace():
            return None
        if kind == _IS_CHAT:
            given, made, total = counts["prompt_tokens"], counts["completion_tokens"], counts["total_tokens"]
            if type(given) is not int or type(made) is not int or given + made != total:
                return None  # some count reasoning beside
            read = reasoning = 0
            details = counts["prompt_tokens_details"]
            if details is not None and (details.__pydantic_extra__ or any(details.__dict__.values())):
                read = _only(details, "cached_tokens")
            details = counts["completion_tokens_details"]
            if details is not None and (details.__pydantic_extra__ or any(details.__dict__.values())):
                reasoning = _only(details, "reasoning_tokens")
            if reasoning > made:
                return None
            given -= read
            tier = _TIERS[said["service_tier"]]
        else:
            given, made = counts["input_tokens"], counts["output_tokens"]
            read = counts["cache_read_input_tokens"] or 0
            reasoning = 0
            written = counts["cache_creation"]
            if (
                type(given) is not int
                or type(made) is not int
                or type(read) is not int
                or counts["cache_creation_input_tokens"]
                or (written is not None and (written.__pydantic_extra__ or any(written.__dict__.values())))
                or counts.get("iterations") is not None
                or counts.get("output_tokens_details") is not None
                or counts["server_tool_use"] is not None
                or counts.get("speed") is not None
                or counts.get("inference_geo") is not None
                or said.get("service_tier") is not None
            ):
                return None
            tier = _TIERS[counts["service_tier"]]
        if given < 0 or made < 0 or read < 0 or reasoning < 0:
            return None
    except Exception:  # something else
        return None
    snapshot = object.__new__(UsageSnapshot)
    fill(snapshot, given, made, 0, read, 0, reasoning, 0, 0, 0, 0, 0, None, tier, model)
    return snapshot


def _only(details: Any, name: str) -> int:
    """The count of *name* in details that count nothing else.

    Raises:
        TypeError: They do.
    """
    counts = details.__dict__
    found = counts[name]
    if details.__pydantic_extra__ or type(found) is not int or list(filter(None, counts.values())) != [found]:
        raise TypeError(f"more than {name}")
    return found


def _answer_size(answer: type) -> int:
    """How many fields answers of this type have; 0 if they say something beside their usage.  Remembered."""
    fields = getattr(answer, "__pydantic_fields__", None)
    size = 0
    if isinstance(fields, dict) and "usage" in fields and _BESIDE.isdisjoint(fields):
        size = len(fields)
    if len(_answers) >= _CAPACITY:
        _answers.clear()
    _answers[answer] = size
    return size


def _kind_and_size(usage: type) -> tuple[int, int]:
    """Whose usage this type is, and how many fields it has; remembered."""
    fields = getattr(usage, "__pydantic_fields__", None)
    known = _NOT_READ, 0
    if isinstance(fields, dict):
        if fields.keys() == _CHAT:
            known = _IS_CHAT, len(fields)
        elif fields.keys() <= _MESSAGE:
            known = _IS_MESSAGE, len(fields)
    if len(_usages) >= _CAPACITY:
        _usages.clear()
    _usages[usage] = known
    return known
