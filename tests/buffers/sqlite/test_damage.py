"""What happens to a file that is damaged."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.sqlite_buffers import TARGET, OpenBuffer, bury, claim, put
from support.sqlite_files import (
    contradict_index,
    cut,
    drop_table,
    misspell_schema,
    overwrite_header,
    overwrite_pages,
    overwrite_text,
    replace,
)

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DeadLetterReason, DropReason


@pytest.mark.parametrize(
    "damage", [overwrite_pages, overwrite_header, misspell_schema, cut, replace]
)
def test_a_corrupt_file_is_set_aside(
    path: Path,
    open_buffer: OpenBuffer,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    """A damaged file is kept under another name, logged as an error, and a new one replaces it."""
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
    assert record.levelno == logging.ERROR
    assert record.name.startswith("amplitude_moloco.buffers.sqlite")
    assert str(aside) in record.getMessage()


def test_each_corrupt_file_is_kept(path: Path, open_buffer: OpenBuffer) -> None:
    """Files that are set aside within one second do not replace each other."""
    open_buffer().close()
    for number in range(3):
        path.write_text(f"No database {number}")
        open_buffer().close()
    kept = [each.read_text() for each in path.parent.glob("buffer.db.corrupt-*")]
    assert sorted(kept) == [f"No database {number}" for number in range(3)]


def test_a_damaged_text_holds_nothing_up(path: Path, open_buffer: OpenBuffer) -> None:
    """An id with a flipped bit is claimed like the others."""
    first = open_buffer()
    put(first, "damaged", "b")
    first.close()
    overwrite_text(path, b"damaged", b"\xffamaged")
    assert claim(open_buffer()) == ["\ufffdamaged", "b"]


def test_a_damaged_reason_hides_no_letter(path: Path, open_buffer: OpenBuffer) -> None:
    """A dead letter whose reason can't be read is still there, and counts as rejected."""
    first = open_buffer()
    bury(first, "a", "b")
    first.close()
    data = path.read_bytes()
    assert data.count(b"rejected") == 2
    path.write_bytes(data.replace(b"rejected", b"rejecte\xff", 1))
    letters = list(open_buffer().dead_letters())
    assert [letter.id for letter in letters] == ["a", "b"]
    assert {letter.reason for letter in letters} == {DeadLetterReason.REJECTED}


def test_a_file_that_lacks_a_table_is_reported(path: Path, open_buffer: OpenBuffer) -> None:
    """A sound file whose tables another program has changed is refused, and left as it is."""
    open_buffer().close()
    drop_table(path, "dead_letters")
    with pytest.raises(ConfigurationError, match="no such table: dead_letters"):
        open_buffer()
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_torn_wal_is_no_damage(path: Path, open_buffer: OpenBuffer) -> None:
    """If the WAL was cut short, everything before the cut is there."""
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
    """It is set aside, with its WAL, once no process uses it; until then, opening it says so."""
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
    """It is noted beside the file, since a large file is not always checked to its end."""
    gate = path.with_name("buffer.db-lock")
    buffer = open_buffer()
    put(buffer, *map(str, range(500)), body=bytes(1000))
    buffer.close()
    buffer, other = open_buffer(), open_buffer()
    assert gate.stat().st_size == 0
    put(other, "other")  # so that what the buffer remembers of the file is out of date
    overwrite_pages(path)
    assert buffer.put("a", "HOME", b"") is DropReason.UNAVAILABLE
    assert gate.stat().st_size > 0
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        buffer.claim(9)
    buffer.close()
    other.close()
    with closing(SqliteFile(path, target=TARGET, check_seconds=0)):
        assert gate.stat().st_size == 0
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_damage_that_a_quick_check_misses_is_found_at_the_next_start(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """An index that contradicts its table stops one process, and no second one."""
    put(first := open_buffer(), "a", "b")
    for entry in first.claim(2).entries:
        assert first.retry(entry, 0.0, attempts=1)
    first.close()
    contradict_index(path)
    second = open_buffer()
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        second.claim(9)
    second.close()
    put(third := open_buffer(), "c")
    assert claim(third) == ["c"]


def test_the_check_of_a_large_file_is_cut_short(
    path: Path, open_buffer: OpenBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """The check delays no start for longer than it may."""
    caplog.set_level(logging.INFO)
    buffer = open_buffer()
    put(buffer, *map(str, range(2000)), body=bytes(1000))
    buffer.close()
    SqliteFile(path, target=TARGET, check_seconds=0).close()
    assert "too large to be checked at each start" in caplog.text
