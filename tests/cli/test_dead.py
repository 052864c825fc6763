"""The commands ``amplitude-moloco dead`` and ``stats``."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.cli import run
from support.sqlite_buffers import claim, dead

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.letters import LetterFile
from amplitude_moloco.buffers.sqlite.reader import SqliteReader
from amplitude_moloco.cli.batches import Batches, Change, bar
from amplitude_moloco.cli.buffers import Choice, age
from amplitude_moloco.reasons import DeadLetterReason

MODULE = [sys.executable, "-m", "amplitude_moloco"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
HOSTILE = "x[red]\x1b]0;title\x07\u202e[/]\nsecond line"
TARGET = "https://mcm.test/SHOP"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moloco.db"


@pytest.fixture
def buffer(path: Path) -> Iterator[SqliteBuffer]:
    """The buffer of an app that runs."""
    with closing(SqliteBuffer(path, target=TARGET)) as buffer:
        yield buffer


def bury(
    buffer: SqliteBuffer,
    id: str,
    *,
    sync: str = "HOME",
    reason: DeadLetterReason = DeadLetterReason.REJECTED,
    message: str = "no",
    body: bytes = b'{"event_type":"HOME"}',
    lane: str = "",
) -> None:
    buffer.put(id, sync, body, lane)
    (entry,) = buffer.claim(1).entries
    assert buffer.bury(entry, reason, status=400, message=message)


@pytest.fixture
def letters(buffer: SqliteBuffer) -> SqliteBuffer:
    """Four dead letters of two syncs."""
    bury(buffer, "a")
    bury(buffer, "b", sync="PURCHASE", message="missing items")
    bury(buffer, "c", sync="PURCHASE", reason=DeadLetterReason.EXPIRED)
    bury(buffer, "d", sync="SEARCH", reason=DeadLetterReason.EXHAUSTED)
    assert len(dead(buffer)) == 4
    return buffer


class TestStats:
    """What lies in a buffer."""

    def test_an_empty_buffer(self, path: Path, buffer: SqliteBuffer) -> None:
        """An empty buffer has zeros, and nothing about dead letters."""
        code, out, err = run("stats", path)
        assert (code, err) == (0, "")
        assert out.startswith(f"{path}\nfor {TARGET}\n")
        assert "Dead letters of" not in out

    def test_everything(self, path: Path, letters: SqliteBuffer) -> None:
        """What waits, where, since when, and the dead letters by sync and reason."""
        letters.put("w", "HOME", b"{}")
        code, out, err = run("stats", f"sqlite:///{path}")
        assert (code, err) == (0, "")
        rows = [line.split() for line in out.splitlines()]
        assert ["in", "journals", "1"] in rows
        assert ["PURCHASE", "expired", "1"] in rows
        assert "in the journals of 1 process(es)" in out
        found = run("stats", path, "--json").json
        assert (found["waiting"], found["journaled"], found["dead"]) == (1, 1, 4)
        assert {"sync": "SEARCH", "reason": "exhausted", "dead": 1} in found["dead_by"]
        assert found["oldest_dead_seconds"] >= 0

    def test_damaged_records_and_many_syncs(self, path: Path, buffer: SqliteBuffer) -> None:
        """Damage is counted, and a table of many syncs is cut."""
        for number in range(45):
            bury(buffer, "x", sync=f"sync {number}")
        dead(buffer)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("INSERT INTO damaged VALUES (0, x'00')")
        _, out, _ = run("stats", path)
        assert "… and 5 more" in out
        assert [line.split() for line in out.splitlines() if "damaged rec" in line] == [
            ["damaged", "records", "1"]
        ]


class TestList:
    """Which letters there are."""

    def test_all(self, path: Path, letters: SqliteBuffer) -> None:
        """It lists each with its sync, its reason and MCM's message."""
        code, out, err = run("dead", "list", path)
        assert (code, err) == (0, "")
        assert "400 missing items" in out
        assert out.endswith("4 dead letters.\n")

    @pytest.mark.parametrize(
        ("options", "ids"),
        [
            ((), "abcd"),
            (("--reason", "rejected"), "ab"),
            (("--reason", "expired", "--reason", "exhausted"), "cd"),
            (("--sync", "PURCHASE"), "bc"),
            (("--sync", "PURCHASE", "--reason", "expired"), "c"),
            (("--older-than", "1d"), ""),
            (("--newer-than", "2w", "--sync", "HOME"), "a"),
            (("--newer-than", "0s"), ""),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
    )
    def test_filters(
        self, path: Path, letters: SqliteBuffer, options: tuple[str, ...], ids: str
    ) -> None:
        """All filters that are given have to fit."""
        code, out, _ = run("dead", "list", path, "--json", *options)
        assert code == 0
        assert "".join(json.loads(line)["id"] for line in out.splitlines()) == ids

    def test_the_newest(self, path: Path, letters: SqliteBuffer) -> None:
        """It shows the newest up to a limit, and counts all."""
        _, out, _ = run("dead", "list", path, "--limit", "1")
        assert " d " in out
        assert " c " not in out
        assert out.endswith("4 dead letters, the newest 1 shown.\n")

    def test_none(self, path: Path, buffer: SqliteBuffer) -> None:
        """Without dead letters it says so, and makes no table."""
        assert run("dead", "list", path).out == "0 dead letters.\n"

    def test_an_age_that_is_none(self, path: Path, buffer: SqliteBuffer) -> None:
        """An age without a unit that it knows is refused with 2."""
        code, _, err = run("dead", "list", path, "--older-than", "1 year")
        assert code == 2
        assert err == (
            "amplitude-moloco: --older-than: found '1 year'; use 30s, 15m, 12h, 7d or 2w\n"
        )


class TestShow:
    """One letter."""

    def test_everything(self, path: Path, letters: SqliteBuffer) -> None:
        """It shows what is known of an event, and what was sent."""
        code, out, err = run("dead", "show", path, "b")
        assert (code, err) == (0, "")
        assert "  sync        PURCHASE\n  reason      rejected\n  answer      400 missing" in out
        assert '{\n  "event_type": "HOME"\n}' in out
        found = run("dead", "show", path, "b", "--json").json
        assert found["body"] == {"event_type": "HOME"}
        assert (found["status"], found["message"]) == (400, "missing items")

    def test_a_body_that_is_no_json(self, path: Path, buffer: SqliteBuffer) -> None:
        """Bytes that are no JSON are shown as text."""
        bury(buffer, "a", body=b"\xff\x1b[31m")
        dead(buffer)
        assert '"\ufffd\\u001b[31m"' in run("dead", "show", path, "a").out

    def test_no_such_letter(self, path: Path, letters: SqliteBuffer) -> None:
        """An unknown id ends it with 1."""
        code, out, err = run("dead", "show", path, "\x1bz")
        assert (code, out) == (1, "")
        assert err == "amplitude-moloco: no dead letter has the id \\x1bz\n"

    def test_a_time_that_is_no_date(self, path: Path, letters: SqliteBuffer) -> None:
        """A time beyond any date is shown as a number."""
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("UPDATE letters SET buried_at = 1e300")
        assert "dead since  1e+300\n" in run("dead", "show", path, "a").out
        assert run("dead", "list", path).code == 0


class TestChanges:
    """Resending and deleting, while the app runs."""

    def test_resend_in_order(self, path: Path, buffer: SqliteBuffer) -> None:
        """Of events that have to arrive in order, it says which ones will be refused."""
        bury(buffer, "a")
        bury(buffer, "b", lane="token device", body=b"s2s=1&event_token=abc")
        assert len(dead(buffer)) == 2
        assert '"s2s=1&event_token=abc"' in run("dead", "show", path, "b").out
        code, out, _ = run("dead", "resend", path, "--all")
        assert code == 0
        assert out.endswith(
            "1 of them belong to a partner that takes each device's events in order: what is older "
            "than the newest event that it has will be refused.\n"
        )

    def test_resend_some(self, path: Path, letters: SqliteBuffer) -> None:
        """Those that are chosen wait again, and the app can claim them; the others stay."""
        code, out, err = run("dead", "resend", path, "a", "c", "--rate", "1000")
        assert (code, err) == (0, "")
        assert out.startswith("2 dead letters resent in ")
        assert "They wait in the buffer: the app sends them" in out
        assert "in order" not in out
        assert dead(letters) == ["b", "d"]
        assert letters.state().waiting == 2

    def test_resend_all(self, path: Path, letters: SqliteBuffer) -> None:
        """With --all, all are resent, and a stopped app finds them when it starts."""
        letters.close()
        found = run("dead", "resend", path, "--all", "--json").json
        assert (found["resent"], found["chosen"]) == (4, 4)
        with closing(SqliteBuffer(path, target=TARGET)) as buffer:
            assert sorted(claim(buffer)) == ["a", "b", "c", "d"]

    def test_purge(self, path: Path, letters: SqliteBuffer) -> None:
        """Deleted letters are gone, once the question is answered."""
        code, out, err = run("dead", "purge", path, "--sync", "PURCHASE", stdin="y\n")
        assert code == 0
        assert err.startswith("Delete 2 dead letters for good? [y/N]")
        assert "2 dead letters deleted in " in out
        assert dead(letters) == ["a", "d"]
        assert run("dead", "purge", path, "--all", "--yes", "--json").json["deleted"] == 2
        assert dead(letters) == []

    def test_nothing_to_do(self, path: Path, buffer: SqliteBuffer) -> None:
        """Without a letter that fits there is no question, and nothing is done."""
        for command in ("resend", "purge"):
            code, out, _ = run("dead", command, path, "--all")
            assert code == 0
            assert out.startswith("0 dead letters ")
            assert out.count("\n") == 1

    @pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 130)])
    def test_purge_without_an_answer(
        self, path: Path, letters: SqliteBuffer, answer: str, code: int
    ) -> None:
        """Without a yes, nothing is deleted."""
        assert run("dead", "purge", path, "--all", stdin=answer).code == code
        assert len(dead(letters)) == 4

    @pytest.mark.parametrize("command", ["resend", "purge"])
    @pytest.mark.parametrize("options", [(), ("--all", "a")], ids=["none", "two"])
    def test_a_choice_is_needed(
        self, path: Path, letters: SqliteBuffer, command: str, options: tuple[str, ...]
    ) -> None:
        """Neither nothing nor two things at once say which letters are meant."""
        assert run("dead", command, path, *options).code == 2
        assert len(dead(letters)) == 4

    def test_later_letters_are_left(self, path: Path, letters: SqliteBuffer) -> None:
        """What dies after the command has begun is not its business: no letter goes in circles."""
        batches = Batches(SqliteReader(path), Choice(), None)
        bury(letters, "late")
        assert dead(letters)[-1] == "late"
        sizes: list[int] = []
        batches.change(Change.RESEND, sizes.append)
        assert (batches.total, batches.left(), sizes) == (4, 0, [4])
        assert dead(letters) == ["late"]

    def test_batches(self, path: Path, buffer: SqliteBuffer) -> None:
        """Many are changed a hundred at a time, fewer where the rate is low."""
        for number in range(250):
            bury(buffer, str(number))
        dead(buffer)
        sizes: list[int] = []
        batches = Batches(SqliteReader(path), Choice(ids={str(each) for each in range(8)}), 8.0)
        batches.change(Change.PURGE, sizes.append)
        assert sizes == [2, 2, 2, 2]
        assert batches.seconds >= 0.75  # at a rate of 8, the last batch begins then
        sizes.clear()
        Batches(SqliteReader(path), Choice(), None).change(Change.RESEND, sizes.append)
        assert sizes == [100, 100, 42]

    def test_interrupted(self, path: Path, letters: SqliteBuffer) -> None:
        """Ctrl-C ends it between two batches; the summary is exact, and the rest is left."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*MODULE, "dead", "resend", "--rate", "0.1", str(path), "--all"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "80"},
        )
        os.close(theirs)
        shown = b""
        while b"1/4" not in shown:
            shown += os.read(ours, 10_000)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # once the other side is closed
            while True:
                shown += os.read(ours, 10_000)
        os.close(ours)
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"interrupted: 1 of 4 dead letters resent, the others are left; the" in shown
        assert dead(letters) == ["b", "c", "d"]
        assert letters.state().waiting == 1

    @pytest.mark.parametrize("options", [("--json",), ()], ids=["json", "text"])
    def test_interrupted_here(
        self, path: Path, letters: SqliteBuffer, options: tuple[str, ...]
    ) -> None:
        """As before, in this process: the exit code and the counts are those of an interruption."""

        def interrupt() -> None:
            while dead(letters) != ["b", "c", "d"]:
                pass
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt, daemon=True)
        thread.start()
        done = run("dead", "resend", "--rate", "0.1", str(path), "--all", *options)
        thread.join()
        assert done.code == 130
        assert "interrupted: 1 of 4 dead letters resent" in done.err
        assert dead(letters) == ["b", "c", "d"]
        assert not options or done.json["resent"] == 1


class TestFaults:
    """What can't be read."""

    @pytest.mark.parametrize("command", [("stats",), ("dead", "list"), ("dead", "resend", "--all")])
    def test_no_buffer(self, tmp_path: Path, command: tuple[str, ...]) -> None:
        """A file that is missing, or is no buffer, ends it with 2; nothing is made of it."""
        code, out, err = run(*command, tmp_path / "none.db")
        assert (code, out) == (2, "")
        assert err == (
            f"amplitude-moloco: buffer: {tmp_path / 'none.db'} does not exist; use the path of a "
            f"buffer\n"
        )
        assert [*tmp_path.iterdir()] == []
        assert run(*command, "memory://").code == 2

    def test_a_locked_file(self, path: Path, letters: SqliteBuffer) -> None:
        """Where another process keeps the file locked, it ends with 3, and changes nothing."""
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            code, _, err = run("dead", "resend", path, "--all")
        assert (code, err) == (3, f"amplitude-moloco: {path}: database is locked\n")
        assert len(dead(letters)) == 4

    def test_a_damaged_file(self, path: Path, letters: SqliteBuffer) -> None:
        """What SQLite can't read ends it with 1, and one line."""
        letters.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("DROP TABLE letters")
        code, _, err = run("dead", "list", path)
        assert (code, err) == (1, f"amplitude-moloco: {path}: no such table: letters\n")

    def test_hostile_text(self, path: Path, buffer: SqliteBuffer) -> None:
        """No text of an event or of an answer reaches the terminal as anything but text."""
        body = json.dumps({HOSTILE: HOSTILE}, ensure_ascii=False).encode()
        bury(buffer, HOSTILE, sync=HOSTILE, message=HOSTILE, body=body)
        dead(buffer)
        for command in (("dead", "list"), ("stats",), ("dead", "show")):
            arguments: tuple[Any, ...] = (HOSTILE,) if command[-1] == "show" else ()
            done = run(*command, path, *arguments, FORCE_COLOR="1", NO_COLOR="1")
            assert done.code == 0
            assert "\x1b]" not in done.out
            assert "\u202e" not in done.out
            assert "\nsecond line" not in done.out
            assert "[red]" in done.out
            assert json.loads(run(*command, path, *arguments, "--json").out)

    def test_a_system_without_locks(self, path: Path) -> None:
        """Where files can't be locked, the commands end with 2; all others work."""
        script = (
            "import sys; sys.modules['fcntl'] = None; from amplitude_moloco.cli import main; main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, "stats", str(path)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("amplitude-moloco: buffer: can't be read on this system")


class TestProgress:
    """The bar, and ages."""

    def test_bar(self) -> None:
        """On a terminal a bar counts the letters; elsewhere there is none."""
        out = io.StringIO()
        console = Console(file=out, width=80, force_terminal=True, force_interactive=True)
        with bar(console, 3) as step:
            step(1)
            step(2)
        assert "3/3" in out.getvalue()
        out = io.StringIO()
        with bar(Console(file=out), 3) as step:
            step(3)
        assert out.getvalue() == ""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (-5, "0 s"),
            (0, "0 s"),
            (59.9, "59 s"),
            (60, "1 min"),
            (3 * 3600 + 12 * 60 + 5, "3 h 12 min"),
            (86_400 * 9, "9 d"),
            (86_400 + 59, "1 d"),
        ],
    )
    def test_age(self, seconds: float, text: str) -> None:
        """An age has its two largest units."""
        assert age(seconds) == text


def test_letters_are_not_opened_twice(path: Path, letters: SqliteBuffer) -> None:
    """Two programs that resend at the same time resend each letter once."""
    first, second = (Batches(SqliteReader(path), Choice(), None) for _ in range(2))
    first.change(Change.RESEND, lambda size: None)
    second.change(Change.RESEND, lambda size: None)
    assert letters.state() == (4, 0, 0)
    with closing(LetterFile(path, target=TARGET)) as letter_file:
        assert letter_file.delete(list(letters.dead_letters())) == 0
