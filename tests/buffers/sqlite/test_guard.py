"""Which files a buffer uses, and which it leaves alone."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import Clock
from support.sqlite_buffers import TARGET, OpenBuffer, bury, claim, claim_one, put, resend_all
from support.sqlite_files import cut, locked, overwrite_header, overwrite_pages, shell

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.guard import open_lock
from amplitude_moloco.errors import ConfigurationError

NEIGHBOURS = ["-lock", "-wal", "-shm", "-journal"]
ANOTHER_USER = 65533
DEAD = "0123456789abcdef"
"""The name of a process that has died."""
DUMP = Path(__file__).parents[1] / "golden" / "schema-1.sql"


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.parametrize(
    "content",
    [
        b"platform_id = 'SHOP'\n",
        b"x",
        b"suspect",
        bytes(10_000),
        b"SQLite format 3",
        b"SQLite format 2\0" + bytes(5000),
        DUMP.read_bytes(),
        b"MOLB" * 100,
    ],
    ids=lambda content: content[:12].hex() if isinstance(content, bytes) else "",
)
def test_a_file_that_never_was_a_buffer_is_left_alone(
    path: Path, open_buffer: OpenBuffer, content: bytes, again: int
) -> None:
    """A file of another kind is refused however often it is tried, and nothing lies beside it."""
    path.write_bytes(content)
    path.chmod(0o644)
    for _ in range(again):
        with pytest.raises(ConfigurationError) as refused:
            open_buffer()
        assert str(refused.value) == (
            f"buffer: {path} is not a buffer, and is left as it is; use a path where no other file "
            f"lies"
        )
    assert contents(path.parent) == {"buffer.db": content}
    assert path.stat().st_mode & 0o777 == 0o644


@given(content=st.binary(min_size=1, max_size=300))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None
)
def test_any_other_file_is_left_alone(path: Path, content: bytes) -> None:
    """Whatever a file holds, if it is not SQLite's it is refused and keeps its content."""
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is not a buffer, and is left as it is"):
        SqliteBuffer(path, target=TARGET)
    assert contents(path.parent) == {"buffer.db": content}


@pytest.mark.parametrize("damage", [overwrite_pages, cut])
def test_another_applications_damaged_file_is_left_alone(
    path: Path, open_buffer: OpenBuffer, damage: Callable[[Path], None]
) -> None:
    """A SQLite file of another application is not set aside, even if it is corrupt."""
    with shell(path) as db:
        db.execute("CREATE TABLE users (name)")
        db.executemany("INSERT INTO users VALUES (?)", [["x" * 100]] * 1000)
    damage(path)
    path.chmod(0o644)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            open_buffer()
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.glob("*.corrupt-*")) == []


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_another_applications_file_gets_no_lock_file(
    path: Path, open_buffer: OpenBuffer, mode: str
) -> None:
    """It is refused however often it is tried, even once it is replaced by another kind of file."""
    with shell(path) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("CREATE TABLE users (name)")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="another application's SQLite file"):
            open_buffer()
        assert [each.name for each in path.parent.iterdir()] == ["buffer.db"]
    path.write_bytes(b"no longer a database")
    with pytest.raises(ConfigurationError, match="is not a buffer, and is left as it is"):
        open_buffer()
    assert contents(path.parent) == {"buffer.db": b"no longer a database"}


@pytest.mark.parametrize("suffix", NEIGHBOURS)
def test_no_buffer_has_the_name_of_a_file_beside_another(
    tmp_path: Path, open_buffer: OpenBuffer, suffix: str
) -> None:
    """A typing mistake would make two buffers write into one file."""
    with pytest.raises(ConfigurationError, match="the name of a file beside another buffer"):
        open_buffer(path=tmp_path / f"buffer.db{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", NEIGHBOURS)
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("exists", [True, False], ids=["old buffer", "new buffer"])
def test_no_link_is_followed(
    path: Path,
    tmp_path: Path,
    open_buffer: OpenBuffer,
    suffix: str,
    *,
    is_there: bool,
    exists: bool,
) -> None:
    """A link in place of a file beside the buffer is refused, and its target untouched."""
    if exists:
        open_buffer().close()
    victim = tmp_path / "victim"
    if is_there:
        victim.write_text("precious")
    link = Path(f"{path}{suffix}")
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    with pytest.raises(ConfigurationError, match=f"buffer.db{suffix} is a link, .* not followed"):
        open_buffer()
    assert victim.exists() == is_there
    assert not is_there or victim.read_text() == "precious"


