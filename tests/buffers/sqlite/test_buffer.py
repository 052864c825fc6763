"""What is true of the buffer in a file alone; what it shares with others is in the contract."""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from amplitude_moloco.buffers.base import BufferState, DeadLetter, Entry
from amplitude_moloco.buffers.sqlite.buffer import (
    _CLAIM_AGAIN,
    _CLAIM_FRESH,
    _CLAIMED,
    _DUES,
    _STATE,
    SqliteBuffer,
)
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.gate import is_locked
from amplitude_moloco.errors import ConfigurationError

NOW = 1_700_000_000.0
DAY = 24 * 3600.0
LONG = 20.0
"""Seconds after which a wait in a test has failed."""
NOBODY = 65534
TARGET = "https://mcm.test|SHOP"
DUMPS = Path(__file__).parents[1] / "golden"
"""What a release writes, as a script of SQL: one for each version of the schema."""
ROWS = int(os.environ.get("TORTURE_ROWS", "100000"))


class OpenBuffer(Protocol):
    """The fixture open_buffer."""

    def __call__(self, **settings: Any) -> SqliteBuffer: ...


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


@pytest.fixture
def open_buffer(path: Path) -> Iterator[OpenBuffer]:
    """Opens the file once more, as another process would; all are closed after the test."""
    with ExitStack() as stack:

        def open_one(**settings: Any) -> SqliteBuffer:
            buffer = SqliteBuffer(**{"path": path, "target": TARGET, **settings})
            stack.callback(buffer.close)
            return buffer

        yield open_one


@pytest.fixture
def buffer(open_buffer: OpenBuffer) -> SqliteBuffer:
    return open_buffer()


@contextmanager
def shell(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who has the file open with a tool of SQLite's."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else has SQLite's lock."""
    with shell(path) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


def read(path: Path, query: str) -> Any:
    with shell(path) as db:
        return db.execute(query).fetchone()[0]


def put(buffer: SqliteBuffer, *ids: str, body: bytes = b"body") -> None:
    for id in ids:
        assert buffer.put(id, "HOME", body, NOW) is None


def claim(buffer: SqliteBuffer, limit: int = 1000, now: float = NOW) -> list[str]:
    return [entry.id for entry in buffer.claim(limit, now)]


def claim_one(buffer: SqliteBuffer, now: float = NOW) -> Entry:
    (entry,) = buffer.claim(1, now)
    return entry


def bury(buffer: SqliteBuffer, *ids: str, now: float = NOW, body: bytes = b"body") -> None:
    put(buffer, *ids, body=body)
    for entry in buffer.claim(len(ids), now):
        assert buffer.bury(DeadLetter(entry, "rejected", 400, "no", now))


def dead(buffer: SqliteBuffer) -> list[str]:
    return [letter.entry.id for letter in buffer.dead_letters()]


# -- the file ------------------------------------------------------------------------------------


def test_it_survives_the_process(open_buffer: OpenBuffer) -> None:
    """What was put, given back and buried is there when the file is opened again."""
    first = open_buffer()
    assert first.is_durable
    put(first, "a", "b", "c")
    a, b = first.claim(2, NOW)
    assert first.retry(a, NOW + 5, attempts=3, strikes=2)
    assert first.bury(DeadLetter(b, "rejected", None, "가격", NOW + 1))
    assert first.close() == []
    second = open_buffer()
    assert second.state() == BufferState(2, 0, 1, 3, 3, 0.0)
    (letter,) = second.dead_letters()
    assert letter == DeadLetter(b._replace(token=0), "rejected", None, "가격", NOW + 1)
    again, new = second.claim(9, NOW + 5)
    assert (again.id, again.attempts, again.strikes, new.id) == ("a", 3, 2, "c")


def test_a_key_is_never_used_again(open_buffer: OpenBuffer) -> None:
    """Keys ascend even when the newest entry is gone and the file was closed in between."""
    first = open_buffer()
    put(first, "a", "b")
    newest = first.claim(2, NOW)[1]
    assert first.ack(newest)
    first.close()
    second = open_buffer()
    put(second, "c")
    assert second.state().last_key > newest.key


def test_files_and_directories_are_private(tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """What it creates is for this user alone; what was there is left as it is."""
    tmp_path.chmod(0o755)
    path = tmp_path / "var" / "lib" / "buffer.db"
    put(open_buffer(path=path), "a")
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.rglob("*")}
    names = "buffer.db", "buffer.db-wal", "buffer.db-shm", "buffer.db-lock"
    assert modes == {"var": 0o700, "lib": 0o700, **dict.fromkeys(names, 0o600)}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_an_empty_file_is_a_new_one(
    path: Path, open_buffer: OpenBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """A file without a byte is used, and made private."""
    path.touch(0o644)
    put(open_buffer(), "a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.glob("*.corrupt*")] == []
    assert caplog.records == []


def test_a_link_leads_to_the_file(path: Path, tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """A link and what it leads to are the same buffer, its other files beside the real one."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    put(open_buffer(path=link), "a")
    assert list(link.parent.iterdir()) == [link]
    assert claim(open_buffer()) == ["a"]


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_buffer: OpenBuffer
) -> None:
    """A relative path is meant from where the process is when it opens it."""
    monkeypatch.chdir(tmp_path)
    put(open_buffer(path=":memory:"), "a")
    monkeypatch.chdir("/")
    assert claim(open_buffer(path=tmp_path / ":memory:")) == ["a"]


def test_no_connection_is_left_open(open_buffer: OpenBuffer) -> None:
    """After close() nothing is left to be collected with a warning."""
    buffer = open_buffer()
    put(buffer, "a")
    buffer.close()
    del buffer
    gc.collect()


