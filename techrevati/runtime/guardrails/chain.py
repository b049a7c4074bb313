"""Ask guardrails in order: one logic, written as generators, that a sync and an async driver run.

What a guardrail accepts is read from its signatures once, when the chain is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.wrapping import COROUTINE, colour
from techrevati.runtime.guardrails.vocabulary import GuardrailOutcome, GuardrailViolatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, TypeAlias, TypeVar

    from techrevati.runtime.guardrails.vocabulary import Guardrail, GuardrailStage

    T = TypeVar("T")
    Asking: TypeAlias = Generator[Awaitable[Any], Any, T]

announce("guardrails")

_METHODS = ("check_pre", "check_post", "check_prompt", "check_answer")
_ALLOWED = GuardrailOutcome(True)


class _Member:
    """A guardrail and what it accepts."""

    __slots__ = ("answer", "arguments", "guardrail", "is_async", "open_ended", "post", "pre", "prompt")

    def __init__(self, guardrail: Any) -> None:
        self.guardrail = guardrail
        self.pre: Callable[..., Any] = guardrail.check_pre
        self.post: Callable[..., Any] = guardrail.check_post
        self.prompt: Callable[..., Any] | None = getattr(guardrail, "check_prompt", None)
        self.answer: Callable[..., Any] | None = getattr(guardrail, "check_answer", None)
        self.arguments, self.open_ended = _takes_arguments(self.pre)
        self.is_async = any(_is_async(getattr(guardrail, method, None)) for method in _METHODS)

    @property
    def name(self) -> str:
        return str(getattr(self.guardrail, "name", type(self.guardrail).__name__))


class GuardrailChain:
    """Guardrails in the order in which they are asked.  Immutable; thread-safe and task-safe.

    Each method gives what may be used: what it was given, as the guardrails left it.

    Args:
        guardrails: Asked in this order.
        on_error: ``"block"``: a guardrail that raises, or says nothing that can be understood, refuses.
            ``"allow"``: that is logged, and the next one is asked.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_members", "_on_error", "is_async", "looks_at_answers", "looks_at_turns")

    def __init__(
        self, guardrails: Iterable[Guardrail], *, on_error: Literal["block", "allow"] = "block"
    ) -> None:
        if not isinstance(guardrails, Iterable):
            raise TypeError(f"guardrails must be a sequence of guardrails, got {guardrails!r}")
        guardrails = list(guardrails)
        for guardrail in guardrails:
            for method in _METHODS[:2]:
                if not callable(getattr(guardrail, method, None)):
                    raise TypeError(f"guardrails must have the method {method}, got {guardrail!r}")
        if on_error not in ("block", "allow"):
            raise ValueError(f"on_error must be 'block' or 'allow', got {on_error!r}")
        self._members = [_Member(guardrail) for guardrail in guardrails]
        self._on_error = on_error
        self.is_async: bool = any(member.is_async for member in self._members)
        self.looks_at_answers: bool = any(member.answer is not None for member in self._members)
        self.looks_at_turns: bool = any(member.prompt or member.answer for member in self._members)

    def __len__(self) -> int:
        return len(self._members)

    def before(
        self, arguments: Mapping[str, object] | None, *, role: str, tool: str
    ) -> Mapping[str, object] | None:
        """Ask before a tool runs.

        Raises:
            GuardrailViolatedError: The first refusal.
        """
        return _driven(self._before(arguments, role, tool))

    def after(self, value: object, *, role: str, tool: str) -> object:
        """Ask about what a tool returned; raises like :meth:`before`."""
        return _driven(self._after(value, role, tool))

    def prompt(self, prompt: object, *, role: str, model: str) -> object:
        """Ask about the prompt of a turn; raises like :meth:`before`."""
        return _driven(self._turn("pre", prompt, role, model))

    def answer(self, answer: object, *, role: str, model: str) -> object:
        """Ask about the answer of a turn; raises like :meth:`before`."""
        return _driven(self._turn("post", answer, role, model))

    async def abefore(
        self, arguments: Mapping[str, object] | None, *, role: str, tool: str
    ) -> Mapping[str, object] | None:
        """:meth:`before` for guardrails of both colours."""
        return await _adriven(self._before(arguments, role, tool))

    async def aafter(self, value: object, *, role: str, tool: str) -> object:
        """:meth:`after` for guardrails of both colours."""
        return await _adriven(self._after(value, role, tool))

    async def aprompt(self, prompt: object, *, role: str, model: str) -> object:
        """:meth:`prompt` for guardrails of both colours."""
        return await _adriven(self._turn("pre", prompt, role, model))

    async def aanswer(self, answer: object, *, role: str, model: str) -> object:
        """:meth:`answer` for guardrails of both colours."""
        return await _adriven(self._turn("post", answer, role, model))

    # --- the logic -----------------------------------------------------------------------------------------

    def _before(
        self, arguments: Mapping[str, object] | None, role: str, tool: str
    ) -> Asking[Mapping[str, object] | None]:
        for member in self._members:
            named: dict[str, object] = {"role": role, "tool": tool}
            if member.arguments or (member.open_ended and arguments is not None):
                named["arguments"] = None if arguments is None else dict(arguments)
            outcome = yield from self._ask(member, member.pre, (), named, "pre")
            if outcome.rewrites:
                rewritten = outcome.rewritten
                if arguments is None or not isinstance(rewritten, Mapping):
                    problem = "must be a mapping" if arguments is not None else "were not given"
                    raise _refusal(member, f"cannot rewrite: the arguments {problem}", "pre", role, tool)
                arguments = dict(rewritten)
        return arguments

    def _after(self, value: object, role: str, tool: str) -> Asking[object]:
        for member in self._members:
            named = {"role": role, "tool": tool}
            outcome = yield from self._ask(member, member.post, (value,), named, "post")
            if outcome.rewrites:
                value = outcome.rewritten
        return value

    def _turn(self, stage: GuardrailStage, value: object, role: str, model: str) -> Asking[object]:
        for member in self._members:
            method = member.prompt if stage == "pre" else member.answer
            if method is None:
                continue
            outcome = yield from self._ask(member, method, (value,), {"role": role, "model": model}, stage)
            if outcome.rewrites:
                value = outcome.rewritten
        return value

    def _ask(
        self,
        member: _Member,
        method: Callable[..., Any],
        given: tuple[object, ...],
        named: Mapping[str, object],
        stage: GuardrailStage,
    ) -> Asking[GuardrailOutcome]:
        role, tool = str(named["role"]), str(named.get("tool", ""))
        try:
            outcome = method(*given, **named)
            if isinstance(outcome, Awaitable):
                outcome = yield outcome
            allowed = outcome.allowed
            if type(allowed) is not bool:  # "no" would allow
                raise TypeError(f"allowed must be True or False, got {type(allowed).__name__}")
            if not isinstance(outcome, GuardrailOutcome) and hasattr(outcome, "rewritten"):
                raise TypeError("a rewrite must be a GuardrailOutcome")
        except GuardrailViolatedError:
            raise
        except Exception as error:
            if self._on_error == "allow":
                logger("guardrails").warning("guardrail %r raised %s", member.name, error_text(error))
                return _ALLOWED
            raise _refusal(member, f"it failed with {type(error).__name__}", stage, role, tool) from error
        if not allowed:
            raise GuardrailViolatedError(outcome, guardrail=member.name, role=role, tool=tool, stage=stage)
        return outcome if isinstance(outcome, GuardrailOutcome) else _ALLOWED