@pytest.mark.parametrize("suffix", NEIGHBOURS)
@pytest.mark.parametrize("content", ["", "precious"])
@pytest.mark.parametrize("exists", [True, False], ids=["old buffer", "new buffer"])
def test_no_hard_link_is_written_through(
    path: Path,
    tmp_path: Path,
    open_buffer: OpenBuffer,
    suffix: str,
    content: str,
    *,
    exists: bool,
) -> None:
    """Another file with a second name beside the buffer is refused, and keeps what it holds."""
    if exists:
        open_buffer().close()
    victim = tmp_path / "victim"
    victim.write_text(content)
    beside = Path(f"{path}{suffix}")
    beside.unlink(missing_ok=True)
    os.link(victim, beside)
    with pytest.raises(ConfigurationError, match=f"buffer.db{suffix} .* left as it is; "):
        open_buffer()
    assert victim.read_text() == content
    assert beside.stat().st_nlink == 2


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_no_link_is_followed_while_a_damaged_file_is_salvaged(
    path: Path,
    tmp_path: Path,
    open_buffer: OpenBuffer,
    suffix: str,
    link: Callable[[Path, Path], None],
) -> None:
    """What is readable is copied into a file of its own, whatever lies in its place."""
    buffer = open_buffer()
    put(buffer, "a")
    buffer.close()
    overwrite_header(path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link(victim, Path(f"{path}-new{suffix}"))
    open_buffer()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_hard_link_that_comes_later_is_not_written_through(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, clock: Clock, suffix: str
) -> None:
    """While it is there events wait in the journal, and then they are sent."""
    buffer = open_buffer()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        each.unlink()
    beside = Path(f"{path}{suffix}")
    os.link(victim, beside)
    put(buffer, "a")
    clock.advance(1)
    news = buffer.tend()
    assert victim.read_text() == "precious"
    assert any(f"buffer.db{suffix} has a second name" in str(each) for each in news)
    beside.unlink()
    clock.advance(1)
    buffer.tend()
    assert claim(buffer) == ["a"]


def test_a_link_to_no_buffer_is_refused(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer
) -> None:
    """A link in place of the buffer leaves a file of another kind as it is."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(ConfigurationError, match="victim is not a buffer"):
        open_buffer()
    assert victim.read_text() == "precious"
    assert {each.name for each in tmp_path.iterdir()} == {"victim", "buffer.db"}


@pytest.mark.parametrize("suffix", ["", *NEIGHBOURS])
def test_what_is_not_a_regular_file_is_refused(
    path: Path, open_buffer: OpenBuffer, suffix: str
) -> None:
    """A pipe in place of any file is refused at once, without waiting for its other end."""
    os.mkfifo(f"{path}{suffix}")
    with pytest.raises(ConfigurationError, match=f"buffer.db{suffix} .* not a regular file"):
        open_buffer()


@pytest.mark.parametrize("content", ["precious", "suspect and more"])
def test_a_lock_file_that_holds_something_is_left_alone(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, content: str
) -> None:
    """Another file in place of the lock, even by a hard link, is refused and not truncated."""
    open_buffer().close()
    lock = tmp_path / "buffer.db-lock"
    lock.unlink()
    victim = tmp_path / "victim"
    victim.write_text(content)
    os.link(victim, lock)
    with pytest.raises(ConfigurationError, match="not a buffer's lock file, and is left as it is"):
        open_buffer()
    assert victim.read_text() == content


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604, 0o755])
def test_files_that_others_can_read_are_narrowed(
    path: Path, open_buffer: OpenBuffer, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """All files of a buffer become private when it is opened, and the log says so."""
    first = open_buffer()
    put(first, "a")
    names = [path, *(Path(f"{path}{suffix}") for suffix in ("-lock", "-wal", "-shm"))]
    for each in names:
        each.chmod(mode)
    second = open_buffer()
    first.close()
    assert claim(second) == ["a"]
    assert {each.stat().st_mode & 0o077 for each in names if each.exists()} == {0}
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any(f"{path} (mode {mode:o}); now only its owner can" in each for each in warnings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_another_users_file_that_others_can_read_is_refused(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """A file that can't be narrowed, since it is another user's, is refused."""
    path.touch()
    path.chmod(0o666)
    path.parent.chmod(0o777)
    for folder in list(path.parents)[:-1]:
        folder.chmod(folder.stat().st_mode | 0o111)
    os.seteuid(ANOTHER_USER)
    try:
        with pytest.raises(ConfigurationError, match="belongs to another user"):
            open_buffer()
    finally:
        os.seteuid(0)


def erased(path: Path, text: bytes) -> bool:
    """Whether neither the file nor its WAL holds a text."""
    return not any(text in each.read_bytes() for each in path.parent.iterdir())


@pytest.mark.parametrize("size", [100, 3_000, 50_000])
def test_what_was_delivered_is_erased(path: Path, open_buffer: OpenBuffer, size: int) -> None:
    """Once the buffer is closed, no body of a delivered event is left in the file's free space."""
    buffer = open_buffer()
    secret = b"shopper-4711@example.com"
    put(buffer, *map(str, range(40)), body=secret + bytes(size))
    bury(buffer, "dead", body=secret)
    while entries := buffer.claim(7).entries:
        assert all(map(buffer.ack, entries))
    assert resend_all(buffer) == 1
    while entries := buffer.claim(7).entries:
        assert all(map(buffer.ack, entries))
    buffer.close()
    assert erased(path, secret)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_buffer_shows_its_path(buffer: SqliteBuffer, path: Path) -> None:
    """The repr has the absolute path, and never raises."""
    assert repr(buffer) == f"SqliteBuffer('{path}')"
    assert repr(SqliteBuffer.__new__(SqliteBuffer)) == "SqliteBuffer(None)"
    put(buffer, "a")
    assert buffer.ack(claim_one(buffer))


def test_a_link_that_takes_the_lock_files_place_is_not_followed(tmp_path: Path) -> None:
    """A link that appears after the files were checked is refused when it is opened."""
    victim, lock = tmp_path / "victim", tmp_path / "buffer.db-lock"
    victim.write_bytes(b"precious")
    lock.symlink_to(victim)
    with pytest.raises(ConfigurationError, match="is a link, which is not followed"):
        open_lock(lock)
    assert victim.read_bytes() == b"precious"
    with pytest.raises(IsADirectoryError):
        open_lock(tmp_path)


def leave_journal(path: Path, open_buffer: OpenBuffer, *, is_damaged: bool) -> Path:
    """A process has died, and left a journal with one event, and perhaps a damaged one."""
    put(open_buffer(), "a", "b")
    (living,) = path.parent.glob("*.journal")
    left = path.with_name(f"{path.name}-{DEAD}-00000001.journal")
    content = living.read_bytes()
    left.write_bytes(content.replace(b"body", b"xxxx", 1) if is_damaged else content)
    return left


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_journal_that_others_can_read_is_narrowed(
    path: Path, open_buffer: OpenBuffer, *, is_damaged: bool
) -> None:
    """That of a dead process too, and what is kept of it because it is damaged."""
    leave_journal(path, open_buffer, is_damaged=is_damaged)
    for each in path.parent.iterdir():
        each.chmod(0o644)
    found = open_buffer().state()
    assert found.waiting == (3 if is_damaged else 4)
    assert list(path.parent.glob("*.damaged")) != [] or not is_damaged
    assert {each.stat().st_mode & 0o077 for each in path.parent.iterdir()} == {0}


def test_a_damaged_file_that_others_can_read_is_narrowed(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """What is set aside holds events too."""
    first = open_buffer()
    put(first, "a")
    first.close()
    overwrite_header(path)
    for each in path.parent.iterdir():
        each.chmod(0o644)
    open_buffer()
    assert list(path.parent.glob("*.corrupt-*")) != []
    assert {each.stat().st_mode & 0o077 for each in path.parent.iterdir()} == {0}


def test_files_of_others_beside_the_buffer_keep_their_mode(
    path: Path, open_buffer: OpenBuffer, tmp_path: Path
) -> None:
    """Only the buffer's own files are narrowed, and no link to another one."""
    others = [tmp_path / name for name in ("buffer.db-notes.txt", "buffer.db2", "other.journal")]
    victim = tmp_path / "victim"
    for each in (*others, victim):
        each.write_text("x")
        each.chmod(0o644)
    for number, link in ((1, os.symlink), (2, os.link)):
        link(victim, path.with_name(f"{path.name}-{DEAD}-0000000{number}.journal"))
    open_buffer()
    assert {each.stat().st_mode & 0o777 for each in (*others, victim)} == {0o644}


@pytest.mark.parametrize("name", [f"{DEAD}.lock", f"{DEAD}-00000001.journal"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_link_in_place_of_a_dead_processs_file_is_followed(
    path: Path,
    tmp_path: Path,
    open_buffer: OpenBuffer,
    name: str,
    link: Callable[[Path, Path], None],
) -> None:
    """The file behind it is neither written nor cut, and the buffer goes on."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link(victim, path.with_name(f"{path.name}-{name}"))
    buffer = open_buffer()
    put(buffer, "a")
    buffer.tend()
    assert claim(buffer) == ["a"]
    assert victim.read_text() == "precious"


def test_a_folder_in_place_of_a_journal_stops_nothing(path: Path, open_buffer: OpenBuffer) -> None:
    """It is left alone."""
    folder = path.with_name(f"{path.name}-{DEAD}-00000001.journal")
    folder.mkdir()
    buffer = open_buffer()
    put(buffer, "a")
    assert buffer.tend() == []
    assert (buffer.state().waiting, claim(buffer)) == (1, ["a"])
    assert folder.is_dir()


def test_a_path_forges_no_line_of_the_log(
    tmp_path: Path, open_buffer: OpenBuffer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the log says that the file can be used again."""
    folder = tmp_path / "a\nCRITICAL root: forged\x1b[31m"
    folder.mkdir()
    caplog.set_level(logging.DEBUG)
    buffer = open_buffer(path=folder / "buffer.db")
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 20, attempts=1)
    with locked(folder / "buffer.db"):
        for _ in range(4):
            clock.advance(1)
            buffer.tend()
    for _ in range(8):
        clock.advance(1)
        buffer.tend()
    messages = [record.getMessage() for record in caplog.records]
    assert any("can be used again" in each for each in messages)
    assert all(each.isprintable() for each in messages)
