"""What happens to files that are damaged, cut, replaced or removed, at rest and while open."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import Clock
from support.sqlite_buffers import (
    TARGET,
    OpenBuffer,
    bury,
    bury_entry,
    claim,
    claim_one,
    put,
    resend_all,
)
from support.sqlite_files import (
    cut,
    drop_table,
    flip_byte,
    load_dump,
    misspell_column,
    misspell_schema,
    overwrite_header,
    overwrite_page,
    overwrite_pages,
    replace,
    shell,
)

from amplitude_moloco.buffers.base import BufferState, Degraded, Lost
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.gate import Gate
from amplitude_moloco.buffers.sqlite.guard import clear
from amplitude_moloco.buffers.sqlite.reader import SqliteReader
from amplitude_moloco.buffers.sqlite.store import PAGE
from amplitude_moloco.errors import ConfigurationError

DUMP = Path(__file__).parents[1] / "golden" / "schema-1.sql"


def tended(buffer: SqliteBuffer, clock: Clock) -> list[object]:
    """What a buffer tells when it is tended a second later."""
    clock.advance(1)
    return list(buffer.tend())


def lost(news: list[object]) -> int:
    """How many events were lost."""
    return sum(each.events for each in news if isinstance(each, Lost))


def store(buffer: SqliteBuffer, count: int, body: bytes = b"body") -> list[str]:
    """Put so many events and close the buffer, so that all are in the shared file."""
    ids = [f"id-{number}" for number in range(count)]
    put(buffer, *ids, body=body)
    buffer.close()
    return ids


def drain(buffer: SqliteBuffer) -> list[str]:
    """The ids of all that can be claimed."""
    ids = []
    while entries := buffer.claim(100).entries:
        assert all(map(buffer.ack, entries))
        ids += [entry.id for entry in entries]
    return ids


# -- the shared file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [overwrite_pages, overwrite_header, misspell_schema, misspell_column, cut, replace],
)
def test_a_corrupt_file_is_set_aside(
    path: Path,
    open_buffer: OpenBuffer,
    clock: Clock,
    damage: Callable[[Path], None],
) -> None:
    """A damaged file is kept under another name, told as lost, and a new one replaces it."""
    first = open_buffer()
    put(first, *map(str, range(100)))
    first.close()
    damage(path)
    damaged = path.read_bytes()
    buffer = open_buffer()
    put(buffer, "a")
    (aside,) = path.parent.glob("buffer.db.corrupt-*")
    assert aside.read_bytes() == damaged
    assert abs(int(aside.name.rpartition("-")[2]) - time.time()) < 60
    (news,) = buffer.tend() or tended(buffer, clock)
    assert isinstance(news, Lost)
    assert str(aside) in news.message
    assert news.events >= 1


def test_each_corrupt_file_is_kept(path: Path, open_buffer: OpenBuffer) -> None:
    """Files that are set aside within one second do not replace each other."""
    open_buffer().close()
    for number in range(3):
        path.write_text(f"No database {number}")
        open_buffer().close()
    kept = [each.read_text() for each in path.parent.glob("buffer.db.corrupt-*")]
    assert sorted(kept) == [f"No database {number}" for number in range(3)]


def test_a_damaged_page_costs_what_was_on_it(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Of a file with one bad page everything else is read, row by row, and the rest is counted."""
    ids = store(open_buffer(), 2000, body=bytes(600))
    overwrite_page(path, 150)
    buffer = open_buffer()
    news = tended(buffer, clock)
    found = drain(buffer)
    assert found == [id for id in ids if id in set(found)]
    assert len(found) >= 1980
    assert lost(news) == 2000 - len(found)
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


