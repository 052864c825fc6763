"""The bounds of the buffer in files, the disk under it, and what a large backlog costs."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.clock import Clock
from support.repeats import repeats
from support.sqlite_buffers import (
    DAY,
    LONG,
    TARGET,
    OpenBuffer,
    bury,
    bury_entry,
    claim,
    claim_one,
    dead,
    put,
    resend_all,
)
from support.sqlite_files import Connections, being_read, largest_file, load_dump
from support.waiting import await_that

from amplitude_moloco.buffers.base import BufferState, Degraded
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DropReason

ROWS = repeats(30_000, 1_000_000)
DUMP = Path(__file__).parents[1] / "golden" / "schema-1.sql"


def tend(buffer: SqliteBuffer, clock: Clock) -> list[object]:
    """Let a second pass. Returns what the buffer tells."""
    clock.advance(1)
    return list(buffer.tend())


def test_the_bounds_hold_for_all_processes_together(open_buffer: OpenBuffer, clock: Clock) -> None:
    """What other processes have put takes room as well, wherever it lies, within a second."""
    bounds = {"max_events": 4, "max_bytes": 100}
    ours, theirs, gone = (open_buffer(**bounds) for _ in range(3))
    put(ours, "a")
    put(gone, "b")
    gone.close()
    put(theirs, "c")
    for buffer in (theirs, ours):
        assert tend(buffer, clock) == []
    put(ours, "d")
    assert ours.put("e", "HOME", b"") is DropReason.FULL
    assert tend(ours, clock) == []
    late = open_buffer(max_bytes=112)  # the others hold three bodies of four bytes in the file
    refusals = [late.put("x", "HOME", bytes(size)) for size in (90, 11, 1)]
    assert refusals == [None, DropReason.FULL, None]
    assert sorted(claim(theirs) + claim(ours)) == ["a", "b", "c", "d"]


def test_the_totals_of_an_older_file_are_counted_again(path: Path, open_buffer: OpenBuffer) -> None:
    """Totals of a release 0.1 that are wrong, for whatever reason, are right after the start."""
    script = DUMP.read_text()
    right, wrong = f"VALUES('{TARGET}',3,6,1,2,1,2)", f"VALUES('{TARGET}',3,6,-99,99,9,9)"
    assert script.count(right) == 1
    load_dump(path, script.replace(right, wrong))  # three entries of 260 bytes, and a dead letter
    buffer = open_buffer(max_events=5, max_bytes=265)
    assert buffer.state() == BufferState(3, 0, 1)
    assert buffer.put("d", "HOME", b"123456") is DropReason.FULL
    assert buffer.put("d", "HOME", b"12345") is None
    assert buffer.put("e", "HOME", b"") is None
    assert buffer.put("f", "HOME", b"") is DropReason.FULL


def test_space_comes_back(path: Path, open_buffer: OpenBuffer, clock: Clock) -> None:
    """A file that was large is small again after its events have left it."""
    buffer = open_buffer()
    put(buffer, *map(str, range(3000)), body=bytes(4000))
    assert tend(buffer, clock) == []
    for entries in iter(lambda: buffer.claim(8).entries, []):
        assert all(map(buffer.ack, entries))
    assert tend(buffer, clock) == []
    assert tend(buffer, clock) == []
    buffer.close()
    assert sum(each.stat().st_size for each in path.parent.glob("buffer.db*")) < 2 * 1024**2


# -- dead letters --------------------------------------------------------------------------------


def test_dead_letters_are_bounded(open_buffer: OpenBuffer, clock: Clock) -> None:
    """Beyond the bound, the oldest dead letters are forgotten."""
    buffer = open_buffer(max_dead_letters=2)
    bury(buffer, *"abcd")
    assert tend(buffer, clock) == []
    assert dead(buffer) == ["c", "d"]
    assert buffer.state().dead == 2


def test_dead_letters_are_bounded_in_bytes(open_buffer: OpenBuffer, clock: Clock) -> None:
    """When dead letters are too large together, the oldest are forgotten."""
    buffer = open_buffer(max_dead_bytes=10)
    bury(buffer, *"abc", body=b"12345")
    assert tend(buffer, clock) == []
    assert dead(buffer) == ["b", "c"]
    bury(buffer, "d", body=b"123456")
    assert tend(buffer, clock) == []
    assert dead(buffer) == ["d"]


def test_dead_letters_are_forgotten_in_time(open_buffer: OpenBuffer, clock: Clock) -> None:
    """Dead letters that are too old are forgotten."""
    buffer = open_buffer(max_dead_age_seconds=DAY)
    bury(buffer, "a")
    clock.advance(2)
    bury(buffer, "b")
    clock.advance(DAY - 3)
    assert tend(buffer, clock) == []
    assert dead(buffer) == ["a", "b"]
    assert tend(buffer, clock) == []
    assert dead(buffer) == ["b"]


def test_many_dead_letters_are_forgotten_step_by_step(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """However many dead letters are too old, no tending takes long for them."""
    buffer = open_buffer(max_dead_age_seconds=DAY)
    bury(buffer, *map(str, range(1500)))
    assert tend(buffer, clock) == []
    clock.advance(DAY + 1)
    left = []
    for _ in range(3):
        assert tend(buffer, clock) == []
        left.append(buffer.state().dead)
    assert left == [500, 0, 0]


def test_many_dead_letters_are_read_and_resent(buffer: SqliteBuffer) -> None:
    """Hundreds of dead letters are read in order, and each is resent once."""
    ids = [str(number) for number in range(250)]
    bury(buffer, *ids)
    assert dead(buffer) == ids
    assert all(map(buffer.resend, list(buffer.dead_letters())[::2]))
    assert claim(buffer) == ids[::2]
    assert resend_all(buffer) == 125
    assert resend_all(buffer) == 0


# -- the disk ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 MiB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if not (mount and umount and os.geteuid() == 0):
        pytest.skip("only root can mount a small disk")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk], check=False
    ).returncode:
        pytest.skip("this system allows no mounts")
    yield disk
    subprocess.run([umount, "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """Fill the rest of a disk with another program's file."""
    other = disk / "log"
    with suppress(OSError), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))
    return other


