"""Who is who: packages that talk to providers, providers by host, and what servers write beside a status."""

from __future__ import annotations

# Packages that talk to a provider: frames of theirs read answers, and their exceptions quote the provider.
# The value is the provider when nothing more exact is known; None for transports.
SDKS: dict[str, str | None] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "vertexai": "google",
    "mistralai": "mistral",
    "cohere": "cohere",
    "groq": "groq",
    "botocore": "aws",
    "boto3": "aws",
    "azure": "azure",
    "litellm": None,
    "ollama": "ollama",
    "together": "together",
    "cerebras": "cerebras",
    "fireworks": "fireworks",
    "xai_sdk": "xai",
    "huggingface_hub": "huggingface",
    "replicate": "replicate",
    "voyageai": "voyage",
    "httpx": None,
    "httpx2": None,
    "httpcore": None,
    "httpcore2": None,
    "requests": None,
    "urllib3": None,
    "aiohttp": None,
    "urllib": None,
    "h11": None,
    "jiter": None,
    "grpc": None,
    "pydantic_ai": None,
    "langchain_openai": "openai",
    "langchain_anthropic": "anthropic",
}

# Frameworks that also parse what the model wrote: their frames do not make a bad JSON the provider's.
PARSERS = frozenset({"pydantic_ai", "langchain_openai", "langchain_anthropic", "litellm"})

# Host of the request, from the right, to provider: one SDK serves many.
HOSTS: dict[str, str] = {
    "openai.azure.com": "azure",
    "azure.com": "azure",
    "openai.com": "openai",
    "anthropic.com": "anthropic",
    "googleapis.com": "google",
    "amazonaws.com": "aws",
    "x.ai": "xai",
    "openrouter.ai": "openrouter",
    "groq.com": "groq",
    "mistral.ai": "mistral",
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "deepseek.com": "deepseek",
    "together.xyz": "together",
    "together.ai": "together",
    "fireworks.ai": "fireworks",
    "perplexity.ai": "perplexity",
    "cerebras.ai": "cerebras",
    "huggingface.co": "huggingface",
    "moonshot.ai": "moonshot",
    "z.ai": "zai",
}

# What servers write beside a status; a number in a text is a status only with its own reason or a word such
# as "HTTP".
REASONS: dict[int, str] = {
    400: "bad request",
    401: "unauthorized|authorization required|unauthenticated",
    402: "payment required",
    403: "forbidden|permission denied",
    404: "not found",
    408: "request time-?out",
    409: "conflict",
    413: "(?:request entity|payload|content|request) too large",
    422: "unprocessable",
    429: "too many requests|rate limit|resource_exhausted|quota",
    500: r"internal server|internal error|server error|internal(?=\.|,|:|$)",
    502: "bad gateway",
    503: "service (?:temporarily )?unavailable|unavailable|overloaded|server overloaded",
    504: "gateway time-?out|deadline",
    529: "overloaded|site is overloaded",
}
