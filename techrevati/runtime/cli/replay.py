"""``techrevati replay``: what a run did, step by step, from its journal or recording; nothing is called."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from techrevati.runtime.cli import store_file
from techrevati.runtime.cli.terminal import visible
from techrevati.runtime.journal import Journal, JournalError, Step
from techrevati.runtime.journal.replay import recorded_run
from techrevati.runtime.stores import StoreError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from techrevati.runtime.journal.recording import Recording

P = TypeVar("P", bound="argparse.ArgumentParser")

_SHOWN_CHARACTERS = 80
_MAGIC = b"SQLite format 3\0"
_ENDS = {"in_doubt": "in doubt", "not_done": "not done, as somebody said"}


class Passage(NamedTuple):
    """One attempt of a step: how it began, and how it ended if that is known."""

    began: Step
    ended: Step | None


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "replay",
        help="print what a run did, step by step, without a call",
        description="Prints a run that ended: each step with its intent and outcome, what it used and cost.",
        epilog="Exit status: 0 done, 2 it could not begin.",
    )
    parser.add_argument(
        "recorded",
        metavar="RUN",
        help="the run's name, or the file of a Recorder, or of a journal of one run",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="the file of the journal's SqliteStore")
    parser.add_argument("--json", action="store_true", help="JSON; money is text, so that no digit is lost")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it; returns the exit status."""
    try:
        recording = _recording(options.recorded, options.file)
    except (JournalError, StoreError, OSError, ValueError) as error:
        told = (
            f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else error
        )
        sys.stderr.write(f"techrevati replay: {visible(str(told))}\n")
        return 2
    passages = list(paired(recording.history))
    if options.json:
        import json

        told = json.dumps(_as_json(recording, passages), indent=2, ensure_ascii=False)
        sys.stdout.write(told.encode(errors="backslashreplace").decode() + "\n")
        return 0
    for number, passage in enumerate(passages, 1):
        sys.stdout.write(f"{number:>4}  {visible(_line(passage))}\n")
    doubts = sum(passage.ended is None for passage in passages)
    doubt = f", {doubts} in doubt" if doubts else ""
    usd = _usd(sum((_cost(passage) for passage in passages), Fraction(0)))
    sys.stdout.write(
        f"{visible(recording.run_id)}: {recording.state}, {len(passages)} steps{doubt}, ${usd}\n"
    )
    return 0


def _recording(name: str, file: str | None) -> Recording:
    """The run called *name* in the journal *file*; without a file, *name* is one itself."""
    path = Path(name if file is None else file)
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}")
    with path.open("rb") as opened:
        is_journal = opened.read(len(_MAGIC)) == _MAGIC
    if not is_journal:
        recording = recorded_run(path, None)
        if file is not None and recording.run_id != name:
            raise ValueError(f"{str(path)!r} holds the run {recording.run_id!r}, not {name!r}")
        return recording
    with store_file.opened(str(path)) as store:
        journal = Journal(store)
        if file is None:
            runs = journal.runs(limit=2)
            if len(runs) != 1:
                held = "several runs" if runs else "no run"
                raise ValueError(f"{str(path)!r} holds {held}; say which: techrevati replay RUN FILE")
            name = runs[0].run_id
        return recorded_run(journal, name)


def paired(history: Iterable[Step]) -> Iterator[Passage]:
    """Each attempt in the order of its end; those that never ended at last, in the order of their begin."""
    open_steps: dict[str, Step] = {}
    for step in history:
        if step.state == "intent":
            began = open_steps.pop(step.key, None)
            if began is not None:
                yield Passage(began, None)
            open_steps[step.key] = step
        else:
            yield Passage(open_steps.pop(step.key, step), step)
    for began in open_steps.values():
        yield Passage(began, None)


def _line(passage: Passage) -> str:
    began, ended = passage
    name = f" {began.name}" if began.name else ""
    again = f" (attempt {began.attempt})" if began.attempt > 1 else ""
    return f"{began.kind} {began.key}{name}{again} → {_outcome(passage)}" + _used(ended)


def _outcome(passage: Passage) -> str:
    began, ended = passage
    if ended is None:
        return "in doubt: it never ended"
    took = f" in {max(0.0, ended.at_s - began.at_s):.3f} s"
    if ended.state == "failed":
        return f"failed{took}: {_short(str((ended.failure or {}).get('message')))}"
    if ended.state != "done":
        return _ENDS.get(ended.state, ended.state)
    return f"done{took}: {'no result on record' if ended.result is None else _short(ended.result)}"


def _used(ended: Step | None) -> str:
    if ended is None or ended.usage is None:
        return ""
    usage = ended.usage
    tokens = f"{usage.get('input_tokens', 0)} in, {usage.get('output_tokens', 0)} out"
    return f"  [{tokens}, ${_usd(Fraction(ended.cost_picodollars))}]"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _cost(passage: Passage) -> Fraction:
    return Fraction(0 if passage.ended is None else passage.ended.cost_picodollars)


def _usd(picodollars: Fraction) -> str:
    """US dollars to the last digit of a pico-dollar, at least two behind the point."""
    whole, rest = divmod(round(picodollars), 10**12)
    text = f"{whole}.{rest:012d}"
    return text.rstrip("0") + "0" * max(0, 2 - len(text.rstrip("0").partition(".")[2]))


def _as_json(recording: Recording, passages: list[Passage]) -> dict[str, Any]:
    return {
        "run_id": recording.run_id,
        "state": recording.state,
        "spent_usd": _usd(sum((_cost(passage) for passage in passages), Fraction(0))),
        "steps": [
            {
                "key": began.key,
                "kind": began.kind,
                "name": began.name,
                "arguments": began.arguments,
                "attempt": began.attempt,
                "began_at": began.at_s,
                "ended_at": None if ended is None else ended.at_s,
                "state": "in_doubt" if ended is None else ended.state,
                "result": None if ended is None else ended.result,
                "failure": None if ended is None else ended.failure,
                "usage": None if ended is None else ended.usage,
                "cost_usd": _usd(_cost(Passage(began, ended))),
            }
            for began, ended in passages
        ],
    }
