"""A step that goes on after the call that began it returned: a stream.

It is begun like any other; what there is on record decides.  Then its owner says once how it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.journal.core import DOUBT
from techrevati.runtime.journal.vocabulary import FAILED, JournalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from techrevati.runtime.journal.run import RunJournal
    from techrevati.runtime.journal.vocabulary import Happened, Step


class OpenStep:
    """A step under way, or one that is on record.

    Attributes:
        replayed: True when it is on record; ``result`` is then what it gave.
        result: What it gave in an earlier life; None for one that is under way.
        step: What is on record of it.
    """

    __slots__ = ("_run", "replayed", "result", "step")

    def __init__(self, run: RunJournal, step: Step, *, replayed: bool, result: object = None) -> None:
        self._run = run
        self.step: Step = step
        self.replayed: bool = replayed
        self.result: object = result

    def done(self, result: object, usage: dict[str, object] | None, cost_picodollars: str) -> None:
        """It gave *result*.

        Raises:
            ResultNotStorableError, RunBusyError, StoreError: As of ``RunJournal.step``.
        """
        run = self._run
        try:
            run._done(self.step, result, lambda _: (usage or {}, cost_picodollars))
        except BaseException as error:
            run._give_up(self.step.key, error)
            raise
        finally:
            run._streams.discard(self.step.key)

    def failed(
        self, error: BaseException, usage: dict[str, object] | None = None, cost_picodollars: str = "0"
    ) -> None:
        """It raised *error*; one that was interrupted or left is in doubt from now on."""
        run = self._run
        try:
            run._failed(self.step, error, usage, cost_picodollars)
        finally:
            run._give_up(self.step.key, error)
            run._streams.discard(self.step.key)


def opened(
    run: RunJournal,
    asked: Step,
    idempotent: bool,
    verify: Callable[[], bool | Happened | None] | None,
    on_record: Callable[[Step], object] | None,
) -> OpenStep:
    """Begin *asked*, or find it on record."""
    recorded = _on_record(run, asked, on_record)
    if recorded is not None:
        return recorded
    try:
        found = run._looked_up(asked, idempotent)
        if found == DOUBT:
            found = run._settled(asked, None if verify is None else verify())
        return _begun(run, asked, idempotent, found, on_record)
    except BaseException as error:
        _not_begun(run, asked, error, on_record)
        raise


async def aopened(
    run: RunJournal,
    asked: Step,
    idempotent: bool,
    verify: Callable[[], Awaitable[bool | Happened | None] | bool | Happened | None] | None,
    on_record: Callable[[Step], object] | None,
) -> OpenStep:
    """:func:`opened` with a *verify* that may be a coroutine function."""
    from techrevati.runtime.journal.vocabulary import Happened

    recorded = _on_record(run, asked, on_record)
    if recorded is not None:
        return recorded
    try:
        found = run._looked_up(asked, idempotent)
        if found == DOUBT:
            said = None if verify is None else verify()
            if said is not None and not isinstance(said, (bool, Happened)):
                said = await said
            found = run._settled(asked, said)
        return _begun(run, asked, idempotent, found, on_record)
    except BaseException as error:
        _not_begun(run, asked, error, on_record)
        raise


def _on_record(run: RunJournal, asked: Step, on_record: Callable[[Step], object] | None) -> OpenStep | None:
    """It is done, and its result is here; or else nobody but its owner may begin it."""
    if run._is_on_record(asked):
        result = run._answer(asked.key, on_record)
        return OpenStep(run, run._steps[asked.key], replayed=True, result=result)
    if run._claim(asked) is not None:
        raise JournalError(run.run_id, f"step {asked.key!r} is under way")
    return None


def _begun(
    run: RunJournal,
    asked: Step,
    idempotent: bool,
    found: str,
    on_record: Callable[[Step], object] | None,
) -> OpenStep:
    if found != "run":
        result = run._answer(asked.key, on_record)
        return OpenStep(run, run._steps[asked.key], replayed=True, result=result)
    step = run._intend(asked, idempotent)
    run._streams.add(asked.key)
    return OpenStep(run, step, replayed=False)


def _not_begun(
    run: RunJournal, asked: Step, error: BaseException, on_record: Callable[[Step], object] | None
) -> None:
    run._give_up(asked.key, error)
    step = run._steps.get(asked.key)
    if on_record is not None and step is not None and step.state == FAILED and step.usage:
        run._tell(asked.key, on_record)  # a failure that was paid for
