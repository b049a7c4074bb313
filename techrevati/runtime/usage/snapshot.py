"""What one model call used: disjoint counts, and three parts of them that have prices of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from typing import NoReturn, Self


class UsageNotFoundError(TechrevatiError, ValueError):
    """A response carries no usage that can be recognised; it is not taken for zero.

    Attributes:
        seen: What was looked at: the type and the names found in it.
    """

    def __init__(self, seen: str) -> None:
        super().__init__(seen)
        self.seen = seen

    def __str__(self) -> str:
        return f"no recognisable usage in {self.seen}"


@dataclass(frozen=True, slots=True, init=False)
class UsageSnapshot:
    """Tokens of one call, or of several added up.  Immutable.

    A token is counted once: the counts are disjoint, but for the three that say *a part of*.

    ``a + b`` adds field by field; ``tier`` and ``model`` survive where both say the same, and
    ``reported_cost_usd`` where both have one (a sum that lacks a part would be no cost).  An empty snapshot
    changes nothing.

    Attributes:
        input_tokens: Prompt tokens that were neither read from nor written to a cache; audio and images
            apart.
        output_tokens: Tokens generated, reasoning and images included, audio apart.
        cache_write_tokens: Prompt tokens written to a cache for 5 minutes, or for a time not stated.
        cache_read_tokens: Prompt tokens read from a cache.
        cache_write_1h_tokens: Prompt tokens written to a cache for an hour.
        reasoning_tokens: A part of ``output_tokens``.
        input_audio_tokens: Audio in the prompt, not cached.
        output_audio_tokens: Audio generated.
        input_image_tokens: Images in the prompt, not cached.
        web_searches: Searches that the provider ran and charges for.
        requests: Calls, where the usage says how many; 0 means it says nothing.
        reported_cost_usd: What the provider itself says the call cost.
        tier: The service tier that the provider says it served: "batch", "flex", "priority", "fast".
        model: The model that the response names.
        citation_tokens: Tokens of cited sources, which Perplexity counts beside the prompt.
        output_image_tokens: A part of ``output_tokens``.
        cache_read_audio_tokens: A part of ``cache_read_tokens``.

    Raises:
        ValueError, TypeError: A count is negative or not whole, or a part is larger than its whole; integral
            floats are converted.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    web_searches: int = 0
    requests: int = 0
    reported_cost_usd: Decimal | None = None
    tier: str | None = None
    model: str | None = None
    citation_tokens: int = 0
    output_image_tokens: int = 0
    cache_read_audio_tokens: int = 0

    def __init__(
        self,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_write_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        reasoning_tokens: int = 0,
        input_audio_tokens: int = 0,
        output_audio_tokens: int = 0,
        input_image_tokens: int = 0,
        web_searches: int = 0,
        requests: int = 0,
        reported_cost_usd: Decimal | None = None,
        tier: str | None = None,
        model: str | None = None,
        citation_tokens: int = 0,
        output_image_tokens: int = 0,
        cache_read_audio_tokens: int = 0,
    ) -> None:
        # Written out: one is made for every call, and a loop over names takes three times as long.
        all_int = (
            type(input_tokens)
            is type(output_tokens)
            is type(cache_write_tokens)
            is type(cache_read_tokens)
            is type(cache_write_1h_tokens)
            is type(reasoning_tokens)
            is type(input_audio_tokens)
            is type(output_audio_tokens)
            is type(input_image_tokens)
            is type(web_searches)
            is type(requests)
            is type(citation_tokens)
            is type(output_image_tokens)
            is type(cache_read_audio_tokens)
            is int
        )
        if (
            not all_int
            or (
                input_tokens
                | output_tokens
                | cache_write_tokens
                | cache_read_tokens
                | cache_write_1h_tokens
                | reasoning_tokens
                | input_audio_tokens
                | output_audio_tokens
                | input_image_tokens
                | web_searches
                | requests
                | citation_tokens
                | output_image_tokens
                | cache_read_audio_tokens
            )
            < 0
        ):
            given = locals()
            (
                input_tokens,
                output_tokens,
                cache_write_tokens,
                cache_read_tokens,
                cache_write_1h_tokens,
                reasoning_tokens,
                input_audio_tokens,
                output_audio_tokens,
                input_image_tokens,
                web_searches,
                requests,
                citation_tokens,
                output_image_tokens,
                cache_read_audio_tokens,
            ) = (arguments.count(name, given[name]) for name in COUNTS)
        if (
            reasoning_tokens > output_tokens
            or output_image_tokens > output_tokens
            or cache_read_audio_tokens > cache_read_tokens
        ):
            _refuse_parts(locals())
        if reported_cost_usd is not None:
            reported_cost_usd = _cost(reported_cost_usd)
        if tier is not None:
            arguments.text("tier", tier)
        if model is not None:
            arguments.text("model", model)
        kind = type(self)
        if kind is not UsageSnapshot:  # a subclass may have other slots
            given = locals()
            for name in FIELDS:
                _put(self, name, given[name])
            return
        fill(
            self,
            input_tokens,
            output_tokens,
            cache_write_tokens,
            cache_read_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
            input_audio_tokens,
            output_audio_tokens,
            input_image_tokens,
            web_searches,
            requests,
            reported_cost_usd,
            tier,
            model,
            citation_tokens,
            output_image_tokens,
            cache_read_audio_tokens,
        )

    def __add__(self, other: UsageSnapshot) -> UsageSnapshot:
        if not isinstance(other, UsageSnapshot):
            return NotImplemented
        if self == _EMPTY:
            return other
        if other == _EMPTY:
            return self
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        ours, theirs = self.reported_cost_usd, other.reported_cost_usd
        return UsageSnapshot(
            **counts,
            reported_cost_usd=None if ours is None or theirs is None else _exact_sum(ours, theirs),
            tier=self.tier if self.tier == other.tier else None,
            model=self.model if self.model == other.model else None,
        )

    def to_dict(self) -> dict[str, int | str]:
        """The four token counts of 0.1, and every other value that is set; the cost as decimal text."""
        shown: dict[str, int | str] = {name: getattr(self, name) for name in COUNTS[:4]}
        for name in COUNTS[4:]:
            value = getattr(self, name)
            if value:
                shown[name] = value
        if self.reported_cost_usd is not None:
            shown["reported_cost_usd"] = str(self.reported_cost_usd)
        if self.tier is not None:
            shown["tier"] = self.tier
        if self.model is not None:
            shown["model"] = self.model
        return shown

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON."""
        import json

        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, counts: Mapping[str, object]) -> Self:
        """The snapshot that *counts* describes; absent counts are 0, unknown keys ignored."""
        return cls(**{name: counts[name] for name in FIELDS if name in counts})  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The snapshot that a JSON object describes.

        Raises:
            ValueError: Not JSON or not an object.
        """
        import json

        counts = json.loads(text)
        if not isinstance(counts, dict):
            raise ValueError(f"usage must be a JSON object, got {type(counts).__name__}")
        return cls.from_dict(counts)

    @classmethod
    def from_response(cls, response: object) -> Self:
        """What *response* says it used.

        Takes a response object of an SDK, its dict or its JSON text, or a usage object itself: OpenAI chat
        completions and responses (also Azure, Groq, DeepSeek, Mistral, xAI, Perplexity, OpenRouter, Moonshot,
        litellm), Anthropic messages, Gemini and Vertex AI, Bedrock Converse and InvokeModel, Cohere, Ollama,
        lines of their batches' results, and the usage objects of openai-agents, pydantic-ai
        and langchain (an ``LLMResult`` and totals by model are added up).  Told apart by shape; no SDK is
        imported.

        Raises:
            UsageNotFoundError: Nothing recognisable is there.
        """
        global _read, _common
        if _read is None or _common is None:
            from techrevati.runtime.usage.common import common
            from techrevati.runtime.usage.responses import read

            # Once: an import costs a fifth of the whole, even of what is loaded.
            _read, _common = read, common
        if cls is UsageSnapshot and type(response) is not dict:
            known = _common(response)
            if known is not None:
                return known  # type: ignore[return-value]  # pyright: ignore
        fields = _read(response)
        if cls is not UsageSnapshot:
            return cls(**fields)  # type: ignore[arg-type]
        made = _new(cls)
        fill(made, **fields)  # type: ignore[arg-type]  # readers give nothing but what fits
        return made  # pyright: ignore[reportReturnType]  # cls was narrowed above


