"""What a model call asks for, as far as a guard must know it: read from the request itself.

The three APIs that providers copy from each other are known by their paths.  Everything else has no bound
that anybody could read, and is not guarded.
"""

from __future__ import annotations

from collections.abc import Mapping

from techrevati.runtime.budgets import estimate_input_tokens
from techrevati.runtime.budgets.estimate import estimate_of_texts
from techrevati.runtime.integrations.likely_input import likely_input_tokens

CHAT = "chat.completions"
RESPONSES = "responses"
EMBEDDINGS = "embeddings"
COMPLETIONS = "completions"
MESSAGES = "messages"

_GUARDED = (
    ("/chat/completions", CHAT),
    ("/v1/messages", MESSAGES),
    ("/responses", RESPONSES),
    ("/embeddings", EMBEDDINGS),
    ("/completions", COMPLETIONS),
)
_EXACT = dict(_GUARDED)
# Requests that no provider charges for, beside everything that only reads or deletes.
_FREE = ("/count_tokens", "/moderations", "/input_tokens", "/files", "/cancel")
_MAXIMA = {
    CHAT: ("max_completion_tokens", "max_tokens"),
    COMPLETIONS: ("max_tokens",),
    RESPONSES: ("max_output_tokens",),
    MESSAGES: ("max_tokens",),
}
# Where requests of an API have their messages, and where they must have none.
_TEXTS: dict[str | None, tuple[str, str]] = {
    CHAT: ("messages", "input"),
    MESSAGES: ("messages", "input"),
    RESPONSES: ("input", "messages"),
}
_NO_TEXTS = ("", "")
# Settings that are told, by their names in OpenTelemetry's conventions; none is a content.
_SETTINGS = (
    ("max_tokens", ("max_completion_tokens", "max_output_tokens", "max_tokens")),
    ("choice.count", ("n",)),
    *((name, (name,)) for name in ("temperature", "top_p", "top_k", "seed")),
    *((name, (name,)) for name in ("frequency_penalty", "presence_penalty")),
)
_TIERS = ("priority", "fast", "flex", "batch")  # those with prices of their own
_FILES = frozenset({"file", "input_file", "document", "container_upload"})
_MAX_DEPTH = 8  # of messages in tool results
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")  # input that the provider adds by itself


def api_of(method: str, path: str) -> str | None:
    """Which API a request is for; None when it is none of those that can be guarded."""
    if method == "post" and path in _EXACT:
        return _EXACT[path]
    if method.lower() != "post":
        return None
    path = path.partition("?")[0].rstrip("/")
    for ending, api in _GUARDED:
        if path.endswith(ending):
            return api
    return None


def is_free(method: str, path: str) -> bool:
    """Whether providers charge nothing for it."""
    if method.lower() != "post":
        return True
    path = path.partition("?")[0].rstrip("/")
    return path.endswith(_FREE) or "/uploads" in path


class ModelRequest:
    """One call of a model, before it is sent.

    Args:
        provider: Whose model, for the breaker and the reports.
        model: Its name as the request has it; None when it has none.
        shape: How it is called, for :func:`coverage`.
        content: The request, for an upper bound of its input; see ``estimate_input_tokens``.
        input_tokens: That bound, when it is known better.
        max_output_tokens: The most that the request lets it generate; None when it does not say.
        answers: How many answers it asks for.
        price_provider, tier: For the price; None when the model's name is enough.
        credential_id: Tells credentials apart; never the key itself.
        unbounded: Why the input has no bound that can be read from the request; None when it has.
        server: Address and port of who is asked, for traces; None when nobody knows.
        api: Of which API *content* is the body of a request; None when it is of none.
    """

    __slots__ = (
        "_input_tokens",
        "_is_plain",
        "answers",
        "api",
        "content",
        "credential_id",
        "max_output_tokens",
        "model",
        "price_provider",
        "provider",
        "server",
        "shape",
        "tier",
        "unbounded",
    )

    def __init__(
        self,
        provider: str,
        model: str | None,
        shape: str,
        *,
        content: object = None,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        answers: int = 1,
        price_provider: str | None = None,
        tier: str | None = None,
        credential_id: str = "",
        unbounded: str | None = None,
        server: tuple[str, int] | None = None,
        api: str | None = None,
    ) -> None:
        self.provider: str = provider
        self.model: str | None = model
        self.shape: str = shape
        self.content: object = content
        self._input_tokens = input_tokens
        self._is_plain: bool | None = None
        self.max_output_tokens: int | None = max_output_tokens
        self.answers: int = answers
        self.price_provider: str | None = price_provider
        self.tier: str | None = tier
        self.credential_id: str = credential_id
        self.unbounded: str | None = unbounded
        self.server: tuple[str, int] | None = server
        self.api: str | None = api

    @property
    def input_tokens(self) -> int:
        """An upper bound of its input tokens."""
        found = self._input_tokens
        if found is None:
            found = self.plain_input_tokens()
        if found is None:
            found = self._input_tokens = estimate_input_tokens(self.content)
        return found

    def plain_input_tokens(self) -> int | None:
        """:attr:`input_tokens` where all messages are plain texts, so that nothing else stands in them; else
        None."""
        if self._is_plain is None:
            asked, (texts, others) = self.content, _TEXTS.get(self.api, _NO_TEXTS)
            found = None
            if texts and self._input_tokens is None and type(asked) is dict and others not in asked:
                self._input_tokens = found = estimate_of_texts(asked, texts)
            self._is_plain = found is not None
        return self._input_tokens if self._is_plain else None

    @property
    def likely_input_tokens(self) -> int:
        """About how many input tokens it has, where it ended before anybody said."""
        if self.content is None:
            return self.input_tokens
        try:
            return likely_input_tokens(
                self.content, is_body=self.api is not None, embeddings=self.api == EMBEDDINGS
            )
        except Exception:  # what no API would take
            return self.input_tokens

    def settings(self) -> dict[str, int | float]:
        """What the request sets, by the names of OpenTelemetry's conventions; no contents."""
        body = self.content
        found: dict[str, int | float] = {}
        if isinstance(body, Mapping):
            for name, keys in _SETTINGS:
                value = next((body[key] for key in keys if body.get(key) is not None), None)
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    found[name] = value
        return found

    def __repr__(self) -> str:
        return f"ModelRequest({self.provider!r}, {self.model!r}, {self.shape!r})"


