"""What an import costs, in fresh interpreters.

A clock inside the interpreter runs around the import alone, so starting Python is not in the figure and what
a bare ``python`` has loaded anyway is free, for us and for the peers alike.  Interpreters are isolated
(``-I``) with the ordinary ``site``; byte code is cached by a first, uncounted round; both halves of a pair
are started one after the other.  The package is found at the end of the path, as an installed one is.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace

from benchmarks.environment import ROOT
from benchmarks.harness import Aim, Effort, Figure, Pairs, WrongAnswerError
from benchmarks.peers import BREAKERS

PACKAGE = Aim(5e-3, "s")
ALONE = Aim(1.0, strictly=True)
REFERENCE = "pybreaker"
COSTLY = (
    "asyncio",
    "contextlib",
    "dataclasses",
    "http",
    "json",
    "logging",
    "random",
    "sqlite3",
    "ssl",
    "typing",
)


@dataclass(frozen=True)
class Import:
    """A statement for a fresh interpreter, and an expression that is true once it worked."""

    name: str
    statement: str
    holds: str = "True"


BARE = Import("bare interpreter", "pass")
RUNTIME = Import("ours", "import techrevati.runtime", "'CircuitBreaker' in techrevati.runtime.__all__")
EVERYTHING = Import(
    "ours, every public name", "from techrevati.runtime import *", "CircuitBreaker('x').call(int) == 0"
)
BREAKER = Import(
    "ours",
    "from techrevati.runtime.circuit_breaker import CircuitBreaker",
    "CircuitBreaker('x').call(int) == 0",
)


def seconds(what: Import) -> tuple[float, list[str]]:
    """How long *what* takes in a fresh interpreter, and the costly modules that it brought along.

    Raises:
        WrongAnswerError: The import fails or does not hold what it should.
    """
    script = (
        f"import sys\nsys.path.append({str(ROOT)!r})\nbefore = set(sys.modules)\n"
        "from time import perf_counter as clock\n"
        f"start = clock()\n{what.statement}\ntook = clock() - start\n"
        f"brought = set(sys.modules) - before\nassert {what.holds}\nprint(took, *sorted(brought))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongAnswerError(f"{what.statement}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    took, *brought = done.stdout.split()
    return float(took), [name for name in brought if name in COSTLY]


def pair_up(what: str, subjects: list[Import], reference: Import, effort: Effort) -> list[Figure]:
    """Figures of *subjects*, each paired with *reference*; those that fail say why."""
    figures: dict[str, Figure] = {}
    pairs: dict[str, Pairs] = {}
    for subject in subjects:
        try:
            _, brought = seconds(subject)
        except WrongAnswerError as error:
            figures[subject.name] = Figure(what, subject.name, note=str(error))
        else:
            note = f"brings {', '.join(brought)}" if brought else ""
            figures[subject.name] = Figure(what, subject.name, note=note)
            pairs[subject.name] = Pairs()
    seconds(reference)
    for number in range(effort.processes):
        for subject in subjects:
            if subject.name in pairs:
                pairs[subject.name].add(
                    lambda subject=subject: seconds(subject)[0],  # type: ignore[misc]
                    lambda: seconds(reference)[0],
                    floor_first=number % 2 == 0,
                )
    for name, taken in pairs.items():
        figures[name] = taken.figure(what, name, note=figures[name].note)
    return list(figures.values())


def package(effort: Effort) -> list[Figure]:
    """The whole package, as it is and with every name loaded."""
    what = "import techrevati.runtime"
    ours, everything = pair_up(what, [RUNTIME, EVERYTHING], BARE, effort)
    if ours.seconds is None:
        raise WrongAnswerError(ours.note)
    return [
        replace(ours, ratio=None, low=None, high=None, aim=PACKAGE),
        replace(everything, ratio=None, low=None, high=None),
    ]


def breaker(effort: Effort, *, peers: bool) -> list[Figure]:
    """The circuit breaker alone, with pybreaker as the floor."""
    what = f"import of the circuit breaker alone (floor: {REFERENCE})"
    others = [Import(peer.distribution, f"import {peer.module}") for peer in BREAKERS] if peers else []
    reference = next((other for other in others if other.name == REFERENCE), BARE)
    try:
        seconds(reference)
    except WrongAnswerError:
        reference = BARE
    others = [other for other in others if other is not reference]
    ours, *rest = pair_up(what, [BREAKER, *others], reference, effort)
    if ours.seconds is None:
        raise WrongAnswerError(ours.note)
    figures = [replace(ours, aim=ALONE), *rest]
    if reference is BARE:  # nothing to compare with
        figures = [replace(figure, floor_seconds=None, ratio=None, low=None, high=None) for figure in figures]
    return figures


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """The figures of this noun."""
    return [*package(effort), *breaker(effort, peers=peers)]
