"""One root for every error of ours, and the errors that several modules raise.

An error is its facts: attributes for code, ``str`` for people.  The root rebuilds an error from its
attributes without calling ``__init__``, so every subclass pickles and copies, whatever its constructor
looks like.  No slots, so that an error can also be the built-in exception it specialises.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class TechrevatiError(Exception):
    """Root of every error that ``techrevati.runtime`` raises on purpose.

    Errors pickle, copy and keep their attributes and notes; the cause and the traceback stay behind,
    as with every Python exception.
    """

    def __str__(self) -> str:
        if len(self.args) == 1:
            return str(self.args[0])
        return ", ".join(map(str, self.args)) or type(self).__name__

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, self.__dict__)


def rebuilt(
    kind: type[TechrevatiError], args: tuple[object, ...], facts: dict[str, object]
) -> TechrevatiError:
    """An error of *kind* with these *facts*, made without its constructor."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


def picklable(facts: dict[str, object], *names: str) -> dict[str, object]:
    """*facts*, with None for those of *names* that do not pickle."""
    import pickle

    kept = dict(facts)
    for name in names:
        try:
            pickle.dumps(kept.get(name))
        except Exception:
            kept[name] = None
    return kept


def _count(amount: float | None) -> str:
    """What is counted, without the decimals that it does not have."""
    return str(int(amount)) if isinstance(amount, float) and amount.is_integer() else str(amount)


def _dollars(amount: float) -> str:
    return "$" + f"{amount:.12f}".rstrip("0").rstrip(".")  # to the pico-dollar, and never 1e-05


class BudgetExceededError(TechrevatiError):
    """A spending limit is used up.

    Raised before a call that may no longer be made, or after one that went over; the latter carries what
    was paid for.  Pickling drops a result or usage that does not itself pickle and sets
    ``result_dropped``.

    Attributes:
        budget_usd: The limit in US dollars.
        current_cost_usd: What was spent when this was raised, in US dollars.
        has_result: True when a call was paid for; its answer is then in ``result`` (which may be None).
        result: What the paid call returned.
        usage: The tokens of the paid call, if known.
        limit, used, unit: The same for a limit that is not in US dollars.
        reason: "spent", or "busy" when what others have reserved may come back.
        retry_after: Seconds until it may fit; None when nothing says.
        budget: The name of the budget that refused.
        asked: The most that the refused call could have used, in US dollars or *unit*; None if not known.
        result_dropped: True on an unpickled copy that could not keep the result.
    """

    def __init__(
        self,
        budget_usd: float,
        current_cost_usd: float,
        *,
        has_result: bool = False,
        result: object = None,
        usage: object = None,
        limit: float | None = None,
        used: float | None = None,
        unit: str | None = None,
        reason: str = "spent",
        retry_after: float | None = None,
        budget: str | None = None,
        asked: float | None = None,
    ) -> None:
        super().__init__(budget_usd, current_cost_usd)
        self.budget_usd = budget_usd
        self.current_cost_usd = current_cost_usd
        self.has_result: bool = has_result or result is not None
        self.result = result
        self.usage = usage
        self.limit = limit
        self.used = used
        self.unit = unit
        self.reason: str = reason
        self.retry_after: float | None = retry_after
        self.budget: str | None = budget
        self.asked: float | None = asked
        self.result_dropped = False

    def __str__(self) -> str:
        if self.unit is not None:
            text = f"budget exceeded: {_count(self.used)} of {_count(self.limit)} {self.unit} used"
        else:
            text = f"budget exceeded: {_dollars(self.current_cost_usd)} of {_dollars(self.budget_usd)} spent"
        if self.budget is not None:
            text = f"{self.budget}: {text}"
        if self.reason == "busy":
            text += " or reserved by calls under way"
        if self.asked is not None:
            needs = f"cost {_dollars(self.asked)}" if self.unit is None else f"use {_count(self.asked)}"
            text += f", and the call may {needs}"
        if self.retry_after is not None:
            text += f"; try again in {self.retry_after:.3g} s"
        return text + ("; the paid result is in .result" if self.has_result else "")

    def __reduce__(self) -> tuple[object, ...]:
        import pickle

        facts = dict(self.__dict__)
        for name in ("result", "usage"):
            try:
                pickle.dumps(facts[name])
            except Exception:
                facts[name] = None
                facts["result_dropped"] = facts["result_dropped"] or name == "result"
        return rebuilt, (type(self), self.args, facts)

    def __copy__(self) -> Self:
        copied = rebuilt(type(self), self.args, self.__dict__)
        assert isinstance(copied, type(self))
        return copied


class DeadlineExceededError(TechrevatiError, TimeoutError):
    """The time for a whole piece of work is over.

    Attributes:
        seconds: How long it had.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        seconds = getattr(self, "seconds", None)  # unset in a subclass with a constructor of its own
        return "the deadline has passed" if seconds is None else f"the deadline of {seconds:g} s has passed"
