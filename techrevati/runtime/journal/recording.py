"""A run as a file: one line of JSON for each entry of its journal, to keep beside a test or to send."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from techrevati.runtime.journal.journal import STEPS, Journal
from techrevati.runtime.journal.vocabulary import JournalError, Step
from techrevati.runtime.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from techrevati.runtime.journal.codec import Codec
    from techrevati.runtime.journal.run import RunJournal

FORMAT = 1
_ALL = 1 << 62


class Recording(NamedTuple):
    """A run and its history.

    Attributes:
        run_id: The run.
        state: How it ended.
        history: Its entries, in the order in which they were written.
    """

    run_id: str
    state: str
    history: tuple[Step, ...]


class Recorder(Journal):
    """Records one run and writes it to a file when it is closed, for a :class:`Replayer`.

    Nothing is on disk before that: for runs that must survive a crash take a :class:`Journal`, which a
    ``Replayer`` reads as well.  Opening a run forgets what was recorded before.

    Args:
        path: The file, replaced as a whole; its folder must exist.
        codec, redact, max_steps, clock: As for a :class:`Journal`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        codec: Codec | None = None,
        redact: Callable[[str], str] | None = None,
        max_steps: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            MemoryStore(clock=clock), codec=codec, redact=redact, max_steps=max_steps, clock=clock
        )
        self.path: str = os.fspath(path)

    def open(self, run_id: str) -> RunJournal:
        """Record a run from its beginning.

        Raises:
            RunBusyError: It is being recorded.
        """
        if any(run.run_id == run_id and run.state != "running" for run in self.runs()):
            self.store.trim(STEPS + run_id, _ALL)
        return super().open(run_id)

    def _closed(self, run_id: str) -> None:
        write_recording(self.path, Recording(run_id, self.run(run_id).state, tuple(self.history(run_id))))


def write_recording(path: str | PathLike[str], recording: Recording) -> None:
    """Write it, as a whole or not at all."""
    import json

    head = {"recording": FORMAT, "run_id": recording.run_id, "state": recording.state}
    lines = (json.dumps(line, ensure_ascii=False) for line in (head, *_plain(recording.history)))
    beside = f"{os.fspath(path)}.{os.getpid()}.new"
    try:
        with open(beside, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise


def _plain(history: Iterable[Step]) -> Iterable[dict[str, Any]]:
    defaults = Step("")._asdict()
    for step in history:
        named = step._asdict()
        yield {name: value for name, value in named.items() if name == "key" or value != defaults[name]}


def read_recording(path: str | PathLike[str]) -> Recording:
    """Read it.

    Raises:
        OSError: The file cannot be read.
        JournalError: It is no recording, or of a newer format.
    """
    import json

    name = os.fspath(path)
    with open(path, encoding="utf-8") as file:
        try:
            head = json.loads(next(file, ""))
            if head["recording"] != FORMAT:
                raise JournalError(name, f"its format is {head['recording']!r}, known is {FORMAT}")
            history = tuple(Step(**json.loads(line)) for line in file)
            return Recording(str(head["run_id"]), str(head["state"]), history)
        except (ValueError, TypeError, KeyError) as error:
            raise JournalError(name, "the file is no recording of a run") from error