def test_a_name_may_have_any_characters(tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """What would mean something in a URL means nothing in a path."""
    path = tmp_path / "a b?mode=ro&c%20#d.db"
    put(open_buffer(path=path), "a")
    assert path.exists()


# -- leases --------------------------------------------------------------------------------------


def test_a_live_claim_is_nobody_elses(open_buffer: OpenBuffer) -> None:
    """As long as a lease lasts nobody else gets the entry; then everybody may."""
    ours, theirs = open_buffer(lease_seconds=60), open_buffer()
    put(ours, "a")
    first = claim_one(ours)
    assert claim(theirs, now=NOW + 59.999) == []
    second = claim_one(theirs, now=NOW + 60)
    assert second._replace(token=0) == first._replace(token=0)


@pytest.mark.parametrize("attempts", [0, 1])
@pytest.mark.parametrize(
    "settle",
    [
        lambda buffer, entry: buffer.ack(entry),
        lambda buffer, entry: buffer.retry(entry, NOW, attempts=9),
        lambda buffer, entry: buffer.bury(DeadLetter(entry, "stale", None, "", NOW)),
    ],
    ids=["ack", "retry", "bury"],
)
def test_a_zombie_settles_nothing(
    open_buffer: OpenBuffer, attempts: int, settle: Callable[[SqliteBuffer, Entry], bool]
) -> None:
    """Whose entry was taken over after the lease has ended changes nothing any more."""
    zombie, heir = open_buffer(), open_buffer()
    put(zombie, "a")
    assert zombie.retry(claim_one(zombie), NOW, attempts=attempts)
    old = claim_one(zombie)
    new = claim_one(heir, now=NOW + 60)
    before = heir.state()
    assert settle(zombie, old) is False
    assert (heir.state(), heir.dead_letters()) == (before, [])
    assert zombie.state().claimed == 0
    assert heir.ack(new)


def test_an_outcome_counts_while_nobody_took_over(open_buffer: OpenBuffer) -> None:
    """Whose lease has ended, but was not taken over, can still settle: that spares a duplicate."""
    slow, other = open_buffer(), open_buffer()
    put(slow, "a")
    entry = claim_one(slow)
    assert slow.ack(entry)
    assert claim(other, now=NOW + DAY) == []


def test_its_own_lease_ends_as_well(buffer: SqliteBuffer) -> None:
    """An entry whose outcome never came is claimed again by the same process, with a new token."""
    put(buffer, "a")
    first = claim_one(buffer)
    second = claim_one(buffer, now=NOW + 60)
    assert buffer.state().claimed == 1
    assert not buffer.ack(first)
    assert buffer.state().claimed == 1
    assert buffer.ack(second)


def test_processes_see_each_others_claims(open_buffer: OpenBuffer) -> None:
    """What another process has claimed waits for the end of its lease, and counts as untried."""
    ours, theirs = open_buffer(), open_buffer()
    put(ours, "a", "b")
    entry = claim_one(theirs)
    assert ours.state() == BufferState(2, 0, 0, 2, 1, 0.0)
    assert theirs.state() == BufferState(1, 1, 0, 2, 1, 0.0)
    assert claim(ours) == ["b"]
    assert ours.state() == BufferState(1, 1, 0, 2, 1, NOW + 60)
    assert theirs.ack(entry)
    assert ours.state() == BufferState(0, 1, 0, 2, 2, None)


def test_what_is_claimed_at_the_end_may_be_on_its_way(open_buffer: OpenBuffer) -> None:
    """Others can't claim what a closed buffer had claimed before its lease has ended."""
    ours, theirs = open_buffer(lease_seconds=60), open_buffer()
    put(ours, "a", "b", "c")
    assert len(ours.claim(2, NOW)) == 2
    assert ours.close() == []
    assert claim(theirs) == ["c"]
    assert claim(theirs, now=NOW + 59) == []
    assert claim(theirs, now=NOW + 60) == ["a", "b", "c"]


# -- the clock -----------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_stops_nothing(buffer: SqliteBuffer) -> None:
    """What is due later than any delay and lease explain was written by a clock set back since."""
    put(buffer, "a", "b")
    a, b = buffer.claim(2, NOW)
    assert buffer.retry(a, NOW + 7260, attempts=1)
    assert buffer.retry(b, NOW + 7261, attempts=1)
    assert claim(buffer, now=NOW) == ["b"]
    assert buffer.state().next_due == NOW + 7260
    assert claim(buffer, now=NOW - 1) == ["a"]


def test_a_clock_that_was_set_back_shows_in_the_state(open_buffer: OpenBuffer) -> None:
    """Such an entry is due at once, even for who has not claimed anything yet."""
    buffer = open_buffer(longest_delay_seconds=100, lease_seconds=10)
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), NOW + 111, attempts=1)
    assert buffer.state().next_due == 0.0
    assert buffer.claim(0, NOW + 1) == []
    assert buffer.state().next_due == NOW + 111
    assert open_buffer().state().next_due == 0.0


def test_a_due_time_can_lie_before_all_time(buffer: SqliteBuffer) -> None:
    """A clock that tells 1969 loses nothing."""
    put(buffer, "a", "b")
    a, b = buffer.claim(2, NOW)
    assert buffer.retry(a, -5.0, attempts=1)
    assert buffer.retry(b, 0.0, attempts=1)
    assert claim(buffer, now=2.0) == ["a", "b"]


# -- room ----------------------------------------------------------------------------------------


