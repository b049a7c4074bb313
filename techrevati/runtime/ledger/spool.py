"""Records that were acknowledged and are not in the database yet, in a file beside it.

Group commit would lose, with the process, what waits for the next commit.  So each waiting record is first
appended to a spool file of its writer: one system call, no sync.  After the commit the spool is emptied.  A
writer holds a lock on its spool as long as it lives; whoever can take that lock finds an orphan, and whoever
finds an orphan writes its records.  Every record has a key, so writing one twice does nothing.
"""

from __future__ import annotations

import marshal
import os
from glob import escape, glob
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from techrevati.runtime.ledger.record import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEAD = Struct("<II")  # length and CRC-32 of what follows
_pack, _dumps, _write = _HEAD.pack, marshal.dumps, os.write
_numbers = iter(range(1 << 62))


def _lock(descriptor: int) -> bool | None:
    """Take the lock of a spool; False when somebody else has it, None where there are no such locks: then
    only its maker uses it."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


class Spool:
    """The spool file of one writer.  Not thread-safe: its ledger holds a lock."""

    def __init__(self, path: str) -> None:
        self._base = path
        self._name = ""
        self._descriptor = -1
        self._used = False

    @property
    def name(self) -> str:
        """The file that was opened last."""
        return self._name

    def append(self, draft: Draft) -> None:
        """Hand one record to the operating system."""
        if self._descriptor < 0:
            self._open()
        body = _dumps(draft[:])  # what is marshalled must be a plain tuple
        frame = _pack(len(body), crc32(body)) + body
        self._used = True
        written = _write(self._descriptor, frame)
        if written != len(frame):  # the disk is full
            # Behind half a frame nobody would find the next one.
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(28, "the spool could not be written", self._name)

    def empty(self) -> None:
        """Everything in it is committed."""
        if self._used:
            os.ftruncate(self._descriptor, 0)
            self._used = False

    def close(self) -> None:
        """Remove the file; what is in it must be committed."""
        if self._descriptor >= 0:
            try:
                os.unlink(self._name)
            except FileNotFoundError:
                pass  # somebody cleaned up
            self.leave()

    def leave(self) -> None:
        """Let go of the file without touching it: it is the parent's, or to be found by somebody else."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._used = -1, False

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        while True:
            self._name = f"{self._base}.spool-{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}"
            descriptor = os.open(self._name, flags, 0o600)
            if _lock(descriptor) is not False:
                break
            os.close(descriptor)  # somebody was quicker, took it for an orphan and is about to remove it
        self._descriptor = descriptor


class Batch:
    """Acknowledged records that are not in the database yet, and the spool that they are in.  Not
    thread-safe.

    Attributes:
        drafts: In the order in which they came.
    """

    __slots__ = ("_keyed", "_spool", "drafts")

    def __init__(self, path: str) -> None:
        self.drafts: list[Draft] = []
        self._keyed: dict[str, Draft] = {}
        self._spool = Spool(path)

    def add(self, draft: Draft, unique: bool) -> int:
        """Take one record in, whose key nobody else has if it is *unique*; how many there are now.

        Raises:
            OSError: The spool cannot be written; the record is not in.
        """
        self._spool.append(draft)
        drafts = self.drafts
        drafts.append(draft)
        if not unique:
            self._keyed[draft.key] = draft
        return len(drafts)

    def give_up_oldest(self) -> None:
        """Let go of the record that came first; it stays in the spool until the others are committed."""
        oldest = self.drafts.pop(0)
        self._keyed.pop(oldest.key, None)

    def of_key(self, key: str) -> Draft | None:
        """The record of a key that a caller chose."""
        return self._keyed.get(key)

    def parted(self) -> tuple[Sequence[Draft], Sequence[Draft]]:
        """The records of keys made here, and those of keys that callers chose."""
        keyed = self._keyed
        if not keyed:
            return self.drafts, ()
        return (
            [one for one in self.drafts if one.key not in keyed],
            [one for one in self.drafts if one.key in keyed],
        )

    def committed(self) -> None:
        """Everything is in the database."""
        self.drafts = []
        self._keyed.clear()
        self._spool.empty()

    def close(self) -> None:
        """Remove the spool, unless it is needed."""
        if not self.drafts:
            self._spool.close()

    def hand_over(self) -> tuple[str, int]:
        """Keep its records in their file alone, to be adopted later; that file, and how many they are."""
        left = self._spool.name, len(self.drafts)
        self.leave()
        return left

    def leave(self) -> None:
        """In a forked child: all of it is the parent's."""
        self.drafts = []
        self._keyed.clear()
        self._spool.leave()


def adopt_orphans(path: str, write: Callable[[Sequence[Draft]], None]) -> int:
    """Write the records of every spool of *path* whose writer is gone; how many records."""
    count = 0
    for name in sorted(glob(f"{escape(path)}.spool-*")):
        try:
            descriptor = os.open(name, os.O_RDWR)
        except OSError:
            continue  # adopted by somebody else, or not ours to read
        try:
            if not _lock(descriptor) or not os.fstat(descriptor).st_nlink:
                continue
            drafts = _drafts(descriptor)
            if drafts:
                write(drafts)
            count += len(drafts)
            os.unlink(name)
        finally:
            os.close(descriptor)
    return count


def _drafts(descriptor: int) -> list[Draft]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        content = file.read()
    drafts, start = [], 0
    while start + _HEAD.size <= len(content):
        length, check = _HEAD.unpack_from(content, start)
        body = content[start + _HEAD.size : start + _HEAD.size + length]
        if len(body) < length or crc32(body) != check:
            break  # the writer died while it wrote: that record was not acknowledged
        drafts.append(Draft(*marshal.loads(body)))
        start += _HEAD.size + length
    return drafts
