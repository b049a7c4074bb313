"""Withhold the result of a tool that holds a credential: what the model never saw it cannot repeat."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from techrevati.runtime._core.scrub import REDACTED
from techrevati.runtime.guardrails import GuardrailOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

# Shapes that providers document for their keys; words such as "password" alone are no credential.
_SHAPES = (
    ("an API key", r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}"),
    ("a cloud access key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}"),
    (
        "an access token",
        r"\b(?:gh[oprsu]_\w{20,}|github_pat_\w{20,}|xox[abeoprs]-[\w-]{10,}|glpat-[\w-]{16,})",
    ),
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
)
_ALLOWED = GuardrailOutcome(True)


class SecretsGuardrail:
    """Refuses tool results in which a line looks like a credential, naming the line and never its content.

    Args:
        known: Credentials of this very program.
        left_out: Whether a text may have come from a journal, which leaves secrets out: where it has left one
            out, the text is refused as it was when the secret was there.
    """

    name: str = "secrets"

    def __init__(self, known: Iterable[str] = (), *, left_out: bool = False) -> None:
        exact = "|".join(re.escape(one) for one in known if one)
        shapes = [*_SHAPES, ("the key of this program", exact)] if exact else _SHAPES
        if left_out:
            shapes = [*shapes, ("a secret that was left out", re.escape(REDACTED))]
        self._shapes = [(what, re.compile(shape)) for what, shape in shapes]

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        """Allow: a secret can only come out of a tool here."""
        return _ALLOWED

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Refuse a text that holds a credential."""
        if not isinstance(value, str):
            return _ALLOWED
        for what, shape in self._shapes:
            found = shape.search(value)
            if found:
                number = value.count("\n", 0, found.start()) + 1
                return GuardrailOutcome(False, f"line {number} looks like {what}")
        return _ALLOWED
