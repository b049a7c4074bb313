"""What must not be done inside of the garbage collector: it is done soon after, by a thread of its own.

The collector runs wherever an object is made, also while its thread holds a lock of ours or of a program's
event sink.  What it finds thrown away and still open, such as a stream that nobody read to its end, cannot
be put on the books there: waiting for that lock would be for ever.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from _thread import get_ident, start_new_thread
from collections import deque
from typing import TYPE_CHECKING

from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

running = 0  # the thread in which the collector runs; 0, as almost always, when it does not
_steps: deque[Callable[[], object]] = deque()  # each of its methods is one step
_busy = fork_safe_lock()
_ending = False
_HAS_THREADS = sys.platform not in ("emscripten", "wasi")


def _noted(phase: str, info: object) -> None:
    global running
    running = get_ident() if phase == "start" else 0


def collecting() -> bool:
    """Whether this very code was called by the garbage collector."""
    return running != 0 and running == get_ident()


def later(step: Callable[[], object]) -> None:
    """Have *step* done by another thread, in the order in which they are given; takes no lock.

    The interpreter waits for what was given before it exits.  One without threads has it done at once.
    """
    if _ending or not _HAS_THREADS:
        _do(step)
        return
    _steps.append(step)
    if not _busy.locked():
        try:
            start_new_thread(_begin, ())
        except RuntimeError:  # no thread to be had: the next one, or the end of the program, finds it
            return


def caught_up(timeout_seconds: float = 5.0) -> None:
    """Do what was given so far, or wait until it is done."""
    if _busy.acquire(timeout=timeout_seconds):
        try:
            _do_all()
        finally:
            _busy.release()
        _work()


def _begin() -> None:
    # A thread that ``threading`` knows; starting one takes locks, which the collector must not.
    from threading import Thread

    try:
        Thread(target=_work, name="techrevati-collected", daemon=True).start()
    except RuntimeError:
        _work()


def _work() -> None:
    # Asked again after the release: what is given meanwhile starts no other thread.
    while _steps and _busy.acquire(False):
        try:
            _do_all()
        finally:
            _busy.release()


def _do_all() -> None:
    while True:
        try:
            step = _steps.popleft()
        except IndexError:
            return
        _do(step)


def _do(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        logger("integrations").error("what was thrown away could not be ended: %s", type(error).__name__)


def _forked() -> None:
    """What was thrown away before the fork is the parent's."""
    _steps.clear()


def _at_exit() -> None:
    global _ending
    _ending = True
    caught_up()


if hasattr(gc, "callbacks"):  # not everywhere but in CPython
    gc.callbacks.append(_noted)
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