def test_the_bounds_hold_for_all_processes_together(open_buffer: OpenBuffer) -> None:
    """What others have put takes room as well."""
    ours, theirs = open_buffer(max_events=3), open_buffer(max_events=3)
    put(ours, "a", "b")
    put(theirs, "c")
    assert ours.put("d", "HOME", b"", NOW) == "full"
    assert claim(theirs) == ["a", "b", "c"]


def test_totals_are_counted_anew_when_it_is_opened(path: Path, open_buffer: OpenBuffer) -> None:
    """Totals that are wrong, whoever made them so, are right after the next start."""
    first = open_buffer()
    bury(first, "a")
    put(first, "b", "c")
    first.close()
    with shell(path) as db:
        db.execute("UPDATE totals SET gone = -99, gone_bytes = 99, dead = 9, dead_bytes = 9")
    second = open_buffer(max_events=3, max_bytes=13)
    assert second.state()[:3] == (2, 0, 1)
    assert second.put("d", "HOME", b"123456", NOW) == "full"
    assert second.put("d", "HOME", b"12345", NOW) is None
    assert read(path, "SELECT dead_bytes FROM totals") == 4


def test_space_comes_back(path: Path, open_buffer: OpenBuffer) -> None:
    """A file that was large is small again after its events have left it."""
    buffer = open_buffer()
    put(buffer, *map(str, range(3000)), body=bytes(4000))
    for entry in iter(lambda: buffer.claim(8, NOW), []):
        assert all(map(buffer.ack, entry))
    buffer.close()
    assert path.stat().st_size < 2 * 1024**2


def test_dead_letters_are_bounded(open_buffer: OpenBuffer) -> None:
    """Of more dead letters than may be kept, the oldest go."""
    buffer = open_buffer(max_dead_letters=2)
    bury(buffer, *"abcd")
    assert dead(buffer) == ["c", "d"]
    assert buffer.state().dead == 2


def test_dead_letters_are_bounded_in_bytes(open_buffer: OpenBuffer) -> None:
    """Of dead letters that are too large together, the oldest go."""
    buffer = open_buffer(max_dead_bytes=10)
    bury(buffer, *"abc", body=b"12345")
    assert dead(buffer) == ["b", "c"]
    bury(buffer, "d", body=b"123456")
    assert dead(buffer) == ["d"]


def test_dead_letters_are_forgotten_in_time(open_buffer: OpenBuffer) -> None:
    """Dead letters that are too old go with the next claim."""
    buffer = open_buffer(max_dead_age_seconds=DAY)
    bury(buffer, "a")
    bury(buffer, "b", now=NOW + 1)
    assert buffer.claim(1, NOW + DAY) == []
    assert dead(buffer) == ["a", "b"]
    assert buffer.claim(1, NOW + DAY + 1) == []
    assert dead(buffer) == ["b"]


def test_many_dead_letters_are_forgotten_step_by_step(open_buffer: OpenBuffer) -> None:
    """However many dead letters are too old, no claim takes long for them."""
    buffer = open_buffer(max_dead_age_seconds=DAY)
    bury(buffer, *map(str, range(150)))
    left = []
    for _ in range(3):
        buffer.claim(1, NOW + DAY + 1)
        left.append(buffer.state().dead)
    assert left == [50, 0, 0]


def test_many_dead_letters_are_told_and_resent(buffer: SqliteBuffer) -> None:
    """Hundreds of dead letters are told in order, and each is resent once."""
    ids = [str(number) for number in range(250)]
    bury(buffer, *ids)
    assert dead(buffer) == ids
    assert buffer.resend(ids[::2], NOW) == 125
    assert claim(buffer) == ids[::2]
    assert buffer.resend(None, NOW) == 125
    assert buffer.resend(None, NOW) == 0


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
    """Somebody else takes what is left of a disk."""
    other = disk / "log"
    with suppress(OSError), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))
    return other