def fill(
    made: UsageSnapshot,
    input_tokens: int = 0,
    output_tokens: int = 0,
    cache_write_tokens: int = 0,
    cache_read_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
    reasoning_tokens: int = 0,
    input_audio_tokens: int = 0,
    output_audio_tokens: int = 0,
    input_image_tokens: int = 0,
    web_searches: int = 0,
    requests: int = 0,
    reported_cost_usd: Decimal | None = None,
    tier: str | None = None,
    model: str | None = None,
    citation_tokens: int = 0,
    output_image_tokens: int = 0,
    cache_read_audio_tokens: int = 0,
) -> None:
    """Give a new snapshot its values, which are known to fit."""
    _put(made, "__class__", _Open)
    made.input_tokens = input_tokens  # type: ignore[misc]
    made.output_tokens = output_tokens  # type: ignore[misc]
    made.cache_write_tokens = cache_write_tokens  # type: ignore[misc]
    made.cache_read_tokens = cache_read_tokens  # type: ignore[misc]
    made.cache_write_1h_tokens = cache_write_1h_tokens  # type: ignore[misc]
    made.reasoning_tokens = reasoning_tokens  # type: ignore[misc]
    made.input_audio_tokens = input_audio_tokens  # type: ignore[misc]
    made.output_audio_tokens = output_audio_tokens  # type: ignore[misc]
    made.input_image_tokens = input_image_tokens  # type: ignore[misc]
    made.web_searches = web_searches  # type: ignore[misc]
    made.requests = requests  # type: ignore[misc]
    made.reported_cost_usd = reported_cost_usd  # type: ignore[misc]
    made.tier = tier  # type: ignore[misc]
    made.model = model  # type: ignore[misc]
    made.citation_tokens = citation_tokens  # type: ignore[misc]
    made.output_image_tokens = output_image_tokens  # type: ignore[misc]
    made.cache_read_audio_tokens = cache_read_audio_tokens  # type: ignore[misc]
    made.__class__ = UsageSnapshot


