"""The endpoint that comes with the demo, and all that goes wrong there, on a script.

It is a ``ChaosServer`` on a loopback port: real HTTP, a deterministic model that only knows the folder, and
faults at fixed places of each model's requests.  Nothing of this leaves the machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.cli.model_route import Patience
from techrevati.runtime.pricing import ModelPricing, register_pricing

if TYPE_CHECKING:
    from techrevati.runtime.cli.tally import Row

PREFERRED, SPARE = "demo-large", "demo-small"
PRICES = {PREFERRED: ModelPricing(2.0, 8.0), SPARE: ModelPricing(0.4, 1.6)}
PATIENCE = Patience(
    first_wait_s=0.1, longest_backoff_s=0.2, longest_wait_s=5.0, failure_threshold=2, open_s=1.0
)
SMALLEST_OVERFLOW = 300  # tokens; nobody would believe that less is too much, and it could not shrink
SECOND_EDITION_USD = 0.0001  # less than one request to the preferred model costs


def demo_endpoint(victim: str) -> ChaosServer:
    """The endpoint, not started yet; its model will once try to delete the file *victim*."""

    def at(model: str, first: int, last: int, fault: Fault) -> Rule:
        return Rule(fault, model=model, calls=((first, last),))

    misuse = Fault(FaultKind.TOOL_CALL, tool="delete_file", arguments={"path": victim})
    script = (
        at(PREFERRED, 2, 2, misuse),
        at(PREFERRED, 3, 4, Fault(FaultKind.UNAVAILABLE)),
        replace(at(SPARE, 3, 3, Fault(FaultKind.CONTEXT_OVERFLOW)), input_tokens_over=SMALLEST_OVERFLOW),
        at(SPARE, 5, 5, Fault(FaultKind.RESET)),
        at(PREFERRED, 6, 6, Fault(FaultKind.RATE_LIMIT, retry_after_s=0.3)),
    )
    for model, pricing in PRICES.items():
        register_pricing(model, pricing)
    return ChaosServer(Scenario("demo", script), seed=1, models=(PREFERRED, SPARE))


def compared(server: ChaosServer, ours: Row) -> str:
    """What the endpoint's own bill says, beside our books."""
    server.wait_idle()
    usage = server.bill.usage
    read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    lost = read - ours.input_tokens + usage.output_tokens - ours.output_tokens
    told = f"The endpoint's own bill: {server.bill.requests} requests, {read:,} tokens in, "
    told += f"{usage.output_tokens:,} out."
    if lost:
        told += f" {lost:,} of these tokens are of an answer that a reset connection lost on its way to us."
    return told
