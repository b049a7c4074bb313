"""Guardrails that know what must not pass by its shape: secrets, personal data, planted instructions."""

# ruff: noqa: E501 (patterns are not broken)
from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from techrevati.runtime._core import arguments as check
from techrevati.runtime._core.scrub import credential_patterns
from techrevati.runtime.guardrails.chain import chosen
from techrevati.runtime.guardrails.vocabulary import GuardrailOutcome
from techrevati.runtime.guardrails.walking import rewritten, texts

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping

STAGES = ("arguments", "result", "prompt", "answer")
_ALLOWED = GuardrailOutcome(True)


class PatternGuardrail:
    """Blocks or redacts what matches a pattern, anywhere in arguments, results, prompts and answers.

    A refusal names the rule and the place, never what was found.  Objects are looked through by their
    ``model_dump``, fields or attributes; when something inside one would have to be redacted, it is blocked.
    Immutable; thread-safe.

    Args:
        name: The guardrail's name.
        patterns: Name of a rule -> regular expression.
        action: ``"block"`` refuses; ``"redact"`` replaces every match by *replacement*.
        stages: Where it looks, some of ``arguments``, ``result``, ``prompt``, ``answer``.
        replacement: What stands in the place of a match.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_action", "_replacement", "_rules", "_stages", "name")

    def __init__(
        self,
        name: str,
        patterns: Mapping[str, str | re.Pattern[str]],
        *,
        action: Literal["block", "redact"] = "block",
        stages: Iterable[str] = STAGES,
        replacement: str = "[redacted]",
    ) -> None:
        import re

        self.name: str = check.text("name", name)
        if action not in ("block", "redact"):
            raise ValueError(f"action must be 'block' or 'redact', got {action!r}")
        try:
            self._rules = [(check.text("patterns", rule), re.compile(it)) for rule, it in patterns.items()]
        except re.error as error:
            raise ValueError(f"patterns must be regular expressions: {error}") from None
        self._action = action
        self._stages = chosen("stages", stages, STAGES)
        self._replacement = replacement

    def check_pre(
        self, *, role: str, tool: str, arguments: Mapping[str, object] | None = None
    ) -> GuardrailOutcome:
        """Look through the arguments."""
        return _ALLOWED if arguments is None else self._look("arguments", arguments)

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Look through the result."""
        return self._look("result", value)

    def check_prompt(self, prompt: object, *, role: str, model: str) -> GuardrailOutcome:
        """Look through the prompt."""
        return self._look("prompt", prompt)

    def check_answer(self, answer: object, *, role: str, model: str) -> GuardrailOutcome:
        """Look through the answer."""
        return self._look("answer", answer)

    def _look(self, stage: str, value: object) -> GuardrailOutcome:
        if stage not in self._stages:
            return _ALLOWED
        if self._action == "redact":
            clean = rewritten(value, self._cleaned)
            return _ALLOWED if clean is value else GuardrailOutcome.rewrite(clean, f"redacted by {self.name}")
        for path, text in texts(value):
            found = self._found(text)
            if found is not None:
                rule, at = found
                line = text.count("\n", 0, at) + 1
                where = f"{path}, line {line}" if "\n" in text else path
                return GuardrailOutcome(False, f"{rule} at {where}", rule=rule, path=path)
        return _ALLOWED

    def _found(self, text: str) -> tuple[str, int] | None:
        """The first rule that *text* breaks, and where."""
        text = self._folded(text)
        for rule, pattern in self._rules:
            for match in pattern.finditer(text):
                if self._counts(rule, match):
                    return rule, match.start()
        return None

    def _cleaned(self, text: str) -> str:
        for rule, pattern in self._rules:
            text = pattern.sub(
                lambda match, rule=rule: (  # type: ignore[misc]
                    (match.groupdict().get("keep") or "") + self._replacement
                    if self._counts(rule, match)
                    else match.group()
                ),
                text,
            )
        return text

    def _counts(self, rule: str, match: re.Match[str]) -> bool:
        """Whether a match is really one, by more than its shape."""
        return True

    def _folded(self, text: str) -> str:
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, action={self._action!r})"