def _refuse_parts(given: Mapping[str, object]) -> NoReturn:
    for part, whole in _PARTS:
        if given[part] > given[whole]:  # type: ignore[operator]
            raise ValueError(f"{part} must be a part of {whole} (<= {given[whole]}), got {given[part]}")
    raise AssertionError("parts are within their wholes")


_PARTS = (
    ("reasoning_tokens", "output_tokens"),
    ("output_image_tokens", "output_tokens"),
    ("cache_read_audio_tokens", "cache_read_tokens"),
)
_OTHERS = ("reported_cost_usd", "tier", "model")
FIELDS = tuple(UsageSnapshot.__dataclass_fields__)
COUNTS = tuple(name for name in FIELDS if name not in _OTHERS)


def _cost(value: object) -> Decimal:
    from decimal import Decimal, InvalidOperation

    wanted = "reported_cost_usd must be a number of US dollars >= 0"
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError(f"{wanted}, got {value!r}")
    try:
        cost = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{wanted}, got {value!r}") from None
    if not cost.is_finite() or cost < 0:
        raise ValueError(f"{wanted}, got {value!r}")
    return cost


def _exact_sum(a: Decimal, b: Decimal) -> Decimal:
    from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context

    return Context(prec=min(MAX_PREC, 10_000), Emax=MAX_EMAX, Emin=MIN_EMIN).add(a, b)


_put, _new = object.__setattr__, object.__new__
_read: Callable[[object], dict[str, object]] | None = None
_common: Callable[[object], UsageSnapshot | None] | None = None


class _Open:
    """A snapshot while it is made: plain assignment takes an eighth of the time that each
    ``object.__setattr__`` of a frozen class takes, and a snapshot is made for every call."""

    __slots__ = FIELDS


_EMPTY = UsageSnapshot()
