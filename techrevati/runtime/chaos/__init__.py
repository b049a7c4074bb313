"""A loopback LLM endpoint that fails on a script, keeps the bill, and judges its client.

``ChaosServer`` speaks OpenAI chat completions and responses and Anthropic messages, answers with a small
deterministic model, and injects the faults of a ``Scenario``.  Importing this package loads none of it until
a name is asked for.
"""

from __future__ import annotations

from techrevati.runtime._core.lazy import lazy_names

__all__ = [
    "Bill",
    "BilledUsage",
    "ChaosServer",
    "ChaosServerError",
    "FAULTS",
    "Fault",
    "FaultFacts",
    "FaultKind",
    "Finding",
    "InjectedRecord",
    "DEFAULT_PRICES",
    "ModelBill",
    "ModelPrice",
    "NOTHING_FOUND",
    "Outcome",
    "Rule",
    "Scenario",
    "ScenarioError",
    "Verdict",
    "VerdictError",
    "count_tokens",
    "extractive_reply",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.chaos.answers import NOTHING_FOUND
    from techrevati.runtime.chaos.bill import Bill, BilledUsage, InjectedRecord, ModelBill, Outcome
    from techrevati.runtime.chaos.extractive import extractive_reply
    from techrevati.runtime.chaos.faults import FAULTS, Fault, FaultFacts, FaultKind
    from techrevati.runtime.chaos.prices import DEFAULT_PRICES, ModelPrice
    from techrevati.runtime.chaos.scenario import Rule, Scenario
    from techrevati.runtime.chaos.scenario_file import ScenarioError
    from techrevati.runtime.chaos.server import ChaosServer, ChaosServerError
    from techrevati.runtime.chaos.tokens import count_tokens
    from techrevati.runtime.chaos.verdict import Finding, Verdict, VerdictError
else:
    _HOME = {
        "answers": "NOTHING_FOUND",
        "bill": "Bill BilledUsage InjectedRecord ModelBill Outcome",
        "extractive": "extractive_reply",
        "faults": "FAULTS Fault FaultFacts FaultKind",
        "prices": "DEFAULT_PRICES ModelPrice",
        "scenario": "Rule Scenario",
        "scenario_file": "ScenarioError",
        "server": "ChaosServer ChaosServerError",
        "tokens": "count_tokens",
        "verdict": "Finding Verdict VerdictError",
    }
    __getattr__, __dir__ = lazy_names(
        __name__, {name: module for module, names in _HOME.items() for name in names.split()}, []
    )
