"""What a journal decides, without a clock, a store or a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.journal.vocabulary import DONE, FAILED, IN_DOUBT, INTENT, NOT_DONE, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

RUN, RETURN, RAISE, LOST, DOUBT = "run", "return", "raise", "lost", "doubt"


def begun(before: Step | None, asked: Step, now_s: float) -> Step:
    """The step once its intent is on record."""
    attempt = 1 if before is None else before.attempt + 1
    return Step(asked.key, asked.kind, asked.name, asked.arguments, INTENT, asked.lane, attempt, now_s)


def ended(
    step: Step,
    now_s: float,
    *,
    result: str | None = None,
    failure: dict[str, object] | None = None,
    usage: dict[str, object] | None = None,
    cost_picodollars: str = "0",
) -> Step:
    """The step after its outcome; only what is under way or in doubt can end."""
    if step.state not in (INTENT, IN_DOUBT):
        raise ValueError(f"step {step.key!r} has ended before: {step.state}")
    state = DONE if failure is None else FAILED
    key, kind, name, arguments, _, lane, attempt, *_ = step
    return Step(
        key, kind, name, arguments, state, lane, attempt, now_s, result, failure, usage, cost_picodollars
    )


def orphaned(step: Step) -> Step:
    """The step as whoever opens the run after its owner finds it."""
    return step._replace(state=IN_DOUBT) if step.state == INTENT else step


def latest(history: Iterable[Step]) -> dict[str, Step]:
    """Each step as it was last written, in the order in which they first began.

    One that somebody said did not happen is there, too: its next attempt must not be taken for that one.
    """
    return {step.key: step for step in history}


def same(recorded: Step, asked: Step) -> bool:
    """Whether the program asks for what is on record."""
    return (
        recorded.key == asked.key
        and recorded.arguments == asked.arguments
        and recorded.name == asked.name
        and recorded.kind == asked.kind
    )


def verdict(recorded: Step | None, idempotent: bool, ended_the_run: bool = False) -> str:
    """What to do about a step that is asked for: RUN it, RETURN or RAISE what is on record, say that its
    result is LOST, or settle the DOUBT.

    A failure after which nothing more came (it *ended the run*) is tried again where repeating is harmless.
    """
    if recorded is None or recorded.state == NOT_DONE:
        return RUN
    if recorded.state == DONE:
        return LOST if recorded.result is None else RETURN
    if recorded.state == FAILED:
        return RUN if ended_the_run and (idempotent or recorded.kind in ("turn", "stream")) else RAISE
    return RUN if idempotent else DOUBT
