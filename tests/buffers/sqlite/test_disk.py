"""How threads share the writing to the disk."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from support.engines import LONG

from amplitude_moloco.buffers.sqlite.disk import Disk
from amplitude_moloco.buffers.sqlite.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "buffer", "token", is_synced=True)
    journal.begin(journal.new_segment(), 1)
    yield journal
    journal.close(is_done=True)


class TellingLock:
    """A lock that tells who asks for it, and how often it was released."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.holder: threading.Thread | None = None
        self.was_asked = threading.Event()
        self.releases = threading.Semaphore(0)

    def __enter__(self) -> None:
        if self.holder is not threading.current_thread():
            self.was_asked.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self.releases.release()


def test_a_thread_that_is_in_the_journal_may_write_to_the_disk(journal: Journal) -> None:
    """What interrupts a put waits for no thread that waits for the journal meanwhile."""
    lock = TellingLock()
    disk = Disk(journal, cast(threading.RLock, lock))
    with lock:
        lock.holder = threading.current_thread()
        other = threading.Thread(target=disk.write)
        other.start()
        assert lock.was_asked.wait(LONG)
        disk.write()
        assert other.is_alive()
    other.join(LONG)
    assert not other.is_alive()


@pytest.mark.parametrize("is_rotated", [False, True])
def test_threads_share_a_write_to_the_disk(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, *, is_rotated: bool
) -> None:
    """One write is enough for all that was appended before it, if that is in the same segment."""
    writes: list[int] = []
    is_writing, go_on = threading.Event(), threading.Event()

    def fdatasync(descriptor: int) -> None:
        writes.append(descriptor)
        is_writing.set()
        assert go_on.wait(LONG)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    lock = TellingLock()
    disk = Disk(journal, cast(threading.RLock, lock))
    threads = [threading.Thread(target=disk.write) for _ in range(2)]
    threads[0].start()
    assert is_writing.wait(LONG)
    journal.append(b"the second thread's")
    threads[1].start()
    for _ in threads:  # both know what to write; the second one waits for the first
        assert lock.releases.acquire(timeout=LONG)
    if is_rotated:
        journal.begin(journal.new_segment(), 2)
    journal.append(b"this thread's")
    go_on.set()
    for thread in threads:
        thread.join(LONG)
    before = len(writes)
    disk.write()
    assert (before, len(writes) - before) == (2, 2 if is_rotated else 0)


def test_a_disk_that_can_not_be_asked_is_a_fault(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no descriptor is left to write with, that is said, and no thread sees it."""

    def dup(descriptor: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    disk = Disk(journal, threading.RLock())
    monkeypatch.setattr(os, "dup", dup)
    disk.write()
    assert disk.fault == "Too many open files"
    monkeypatch.undo()
    disk.write()
