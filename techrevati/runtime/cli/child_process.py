"""Run a command in the foreground as a shell would: its streams, its signals and its status are its own.

Ctrl-C reaches every process of the terminal's foreground group, so the command has it already; passed on once
more it would count as the second Ctrl-C that many programs take for "at once".  A signal that was sent to
this process alone is passed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

NOT_EXECUTABLE, NOT_FOUND, SIGNALLED = 126, 127, 128
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
PASSED_ON = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_LOOK_S = 0.2


def status_of(returncode: int) -> int:
    """The exit status as shells tell it: 128 + the signal that ended the process."""
    return returncode if returncode >= 0 else SIGNALLED - returncode


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run *command* to its end; returns its status, see :func:`status_of`.

    Raises:
        OSError: It could not be started.
    """
    if hasattr(signal, "sigtimedwait"):
        return _waiting_for_signals(command, environment)
    return _handling_signals(command, environment)


def _waiting_for_signals(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Where the system says who sent a signal: one from the terminal is not passed on."""
    awaited = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        child = subprocess.Popen(
            command,
            env=environment,
            # The signals are only kept from this process.
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),
        )
        while child.poll() is None:
            told = signal.sigtimedwait(awaited, _LOOK_S)
            if told is None or told.si_signo == signal.SIGCHLD:
                continue
            if told.si_code <= 0:  # SI_USER and its like; the terminal's come from the kernel
                child.send_signal(told.si_signo)
        return status_of(child.returncode)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handling_signals(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Elsewhere: from the keyboard, if this is the terminal's foreground group."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def passed_on(number: int, frame: FrameType | None) -> None:
        if number in _KEYBOARD and _in_foreground():
            return
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    before = {number: signal.signal(number, passed_on) for number in PASSED_ON}
    try:
        child = subprocess.Popen(command, env=environment)
        for number in early:
            child.send_signal(number)
        return status_of(child.wait())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_KEYBOARD = {getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name)}


def _in_foreground() -> bool:
    """Whether a key pressed in the terminal reaches this process; without job control it does."""
    if not hasattr(os, "tcgetpgrp"):
        return True
    for stream in (0, 1, 2):
        try:
            return os.tcgetpgrp(stream) == os.getpgrp()
        except OSError:  # no terminal
            continue
    return False
