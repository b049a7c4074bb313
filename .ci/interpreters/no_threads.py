"""A pytest plugin for an interpreter without threads, processes and sockets: Python in WebAssembly.

A test that asks for one of them is skipped when it asks.
"""

from __future__ import annotations

import _thread
import asyncio
import multiprocessing.context
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine
from typing import NoReturn

import pytest


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.skip(f"needs {what}")

    return refuse


class _End:
    """One end of a pipe that looks like a socket: what an event loop needs to wake itself."""

    __enter__ = _refuse("sockets")

    def __exit__(self, *_: object) -> None:
        """A ``with`` asks for both before it enters."""

    def __init__(self, descriptor: int) -> None:
        self.fileno = lambda: descriptor
        self.recv = lambda size: os.read(descriptor, size)
        self.send = lambda data: os.write(descriptor, data)
        self.setblocking = lambda blocking: os.set_blocking(descriptor, blocking)
        self.close = lambda: os.close(descriptor)


def _pipe() -> tuple[_End, _End]:
    reader, writer = os.pipe()
    return _End(reader), _End(writer)


def _run(main: Coroutine[object, object, object], *, debug: bool | None = None) -> object:
    with asyncio.Runner(debug=debug, loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main)


def pytest_runtest_setup(item: pytest.Item) -> None:
    asyncio._set_running_loop(None)  # the one of the JavaScript side, which nobody runs here


def pytest_configure(config: pytest.Config) -> None:
    socket.socketpair = _pipe
    asyncio.run = _run
    asyncio.new_event_loop = asyncio.SelectorEventLoop
    threading.Thread.start = _refuse("threads")
    _thread.start_new_thread = _thread.start_new = _thread.start_joinable_thread = _refuse("threads")
    subprocess.Popen.__init__ = _refuse("processes")
    os.fork = multiprocessing.context.BaseContext.Event = _refuse("processes")
    socket.socket.connect = socket.socket.bind = _refuse("sockets")
