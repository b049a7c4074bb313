"""Say what a model call used, in disjoint token counts.

Providers disagree about what "input tokens" includes: some count cached tokens inside, some beside.  Here a
token is counted once: ``input_tokens`` never includes cached ones.  ``UsageSnapshot.from_response`` reads the
responses of the common APIs by their shape, without importing any SDK, and never guesses.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class UsageNotFoundError(TechrevatiError, ValueError):
    """A response carries no usage that can be recognised; it is not taken for zero.

    Attributes:
        seen: What was looked at: the type and the names found in it.
    """

    def __init__(self, seen: str) -> None:
        super().__init__(seen)
        self.seen = seen

    def __str__(self) -> str:
        return f"no recognisable usage in {self.seen}"


@dataclass(frozen=True, slots=True)
class UsageSnapshot:
    """Tokens of one call, or of several added up.  Immutable; ``a + b`` adds field by field.

    Attributes:
        input_tokens: Prompt tokens that were neither read from nor written to a cache.
        output_tokens: Tokens generated, reasoning included.
        cache_write_tokens: Prompt tokens written to a cache.
        cache_read_tokens: Prompt tokens read from a cache.

    Raises:
        ValueError, TypeError: A count is negative or not whole; integral floats are converted.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                object.__setattr__(self, name, arguments.count(name, value))

    def __add__(self, other: UsageSnapshot) -> UsageSnapshot:
        return UsageSnapshot(*(getattr(self, name) + getattr(other, name) for name in _COUNTS))

    def to_dict(self) -> dict[str, int]:
        """Every count by name."""
        return {name: getattr(self, name) for name in _COUNTS}

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON."""
        import json

        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Self:
        """The snapshot that *counts* describes; absent counts are 0, unknown keys ignored."""
        return cls(**{name: counts[name] for name in _COUNTS if name in counts})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The snapshot that a JSON object describes.

        Raises:
            ValueError: Not JSON or not an object.
        """
        import json

        counts = json.loads(text)
        if not isinstance(counts, dict):
            raise ValueError(f"usage must be a JSON object, got {type(counts).__name__}")
        return cls.from_dict(counts)

    @classmethod
    def from_response(cls, response: object) -> Self:
        """What *response* says it used.

        Accepts a response object, its dict or its JSON text, or a usage object itself, of OpenAI chat
        completions and responses (and APIs of that shape), Anthropic messages, Gemini, and Bedrock
        Converse.

        Raises:
            UsageNotFoundError: Nothing recognisable is there.
        """
        if isinstance(response, (str, bytes)):
            response = _parsed(response)
        usage = response
        for name in ("usage", "usage_metadata", "usageMetadata"):
            nested = _get(response, name)
            if nested is not None and not isinstance(nested, (int, float, str)):
                usage = nested
                break
        for shape in (_openai_chat, _input_output, _gemini, _bedrock):
            counts = shape(usage)
            if counts is not None:
                return cls(*counts)
        raise UsageNotFoundError(_described(response))


_COUNTS = tuple(field.name for field in fields(UsageSnapshot))
_Counts = tuple[int, int, int, int]  # input, output, cache write, cache read


def _openai_chat(usage: object) -> _Counts | None:
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None:
        return None
    details = _get(usage, "prompt_tokens_details")
    return _inclusive(prompt, completion, details)


def _input_output(usage: object) -> _Counts | None:
    given, output = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    if given is None or output is None:
        return None
    write, read = _count(usage, "cache_creation_input_tokens"), _count(usage, "cache_read_input_tokens")
    if write is None and read is None:
        own = _count(usage, "cache_write_tokens"), _count(usage, "cache_read_tokens")
        if own != (None, None):  # a snapshot of ours, or its dict
            return given, output, own[0] or 0, own[1] or 0
        return _inclusive(given, output, _get(usage, "input_tokens_details"))  # OpenAI responses
    return given, output, write or 0, read or 0  # Anthropic counts cached tokens beside the input


def _gemini(usage: object) -> _Counts | None:
    prompt = _count(usage, "prompt_token_count", "promptTokenCount")
    if prompt is None:
        return None
    cached = _count(usage, "cached_content_token_count", "cachedContentTokenCount") or 0
    answer = _count(usage, "candidates_token_count", "candidatesTokenCount") or 0
    thoughts = _count(usage, "thoughts_token_count", "thoughtsTokenCount") or 0
    tool_use = _count(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount") or 0
    return max(0, prompt - cached) + tool_use, answer + thoughts, 0, cached


def _bedrock(usage: object) -> _Counts | None:
    given, output = _count(usage, "inputTokens"), _count(usage, "outputTokens")
    if given is None or output is None:
        return None
    write, read = _count(usage, "cacheWriteInputTokens"), _count(usage, "cacheReadInputTokens")
    return given, output, write or 0, read or 0


def _inclusive(given: int, output: int | None, details: object) -> _Counts:
    """Counts where the input includes what was cached."""
    read, write = _count(details, "cached_tokens") or 0, _count(details, "cache_write_tokens") or 0
    return max(0, given - read - write), output or 0, write, read


def _get(source: object, name: str) -> object:
    if isinstance(source, dict):
        return source.get(name)
    try:
        return getattr(source, name, None)
    except Exception:
        return None


def _count(source: object, *names: str) -> int | None:
    """The first of *names* that is a whole number >= 0; anything else, mocks included, is no count."""
    for name in names:
        value = _get(source, name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is int and value >= 0:
            return value
    return None


def _parsed(text: str | bytes) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:
        raise UsageNotFoundError(f"text of {len(text)} characters that is not JSON") from None


def _described(response: object) -> str:
    names = list(response) if isinstance(response, dict) else list(getattr(response, "__dict__", ()))
    shown = ", ".join(map(str, names[:12])) or "nothing"
    return f"{type(response).__name__} with {shown}"
