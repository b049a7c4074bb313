"""Retries, windows and stacks of policies of others: how each is used, and what it does otherwise.

What a peer repeats, and how soon, is tried out before it is timed: a line of the report says it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.harness import Subject, answer, async_answer

ASKED_S = 0.25  # what the provider asks to wait, longer than any first wait of the peers as built here
FIRST_WAIT_S = 0.01


@dataclass(frozen=True)
class PolicyPeer:
    """Somebody else's policies around one call, as a decorator of ``def`` and ``async def``.

    Attributes:
        distribution: Whose.
        module: Its module.
        build: Makes the decorator from the module.
        note: What a reader must know, beside what is tried out.
        retries: Whether what it repeats is tried out.
    """

    distribution: str
    module: str
    build: Callable[[Any], Callable[[Any], Any]]
    note: str = ""
    retries: bool = True

    def subject(self, *, awaits: bool) -> Subject:
        """The decorated call, to be run and timed."""
        guarded = self.build(import_module(self.module))(async_answer if awaits else answer)
        code = "result = await guarded()" if awaits else "result = guarded()"
        return Subject(
            self.distribution,
            code,
            {"guarded": guarded},
            1,
            awaits=awaits,
            check=lambda: self.manners(awaits),
        )

    def manners(self, awaits: bool) -> str:
        """What it does with a bug of the caller's, and with a provider that asks to wait."""
        found = [self.note]
        if self.retries:
            module = import_module(self.module)
            bug, asks = Script(TypeError("a bug")), Script(AskedError())
            for script in (bug, asks):
                script.play(self.build(module), awaits)
            if bug.calls > 1:
                found.append("repeats a bug")
            if asks.calls < 2:
                found.append("does not repeat a refusal")
            elif asks.gap_s < ASKED_S * 0.9:
                found.append("comes back sooner than Retry-After asks")
        return "; ".join(filter(None, found))


class AskedError(Exception):
    """A refusal that asks to wait, in the two ways in which exceptions carry that."""

    status_code = 429
    retry_after = ASKED_S

    def __init__(self) -> None:
        super().__init__("rate limit reached")
        self.headers = {"retry-after": str(ASKED_S)}


class Script:
    """A dependency that fails once with *error*, and remembers when it was called."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.calls = 0
        self.gap_s = 0.0
        self._at_s = 0.0

    def play(self, decorate: Callable[[Any], Any], awaits: bool) -> None:
        """Call it through *decorate* until that is content or gives up."""

        def fail() -> int:
            now_s = time.monotonic()
            self.calls += 1
            if self.calls == 2:
                self.gap_s = now_s - self._at_s
            self._at_s = now_s
            if self.calls == 1:
                raise self._error
            return 1

        async def afail() -> int:
            return fail()

        async def played() -> None:
            await decorate(afail)()

        try:
            if awaits:
                asyncio.run(played())
            else:
                decorate(fail)()
        except Exception:
            return


def _tenacity(m: Any) -> Any:
    return m.retry(stop=m.stop_after_attempt(3), wait=m.wait_random_exponential(FIRST_WAIT_S))


def _stamina(m: Any) -> Any:
    return m.retry(on=Exception, attempts=3, wait_initial=FIRST_WAIT_S)


def _backoff(m: Any) -> Any:
    return m.on_exception(m.expo, Exception, max_tries=3, factor=FIRST_WAIT_S)


def _pyresilience(m: Any) -> Any:
    return m.resilient(retry=m.RetryConfig(max_attempts=3, delay=FIRST_WAIT_S))


def _nopanic(m: Any) -> Any:
    return m.retry(attempts=3, backoff=FIRST_WAIT_S)


RETRIES = (
    PolicyPeer("tenacity", "tenacity", _tenacity),
    PolicyPeer("stamina", "stamina", _stamina),
    PolicyPeer("backoff", "backoff", _backoff),
    PolicyPeer("pyresilience", "pyresilience", _pyresilience),
    PolicyPeer("nopanic", "nopanic", _nopanic),
)


def _interlock_window(kind: str) -> Callable[[Any], Any]:
    def build(m: Any) -> Any:
        config = m.Config(window_type=m.WindowType[kind], window_size=100 if kind == "COUNT_BASED" else 60)
        return m.CircuitBreaker(name="bench", config=config)

    return build


COUNT_WINDOWS = (
    PolicyPeer("interlock-cb", "interlock", _interlock_window("COUNT_BASED"), retries=False),
    PolicyPeer(
        "pyresilience",
        "pyresilience",
        lambda m: m.resilient(
            circuit_breaker=m.CircuitBreakerConfig(sliding_window_size=100, minimum_calls=10)
        ),
        retries=False,
    ),
)
TIME_WINDOWS = (
    PolicyPeer("interlock-cb", "interlock", _interlock_window("TIME_BASED"), retries=False),
    PolicyPeer(
        "nopanic",
        "nopanic",
        lambda m: m.CircuitBreaker(min_calls=10, window=60.0),
        "outcomes expire in steps of 6 s",
        retries=False,
    ),
)


def _stack(timed: bool) -> tuple[PolicyPeer, ...]:
    def nopanic(m: Any) -> Any:
        parts = [m.retry(attempts=3, backoff=FIRST_WAIT_S), m.CircuitBreaker()]
        return m.compose(m.timeout(30), *parts) if timed else m.compose(*parts)

    def interlock(m: Any) -> Any:
        builder = m.Pipeline.builder()
        builder = builder.timeout(30) if timed else builder
        return builder.retry(attempts=3).circuit_breaker(m.CircuitBreaker(name="bench")).build()

    def pyresilience(m: Any) -> Any:
        more = {"timeout": m.TimeoutConfig(30, per_attempt=False)} if timed else {}
        retry = m.RetryConfig(max_attempts=3, delay=FIRST_WAIT_S)
        return m.resilient(retry=retry, circuit_breaker=m.CircuitBreakerConfig(), **more)

    pool = "sync: four threads for timed calls, a fifth waits" if timed else ""
    return (
        PolicyPeer("nopanic", "nopanic", nopanic),
        PolicyPeer("interlock-cb", "interlock", interlock, "retries are tenacity's"),
        PolicyPeer("pyresilience", "pyresilience", pyresilience, pool),
    )


STACKS, TIMED_STACKS = _stack(False), _stack(True)
