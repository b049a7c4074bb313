"""Read what a response used, by its shape; no SDK is imported and nothing is guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.beside import (
    RESPONSE_TIERS,
    USAGE_EXTRAS,
    add_unnamed_thoughts,
    beside_message,
    searches_in,
    served_tier,
)
from techrevati.runtime.usage.looking import described, items, view, word
from techrevati.runtime.usage.reported import reported_cost
from techrevati.runtime.usage.several import by_model, of_prompts
from techrevati.runtime.usage.shapes import SHAPES
from techrevati.runtime.usage.snapshot import FIELDS, UsageNotFoundError, UsageSnapshot

if TYPE_CHECKING:
    from techrevati.runtime.usage.looking import View
    from techrevati.runtime.usage.shapes import Fields

_PLACES = (
    "usage",
    "usage_metadata",
    "usageMetadata",
    "meta",
    "token_usage",
    "amazon-bedrock-invocationMetrics",
)
_OUR_NAMES = frozenset(FIELDS)


def read(response: object) -> Fields:
    """The fields of a snapshot that *response* describes; they fit, and need no further check.

    Raises:
        UsageNotFoundError: Nothing recognisable is there.
    """
    if isinstance(response, UsageSnapshot):
        return {name: getattr(response, name) for name in FIELDS}
    if isinstance(response, (str, bytes)):
        response = parsed(response)
    if type(response) is dict and "cache_write_tokens" in response and _OUR_NAMES.issuperset(response):
        said = UsageSnapshot(**{name: value for name, value in response.items() if value is not None})
        return {name: getattr(said, name) for name in FIELDS}  # ours, but who knows who wrote it: checked
    found = find(view(response))
    if found is None:
        raise UsageNotFoundError(described(response))
    return found


def find(response: View, depth: int = 0) -> Fields | None:
    """The fields that a response, or a usage object, describes; None if none."""
    for place in _PLACES:
        nested = response.get(place)
        if nested is None:
            continue
        if type(nested) is not dict:
            if isinstance(nested, (int, float, str)):
                continue
            if type(nested) is UsageSnapshot:
                return read(nested)
            if type(nested).__name__ == "method":  # pydantic-ai's ``result.usage()``
                nested = _called(nested)
        usage = view(nested)
        fields = _fields(usage)
        if fields is not None:
            return _with_context(fields, response, usage)
    fields = _fields(response)
    if fields is not None:
        return _with_context(fields, response, response)
    return _elsewhere(response, depth)


def _fields(usage: View) -> Fields | None:
    for shape in SHAPES:
        fields = shape(usage)
        if fields is not None:
            return fields
    return None


def _elsewhere(response: View, depth: int) -> Fields | None:
    """Places that one API each uses."""
    if depth > 2:
        return None
    if any(response.get(name) is not None for name in _BATCH_LINES):
        fields = _of_batch(response, depth)
        if fields is not None or response.get("custom_id") is not None:
            return fields
    for name in ("x_groq", "response_metadata", "context_wrapper", "metadata", "response", "interaction"):
        inner = response.get(name)
        if inner is not None and not isinstance(inner, (str, int, float)):
            fields = find(view(inner), depth + 1)
            if fields is not None:
                model = word(response.get("model"))
                if model is not None:
                    fields.setdefault("model", model)
                return fields
    choices = items(response.get("choices"))
    if choices and view(choices[0]).get("usage") is not None:  # Moonshot
        fields = _fields(view(view(choices[0]).get("usage")))
        if fields is not None:
            return _with_context(fields, response, view(view(choices[0]).get("usage")))
    headers = view(view(response.get("ResponseMetadata")).get("HTTPHeaders"))
    fields = _from_headers(headers)
    if fields is None and depth == 0:
        fields = of_prompts(response, find) or by_model(view(response.get("usage_metadata")) or response)
    return fields


_BATCH_LINES = ("custom_id", "modelOutput", "processed_time", "key")


def _of_batch(line: View, depth: int) -> Fields | None:
    """A line of a batch's results, whose answer names no tier of its own: OpenAI's, Mistral's and Groq's,
    Anthropic's, Bedrock's, Vertex AI's and Gemini's."""
    answer = line.get("modelOutput")
    if answer is None:
        said = line.get("response")
        answer = view(said).get("body") or view(line.get("result")).get("message")
        if answer is None and items(view(said).get("candidates")) and _is_of_google(line):
            answer = said
    fields = None if answer is None else find(view(answer), depth + 1)
    if fields is not None:
        fields["tier"] = "batch"
    return fields


def _is_of_google(line: View) -> bool:
    """Whether a line is Vertex AI's, or Gemini's, which has a key and an answer and nothing else: a program's
    own record of a call is no batch."""
    return line.get("processed_time") is not None or (
        isinstance(line, dict) and line.keys() == {"key", "response"}
    )


def _from_headers(headers: View) -> Fields | None:
    """Bedrock InvokeModel says in headers what a body that was not read yet used."""
    prefix = "x-amzn-bedrock-"
    given, made = headers.get(prefix + "input-token-count"), headers.get(prefix + "output-token-count")
    if not (isinstance(given, str) and isinstance(made, str) and given.isdigit() and made.isdigit()):
        return None
    fields: Fields = {"input_tokens": int(given), "output_tokens": int(made)}
    for name, header in (("cache_read_tokens", "cache-read"), ("cache_write_tokens", "cache-write")):
        value = headers.get(f"{prefix}{header}-input-token-count")
        if isinstance(value, str) and value.isdigit():
            fields[name] = int(value)
    return fields


def _with_context(fields: Fields, response: View, usage: View) -> Fields:
    """*fields* with what stands beside the usage: model, tier, searches and the provider's own figure."""
    model = word(response.get("model"))
    if model is None:
        model = word(
            response.get("model_version") or response.get("modelVersion") or response.get("model_name")
        )
    if model is not None:
        fields["model"] = model
        if "gemini" in model and "prompt_tokens" in usage:
            add_unnamed_thoughts(fields, usage)
    else:
        about = response.get("response_metadata")
        if about is not None:
            beside_message(fields, response, view(about))
    plain = type(usage) is dict and USAGE_EXTRAS.isdisjoint(usage)  # nothing there but counts
    if not plain or type(response) is not dict or not RESPONSE_TIERS.isdisjoint(response):
        tier = served_tier(response, usage)
        if tier is not None:
            fields["tier"] = tier
    cost = None if plain else reported_cost(usage)
    if cost is not None:
        fields["reported_cost_usd"] = cost
    if not fields.get("web_searches"):
        searches = searches_in(response, fields.get("model"))
        if searches:
            fields["web_searches"] = searches
    return fields


def _called(method: object) -> object:
    try:
        return method() if callable(method) else None
    except Exception:
        return None


def parsed(text: str | bytes) -> object:
    """JSON text as what it says.

    Raises:
        UsageNotFoundError: It is not JSON.
    """
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageNotFoundError(f"text of {len(text)} characters that is not JSON") from None
