"""The words for a failure: its kind, whose trouble it is, and what follows from the kind.

``KINDS`` is the whole theory: one row says who has to act, whether the identical call may plausibly
succeed later, which recovery the 0.1 recipes have for it, how events name it, and whether it says
anything about a provider's health.
"""

from __future__ import annotations

from enum import Enum

from techrevati.runtime._core.failure_class import AgentFailureClass
from techrevati.runtime._core.scrub import MAX_TEXT_LENGTH, scrubbed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeAlias

    # kind, retryable, retry_after, origin, provider, status_code, code, request_id, scenario
    _Values: TypeAlias = tuple[
        "FailureKind",
        bool,
        float | None,
        "FailureOrigin",
        str | None,
        int | None,
        str | None,
        str | None,
        "FailureScenario",
    ]


class FailureKind(str, Enum):
    """What went wrong."""

    TIMEOUT = "timeout"  # no answer in time
    RATE_LIMIT = "rate_limit"  # too fast; waiting helps
    QUOTA_EXHAUSTED = (
        "quota_exhausted"  # credit, spend cap or daily quota is used up; waiting seconds does not help
    )
    OVERLOADED = "overloaded"  # the service has no capacity at the moment
    SERVER_ERROR = "server_error"  # the service failed, or answered something unreadable
    NETWORK = "network"  # no connection, or it broke
    AUTH = "auth"  # who are you
    PERMISSION = "permission"  # you may not
    NOT_FOUND = "not_found"  # no such model, resource or file
    INVALID_REQUEST = "invalid_request"  # the call itself is wrong, bugs in calling code included
    CONTEXT_OVERFLOW = "context_overflow"  # too much input; a smaller request may pass
    CONTENT_POLICY = "content_policy"  # refused because of what it says
    OUTPUT_VALIDATION = "output_validation"  # the model answered, but not in the agreed form
    TOOL_ERROR = "tool_error"  # a tool failed
    STORAGE_CORRUPTION = "storage_corruption"  # stored data is damaged
    RESOURCE_EXHAUSTED = "resource_exhausted"  # a limit of this run or machine: budget, turns, memory, disk
    CANCELLED = "cancelled"  # somebody wanted it to stop
    UNKNOWN = "unknown"  # nothing recognisable

    __hash__ = str.__hash__  # equal to its text, so of the same hash; that of Enum is a function in Python


class FailureOrigin(str, Enum):
    """Whose trouble it is: who has to act, or to recover, before the call can succeed."""

    PROVIDER = "provider"
    NETWORK = "network"
    TOOL = "tool"
    CALLER = "caller"
    STORAGE = "storage"
    RUNTIME = "runtime"


class FailureScenario(str, Enum):
    """The recovery scenarios of the 0.1 recipes."""

    LLM_TIMEOUT = "llm_timeout"
    LLM_ERROR = "llm_error"
    TOOL_EXECUTION_ERROR = "tool_execution_error"
    CONTEXT_OVERFLOW = "context_overflow"
    DEPENDENCY_TIMEOUT = "dependency_timeout"
    MEMORY_CORRUPTION = "memory_corruption"
    PROVIDER_FAILURE = "provider_failure"


_K, _O, _S, _C = FailureKind, FailureOrigin, FailureScenario, AgentFailureClass

# kind: origin unless a rule says otherwise, retryable, scenario, class in events, counts against a breaker
KINDS: dict[FailureKind, tuple[FailureOrigin, bool, FailureScenario, AgentFailureClass, bool]] = {
    _K.TIMEOUT: (_O.PROVIDER, True, _S.LLM_TIMEOUT, _C.LLM_TIMEOUT, True),
    _K.RATE_LIMIT: (_O.PROVIDER, True, _S.LLM_ERROR, _C.RATE_LIMIT, True),
    _K.QUOTA_EXHAUSTED: (_O.PROVIDER, False, _S.LLM_ERROR, _C.RATE_LIMIT, True),
    _K.OVERLOADED: (_O.PROVIDER, True, _S.PROVIDER_FAILURE, _C.DEPENDENCY_FAILED, True),
    _K.SERVER_ERROR: (_O.PROVIDER, True, _S.LLM_ERROR, _C.LLM_ERROR, True),
    _K.NETWORK: (_O.NETWORK, True, _S.PROVIDER_FAILURE, _C.DEPENDENCY_FAILED, True),
    _K.AUTH: (_O.CALLER, False, _S.PROVIDER_FAILURE, _C.DEPENDENCY_FAILED, False),
    _K.PERMISSION: (_O.CALLER, False, _S.LLM_ERROR, _C.DEPENDENCY_FAILED, False),
    _K.NOT_FOUND: (_O.CALLER, False, _S.LLM_ERROR, _C.LLM_ERROR, False),
    _K.INVALID_REQUEST: (_O.CALLER, False, _S.LLM_ERROR, _C.VALIDATION_ERROR, False),
    _K.CONTEXT_OVERFLOW: (_O.CALLER, False, _S.CONTEXT_OVERFLOW, _C.CONTEXT_OVERFLOW, False),
    _K.CONTENT_POLICY: (_O.PROVIDER, False, _S.LLM_ERROR, _C.PROMPT_REJECTION, False),
    _K.OUTPUT_VALIDATION: (_O.PROVIDER, False, _S.LLM_ERROR, _C.VALIDATION_ERROR, False),
    _K.TOOL_ERROR: (_O.TOOL, False, _S.TOOL_EXECUTION_ERROR, _C.TOOL_ERROR, False),
    _K.STORAGE_CORRUPTION: (_O.STORAGE, False, _S.MEMORY_CORRUPTION, _C.MEMORY_CORRUPTION, False),
    _K.RESOURCE_EXHAUSTED: (_O.RUNTIME, False, _S.LLM_ERROR, _C.UNKNOWN, False),
    _K.CANCELLED: (_O.CALLER, False, _S.LLM_ERROR, _C.UNKNOWN, False),
    _K.UNKNOWN: (_O.PROVIDER, False, _S.LLM_ERROR, _C.UNKNOWN, True),
}

