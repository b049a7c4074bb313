"""The endpoint that comes with the demo, and all that goes wrong there, on a script.

It is a ``ChaosServer`` on a loopback port: real HTTP, a deterministic model that only knows the folder, and
faults at fixed places of each model's requests.  Nothing of this leaves the machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.cli.circuits import Patience
from techrevati.runtime.pricing import ModelPricing, register_pricing

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.chaos import InjectedRecord
    from techrevati.runtime.cli.demo_spend import Books

PREFERRED, SPARE = "demo-large", "demo-small"
PRICES = {PREFERRED: ModelPricing(2.0, 8.0), SPARE: ModelPricing(0.4, 1.6)}
ASKED_WAIT_S = 1.5  # when it is over, the circuit lets a call try
PATIENCE = Patience(
    first_wait_s=0.1,
    longest_backoff_s=0.2,
    longest_wait_s=5.0,
    failure_threshold=2,
    open_s=ASKED_WAIT_S,
    attempts=4,
    deadline_s=30.0,
)
SMALLEST_OVERFLOW = 300  # tokens; nobody would believe that less is too much, and it could not shrink
SECOND_EDITION_USD = 0.0001  # less than one request to the preferred model costs


def register_prices() -> None:
    """Let the books know what its models cost."""
    for model, pricing in PRICES.items():
        register_pricing(model, pricing)


def demo_endpoint(victim: str, on_request: Callable[[InjectedRecord], object] | None = None) -> ChaosServer:
    """The endpoint, not started yet; its model will once try to delete the file *victim*."""

    def at(model: str, first: int, last: int, fault: Fault) -> Rule:
        return Rule(fault, model=model, calls=((first, last),))

    misuse = Fault(FaultKind.TOOL_CALL, tool="delete_file", arguments={"path": victim})
    script = (
        at(PREFERRED, 2, 2, misuse),
        at(PREFERRED, 3, 4, Fault(FaultKind.UNAVAILABLE)),
        replace(at(SPARE, 3, 3, Fault(FaultKind.CONTEXT_OVERFLOW)), input_tokens_over=SMALLEST_OVERFLOW),
        at(SPARE, 5, 5, Fault(FaultKind.RESET)),
        at(SPARE, 7, 7, Fault(FaultKind.RATE_LIMIT, retry_after_s=ASKED_WAIT_S)),
        at(PREFERRED, 6, 6, Fault(FaultKind.RATE_LIMIT, retry_after_s=5.0)),
    )
    register_prices()
    return ChaosServer(Scenario("demo", script), seed=1, models=(PREFERRED, SPARE), on_request=on_request)


def compared(server: ChaosServer, books: Books) -> str:
    """What the endpoint's own bill says, beside our books, and where they differ."""
    server.wait_idle()
    bill = server.bill
    read, written = bill.usage.prompt_tokens, bill.usage.output_tokens
    told = f"The endpoint's own bill: {bill.requests} requests, {read:,} tokens in, {written:,} out, "
    told += f"${bill.cost_usd or 0:f}."
    sums = books.sums()
    if sums is None:
        return told
    ours, guessed = sums
    told += f" On our books: {ours.calls + guessed.calls} requests. {ours.calls} are measured: "
    told += f"{ours.input_tokens:,} tokens in, {ours.output_tokens:,} out, ${ours.cost_usd:f}"
    lost_in, lost_out = read - ours.input_tokens, written - ours.output_tokens
    if not guessed.calls:
        return f"{told}; " + ("the same." if not (lost_in or lost_out) else "that is not the same!")
    one = guessed.calls == 1
    told += f". {guessed.calls} {'is an estimate' if one else 'are estimates'}, as "
    told += "its answer was" if one else "their answers were"
    told += f" lost on the way: taken for {guessed.input_tokens:,} tokens in, ${guessed.cost_usd:f}, where "
    return told + f"the endpoint bills {lost_in:,} in and {lost_out:,} out."
