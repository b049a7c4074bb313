"""Figures as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from benchmarks.harness import Aim, Figure

COLUMNS = ("", "us", "floor us", "ratio", "quartiles", "aim", "")

INTRODUCTION = """\
# Benchmarks

Made on {day} by `python -m benchmarks`, in {minutes:.0f} minutes. It measures us, the floor and the peers in
one run, in pairs: microseconds are medians, ratios are medians over the pairs, with their quartiles. A floor
is the least that code around the same call can do. Answers are checked before anything is timed. What a peer
does not do, or does otherwise, stands beside its figure, since speed without it is not comparable; see also
[how circuit breakers behave](breaker-conformance.md).

"""


def say(line: str = "") -> None:
    """One line for the reader, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def machine() -> dict[str, object]:
    """Where the figures come from."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cpus": _cpus(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }


def table(figures: Iterable[Figure]) -> list[str]:
    """The figures in lines, grouped by what was measured."""
    lines = []
    for what, group in groupby(figures, lambda figure: figure.what):
        rows = [COLUMNS, *(_row(figure) for figure in group)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines += ["", what]
        lines += ["  " + _aligned(row, widths) for row in rows]
    return lines


def as_markdown(
    figures: Iterable[Figure],
    versions: Mapping[str, str],
    where: Mapping[str, object],
    day: str,
    minutes: float = 0.0,
    failed: Sequence[str] = (),
) -> str:
    """The figures as a page of the documentation; what *failed* to be measured stands first."""
    lines = [
        *INTRODUCTION.format(day=day, minutes=minutes).splitlines(),
        *(f"- **not measured**: {_escaped(what)}" for what in failed),
        *(f"- {name}: {value}" for name, value in where.items()),
        "- versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()),
    ]
    for what, group in groupby(figures, lambda figure: figure.what):
        lines += ["", f"## {what[:1].upper()}{what[1:]}", ""]
        lines += ["| | us | floor us | ratio | quartiles | aim | |", "|---|---|---|---|---|---|---|"]
        lines += [
            "| " + " | ".join(cell.replace("|", "/") for cell in _row(figure)) + " |" for figure in group
        ]
    return "\n".join(lines) + "\n"


def as_json(
    figures: Sequence[Figure], versions: Mapping[str, str], where: Mapping[str, object]
) -> dict[str, object]:
    """The figures as plain values; times in seconds."""
    return {
        "machine": dict(where),
        "versions": dict(versions),
        "figures": [
            {
                "what": figure.what,
                "name": figure.name,
                "seconds": figure.seconds,
                "floor_seconds": figure.floor_seconds,
                "ratio": figure.ratio,
                "ratio_quartiles": [figure.low, figure.high],
                "aim": None if figure.aim is None else _aim(figure.aim),
                "met": figure.met,
                "note": figure.note,
            }
            for figure in figures
        ],
    }


def _escaped(text: str) -> str:
    """*text* as Markdown shows it: one line, no tags."""
    return " ".join(text.split()).replace("<", "&lt;")


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    if figure.aim is not None and figure.met is None:
        verdict = "not measured"
    return (
        figure.name,
        _number(figure.seconds, 1e6),
        _number(figure.floor_seconds, 1e6),
        _number(figure.ratio),
        "" if figure.low is None else f"{_number(figure.low)} - {_number(figure.high)}",
        "" if figure.aim is None else _aim(figure.aim),
        ", ".join(filter(None, (verdict, figure.note))),
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
    return "  ".join([*cells, row[-1]]).rstrip()


def _aim(aim: Aim) -> str:
    sign = "<" if aim.strictly else "<="
    if aim.unit == "x":
        return f"{sign} {aim.limit:g}x"
    return f"{sign} {aim.limit * 1e6:g} us" if aim.limit < 1e-3 else f"{sign} {aim.limit * 1e3:g} ms"


def _number(value: float | None, scale: float = 1.0) -> str:
    if value is None:
        return ""
    value *= scale
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
