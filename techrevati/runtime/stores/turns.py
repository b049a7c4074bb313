"""Who writes to a file next: processes queue in the kernel, which wakes the first as soon as it is its turn.

SQLite itself lets a waiter only ask again and again, and whoever asks at the right moment wins.  So a writer
first takes an advisory lock (``flock``) on the file's log, on which SQLite has no locks of its own.  It puts
our own processes in order and decides nothing: SQLite's lock stays what keeps writers apart.  Where there is
no ``flock``, nobody queues.
"""

from __future__ import annotations

import _thread
import os
from typing import TYPE_CHECKING

_QUEUES = True
if TYPE_CHECKING:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
else:
    try:
        from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
    except ImportError:  # not POSIX
        _QUEUES = False


class Turns:
    """The queue in front of one file, for one connection.  Not thread-safe: who takes a turn holds a lock,
    and calls :meth:`give` whatever came of it.

    Args:
        path: What to lock; it must exist as long as the connection does.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def take(self, timeout_s: float) -> bool:
        """Wait for the turn; False when it did not come in time.  Without a queue it is always one's turn."""
        if not _QUEUES:
            return True
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return True  # no log yet: whoever makes it need not queue
        try:
            flock(self._descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return self._queued(timeout_s)
        except OSError:  # no such locks on this file system
            return True
        return True

    def _queued(self, timeout_s: float) -> bool:
        """Wait in the kernel's queue.  That wait has no limit, so a thread does it; if it takes too long, the
        thread is left alone with its place in the queue and gives its turn up when that comes."""
        # A lock belongs to what was opened, not to one descriptor of it: another one for the thread, which
        # nobody closes under it.
        own = os.dup(self._descriptor)
        decided, came = _thread.allocate_lock(), _thread.allocate_lock()
        came.acquire()
        state = {"granted": False, "left": False}

        def wait() -> None:
            try:
                flock(own, LOCK_EX)
                with decided:
                    if state["left"]:
                        flock(own, LOCK_UN)
                    else:
                        state["granted"] = True
            except OSError:
                state["granted"] = True  # nobody can queue here
            finally:
                os.close(own)
                came.release()

        try:
            _thread.start_new_thread(wait, ())
        except RuntimeError:  # no thread to be had
            os.close(own)
            return True
        try:
            came.acquire(timeout=max(0.0, timeout_s))
        finally:
            with decided:
                granted = state["granted"]
                state["left"] = not granted
            if not granted:
                self.close()  # the lock that the thread may get must not be taken for a later turn's
        return granted

    def give(self) -> None:
        """Let the next one write; does nothing without a turn."""
        if self._descriptor >= 0:
            flock(self._descriptor, LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
