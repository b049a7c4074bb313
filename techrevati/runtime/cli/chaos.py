"""``techrevati chaos``: an LLM endpoint on this machine that fails on a script, until Ctrl-C.

Every request is a live line when it ends; at the end come all requests, the bill and the verdict on the
client.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from techrevati.runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from techrevati.runtime.chaos import ChaosServer, InjectedRecord

P = TypeVar("P", bound="argparse.ArgumentParser")

KEY_VARIABLE = "TECHREVATI_CHAOS_KEY"


def add_to(commands: argparse._SubParsersAction[P]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "chaos",
        help="serve an LLM endpoint on this machine that fails on a script",
        description="Speaks OpenAI chat completions and responses and Anthropic messages, plain and "
        "streamed, answers with a small deterministic model, injects the faults of a scenario, keeps the "
        "bill, judges the client.",
        epilog=f"With {KEY_VARIABLE} in the environment only that key is let in. Ctrl-C ends it and prints "
        "what happened. Exit status: 0; 1 with --judge and findings in the verdict; 2 it could not begin.",
    )
    parser.add_argument(
        "--scenario", metavar="NAME|FILE", help="a bundled scenario or a TOML file; no faults when left out"
    )
    parser.add_argument("--list", action="store_true", help="name the bundled scenarios and end")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    parser.add_argument("--seed", type=int, help="repeat the same draws; the scenario's own when left out")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="60 runs a ten-minute scenario in ten seconds (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, help="end by itself after so many real seconds")
    parser.add_argument("--judge", action="store_true", help="exit with 1 if the verdict has findings")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until somebody ends it; the exit status."""
    from techrevati.runtime.chaos import ChaosServer, ChaosServerError, Scenario

    terminal = Terminal(sys.stdout)
    if options.list:
        for name in Scenario.bundled():
            terminal.line(Scenario.load(name).description, word=f"{name:16}", word_width=16)
        return 0
    try:
        if options.seconds is not None and not 0 < options.seconds <= threading.TIMEOUT_MAX:
            raise ValueError(f"--seconds must be a number > 0, got {options.seconds!r}")
        server = ChaosServer(
            options.scenario,
            host=options.host,
            port=options.port,
            seed=options.seed,
            speed=options.speed,
            api_key=os.environ.get(KEY_VARIABLE) or None,
            on_request=lambda record: _show(terminal, record),
        )
        with server, _asked_to_end() as asked:  # before it is said that Ctrl-C ends it
            _introduce(terminal, server)
            asked.wait(options.seconds)
    except (ChaosServerError, ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"techrevati chaos: {error}\n")
        return 2
    terminal.line()
    for line in server.report().splitlines():
        terminal.line(line)
    return 1 if options.judge and not server.verdict().ok else 0


def _introduce(terminal: Terminal, server: ChaosServer) -> None:
    about = server.scenario.description or "no faults"
    terminal.line(f"{server.scenario.name}: {about}")
    terminal.line(f"OpenAI clients:    base_url={server.base_url}")
    terminal.line(f"Anthropic clients: base_url={server.anthropic_base_url}")
    terminal.line("Ctrl-C ends it and prints what happened.")


def _show(terminal: Terminal, record: InjectedRecord) -> None:
    fault = "" if record.fault is None else record.fault.value
    billed = record.billed
    tokens = (
        f"{billed.input_tokens:,} in, {billed.output_tokens:,} out" if billed.total_tokens else "not billed"
    )
    text = f"{record.model or record.path}  {record.status or '-'}  {record.outcome.value}  {tokens}"
    terminal.line(
        text,
        head=f"{record.arrived_s:8.2f}s  ",
        word=terminal.styled(f"{fault or 'passed':24}", "red" if fault else "green"),
        word_width=24,
    )


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Set by Ctrl-C or a polite kill."""
    asked = threading.Event()
    here = threading.current_thread() is threading.main_thread()  # only there signals can be handled
    handled = (signal.SIGTERM, signal.SIGINT) if here else ()
    before = {name: signal.signal(name, lambda *_: asked.set()) for name in handled}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
