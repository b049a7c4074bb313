"""Answers that must fit: asked again with what is wrong, a bounded number of times.

``Asking`` decides and calls nothing: after n answers it is *accepted* (the n-th was valid), *open* (it was
not, and n < max_asks) or *exhausted*.  Each ask is a whole turn of the session, so it is counted, budgeted,
journalled and held by the breaker like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from techrevati.runtime._core import arguments as check
from techrevati.runtime._core.errors import TechrevatiError, picklable, rebuilt
from techrevati.runtime.guardrails import JsonSchema
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

# What a validator raises about an answer; anything else is the validator's own trouble, and goes on.
_SAYS_INVALID = (ValueError, TypeError, LookupError, AssertionError)
MAX_PROBLEM_CHARACTERS = 2_000
_ZERO = UsageSnapshot()


class Invalid(NamedTuple):
    """What a validator returns for an answer that does not fit.

    Attributes:
        problem: What is wrong, in words that the model can act on.
    """

    problem: str


class Feedback(NamedTuple):
    """What the function of a turn is told when it is asked again.

    Attributes:
        problem: What was wrong with the last answer, redacted, at most 2,000 characters.
        answer: That answer; with a journal, in a later life, as it was stored.
        asks: How many answers there were, >= 1.
    """

    problem: str
    answer: object
    asks: int


class OutputInvalidError(TechrevatiError, ValueError):
    """No answer of the model was valid; each was paid for and is booked.

    Neither ``str`` nor ``repr`` shows the answer.  Pickling drops an answer that does not pickle.

    Attributes:
        asks: How often the model was asked.
        problem: What was wrong with the last answer.
        answer: The last answer.
        usage: What all asks used together.
    """

    def __init__(self, asks: int, problem: str, *, answer: object = None, usage: object = None) -> None:
        super().__init__(asks, problem)
        self.asks = asks
        self.problem = problem
        self.answer = answer
        self.usage = usage

    def __str__(self) -> str:
        return f"no valid answer after asking {self.asks} times: {self.problem}; the last one is in .answer"

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, picklable(self.__dict__, "answer", "usage"))


class JsonOutput:
    """A validator for answers that are JSON and fit a schema.  Immutable and thread-safe.

    Text is parsed, and handed back parsed (``null`` alone stays text); other values are judged as they are.

    Args:
        schema: See :class:`JsonSchema` for the supported part.
    """

    def __init__(self, schema: Mapping[str, object] | bool) -> None:
        self._schema = JsonSchema(schema)

    def __call__(self, answer: object) -> object:
        """The value, or :class:`Invalid`."""
        value = answer
        if isinstance(answer, (str, bytes)):
            import json

            try:
                value = json.loads(answer)
            except (ValueError, RecursionError) as error:
                return Invalid(f"the answer is not JSON: {error}")
        problem = self._schema.problem(value)
        return value if problem is None else Invalid(str(problem))


class Asking:
    """One answer that is wanted; not thread-safe, as one task asks.

    Attributes:
        asks: How many answers were judged.
        usage: What they used together.
        feedback: What the next ask is told; None before the first.
        value: What was accepted.
    """

    def __init__(self, max_asks: int, key: str | None, redacted: Callable[[str], str]) -> None:
        self.max_asks: int = check.count("max_asks", max_asks, minimum=1)
        self._key = key
        self._redacted = redacted
        self.asks: int = 0
        self.usage: UsageSnapshot = _ZERO
        self.feedback: Feedback | None = None
        self.value: Any = None

    @property
    def key(self) -> str | None:
        """The journal's name of the next ask: the caller's, then ``KEY/ask-2`` and so on."""
        if self._key is None or self.asks == 0:
            return self._key
        return f"{self._key}/ask-{self.asks + 1}"

    def judge(self, answer: object, usage: UsageSnapshot, verdict: object) -> bool:
        """Take one answer and what the validator said; True when it is accepted.

        Raises:
            OutputInvalidError: It was not, and there is no further ask.
        """
        self.asks += 1
        self.usage = usage if self.asks == 1 else self.usage + usage
        if not isinstance(verdict, Invalid):
            self.value = answer if verdict is None else verdict
            return True
        problem = self._redacted(verdict.problem)[:MAX_PROBLEM_CHARACTERS]
        self.feedback = Feedback(problem, answer, self.asks)
        if self.asks >= self.max_asks:
            raise OutputInvalidError(self.asks, problem, answer=answer, usage=self.usage)
        return False


def verdict_of(validate: Callable[[Any], object], answer: object) -> object:
    """What *validate* says; raised errors about the answer are its ``Invalid``."""
    try:
        verdict: Any = validate(answer)
    except TechrevatiError:
        raise  # ours say nothing about the answer
    except _SAYS_INVALID as error:
        return _said(error)
    if hasattr(verdict, "__await__"):
        if hasattr(verdict, "close"):
            verdict.close()
        raise TypeError("validate must not be async in run_turn; use arun_turn")
    return verdict


async def averdict_of(validate: Callable[[Any], object | Awaitable[object]], answer: object) -> object:
    """:func:`verdict_of` for tasks; *validate* may be async."""
    try:
        verdict: Any = validate(answer)
        return await verdict if hasattr(verdict, "__await__") else verdict
    except TechrevatiError:
        raise
    except _SAYS_INVALID as error:
        return _said(error)


def _said(error: Exception) -> Invalid:
    return Invalid(str(error) or type(error).__name__)
