"""The faults: what each does, whether trying again can help, and which options it takes.

A fault that *refuses* answers instead of the model and is never billed.  Every other fault happens to an
answer on its way: the input is billed, and so is whatever was generated until then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum

from techrevati.runtime._core import arguments


class FaultKind(str, Enum):
    """What can be injected; the values are the words of scenario files."""

    RATE_LIMIT = "rate_limit"
    QUOTA_EXHAUSTED = "quota_exhausted"
    SPEND_LIMIT = "spend_limit"
    INVALID_KEY = "invalid_key"
    FORBIDDEN = "forbidden"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_FILTER = "content_filter"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY_HTML = "bad_gateway_html"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    RESET = "reset"
    RESET_MID_BODY = "reset_mid_body"
    TRUNCATED_BODY = "truncated_body"
    TRUNCATED_STREAM = "truncated_stream"
    WRONG_JSON = "wrong_json"
    MID_STREAM_ERROR = "mid_stream_error"
    SLOW_FIRST_TOKEN = "slow_first_token"
    SLOW_STREAM = "slow_stream"
    STALLED_STREAM = "stalled_stream"
    CONTENT_FILTER_STOP = "content_filter_stop"
    TOOL_CALL = "tool_call"
    SAYS = "says"


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """One row of the table of faults."""

    refuses: bool
    retryable: bool
    options: frozenset[str]
    meaning: str


def _refusal(retryable: bool, meaning: str) -> FaultFacts:
    options = {"message", "retry_after", "retry_after_as"} if retryable else {"message"}
    return FaultFacts(True, retryable, frozenset(options), meaning)


def _damage(meaning: str, *options: str, retryable: bool = True) -> FaultFacts:
    return FaultFacts(False, retryable, frozenset(options), meaning)


FAULTS: dict[FaultKind, FaultFacts] = {
    FaultKind.RATE_LIMIT: _refusal(True, "429 with Retry-After"),
    FaultKind.QUOTA_EXHAUSTED: _refusal(
        False, "no credit left: OpenAI 429 insufficient_quota, Anthropic 400"
    ),
    FaultKind.SPEND_LIMIT: _refusal(
        False, "429 for a spend cap: OpenAI insufficient_quota, Anthropic error_code"
    ),
    FaultKind.INVALID_KEY: _refusal(False, "401"),
    FaultKind.FORBIDDEN: _refusal(False, "403"),
    FaultKind.MODEL_NOT_FOUND: _refusal(False, "404"),
    FaultKind.CONTEXT_OVERFLOW: _refusal(False, "400, the prompt is too long"),
    FaultKind.CONTENT_FILTER: _refusal(False, "400, the prompt was filtered"),
    FaultKind.SERVER_ERROR: _refusal(True, "500"),
    FaultKind.BAD_GATEWAY_HTML: _refusal(True, "502 with an HTML page of a proxy"),
    FaultKind.UNAVAILABLE: _refusal(True, "503"),
    FaultKind.OVERLOADED: _refusal(True, "overloaded: OpenAI 503, Anthropic 529"),
    FaultKind.RESET: _damage("connection reset before the first byte of the answer"),
    FaultKind.RESET_MID_BODY: _damage("connection reset inside the answer", "after_tokens"),
    FaultKind.TRUNCATED_BODY: _damage("connection closed inside the answer", "after_tokens"),
    FaultKind.TRUNCATED_STREAM: _damage(
        "an answer that stops early and looks complete to HTTP", "after_tokens"
    ),
    FaultKind.WRONG_JSON: _damage("an answer, or an event inside a stream, that is no JSON", "after_tokens"),
    FaultKind.MID_STREAM_ERROR: _damage(
        "an error event inside a stream; plain: 500", "after_tokens", "message"
    ),
    FaultKind.SLOW_FIRST_TOKEN: _damage("nothing comes for a while", "delay"),
    FaultKind.SLOW_STREAM: _damage("a pause before every token", "delay"),
    FaultKind.STALLED_STREAM: _damage(
        "nothing more comes for a while, inside the answer", "delay", "after_tokens"
    ),
    FaultKind.CONTENT_FILTER_STOP: _damage(
        "the answer is filtered half-way", "after_tokens", retryable=False
    ),
    FaultKind.TOOL_CALL: _damage("the model calls this tool instead of answering", "tool", "arguments"),
    FaultKind.SAYS: _damage("the model says this text instead of its answer", "text"),
}
RETRY_AFTER_FORMS = ("default", "seconds", "ms", "both", "date", "none")
_DEFAULT_DELAYS_S = {
    FaultKind.SLOW_FIRST_TOKEN: 5.0,
    FaultKind.SLOW_STREAM: 0.2,
    FaultKind.STALLED_STREAM: 600.0,
}
_OPTION_OF_FIELD = {"retry_after_s": "retry_after", "delay_s": "delay"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault with its options; an option that its kind does not take is a ValueError.

    Attributes:
        kind: What happens; a word such as ``"rate_limit"`` is fine.
        retry_after_s: Seconds of scenario time told to the client; None: 1 s for ``rate_limit``, or the rest
            of the window that was used up; no header for the others.
        retry_after_as: ``default`` is what the provider sends: OpenAI ``retry-after-ms`` and
            ``retry-after``, Anthropic ``retry-after``. Or ``seconds``, ``ms``, ``both``, ``date``, ``none``.
        delay_s: Seconds of scenario time that nothing comes.
        after_tokens: Output tokens that still arrive; all but one at most. Plain answers lose half of
            their bytes instead.
        message: Replaces the provider's own words.
        tool, arguments: The call that the model makes.
        text: What the model says.
    """

    kind: FaultKind
    retry_after_s: float | None = None
    retry_after_as: str = "default"
    delay_s: float | None = None
    after_tokens: int = 5
    message: str | None = None
    tool: str | None = None
    arguments: dict[str, object] = field(default_factory=dict[str, object], hash=False)
    text: str | None = None

    def __post_init__(self) -> None:
        try:
            kind = FaultKind(self.kind)
        except ValueError:
            known = ", ".join(one.value for one in FaultKind)
            raise ValueError(f"kind must be one of {known}, got {self.kind!r}") from None
        object.__setattr__(self, "kind", kind)
        self._check_options(kind)
        if self.delay_s is None:
            object.__setattr__(self, "delay_s", _DEFAULT_DELAYS_S.get(kind))

    def _check_options(self, kind: FaultKind) -> None:
        allowed = FAULTS[kind].options
        for one in fields(self)[1:]:
            value: object = getattr(self, one.name)
            default = {} if one.name == "arguments" else one.default
            if value != default and _OPTION_OF_FIELD.get(one.name, one.name) not in allowed:
                takes = ", ".join(sorted(allowed)) or "no option"
                raise ValueError(f"{one.name} is no option of {kind.value} (it takes {takes}), got {value!r}")
        if self.retry_after_s is not None:
            arguments.number("retry_after_s", self.retry_after_s)
        if self.delay_s is not None:
            arguments.number("delay_s", self.delay_s)
        arguments.count("after_tokens", self.after_tokens)
        if self.retry_after_as not in RETRY_AFTER_FORMS:
            raise ValueError(
                f"retry_after_as must be one of {', '.join(RETRY_AFTER_FORMS)}, got {self.retry_after_as!r}"
            )
        for name in ({"tool"} & allowed) | ({"text"} & allowed):
            arguments.text(name, getattr(self, name) or "")

    @property
    def refuses(self) -> bool:
        """True when the fault answers instead of the model, before anything is billed."""
        return FAULTS[self.kind].refuses

    @property
    def retryable(self) -> bool:
        """True when the same request may succeed later."""
        return FAULTS[self.kind].retryable
