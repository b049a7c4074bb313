"""Names as SDKs, gateways and clouds spell them: each costs what its provider's plain name costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from techrevati.runtime import pricing
from techrevati.runtime.pricing import (
    PRICING_TABLE,
    PriceBook,
    UnknownModelError,
    UnknownPriceError,
    cost_usd,
    quote,
)
from techrevati.runtime.pricing.rates import Rates
from techrevati.runtime.usage import UsageSnapshot

USAGE = UsageSnapshot(1_000, 1_000)
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
FLASH = ("gemini-2.5-flash", "gemini")
GPT = ("gpt-4o", "openai")

SAME = {
    # The provider before the name.
    "openai/gpt-4o": GPT,
    "openai:gpt-4o": GPT,
    "GPT-4o": GPT,
    " gpt-4o ": GPT,
    "azure/gpt-4o": GPT,
    "azure_openai:gpt-4o": GPT,
    "vercel_ai_gateway/openai/gpt-4o": GPT,
    "openai/responses/gpt-4o": GPT,
    "azure/responses/gpt-4o": GPT,
    "xai:grok-4": ("grok-4", "xai"),
    "x-ai/grok-4": ("grok-4", "xai"),
    "mistral:mistral-large-latest": ("mistral-large-latest", "mistral"),
    "groq:llama-3.3-70b-versatile": ("llama-3.3-70b-versatile", "groq"),
    "anthropic:claude-sonnet-4-5": ("claude-sonnet-4-5", "anthropic"),
    "openrouter:anthropic/claude-sonnet-4.5": ("anthropic/claude-sonnet-4.5", "openrouter"),
    "openrouter/anthropic/claude-sonnet-4.5": ("anthropic/claude-sonnet-4.5", "openrouter"),
    "accounts/fireworks/models/llama-v3p3-70b-instruct": (
        "accounts/fireworks/models/llama-v3p3-70b-instruct",
        "fireworks",
    ),
    # Routes that pass calls on: openai-agents, pydantic-ai's gateway.
    "litellm/openai/gpt-4o": GPT,
    "litellm/anthropic/claude-sonnet-4-5-20250929": ("claude-sonnet-4-5", "anthropic"),
    f"litellm/bedrock/us.{SONNET}": (f"us.{SONNET}", "aws"),
    "any-llm/openai/gpt-4o": GPT,
    "any-llm/openai:gpt-4o": GPT,
    "gateway/openai:gpt-4o": GPT,
    f"gateway/bedrock:eu.{SONNET}": (f"eu.{SONNET}", "aws"),
    "gateway/groq:openai/gpt-oss-120b": ("openai/gpt-oss-120b", "groq"),
    "gateway/google-cloud:gemini-2.5-flash": FLASH,
    # Dates and revisions.
    "gpt-4o-2024-08-06": GPT,
    "claude-sonnet-4-5-20250929": ("claude-sonnet-4-5", "anthropic"),
    "claude-sonnet-4-5@20250929": ("claude-sonnet-4-5", "anthropic"),
    "claude-sonnet-4-5-latest": ("claude-sonnet-4-5", "anthropic"),
    "grok-4-0709": ("grok-4", "xai"),
    "command-r-plus-08-2024": ("command-r-plus", "cohere"),
    # Google's resource names.
    "models/gemini-2.5-flash": FLASH,
    "gemini/gemini-2.5-flash": FLASH,
    "google-gla:gemini-2.5-flash": FLASH,
    "google-vertex:gemini-2.5-flash": FLASH,
    "google_genai:gemini-2.5-flash-001": FLASH,
    "vertex_ai/gemini-2.5-flash": FLASH,
    "publishers/google/models/gemini-2.5-flash": FLASH,
    "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash": FLASH,
    "publishers/anthropic/models/claude-sonnet-4-5@20250929": ("claude-sonnet-4-5", "vertex_ai"),
    # Bedrock's regions, routes and resource names.
    f"bedrock/{SONNET}": (SONNET, "aws"),
    f"bedrock/us.{SONNET}": (f"us.{SONNET}", "aws"),
    f"bedrock:eu.{SONNET}": (f"eu.{SONNET}", "aws"),
    f"bedrock/converse/us.{SONNET}": (f"us.{SONNET}", "aws"),
    f"bedrock/invoke/global.{SONNET}": (f"global.{SONNET}", "aws"),
    f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}": (SONNET, "aws"),
    f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}": (f"us.{SONNET}", "aws"),
    f"bedrock/arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{SONNET}": (SONNET, "aws"),
    "us.amazon.nova-pro-v1:0": ("amazon.nova-pro-v1:0", "aws"),
    # Fine-tuned models.
    "ft:gpt-4o-2024-08-06:acme::abc123": ("ft:gpt-4o-2024-08-06", "openai"),
    "ft:gpt-4o-mini-2024-07-18:acme:support:abc123": ("ft:gpt-4o-mini-2024-07-18", "openai"),
    "openai/ft:gpt-4.1-mini-2025-04-14:acme::x": ("ft:gpt-4.1-mini-2025-04-14", "openai"),
}

OTHER = (
    *("gpt-4oo", "gpt-4o-preview", "my-gpt-4o-deployment", "gpt-5-mini-high", "ollama/llama3.2"),
    *("openrouter/openai/gpt-4o:nitro", "openrouter/openai/gpt-4o:online", "openai/gpt-4o:nitro"),
    *(
        "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
        "projects/p/locations/l/endpoints/123",
    ),
    *(
        "ft:my-own:acme::x",
        "nobody:gpt-4o",
        "qwen:7b",
        "litellm/gpt-4o-of-mine",
        "gateway/openai:gpt-4oo",
        "gateway/nobody:gpt-4o",
        "mistral:latest",
        "models/",
        "openai:",
        "tunedmodels/x",
    ),
)


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in list(PRICING_TABLE):
        monkeypatch.delitem(PRICING_TABLE, model)


@pytest.mark.parametrize("spelled", SAME)
def test_a_spelling_costs_what_the_plain_name_costs(spelled: str) -> None:
    """And not nothing."""
    model, provider = SAME[spelled]
    assert cost_usd(spelled, USAGE) == cost_usd(model, USAGE, provider=provider) > 0


@pytest.mark.parametrize(
    ("name", "provider", "listed"),
    [
        ("claude-sonnet-4-20250514", None, "anthropic/claude-sonnet-4-0"),  # Bedrock lists this very name
        ("ca.amazon.nova-lite-v1:0", None, "aws/amazon.nova-lite-v1:0"),
        ("azure/global/gpt-4o", None, "azure/gpt-4o"),
        ("global-standard/gpt-4o", "azure", "azure/gpt-4o"),
        # Hosts charge many models alike; each is still called by its own name.
        ("ollama/llama3", None, "ollama/llama3"),
        (
            "accounts/fireworks/models/llama-v3p3-70b-instruct",
            "fireworks",
            "fireworks/accounts/fireworks/models/llama-v3p3-70b-instruct",
        ),
    ],
)
def test_a_quote_says_whose_model_was_priced(name: str, provider: str | None, listed: str) -> None:
    """A maker before the platforms that sell its models, and no model under another's name."""
    found = quote(name, USAGE, provider=provider)
    assert f"{found.provider}/{found.model}" == listed