def test_a_full_disk_can_still_be_drained(
    small_disk: Path, open_buffer: OpenBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """Events stop short of filling the disk, so that all that are stored can be settled."""
    buffer = open_buffer(path=small_disk / "buffer.db")
    stored = 0
    while (refusal := buffer.put(str(stored), "HOME", bytes(16 * 1024), NOW)) is None:
        stored += 1
    assert refusal == "full"
    assert stored > 500
    settled = 0
    while entries := buffer.claim(16, NOW):
        for entry in entries:
            match settled % 3:
                case 0:
                    assert buffer.bury(DeadLetter(entry, "rejected", 400, "", NOW))
                case 1:
                    assert buffer.retry(entry, NOW + 5, attempts=1)
                case _:
                    assert buffer.ack(entry)
            settled += 1
    assert settled == stored
    while entries := buffer.claim(16, NOW + 5):
        assert all(map(buffer.ack, entries))
    assert buffer.state()[:3] == (0, 0, (stored + 2) // 3)
    for _ in range(128):  # one of these finds out
        refusal = buffer.put("again", "HOME", b"", NOW)
    assert refusal is None
    assert [each.message for each in caplog.records] == [
        "No new events are stored: the disk is all but full, or the buffer's WAL large"
    ]


def test_a_disk_that_others_have_filled_loses_nothing(
    small_disk: Path, open_buffer: OpenBuffer
) -> None:
    """With no room at all nothing is claimed, acks are kept in mind, and all goes on afterwards."""
    buffer = open_buffer(path=small_disk / "buffer.db")
    put(buffer, "a", "b", "c")
    entry = claim_one(buffer)
    log = fill(small_disk)
    while buffer.put("more", "HOME", bytes(100), NOW) is None:
        pass
    assert buffer.put("more", "HOME", bytes(100_000), NOW) == "full"
    assert buffer.ack(entry)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        buffer.claim(1000, NOW)
    log.unlink()
    ids = claim(buffer)
    assert ids[:2] == ["b", "c"]
    assert set(ids[2:]) <= {"more"}
    assert buffer.state().waiting == 0


def test_a_disk_that_is_full_from_the_start_is_told(
    small_disk: Path, open_buffer: OpenBuffer
) -> None:
    """Where there is no room for the file itself, opening it says so."""
    fill(small_disk)
    with pytest.raises(ConfigurationError, match=r"buffer.db can't be used: .*full"):
        open_buffer(path=small_disk / "buffer.db")


def test_a_reader_that_never_ends_does_not_fill_the_disk(
    path: Path, buffer: SqliteBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """While somebody reads, the WAL can't be emptied: it grows so far, then events are refused."""
    megabyte = bytes(1024**2)
    with shell(path) as db:
        db.execute("BEGIN")
        db.execute("SELECT * FROM fresh").fetchall()
        puts = 0
        while buffer.put("id", "HOME", megabyte, NOW) is None:
            puts += 1
        assert puts < 400
        assert buffer.put("id", "HOME", megabyte, NOW) == "full"
        entry = claim_one(buffer)
        assert "the buffer's WAL large" in caplog.text
        assert buffer.ack(entry)
    for _ in range(128):  # one of these finds out
        refusal = buffer.put("id", "HOME", b"", NOW)
    assert refusal is None
    assert path.with_name("buffer.db-wal").stat().st_size < 16 * 1024**2


def test_the_wal_stays_short(path: Path, buffer: SqliteBuffer) -> None:
    """The WAL begins anew again and again, in good time and not by a put."""
    wal = path.with_name("buffer.db-wal")
    sizes = set()
    for _ in range(2000):
        put(buffer, "id", body=bytes(3000))
        assert buffer.ack(claim_one(buffer))
        sizes.add(wal.stat().st_size)
    assert 4 * 1024**2 < max(sizes) < 8 * 1024**2


def test_the_wal_stays_short_where_nothing_is_sent(path: Path, buffer: SqliteBuffer) -> None:
    """Where there are only puts, they see to it themselves, but less often."""
    wal = path.with_name("buffer.db-wal")
    sizes = set()
    for _ in range(4000):
        put(buffer, "id", body=bytes(3000))
        sizes.add(wal.stat().st_size)
    assert 16 * 1024**2 < max(sizes) < 20 * 1024**2
    assert 0 in sizes


def test_who_empties_the_wal_refuses_no_event(path: Path, open_buffer: OpenBuffer) -> None:
    """While one thread sees to the WAL, the puts of others wait for it as for any other thread."""
    buffer = open_buffer(wait_seconds=0.0)

    def put_many(number: int) -> set[str | None]:
        return {buffer.put(str(number), "HOME", bytes(30_000), NOW) for _ in range(800)}

    with ThreadPoolExecutor(3) as pool:
        assert set().union(*pool.map(put_many, range(3))) == {None}
    assert path.with_name("buffer.db-wal").stat().st_size < 24 * 1024**2


def resident_bytes() -> int:
    """How much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the memory")
def test_a_large_backlog_is_opened_and_claimed_quickly(path: Path, open_buffer: OpenBuffer) -> None:
    """However much there is, it opens within two seconds, claims in 20 ms, and keeps none of it."""
    open_buffer().close()
    with shell(path) as db:
        db.execute("BEGIN")
        db.execute(
            "CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n",
            (ROWS,),
        )
        db.execute(
            "INSERT INTO fresh SELECT i, 576 * i, ?, 'id' || i, 'HOME', randomblob(576) FROM n"
            " WHERE i % 2 = 0",
            (NOW,),
        )
        db.execute(
            "INSERT INTO claimed SELECT i, 1e9 + i, 0, NULL, 1, 0, ?, 'id' || i, 'HOME',"
            " randomblob(576) FROM n WHERE i % 2",
            (NOW,),
        )
        db.execute("COMMIT")
    before = resident_bytes()
    start = time.perf_counter()
    buffer = open_buffer(max_events=2 * ROWS)
    assert time.perf_counter() - start < 2
    assert buffer.state()[:5] == (ROWS, 0, 0, ROWS, 2)
    times, cpu_times = [], []
    for _ in range(200):
        start, cpu_start = time.perf_counter(), time.thread_time()
        entries = buffer.claim(16, NOW, newest=4)
        times.append(time.perf_counter() - start)
        cpu_times.append(time.thread_time() - cpu_start)
        assert len(entries) == 16
        assert all(map(buffer.ack, entries))
    assert statistics.median(times) < 0.02
    assert max(cpu_times) < 0.02  # whoever else runs on this machine adds nothing to it
    assert resident_bytes() - before < 32 * 1024**2


def test_what_comes_due_again_is_claimed_though_what_is_new_cannot_be(
    path: Path, buffer: SqliteBuffer
) -> None:
    """Where new events can't be claimed, retries are, and the trouble is told when none is left."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), NOW, attempts=1)
    put(buffer, "b")
    with shell(path) as db:
        db.execute("CREATE TRIGGER no AFTER INSERT ON claimed BEGIN SELECT RAISE(ABORT, 'no'); END")
    assert claim(buffer) == ["a"]
    with pytest.raises(sqlite3.Error, match="no"):
        buffer.claim(9, NOW)
    with shell(path) as db:
        db.execute("DROP TRIGGER no")
    assert claim(buffer) == ["b"]


@pytest.mark.parametrize("statement", [_CLAIM_AGAIN, _CLAIM_FRESH, _CLAIMED, _STATE, _DUES])
def test_no_statement_goes_through_a_backlog_of_retries(
    path: Path, buffer: SqliteBuffer, statement: str
) -> None:
    """Of what was claimed before, an index leads to the few rows that are needed."""
    names = "limit", "newest", "oldest", "now", "horizon", "lease_end", "token"
    values: Any = (1,) if statement is _DUES else dict.fromkeys(names, 1)
    with shell(path) as db:
        steps = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    on_claimed = [step for step in steps if "claimed" in step and "INDEX" not in step]
    assert on_claimed in ([], ["SEARCH claimed USING INTEGER PRIMARY KEY (rowid=?)"])


# -- time ----------------------------------------------------------------------------------------


def test_a_put_waits_only_so_long_for_another_process(path: Path, open_buffer: OpenBuffer) -> None:
    """While another process keeps the lock, each put is refused in time, however many there are."""
    buffer = open_buffer(wait_seconds=0.05)

    def timed_put(number: int) -> float:
        start = time.perf_counter()
        assert buffer.put(str(number), "HOME", b"", NOW) == "locked"
        return time.perf_counter() - start

    with locked(path), ThreadPoolExecutor(4) as pool:
        times = list(pool.map(timed_put, range(20)))
    assert min(times) >= 0.05
    assert max(times) < 0.5
    put(buffer, "a")
    assert claim(buffer) == ["a"]


def test_a_put_gets_through_as_soon_as_it_can(path: Path, open_buffer: OpenBuffer) -> None:
    """A put that waits is stored when the lock comes free in time."""
    buffer = open_buffer(wait_seconds=LONG)
    with ThreadPoolExecutor(1) as pool, shell(path) as db:
        db.execute("BEGIN IMMEDIATE")
        result = pool.submit(buffer.put, "a", "HOME", b"", NOW)
        assert not result.done()
        db.execute("COMMIT")
        assert result.result(LONG) is None


def test_who_waits_lets_other_threads_go_first(path: Path, open_buffer: OpenBuffer) -> None:
    """A claim that waits for another process does not keep a put from its own short wait."""
    buffer = open_buffer(wait_seconds=0.05, patience_seconds=LONG)
    with ThreadPoolExecutor(1) as pool, shell(path) as db:
        db.execute("BEGIN IMMEDIATE")
        claimed = pool.submit(buffer.claim, 9, NOW)
        assert [buffer.put("a", "HOME", b"", NOW) for _ in range(3)] == ["locked"] * 3
        db.execute("COMMIT")
        claimed.result(LONG)


class Stuck:
    """An id that SQLite is given only when it is told."""

    def __init__(self) -> None:
        self.is_awaited, self.go_on = threading.Event(), threading.Event()

    def __conform__(self, protocol: object) -> str:
        self.is_awaited.set()
        assert self.go_on.wait(LONG)
        return "stuck"


def test_nobody_waits_for_ever_for_another_thread(open_buffer: OpenBuffer) -> None:
    """While a thread is stuck in a put, others are refused in time, and close() returns."""
    buffer = open_buffer(wait_seconds=0.01, patience_seconds=0.02)
    stuck: Any = Stuck()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(buffer.put, stuck, "HOME", b"", NOW)
        assert stuck.is_awaited.wait(LONG)
        assert buffer.put("a", "HOME", b"", NOW) == "locked"
        with pytest.raises(sqlite3.OperationalError) as caught:
            buffer.claim(1, NOW)
        assert is_locked(caught.value)
        assert buffer.close() == []
        stuck.go_on.set()
        assert result.result(LONG) is None
    assert buffer.put("a", "HOME", b"", NOW) == "closed"
    assert buffer.close() == []
    assert claim(open_buffer()) == ["stuck"]


def test_the_own_threads_do_not_refuse_an_event(open_buffer: OpenBuffer) -> None:
    """A thread of this process that takes its time makes a put wait for longer than others may."""
    buffer = open_buffer(wait_seconds=0.01)
    stuck: Any = Stuck()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(buffer.put, stuck, "HOME", b"", NOW)
        assert stuck.is_awaited.wait(LONG)
        second = pool.submit(buffer.put, "a", "HOME", b"", NOW)
        assert wait([second], timeout=0.2).not_done
        stuck.go_on.set()
        assert (first.result(LONG), second.result(LONG)) == (None, None)
    assert claim(buffer) == ["stuck", "a"]


def test_no_event_is_refused_under_load(open_buffer: OpenBuffer) -> None:
    """Where many threads settle, and some only burn time, each put comes through."""
    buffer = open_buffer(wait_seconds=0.001)
    is_over = threading.Event()

    def settle() -> None:
        while not is_over.is_set():
            for entry in buffer.claim(4, NOW):
                assert buffer.ack(entry)

    def burn() -> None:
        while not is_over.is_set():
            pass

    with ThreadPoolExecutor(12) as pool:
        works = [pool.submit(work) for work in [settle] * 8 + [burn] * 4]
        refusals = [buffer.put(str(number), "HOME", b"body", NOW) for number in range(20)]
        is_over.set()
        for work in works:
            work.result(LONG)
    assert refusals == [None] * 20


def test_reading_keeps_no_put_waiting(open_buffer: OpenBuffer, path: Path) -> None:
    """While one thread reads, another one can put."""
    file = SqliteFile(path, target=TARGET)
    stuck: Any = Stuck()
    with ThreadPoolExecutor(1) as pool, closing(file):
        result = pool.submit(file.read, "SELECT ?", (stuck,))
        assert stuck.is_awaited.wait(LONG)
        for _ in range(100):  # one of these would like to read as well
            assert file.store("UPDATE totals SET last_key = last_key + 1", (), 10_000, 0.0) == 1
        stuck.go_on.set()
        assert result.result(LONG) == [("stuck",)]


def test_the_senders_are_told_of_a_lock_that_stays(path: Path, open_buffer: OpenBuffer) -> None:
    """Claims and outcomes wait longer, then raise; the entry comes back when its lease ends."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a", "b")
    a, b = buffer.claim(2, NOW)
    with locked(path):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            buffer.claim(1, NOW)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            buffer.retry(a, NOW, attempts=1)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            buffer.bury(DeadLetter(b, "rejected", 400, "", NOW))
        assert buffer.state() == BufferState(2, 0, 0, 2, 1, NOW + 60)
    assert claim(buffer, now=NOW + 60) == ["a", "b"]


def test_an_ack_is_not_forgotten(path: Path, open_buffer: OpenBuffer) -> None:
    """An ack that could not be made is made by the next claim, before anything is claimed."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    with locked(path):
        assert buffer.ack(entry)
        assert buffer.state() == BufferState(1, 0, 0, 2, 1, 0.0)
    assert claim(buffer, now=NOW + DAY) == ["b"]
    assert buffer.state() == BufferState(0, 1, 0, 2, 2, None)


def test_an_ack_is_made_at_the_latest_at_the_end(path: Path, open_buffer: OpenBuffer) -> None:
    """close() makes the acks that could not be made before."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a")
    entry = claim_one(buffer)
    with locked(path):
        assert buffer.ack(entry)
        assert buffer.state() == BufferState(0, 0, 0, 1, 1, 0.0)  # due, for the sake of the ack
    buffer.close()
    assert open_buffer().state().waiting == 0


def test_close_waits_for_nobody(path: Path, open_buffer: OpenBuffer) -> None:
    """Where an ack can't be made at the end, the event comes again when its lease ends."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a")
    entry = claim_one(buffer)
    with locked(path):
        assert buffer.ack(entry)
        assert buffer.close() == []
    assert buffer.close() == []
    other = open_buffer()
    assert claim(other) == []
    assert claim(other, now=NOW + 60) == ["a"]


def test_a_closed_buffer_says_so(open_buffer: OpenBuffer) -> None:
    """After close() nothing can be done any more, and the state is what it was at the end."""
    buffer = open_buffer()
    bury(buffer, "a")
    put(buffer, "b")
    entry = claim_one(buffer)
    buffer.close()
    assert buffer.put("c", "HOME", b"", NOW) == "closed"
    assert not buffer.bury(DeadLetter(entry, "rejected", 400, "", NOW))
    assert buffer.claim(1, NOW) == []
    assert buffer.dead_letters() == []
    assert buffer.state() == BufferState(0, 1, 1, 2, None, None)


def test_calls_that_wait_end_with_the_buffer(path: Path, open_buffer: OpenBuffer) -> None:
    """A put that waits for a lock when the buffer is closed is refused at once."""
    buffer = open_buffer(wait_seconds=LONG, patience_seconds=0.02)
    with locked(path), ThreadPoolExecutor(1) as pool:
        result = pool.submit(buffer.put, "a", "HOME", b"", NOW)
        buffer.close()
        assert result.result(LONG) == "closed"


@pytest.mark.parametrize(
    ("id", "now"), [("\udc80", NOW), ("a", float("nan"))], ids=["surrogate", "nan"]
)
def test_a_put_never_raises(buffer: SqliteBuffer, id: str, now: float) -> None:
    """What can't be stored is refused, and harms nothing."""
    assert buffer.put(id, "HOME", b"", now) == "unavailable"
    put(buffer, "b")
    assert claim(buffer) == ["b"]


def test_trouble_while_running_refuses_the_event(path: Path, buffer: SqliteBuffer) -> None:
    """A put never raises, whatever SQLite says."""
    with shell(path) as db:
        db.execute("DROP TABLE totals")
    assert buffer.put("a", "HOME", b"", NOW) == "unavailable"


def test_a_file_that_is_taken_away_is_noticed(path: Path, buffer: SqliteBuffer) -> None:
    """Soon after somebody has deleted the file, nothing is put into what nobody can find."""
    put(buffer, "a")
    for each in path.parent.glob("buffer.db*"):
        each.unlink()
    refusals = [buffer.put("b", "HOME", b"", NOW) for _ in range(130)]
    assert refusals[-1] == "full"


def test_the_parent_of_a_fork_goes_on(buffer: SqliteBuffer) -> None:
    """A process that forks has lost neither its events nor its claims."""
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert buffer.ack(entry)
    put(buffer, "c")
    assert claim(buffer) == ["b", "c"]


def test_a_file_that_is_gone_after_a_fork_is_not_made_anew(
    path: Path, buffer: SqliteBuffer
) -> None:
    """Who has to connect again finds no file, and does not put into another one."""
    put(buffer, "a")
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    path.unlink()
    assert buffer.put("b", "HOME", b"", NOW) == "unavailable"
    assert not path.exists()


# -- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("synchronous", ["OFF", "normal", "", "NORMAL; DROP TABLE events"])
def test_how_safe_it_is_can_be_chosen_of_two(open_buffer: OpenBuffer, synchronous: str) -> None:
    """Another value of synchronous than the two is refused."""
    with pytest.raises(ConfigurationError, match="it is 'NORMAL' or 'FULL'"):
        open_buffer(synchronous=synchronous)


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_it_is_as_safe_as_was_chosen(path: Path, synchronous: str, level: int) -> None:
    """SQLite is told how to write to the disk."""
    with closing(SqliteFile(path, target=TARGET, synchronous=synchronous)) as file:
        assert file.read("PRAGMA synchronous") == [(level,)]


def test_another_targets_events_are_not_sent(path: Path, open_buffer: OpenBuffer) -> None:
    """A file that holds events for one target is not opened for another, and both are named."""
    put(open_buffer(), "a")
    with pytest.raises(ConfigurationError) as caught:
        open_buffer(target="https://mcm.test|OTHER")
    assert str(caught.value) == (
        f"buffer: {path} holds events for 'https://mcm.test|SHOP', not for "
        f"'https://mcm.test|OTHER'; give each target a file of its own"
    )
    assert claim(open_buffer()) == ["a"]


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE TABLE users (name)",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 1",
        "CREATE TABLE events (key); PRAGMA user_version = 1; PRAGMA application_id = 7",
    ],
)
def test_another_applications_file_is_left_alone(
    path: Path, open_buffer: OpenBuffer, statements: str
) -> None:
    """A SQLite file that is no buffer is refused, and not changed."""
    with shell(path) as db:
        db.executescript(statements)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"buffer.db is another application's SQLite file"):
        open_buffer()
    assert path.read_bytes() == before


