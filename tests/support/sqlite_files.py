"""The file of a buffer, seen from outside: held by other programs, damaged, and by faulty disks."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def shell(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program has the file open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program holds SQLite's lock, until it commits."""
    with shell(path) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db


@contextmanager
def being_read(path: Path) -> Iterator[None]:
    """Another program reads in one long transaction."""
    with shell(path) as db:
        db.execute("BEGIN")
        db.execute("SELECT * FROM sqlite_master").fetchall()
        yield


def is_sound(path: Path) -> bool:
    with shell(path) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def load_dump(path: Path, script: str) -> None:
    """Create the file from a dump, a script of SQL."""
    path.touch()
    with shell(path) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.executescript(script)


def set_schema_version(path: Path, version: int) -> None:
    with shell(path) as db:
        db.execute(f"PRAGMA user_version = {version}")


# -- damage --------------------------------------------------------------------------------------


def overwrite_pages(path: Path) -> None:
    """Overwrite all pages but the first and the last."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 2 * 4096))


def overwrite_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def overwrite_text(path: Path, old: bytes, new: bytes) -> None:
    """Overwrite a text that the file contains once."""
    assert len(old) == len(new)
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def misspell_schema(path: Path) -> None:
    overwrite_text(path, b"CREATE TABLE events", b"CREATE T\xe0BLE events")


def misspell_column(path: Path) -> None:
    overwrite_text(
        path,
        b"attempts INTEGER NOT NULL,\n        size",
        b"bttempts INTEGER NOT NULL,\n        size",
    )


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    path.write_text("Dear diary")


def drop_table(path: Path, name: str) -> None:
    with shell(path) as db:
        db.execute(f"DROP TABLE {name}")


def overwrite_page(path: Path, number: int) -> None:
    """Overwrite one page of 4096 bytes."""
    with path.open("r+b") as file:
        file.seek(number * 4096)
        file.write(b"\xa5" * 4096)


def flip_byte(path: Path, text: bytes, offset: int) -> None:
    """Change one byte of a text that the file contains once."""
    changed = text[:offset] + bytes([text[offset] ^ 1]) + text[offset + 1 :]
    overwrite_text(path, text, changed)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- connections ---------------------------------------------------------------------------------


class Connections:
    """All connections that are opened from now on, and what goes wrong with them.

    Takes the place of ``sqlite3.connect``.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened: set[sqlite3.Connection] = set()
        self._faults: dict[str, Exception] = {}
        monkeypatch.setattr(sqlite3, "connect", self._wrap(sqlite3.connect))

    def fail(self, start: str, error: Exception) -> None:
        """Have all statements that start like this raise."""
        self._faults[start] = error

    def recover(self) -> None:
        self._faults.clear()

    @contextmanager
    def counting_steps(self) -> Iterator[list[int]]:
        """Counts the steps of SQLite's virtual machine: what statements cost on any machine."""
        steps = [0]

        def count() -> int:
            steps[0] += 1
            return 0

        for db in self._opened:
            db.set_progress_handler(count, 1)
        yield steps
        for db in self._opened:
            db.set_progress_handler(None, 0)

    def _wrap(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., Any]:
        faults, opened = self._faults, self._opened

        class Faulty(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                for start, error in faults.items():
                    if sql.startswith(start):
                        raise error
                return super().execute(sql, *values)

            def close(self) -> None:
                opened.discard(self)
                super().close()

        def connect_faulty(*args: Any, **settings: Any) -> sqlite3.Connection:
            db = connect(*args, factory=Faulty, **settings)
            opened.add(db)
            return db

        return connect_faulty