def test_a_full_disk_sends_events_through_memory(
    small_disk: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """With no room at all events are sent as before, which is told once, and then all goes on."""
    buffer = open_buffer(path=small_disk / "buffer.db")
    put(buffer, "a", "b")
    log = fill(small_disk)
    news = []
    for number in range(300):
        put(buffer, f"id-{number}", body=bytes(16 * 1024))
        for entry in buffer.claim(4).entries:
            assert buffer.ack(entry)
        news += tend(buffer, clock)
    (told,) = news
    assert isinstance(told, Degraded)
    assert "No space left" in told.message
    put(buffer, "kept", body=bytes(16 * 1024))
    log.unlink()
    assert tend(buffer, clock) == []
    heir = open_buffer(path=copied(small_disk / "buffer.db"))
    assert claim(heir) == ["kept"]


def copied(path: Path) -> Path:
    """What lies on the disk, as the next start would find it."""
    folder = path.parent / "copy"
    folder.mkdir()
    for each in path.parent.glob("buffer.db*"):
        shutil.copy(each, folder)
    return folder / path.name


def test_a_full_disk_refuses_what_memory_cannot_hold(
    small_disk: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """If nothing is sent either, events are refused as full, and nothing stored is lost."""
    buffer = open_buffer(path=small_disk / "buffer.db")
    stored = 0
    for _ in range(10_000):
        refusal = buffer.put(str(stored), "HOME", bytes(64 * 1024))
        if refusal is not None:
            break
        stored += 1
        if stored % 50 == 0:
            tend(buffer, clock)
    assert refusal is DropReason.FULL
    assert stored > 500
    ids, told = [], []
    tend(buffer, clock)
    for _ in range(stored):
        for entry in buffer.claim(16).entries:
            assert buffer.ack(entry)
            ids.append(entry.id)
        told += tend(buffer, clock)
        if buffer.state() == BufferState(0, 0, 0):
            break
    assert told == []
    assert sorted(ids, key=int) == list(map(str, range(stored)))
    tend(buffer, clock)
    put(buffer, "again")
    assert claim(buffer) == ["again"]


def test_a_disk_that_is_full_from_the_start_is_reported(
    small_disk: Path, open_buffer: OpenBuffer
) -> None:
    """If there is no room for the file itself, opening it says so."""
    fill(small_disk)
    with pytest.raises(ConfigurationError, match=r"buffer.db can't be used: .*full"):
        open_buffer(path=small_disk / "buffer.db")


LIMITED = """
import resource, sys
from amplitude_moloco.buffers.base import Degraded
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

now = [0.0]
buffer = SqliteBuffer(sys.argv[1], target="t", monotonic=lambda: now[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
news = []
for number in range(200):
    assert buffer.put(str(number), "HOME", bytes(3000)) is None
    now[0] += 0.3
    news += buffer.tend()
    entries = buffer.claim(1).entries
    assert buffer.ack(entries[0])
assert all(isinstance(each, Degraded) for each in news) and len(news) <= 4, news
assert buffer.put("last", "HOME", b"body") is None
now[0] += 1
buffer.tend()
assert buffer.close() == []
"""


def test_a_limit_of_file_sizes_loses_nothing(path: Path, open_buffer: OpenBuffer) -> None:
    """With ``ulimit -f`` a journal that can't grow is followed by another one, and all goes on."""
    subprocess.run([sys.executable, "-c", LIMITED, path], check=True, timeout=50)
    assert claim(open_buffer(target="t")) == ["last"]


def test_a_journal_that_cannot_grow_stops_nothing(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """If the journal can't grow, what is new is sent; what is stored, once it can grow again."""
    first = open_buffer()
    put(first, *map(str, range(9)), body=bytes(1000))
    first.close()
    buffer = open_buffer()
    put(buffer, "large", body=bytes(1024**2))
    (journal,) = path.parent.glob("*.journal")
    with largest_file(journal.stat().st_size + 10):
        (large,) = buffer.claim(1, newest=1).entries
        assert buffer.ack(large)
        put(buffer, "new")
        assert claim(buffer) == ["new"]
    assert all(isinstance(each, Degraded) for each in tend(buffer, clock))
    assert claim(buffer) == [*map(str, range(9))]
    assert buffer.state() == BufferState(0, 10, 0)
    buffer.close()
    assert claim(open_buffer()) == [*map(str, range(9)), "new"]


def test_a_disk_that_fails_to_sync_is_told_once(
    open_buffer: OpenBuffer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk can't write what was appended, events are accepted and sent all the same."""
    buffer = open_buffer(synchronous="FULL")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    put(buffer, "a", "b")
    (told,) = tend(buffer, clock) + tend(buffer, clock)
    assert isinstance(told, Degraded)
    assert "Input/output error" in told.message
    monkeypatch.undo()
    assert tend(buffer, clock) == []
    assert claim(buffer) == ["a", "b"]


@pytest.mark.parametrize(("synchronous", "most"), [("1s", 1), ("OFF", 0)])
def test_what_a_second_has_appended_is_written_once(
    open_buffer: OpenBuffer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    synchronous: str,
    most: int,
) -> None:
    """With 1s the disk writes the journal each second in which there was something, else never."""
    buffer = open_buffer(synchronous=synchronous)
    calls: list[int] = []
    monkeypatch.setattr(os, "fdatasync", calls.append)
    for _ in range(3):
        put(buffer, "a", "b")
        assert calls == []
        assert tend(buffer, clock) == tend(buffer, clock) == []
        assert len(calls) == most
        calls.clear()


def test_threads_that_wait_for_the_disk_wait_together(
    path: Path, open_buffer: OpenBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What several threads put while the disk writes is written together by the next write."""
    buffer = open_buffer(synchronous="FULL")
    (journal,) = path.parent.glob("*.journal")
    is_writing, go_on, calls = threading.Event(), threading.Event(), []
    write = os.fdatasync

    def slow(descriptor: int) -> None:
        calls.append(descriptor)
        is_writing.set()
        assert go_on.wait(LONG)
        write(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    before = journal.stat().st_size
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(put, buffer, "0")
        assert is_writing.wait(LONG)
        frame = journal.stat().st_size - before
        others = [threads.submit(put, buffer, str(number)) for number in range(1, 5)]
        await_that(lambda: journal.stat().st_size == before + 5 * frame)
        assert not any(each.done() for each in [first, *others])
        go_on.set()
    assert len(calls) == 2
    assert sorted(claim(buffer)) == ["0", "1", "2", "3", "4"]


def test_what_is_sent_promptly_never_enters_the_shared_file(
    path: Path, buffer: SqliteBuffer, clock: Clock
) -> None:
    """Where senders keep up, an event that waits in memory gets no row; the journal stays small."""
    last_key = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
    with closing(sqlite3.connect(path)) as db:
        before = db.execute(last_key).fetchall()
    for number in range(1000):
        put(buffer, str(number), body=bytes(10_000))
        if number % 16 == 7:
            assert tend(buffer, clock) == []
        if number % 16 == 15:
            assert all(map(buffer.ack, buffer.claim(16).entries))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute(last_key).fetchall() == before
    assert sum(each.stat().st_size for each in path.parent.glob("*.journal")) < 5 * 1024**2


def test_a_reader_that_never_ends_refuses_nothing(
    path: Path, buffer: SqliteBuffer, clock: Clock
) -> None:
    """A reader may keep the WAL from being emptied: events go on, and it is emptied afterwards."""
    with being_read(path):
        for number in range(30):
            put(buffer, str(number), body=bytes(1024**2))
            assert tend(buffer, clock) == []
    assert claim(buffer, 1) == ["0"]
    assert tend(buffer, clock) == []
    assert path.with_name("buffer.db-wal").stat().st_size < 16 * 1024**2


# -- a backlog -----------------------------------------------------------------------------------


def resident_bytes() -> int:
    """How much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux shows the memory")
def test_memory_stays_flat_through_a_long_outage(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """However many events wait, memory and journal stay small, and all come out once."""
    buffer = open_buffer(max_events=2 * ROWS)
    before = resident_bytes()
    for number in range(ROWS):
        assert buffer.put(str(number), "HOME", bytes(600)) is None
        if number % 16 == 0:
            assert buffer.tend() == []
        if number % 1000 == 0:
            clock.advance(1)
    assert resident_bytes() - before < 40 * 1024**2
    assert sum(each.stat().st_size for each in path.parent.glob("*.journal")) < 24 * 1024**2
    assert buffer.state().waiting == ROWS
    found = 0
    while entries := buffer.claim(16).entries:
        for entry in entries:
            assert entry.id == str(found)
            assert buffer.ack(entry)
            found += 1
        if found % 1600 == 0:
            clock.advance(1)
        assert buffer.tend() == []
    assert found == ROWS
    assert resident_bytes() - before < 40 * 1024**2


CALLS: dict[str, Callable[[SqliteBuffer], object]] = {
    "claim": lambda buffer: buffer.claim(0),
    "tend": lambda buffer: buffer.tend(),
    "state": lambda buffer: buffer.state(),
    "checkpoint": lambda buffer: buffer.checkpoint()(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_call_goes_through_a_backlog(
    tmp_path: Path,
    open_buffer: OpenBuffer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[SqliteBuffer], object],
) -> None:
    """No call costs SQLite more with 5,000 waiting entries than with 100."""
    connections = Connections(monkeypatch)
    costs = []
    for rows in (100, 5000):
        first = open_buffer(path=tmp_path / f"{rows}.db")
        put(first, *map(str, range(rows)))
        for number, entry in enumerate(first.claim(rows // 2).entries):
            assert first.retry(entry, 3600.0 if number % 2 else 0.0, attempts=1)
        first.close()
        buffer = open_buffer(path=tmp_path / f"{rows}.db")
        clock.advance(1.0)
        with connections.counting_steps() as steps:
            call(buffer)
        costs.append(steps[0])
        buffer.close()
    few, many = costs
    assert 0 < many <= 1.25 * few + 50


@pytest.mark.parametrize("start", ["BEGIN", "SELECT", "UPDATE", "INSERT", "DELETE"])
def test_trouble_of_the_file_stops_nothing(
    open_buffer: OpenBuffer, clock: Clock, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """Whatever fails in SQLite, events are stored and sent, it is told once, and all goes on."""
    connections = Connections(monkeypatch)
    first = open_buffer()
    put(first, "a", "b")
    first.close()
    buffer = open_buffer(patience_seconds=0.02)
    connections.fail(start, sqlite3.OperationalError("disk I/O error"))
    put(buffer, "c", "d")
    found = claim(buffer, 1)
    assert bury_entry(buffer, claim_one(buffer))
    news = tend(buffer, clock) + tend(buffer, clock)
    assert len(news) <= 1
    connections.recover()
    news += tend(buffer, clock)
    assert all(isinstance(each, Degraded) for each in news)
    buffer.close()
    again = open_buffer()
    ids = found + claim(again) + dead(again)
    assert sorted(set(ids)) == ["a", "b", "c", "d"]