def run_pre_checks(
    guardrails: Iterable[Guardrail], *, role: str, tool: str, arguments: Mapping[str, object] | None = None
) -> Mapping[str, object] | None:
    """Ask every guardrail before *tool* runs; gives the arguments as they left them.

    Raises:
        GuardrailViolatedError: The first refusal.
    """
    return GuardrailChain(guardrails).before(arguments, role=role, tool=tool)


def run_post_checks(guardrails: Iterable[Guardrail], value: object, *, role: str, tool: str) -> object:
    """Ask every guardrail about the *value* that *tool* returned; gives it as they left it.

    Raises:
        GuardrailViolatedError: The first refusal.
    """
    return GuardrailChain(guardrails).after(value, role=role, tool=tool)


def _driven(asking: Asking[T]) -> T:
    try:
        waits_for = next(asking)
        while True:
            close = getattr(waits_for, "close", None)
            if close is not None:  # a coroutine that nobody will await
                close()
            waits_for = asking.throw(TypeError("an async guardrail needs an async session"))
    except StopIteration as end:  # allowed, as errors may be
        return end.value  # type: ignore[no-any-return]


async def _adriven(asking: Asking[T]) -> T:
    try:
        waits_for = next(asking)
        while True:
            try:
                said = await waits_for
            except Exception as error:
                waits_for = asking.throw(error)
            else:
                waits_for = asking.send(said)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        asking.close()


def _refusal(
    member: _Member, reason: str, stage: GuardrailStage, role: str, tool: str
) -> GuardrailViolatedError:
    outcome = GuardrailOutcome(False, reason, rule="error")
    return GuardrailViolatedError(outcome, guardrail=member.name, role=role, tool=tool, stage=stage)


def _takes_arguments(method: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether there is a parameter for the arguments; whether anything named is taken."""
    import inspect

    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):
        return False, False
    kinds = {parameter.kind for parameter in parameters.values()}
    return "arguments" in parameters, inspect.Parameter.VAR_KEYWORD in kinds


def _is_async(method: object) -> bool:
    if method is None or not callable(method):
        return False
    try:
        return colour(method) == COROUTINE
    except TypeError:
        return False


def chosen(name: str, given: Iterable[str], known: tuple[str, ...]) -> frozenset[str]:
    """Some of *known*, as an argument of built-in guardrails."""
    if isinstance(given, str):
        given = [given]
    found = frozenset(given)
    if not found or found - set(known):
        raise ValueError(f"{name} must be some of {', '.join(known)}, got {sorted(found)!r}")
    return found
