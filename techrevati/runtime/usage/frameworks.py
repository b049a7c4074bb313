"""What frameworks make of a provider's usage, in shapes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.looking import count, one, view

if TYPE_CHECKING:
    from techrevati.runtime.usage.looking import View
    from techrevati.runtime.usage.shapes import Fields


def by_tier(details: View, made_of: View) -> tuple[str | None, View, View]:
    """langchain's names of parts that were served in a tier, ``flex_cache_read``, as those of any other."""
    for tier in ("flex", "priority"):
        if tier in details or tier in made_of:
            plain = [
                {str(name).removeprefix(f"{tier}_"): value for name, value in part.items()}
                if isinstance(part, dict)
                else part
                for part in (details, made_of)
            ]
            return tier, plain[0], plain[1]
    return None, details, made_of


def pydantic_ai(usage: View, given: int, made: int) -> Fields:
    """pydantic-ai: everything inside; ``details`` holds what the provider said beside it."""
    read, write = one(usage, "cache_read_tokens"), one(usage, "cache_write_tokens")
    audio, audio_out = one(usage, "input_audio_tokens"), one(usage, "output_audio_tokens")
    audio_read = min(one(usage, "cache_audio_read_tokens"), read)
    details = view(usage.get("details"))
    output = max(0, made - audio_out)
    hour = one(usage, "cache_write_1h_tokens") or count(
        details, "ephemeral_1h_input_tokens", "cache_write_1h_tokens"
    )
    reasoning = one(usage, "output_reasoning_tokens") or count(details, "reasoning_tokens", "thoughts_tokens")
    fields: Fields = {
        "input_tokens": max(0, given - read - write - max(0, audio - audio_read)),
        "output_tokens": output,
        "cache_read_tokens": read,
        "cache_write_tokens": max(0, write - hour),
        "cache_write_1h_tokens": min(hour, write),
        "reasoning_tokens": min(reasoning, output),
        "input_audio_tokens": max(0, audio - audio_read),
        "output_audio_tokens": audio_out,
        "cache_read_audio_tokens": audio_read,
        "requests": one(usage, "requests"),
        "web_searches": one(details, "web_search_requests"),
    }
    return fields
