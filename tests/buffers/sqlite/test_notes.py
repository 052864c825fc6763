"""When the journal is told what was delivered: so much is sent twice where the process dies."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.clock import Clock
from support.sqlite_buffers import TARGET, OpenBuffer, bury_entry, claim, put
from support.sqlite_files import largest_file, locked

from amplitude_moloco.buffers.base import Degraded
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

NOTED_TOGETHER = 32


@pytest.fixture
def sent_if_killed(path: Path, tmp_path: Path) -> Callable[[], list[str]]:
    """Gives what the next start would send if the process died now."""
    folder = tmp_path / "next start"

    def ids() -> list[str]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for each in path.parent.glob("buffer.db*"):
            shutil.copy(each, folder)
        with closing(SqliteBuffer(folder / path.name, target=TARGET, wall=lambda: 1e12)) as heir:
            return sorted(claim(heir))

    return ids


def test_what_is_delivered_is_noted_before_more_is_claimed(
    buffer: SqliteBuffer, sent_if_killed: Callable[[], list[str]]
) -> None:
    """A kill sends twice nothing but what was on its way when events were last claimed."""
    put(buffer, "a", "b", "c", "d")
    a, b, _ = buffer.claim(3).entries
    assert buffer.ack(a)
    assert buffer.ack(b)
    assert sent_if_killed() == ["a", "b", "c", "d"]
    assert claim(buffer, 1) == ["d"]
    assert sent_if_killed() == ["c", "d"]


def test_it_is_noted_even_where_nothing_is_left_to_be_claimed(
    buffer: SqliteBuffer, sent_if_killed: Callable[[], list[str]]
) -> None:
    """A sender that asks for more, and finds nothing, has noted what was delivered."""
    put(buffer, "a", "b")
    a, _ = buffer.claim(2).entries
    assert buffer.ack(a)
    assert claim(buffer) == []
    assert sent_if_killed() == ["b"]


def test_so_many_are_noted_at_once(
    buffer: SqliteBuffer, sent_if_killed: Callable[[], list[str]]
) -> None:
    """However many are on their way, fewer than 32 that were delivered are not noted."""
    put(buffer, *map(str, range(2 * NOTED_TOGETHER)))
    entries = buffer.claim(2 * NOTED_TOGETHER).entries
    assert all(map(buffer.ack, entries[: NOTED_TOGETHER - 1]))
    assert len(sent_if_killed()) == 2 * NOTED_TOGETHER
    assert buffer.ack(entries[NOTED_TOGETHER - 1])
    assert len(sent_if_killed()) == NOTED_TOGETHER


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (lambda buffer, entry: buffer.ack(entry), []),
        (lambda buffer, entry: buffer.retry(entry, 60.0, attempts=1), ["c"]),
        (bury_entry, ["c"]),
    ],
    ids=["ack", "retry", "bury"],
)
def test_all_is_noted_once_nothing_is_on_its_way(
    buffer: SqliteBuffer,
    sent_if_killed: Callable[[], list[str]],
    end: Callable[[SqliteBuffer, object], bool],
    left: list[str],
) -> None:
    """Once each entry has its answer, whichever, a kill sends none that was delivered."""
    put(buffer, "a", "b", "c")
    a, b, c = buffer.claim(3).entries
    assert buffer.ack(a)
    assert buffer.ack(b)
    assert end(buffer, c)
    assert sent_if_killed() == left


def test_what_is_in_a_lane_is_noted_at_once(
    buffer: SqliteBuffer, sent_if_killed: Callable[[], list[str]]
) -> None:
    """A destination with lanes may count what comes twice: nothing waits for others there."""
    for id, lane in [("a", ""), ("b", "device"), ("c", "")]:
        assert buffer.put(id, "HOME", b"body", lane) is None
    entries = {entry.id: entry for entry in buffer.claim(3).entries}
    assert buffer.ack(entries["a"])
    assert buffer.ack(entries["b"])
    assert sent_if_killed() == ["c"]


def test_a_slow_answer_holds_up_no_note(
    buffer: SqliteBuffer, clock: Clock, sent_if_killed: Callable[[], list[str]]
) -> None:
    """What was delivered is noted within a second, however long others are on their way."""
    put(buffer, "a", "b")
    a, _ = buffer.claim(2).entries
    assert buffer.ack(a)
    clock.advance(1)
    assert buffer.tend() == []
    assert sent_if_killed() == ["b"]


def test_what_can_not_be_noted_now_is_noted_later(
    buffer: SqliteBuffer, path: Path, clock: Clock, sent_if_killed: Callable[[], list[str]]
) -> None:
    """An event whose delivery finds no room in the journal is delivered all the same."""
    put(buffer, "a", "b")
    a, _ = buffer.claim(2).entries
    (journal,) = path.parent.glob("*.journal")
    with largest_file(journal.stat().st_size + 10):
        assert buffer.ack(a)
        assert claim(buffer) == []
    assert sent_if_killed() == ["a", "b"]
    clock.advance(1)
    assert buffer.tend() == []
    assert sent_if_killed() == ["b"]


def test_the_end_notes_all(
    path: Path, open_buffer: OpenBuffer, sent_if_killed: Callable[[], list[str]]
) -> None:
    """Where nothing can be moved at the end, the journal that is left has all notes."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a", "b")
    a, _ = buffer.claim(2).entries
    assert buffer.ack(a)
    with locked(path):
        assert buffer.close() == []
    assert sent_if_killed() == ["b"]


