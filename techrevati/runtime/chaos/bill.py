"""What a provider would put on the bill, and what became of every request.

Token counts are integers and totals stay exact even when old records are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from techrevati.runtime.chaos.faults import FaultKind
    from techrevati.runtime.usage import UsageSnapshot

FREE = Decimal(0)
EXACT = Context(prec=200, traps=[Inexact])  # no sum of money is rounded, whatever the caller's context


@dataclass(frozen=True, slots=True)
class BilledUsage:
    """Tokens on the bill; each is counted once, with the names that ``UsageSnapshot`` gives them.

    Attributes:
        input_tokens: Neither read from nor written to a cache.
        output_tokens: Generated.
        cache_write_tokens: Written to a cache for 5 minutes.
        cache_read_tokens: Read from a cache.
        cache_write_1h_tokens: Written to a cache for an hour.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def __add__(self, other: BilledUsage) -> BilledUsage:
        return BilledUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """All tokens, cached ones included."""
        return self.prompt_tokens + self.output_tokens

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt, cached ones included."""
        written = self.cache_write_tokens + self.cache_write_1h_tokens
        return self.input_tokens + written + self.cache_read_tokens

    def snapshot(self) -> UsageSnapshot:
        """The same counts as the usage of a client's books."""
        from techrevati.runtime.usage import UsageSnapshot

        return UsageSnapshot(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_write_tokens=self.cache_write_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
        )


NOTHING = BilledUsage()


class Outcome(str, Enum):
    """How a request ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    REFUSED = "refused"  # an error status; nothing is billed
    DAMAGED = "damaged"  # reset, cut off, broken, or ended by an error event
    ABORTED = "aborted"  # the client went away, or the server was stopped
    INVALID = "invalid"  # the request itself was wrong; nothing is billed
    FAILED = "failed"  # a bug in this server, or in what it was given; answered 500, nothing is billed


@dataclass(frozen=True, slots=True)
class InjectedRecord:
    """One physical request: what was injected and what it cost.

    Attributes:
        sequence: Number of the request, from 1, in the order of arrival.
        fault: What was injected; None for nothing.
        rule: Number of the scenario's rule that decided, from 0.
        status: HTTP status sent; None when the connection died before.
        call: Same for all attempts of one call, as far as the client shows it; see ``docs/chaos.md``.
        connection: Number of the connection that it came on.
        arrived_s, ended_s: Seconds of scenario time since the start; ended None while running.
        retry_after_s: The wait that was told, in seconds of scenario time.
        retryable: Whether the same request may succeed later; None when it was not refused or damaged.
        carries: Sequence numbers of cut-off answers whose text this request brings back as if complete.
        cost_usd: What *billed* costs, exactly; None when it costs something and no price is known.
        attempt: Which attempt of its call it is, from 1.
        credential: Number of the API key in the order of first use, 0 without one; keys are never kept.
        digest: The same for requests with the same path and body.
        named: The client named the call itself (``x-client-request-id`` or ``idempotency-key``).
    """

    sequence: int
    api: str
    path: str
    model: str
    fault: FaultKind | None
    rule: int | None
    status: int | None
    stream: bool
    outcome: Outcome
    billed: BilledUsage
    request_id: str
    call: str
    connection: int
    arrived_s: float
    ended_s: float | None = None
    retry_after_s: float | None = None
    retryable: bool | None = None
    carries: tuple[int, ...] = ()
    cost_usd: Decimal | None = None
    attempt: int = 1
    credential: int = 0
    digest: str = ""
    named: bool = False


@dataclass(frozen=True, slots=True)
class ModelBill:
    """One model's line.

    Attributes:
        requests: Physical requests.
        billed_requests: Those that cost something.
        usage: Their tokens.
        cost_usd: Their cost, exactly; None as soon as one of them has no known price.
    """

    requests: int = 0
    billed_requests: int = 0
    usage: BilledUsage = NOTHING
    cost_usd: Decimal | None = FREE

    def with_request(self, usage: BilledUsage, cost_usd: Decimal | None = None) -> ModelBill:
        """The line after one more request."""
        return ModelBill(
            self.requests + 1,
            self.billed_requests + (usage != NOTHING),
            self.usage + usage,
            _sum_usd((self.cost_usd, FREE if usage == NOTHING else cost_usd)),
        )


@dataclass(frozen=True, slots=True)
class Bill:
    """The whole bill, by model; requests that are still running count with what was generated so far."""

    models: Mapping[str, ModelBill] = field(default_factory=lambda: MappingProxyType(dict[str, ModelBill]()))

    @classmethod
    def of(cls, settled: Mapping[str, ModelBill], running: Iterable[InjectedRecord] = ()) -> Bill:
        """The bill of *settled* lines and of records that are still *running*."""
        models = dict(settled)
        for one in running:
            models[one.model] = models.get(one.model, ModelBill()).with_request(one.billed, one.cost_usd)
        return cls(MappingProxyType(models))

    def _total(self) -> BilledUsage:
        return sum((one.usage for one in self.models.values()), NOTHING)

    @property
    def requests(self) -> int:
        """Physical requests, refused and invalid ones included."""
        return sum(one.requests for one in self.models.values())

    @property
    def billed_requests(self) -> int:
        """Requests that cost something."""
        return sum(one.billed_requests for one in self.models.values())

    @property
    def usage(self) -> BilledUsage:
        """All tokens on the bill."""
        return self._total()

    @property
    def cost_usd(self) -> Decimal | None:
        """The whole cost in US dollars, exactly; None when a model on it has no known price."""
        return _sum_usd(one.cost_usd for one in self.models.values())

    @property
    def input_tokens(self) -> int:
        """Input tokens that were not cached."""
        return self._total().input_tokens

    @property
    def output_tokens(self) -> int:
        """Output tokens."""
        return self._total().output_tokens

    @property
    def cached_tokens(self) -> int:
        """Input tokens read from a cache."""
        return self._total().cache_read_tokens

    @property
    def cache_write_tokens(self) -> int:
        """Input tokens written to a cache for 5 minutes."""
        return self._total().cache_write_tokens

    @property
    def cache_write_1h_tokens(self) -> int:
        """Input tokens written to a cache for an hour."""
        return self._total().cache_write_1h_tokens


def _sum_usd(costs: Iterable[Decimal | None]) -> Decimal | None:
    total = FREE
    for cost in costs:
        if cost is None:
            return None
        total = EXACT.add(total, cost)
    return total
