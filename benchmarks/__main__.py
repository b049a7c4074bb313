"""Run the benchmarks: ``python -m benchmarks [NOUN ...]``."""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks import environment, peers
from benchmarks.harness import FULL, QUICK, Effort, Figure, WrongAnswerError
from benchmarks.report import as_json, as_markdown, machine, say, table
from techrevati.runtime import __version__

NOUNS = (
    "circuit_breaker",
    "agent_lifecycle",
    "agent_events",
    "failures",
    "usage",
    "pricing",
    "budgets",
    "ledger",
    "orchestrator",
    "pipeline",
    "journal",
    "streaming",
    "import",
    "chaos",
    "guard",
    "otel",
)

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"  # of a whole run


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure us, the floor and the peers in one run; answers are checked before anything is "
        "timed.  A missed aim is reported; a wrong answer, or a benchmark that fails, is an error (exit "
        "status 1): it is marked, and the others are measured.  A whole run, with peers and full effort, "
        "writes docs/benchmarks.md.",
    )
    parser.add_argument("nouns", nargs="*", metavar="NOUN", help=f"only these: {', '.join(NOUNS)}")
    parser.add_argument("--no-peers", action="store_true", help="without the peers and their environment")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write them there as a page, also when it is no whole run"
    )
    asked = parser.parse_args(argv)
    for noun in asked.nouns:
        if noun not in NOUNS:
            parser.error(f"NOUN must be one of {', '.join(NOUNS)}; got {noun!r}")
    return asked


def main(argv: Sequence[str]) -> int:
    """The whole run; its exit status."""
    asked = arguments(argv)
    if not asked.no_peers and not environment.inside():
        try:
            return environment.run_inside(environment.prepared(), argv)
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"no environment for the peers: {error}")
    whole = not (asked.nouns or asked.quick or asked.no_peers)
    return measure(
        asked.nouns or NOUNS,
        QUICK if asked.quick else FULL,
        not asked.no_peers,
        asked.json,
        asked.page or (PAGE if whole else None),
    )


def measure(
    nouns: Sequence[str],
    effort: Effort,
    with_peers: bool,
    file: Path | None = None,
    page: Path | None = None,
) -> int:
    """Run the benchmarks of *nouns* and report; 1 when an answer is wrong or a benchmark failed."""
    begun_s = time.monotonic()
    where = machine()
    versions = {"techrevati-runtime": __version__} | (peers.versions() if with_peers else {})
    say("  ".join(f"{name}: {value}" for name, value in where.items()))
    say("  ".join(f"{name} {number}" for name, number in versions.items()))
    figures: list[Figure] = []
    wrong = []
    for noun in nouns:
        try:
            found: list[Figure] = import_module(f"benchmarks.bench_{noun}").run(effort, peers=with_peers)
        except Exception as error:
            what = (
                "WRONG ANSWER" if isinstance(error, WrongAnswerError) else f"FAILED: {type(error).__name__}"
            )
            wrong.append(f"{noun}: {what}: {error}")
            say(f"\n{wrong[-1]}")
            continue
        figures += found
        for line in table(found):
            say(line)
        say(f"  {noun}: done after {time.monotonic() - begun_s:.0f} s")
    aims = [figure.met for figure in figures if figure.met is not None]
    say(f"\n{sum(aims)} of {len(aims)} aims met" + (f"; {len(wrong)} not measured" if wrong else ""))
    if file is not None:
        file.write_text(json.dumps(as_json(figures, versions, where), indent=2) + "\n", encoding="utf-8")
    if page is not None:
        today = datetime.date.today().isoformat()
        minutes = (time.monotonic() - begun_s) / 60
        page.write_text(as_markdown(figures, versions, where, today, minutes, wrong), encoding="utf-8")
        say(f"{page} is written, after {minutes:.0f} minutes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
