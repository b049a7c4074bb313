"""What a step is, and what a journal refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.errors import TechrevatiError, picklable, rebuilt

if TYPE_CHECKING:
    from typing import Any

    from techrevati.runtime.failures import Failure

_FACTS = (
    "retryable",
    "retry_after",
    "origin",
    "provider",
    "status_code",
    "code",
    "request_id",
    "scenario",
)
INTENT = "intent"
DONE = "done"
FAILED = "failed"
IN_DOUBT = "in_doubt"
NOT_DONE = "not_done"


class Step(NamedTuple):
    """One step of a run as it is on record.

    Attributes:
        key: Its name within the run.
        kind: "step", "turn", "tool" or "input".
        name: Of the tool or model.
        arguments: Hash of its arguments; empty when it was given none.
        state: "intent" (under way), "done", "failed", or "in_doubt": begun, and nobody knows how it ended.
        lane: Its place among the steps that the run made one after the other; None for parallel ones.
        attempt: How often it was begun.
        at_s: When it was last begun or ended, in seconds since 1970.
        result: What it returned, as stored; None when nothing is stored.
        failure: What it raised, classified: type, message, kind and so on; None unless it failed.
        usage: What it used, as ``UsageSnapshot.to_dict``; None for no model call.
        cost_picodollars: What that cost, exactly: an integer or a fraction, as text.
    """

    key: str
    kind: str = "step"
    name: str = ""
    arguments: str = ""
    state: str = INTENT
    lane: int | None = None
    attempt: int = 1
    at_s: float = 0.0
    result: str | None = None
    failure: dict[str, object] | None = None
    usage: dict[str, object] | None = None
    cost_picodollars: str = "0"


class Happened(NamedTuple):
    """What ``verify`` returns for a step whose effect did happen: with this result."""

    result: object = None


class JournalError(TechrevatiError):
    """Root of what a journal refuses.

    Attributes:
        run_id: The run.
    """

    def __init__(self, run_id: str, problem: str) -> None:
        super().__init__(run_id, problem)
        self.run_id = run_id
        self.problem = problem

    def __str__(self) -> str:
        return f"run {self.run_id!r}: {self.problem}"


class RunBusyError(JournalError):
    """Somebody else has the run open, or took it over.

    Attributes:
        retry_after: Seconds until its lease ends, unless it is renewed.
        has_result: True when it was noticed only after a step was done: what that gave, and what may have
            been paid for, is then in ``result`` (which may be None).  The new owner finds the step in doubt.
        result: What the step gave.
        key: The step; None without a result.
    """

    def __init__(
        self,
        run_id: str,
        problem: str,
        retry_after: float | None = None,
        *,
        has_result: bool = False,
        result: object = None,
        key: str | None = None,
    ) -> None:
        super().__init__(run_id, problem)
        self.retry_after = retry_after
        self.has_result = has_result
        self.result = result
        self.key = key

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, picklable(self.__dict__, "result"))


class InDoubtError(JournalError):
    """A step was begun by somebody who died, and nobody knows whether its effect happened.

    Say so with ``Journal.resolve``, or give the step ``idempotent=True`` or ``verify=``.

    Attributes:
        step: The step.
    """

    def __init__(self, run_id: str, step: Step) -> None:
        super().__init__(run_id, f"step {step.key!r} was begun and never ended; did it happen?")
        self.step = step


class ReplayMismatchError(JournalError, ValueError):
    """The program asks for another step than the one on record: it was changed since.

    Attributes:
        recorded, asked: Both sides; ``recorded`` is None where the record has ended, ``asked`` where the
            program ended before it.
    """

    def __init__(self, run_id: str, recorded: Step | None, asked: Step | None, detail: str = "") -> None:
        was = "nothing more" if recorded is None else _shown(recorded)
        wanted = "nothing more" if asked is None else _shown(asked)
        text = f"recorded is {was}, the program asks for {wanted}"
        super().__init__(run_id, f"{text} ({detail})" if detail else text)
        self.recorded = recorded
        self.asked = asked


class ResultNotStorableError(JournalError, TypeError):
    """A step was done, but its result cannot be stored; it will not run again.

    Attributes:
        key: The step.
        result: What it returned; None when it was lost with an earlier process.
        in_doubt: Not even that it was done could be stored (a full disk, say): it stays in doubt.
    """

    def __init__(self, run_id: str, key: str, result: object, reason: str, *, in_doubt: bool = False) -> None:
        left = "; it stays in doubt" if in_doubt else ""
        super().__init__(run_id, f"step {key!r} is done, but its result cannot be stored: {reason}{left}")
        self.key = key
        self.result = result
        self.in_doubt = in_doubt

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, picklable(self.__dict__, "result"))


class RecordedFailureError(JournalError):
    """A step failed in an earlier life of the run, and fails again, without being called.

    Where the type of the error that was raised is known, this is also of that type.

    Attributes:
        key: The step.
        failure: What is on record: ``type``, ``message``, ``kind``, ``retryable`` and so on.
    """

    def __init__(self, run_id: str, key: str, failure: dict[str, object]) -> None:
        super().__init__(run_id, f"step {key!r} failed: {failure.get('type')}: {failure.get('message')}")
        self.key = key
        self.failure = failure

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (RecordedFailureError, self.args, dict(self.__dict__))

    def __on_record__(self) -> Failure:
        """What ``classify`` says of it: what it said when the step failed."""
        from techrevati.runtime.failures import Failure, FailureKind, FailureOrigin, FailureScenario

        known = self.failure
        told: dict[str, Any] = {name: known[name] for name in _FACTS if known.get(name) is not None}
        for name, kind in (("origin", FailureOrigin), ("scenario", FailureScenario)):
            if name in told:
                told[name] = kind(told[name])
        told["message"] = str(known.get("message", ""))
        return Failure(FailureKind(known.get("kind") or FailureKind.UNKNOWN), **told)


def _shown(step: Step) -> str:
    name = f" {step.name!r}" if step.name else ""
    arguments = f" with arguments {step.arguments[:12]}" if step.arguments else ""
    return f"{step.kind} {step.key!r}{name}{arguments}"
