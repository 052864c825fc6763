"""The bounds of the buffer in a file, the disk under it, and what a large backlog costs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
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
from support.sqlite_files import Connections, being_read, load_dump

from amplitude_moloco.buffers.base import BufferState
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DropReason

ROWS = int(os.environ.get("TORTURE_ROWS", "10000"))
BODY = bytes(max(600, 50_000_000 // ROWS))
DUMP = Path(__file__).parents[1] / "golden" / "schema-1.sql"
NO_ROOM = "No new events are stored: the disk is almost full, or the buffer's WAL too large"


def test_the_bounds_hold_for_all_processes_together(open_buffer: OpenBuffer) -> None:
    """What other processes have put takes room as well."""
    ours, theirs = open_buffer(max_events=3), open_buffer(max_events=3)
    put(ours, "a", "b")
    put(theirs, "c")
    assert ours.put("d", "HOME", b"") is DropReason.FULL
    assert claim(theirs) == ["a", "b", "c"]


def test_totals_are_counted_again_when_it_is_opened(path: Path, open_buffer: OpenBuffer) -> None:
    """Totals that are wrong, for whatever reason, are right after the next start."""
    script = DUMP.read_text()
    right, wrong = f"VALUES('{TARGET}',3,6,1,2,1,2)", f"VALUES('{TARGET}',3,6,-99,99,9,9)"
    assert script.count(right) == 1
    load_dump(path, script.replace(right, wrong))  # three entries of 260 bytes, and a dead letter
    buffer = open_buffer(max_events=5, max_bytes=265, max_dead_letters=1, max_dead_bytes=2)
    assert buffer.state() == BufferState(3, 0, 1)
    assert buffer.put("d", "HOME", b"123456") is DropReason.FULL
    assert buffer.put("d", "HOME", b"12345") is None
    assert buffer.put("e", "HOME", b"") is None
    assert buffer.put("f", "HOME", b"") is DropReason.FULL
    buffer.claim(0)  # forgets what is beyond the bounds
    assert dead(buffer) == ["dead"]


def test_space_comes_back(path: Path, open_buffer: OpenBuffer) -> None:
    """A file that was large is small again after its events have left it."""
    buffer = open_buffer()
    put(buffer, *map(str, range(3000)), body=bytes(4000))
    for entries in iter(lambda: buffer.claim(8).entries, []):
        assert all(map(buffer.ack, entries))
    buffer.close()
    assert path.stat().st_size < 2 * 1024**2


# -- dead letters --------------------------------------------------------------------------------


def test_dead_letters_are_bounded(open_buffer: OpenBuffer) -> None:
    """Beyond the bound, the oldest dead letters are forgotten."""
    buffer = open_buffer(max_dead_letters=2)
    bury(buffer, *"abcd")
    assert dead(buffer) == ["c", "d"]
    assert buffer.state().dead == 2


def test_dead_letters_are_bounded_in_bytes(open_buffer: OpenBuffer) -> None:
    """When dead letters are too large together, the oldest are forgotten."""
    buffer = open_buffer(max_dead_bytes=10)
    bury(buffer, *"abc", body=b"12345")
    assert dead(buffer) == ["b", "c"]
    bury(buffer, "d", body=b"123456")
    assert dead(buffer) == ["d"]


def test_dead_letters_are_forgotten_in_time(open_buffer: OpenBuffer, clock: Clock) -> None:
    """The next claim forgets dead letters that are too old."""
    buffer = open_buffer(max_dead_age_seconds=DAY)
    bury(buffer, "a")
    clock.advance(1)
    bury(buffer, "b")
    clock.advance(DAY - 1)
    assert claim(buffer) == []
    assert dead(buffer) == ["a", "b"]
    clock.advance(1)
    assert claim(buffer) == []
    assert dead(buffer) == ["b"]


def test_many_dead_letters_are_forgotten_step_by_step(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """However many dead letters are too old, no claim takes long for them."""
    buffer = open_buffer(max_dead_age_seconds=DAY)
    bury(buffer, *map(str, range(150)))
    clock.advance(DAY + 1)
    left = []
    for _ in range(3):
        buffer.claim(1)
        left.append(buffer.state().dead)
    assert left == [50, 0, 0]


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


def test_a_full_disk_can_still_be_drained(
    small_disk: Path, open_buffer: OpenBuffer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Events stop short of filling the disk, so that all that are stored can be settled."""
    buffer = open_buffer(path=small_disk / "buffer.db")
    stored = 0
    while (refusal := buffer.put(str(stored), "HOME", bytes(16 * 1024))) is None:
        stored += 1
    assert refusal == "full"
    assert stored > 500
    settled = 0
    while entries := buffer.claim(16).entries:
        for entry in entries:
            match settled % 3:
                case 0:
                    assert bury_entry(buffer, entry)
                case 1:
                    assert buffer.retry(entry, 5.0, attempts=1)
                case _:
                    assert buffer.ack(entry)
            settled += 1
    assert settled == stored
    clock.advance(5)
    while entries := buffer.claim(16).entries:
        assert all(map(buffer.ack, entries))
    assert buffer.state() == BufferState(0, 0, (stored + 2) // 3)
    for _ in range(128):  # one of these checks the disk
        refusal = buffer.put("again", "HOME", b"")
    assert refusal is None
    assert [each.message for each in caplog.records] == [NO_ROOM]


def test_a_disk_that_others_have_filled_loses_nothing(
    small_disk: Path, open_buffer: OpenBuffer
) -> None:
    """With no room at all nothing is claimed, acks are remembered, and all continues afterwards."""
    buffer = open_buffer(path=small_disk / "buffer.db")
    put(buffer, "a", "b", "c")
    entry = claim_one(buffer)
    log = fill(small_disk)
    while buffer.put("more", "HOME", bytes(100)) is None:
        pass
    assert buffer.put("more", "HOME", bytes(100_000)) is DropReason.FULL
    assert buffer.ack(entry)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        buffer.claim(1000)
    log.unlink()
    ids = claim(buffer)
    assert ids[:2] == ["b", "c"]
    assert set(ids[2:]) <= {"more"}
    assert buffer.state().waiting == 0


def test_a_disk_that_is_full_from_the_start_is_reported(
    small_disk: Path, open_buffer: OpenBuffer
) -> None:
    """If there is no room for the file itself, opening it says so."""
    fill(small_disk)
    with pytest.raises(ConfigurationError, match=r"buffer.db can't be used: .*full"):
        open_buffer(path=small_disk / "buffer.db")


def test_a_reader_that_never_ends_does_not_fill_the_disk(
    path: Path, buffer: SqliteBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """While a reader keeps the WAL from being emptied, events are refused beyond a bound."""
    megabyte = bytes(1024**2)
    with being_read(path):
        puts = 0
        while buffer.put("id", "HOME", megabyte) is None:
            puts += 1
        assert puts < 400
        assert buffer.put("id", "HOME", megabyte) is DropReason.FULL
        entry = claim_one(buffer)
        assert NO_ROOM in caplog.text
        assert buffer.ack(entry)
    for _ in range(128):  # one of these checks the WAL
        refusal = buffer.put("id", "HOME", b"")
    assert refusal is None
    assert path.with_name("buffer.db-wal").stat().st_size < 16 * 1024**2


def test_the_wal_stays_short(path: Path, buffer: SqliteBuffer) -> None:
    """The WAL starts again regularly, and never in a put while there are other calls."""
    wal = path.with_name("buffer.db-wal")
    sizes = set()
    for _ in range(2000):
        put(buffer, "id", body=bytes(3000))
        assert buffer.ack(claim_one(buffer))
        sizes.add(wal.stat().st_size)
    assert 4 * 1024**2 < max(sizes) < 8 * 1024**2


def test_the_wal_stays_short_while_nothing_is_sent(path: Path, buffer: SqliteBuffer) -> None:
    """If there are only puts, they shorten the WAL themselves, but less often."""
    wal = path.with_name("buffer.db-wal")
    sizes = set()
    for _ in range(4000):
        put(buffer, "id", body=bytes(3000))
        sizes.add(wal.stat().st_size)
    assert 16 * 1024**2 < max(sizes) < 20 * 1024**2
    assert 0 in sizes


def test_emptying_the_wal_refuses_no_event(path: Path, open_buffer: OpenBuffer) -> None:
    """While one thread empties the WAL, the puts of others wait for it as for any other thread."""
    buffer = open_buffer(wait_seconds=0.0)

    def put_many(number: int) -> set[DropReason | None]:
        return {buffer.put(str(number), "HOME", bytes(30_000)) for _ in range(800)}

    with ThreadPoolExecutor(3) as pool:
        assert set().union(*pool.map(put_many, range(3))) == {None}
    assert path.with_name("buffer.db-wal").stat().st_size < 24 * 1024**2


# -- a backlog -----------------------------------------------------------------------------------


def resident_bytes() -> int:
    """How much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill_up(buffer: SqliteBuffer, rows: int, body: bytes) -> None:
    """A quarter are retries that are due, a quarter are due later, the others were never sent."""
    for number in range(0, rows, 1000):
        put(buffer, *map(str, range(number, min(number + 1000, rows))), body=body)
        for place, entry in enumerate(buffer.claim(500).entries):
            assert buffer.retry(entry, 3600.0 if place % 2 else 1.0, attempts=1)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux shows the memory")
def test_a_large_backlog_is_opened_and_claimed_quickly(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """However much there is, it is opened and claimed quickly, and none of it kept in memory."""
    first = open_buffer(max_events=2 * ROWS)
    fill_up(first, ROWS, BODY)
    first.close()
    clock.advance(1.0)
    before = resident_bytes()
    start = time.perf_counter()
    buffer = open_buffer(max_events=2 * ROWS)
    assert time.perf_counter() - start < LONG
    assert buffer.state() == BufferState(ROWS, 0, 0)
    start = time.perf_counter()
    for _ in range(200):
        entries = buffer.claim(16, newest=4).entries
        assert len(entries) == 16
        assert all(map(buffer.ack, entries))
    assert time.perf_counter() - start < 200 * 0.2
    assert resident_bytes() - before < 32 * 1024**2


CALLS: dict[str, Callable[[SqliteBuffer], object]] = {
    "put": lambda buffer: buffer.put("id", "HOME", b"body"),
    "claim": lambda buffer: buffer.claim(16, newest=4),
    "claim and ack": lambda buffer: buffer.ack(claim_one(buffer)),
    "claim and retry": lambda buffer: buffer.retry(claim_one(buffer), 5.0, attempts=1),
    "claim and bury": lambda buffer: bury_entry(buffer, claim_one(buffer)),
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
        buffer = open_buffer(path=tmp_path / f"{rows}.db")
        fill_up(buffer, rows, b"body")
        clock.advance(1.0)
        with connections.counting_steps() as steps:
            call(buffer)
        costs.append(steps[0])
        buffer.close()
    few, many = costs
    assert 0 < many <= 1.25 * few + 50


def test_retries_are_claimed_though_new_entries_cannot_be(
    open_buffer: OpenBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If new entries can't be claimed, retries are, and the error is raised when none is left."""
    connections = Connections(monkeypatch)
    buffer = open_buffer()
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 0.0, attempts=1)
    put(buffer, "b")
    connections.fail("INSERT", sqlite3.OperationalError("database or disk is full"))
    assert claim(buffer) == ["a"]
    with pytest.raises(sqlite3.Error, match="full"):
        buffer.claim(9)
    connections.recover()
    assert claim(buffer) == ["b"]


def test_entries_are_returned_though_the_next_cannot_be_seen(
    open_buffer: OpenBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If reading fails after a claim, its entries are returned, and the next claim is due now."""
    connections = Connections(monkeypatch)
    buffer = open_buffer()
    put(buffer, "a")
    connections.fail("SELECT EXISTS", sqlite3.OperationalError("disk I/O error"))
    entries, next_seconds = buffer.claim(9)
    assert ([entry.id for entry in entries], next_seconds) == (["a"], 0.0)
    with pytest.raises(sqlite3.Error, match="I/O"):
        buffer.claim(9)
    connections.recover()
    assert buffer.claim(9) == ([], None)


def test_trouble_while_running_refuses_the_event(
    open_buffer: OpenBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put never raises, whatever SQLite says."""
    connections = Connections(monkeypatch)
    buffer = open_buffer()
    errors: list[tuple[Exception, Any]] = [
        (sqlite3.OperationalError("disk I/O error"), DropReason.UNAVAILABLE),
        (sqlite3.OperationalError("database or disk is full"), DropReason.FULL),
        (sqlite3.IntegrityError("constraint failed"), DropReason.UNAVAILABLE),
        (MemoryError(), DropReason.UNAVAILABLE),
    ]
    for error, refusal in errors:
        connections.fail("INSERT", error)
        assert buffer.put("a", "HOME", b"") is refusal
    connections.recover()
    put(buffer, "b")
    assert claim(buffer) == ["b"]


def test_a_file_that_is_deleted_is_noticed(path: Path, buffer: SqliteBuffer) -> None:
    """Soon after another program has deleted the file, no events are stored any more."""
    put(buffer, "a")
    for each in path.parent.glob("buffer.db*"):
        each.unlink()
    refusals = [buffer.put("b", "HOME", b"") for _ in range(130)]
    assert refusals[-1] is DropReason.FULL