@pytest.mark.parametrize("name", OTHER)
def test_another_name_is_another_model(name: str) -> None:
    """Tags that choose a host, deployments, profiles and words that look like a provider price nothing."""
    with pytest.raises(UnknownModelError):
        cost_usd(name, USAGE)


def test_fine_tuned_models_are_not_their_base() -> None:
    """They have prices of their own."""
    tuned, base = (
        cost_usd(name, USAGE) for name in ("ft:gpt-4o-2024-08-06:acme::abc123", "gpt-4o-2024-08-06")
    )
    assert tuned > base


def test_a_provider_that_was_given_is_not_overruled() -> None:
    """Nothing is sold by one provider under the price of another because its name looks like that."""
    with pytest.raises(UnknownModelError):
        cost_usd("openai:gpt-4o", USAGE, provider="groq")
    assert cost_usd("bedrock/converse/us." + SONNET, USAGE, provider="litellm") > 0


def test_the_bundled_book_is_large_and_small() -> None:
    """Many models of many providers, in less than 400 KB as it is installed."""
    book = PriceBook.bundled()
    assert len(book) >= 1_000
    assert len(book.providers) >= 20
    data = Path(pricing.__file__).parents[1] / "data"
    assert 0 < sum(file.stat().st_size for file in data.iterdir() if file.is_file()) < 400_000


@pytest.mark.parametrize("size", [999, 1_000, 1_001])
def test_the_worst_case_meets_the_step_that_the_input_meets(size: int) -> None:
    """A dearer price begins above its threshold, for a reservation as for the bill."""
    rates = Rates({"input": [1, 1_000, 2], "output": [3, 1_000, 4]})
    dollars = 2 * size + 40 if size > 1_000 else size + 30
    worst = rates.worst(size, 10, audio=False, web_searches=0, requests=1)
    assert worst == rates.cost(UsageSnapshot(size, 10)) == dollars * 10**6


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("azure/gpt-4o", "priority"),  # priced at OpenAI alone
        ("azure/gpt-5-codex", "flex"),
        ("azure/gpt-4.1", "fast"),
        ("azure_ai/claude-opus-4-7", "batch"),
    ],
)
def test_a_platform_does_not_take_over_the_tiers_of_a_maker(name: str, tier: str) -> None:
    """What no source prices there is no price, though the maker sells that tier himself."""
    with pytest.raises(UnknownPriceError):
        cost_usd(name, USAGE, tier=tier)


def test_a_platform_has_the_tiers_that_are_listed_for_it() -> None:
    """Azure's batches of OpenAI's models cost half; its priority is its own row's."""
    assert cost_usd("azure/gpt-4o", USAGE, tier="batch") * 2 == cost_usd("azure/gpt-4o", USAGE)
    assert cost_usd("azure/gpt-4.1", USAGE, tier="priority") > cost_usd("azure/gpt-4.1", USAGE)


def test_tiers_of_a_maker_do_not_come_with_an_unlisted_name() -> None:
    """A model that Azure's rows do not list costs what its maker takes, without the maker's tiers."""
    name = "gpt-4o-search-preview"
    assert "azure/" + name not in set(PriceBook.bundled().names())
    assert cost_usd(name, USAGE, provider="azure") == cost_usd(name, USAGE, provider="openai")
    with pytest.raises(UnknownPriceError):
        cost_usd("gpt-4o-mini-search-preview", USAGE, provider="azure", tier="priority")
    assert cost_usd("gpt-4o-mini-search-preview", USAGE, provider="openai", tier="priority") > 0


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "0.0015"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0", "0.0015"),
        ("eu.anthropic.claude-3-sonnet-20240229-v1:0", "0.018"),
        ("gemini-2.5-pro-preview-06-05", "0.01125"),
    ],
)
def test_models_that_were_taken_off_the_lists_stay_priced(name: str, cost: str) -> None:
    assert str(cost_usd(name, USAGE)) == cost
