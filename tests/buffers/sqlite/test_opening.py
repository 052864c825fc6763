"""Which files can be opened as a buffer, and what opening one says about the others."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
from pathlib import Path

import pytest
from support.clock import NOW, Clock
from support.sqlite_buffers import TARGET, OpenBuffer, claim, put
from support.sqlite_files import load_dump, locked, set_schema_version, shell

from amplitude_moloco.buffers.base import BufferState, Degraded
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.gate import Gate
from amplitude_moloco.buffers.sqlite.schema import VERSION
from amplitude_moloco.errors import ConfigurationError

DUMPS = Path(__file__).parents[1] / "golden"
"""What a release writes, as a script of SQL: one for each version of the schema."""


@pytest.mark.parametrize("synchronous", ["2s", "", "NORMAL; DROP TABLE events"])
def test_synchronous_has_three_values(open_buffer: OpenBuffer, synchronous: str) -> None:
    """Any value of synchronous but FULL, 1s and OFF is refused; NORMAL is the older name of 1s."""
    with pytest.raises(ConfigurationError, match="use 'FULL', '1s' or 'OFF'"):
        open_buffer(synchronous=synchronous)


@pytest.mark.parametrize("synchronous", ["FULL", "1s", "OFF", "NORMAL", "off"])
def test_any_way_of_writing_stores_events(
    open_buffer: OpenBuffer, synchronous: str, clock: Clock
) -> None:
    """Whether and when the disk is waited for, events are stored, and claimed after a restart."""
    first = open_buffer(synchronous=synchronous)
    put(first, "a", "b")
    clock.advance(2)
    assert first.tend() == []
    first.close()
    assert claim(open_buffer(synchronous=synchronous)) == ["a", "b"]


def test_another_targets_events_are_not_sent(path: Path, open_buffer: OpenBuffer) -> None:
    """A file that holds events for one target is not opened for another, and both are named."""
    put(first := open_buffer(), "a")
    first.close()
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
    """A SQLite file that is not a buffer is refused, and not changed."""
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
    set_schema_version(path, VERSION + 1)
    message = rf"buffer.db has version {VERSION + 1} .* this release uses {VERSION}"
    with pytest.raises(ConfigurationError, match=message):
        open_buffer()
    set_schema_version(path, VERSION)
    assert claim(open_buffer()) == ["a"]


@pytest.mark.parametrize("dump", sorted(DUMPS.iterdir()), ids=lambda path: path.stem)
def test_an_older_releases_file_is_drained(
    path: Path, open_buffer: OpenBuffer, clock: Clock, dump: Path
) -> None:
    """A file of any release so far is opened with everything in it, and drains."""
    load_dump(path, dump.read_text())
    buffer = open_buffer()
    assert buffer.state() == BufferState(3, 0, 1)
    clock.advance(60)
    entries = buffer.claim(9).entries
    found = [(e.id, e.sync, e.body, e.accepted_at, e.attempts, e.strikes) for e in entries]
    assert found == [
        ("tried", "HOME", b"{}", NOW, 2, 1),
        ("claimed", "HOME", b"{}", NOW, 0, 0),
        ("new 가격", "SEARCH", bytes(range(256)), NOW, 0, 0),
    ]
    assert all(map(buffer.ack, entries))
    (letter,) = buffer.dead_letters()
    assert (letter.reason, letter.status, letter.message) == ("rejected", 400, "missing page_id")
    assert (letter.id, letter.body, letter.buried_at) == ("dead", b"{}", NOW)
    assert buffer.resend(letter)
    assert claim(buffer) == ["dead"]
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_lock_that_stays_is_reported(path: Path, open_buffer: OpenBuffer) -> None:
    """A file that another process keeps locked can't be opened."""
    load_dump(path, (DUMPS / "schema-1.sql").read_text())
    with locked(path), pytest.raises(ConfigurationError, match="kept locked by another process"):
        open_buffer(patience_seconds=0.02)


def test_another_process_that_opens_it_for_ever_is_reported(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """A process that is stuck while it opens the file does not hold up the others for ever."""
    with path.with_name("buffer.db-lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match="kept locked by another process"):
            open_buffer(patience_seconds=0.02)


def test_a_directory_that_cannot_be_written_to_is_reported(
    unprivileged: Path, open_buffer: OpenBuffer
) -> None:
    """If no file can be created, the message names the path and what it must be."""
    unprivileged.chmod(0o500)
    with pytest.raises(ConfigurationError) as caught:
        open_buffer(path=unprivileged / "buffer.db")
    assert str(caught.value).startswith(f"buffer: {unprivileged}/buffer.db can't be used: ")
    assert str(caught.value).endswith("in a directory that it may write to")
    unprivileged.chmod(0o700)


def test_a_file_that_cannot_be_written_to_is_reported(
    unprivileged: Path, open_buffer: OpenBuffer
) -> None:
    """A file that can only be read is refused, and not set aside."""
    path = unprivileged / "buffer.db"
    open_buffer(path=path).close()
    path.chmod(0o400)
    with pytest.raises(ConfigurationError, match="readonly database; it must be a file on a local"):
        open_buffer(path=path)
    assert {each.name for each in unprivileged.iterdir()} >= {"buffer.db", "buffer.db-lock"}


def test_permissions_that_change_while_it_runs_lose_nothing(
    unprivileged: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """While neither folder nor files may be written to, events are sent; then all goes on."""
    path = unprivileged / "buffer.db"
    buffer = open_buffer(path=path, patience_seconds=0.05)
    put(buffer, "a", "b")
    unprivileged.chmod(0o500)
    for each in unprivileged.iterdir():
        each.chmod(0o400)
    news: list[object] = []
    for number in range(3):
        put(buffer, str(number), body=bytes(2 * 1024**2))  # more than the memory should hold
        clock.advance(1)
        news += buffer.tend()
    assert claim(buffer, 1) == ["a"]
    assert all(isinstance(each, Degraded) for each in news)
    unprivileged.chmod(0o700)
    for each in unprivileged.iterdir():
        each.chmod(0o600)
    clock.advance(10)
    buffer.tend()
    clock.advance(10)
    assert buffer.tend() == []
    buffer.close()
    assert claim(open_buffer(path=path)) == ["a", "b", "0", "1", "2"]


def test_a_journal_that_cannot_be_read_is_told_and_waits(
    unprivileged: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """What a dead process has left is not given up where it can't be read now."""
    path = unprivileged / "buffer.db"
    dead = SqliteBuffer(path, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)
    put(dead, "a")
    del dead
    gc.collect()
    (journal,) = unprivileged.glob("*.journal")
    journal.chmod(0)
    buffer = open_buffer(path=path)
    (told,) = buffer.tend()
    assert isinstance(told, Degraded)
    assert claim(buffer) == []
    journal.chmod(0o600)
    clock.advance(1)
    assert buffer.tend() == []
    assert claim(buffer) == ["a"]


def test_a_path_that_is_not_a_file_is_reported(tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """A directory, or a path through a file, is refused."""
    with pytest.raises(ConfigurationError, match="unable to open database file"):
        open_buffer(path=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=os.strerror(errno.ENOTDIR)):
        open_buffer(path=tmp_path / "file" / "buffer.db")


def test_a_child_of_a_process_that_opens_the_file_keeps_no_other_out(path: Path) -> None:
    """A child that is forked while its parent has the gate doesn't hold it, nor closes it twice."""
    with Gate(path, 0.1):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            signal.pause()
    try:
        with Gate(path, 0.1):
            pass
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    with Gate(path, 0.1):
        grandchild = os.fork()
    if grandchild == 0:
        os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
