"""Which names mean the same model, and which the same provider.

A model is found by its own name or, failing that, by the longest known name that is followed only by a date,
a revision or ``-latest``: ``gpt-4`` prices ``gpt-4-0613`` and never ``gpt-4o``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

_VARIANT = (
    r"(?:-(?:0[1-9]|1[0-2])-20\d{2}"  # -08-2024
    r"|-(?:19|20)\d{2}(?:-?(?:0[1-9]|1[0-2]))(?:-?(?:0[1-9]|[12]\d|3[01]))"  # -20260514, -2026-05-14
    r"|-\d{3,4}"  # -0613, -001
    r"|-v\d+(?::\d+)?|:\d+"  # -v1:0, -v2
    r"|@[^@/]+"  # @20250514, @default
    r"|-latest)$"
)
_variant: re.Pattern[str] | None = None
_families: dict[str, tuple[str, ...]] = {}
_CAPACITY = 4096


def families(model: str) -> tuple[str, ...]:
    """*model* in lower case, then without its last date or revision, and so on while it has one."""
    known = _families.get(model)
    if known is None:
        known = _without_variants(model.lower())
        if len(_families) >= _CAPACITY:  # names that a program makes up must not fill the memory
            _families.clear()
        _families[model] = known
    return known


def _without_variants(name: str) -> tuple[str, ...]:
    global _variant
    if _variant is None:
        import re

        _variant = re.compile(_VARIANT)
    names = [name]
    while (match := _variant.search(name)) and match.start():
        name = name[: match.start()]
        names.append(name)
    return tuple(names)


# --- providers ---------------------------------------------------------------------------------------------

_SPELLINGS = {
    "aws": "bedrock bedrock_converse bedrock_mantle amazon amazon_bedrock aws_bedrock aws.bedrock sagemaker",
    "azure": "azure_openai azureopenai azure_text az.ai.openai az.ai.inference azure_ai_foundry",
    "azure_ai": "azure_foundry microsoft_foundry",
    "google": "google_ai google_genai gcp gcp.gen_ai google_generative_ai google_deepmind",
    "gemini": "google_gla google_ai_studio gcp.gemini gemini_api",
    "vertex_ai": "vertex vertexai google_vertex google_vertexai gcp.vertex_ai google_cloud",
    "openai": "open_ai text_completion_openai openai_chat openai_responses",
    "anthropic": "anthropic_beta claude",
    "mistral": "mistralai mistral_ai codestral",
    "x-ai": "xai x_ai grok",
    "cohere": "cohere_chat cohere_v2",
    "together": "together_ai togetherai togethercomputer",
    "fireworks": "fireworks_ai fireworksai",
    "moonshotai": "moonshot moonshot_ai kimi",
    "perplexity": "perplexity_ai pplx",
    "github-copilot": "github_copilot copilot",
    "voyageai": "voyage voyage_ai",
    "deepinfra": "deep_infra",
    "dashscope": "alibaba qwen alibaba_cloud",
    "meta": "meta_llama llama_api",
    "zai": "z_ai z.ai",
    "zhipuai": "zhipu zhipu_ai bigmodel",
    "nebius": "nebius_ai",
    "cloudflare": "workers_ai cloudflare_workers_ai",
    "watsonx": "ibm ibm.watsonx.ai watsonx_ai",
    "vercel_ai_gateway": "vercel",
    "novita": "novita_ai",
    "lambda_ai": "lambda",
    "databricks": "databricks_ai",
}
_CANONICAL = {
    spelling.replace("_", "-"): provider
    for provider, spellings in _SPELLINGS.items()
    for spelling in (provider, *spellings.split())
}

# Where else a provider's model may be listed: the same platform under another name.
_ALSO = {
    "gemini": ("google",),
    "vertex_ai": ("google",),
    "google": ("gemini", "vertex_ai"),
    "azure_ai": ("azure",),
    "azure": ("azure_ai",),
    "zai": ("zhipuai",),
    "zhipuai": ("zai",),
    "dashscope": ("qwen_ai_platform", "qwencloud"),
}

# Whose models a platform sells at their makers' prices.
_RESELLS = {
    "azure": ("openai", "anthropic", "deepseek", "x-ai", "moonshotai"),
    "azure_ai": ("openai", "anthropic", "deepseek", "x-ai", "moonshotai"),
    "google": ("anthropic",),
    "vertex_ai": ("anthropic",),
}

_TIERS_RESOLD = {"openai": frozenset({"batch"})}

# Who is meant by a model name that says no provider: its maker, before those who host it.
MAKERS = (
    *("openai", "anthropic", "google", "gemini", "vertex_ai", "mistral", "deepseek", "x-ai", "cohere"),
    *(
        "perplexity",
        "moonshotai",
        "zai",
        "zhipuai",
        "minimax",
        "dashscope",
        "meta",
        "voyageai",
        "arcee",
        "aws",
    ),
)

# They pass calls on to the hosts of a model, so a name that says no provider never means them.
RESELLERS = ("huggingface_", "quicksilverpro/")


def canonical_provider(provider: str) -> str:
    """The name under which books list *provider*, whichever way its users spell it."""
    spelled = provider.strip().lower()
    dashed = spelled.replace("_", "-")
    found = _CANONICAL.get(dashed)
    if found is None and dashed.startswith("vertex-ai-"):  # vertex_ai-anthropic_models
        found = "vertex_ai"
    if found is None and dashed.startswith("fireworks-ai-"):
        found = "fireworks"
    return found or spelled


def shelves(provider: str) -> tuple[str, ...]:
    """Where the models of a canonical provider are listed, best place first."""
    return provider, *_ALSO.get(provider, ())


def makers_resold(provider: str) -> tuple[str, ...]:
    """Whose list prices a canonical provider charges for models it has no own price for."""
    return _RESELLS.get(provider, ())


def tiers_resold(maker: str) -> frozenset[str]:
    """The service tiers of a maker that who sells its models at its prices sells at its prices, too."""
    return _TIERS_RESOLD.get(maker, frozenset())


def strip_geography(name: str) -> str | None:
    """A Bedrock id without its inference profile (``us.``) or region (``us-east-1/``); None without."""
    head, slash, rest = name.partition("/")
    if slash and head.count("-") >= 2 and head[-1:].isdigit() and rest:
        return rest
    head, dot, rest = name.partition(".")
    return rest if dot and head in _GEOGRAPHIES and rest else None


_GEOGRAPHIES = {"us", "eu", "apac", "jp", "au", "ca", "in", "sa", "global", "us-gov"}


def is_inference_profile(name: str) -> bool:
    """Whether *name* is of the form ``us.vendor.model``, which Bedrock alone has."""
    head, _, rest = name.partition(".")
    return head in _GEOGRAPHIES and "." in rest


def strip_deployment(name: str) -> str | None:
    """An Azure name without the deployment type that costs what the plain name costs; None without one."""
    head, slash, rest = name.partition("/")
    return rest if slash and head in {"global", "global-standard"} and rest else None


# A name inside another: what that looks like, and whose it then is (None: it says so itself).
_WRAPPINGS = (
    (r"(?:.*/)?arn:aws[a-z-]*:bedrock:[^/]*:(?:foundation-model|inference-profile)/(?P<name>.+)", "aws"),
    (r"(?:.*/)?publishers/[^/]+/models/(?P<name>.+)", "vertex_ai"),
    (r"models/(?P<name>.+)", "gemini"),  # Gemini's own resource names
    # Routes of litellm: bedrock/converse/ID, azure/responses/ID.
    (r"(?P<provider>[a-z_]+)/(?:converse|converse_like|invoke|responses)/(?P<name>.+)", None),
    # Routes that pass a call on to the provider that follows: openai-agents, pydantic-ai's gateway.
    (r"(?:litellm|any-llm|gateway)/(?P<provider>[a-z][a-z0-9_.-]*)[/:](?P<name>.+)", None),
    (r"(?P<name>ft:[^:]+:.*)", "openai"),
    (r"(?P<provider>[a-z][a-z0-9_-]*):(?P<name>.+)", None),  # pydantic-ai, langchain: openai:gpt-5
)


def unwrapped(name: str) -> Iterator[tuple[str, str]]:
    """Whose, and under which name, the model may be listed that *name* (in lower case) wraps."""
    import re

    for pattern, provider in _WRAPPINGS:
        found = re.fullmatch(pattern, name)
        if found is not None:
            yield canonical_provider(provider or found["provider"]), found["name"]
