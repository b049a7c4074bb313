"""``techrevati events``: events of a JSONL file: the newest, those of a name or role, how many of each."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, deque
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from techrevati.runtime.cli.line_tail import LineTail
from techrevati.runtime.cli.terminal import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

P = TypeVar("P", bound="argparse.ArgumentParser")

_POLL_S = 0.2
_NAMES_COUNTED = 1000  # others are counted together
_OTHERS = "(others)"


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "events",
        help="show, follow, filter and count the events of a JSONL file",
        description="Shows the newest events in the file of a JsonlEventSink.",
        epilog="Exit status: 0 done, 2 it could not begin, 130 after Ctrl-C.",
    )
    parser.add_argument("file", metavar="FILE", help="the file, one JSON object a line")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is written, until Ctrl-C"
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        action="append",
        help="only these events, as agent.started or agent.recovery.*",
    )
    parser.add_argument("--role", metavar="ROLE", action="append", help="only those of these roles")
    parser.add_argument(
        "-n", "--last", metavar="N", type=_number, default=20, help="how many; 0 is all; default %(default)s"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--count", action="store_true", help="only how many of each name")
    form.add_argument("--json", action="store_true", help="the lines as they are in the file")
    parser.set_defaults(run=run)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


_number.__name__ = "whole number"  # argparse shows it


class Selection:
    """Which events are asked for, and how many came."""

    def __init__(self, names: list[str] | None, roles: list[str] | None) -> None:
        self._names, self._roles = names, roles
        self.counts: Counter[str] = Counter()
        self.unreadable: int = 0

    def of(self, lines: Iterator[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The lines that are asked for, each with its event; all of those are counted."""
        for line in lines:
            try:
                event = json.loads(line)
                name = str(event["event"])
            except (ValueError, TypeError, KeyError, RecursionError):
                self.unreadable += 1
                continue
            if _fits(name, self._names) and _fits(str(event.get("role") or ""), self._roles):
                self.counts[
                    name if name in self.counts or len(self.counts) < _NAMES_COUNTED else _OTHERS
                ] += 1
                yield line, event


def _fits(text: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(text, pattern) for pattern in patterns)


def run(options: argparse.Namespace, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Show them; returns the exit status."""
    try:
        tail = LineTail(options.file)
    except OSError as error:
        sys.stderr.write(f"techrevati events: {visible(str(error.strerror))}: {visible(options.file)}\n")
        return 2
    selection = Selection(options.name, options.role)
    try:
        _show(options, tail, selection, sleep)
    finally:
        tail.close()
        if options.count:
            _show_counts(selection)
    if tail.rest:
        selection.unreadable += 1
    unreadable = selection.unreadable + tail.skipped
    if unreadable:
        sys.stderr.write(f"techrevati events: {unreadable} lines are no events, or incomplete\n")
    return 0


def _show(
    options: argparse.Namespace, tail: LineTail, selection: Selection, sleep: Callable[[float], None]
) -> None:
    found = selection.of(tail.lines())
    if options.count:
        for _ in found:
            pass
    else:
        for line, event in deque(found, maxlen=options.last) if options.last else found:
            _show_one(line, event, options.json)
    while options.follow:
        sys.stdout.flush()
        sleep(_POLL_S)
        for line, event in selection.of(tail.lines()):
            if not options.count:
                _show_one(line, event, options.json)


def _show_one(line: bytes, event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(line.decode(errors="replace") + "\n")
        return
    parts = [event.get(part) for part in ("emitted_at", "role", "event", "status", "failure_class", "detail")]
    told = "  ".join(str(part) for part in parts if part not in (None, ""))
    data = event.get("data")
    if data:
        told += "  " + json.dumps(data, ensure_ascii=False)
    sys.stdout.write(visible(told) + "\n")


def _show_counts(selection: Selection) -> None:
    counts = selection.counts
    width = len(str(max(counts.values(), default=0)))
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        sys.stdout.write(f"{count:>{width}}  {visible(name)}\n")
    sys.stdout.write(f"{counts.total()} events\n")
