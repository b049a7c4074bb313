"""Read what a response used, by its shape; no SDK is imported and nothing is guessed."""

from __future__ import annotations

from techrevati.runtime.usage.snapshot import UsageNotFoundError


def read(response: object) -> dict[str, object]:
    """The fields of a snapshot that *response* describes."""
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
            names = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
            return dict(zip(names, counts, strict=True))
    raise UsageNotFoundError(_described(response))


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
