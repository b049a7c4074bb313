"""Who an SDK client talks to, read from the client itself."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_OFFICIAL = {"api.openai.com": "openai", "api.anthropic.com": "anthropic"}
# Others that speak the same APIs, by the end of their host names, as price books call them.
_HOSTS = {
    "openai.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "openrouter.ai": "openrouter",
    "api.x.ai": "xai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.together.xyz": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.moonshot.ai": "moonshotai",
    "api.cerebras.ai": "cerebras",
    "generativelanguage.googleapis.com": "google",
}
_CLASSES = {"Azure": "azure", "Bedrock": "bedrock", "Vertex": "vertex_ai"}
_salt = os.urandom(16)


class ClientFacts:
    """What is asked of a client again and again, remembered while it does not change."""

    __slots__ = ("_base_url", "_credential", "_kept", "_key", "price_provider", "provider")

    def __init__(self, client: Any) -> None:
        self._key: object = None
        self._credential = ""
        self._base_url: object = None
        self._kept: object = None
        self.provider: str = ""
        self.price_provider: str | None = None
        self.look(client)

    def look(self, client: Any) -> None:
        """See whether the client was pointed somewhere else; its attributes may be assigned to."""
        # Where the SDKs keep it; openai's property is a function call behind an import.
        kept = client.__dict__.get("_base_url")
        if kept is not None and kept is self._kept:
            return
        self._kept = kept
        base_url = getattr(client, "base_url", None)
        if self.provider and base_url is self._base_url:
            return
        self._base_url = base_url
        self.provider, self.price_provider = _provider(client, base_url)

    def credential_id(self, client: Any) -> str:
        """A name for the client's API key, from which nobody gets the key; empty without one."""
        key = getattr(client, "api_key", None) or getattr(client, "auth_token", None)
        if not isinstance(key, str) or not key:
            return ""
        if key is not self._key:
            self._credential = blake2b(key.encode(), key=_salt, digest_size=4).hexdigest()
            self._key = key
        return self._credential


def _provider(client: Any, base_url: Any) -> tuple[str, str | None]:
    """The provider for people and breakers, and for the price book."""
    for kind in type(client).__mro__:
        for word, name in _CLASSES.items():
            if word in kind.__name__:
                return name, name
    sdk = _sdk(client)
    host = str(getattr(base_url, "host", "") or "")
    if host in _OFFICIAL:
        return _OFFICIAL[host], None
    for ending, name in _HOSTS.items():
        if host == ending or host.endswith("." + ending):
            return name, name
    return sdk, None


def _sdk(client: Any) -> str:
    """The package that a client's class comes from, whatever was derived from it."""
    roots = [kind.__module__.partition(".")[0] for kind in type(client).__mro__]
    for root in roots:
        if root in ("openai", "anthropic"):
            return root
    return roots[0]
