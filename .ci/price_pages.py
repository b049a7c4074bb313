"""What providers' own pages say where the sources of the price book disagree or say nothing.

A page is named here only if LiteLLM cites it for exactly that row, or if genai-prices quotes it.
"""

from __future__ import annotations

import re

# Azure's own price lists; rows of OpenAI's models are left to genai-prices, for LiteLLM mixes zones there.
AZURE = re.compile(r"https://(prices\.azure\.com/|learn\.microsoft\.com/.*models-sold-directly)")
# The row that LiteLLM has for this name is the one on the page that it cites: aliases that moved on, and
# models that their host sells at another price than their maker's other platform.
CITED = frozenset(
    {
        "mistral/mistral-large-latest",  # docs.mistral.ai: Mistral Large 3
        "mistral/magistral-medium-latest",  # docs.mistral.ai: answered by Mistral Medium 3.5
        "mistral/magistral-small-latest",  # docs.mistral.ai: answered by Mistral Small 4
        "vertex_ai/gemini-2.0-flash",  # cloud.google.com: dearer than on the Gemini API
        "together/mistralai/mixtral-8x7b-instruct-v0.1",  # api.together.ai/v1/models
        "together/meta-llama/llama-3.3-70b-instruct-turbo",  # api.together.ai/v1/models
    }
)
# Pages that list no such price: nothing is taken off for a cache, and no audio goes in.
NOT_SOLD = {
    "gemini/gemini-3.1-flash-image": ("cache_read",),
    "google/gemini-3.1-flash-image": ("cache_read",),
    "google/gemini-3.1-flash-image-preview": ("cache_read",),
    "google/gemini-3.1-flash-lite-image": ("cache_read",),
    "google/gemini-nano-banana-2.1": ("cache_read",),
    "google/gemini-2.5-flash-image": ("cache_read", "input_audio"),
    "google/gemini-2.5-flash-image-preview": ("cache_read", "input_audio"),
    "google/gemini-2.5-pro-tts": ("cache_read", "input_audio", "web_search"),
    "google/gemini-2.5-pro-preview-tts": ("cache_read", "input_audio", "web_search"),
    "openai/gpt-4o-search-preview": ("cache_read",),
    "openai/gpt-4o-search-preview-2025-03-11": ("cache_read",),
}
PRO = re.compile(r"(azure|azure_ai)/gpt-5\.\d-pro(-\d{4}-\d\d-\d\d)?")  # as at OpenAI: cached input, "-"

_V31 = {"input": "0.56", "cache_read": "0.07", "output": "1.68"}
_V32 = {"input": "0.28", "cache_read": "0.028", "output": "0.42"}
_GROK = {"input": [1, 199999, 2], "cache_read": ["0.2", 199999, "0.4"], "output": [2, 199999, 4]}
# Prices since a date that a source knows only the last or the first of.
SINCE = {
    "deepseek/deepseek-chat": (("2025-09-05", _V31), ("2025-09-29", _V32)),  # api-docs.deepseek.com
    "deepseek/deepseek-reasoner": (("2025-09-05", _V31), ("2025-09-29", _V32)),
    # Retired, and since then answered at another model's price: api.x.ai/v1/language-models.
    "x-ai/grok-code-fast": (("2026-05-15", _GROK),),
    "x-ai/grok-code-fast-1": (("2026-05-15", _GROK),),
    "x-ai/grok-code-fast-1-0825": (("2026-05-15", _GROK),),
}


def on_the_hosts_page(name: str, raw: dict[str, dict]) -> bool:
    """Whether the host's own page has the price that LiteLLM gives for *name*, as ``provider/name``."""
    if name in CITED:
        return True
    own = name.removeprefix("azure_ai/")
    if own == name:
        return False
    cited = next((row for key, row in raw.items() if key.lower() == name), {})
    openai = own.startswith(("gpt-", "o1", "o3", "o4")) and not own.startswith("gpt-oss")
    return not openai and AZURE.match(str(cited.get("source"))) is not None


def follow_pages(models: dict[str, dict]) -> None:
    """Correct *models* by the pages."""
    for name, written in models.items():
        left_out = ("cache_read",) if PRO.fullmatch(name) else NOT_SOLD.get(name, ())
        if left_out:
            tiers = [tier for tier in written.get("tiers", {}).values() if isinstance(tier, list)]
            for periods in (written["prices"], *tiers):
                for period in periods:
                    period[0] = {part: price for part, price in period[0].items() if part not in left_out}
    for name, changes in SINCE.items():
        since = [[prices, {"from": day}] for day, prices in changes]
        models[name] = {**models[name], "prices": [*models[name]["prices"], *since]}