_MAX_RAW_LENGTH = MAX_TEXT_LENGTH * 2  # what the scrubber looks at; more is never kept
_set = object.__setattr__


class Failure:
    """What one exception is; immutable, comparable, picklable.

    Credentials are taken out of ``message`` when it is first read, and out of everything that leaves
    the object: ``repr``, ``to_dict``, a pickle.

    """

    __slots__ = ("_clean", "_text", "_values")

    # One tuple, because it is made in a fraction of the time that nine attributes take.
    _values: _Values
    _text: str
    _clean: str  # set when it is first asked for

    def __init__(
        self,
        kind: FailureKind,
        retryable: bool | None = None,
        retry_after: float | None = None,
        origin: FailureOrigin | None = None,
        provider: str | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        message: str = "",
        *,
        scenario: FailureScenario | None = None,
    ) -> None:
        """None for *retryable*, *origin* and *scenario* takes what follows from *kind*."""
        if type(kind) is not FailureKind:
            kind = FailureKind(kind)
        row = KINDS[kind]
        values = (
            kind,
            row[1] if retryable is None else retryable,
            retry_after,
            row[0] if origin is None else origin,
            provider,
            status_code,
            code,
            request_id,
            row[2] if scenario is None else scenario,
        )
        _set(self, "_values", values)
        _set(self, "_text", message[:_MAX_RAW_LENGTH])

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Failure is immutable; cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Failure is immutable; cannot delete {name!r}")

    @property
    def kind(self) -> FailureKind:
        """What went wrong."""
        return self._values[0]

    @property
    def retryable(self) -> bool:
        """The identical call may plausibly succeed later; ``x-should-retry`` has the last word."""
        return self._values[1]

    @property
    def retry_after(self) -> float | None:
        """Seconds >= 0 that the provider asked to wait; None when it did not say."""
        return self._values[2]

    @property
    def origin(self) -> FailureOrigin:
        """Whose trouble it is."""
        return self._values[3]

    @property
    def provider(self) -> str | None:
        """``"openai"``, ``"anthropic"``, …; None when unknown."""
        return self._values[4]

    @property
    def status_code(self) -> int | None:
        """The HTTP status, also one that only the text or the body told; None without one."""
        return self._values[5]

    @property
    def code(self) -> str | None:
        """The provider's own code, as it spells it."""
        return self._values[6]

    @property
    def request_id(self) -> str | None:
        """What the provider's support asks for."""
        return self._values[7]

    @property
    def message(self) -> str:
        """The exception's text without credentials, at most 2,000 characters."""
        try:
            return self._clean
        except AttributeError:  # scrubbing costs more than classifying, and few failures are ever read
            clean = scrubbed(self._text)
            _set(self, "_clean", clean)
            _set(self, "_text", clean)
            return clean

    @property
    def scenario(self) -> FailureScenario:
        """The recovery scenario of the 0.1 recipes."""
        return self._values[8]

    @property
    def failure_class(self) -> AgentFailureClass:
        """How events name it."""
        if self.kind is FailureKind.PERMISSION and self.origin is FailureOrigin.RUNTIME:
            return AgentFailureClass.TOOL_ERROR  # our own refusal to let a role use a tool
        return KINDS[self.kind][3]

    def to_dict(self) -> dict[str, object]:
        """Every fact as JSON has it: enums as their values, unknown ones None."""
        return {
            "kind": self.kind.value,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "origin": self.origin.value,
            "provider": self.provider,
            "status_code": self.status_code,
            "code": None if self.code is None else scrubbed(self.code),
            "request_id": None if self.request_id is None else scrubbed(self.request_id),
            "message": self.message,
            "scenario": self.scenario.value,
            "failure_class": self.failure_class.value,
        }

    def __repr__(self) -> str:
        facts = [f"{self.kind.value}", "retryable" if self.retryable else "not retryable"]
        facts += [
            f"{name}={value!r}"
            for name, value in self.to_dict().items()
            if value is not None and name not in ("kind", "retryable", "scenario", "failure_class")
        ]
        return f"Failure({', '.join(facts)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Failure):
            return NotImplemented
        return (self._values, self.message) == (other._values, other.message)

    def __hash__(self) -> int:
        return hash((self._values, self.message))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self._values[:8], self.message, self.scenario)


_set_values, _set_text = Failure.__dict__["_values"].__set__, Failure.__dict__["_text"].__set__
_new = object.__new__


def made(values: _Values, text: str) -> Failure:
    """A failure whose values are known to be right, in half the time; *text* is bounded already."""
    failure = _new(Failure)
    _set_values(failure, values)
    _set_text(failure, text)
    return failure


def _rebuilt(values: tuple[Any, ...], message: str, scenario: FailureScenario) -> Failure:
    return Failure(*values[:8], message, scenario=scenario)  # type: ignore[arg-type, misc]


def counts_against_provider(failure: Failure) -> bool:
    """Does *failure* say something about the health of the provider that was called?"""
    return KINDS[failure.kind][4] and failure.origin in (FailureOrigin.PROVIDER, FailureOrigin.NETWORK)