def read_request(
    api: str,
    body: Mapping[str, object],
    *,
    provider: str,
    shape: str,
    price_provider: str | None,
    credential_id: str,
    server: tuple[str, int] | None = None,
) -> ModelRequest:
    """What the JSON *body* of a request to *api* asks for."""
    model = body.get("model")
    answers = 1
    unbounded: str | None = None
    maximum: int | None = 0
    if api == RESPONSES:
        unbounded = next((name for name in _ELSEWHERE if body.get(name) is not None), None)
    elif api == MESSAGES:
        thread = body.get("thread")
        if isinstance(thread, Mapping) and thread.get("type") != "create":
            unbounded = "thread"
    elif api in (CHAT, COMPLETIONS):
        best_of = _count(body.get("best_of")) if api == COMPLETIONS else None
        if best_of or "n" in body:
            answers = max(_count(body.get("n")) or 1, best_of or 1)
    if api != EMBEDDINGS:
        maximum = None
        for name in _MAXIMA[api]:
            said = body.get(name)
            if type(said) is int and said >= 0:
                maximum = said
                break
    return ModelRequest(
        provider,
        model if isinstance(model, str) and model else None,
        shape,
        content=body,
        max_output_tokens=maximum,
        answers=answers,
        price_provider=price_provider,
        tier=_tier(api, body) if api == MESSAGES or "service_tier" in body else None,
        credential_id=credential_id,
        unbounded=unbounded,
        server=server,
        api=api,
    )


def referred_to(content: object) -> str | None:
    """What in the messages of a request stands for more than it shows: files by their ids or addresses, and
    items that the provider keeps; None when all is there.  Images have a bound of their own.
    """
    if not isinstance(content, Mapping):
        return None
    for name in ("messages", "input"):
        items = content.get(name)
        for item in items if isinstance(items, (list, tuple)) else (items,):
            if type(item) is dict and type(item.get("content")) is str and "type" not in item:
                continue  # a message of plain text, as most are
            found = _reference(item, 0)
            if found is not None:
                return found
    return None


def _reference(value: object, depth: int) -> str | None:
    if isinstance(value, (list, tuple)):
        return next((found for item in value if (found := _reference(item, depth)) is not None), None)
    if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
        return None
    kind = value.get("type")
    if kind == "item_reference":
        return "item_reference"
    if kind in _FILES:
        held = value.get("file") or value.get("source") or value
        if isinstance(held, Mapping):
            found = next((name for name in ("file_id", "file_url", "url") if held.get(name)), None)
            if found is not None:
                return found
    for name in ("content", "output"):
        inside = value.get(name)
        if type(inside) is list and (found := _reference(inside, depth + 1)) is not None:
            return found
    return None


def _tier(api: str, body: Mapping[str, object]) -> str | None:
    """What changes the price of the request, as price books call it; several are joined by "+"."""
    said = body.get("service_tier")
    found = [said] if isinstance(said, str) and said in _TIERS else []
    if api == MESSAGES:
        found += ["fast"] if body.get("speed") == "fast" else []
        found += ["us"] if body.get("inference_geo") == "us" else []
    return "+".join(found) or None


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
