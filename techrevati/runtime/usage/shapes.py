"""The shapes in which providers say what a call used, one function each.

Every function takes a usage object and gives the fields of a snapshot, or None when the shape is another one.
What a provider counts inside something else is taken out of it: cached tokens and audio out of the input,
audio out of the output; what it counts beside (thoughts, tool results) is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.frameworks import by_tier, pydantic_ai
from techrevati.runtime.usage.interactions import interaction
from techrevati.runtime.usage.looking import count, items, one, view, whole, word

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from techrevati.runtime.usage.looking import View

    Fields: TypeAlias = dict[str, object]


def openai_chat(usage: View) -> Fields | None:
    """``prompt_tokens``: OpenAI, Azure, Groq, DeepSeek, Mistral, xAI, Perplexity, OpenRouter, Moonshot,
    litellm.

    Cached tokens and audio are inside the prompt, reasoning inside the completion; but xAI's chat API and
    Perplexity count reasoning beside the completion.
    """
    prompt = whole(usage.get("prompt_tokens"))
    if prompt is None:
        return None
    completion = one(usage, "completion_tokens")
    given, made = view(usage.get("prompt_tokens_details")), view(usage.get("completion_tokens_details"))
    plain = type(usage) is dict and _CHAT_EXTRAS.isdisjoint(usage)  # as most are, and then quicker to read
    read = one(given, "cached_tokens") or (0 if plain else _read_beside(usage))
    reasoning = one(made, "reasoning_tokens")
    if not plain and not reasoning and usage.get("reasoning_tokens"):
        reasoning = one(usage, "reasoning_tokens")
    if reasoning and _reasoning_beside(usage, prompt, completion, reasoning):
        completion += reasoning
    fields = _inclusive(prompt, completion, read, given, made, reasoning)
    write = 0
    if given:
        write = count(given, "cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
    if not plain:
        write = write or one(usage, "cache_creation_input_tokens")
        fields["web_searches"] = one(usage, "num_search_queries") or one(
            view(usage.get("server_tool_use")), "web_search_requests"
        )
        fields["citation_tokens"] = one(usage, "citation_tokens")
        connectors = one(usage, "connector_tokens")
        if connectors and whole(usage.get("total_tokens")) == prompt + completion + connectors:
            text = fields["input_tokens"]
            assert isinstance(text, int)
            fields["input_tokens"] = text + connectors  # what Mistral's tools found, beside the prompt
            used = view(usage.get("connectors"))
            fields["web_searches"] = one(used, "web_search") + one(used, "web_search_premium")
        image = one(usage, "prompt_image_tokens")  # xAI's gRPC; its REST API has details
        if image and not fields.get("input_image_tokens"):
            text = fields["input_tokens"]
            assert isinstance(text, int)
            image = min(image, text)
            fields["input_tokens"], fields["input_image_tokens"] = text - image, image
    if write:
        ttl = view(given.get("cache_creation_token_details"))
        _take_writes(fields, write, one(ttl, "ephemeral_1h_input_tokens"))
    if given.get("web_search_requests") and not fields.get("web_searches"):
        fields["web_searches"] = one(given, "web_search_requests")
    return fields


def _read_beside(usage: View) -> int:
    """Cached tokens where they stand beside the details: DeepSeek, Moonshot, Groq, xAI, litellm."""
    for name in _READ_NAMES:
        found = usage.get(name)
        if found:
            return whole(found) or 0
    return 0


_READ_NAMES = (
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cached_prompt_text_tokens",
    "cache_read_input_tokens",
)


_CHAT_EXTRAS = frozenset(
    (
        *_READ_NAMES,
        *("reasoning_tokens", "cache_creation_input_tokens", "prompt_image_tokens"),
        "connector_tokens",
        *("num_search_queries", "server_tool_use", "citation_tokens"),
    )
)


def _reasoning_beside(usage: View, prompt: int, completion: int, reasoning: int) -> bool:
    if reasoning > completion:
        return True
    if "num_search_queries" in usage or "citation_tokens" in usage or "search_context_size" in usage:
        return True  # Perplexity
    total = whole(usage.get("total_tokens"))
    if total is not None:
        return total == prompt + completion + reasoning
    return "cost_in_usd_ticks" in usage or "num_sources_used" in usage  # xAI


def input_output(usage: View) -> Fields | None:
    """``input_tokens`` and ``output_tokens``: six meanings, told apart by what stands beside them."""
    given, made = whole(usage.get("input_tokens")), whole(usage.get("output_tokens"))
    if given is None or made is None:
        return None
    for name in ("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "iterations"):
        if name in usage:
            return _anthropic(usage, given, made)
    if "input_tokens_details" in usage or "output_tokens_details" in usage:
        return _openai_responses(usage, given, made, "input_tokens_details", "output_tokens_details")
    if "input_token_details" in usage or "output_token_details" in usage:
        return _openai_responses(usage, given, made, "input_token_details", "output_token_details")
    if "cache_audio_read_tokens" in usage or "details" in usage:
        unknown = not given and not made and one(usage, "unmeasured_requests")  # the provider said nothing
        return None if unknown else pydantic_ai(usage, given, made)
    searches = one(view(usage.get("server_tool_use")), "web_search_requests")
    return {
        "input_tokens": given,
        "output_tokens": made,
        "web_searches": searches,
        "requests": one(usage, "requests"),
    }


def _anthropic(usage: View, given: int, made: int) -> Fields:
    """Cached tokens stand beside the input; the creation total already is 5 minutes plus an hour."""
    write, read, hour = _beside(usage)
    if usage.get("iterations") is not None:  # what compaction used is there alone
        rounds = [view(each) for each in items(usage.get("iterations"))]
        rounds = [each for each in rounds if whole(each.get("input_tokens")) is not None]
        if rounds:
            given = sum(one(each, "input_tokens") for each in rounds)
            made = sum(one(each, "output_tokens") for each in rounds)
            write, read, hour = map(sum, zip(*map(_beside, rounds), strict=True))
    fields: Fields = {
        "input_tokens": given,
        "output_tokens": made,
        "cache_write_tokens": write,
        "cache_read_tokens": read,
        "cache_write_1h_tokens": hour,
    }
    details, tools = usage.get("output_tokens_details"), usage.get("server_tool_use")
    if details is not None:
        fields["reasoning_tokens"] = min(count(view(details), "thinking_tokens", "reasoning_tokens"), made)
    if tools is not None:
        fields["web_searches"] = one(view(tools), "web_search_requests")
    return fields


def _beside(part: View) -> tuple[int, int, int]:
    """Tokens written to a cache for 5 minutes, read from it, and written for an hour."""
    write, read = one(part, "cache_creation_input_tokens"), one(part, "cache_read_input_tokens")
    ttl = part.get("cache_creation")
    if ttl is None:
        return write, read, 0
    hour = one(view(ttl), "ephemeral_1h_input_tokens")
    return max(write - hour, one(view(ttl), "ephemeral_5m_input_tokens")), read, hour


def _openai_responses(usage: View, given: int, made: int, inside: str, outside: str) -> Fields:
    """OpenAI responses, images, transcription and realtime, openai-agents, langchain: everything inside."""
    details, made_of = view(usage.get(inside)), view(usage.get(outside))
    tier = None
    if inside == "input_token_details":
        tier, details, made_of = by_tier(details, made_of)
    read = count(details, "cached_tokens", "cache_read", "cache_read_input_tokens")
    # Anthropic's thinking, where nothing of it was cached.
    reasoning = count(made_of, "reasoning_tokens", "reasoning", "thinking_tokens")
    fields = _inclusive(given, made, read, details, made_of, reasoning)
    hour = five = 0
    if inside == "input_token_details":
        hour = one(details, "ephemeral_1h_input_tokens")
        five = one(details, "ephemeral_5m_input_tokens")
    write = max(
        count(details, "cache_write_tokens", "cache_creation_tokens", "cache_creation"), five + hour
    )  # langchain says 0 beside the split
    if write:
        _take_writes(fields, write, hour)
    if tier is not None:
        fields["tier"] = tier
    if type(usage) is dict and _RESPONSES_EXTRAS.isdisjoint(usage):
        return fields
    fields["requests"] = one(usage, "requests")
    fields["web_searches"] = (
        one(view(usage.get("server_side_tool_usage_details")), "web_search_calls")  # xAI
        or one(view(usage.get("server_tool_use")), "web_search_requests")
        or one(view(view(usage.get("tool_calls_details")).get("search_web")), "invocation")  # Perplexity
    )
    return fields


_RESPONSES_EXTRAS = frozenset(
    ("requests", "server_side_tool_usage_details", "server_tool_use", "tool_calls_details")
)


def gemini(usage: View) -> Fields | None:
    """Gemini and Vertex AI: cached tokens inside the prompt; thoughts and tool results beside everything."""
    names = _GEMINI_CAMEL if usage.get("promptTokenCount") is not None else _GEMINI_SNAKE
    prompt = whole(usage.get(names[0]))
    if prompt is None:
        return None
    if "generation_token_count" in usage:  # Llama through Bedrock InvokeModel
        return {"input_tokens": prompt, "output_tokens": one(usage, "generation_token_count")}
    read, thoughts, tool_use = one(usage, names[1]), one(usage, names[2]), one(usage, names[3])
    answer = one(usage, names[4]) or one(usage, names[5])
    if type(usage) is dict and _GEMINI_DETAILS.isdisjoint(usage):
        return {
            "input_tokens": max(0, prompt - read) + tool_use,
            "output_tokens": answer + thoughts,
            "cache_read_tokens": read,
            "reasoning_tokens": thoughts,
        }
    given = _modalities(usage, "prompt_tokens_details", "promptTokensDetails")
    cached = _modalities(usage, "cache_tokens_details", "cacheTokensDetails")
    made = _modalities(usage, "candidates_tokens_details", "candidatesTokensDetails")
    made = made or _modalities(usage, "response_tokens_details", "responseTokensDetails")
    audio = max(0, given.get("AUDIO", 0) - cached.get("AUDIO", 0))
    image = max(0, given.get("IMAGE", 0) - cached.get("IMAGE", 0))
    audio_out = min(made.get("AUDIO", 0), answer)
    return {
        "input_tokens": max(0, prompt - read - audio - image) + tool_use,
        "output_tokens": answer - audio_out + thoughts,
        "cache_read_tokens": read,
        "reasoning_tokens": thoughts,
        "input_audio_tokens": audio,
        "output_audio_tokens": audio_out,
        "input_image_tokens": image,
        "output_image_tokens": min(made.get("IMAGE", 0), answer - audio_out),
        "cache_read_audio_tokens": min(cached.get("AUDIO", 0), read),
    }


_GEMINI_SNAKE = (
    *("prompt_token_count", "cached_content_token_count", "thoughts_token_count"),
    *("tool_use_prompt_token_count", "candidates_token_count", "response_token_count"),
)
_GEMINI_CAMEL = (
    *("promptTokenCount", "cachedContentTokenCount", "thoughtsTokenCount"),
    *("toolUsePromptTokenCount", "candidatesTokenCount", "responseTokenCount"),
)
_GEMINI_DETAILS = frozenset(
    (
        *("prompt_tokens_details", "promptTokensDetails", "cache_tokens_details", "cacheTokensDetails"),
        *("candidates_tokens_details", "candidatesTokensDetails"),
        *("response_tokens_details", "responseTokensDetails"),
    )
)


def bedrock(usage: View) -> Fields | None:
    """Bedrock Converse, and Nova through InvokeModel: cached tokens beside the input."""
    given, made = whole(usage.get("inputTokens")), whole(usage.get("outputTokens"))
    if given is None or made is None:
        given, made = whole(usage.get("inputTokenCount")), whole(usage.get("outputTokenCount"))
        if given is None or made is None:
            return None
    write = count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    hour = sum(
        count(view(each), "inputTokens")
        for each in items(usage.get("cacheDetails"))
        if word(view(each).get("ttl")) == "1h"
    )
    return {
        "input_tokens": given,
        "output_tokens": made,
        "cache_write_tokens": max(0, write - hour),
        "cache_write_1h_tokens": hour,
        "cache_read_tokens": count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount"),
    }


def cohere(usage: View) -> Fields | None:
    """Cohere: what is billed, which may be less than what was processed; whole numbers as floats."""
    for name in ("billed_units", "tokens"):
        units = view(usage.get(name))
        given, made = whole(units.get("input_tokens")), whole(units.get("output_tokens"))
        if given is not None or made is not None:
            read = min(one(usage, "cached_tokens"), given or 0)
            return {
                "input_tokens": (given or 0) - read,
                "output_tokens": made or 0,
                "cache_read_tokens": read,
            }
    return None


def ollama(usage: View) -> Fields | None:
    """Ollama: on the response that is done, and of embeddings; the prompt's count may be absent when it was
    cached whole."""
    made = whole(usage.get("eval_count"))
    given = whole(usage.get("prompt_eval_count"))
    if usage.get("done") is False:
        return None
    if made is None and (given is None or ("done" not in usage and "embeddings" not in usage)):
        return None
    return {"input_tokens": given or 0, "output_tokens": made or 0}


def titan(usage: View) -> Fields | None:
    """Amazon Titan through Bedrock InvokeModel."""
    given = whole(usage.get("inputTextTokenCount"))
    if given is None:
        return None
    made = sum(count(view(each), "tokenCount") for each in items(usage.get("results")))
    return {"input_tokens": given, "output_tokens": made or one(usage, "totalOutputTextTokenCount")}


SHAPES = (openai_chat, input_output, gemini, bedrock, cohere, ollama, titan, interaction)


def _inclusive(given: int, made: int, read: int, details: View, made_of: View, reasoning: int) -> Fields:
    """Fields where the input includes what was cached, and both sides their audio and images."""
    left = given - read if given > read else 0
    inside, outside = details.get, made_of.get
    if not (
        (details and (inside("audio_tokens") or inside("audio") or inside("image_tokens") or inside("image")))
        or (made_of and (outside("audio_tokens") or outside("audio") or outside("image_tokens")))
    ):
        return {
            "input_tokens": left,
            "output_tokens": made,
            "cache_read_tokens": read,
            "reasoning_tokens": reasoning if reasoning < made else made,
        }
    audio = count(details, "audio_tokens", "audio")
    image = count(details, "image_tokens", "image")
    audio_out = count(made_of, "audio_tokens", "audio")
    image_out = one(made_of, "image_tokens")
    cached = view(details.get("cached_tokens_details"))
    audio_read = min(one(cached, "audio_tokens"), read, audio)
    audio -= audio_read
    image -= min(one(cached, "image_tokens"), image)
    audio = min(audio, left)
    image = min(image, left - audio)
    audio_out = min(audio_out, made)
    output = made - audio_out
    return {
        "input_tokens": left - audio - image,
        "output_tokens": output,
        "cache_read_tokens": read,
        "reasoning_tokens": min(reasoning, output),
        "input_audio_tokens": audio,
        "output_audio_tokens": audio_out,
        "input_image_tokens": image,
        "output_image_tokens": min(image_out, output),
        "cache_read_audio_tokens": audio_read,
    }


def _take_writes(fields: Fields, write: int, hour: int) -> None:
    """Move tokens written to a cache out of the input."""
    given = fields["input_tokens"]
    assert isinstance(given, int)
    hour = min(hour, write)
    fields["input_tokens"] = max(0, given - write)
    fields["cache_write_tokens"] = write - hour
    fields["cache_write_1h_tokens"] = hour


def _modalities(usage: View, snake: str, camel: str) -> Mapping[str, int]:
    listed = usage.get(snake)
    if listed is None:
        listed = usage.get(camel)
        if listed is None:
            return _NONE
    found: dict[str, int] = {}
    for each in listed if type(listed) is list else items(listed):
        part = view(each)
        said, tokens = part.get("modality"), part.get("token_count")
        modality = _MODALITIES.get(said) if isinstance(said, str) else None
        if modality is None:
            modality = (word(said) or "").rpartition(".")[2].upper()
        if type(tokens) is not int or tokens < 0:
            tokens = count(part, "token_count", "tokenCount")
        found[modality] = found.get(modality, 0) + tokens
    return found


_MODALITIES = {name: name for name in ("TEXT", "IMAGE", "AUDIO", "VIDEO", "DOCUMENT")}
_NONE: Mapping[str, int] = {}
