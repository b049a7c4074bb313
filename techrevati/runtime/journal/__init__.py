"""What already happened in a run: intent, effect, outcome of each step, so that a killed run goes on.

A step's intent is on record before it begins and its outcome before anybody sees it.  Whoever opens the run
again gets the outcomes of finished steps without a call; a step that was begun and never ended is in doubt,
and is only repeated by somebody who may.  One owner at a time has a run open.
"""

from __future__ import annotations

from techrevati.runtime.journal.codec import Codec, JsonCodec
from techrevati.runtime.journal.journal import Journal, RunSummary
from techrevati.runtime.journal.open_step import OpenStep
from techrevati.runtime.journal.recording import Recorder
from techrevati.runtime.journal.replay import Replayer, RunReplay
from techrevati.runtime.journal.run import RunJournal
from techrevati.runtime.journal.vocabulary import (
    Happened,
    InDoubtError,
    JournalError,
    RecordedFailureError,
    ReplayMismatchError,
    ResultNotStorableError,
    RunBusyError,
    Step,
)

__all__ = [
    "Codec",
    "Happened",
    "InDoubtError",
    "Journal",
    "JournalError",
    "JsonCodec",
    "OpenStep",
    "RecordedFailureError",
    "Recorder",
    "ReplayMismatchError",
    "Replayer",
    "ResultNotStorableError",
    "RunBusyError",
    "RunJournal",
    "RunReplay",
    "RunSummary",
    "Step",
]