class SecretsGuardrail(PatternGuardrail):
    """Keeps credentials out: the keys of the common providers, tokens, private keys, passwords in URLs.

    Args:
        action: ``"block"`` or ``"redact"``.
        known: Exact values that count, too; at least 4 characters.
        stages: Where it looks.
        name: The guardrail's name.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        action: Literal["block", "redact"] = "block",
        known: Iterable[str] = (),
        stages: Iterable[str] = STAGES,
        name: str = "secrets",
    ) -> None:
        import re

        exact = list(known)
        if any(not isinstance(secret, str) or len(secret) < 4 for secret in exact):
            raise ValueError("known must be strings of at least 4 characters")
        rules: dict[str, str | re.Pattern[str]] = {}
        if exact:
            rules["known secret"] = "|".join(map(re.escape, sorted(exact, key=len, reverse=True)))
        rules.update((what, pattern) for what, _, pattern in credential_patterns())
        super().__init__(name, rules, action=action, stages=stages)

    def _counts(self, rule: str, match: re.Match[str]) -> bool:
        return "[redacted]" not in match.group()


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed([int(one) for one in digits])):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _iban(text: str) -> bool:
    moved = text[4:] + text[:4]
    return int("".join(str(int(one, 36)) for one in moved)) % 97 == 1


_PII: dict[str, str] = {
    "email address": r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
    "card number": r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])",
    "IBAN": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "US social security number": r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])",
    "phone number": r"(?<![\w+])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?!\w)"
    r"|(?<![\w-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])",
}


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


_PROOFS: dict[str, Callable[[str], bool]] = {
    "card number": lambda text: 13 <= len(_digits(text)) <= 19 and _luhn(_digits(text)),
    "IBAN": lambda text: 15 <= len(text.replace(" ", "")) <= 34 and _iban(text.replace(" ", "")),
    "phone number": lambda text: 7 <= len(_digits(text)) <= 15,
}


class PiiGuardrail(PatternGuardrail):
    """Keeps personal data out: e-mail addresses, phone, card and US social security numbers, IBANs.

    By shape, so it misses names and addresses.  Card numbers (Luhn) and IBANs (mod 97) are checked by their
    own check digits.

    Args:
        action: ``"redact"`` or ``"block"``.
        kinds: Which ones; all when None.
        stages: Where it looks.
        name: The guardrail's name.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        action: Literal["block", "redact"] = "redact",
        kinds: Iterable[str] | None = None,
        stages: Iterable[str] = STAGES,
        name: str = "pii",
    ) -> None:
        wanted = chosen("kinds", _PII if kinds is None else kinds, tuple(_PII))
        rules = {kind: pattern for kind, pattern in _PII.items() if kind in wanted}
        super().__init__(name, rules, action=action, stages=stages)

    def _counts(self, rule: str, match: re.Match[str]) -> bool:
        proof = _PROOFS.get(rule)
        return proof is None or proof(match.group())


_INJECTION: dict[str, str] = {
    "heuristic: ignore instructions": r"\b(?:ignore|disregard|forget|override)\b.{0,40}?\b(?:previous|prior|above|earlier|"
    r"preceding|all|any|your|system)\b.{0,30}?\b(?:instructions?|prompts?|rules?|directions?|guidelines?)\b",
    "heuristic: new identity": r"\byou are (?:now|no longer)\b|\bfrom now on,? you\b|\bdeveloper mode\b|\bjailbreak",
    "heuristic: reveal the prompt": r"\b(?:reveal|print|repeat|show|output|leak)\b.{0,40}?\b(?:system|hidden|initial|secret)"
    r" (?:prompt|instructions?|message)\b",
    "heuristic: chat markup": r"<\|(?:im_start|im_end|system|endoftext|eot_id|start_header_id)\|>|\[/?INST\]|<</?SYS>>"
    r"|^\s*(?:###\s*)?(?:system|assistant)\s*:",
    "heuristic: tool order": r"\b(?:call|invoke|run|execute|use) (?:the )?(?:tool|function|command)\b.{0,60}?\b(?:without|do not|"
    r"don't|never) (?:asking|ask|tell|telling|mention|mentioning|inform|informing)\b",
    "heuristic: send data away": r"\b(?:send|post|upload|exfiltrate|forward|email)\b.{0,60}?\b(?:api[ _-]?keys?|passwords?|credentials?|"
    r"secrets?|tokens?|conversation|chat history)\b.{0,40}?\b(?:to|at)\b",
}  # fmt: skip


class PromptInjectionGuardrail(PatternGuardrail):
    """Heuristics against instructions planted in tool results and prompts.  **No protection by itself.**

    It knows common English phrases and chat markup, after compatibility normalisation (NFKC) and without
    invisible characters.  Whoever knows it gets around it, and honest texts about prompt injection are
    refused: use it beside permissions and allow-lists, never in their place.

    Args:
        stages: Where it looks; results and prompts by default.
        name: The guardrail's name.

    Raises:
        ValueError: *stages* is wrong.
    """

    __slots__ = ()

    def __init__(
        self, *, stages: Iterable[str] = ("result", "prompt"), name: str = "prompt_injection_heuristics"
    ) -> None:
        rules = {rule: f"(?ims){pattern}" for rule, pattern in _INJECTION.items()}
        super().__init__(name, rules, stages=stages)

    def _folded(self, text: str) -> str:
        import unicodedata

        plain = unicodedata.normalize("NFKC", text)
        return "".join(one for one in plain if unicodedata.category(one) != "Cf")
