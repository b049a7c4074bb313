"""A child of a fork finds every lock free, whoever held it at that moment."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.agent_events import AgentEvent
from techrevati.runtime.agent_lifecycle import AgentRegistry
from techrevati.runtime.bulkhead import Bulkhead
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker
from techrevati.runtime.failover import Failover, Target
from techrevati.runtime.failures import registered
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.integrations.sdk_call import _new_key
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.pricing import PRICING_TABLE, ModelPricing, cost_usd, register_pricing
from techrevati.runtime.pricing.registered import pricing_table
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import RecoveryContext, Retry, RetryBudget, retry as retry_module
from techrevati.runtime.sinks import JsonlEventSink
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import UsageTracker

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # That other threads run while it forks is what is tested.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def held_elsewhere(locks: list[Any], work: Callable[[], object]) -> int:
    """Fork while another thread holds *locks*; the exit status of a child that does *work*."""
    holding, over = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        holding.set()
        over.wait(30)
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert holding.wait(10)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(10)  # a child that hangs is killed by it
            work()
            os._exit(0)
        except BaseException:
            os._exit(7)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        over.set()
        thread.join(10)
    return os.waitstatus_to_exitcode(status)


def test_a_child_never_waits_for_a_thread_that_it_does_not_have(tmp_path: Path) -> None:
    """Forked while another thread holds the lock of each primitive, the child uses them all."""
    breaker, registry = CircuitBreaker("api", window_calls=2), BreakerRegistry()
    budget, bulkhead, limit = RetryBudget(), Bulkhead(1), RateLimit(600)
    failover, hedge = Failover([Target("near", str)]), Hedge(idempotent=True, delay_seconds=1)
    tracker, workers, recovery = UsageTracker(), AgentRegistry(), RecoveryContext()
    pipeline = Pipeline(CircuitBreaker("other"))
    sink = JsonlEventSink(tmp_path / "events.jsonl")
    event = AgentEvent.started("agent", "phase")

    def work() -> None:
        breaker.record_failure()
        registry.get("openai", "gpt")
        assert budget.take()
        with bulkhead:
            pass
        limit.reserve()
        failover.resting()
        hedge.snapshot()
        tracker.record_turn("", UsageSnapshot(1, 2))
        workers.list_active()
        assert recovery.events == []
        pipeline.observe_only = True
        sink.emit(event)
        assert sink.dropped == 0
        Retry._gave_up(ValueError())
        with registered._lock:
            pass
        register_pricing("of-a-child", ModelPricing(2, 3))
        assert cost_usd("of-a-child", UsageSnapshot(1_000_000)) == 2
        del PRICING_TABLE["of-a-child"]

    owners: list[Any] = [breaker, registry, budget, bulkhead, limit, failover, hedge, tracker, workers]
    owners += [recovery, pipeline, sink]
    locks = [owner._lock for owner in owners] + [retry_module._given_up_lock, registered._lock]
    locks.append(pricing_table.lock)
    assert held_elsewhere(locks, work) == 0
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1
    work()  # the parent's locks were not touched
    sink.close()


def test_the_test_can_fail() -> None:
    """A plain lock that another thread holds hangs the child until the alarm."""
    lock = threading.Lock()

    def work() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        lock.acquire()

    assert held_elsewhere([lock], work) == -signal.SIGALRM


def test_idempotency_keys_of_a_fork_are_its_own() -> None:
    """Parent and child go on from the same number, and no provider may take one's call for the other's."""
    before = _new_key()

    def work() -> None:
        assert uuid.UUID(_new_key().removeprefix("stainless-python-retry-")).version == 4
        assert _new_key().rpartition("-")[0] != before.rpartition("-")[0]

    assert held_elsewhere([], work) == 0
    assert _new_key().rpartition("-")[0] == before.rpartition("-")[0]
    assert len({_new_key() for _ in range(100)}) == 100