def test_a_newer_releases_file_is_left_alone(path: Path, open_buffer: OpenBuffer) -> None:
    """A schema that this release does not know is refused, and nothing is set aside."""
    put(first := open_buffer(), "a")
    first.close()
    with shell(path) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match=r"buffer.db has version 2 .* this release uses 1"):
        open_buffer()
    with shell(path) as db:
        db.execute("PRAGMA user_version = 1")
    assert claim(open_buffer()) == ["a"]


@pytest.mark.parametrize("dump", sorted(DUMPS.iterdir()), ids=lambda path: path.stem)
def test_an_older_releases_file_is_drained(path: Path, open_buffer: OpenBuffer, dump: Path) -> None:
    """A file of any release so far is opened with all that is in it, and drains."""
    path.touch()
    with shell(path) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.executescript(dump.read_text())
    buffer = open_buffer()
    assert buffer.state()[:3] == (3, 0, 1)
    entries = buffer.claim(9, NOW + 60)
    told = [(e.id, e.sync, e.body, e.accepted_at, e.attempts, e.strikes) for e in entries]
    assert told == [
        ("tried", "HOME", b"{}", NOW, 2, 1),
        ("claimed", "HOME", b"{}", NOW, 0, 0),
        ("new 가격", "SEARCH", bytes(range(256)), NOW, 0, 0),
    ]
    assert all(map(buffer.ack, entries))
    (letter,) = buffer.dead_letters()
    assert letter[1:] == ("rejected", 400, "missing page_id", NOW)
    assert (letter.entry.id, letter.entry.body) == ("dead", b"{}")
    assert buffer.resend(None, NOW) == 1
    assert claim(buffer) == ["dead"]
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_file_that_vanished_under_others_is_not_made_anew(
    path: Path, buffer: SqliteBuffer, open_buffer: OpenBuffer
) -> None:
    """While others still have the old file open, no new one is begun beside it."""
    path.unlink()
    with pytest.raises(ConfigurationError, match="stop the other"):
        open_buffer()