@pytest.mark.parametrize("page", [20, 40, 60])
@pytest.mark.parametrize("kind", ["events", "letters"])
def test_a_hole_that_begins_in_a_page_costs_what_was_there(
    path: Path, open_buffer: OpenBuffer, clock: Clock, kind: str, page: int
) -> None:
    """Zeros in place of what was not written, as a loss of power leaves them, hold nothing up."""
    first = open_buffer()
    ids = [f"id-{number}" for number in range(400)]
    (put if kind == "events" else bury)(first, *ids, body=bytes(range(200)) * 3)
    first.close()
    with path.open("r+b") as file:
        file.seek(page * 4096 + 100)
        file.write(bytes(3 * 4096 - 100))
    buffer = open_buffer()
    news = tended(buffer, clock)
    if kind == "letters":
        assert resend_all(buffer)
    found = drain(buffer)
    assert found == [id for id in ids if id in set(found)]
    assert 370 < len(found) < 400
    assert lost(news) == 400 - len(found)


def test_dead_letters_are_not_read_again_and_again(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Where a hole gives a letter without a number, the reading ends; the next has the others."""
    first = open_buffer()
    ids = [f"id-{number:04}" for number in range(1000)]
    bury(first, *ids, body=bytes(3000))  # a page for each, and more than SQLite keeps in memory
    first.close()
    buffer, reader = open_buffer(), SqliteReader(path)
    with path.open("r+b") as file:
        place = file.read().index(ids[PAGE - 1].encode())
        file.seek(place // 4096 * 4096 + 100)
        file.write(bytes(2 * 4096 - 100))
    for letters in (reader.letters(), buffer.dead_letters()):
        with pytest.raises(sqlite3.Error):
            list(islice(letters, 2 * PAGE))
    found = [letter.id for letter in buffer.dead_letters()]
    assert found == [id for id in ids if id in set(found)]
    assert PAGE < len(found) < len(ids)
    assert lost(tended(buffer, clock)) == len(ids) - len(found)


def test_damage_is_salvaged_while_it_runs(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A page that goes bad while the file is in use stops no process that uses it."""
    ids = store(open_buffer(), 2000, body=bytes(600))
    buffer, other = open_buffer(), open_buffer()
    assert claim(buffer, 5) == ids[:5]
    put(other, "other")
    overwrite_page(path, 150)
    news, found = [], []
    for _ in range(50):
        news += tended(buffer, clock) + tended(other, clock)
        found += drain(buffer)
    found += drain(other)
    assert set(found) <= {*ids, "other"}
    assert len(found) == len(set(found)) >= 1980 - 5
    assert lost(news) >= 1 or len(found) == 2001 - 5
    put(buffer, "new")
    assert claim(buffer, 1) == ["new"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows what is open")
def test_a_file_that_another_process_has_replaced_is_not_replaced_again(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer
) -> None:
    """Of two processes that find the same damage, the second uses what the first has salvaged."""
    salvaged = tmp_path / "salvaged.db"
    ids = store(open_buffer(path=salvaged), 3)
    store(open_buffer(), 2000, body=bytes(4000))  # more than SQLite keeps in memory
    buffer = open_buffer()
    overwrite_pages(path)
    with ThreadPoolExecutor(1) as pool, Gate(path, 1.0):
        reading = pool.submit(claim, buffer)
        while sum(each.name.endswith("-lock") for each in open_files()) < 2:
            assert not reading.done()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        salvaged.rename(path)
    assert reading.result() == []
    assert claim(buffer) == ids
    assert list(path.parent.glob("buffer.db.corrupt-*")) == []


def open_files() -> list[Path]:
    """What this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(each.readlink())
    return found


def test_a_page_that_goes_bad_unread_is_salvaged_when_it_is_read(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Damage that is found when events are taken costs what it hit, and the rest is sent."""
    ids = store(open_buffer(), 2000, body=bytes(4000))
    buffer = open_buffer()
    for page in range(1500, 1540):
        overwrite_page(path, page)
    news, found = [], []
    for _ in range(10):
        found += drain(buffer)
        news += tended(buffer, clock)
    assert len(found) == len(set(found)) == 2000 - lost(news)
    assert len(found) >= 1900
    assert set(found) <= set(ids)
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1
    put(buffer, "new")
    assert claim(buffer, 1) == ["new"]


def test_another_applications_file_is_not_touched_while_it_runs(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A strange file that takes the buffer's place is left alone, and events wait in memory."""
    buffer = open_buffer(patience_seconds=0.05)
    put(buffer, "a")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    with shell(path) as db:
        db.executescript("CREATE TABLE users (name)")
    before = path.read_bytes()
    assert "another application" in str(tended(buffer, clock))
    assert claim(buffer) == ["a"]
    assert path.read_bytes() == before
    path.unlink()


def test_a_file_that_is_removed_in_the_middle_of_a_claim_stops_nothing(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Where the file vanishes while events are taken out of it, all goes on in a new one."""
    taken = store(open_buffer(), 3)
    is_armed: list[bool] = []

    def wall() -> float:
        if is_armed and not is_armed.pop():
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink()
        return clock.wall()

    buffer = open_buffer(wall=wall, patience_seconds=0.05)
    is_armed += [False, True]  # the second time, in the transaction
    assert claim(buffer) == []
    assert tended(buffer, clock)
    put(buffer, "new")
    assert claim(buffer) == [*taken, "new"]
    buffer.close()
    assert claim(open_buffer()) == [*taken, "new"]


def test_what_is_resent_while_all_files_are_removed_is_written_anew(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A dead letter on its way from the shared file into memory is safe within a second, too."""
    first = open_buffer()
    bury(first, "dead")
    first.close()
    is_armed: list[bool] = []

    def wall() -> float:
        if is_armed and is_armed.pop():
            for each in path.parent.glob("buffer.db*"):
                each.unlink()
        return clock.wall()

    buffer = open_buffer(wall=wall, patience_seconds=0.05)
    (letter,) = buffer.dead_letters()
    is_armed.append(True)
    with pytest.raises(sqlite3.OperationalError, match="replaced"):
        buffer.resend(letter)
    assert tended(buffer, clock)
    heir = open_buffer(path=copy_of(path, tmp_path / "copy"))
    assert claim(heir) == ["dead"]
    assert claim(buffer) == ["dead"]


@pytest.mark.parametrize("is_letter", [False, True], ids=["event", "letter"])
def test_a_flipped_byte_in_a_body_is_never_sent(
    path: Path, open_buffer: OpenBuffer, clock: Clock, *, is_letter: bool
) -> None:
    """A stored body with one wrong byte is counted as lost and kept aside; the others are sent."""
    first = open_buffer()
    for body in (b"sound", b"damaged", b"sound too"):
        (bury if is_letter else put)(first, body.decode(), body=body)
    first.close()
    flip_byte(path, b"HOMEdamageddamaged", 12)
    buffer = open_buffer()
    if is_letter:
        assert resend_all(buffer) == 2
    assert claim(buffer) == ["sound", "sound too"]
    assert lost(tended(buffer, clock)) == 1
    assert buffer.state().dead == 0
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_where_all_that_is_due_is_damaged_nothing_is_claimed(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A damaged event that is the only one due is told, and no other takes its place."""
    buffer = open_buffer()
    put(buffer, "damaged", body=b"damaged")
    buffer.close()
    flip_byte(path, b"HOMEdamageddamaged", 12)
    buffer = open_buffer()
    assert claim(buffer) == []
    assert lost(tended(buffer, clock)) == 1
    assert buffer.state() == BufferState(0, 0, 0)


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
    assert {letter.reason for letter in letters} == {"rejected"}


def test_an_older_releases_damaged_file_is_salvaged(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Of a damaged file that release 0.1 wrote, what can be read is sent as well."""
    rows = "".join(
        f"INSERT INTO fresh VALUES({key}, {key}, 1700000000.0, 'n{key}', 'HOME', zeroblob(600));"
        for key in range(5, 1000)
    )
    script = DUMP.read_text().replace(
        "CREATE TRIGGER fresh_out", f"{rows} CREATE TRIGGER fresh_out"
    )
    load_dump(path, script)
    overwrite_page(path, 70)
    buffer = open_buffer()
    found = drain(buffer)
    assert {"claimed", "new 가격"} <= set(found)
    assert len(found) > 980
    assert lost(tended(buffer, clock)) >= 1


def test_a_file_that_was_removed_is_started_anew(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """When the shared file is gone it is told within a second, and what waits in memory is kept."""
    buffer = open_buffer()
    put(buffer, "a", "b")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    news = tended(buffer, clock)
    assert any(isinstance(each, Degraded) for each in news)
    buffer.close()
    assert claim(open_buffer()) == ["a", "b"]


def test_an_apps_own_reading_loses_nothing(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """An app that reads the file, and so drops its locks, loses no event to a neighbour's close."""
    buffer = open_buffer()
    for number in range(5):
        neighbour = open_buffer()
        put(buffer, f"id-{number}")
        for each in path.parent.glob("buffer.db*"):
            each.read_bytes()
        neighbour.close()
        assert bury_entry(buffer, claim_one(buffer))
        assert lost(tended(buffer, clock)) == 0
    buffer.close()
    again = open_buffer()
    assert [letter.id for letter in again.dead_letters()] == [f"id-{n}" for n in range(5)]


CUT = """
import os, sys
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

path, *names = sys.argv[1:]
now = [0.0]
buffer = SqliteBuffer(path, target="t", monotonic=lambda: now[0])
for step in range(20):
    for count in range(20):
        assert buffer.put(f"{step}-{count}", "HOME", bytes(1000)) is None
    assert buffer.share()
    for name in names:
        os.truncate(path + name, 0)
    now[0] += 1
    is_told = buffer.tend() != []
    assert is_told == ("" in names)  # an index alone is made anew
    for entry in buffer.claim(10).entries:
        assert buffer.ack(entry)
if "" not in names:
    assert buffer.state().waiting == 200
assert buffer.close() == []
"""


@pytest.mark.parametrize("names", [["-shm"], ["", "-wal", "-shm"]], ids=["index", "all"])
def test_a_process_outlives_that_its_files_are_cut(path: Path, names: list[str]) -> None:
    """A file that SQLite has mapped into memory may be cut to nothing: no process ends for it."""
    subprocess.run([sys.executable, "-c", CUT, path, *names], check=True, timeout=50)


def test_a_file_that_lacks_a_table_is_reported(path: Path, open_buffer: OpenBuffer) -> None:
    """A sound file whose tables another program has changed is refused, and left as it is."""
    open_buffer().close()
    drop_table(path, "totals")
    with pytest.raises(ConfigurationError, match="no such table: totals"):
        open_buffer()
    assert list(path.parent.glob("*.corrupt-*")) == []


# -- the journal ---------------------------------------------------------------------------------


def journals(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.journal"))


def copy_of(path: Path, folder: Path) -> Path:
    """What lies on the disk, as a process would find it that starts after all others have died."""
    folder.mkdir()
    for each in path.parent.glob("buffer.db*"):
        shutil.copy(each, folder)
    return folder / path.name


def test_a_torn_record_at_the_end_is_no_damage(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A record whose write did not end is cut off; everything before it is there."""
    put(open_buffer(), "a", "b", "c")
    copy = copy_of(path, tmp_path / "copy")
    (journal,) = journals(copy)
    os.truncate(journal, journal.stat().st_size - 3)
    heir = open_buffer(path=copy)
    assert tended(heir, clock) == []
    assert claim(heir) == ["a", "b"]
    assert not list(copy.parent.glob("*.damaged"))


def test_a_damaged_record_costs_one_event(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """A flipped byte in a journal costs the event that it hits, which is told; the file is kept."""
    put(open_buffer(), "a", "b", "c")
    copy = copy_of(path, tmp_path / "copy")
    (journal,) = journals(copy)
    flip_byte(journal, b"HOMEbbody", 5)
    heir = open_buffer(path=copy)
    assert claim(heir) == ["a", "c"]
    (news,) = tended(heir, clock)
    assert isinstance(news, Lost)
    assert (news.events, news.number) == (1, 2)
    assert len(list(copy.parent.glob("*.damaged"))) == 1
    assert journals(copy) == [each for each in journals(copy) if each != journal]


def test_no_link_is_followed_to_a_journal(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer
) -> None:
    """A link in the place of a dead process's journal is removed, and what it leads to is not."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = path.with_name("buffer.db-0123456789abcdef-00000001.journal")
    link.symlink_to(victim)
    assert claim(open_buffer()) == []
    assert (link.is_symlink(), victim.read_bytes()) == (False, b"precious")


def test_a_journal_that_cannot_be_written_stops_nothing(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """What is new is sent though the journal can't be written; the rest, once it can be again."""
    first = open_buffer()
    bury(first, "dead")
    put(first, "stored", "stored too")
    first.close()
    buffer = open_buffer()
    (journal,) = journals(path)
    obstacle = journal.with_name(journal.name.replace("-00000001.", "-00000002."))
    obstacle.mkdir()
    journal.unlink()
    told = tended(buffer, clock)
    assert all(isinstance(each, Degraded) for each in told)
    put(buffer, "new")
    with pytest.raises(OSError, match="the journal can't be written"):
        resend_all(buffer)
    assert drain(buffer) == ["new"]
    obstacle.rmdir()
    assert tended(buffer, clock) == []
    assert resend_all(buffer) == 1
    assert sorted(drain(buffer)) == ["dead", "stored", "stored too"]
    assert tended(buffer, clock) == []
    buffer.close()
    assert claim(open_buffer()) == []


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=3))
def test_flipped_bytes_cost_at_most_their_records(
    tmp_path_factory: pytest.TempPathFactory, places: list[float]
) -> None:
    """Wherever bytes of a journal flip, all other events come out unchanged, and it is told."""
    clock = Clock()
    path = tmp_path_factory.mktemp("flipped") / "buffer.db"
    dead = SqliteBuffer(path, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)
    bodies = {str(number): os.urandom(number) for number in range(30)}
    for id, body in bodies.items():
        assert dead.put(id, "HOME", body) is None
    copy = copy_of(path, path.parent / "copy")
    (journal,) = journals(copy)
    data = bytearray(journal.read_bytes())
    for place in places:
        data[int(place * len(data))] ^= 1 + random.Random(place).randrange(255)  # noqa: S311  # no secret
    is_changed = bytes(data) != journal.read_bytes()
    journal.write_bytes(data)
    heir = SqliteBuffer(copy, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)
    entries = heir.claim(100).entries
    assert len({entry.id for entry in entries}) == len(entries) >= 30 - len(places)
    assert all(bodies[entry.id] == entry.body for entry in entries)
    assert lost(tended(heir, clock)) >= (1 if is_changed and len(entries) == 30 else 0)
    for buffer in (dead, heir):
        buffer.close()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=3),
    hole=st.sampled_from([0, 500, 5000, 20_000]),
)
def test_flipped_bytes_of_the_file_are_told(
    tmp_path_factory: pytest.TempPathFactory, places: list[float], hole: int
) -> None:
    """Wherever bytes of the shared file flip, no changed event is sent, and losses are told.

    So it is where zeros lie in their place.
    """
    clock = Clock()
    path = tmp_path_factory.mktemp("flipped") / "buffer.db"
    first = SqliteBuffer(path, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)
    bodies = {str(number): os.urandom(20 * number) for number in range(60)}
    for id, body in bodies.items():
        put(first, id, body=body)
    first.close()
    data = bytearray(path.read_bytes())
    for place in places:
        data[int(place * len(data))] ^= 1 + random.Random(place).randrange(255)  # noqa: S311  # no secret
        if hole:
            start = int(place * len(data))
            data[start : start + hole] = bytes(len(data[start : start + hole]))
    path.write_bytes(data)
    try:
        heir = SqliteBuffer(path, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)
    except ConfigurationError:  # what says whose file it is was hit: the start says so
        return
    news, found = [], []
    for _ in range(3):
        entries = heir.claim(100).entries
        assert all(bodies[entry.id] == entry.body for entry in entries)
        assert all(map(heir.ack, entries))
        found += [entry.id for entry in entries]
        news += tended(heir, clock)
    assert len(found) == len(set(found))
    assert lost(news) >= 1 or len(found) == 60
    assert heir.state() == BufferState(0, 0, 0)
    heir.close()


@pytest.mark.parametrize("spoil", ["remove", "replace", "truncate"])
def test_a_journal_that_is_spoiled_while_open_is_written_anew(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, clock: Clock, spoil: str
) -> None:
    """A journal that is removed, replaced or cut is noticed, told once, and written once more."""
    buffer = open_buffer()
    put(buffer, "a", "b")
    assert buffer.retry(claim_one(buffer), 0.5, attempts=1)
    (journal,) = journals(path)
    if spoil == "truncate":
        os.truncate(journal, 10)
    else:
        journal.unlink()
    if spoil == "replace":
        journal.write_bytes(b"Dear diary")
    (news,) = tended(buffer, clock)
    assert isinstance(news, Degraded)
    assert tended(buffer, clock) == []
    put(buffer, "c")
    heir = open_buffer(path=copy_of(path, tmp_path / "copy"))
    assert sorted(claim(heir)) == ["a", "b", "c"]
    assert sorted(claim(buffer)) == ["a", "b", "c"]


def test_everything_is_written_anew_where_all_files_were_removed(
    path: Path, tmp_path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """After ``rm moloco.db*`` under the running process, what it holds is safe within a second."""
    buffer = open_buffer()
    put(buffer, "a", "b")
    for each in path.parent.glob("buffer.db*"):
        each.unlink()
    assert any(isinstance(each, Degraded) for each in tended(buffer, clock))
    put(buffer, "c")
    heir = open_buffer(path=copy_of(path, tmp_path / "copy"))
    assert claim(heir) == ["a", "b", "c"]
    buffer.close()
    assert claim(open_buffer()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "spoil",
    [Path.unlink, clear, lambda path: os.truncate(path, 0)],
    ids=["removed", "with all beside it", "cut"],
)
def test_what_a_removed_file_held_is_counted_once(
    path: Path, open_buffer: OpenBuffer, clock: Clock, spoil: Callable[[Path], None]
) -> None:
    """Of two processes that miss it, one counts what it held, but not what is still there."""
    buffer, neighbour = open_buffer(), open_buffer()
    bury(buffer, "dead")
    put(buffer, "a", "b")
    assert buffer.share()
    assert tended(buffer, clock) == tended(neighbour, clock) == []
    spoil(path)
    put(buffer, "c")
    assert buffer.share() or buffer.share()
    news = tended(buffer, clock) + tended(neighbour, clock)
    left = buffer.state()
    assert lost(news) == 4 - left.waiting - left.dead
    assert "c" in drain(buffer)


def test_a_folder_that_is_gone_refuses_nothing_and_may_come_back(
    tmp_path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """While the folder is away, events wait in memory, which is told once; then all goes on."""
    folder = tmp_path / "folder"
    folder.mkdir()
    buffer = open_buffer(path=folder / "buffer.db", patience_seconds=0.05)
    put(buffer, "a")
    shutil.rmtree(folder)
    news = tended(buffer, clock)
    put(buffer, "b")
    news += tended(buffer, clock)
    kinds = [each for each in news if isinstance(each, Degraded)]
    assert len(kinds) == len(news) <= 2
    assert claim(buffer, 1) == ["a"]
    folder.mkdir()
    put(buffer, "c")
    tended(buffer, clock)
    assert tended(buffer, clock) == []
    buffer.close()
    assert claim(open_buffer(path=folder / "buffer.db")) == ["a", "b", "c"]


def test_what_could_not_be_kept_is_returned_at_the_end(
    tmp_path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """If the folder does not come back, close() returns the events that it can't keep."""
    folder = tmp_path / "folder"
    folder.mkdir()
    buffer = open_buffer(path=folder / "buffer.db", patience_seconds=0.05)
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    shutil.rmtree(folder)
    tended(buffer, clock)
    lost_entries = {each.id: each.key for each in buffer.close()}
    assert lost_entries == {"a": entry.key, "b": None}
    assert buffer.state() == BufferState(0, 0, 0)
