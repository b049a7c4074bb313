"""How each peer is used, and what it does that a comparison of speed must not hide.

A peer is imported by name when it is asked for, so that a missing one is a line in the report and not a
crash.  Each is used in the quickest way that its own documentation shows.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.harness import Subject, Timed

PATIENCE_S = 0.3  # to tell a caller that waits from one that is slow
RECOVERY_S = 0.05
FOREVER_S = 3600.0
FAILURES = 5
MOST_FAILURES = 50  # rate-based breakers want a minimum of calls first


class Fault(Exception):
    """What the dependency raises."""


@dataclass(frozen=True)
class Face:
    """One way to call through a breaker.

    Attributes:
        code: Leaves the answer of ``fn`` in ``result``; knows ``breaker`` and ``fn``, or ``guarded``.
        build: Makes a breaker from the peer's module and the recovery time in seconds.
        decorates: The breaker is a decorator and *code* calls ``guarded``.
    """

    code: str
    build: Callable[[Any, float], Any]
    decorates: bool = False

    def subject(
        self, name: str, module: Any, fn: Callable[[], Any], recovery_s: float, awaits: bool
    ) -> Subject:
        """The call as something to be run and timed."""
        breaker = self.build(module, recovery_s)
        names = {"guarded": breaker(fn)} if self.decorates else {"breaker": breaker, "fn": fn}
        return Subject(name, self.code, names, awaits=awaits)


@dataclass(frozen=True)
class BreakerPeer:
    """A circuit breaker of somebody else; a face that it does not have is None."""

    distribution: str
    module: str
    refusal: str  # "module:attribute" of the exception it refuses with
    sync: Face | None
    asynchronous: Face | None
    note: str = ""

    def load(self) -> Any:
        """Its module."""
        return import_module(self.module)

    def refuses_with(self) -> type[Exception]:
        """The exception that says "open"."""
        module, _, attribute = self.refusal.partition(":")
        kind: type[Exception] = getattr(import_module(module), attribute)
        return kind

    def face(self, *, awaits: bool) -> Face:
        """The face of one colour."""
        face = self.asynchronous if awaits else self.sync
        if face is None:
            raise LookupError("asyncio: not supported" if awaits else "asyncio only")
        return face

    def tripped(self, *, awaits: bool) -> tuple[Subject, type[Exception]]:
        """A call that is refused from now on, and what it is refused with."""

        def fail() -> int:
            raise Fault

        async def afail() -> int:
            raise Fault

        face = self.face(awaits=awaits)
        fn = afail if awaits else fail
        call = face.subject(self.distribution, self.load(), fn, FOREVER_S, awaits)
        kind = self.refuses_with()
        trip(call, kind)
        return call, kind

    def manners(self) -> str:
        """What it does with a second caller, closed and half-open, in a few words."""
        try:
            found = [self.note, *self._manners()]
        except Exception as error:
            found = [f"check failed: {error!r}"]
        return "; ".join(filter(None, found))

    def _manners(self) -> list[str]:
        awaits = self.sync is None
        stage = Stage()
        face = self.face(awaits=awaits)
        fn = stage.aplay if awaits else stage.play
        call = face.subject(self.distribution, self.load(), fn, RECOVERY_S, awaits)
        kind = self.refuses_with()
        run = Timed(call).once
        notes = []
        if stage.second_caller(run, kind) == "waits":
            notes.append("runs one call at a time")
        stage.fails = True
        trip(call, kind)
        stage.fails = False
        time.sleep(RECOVERY_S * 1.5)
        second = stage.second_caller(run, kind)
        if second != "refused":
            notes.append(f"half-open: a second caller {second}")
        return notes


class Stage:
    """A dependency that can fail, and in which one caller can be kept while another one comes."""

    def __init__(self) -> None:
        self.fails = False
        self._hold: threading.Event | None = None
        self._inside = threading.Event()

    def play(self) -> int:
        """What the callers call."""
        if self.fails:
            raise Fault
        hold, self._hold = self._hold, None
        if hold is not None:
            self._inside.set()
            hold.wait(10)
        return 1

    async def aplay(self) -> int:
        """The same; each caller has a thread and an event loop of its own."""
        return self.play()

    def second_caller(self, run: Callable[[], object], refusal: type[Exception]) -> str:
        """What happens to a caller while another one is inside: "enters", "waits", "refused" or "fails"."""
        said: list[str] = []

        def second() -> None:
            try:
                run()
            except refusal:
                said.append("refused")
            except Exception:
                said.append("fails")
            else:
                said.append("enters")

        release = self._hold = threading.Event()
        self._inside.clear()
        first = threading.Thread(target=_ignoring_errors, args=(run,), daemon=True)
        other = threading.Thread(target=second, daemon=True)
        first.start()
        if not self._inside.wait(10):
            raise TimeoutError("the first caller never got in")
        other.start()
        other.join(PATIENCE_S)
        outcome = said[0] if said else "waits"
        release.set()
        first.join(10)
        other.join(10)
        return outcome


def trip(call: Subject, refusal: type[Exception]) -> None:
    """Let *call* fail until it is refused."""
    run = Timed(call).once
    for _ in range(MOST_FAILURES):
        try:
            run()
        except refusal:
            return
        except Fault:
            continue
    raise AssertionError(f"still closed after {MOST_FAILURES} failures")


def _ignoring_errors(run: Callable[[], object]) -> None:
    try:
        run()
    except Exception:
        return


def _timedelta(seconds: float) -> object:
    from datetime import timedelta

    return timedelta(seconds=seconds)


BREAKERS = (
    BreakerPeer(
        "pybreaker",
        "pybreaker",
        "pybreaker:CircuitBreakerError",
        Face("result = breaker.call(fn)", lambda m, s: m.CircuitBreaker(fail_max=FAILURES, reset_timeout=s)),
        None,
    ),
    BreakerPeer(
        "circuitbreaker",
        "circuitbreaker",
        "circuitbreaker:CircuitBreakerError",
        # Not ``breaker.call``: that counts but never refuses; only the decorator does.
        Face("result = guarded()", lambda m, s: m.CircuitBreaker(FAILURES, s), decorates=True),
        Face("result = await guarded()", lambda m, s: m.CircuitBreaker(FAILURES, s), decorates=True),
    ),
    BreakerPeer(
        "aiobreaker",
        "aiobreaker",
        "aiobreaker:CircuitBreakerError",
        Face("result = breaker.call(fn)", lambda m, s: m.CircuitBreaker(FAILURES, _timedelta(s))),
        Face("result = await breaker.call_async(fn)", lambda m, s: m.CircuitBreaker(FAILURES, _timedelta(s))),
    ),
    BreakerPeer(
        "purgatory",
        "purgatory",
        "purgatory.domain.model:OpenedState",
        Face(
            "with breaker:\n    result = fn()",
            lambda m, s: m.SyncCircuitBreakerFactory(FAILURES, s).get_breaker("bench"),
        ),
        Face(
            "async with breaker:\n    result = await fn()",
            lambda m, s: asyncio.run(m.AsyncCircuitBreakerFactory(FAILURES, s).get_breaker("bench")),
        ),
    ),
    BreakerPeer(
        "hyx",
        "hyx.circuitbreaker",
        "hyx.circuitbreaker.exceptions:BreakerFailing",
        None,
        Face(
            "result = await guarded()",
            lambda m, s: m.consecutive_breaker(failure_threshold=FAILURES, recovery_time_secs=s),
            decorates=True,
        ),
    ),
    BreakerPeer(
        "interlock-cb",
        "interlock",
        "interlock:CircuitOpenError",
        Face(
            "result = breaker.call_sync(fn)",
            lambda m, s: m.CircuitBreaker(name="bench", config=m.Config(wait_duration_in_open=s)),
        ),
        Face(
            "result = await breaker.call_async(fn)",
            lambda m, s: m.CircuitBreaker(name="bench", config=m.Config(wait_duration_in_open=s)),
        ),
        note="failure rate",
    ),
    BreakerPeer(
        "nopanic",
        "nopanic",
        "nopanic:CircuitOpen",
        Face("result = breaker.call(fn)", lambda m, s: m.CircuitBreaker(min_calls=FAILURES, reset_timeout=s)),
        Face(
            "result = await breaker.acall(fn)",
            lambda m, s: m.CircuitBreaker(min_calls=FAILURES, reset_timeout=s),
        ),
        note="failure rate",
    ),
    BreakerPeer(
        "pyresilience",
        "pyresilience",
        "pyresilience:CircuitOpenError",
        Face("result = guarded()", lambda m, s: _pyresilience(m, s), decorates=True),
        Face("result = await guarded()", lambda m, s: _pyresilience(m, s), decorates=True),
    ),
)

LIFECYCLES = (("transitions", "transitions"), ("python-statemachine", "statemachine"))

RETRIES = ("backoff", "stamina", "tenacity")

PRICERS = ("genai-prices", "litellm", "tokencost")

LIMITERS = ("runbound",)

DISTRIBUTIONS = (
    *(peer.distribution for peer in BREAKERS),
    *(name for name, _ in LIFECYCLES),
    *RETRIES,
    *PRICERS,
    *LIMITERS,
)


def _pyresilience(module: Any, recovery_s: float) -> Any:
    config = module.CircuitBreakerConfig(failure_threshold=FAILURES, recovery_timeout=recovery_s)
    return module.resilient(circuit_breaker=config)


def versions() -> dict[str, str]:
    """The version of every peer, or that it is not installed."""
    return {name: _version(name) for name in DISTRIBUTIONS}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
