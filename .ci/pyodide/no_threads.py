"""A pytest plugin for an interpreter without threads, processes and sockets.

A test that asks for one of them is skipped when it asks, and a file that imports a package which is not installed
there is left out; both are counted in the summary, so that nothing is left out in silence.
"""

from __future__ import annotations

import _thread
import ast
import asyncio
import importlib.util
import os
import socket
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path

import pytest

_left_out: list[str] = []


def _refuse(what: str):
    def refuse(*_: object, **__: object) -> object:
        pytest.skip(f"needs {what}")

    return refuse


class _End:
    """One end of a pipe that looks like a socket: what an event loop needs to wake itself."""

    def __init__(self, descriptor: int) -> None:
        self.fileno = lambda: descriptor
        self.recv = lambda size: os.read(descriptor, size)
        self.send = lambda data: os.write(descriptor, data)
        self.setblocking = lambda blocking: os.set_blocking(descriptor, blocking)
        self.close = lambda: os.close(descriptor)


def _pipe() -> tuple[_End, _End]:
    reader, writer = os.pipe()
    return _End(reader), _End(writer)


def pytest_runtest_setup(item: pytest.Item) -> None:
    asyncio._set_running_loop(None)  # the one of the JavaScript side, which nobody runs here


def _run(main: Coroutine[object, object, object], *, debug: bool | None = None) -> object:
    with asyncio.Runner(debug=debug, loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main)


def pytest_configure(config: pytest.Config) -> None:
    socket.socketpair = _pipe
    asyncio.run = _run
    threading.Thread.start = _refuse("threads")
    _thread.start_new_thread = _thread.start_new = _thread.start_joinable_thread = _refuse("threads")
    subprocess.Popen.__init__ = _refuse("processes")
    os.fork = _refuse("processes")
    socket.socket.connect = socket.socket.bind = _refuse("sockets")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.suffix != ".py":
        return None
    for node in ast.walk(ast.parse(collection_path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            if importlib.util.find_spec(name.split(".")[0]) is None:
                _left_out.append(f"{collection_path.name} (needs {name.split('.')[0]})")
                return True
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.write_line("left out: " + ", ".join(sorted(set(_left_out))))
