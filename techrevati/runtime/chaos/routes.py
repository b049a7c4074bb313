"""Which paths a provider answers, Azure's spelling of OpenAI's among them."""

from __future__ import annotations

import re
from enum import Enum


class Route(str, Enum):
    """What stands at a path."""

    CHAT = "/v1/chat/completions"
    STORED = "/v1/chat/completions/"
    RESPONSES = "/v1/responses"
    EMBEDDINGS = "/v1/embeddings"
    MESSAGES = "/v1/messages"
    COUNT_TOKENS = "/v1/messages/count_tokens"
    MODELS = "/v1/models"


_BARE = {
    "/chat/completions": Route.CHAT,
    "/responses": Route.RESPONSES,
    "/embeddings": Route.EMBEDDINGS,
    "/messages": Route.MESSAGES,
    "/models": Route.MODELS,
}
_BY_PATH: dict[str, Route] = {**{one.value: one for one in Route if one is not Route.STORED}, **_BARE}
_STORED = re.compile(r"(?:/v1)?/chat/completions/([^/]+)\Z")
_DEPLOYED = re.compile(r"/openai/deployments/([^/]+)(/chat/completions|/responses|/embeddings)\Z")
AZURE = "/openai"


def routed(path: str) -> tuple[Route | None, str]:
    """What answers at *path*, and the deployment that it names; Azure takes that for the model."""
    if not path.startswith(AZURE + "/"):
        route = _BY_PATH.get(path)
        return (Route.STORED, "") if route is None and _STORED.match(path) else (route, "")
    if found := _DEPLOYED.match(path):
        return _BARE[found[2]], found[1]
    route = _BY_PATH.get(path.removeprefix(AZURE))
    return (None if route in (Route.MESSAGES, Route.COUNT_TOKENS) else route), ""
