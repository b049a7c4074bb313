"""What it takes to price a call, alone and into a session's sums; beside three packages that price, too."""

from __future__ import annotations

import os
from importlib import import_module

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, answer, compare_all, floor
from benchmarks.peers import PRICERS
from techrevati.runtime.pricing import PriceBook, cost_usd
from techrevati.runtime.pricing.files import read_bundled
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import UsageTracker

COST, RECORD, LOAD = Aim(1.5e-6, "s"), Aim(1e-6, "s"), Aim(15e-3, "s")
MODEL, ANSWER = "gpt-4o-mini", "0.0003"
USAGE = UsageSnapshot(input_tokens=800, output_tokens=200, cache_read_tokens=800)
SERVED = UsageSnapshot(input_tokens=800, output_tokens=200, cache_read_tokens=800, tier="default")


def _floor() -> Subject:
    return Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1)


def _peer(name: str) -> Subject:
    """The same call, as each package's documentation shows it."""
    if name == "genai-prices":
        peer = import_module("genai_prices")
        usage = peer.Usage(input_tokens=1600, output_tokens=200, cache_read_tokens=800)
        code = "result = f'{calc(usage, model_ref=model, provider_id=\"openai\").total_price.normalize():f}'"
        return Subject(name, code, {"calc": peer.calc_price, "usage": usage, "model": MODEL}, ANSWER)
    if name == "litellm":
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches prices when imported
        peer = import_module("litellm")
        code = (
            "given, made = cost(model, prompt_tokens=1600, completion_tokens=200, "
            "cache_read_input_tokens=800)\nresult = str(round(given + made, 9))"
        )
        return Subject(name, code, {"cost": peer.cost_per_token, "model": MODEL}, ANSWER)
    peer = import_module("tokencost")
    code = (
        "total = given(800, model, 'input') + given(800, model, 'cached') + given(200, model, 'output')\n"
        "result = f'{total.normalize():f}'"
    )
    return Subject(name, code, {"given": peer.calculate_cost_by_tokens, "model": MODEL}, ANSWER)


def _priced(peers: bool) -> Comparison:
    code = "result = f'{cost_usd(model, usage):f}'"
    subjects = [Subject("ours", code, {"cost_usd": cost_usd, "model": MODEL, "usage": USAGE}, ANSWER)]
    missing = []
    for name in PRICERS if peers else ():
        try:
            subjects.append(_peer(name))
        except Exception as error:
            missing.append(
                Subject(name, "raise problem", {"problem": error})
            )  # becomes a line of the report, not a crash
    return Comparison("cost, as text", _floor(), [*subjects, *missing])


def comparisons(*, peers: bool = False) -> list[Comparison]:
    """A known model's price, a record of it, a book's load."""
    tracker = UsageTracker()
    code = "result = cost_usd(model, usage)"
    cost = cost_usd(MODEL, USAGE)
    return [
        Comparison(
            f"cost_usd{what}",
            _floor(),
            [Subject("ours", code, {"cost_usd": cost_usd, "model": MODEL, "usage": usage}, cost)],
            COST,
        )
        for what, usage in (("", USAGE), (", the tier as the provider said it", SERVED))
    ] + [
        _priced(peers),
        Comparison(
            "UsageTracker.record_turn",
            _floor(),
            [
                Subject(
                    "ours",
                    "result = record(model, usage)",
                    {"record": tracker.record_turn, "model": MODEL, "usage": USAGE},
                )
            ],
            RECORD,
        ),
        Comparison(
            "bundled price book: load, and find a model",
            _floor(),
            [
                Subject(
                    "ours",
                    "result = PriceBook(read()).find(model).provider",
                    {"PriceBook": PriceBook, "read": read_bundled, "model": MODEL},
                    "openai",
                )
            ],
            LOAD,
        ),
    ]


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """All figures."""
    return compare_all(comparisons(peers=peers), effort)