def test_a_child_notes_nothing(
    buffer: SqliteBuffer, path: Path, sent_if_killed: Callable[[], list[str]]
) -> None:
    """What the parent has not noted at a fork is for the parent to note, and no child."""
    put(buffer, "a", "b", "c")
    a, b, _ = buffer.claim(3).entries
    assert buffer.ack(a)
    (journal,) = path.parent.glob("*.journal")
    before = journal.read_bytes()
    child = os.fork()
    if not child:
        is_none = not (buffer.ack(b) or buffer.claim(1).entries or buffer.tend() or buffer.close())
        os._exit(0 if is_none else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert journal.read_bytes() == before
    assert buffer.ack(b)
    assert claim(buffer) == []
    assert sent_if_killed() == ["c"]


def test_a_journal_that_is_written_anew_has_only_what_is_left(
    buffer: SqliteBuffer, path: Path, clock: Clock, sent_if_killed: Callable[[], list[str]]
) -> None:
    """What was delivered, and not noted before the journal was cut, is not written once more."""
    put(buffer, "a", "b")
    a, _ = buffer.claim(2).entries
    assert buffer.ack(a)
    (journal,) = path.parent.glob("*.journal")
    os.truncate(journal, 10)
    clock.advance(1)
    (told,) = buffer.tend()
    assert isinstance(told, Degraded)
    assert sent_if_killed() == ["b"]


def test_an_old_journal_that_stays_beside_its_copy_sends_nothing_twice(
    buffer: SqliteBuffer, path: Path, clock: Clock, sent_if_killed: Callable[[], list[str]]
) -> None:
    """Where a kill leaves both, the new one says what was delivered of the old one."""
    put(buffer, "a", "b")
    a, _ = buffer.claim(2).entries
    assert buffer.ack(a)
    (journal,) = path.parent.glob("*.journal")
    kept = shutil.copy(journal, path.parent / "kept")
    os.truncate(journal, 10)
    clock.advance(1)
    buffer.tend()
    shutil.move(kept, journal)
    assert sent_if_killed() == ["b"]


def test_what_was_never_in_the_journal_is_not_kept_to_be_noted(
    open_buffer: OpenBuffer, path: Path, clock: Clock
) -> None:
    """However many events go through memory alone, nothing of them is left afterwards."""
    buffer = open_buffer()
    put(buffer, "in the journal", "late")
    in_journal, late = buffer.claim(2).entries
    (journal,) = path.parent.glob("*.journal")
    for count in (2, 3):
        journal.with_name(journal.name.replace("-00000001.", f"-{count:08d}.")).mkdir()
    journal.unlink()
    clock.advance(1)
    assert buffer.tend()
    assert buffer.ack(in_journal)
    for number in range(300):
        put(buffer, str(number))
        assert all(map(buffer.ack, buffer.claim(1).entries))
    assert bury_entry(buffer, late)
    clock.advance(1)
    buffer.tend()
    with closing(sqlite3.connect(path)) as db:
        ((size,),) = db.execute("SELECT length(numbers) FROM owners").fetchall()
    assert size == 2 * 8  # of the two that were in the journal


def test_a_segment_is_given_up_only_with_its_file(
    unprivileged: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A segment that can't be deleted now keeps the notes about it, and is deleted later."""
    path = unprivileged / "buffer.db"
    buffer = open_buffer(path=path)
    put(buffer, "large", body=bytes(5 * 1024**2))
    clock.advance(1)
    assert buffer.tend() == []  # begins a second segment
    put(buffer, "small")
    entries = buffer.claim(2).entries
    unprivileged.chmod(0o500)
    assert all(map(buffer.ack, entries))
    clock.advance(1)
    buffer.tend()
    assert len([*unprivileged.glob("*.journal")]) == 2
    unprivileged.chmod(0o700)
    clock.advance(1)
    buffer.tend()
    assert len([*unprivileged.glob("*.journal")]) == 1
    buffer.close()
    assert claim(open_buffer(path=path)) == []
