"""Decide what may go into a tool or a model and what may come out of it.

A guardrail looks before and after a tool runs, at the arguments and the result, and at the prompt and the
answer of a turn.  They are asked in order; each sees what those before it rewrote; the first violation raises
and those behind it are not consulted.  One that fails blocks.
"""

from __future__ import annotations

from techrevati.runtime.guardrails.chain import GuardrailChain, run_post_checks, run_pre_checks
from techrevati.runtime.guardrails.json_schema import JsonSchema, SchemaGuardrail, SchemaProblem
from techrevati.runtime.guardrails.patterns import (
    PatternGuardrail,
    PiiGuardrail,
    PromptInjectionGuardrail,
    SecretsGuardrail,
)
from techrevati.runtime.guardrails.places import PathGuardrail, UrlGuardrail
from techrevati.runtime.guardrails.size import SizeGuardrail
from techrevati.runtime.guardrails.vocabulary import (
    AllowAllGuardrail,
    Guardrail,
    GuardrailOutcome,
    GuardrailStage,
    GuardrailViolatedError,
)

__all__ = [
    "AllowAllGuardrail",
    "Guardrail",
    "GuardrailChain",
    "GuardrailOutcome",
    "GuardrailStage",
    "GuardrailViolatedError",
    "JsonSchema",
    "PathGuardrail",
    "PatternGuardrail",
    "PiiGuardrail",
    "PromptInjectionGuardrail",
    "SchemaGuardrail",
    "SchemaProblem",
    "SecretsGuardrail",
    "SizeGuardrail",
    "UrlGuardrail",
    "run_post_checks",
    "run_pre_checks",
]
