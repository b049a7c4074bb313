"""What Gemini's interactions API says a turn used: the parts of ``generateContent`` under other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.looking import count, items, one, view, whole, word

if TYPE_CHECKING:
    from techrevati.runtime.usage.looking import View
    from techrevati.runtime.usage.shapes import Fields


def interaction(usage: View) -> Fields | None:
    """``total_input_tokens``: cached tokens inside it; thoughts and tool results beside everything."""
    given = whole(usage.get("total_input_tokens"))
    if given is None:
        return None
    read = min(one(usage, "total_cached_tokens"), given)
    thoughts, answer = one(usage, "total_thought_tokens"), one(usage, "total_output_tokens")
    heard, cached = (
        _by_modality(usage, "input_tokens_by_modality"),
        _by_modality(usage, "cached_tokens_by_modality"),
    )
    made = _by_modality(usage, "output_tokens_by_modality")
    audio_read = min(cached.get("AUDIO", 0), read)
    audio = min(max(0, heard.get("AUDIO", 0) - audio_read), given - read)
    image = min(max(0, heard.get("IMAGE", 0) - cached.get("IMAGE", 0)), given - read - audio)
    audio_out = min(made.get("AUDIO", 0), answer)
    tools = [view(each) for each in items(usage.get("grounding_tool_count"))]
    return {
        "input_tokens": given - read - audio - image + one(usage, "total_tool_use_tokens"),
        "input_audio_tokens": audio,
        "input_image_tokens": image,
        "cache_read_tokens": read,
        "cache_read_audio_tokens": audio_read,
        "output_tokens": answer - audio_out + thoughts,
        "output_audio_tokens": audio_out,
        "output_image_tokens": min(made.get("IMAGE", 0), answer - audio_out),
        "reasoning_tokens": thoughts,
        "web_searches": sum(
            one(each, "count") for each in tools if word(each.get("type")) == "google_search"
        ),
    }


def _by_modality(usage: View, name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in items(usage.get(name)):
        part = view(each)
        modality = (word(part.get("modality")) or "").upper()
        found[modality] = found.get(modality, 0) + count(part, "tokens")
    return found