def test_a_lock_that_stays_is_told(path: Path, open_buffer: OpenBuffer) -> None:
    """A file that another process keeps locked can't be opened."""
    open_buffer().close()
    with locked(path), pytest.raises(ConfigurationError, match="kept locked by another process"):
        open_buffer(patience_seconds=0.02)


def test_who_opens_it_and_never_ends_is_told(path: Path, open_buffer: OpenBuffer) -> None:
    """A process that is stuck while it opens the file does not hold up the others for ever."""
    with path.with_name("buffer.db-lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match="kept locked by another process"):
            open_buffer(patience_seconds=0.02)


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """An empty directory of nobody's, as whom the test goes on."""
    directory = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield directory
        finally:
            os.seteuid(0)
    else:
        yield directory
    shutil.rmtree(directory)


def test_a_directory_that_cannot_be_written_to_is_told(
    unprivileged: Path, open_buffer: OpenBuffer
) -> None:
    """Where no file can be made, the message names the path and what it must be."""
    unprivileged.chmod(0o500)
    with pytest.raises(ConfigurationError) as caught:
        open_buffer(path=unprivileged / "new" / "buffer.db")
    assert str(caught.value).startswith(f"buffer: {unprivileged}/new/buffer.db can't be used: ")
    assert str(caught.value).endswith("in a directory that it may write to")
    unprivileged.chmod(0o700)


def test_a_file_that_cannot_be_written_to_is_told(
    unprivileged: Path, open_buffer: OpenBuffer
) -> None:
    """A file that can only be read is refused, and not set aside."""
    path = unprivileged / "buffer.db"
    open_buffer(path=path).close()
    path.chmod(0o400)
    with pytest.raises(ConfigurationError, match="readonly database; it must be a file on a local"):
        open_buffer(path=path)
    assert {each.name for each in unprivileged.iterdir()} >= {"buffer.db", "buffer.db-lock"}


def test_a_path_that_is_no_file_is_told(tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """A directory, or a path through a file, is refused."""
    with pytest.raises(ConfigurationError, match="unable to open database file"):
        open_buffer(path=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=os.strerror(errno.ENOTDIR)):
        open_buffer(path=tmp_path / "file" / "buffer.db")


# -- damage --------------------------------------------------------------------------------------


def overwrite_pages(path: Path) -> None:
    """All but the first page and the last."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 2 * 4096))


def overwrite_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    path.write_text("Dear diary")


def misspell_schema(path: Path) -> None:
    data = path.read_bytes()
    assert data.count(b"CREATE TABLE fresh") == 1
    path.write_bytes(data.replace(b"CREATE TABLE fresh", b"CREATE T\xe0BLE fresh"))


@pytest.mark.parametrize(
    "damage", [overwrite_pages, overwrite_header, misspell_schema, cut, replace]
)
def test_a_corrupt_file_is_set_aside(
    path: Path,
    open_buffer: OpenBuffer,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    """A damaged file is kept under another name, loudly, and a new one takes its place."""
    first = open_buffer()
    put(first, *map(str, range(100)))
    first.close()
    damage(path)
    damaged = path.read_bytes()
    buffer = open_buffer()
    assert buffer.state().waiting == 0
    put(buffer, "a")
    (aside,) = path.parent.glob("buffer.db.corrupt-*")
    assert aside.read_bytes() == damaged
    assert abs(int(aside.name.rpartition("-")[2]) - time.time()) < 60
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("amplitude_moloco", logging.ERROR)
    assert str(aside) in record.getMessage()


def test_each_corrupt_file_is_kept(path: Path, open_buffer: OpenBuffer) -> None:
    """Files that are set aside within one second do not replace each other."""
    for number in range(3):
        path.write_text(f"No database {number}")
        open_buffer().close()
    kept = [each.read_text() for each in path.parent.glob("buffer.db.corrupt-*")]
    assert sorted(kept) == [f"No database {number}" for number in range(3)]


def test_a_damaged_text_holds_nothing_up(path: Path, buffer: SqliteBuffer) -> None:
    """An id of which a bit has toppled is claimed like the others."""
    put(buffer, "a", "b")
    with shell(path) as db:
        db.execute("UPDATE fresh SET id = CAST(x'ff' AS TEXT) WHERE id = 'a'")
    assert claim(buffer) == ["\ufffd", "b"]


def test_a_file_that_lacks_something_is_told(path: Path, open_buffer: OpenBuffer) -> None:
    """A sound file whose tables somebody has changed is refused, and left as it is."""
    open_buffer().close()
    with shell(path) as db:
        db.execute("DROP TABLE dead_letters")
    with pytest.raises(ConfigurationError, match="no such table: dead_letters"):
        open_buffer()
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_torn_wal_is_no_damage(path: Path, open_buffer: OpenBuffer) -> None:
    """Of a WAL that was cut short, everything before the cut is there."""
    first = open_buffer()
    put(first, *"abc")
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    wal = copy.with_name("copy.db-wal")
    os.truncate(wal, wal.stat().st_size - 10)
    assert claim(open_buffer(path=copy)) == ["a", "b"]
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_corrupt_file_that_is_in_use_stays(
    path: Path, buffer: SqliteBuffer, open_buffer: OpenBuffer
) -> None:
    """It is set aside, with its WAL, once nobody uses it; until then, opening it says so."""
    put(buffer, "a")
    path.with_name("buffer.db-wal").write_bytes(b"")
    path.write_text("No database" * 1000)
    with pytest.raises(ConfigurationError, match=r"is corrupt .* and in use"):
        open_buffer()
    buffer.close()
    assert open_buffer().state().waiting == 0
    asides = [each.name.rpartition("-")[2] for each in path.parent.glob("*.corrupt-*")]
    assert {"wal", "shm"} <= set(asides)


def test_damage_found_while_running_is_checked_at_the_next_start(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """Word of it is left beside the file, since a large file is not always checked to its end."""
    gate = path.with_name("buffer.db-lock")
    buffer = open_buffer()
    put(buffer, *map(str, range(500)), body=bytes(1000))
    buffer.close()
    buffer = open_buffer()
    assert gate.stat().st_size == 0
    with shell(path) as db:  # so that what the buffer remembers of the file is out of date
        db.execute("UPDATE totals SET last_key = last_key + 1")
        overwrite_pages(path)
    assert buffer.put("a", "HOME", b"", NOW) == "unavailable"
    assert gate.stat().st_size > 0
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        buffer.claim(9, NOW)
    buffer.close()
    with closing(SqliteFile(path, target=TARGET, check_seconds=0)):
        assert gate.stat().st_size == 0
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_damage_that_a_quick_check_misses_is_found_at_the_next_start(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """An index that contradicts its table stops one process, and no second one."""
    put(first := open_buffer(), "a", "b")
    for entry in first.claim(2, NOW):
        assert first.retry(entry, NOW, attempts=1)
    first.close()
    with shell(path) as db:
        db.execute("PRAGMA writable_schema = ON")
        row = db.execute("SELECT * FROM sqlite_master WHERE name = 'claimed_due'").fetchone()
        db.execute("DELETE FROM sqlite_master WHERE name = 'claimed_due'")
    with shell(path) as db:
        db.execute("UPDATE claimed SET due = 5 WHERE id = 'a'")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    second = open_buffer()
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        second.claim(9, NOW)
    second.close()
    put(third := open_buffer(), "c")
    assert claim(third) == ["c"]


def test_the_check_of_a_large_file_is_cut_short(
    path: Path, open_buffer: OpenBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """A start is not held up for longer than it may be."""
    caplog.set_level(logging.INFO)
    buffer = open_buffer()
    put(buffer, *map(str, range(2000)), body=bytes(1000))
    buffer.close()
    SqliteFile(path, target=TARGET, check_seconds=0).close()
    assert "too large to be checked at each start" in caplog.text
