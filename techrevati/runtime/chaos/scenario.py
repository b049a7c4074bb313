"""Which request meets which fault.

A scenario is a list of rules; the first rule that fits a request decides.  What has happened so far is a
frozen ``Tally``, so the same requests in the same order always meet the same faults.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.chaos.faults import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Sequence

APIS = ("openai", "anthropic")


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault and when it happens; every condition that is given must hold.

    Attributes:
        model: A pattern such as ``gpt-*``.
        api: ``openai`` or ``anthropic``; "" for both.
        stream: True for streamed answers only, False for plain ones only.
        calls: Numbers of the requests, from 1, as (first, last) pairs; last None is "and all later ones".
            Requests are counted for each rule by model, api and stream.
        every: Each n-th of those requests.
        probability: Share of them, drawn from the seed and the request's number, never from the clock.
        from_s, until_s: Seconds of scenario time since the server started; until is exclusive.
        times: At most so often.
        input_tokens_over: Only requests with more input tokens.
        requests_over, per_s: A real limit: so many requests pass in each *per_s* seconds, the others meet
            the fault; a rate limit then tells the rest of the window as Retry-After.
    """

    fault: Fault
    model: str = "*"
    api: str = ""
    stream: bool | None = None
    calls: tuple[tuple[int, int | None], ...] = ()
    every: int | None = None
    probability: float = 1.0
    from_s: float = 0.0
    until_s: float | None = None
    times: int | None = None
    input_tokens_over: int | None = None
    requests_over: int | None = None
    per_s: float | None = None

    def __post_init__(self) -> None:
        arguments.text("model", self.model)
        if self.api not in ("", *APIS):
            raise ValueError(f"api must be openai or anthropic, got {self.api!r}")
        for first, last in self.calls:
            arguments.count("calls", first, minimum=1)
            if last is not None and last < first:
                raise ValueError(f"calls must be ranges such as 2-5, got {first}-{last}")
        if self.every is not None:
            arguments.count("every", self.every, minimum=1)
        if arguments.number("probability", self.probability) > 1:
            raise ValueError(f"probability must be a number from 0 to 1, got {self.probability!r}")
        arguments.number("from_s", self.from_s)
        if self.until_s is not None and arguments.number("until_s", self.until_s) <= self.from_s:
            raise ValueError(f"until_s must be later than from_s ({self.from_s:g}), got {self.until_s!r}")
        for name in ("times", "input_tokens_over", "requests_over"):
            value: int | None = getattr(self, name)
            if value is not None:
                arguments.count(name, value)
        if (self.requests_over is None) != (self.per_s is None):
            raise ValueError("requests_over and per_s must be given together")
        if self.per_s is not None and arguments.number("per_s", self.per_s) == 0:
            raise ValueError(f"per_s must be greater than 0, got {self.per_s!r}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What rules look at in a request."""

    model: str
    api: str
    stream: bool
    input_tokens: int
    at_s: float


@dataclass(frozen=True, slots=True)
class RuleTally:
    """What one rule remembers: requests it counted, faults it gave, and its current window."""

    seen: int = 0
    given: int = 0
    window_start_s: float = 0.0
    passed: int = 0


Tally = tuple[RuleTally, ...]


def checked_seed(seed: int) -> int:
    """*seed*, which may be any integer; anything else is a TypeError."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    return seed


@dataclass(frozen=True, slots=True)
class Scenario:
    """Named rules; an empty scenario lets everything pass.

    *seed* makes the draws of ``probability`` repeatable; a server's own seed wins.
    """

    name: str = "calm"
    rules: tuple[Rule, ...] = ()
    description: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        arguments.text("name", self.name)
        checked_seed(self.seed)
        for one in self.rules:
            if not isinstance(one, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"rules must be Rule objects, got {one!r}")

    @classmethod
    def script(cls, faults: Sequence[Fault | None], name: str = "script") -> Scenario:
        """The n-th request meets the n-th of *faults*; None and all requests after the last pass."""
        numbered = [(n, fault) for n, fault in enumerate(faults, 1) if fault is not None]
        return cls(name, tuple(Rule(fault, calls=((n, n),)) for n, fault in numbered))

    @classmethod
    def load(cls, source: str | Path) -> Scenario:
        """A bundled scenario by its name, or the TOML file at a path.

        Raises:
            ScenarioError: Not found, or not valid; says where and what is allowed.
        """
        from techrevati.runtime.chaos.scenario_file import load

        return load(source)

    @classmethod
    def from_toml(cls, text: str, source: str = "scenario") -> Scenario:
        """The scenario that *text* describes; *source* is how errors call it."""
        from techrevati.runtime.chaos.scenario_file import read

        return read(text, source)

    @staticmethod
    def bundled() -> tuple[str, ...]:
        """Names of the scenarios that come with the package."""
        return tuple(sorted(file.stem for file in (Path(__file__).parent / "scenarios").glob("*.toml")))


def decided(
    rules: Sequence[Rule], tally: Tally, asked: Asked, seed: int
) -> tuple[Tally, int | None, Fault | None]:
    """The tally after one request, the number of the rule that decided, and its fault; None: it passes."""
    state = list(tally or (RuleTally(),) * len(rules))
    hit: int | None = None
    told_s: float | None = None
    for index, rule in enumerate(rules):
        if not _concerns(rule, asked):
            continue
        state[index] = one = replace(state[index], seen=state[index].seen + 1)
        if hit is None and _holds(rule, one, asked) and _drawn(rule, seed, index, one.seen):
            state[index], told_s, fires = _limited(rule, one, asked.at_s)
            hit = index if fires else None
    if hit is None:
        return tuple(state), None, None
    state[hit] = replace(state[hit], given=state[hit].given + 1)
    fault = rules[hit].fault
    if fault.kind is FaultKind.RATE_LIMIT and fault.retry_after_s is None:
        fault = replace(fault, retry_after_s=1.0 if told_s is None else told_s)
    return tuple(state), hit, fault


def _concerns(rule: Rule, asked: Asked) -> bool:
    return (
        fnmatchcase(asked.model, rule.model)
        and rule.api in ("", asked.api)
        and rule.stream in (None, asked.stream)
    )


def _holds(rule: Rule, one: RuleTally, asked: Asked) -> bool:
    n = one.seen
    numbered = not rule.calls or any(first <= n and (last is None or n <= last) for first, last in rule.calls)
    return (
        numbered
        and (rule.every is None or n % rule.every == 0)
        and rule.from_s <= asked.at_s
        and (rule.until_s is None or asked.at_s < rule.until_s)
        and (rule.times is None or one.given < rule.times)
        and (rule.input_tokens_over is None or asked.input_tokens > rule.input_tokens_over)
    )


def _drawn(rule: Rule, seed: int, index: int, n: int) -> bool:
    if rule.probability >= 1.0:
        return True
    digest = hashlib.sha256(f"{seed}:{index}:{n}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56) < rule.probability


def _limited(rule: Rule, one: RuleTally, now_s: float) -> tuple[RuleTally, float | None, bool]:
    """The tally, the rest of a used-up window, and whether the fault happens."""
    if rule.requests_over is None or rule.per_s is None:
        return one, None, True
    if one.passed == 0 or now_s >= one.window_start_s + rule.per_s:
        one = replace(one, window_start_s=now_s, passed=0)
    if one.passed < rule.requests_over:
        return replace(one, passed=one.passed + 1), None, False
    return one, one.window_start_s + rule.per_s - now_s, True
