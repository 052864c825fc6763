"""A buffer's files, read and changed by a program that sends nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.clock import NOW, Clock
from support.sqlite_buffers import TARGET, OpenBuffer, bury, claim, claim_one, dead, put
from support.sqlite_files import drop_table, flip_byte, locked, overwrite_header, set_schema_version

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.letters import LetterFile
from amplitude_moloco.buffers.sqlite.reader import Contents, SqliteReader
from amplitude_moloco.buffers.sqlite.schema import VERSION
from amplitude_moloco.errors import ConfigurationError

NOTHING = Contents(0, 0, 0, 0, 0, 0, 0, None, None)
WRITER = """
import os, sys, signal
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DeadLetterReason
buffer = SqliteBuffer(sys.argv[1], target="t")
for id in "abc":
    buffer.put(id, "HOME", b"body")
(entry,) = buffer.claim(1).entries
buffer.bury(entry, DeadLetterReason.REJECTED, status=400, message="no")
list(buffer.dead_letters())
os.kill(os.getpid(), signal.SIGKILL)
"""


def files_beside(path: Path) -> dict[str, bytes]:
    """What lies in the folder, but for the index of the WAL, which SQLite makes of it."""
    files = (each for each in path.parent.iterdir() if not each.name.endswith("-shm"))
    return {each.name: each.read_bytes() for each in files}


def ids(reader: SqliteReader) -> list[str]:
    return [letter.id for letter in reader.letters()]


@pytest.fixture
def reader(path: Path, clock: Clock, open_buffer: OpenBuffer) -> SqliteReader:
    """A reader of a file that no process has open."""
    open_buffer().close()
    return SqliteReader(path, wall=clock.wall)


@pytest.fixture
def letter_file(path: Path, clock: Clock) -> Iterator[LetterFile]:
    with closing(LetterFile(path, target=TARGET, wall=clock.wall)) as letters:
        yield letters


class TestReading:
    """What a reader sees."""

    def test_an_empty_buffer(self, reader: SqliteReader) -> None:
        """A buffer without an event has nothing to count, and knows its target."""
        assert reader.contents() == NOTHING
        assert reader.contents().waiting == 0
        assert reader.target == TARGET
        assert ids(reader) == []

    def test_all_processes_events(
        self, reader: SqliteReader, open_buffer: OpenBuffer, clock: Clock
    ) -> None:
        """Events count where they are: in the file, or in the journal of whichever process."""
        first, second = open_buffer(), open_buffer()
        put(first, "a", "b", body=b"12345")
        clock.advance(10)
        put(second, "c")
        assert reader.contents() == NOTHING._replace(
            journaled=3, journals=2, oldest_age_seconds=10.0
        )
        entry = claim_one(first)
        assert first.retry(entry, 3600, attempts=1)
        first.close()
        clock.advance(5)
        found = reader.contents()
        assert (found.stored, found.stored_bytes, found.journaled, found.journals) == (2, 10, 1, 1)
        assert (found.waiting, found.oldest_age_seconds) == (3, 15.0)
        assert found.next_seconds == 0.0
        assert claim(second) == ["b", "c"]
        found = reader.contents()
        assert (found.waiting, found.next_seconds) == (3, 3595.0)

    def test_letters(self, reader: SqliteReader, open_buffer: OpenBuffer, clock: Clock) -> None:
        """It yields the same dead letters as the buffer, over several pages, oldest first."""
        buffer = open_buffer()
        names = [str(number) for number in range(250)]
        bury(buffer, *names)
        from_buffer = list(buffer.dead_letters())
        assert list(reader.letters()) == from_buffer
        assert [letter.id for letter in from_buffer] == names
        assert reader.contents()[4:6] == (250, 1000)
        assert from_buffer[0].buried_at == NOW

    def test_only_what_is_there_at_the_start(
        self, reader: SqliteReader, open_buffer: OpenBuffer
    ) -> None:
        """Letters that are added while others are read come with the next reading."""
        buffer = open_buffer()
        bury(buffer, *map(str, range(101)))
        assert len(dead(buffer)) == 101
        letters = reader.letters()
        first = next(letters)
        bury(buffer, "late")
        assert dead(buffer)[-1] == "late"
        assert [first.id, *(letter.id for letter in letters)] == [*map(str, range(101))]

    def test_a_damaged_letter_is_left_out(self, path: Path, open_buffer: OpenBuffer) -> None:
        """What can't be read is passed over, and left for the buffer to set aside."""
        buffer = open_buffer()
        bury(buffer, "a", "damaged letter", "c")
        dead(buffer)
        buffer.close()
        flip_byte(path, b"damaged letter", 3)
        reader = SqliteReader(path)
        assert ids(reader) == ["a", "c"]
        assert dead(open_buffer()) == ["a", "c"]
        assert reader.contents().damaged == 1

    @pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
    def test_changes_no_file(self, path: Path, open_buffer: OpenBuffer, is_open: bool) -> None:
        """It writes nothing, makes no file, and locks none, whether the app runs or not."""
        buffer = open_buffer()
        bury(buffer, "a")
        dead(buffer)
        put(buffer, "b")
        if not is_open:
            buffer.close()
        before = files_beside(path)
        reader = SqliteReader(path)
        assert ids(reader) == ["a"]
        assert reader.contents().waiting == 1
        assert files_beside(path) == before

    def test_leaves_what_the_dead_have_left(self, path: Path) -> None:
        """After kill -9 it sees what is there, and leaves it for the app's next start."""
        killed = subprocess.run(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=60,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        before = files_beside(path)
        reader = SqliteReader(path)
        assert ids(reader) == ["a"]
        assert (reader.contents().waiting, reader.contents().journals) == (2, 1)
        assert files_beside(path) == before

    def test_while_another_writes(self, path: Path, open_buffer: OpenBuffer) -> None:
        """It waits for no process that holds SQLite's lock."""
        buffer = open_buffer()
        bury(buffer, "a")
        dead(buffer)
        with locked(path):
            assert ids(SqliteReader(path)) == ["a"]

    def test_an_app_that_starts_meanwhile(
        self, path: Path, open_buffer: OpenBuffer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a process opens the file during a read, it is read again, with its changes."""
        open_buffer().close()
        reader = SqliteReader(path)
        connect = sqlite3.connect
        opened: list[SqliteBuffer] = []

        class Late(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                cursor = super().execute(sql, *values)
                monkeypatch.setattr(sqlite3, "connect", connect)
                if not opened:
                    opened.append(open_buffer())
                    bury(opened[0], "a")
                    dead(opened[0])
                return cursor

        monkeypatch.setattr(
            sqlite3, "connect", lambda *args, **more: connect(*args, factory=Late, **more)
        )
        assert reader.contents().dead == 1
        assert opened


class TestRefusals:
    """What a reader can't read."""

    def refusal(self, path: Path) -> str:
        with pytest.raises(ConfigurationError) as caught:
            SqliteReader(path)
        return str(caught.value)

    def test_nothing_there(self, path: Path) -> None:
        """A path without a file is refused, and no file is made."""
        assert self.refusal(path) == f"buffer: {path} does not exist; use the path of a buffer"
        assert not path.exists()

    def test_another_file(self, path: Path) -> None:
        """A file that is not SQLite's, or another application's, is refused."""
        path.write_text("Dear diary, " * 100)
        assert self.refusal(path).startswith(f"buffer: {path} is not a buffer;")
        path.unlink()
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE events (id)")
        assert self.refusal(path).startswith(f"buffer: {path} is not a buffer;")

    def test_a_damaged_header(self, path: Path, open_buffer: OpenBuffer) -> None:
        """A file whose head is damaged is left as it is."""
        open_buffer().close()
        overwrite_header(path)
        before = path.read_bytes()
        assert self.refusal(path).startswith(f"buffer: {path} is not a buffer;")
        assert path.read_bytes() == before

    def test_another_version(self, path: Path, open_buffer: OpenBuffer) -> None:
        """A file of another release is not migrated."""
        open_buffer().close()
        set_schema_version(path, 1)
        assert f"has version 1 of the schema, this release uses {VERSION}" in self.refusal(path)

    def test_a_missing_table(self, path: Path, open_buffer: OpenBuffer) -> None:
        """What SQLite reports is raised as it is."""
        open_buffer().close()
        drop_table(path, "totals")
        with pytest.raises(sqlite3.OperationalError, match="totals"):
            SqliteReader(path)

    def test_a_folder(self, tmp_path: Path) -> None:
        """A folder is refused."""
        assert "is not a regular file" in self.refusal(tmp_path)

    def test_a_read_that_fails(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault that is no damage is raised as it is."""
        path.write_bytes(b"")

        def fail(*args: Any, **more: Any) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        monkeypatch.setattr(sqlite3, "connect", fail)
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            SqliteReader(path)


class TestLetters:
    """What a program that sends nothing may change."""

    def letters(self, path: Path, *names: str) -> list[DeadLetter]:
        return [letter for letter in SqliteReader(path).letters() if letter.id in names]

    def test_resend(
        self, path: Path, open_buffer: OpenBuffer, clock: Clock, letter_file: LetterFile
    ) -> None:
        """A resent letter is an event that the running app claims, with its id and body."""
        buffer = open_buffer()
        bury(buffer, "a", "b", "c", body=b"sale")
        dead(buffer)
        clock.advance(100)
        assert letter_file.resend(self.letters(path, "a", "c")) == 2
        assert dead(buffer) == ["b"]
        assert SqliteReader(path, wall=clock.wall).contents().oldest_age_seconds == 0.0
        clock.advance(1)
        buffer.tend()
        assert buffer.has_due
        entries = buffer.claim(10).entries
        assert [(each.id, each.sync, each.body, each.attempts) for each in entries] == [
            ("a", "HOME", b"sale", 0),
            ("c", "HOME", b"sale", 0),
        ]
        assert [each.accepted_at for each in entries] == [NOW + 100, NOW + 100]
        assert all(map(buffer.ack, entries))
        assert buffer.state()[:2] == (0, 0)

    def test_delete(self, path: Path, open_buffer: OpenBuffer, letter_file: LetterFile) -> None:
        """A deleted letter is gone, and its text is erased from the file."""
        buffer = open_buffer()
        bury(buffer, "a", "b", body=b"a secret text")
        dead(buffer)
        assert letter_file.delete(self.letters(path, "a", "b")) == 2
        assert dead(buffer) == []
        assert buffer.state() == (0, 0, 0)
        buffer.close()
        letter_file.close()
        assert b"a secret text" not in path.read_bytes()

    def test_what_is_gone(
        self, path: Path, open_buffer: OpenBuffer, letter_file: LetterFile
    ) -> None:
        """A letter that another process has taken meanwhile is neither resent nor counted."""
        buffer = open_buffer()
        bury(buffer, "a", "b")
        dead(buffer)
        letters = self.letters(path, "a", "b")
        assert buffer.resend(letters[0])
        assert letter_file.resend(letters) == 1
        assert letter_file.delete(letters) == letter_file.resend(letters) == 0
        assert sorted(claim(buffer)) == ["a", "b"]

    def test_all_or_none(
        self, path: Path, open_buffer: OpenBuffer, letter_file: LetterFile
    ) -> None:
        """What interrupts a call leaves all of its letters as they were."""
        buffer = open_buffer()
        bury(buffer, "a", "b")
        dead(buffer)
        letters = self.letters(path, "a", "b")

        def interrupted() -> Iterator[DeadLetter]:
            yield letters[0]
            raise KeyboardInterrupt

        for change in (letter_file.resend, letter_file.delete):
            with pytest.raises(KeyboardInterrupt):
                change(interrupted())
            assert dead(buffer) == ["a", "b"]
        assert letter_file.resend(letters) == 2

    def test_a_stopped_app(
        self, path: Path, open_buffer: OpenBuffer, letter_file: LetterFile
    ) -> None:
        """Without a running app, resent letters wait for its next start."""
        buffer = open_buffer()
        bury(buffer, "a")
        buffer.close()
        letter_file.resend(self.letters(path, "a"))
        letter_file.close()
        assert claim(open_buffer()) == ["a"]

    def test_another_target(self, path: Path, open_buffer: OpenBuffer) -> None:
        """A file of another target is refused, as by a buffer."""
        open_buffer().close()
        with pytest.raises(ConfigurationError, match="holds events for"):
            LetterFile(path, target="other")
