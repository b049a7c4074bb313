"""Time code in pairs: a subject and its floor, one right after the other, many times in one run.

A shared machine is sometimes fast and sometimes slow, for longer than one sample takes.  So a ratio is only
ever taken inside a pair, whose halves ran within milliseconds of each other; the median of all pairs is
what a figure says, and their quartiles say how sure it is.  Rounds go through every subject in turn, and
the half that runs first alternates.

A subject is a piece of source that leaves its answer in ``result``, as a user would write it.  It is run
once and the answer compared before anything is timed; the timed loop is compiled from the same source.
Garbage collection stays on: what allocates pays for it, as it does in a program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median, quantiles
from textwrap import indent
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")
Clock = Callable[[], float]


class WrongAnswerError(Exception):
    """Code that was to be timed does not do what it should; nothing was timed."""


@dataclass(frozen=True)
class Subject:
    """Something to be timed.

    Attributes:
        name: Whose code it is.
        code: Statements that leave the answer in ``result``; they may ``await`` if *awaits*.
        names: What *code* may use, as fast local variables.
        answer: What ``result`` must be.
        operations: How many operations one run of *code* is; figures are per operation.
        check: Looks at the state behind *code* after one run: says in a few words what a reader must know,
            "" for nothing, or raises WrongAnswerError.
    """

    name: str
    code: str
    names: Mapping[str, object]
    answer: object = None
    operations: int = 1
    awaits: bool = False
    check: Callable[[], str] = str


@dataclass(frozen=True)
class Aim:
    """At most *limit*, as ``"x"`` (times the floor) or in ``"s"``econds; *strictly* means less than."""

    limit: float
    unit: str = "x"
    strictly: bool = False

    def met(self, figure: Figure) -> bool | None:
        """Whether *figure* is within it; None when that was not measured."""
        value = figure.ratio if self.unit == "x" else figure.seconds
        if value is None:
            return None
        return value < self.limit if self.strictly else value <= self.limit


@dataclass(frozen=True)
class Comparison:
    """Subjects that do the same, over one floor; the first subject is ours and has the aim."""

    what: str
    floor: Subject
    subjects: Sequence[Subject]
    aim: Aim | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        what: The operation.
        name: Whose.
        seconds: Per operation, the median; None when it could not be measured.
        floor_seconds: The same for the floor of the same pairs.
        ratio: The median over the pairs; *low* and *high* are its quartiles.
        aim: What it should be, if there is an aim.
        note: What a reader must know before comparing.
        added: Seconds more than the floor, the median over the pairs.
    """

    what: str
    name: str
    seconds: float | None = None
    floor_seconds: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    aim: Aim | None = None
    note: str = ""
    added: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim was met; None when there is none or nothing was measured."""
        return None if self.aim is None else self.aim.met(self)


@dataclass(frozen=True)
class Effort:
    """How long to measure: pairs per subject, and seconds per sample."""

    rounds: int = 101
    sample_s: float = 0.002
    processes: int = 25
    clock: Clock = field(default=perf_counter, compare=False)


FULL = Effort()
QUICK = Effort(rounds=15, sample_s=0.001, processes=5)


def floor(fn: Callable[[], T]) -> T:
    """The least that code around a call can do."""
    try:
        return fn()
    except Exception:
        raise


async def async_floor(fn: Callable[[], Any]) -> Any:
    """:func:`floor` for coroutine functions."""
    try:
        return await fn()
    except Exception:
        raise


def answer() -> int:
    """What is called: a dependency that costs next to nothing."""
    return 1


async def async_answer() -> int:
    """:func:`answer` for coroutines."""
    return 1


class Timed:
    """A subject made runnable: once for its answer, in a loop for its time."""

    def __init__(self, subject: Subject, clock: Clock = perf_counter) -> None:
        self.subject = subject
        self.runs = 1
        self._clock = clock
        names = ", ".join(subject.names)
        colour = "async def" if subject.awaits else "def"
        source = (
            f"{colour} once({names}):\n"
            f"{indent(subject.code, '    ')}\n"
            "    return result\n"
            f"{colour} loop(_times, _clock, {names}):\n"
            "    _start = _clock()\n"
            "    for _ in _times:\n"
            f"{indent(subject.code, '        ')}\n"
            "    return _clock() - _start\n"
        )
        compiled: dict[str, Any] = {}
        # One code object each: CPython specialises code per call site, so subjects must not share a loop.
        exec(compile(source, f"<{subject.name}>", "exec"), compiled)  # noqa: S102
        self._once, self._loop = compiled["once"], compiled["loop"]

    def once(self) -> object:
        """Run it once; the answer."""
        result: object = self._run(self._once(**self.subject.names))
        return result

    def checked(self) -> str:
        """Run it once and compare the answer; what its own check has to say."""
        result = self.once()
        if result != self.subject.answer:
            raise WrongAnswerError(f"{self.subject.name}: {result!r} instead of {self.subject.answer!r}")
        return self.subject.check()

    def calibrate(self, sample_s: float) -> None:
        """Choose how often a sample repeats the code, so that it takes about *sample_s*.

        The quickest of several samples decides: one that was interrupted would make all others too short,
        and short ones measure the clock.
        """
        while (took_s := min(self._sample() for _ in range(5))) < sample_s / 2:
            self.runs *= 2
        self.runs = max(1, round(self.runs * sample_s / took_s))

    def seconds(self) -> float:
        """One sample, per operation."""
        return self._sample() / (self.runs * self.subject.operations)

    def _sample(self) -> float:
        took_s: float = self._run(self._loop(repeat(None, self.runs), self._clock, **self.subject.names))
        return took_s

    def _run(self, started: Any) -> Any:
        return asyncio.run(started) if self.subject.awaits else started


@dataclass
class Pairs:
    """Samples of a subject and, next to each, of its floor; seconds per operation."""

    ours: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def add(self, ours: Callable[[], float], floors: Callable[[], float], *, floor_first: bool) -> None:
        """Take one pair."""
        if floor_first:
            self.floors.append(floors())
        self.ours.append(ours())
        if not floor_first:
            self.floors.append(floors())

    def figure(self, what: str, name: str, aim: Aim | None = None, note: str = "") -> Figure:
        """What the pairs say."""
        ratios = [ours / least for ours, least in zip(self.ours, self.floors, strict=True)]
        low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        added = median(ours - least for ours, least in zip(self.ours, self.floors, strict=True))
        return Figure(what, name, median(self.ours), median(self.floors), middle, low, high, aim, note, added)


def compare(comparison: Comparison, effort: Effort) -> list[Figure]:
    """Measure every subject of *comparison* against its floor.

    A peer that fails or answers wrongly is not timed; its figure is empty and the note says why.

    Raises:
        WrongAnswerError: The floor or our own code gives a wrong answer.
    """
    least = Timed(comparison.floor, effort.clock)
    least.checked()
    ours = comparison.subjects[0]
    notes = {ours.name: Timed(ours, effort.clock).checked()}
    failed: list[Figure] = []
    timed: list[tuple[Timed, Pairs]] = []
    for subject in comparison.subjects:
        candidate = Timed(subject, effort.clock)
        try:
            if subject is not ours:
                notes[subject.name] = candidate.checked()
            candidate.calibrate(effort.sample_s)
        except Exception as error:
            if subject is ours:
                raise WrongAnswerError(f"{subject.name}: {error!r}") from error
            failed.append(Figure(comparison.what, subject.name, note=f"fails: {error!r}"))
        else:
            timed.append((candidate, Pairs()))
    least.calibrate(effort.sample_s)
    for number in range(effort.rounds):
        for candidate, pairs in timed:
            pairs.add(candidate.seconds, least.seconds, floor_first=number % 2 == 0)
    figures = [
        pairs.figure(
            comparison.what,
            candidate.subject.name,
            comparison.aim if candidate.subject is ours else None,
            notes[candidate.subject.name],
        )
        for candidate, pairs in timed
    ]
    return figures + failed


def compare_all(comparisons: Iterable[Comparison], effort: Effort) -> list[Figure]:
    """The figures of several comparisons, in order."""
    return [figure for comparison in comparisons for figure in compare(comparison, effort)]
