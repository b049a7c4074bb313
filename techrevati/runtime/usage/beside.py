"""What stands beside a response's usage and changes its price: the tier that was served, and web searches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.looking import items, one, view, whole, word

if TYPE_CHECKING:
    from techrevati.runtime.usage.looking import View
    from techrevati.runtime.usage.shapes import Fields

# Where a response that is a dict may say its tier, and what a usage may hold beside counts.
RESPONSE_TIERS = frozenset(("service_tier", "serviceTier", "sdk_http_response", "provider_details"))
USAGE_EXTRAS = frozenset(
    (
        *("service_tier", "serviceTier", "traffic_type", "trafficType", "speed", "inference_geo"),
        *("cost", "cost_in_usd_ticks"),
    )
)
_TIER_WORDS = {
    "on_demand": "standard",
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
    "unspecified": "standard",
    "provisioned_throughput": "provisioned",
    "reserved": "provisioned",
}


def served_tier(response: View, usage: View) -> str | None:
    """The tier that the provider says it served, several joined by "+"; None if it does not say."""
    said = (
        word(usage.get("service_tier"))
        or word(response.get("service_tier"))
        or _tier_of_a_cloud(response, usage)
    )
    tier = None
    if said is not None:
        tier = said.rpartition(".")[2].lower()
        tier = _TIER_WORDS.get(tier, tier)
    speed, geography = usage.get("speed"), usage.get("inference_geo")
    if speed is None and geography is None:
        return tier
    more = []
    if word(speed) == "fast":
        more.append("fast")
    if word(geography) == "us":
        more.append("us")
    if not more:
        return tier
    return "+".join(([] if tier in (None, "standard", "default") else [str(tier)]) + more)


def _tier_of_a_cloud(response: View, usage: View) -> str | None:
    """Bedrock's, Gemini's (its SDK keeps a header alone) and Vertex AI's word; pydantic-ai repeats them."""
    said = word(view(response.get("serviceTier")).get("type"))
    said = said or word(usage.get("serviceTier") or usage.get("traffic_type") or usage.get("trafficType"))
    if said is not None:
        return said
    http = response.get("sdk_http_response")
    if http is not None:
        return word(view(view(http).get("headers")).get("x-gemini-service-tier"))
    details = response.get("provider_details")
    if details is None:
        return None
    return word(view(details).get("service_tier") or view(details).get("traffic_type"))


def searches_in(response: View, model: object) -> int:
    """Web searches that are items of the answer: OpenAI and xAI responses, Gemini's grounding."""
    output, candidates = response.get("output"), response.get("candidates")
    if output is not None:
        billed = response.get("tool_usage")  # OpenAI's own count leaves out what it does not charge for
        number = None if billed is None else whole(view(view(billed).get("web_search")).get("num_requests"))
        calls = _search_calls(output) if number is None else number
        if calls:
            return calls
    if candidates is None:
        return 0
    queries = 0
    for candidate in items(candidates):
        about = view(candidate)
        queries += _queries(about.get("grounding_metadata") or about.get("groundingMetadata"))
    return _charged(queries, model)


def add_unnamed_thoughts(fields: Fields, usage: View) -> None:
    """Gemini's endpoint in OpenAI's form has its thoughts in the total alone; they are billed as output."""
    prompt, made = whole(usage.get("prompt_tokens")), one(usage, "completion_tokens")
    total, output = whole(usage.get("total_tokens")), fields.get("output_tokens")
    if prompt is None or total is None or not isinstance(output, int):
        return
    if total > prompt + made and not fields.get("reasoning_tokens"):
        fields["reasoning_tokens"] = total - prompt - made
        fields["output_tokens"] = output + total - prompt - made


def beside_message(fields: Fields, message: View, about: View) -> None:
    """Add what langchain keeps in a message's metadata and content: model, tier and searches."""
    model = word(about.get("model_name")) or word(about.get("model"))
    if model is not None:
        fields["model"] = model
    own = about.get("usage")  # Anthropic's
    searches = 0
    if own is not None or type(about) is not dict or not RESPONSE_TIERS.isdisjoint(about):
        used = view(own)
        tier = served_tier(about, used)
        if tier is not None:
            fields["tier"] = tier
        tools = used.get("server_tool_use")
        searches = 0 if tools is None else one(view(tools), "web_search_requests")
    if not searches:
        content, extra = message.get("content"), message.get("additional_kwargs")
        if content and type(content) is not str:
            searches = _search_calls(content)
        if extra and not searches:
            searches = _search_calls(view(extra).get("tool_outputs"))
        grounding = about.get("grounding_metadata")
        if grounding and not searches:
            searches = _charged(_queries(grounding), model)
    if searches:
        fields["web_searches"] = searches


def _search_calls(blocks: object) -> int:
    calls = 0
    for each in items(blocks):
        block = view(each)
        kind = block.get("type")
        if type(kind) is not str:
            kind = word(kind)
        if kind == "web_search_call":
            calls += 1
        elif kind in ("server_tool_use", "server_tool_call"):  # Anthropic's, langchain's
            calls += word(block.get("name")) == "web_search"
    return calls


def _queries(grounding: object) -> int:
    said = view(grounding)
    return len(items(said.get("web_search_queries") or said.get("webSearchQueries")))


def _charged(queries: int, model: object) -> int:
    """Before Gemini 3 a grounded prompt is charged, not its queries."""
    before = isinstance(model, str) and model.removeprefix("models/").startswith(("gemini-1", "gemini-2"))
    return 1 if queries and before else queries
