"""The command ``amplitude-moloco fetch``, over loopback."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.cli import Done, run
from support.exports import as_gzip, as_zip, numbered, write_hour
from support.faulty_server import Exchange, FaultyServer

from amplitude_moloco.cli.fetch_view import PlainView, TerminalView, view_of
from amplitude_moloco.history import read_export
from amplitude_moloco.history.hours import Hours
from amplitude_moloco.sandbox import Sandbox

MODULE = [sys.executable, "-m", "amplitude_moloco"]
SCRIPT = [str(Path(sys.executable).parent / "amplitude-moloco")]
KEYS = {"AMPLITUDE_API_KEY": "the-api-key", "AMPLITUDE_SECRET_KEY": "the-secret-key"}
ZIP = as_zip({"a.json.gz": as_gzip(numbered(2))})
DAY = 20_484 * 24  # 2026-01-31T00
Start = Callable[..., "subprocess.Popen[str]"]
Fetch = Callable[..., Done]


@pytest.fixture
def fetch(tmp_path: Path, bare_environment: pytest.MonkeyPatch) -> Fetch:
    """Runs ``fetch`` into the folder ``out`` in this process, with keys in its environment."""
    bare_environment.chdir(tmp_path)

    def fetch(*options: str, **environment: str) -> Done:
        done = run("fetch", "--out", "out", *options, **{**KEYS, **environment})
        assert "the-api-key" not in done.out + done.err
        assert "the-secret-key" not in done.out + done.err
        return done

    return fetch


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``fetch`` into the folder ``out``, with keys in its environment."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str, command: list[str] = MODULE, **more: Any) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "80",
            **KEYS,
            **more.pop("environment", {}),
        }
        process = subprocess.Popen(
            [*command, "fetch", "--out", "out", *options],
            **{
                "cwd": tmp_path,
                "env": environment,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                **more,
            },
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def exporting(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox with the exports of four hours in two days."""
    folder = tmp_path / "exports"
    for number, hour in enumerate(("30_9", "30_10", "31_0", "31_23")):
        write_hour(folder, f"2026-01-{hour}", numbered(2, 10 * number))
    with Sandbox(
        exports=folder, amplitude_api_key="the-api-key", amplitude_secret_key="the-secret-key"
    ) as sandbox:
        yield sandbox


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    assert "the-api-key" not in out + err
    assert "the-secret-key" not in out + err
    return process.returncode, out, err


def range_of(start: str, end: str) -> tuple[str, ...]:
    return ("--start", start, "--end", end)


TWO_DAYS = range_of("2026-01-30", "2026-01-31")
ONE_DAY = range_of("2026-01-31", "2026-01-31")


class TestCommand:
    """What it does."""

    @pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
    def test_downloads_all_hours(
        self, start: Start, exporting: Sandbox, tmp_path: Path, command: list[str]
    ) -> None:
        """It downloads both days, prints a line for each, and reading them gives all events."""
        code, out, err = ended(start(*TWO_DAYS, "--url", exporting.url, command=command))
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0].startswith("20260130T00-20260130T23: ")
        assert lines[0].endswith(" (24 of 48 hours)")
        assert lines[1].endswith(" (48 of 48 hours)")
        assert lines[2:] == ["All hours of 20260130T00-20260131T23 are in out"]
        ids = [event.insert_id for _, event in read_export(tmp_path / "out")]
        assert ids == [f"id-{10 * number + more}" for number in range(4) for more in (0, 1)]

    def test_goes_on(self, fetch: Fetch, exporting: Sandbox) -> None:
        """Run again, it asks only for the hours that are missing, and says when there are none."""
        assert fetch(*ONE_DAY, "--url", exporting.url).code == 0
        code, out, _ = fetch(*TWO_DAYS, "--url", exporting.url)
        assert code == 0
        assert out.startswith("24 of 48 hours are there already\n")
        code, out, _ = fetch(*TWO_DAYS, "--url", exporting.url)
        assert (code, out) == (
            0,
            "48 of 48 hours are there already\nAll hours of 20260130T00-20260131T23 are in out\n",
        )
        assert len(exporting.requests) == 2

    def test_no_data(self, fetch: Fetch, exporting: Sandbox) -> None:
        """Hours without data are no failure, and it says that there was none."""
        options = range_of("2026-01-29T00", "2026-01-29T05")
        code, out, err = fetch(*options, "--url", exporting.url)
        assert (code, err) == (0, "")
        assert out == (
            "20260129T00-20260129T05: no data (6 of 6 hours)\n"
            "Amplitude has no data in the hours that were missing.\n"
            "All hours of 20260129T00-20260129T05 are in out\n"
        )

    def test_json(self, fetch: Fetch, exporting: Sandbox) -> None:
        """With --json, the result is all that it prints."""
        code, out, err = fetch(*ONE_DAY, "--json", "--url", exporting.url)
        assert (code, err) == (0, "")
        assert json.loads(out) == {
            "folder": "out",
            "hours": "20260131T00-20260131T23",
            "has_new_data": True,
        }

    def test_an_output_that_is_closed(self, start: Start, exporting: Sandbox) -> None:
        """If nothing reads its output, it ends without a message, and the files are there."""
        reading, writing = os.pipe()
        os.close(reading)
        process = start(*ONE_DAY, "--json", "--url", exporting.url, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (1, "")

    def test_splits_and_waits(self, fetch: Fetch, tmp_path: Path) -> None:
        """What is too large comes in parts, and a wait that Amplitude asks for is shown."""
        folder = tmp_path / "exports"
        sizes = [write_hour(folder, f"2026-01-31_{hour}", numbered(2)).stat() for hour in (1, 20)]
        with Sandbox(exports=folder, max_export_bytes=sizes[0].st_size) as sandbox:
            sandbox.fail_next(429, retry_after=1, target="export")
            code, out, err = fetch(*ONE_DAY, "--url", sandbox.url)
        assert (code, err) == (0, "")
        assert "Amplitude answers 429 a fault was requested; next attempt in 1 s\n" in out
        assert "20260131T00-20260131T23: too much for one request, so in parts (400 The f" in out
        assert "20260131T12-20260131T23: " in out
        assert len(list((tmp_path / "out").glob("*.zip"))) == 2

    def test_on_a_terminal(self, start: Start, exporting: Sandbox) -> None:
        """On a terminal it shows a bar, and no line for each file."""
        ours, theirs = pty.openpty()
        process = start(
            *TWO_DAYS,
            *("--url", exporting.url),
            stdout=theirs,
            environment={"TERM": "xterm-256color"},
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 10_000):
                shown += piece
        except OSError:  # the other side is closed
            pass
        os.close(ours)
        assert process.wait(60) == 0
        assert b"48/48" in shown
        assert b"of 48 hours)" not in shown
        assert b"All hours of" in shown


class TestInterruption:
    """However it is ended, the folder has complete files only, and the next run goes on."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_in_a_download(
        self, start: Start, server: FaultyServer, tmp_path: Path, number: signal.Signals
    ) -> None:
        """A signal in the middle of a download costs that download alone."""
        downloading = threading.Event()
        server.answer(200, ZIP)
        server.will(
            FaultyServer.reply(200, ZIP)[:-20], lambda exchange: downloading.set(), Exchange.hang
        )
        process = start(*TWO_DAYS, "--url", server.url)
        assert downloading.wait(60)
        process.send_signal(number)
        code, out, err = ended(process)
        assert out.startswith("20260130T00-20260130T23: ")
        if number != signal.SIGKILL:
            assert (code, err) == (
                130,
                "amplitude-moloco: interrupted; the same command goes on where it ended\n",
            )
            assert not list((tmp_path / "out").glob(".fetch-*"))
        assert len(list((tmp_path / "out").glob("*.zip"))) == 1

        server.decide = lambda request: FaultyServer.reply(200, ZIP)
        assert ended(start(*TWO_DAYS, "--url", server.url))[0] == 0
        assert {file.name for file in (tmp_path / "out").iterdir()} == {
            ".project",
            "20260130T00-20260130T23.zip",
            "20260131T00-20260131T23.zip",
        }
        assert len(server.requests) == 3

    def test_in_a_wait(self, start: Start, server: FaultyServer) -> None:
        """A wait ends at once."""
        server.answer(503, Retry_After="3000")
        process = start(*ONE_DAY, "--url", server.url)
        assert process.stdout is not None
        assert "next attempt in 3000 s" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130

    def test_two_at_a_time(self, start: Start, server: FaultyServer) -> None:
        """A second one into the same folder ends at once, and leaves the first one alone."""
        downloading = threading.Event()
        server.will(lambda exchange: downloading.set(), Exchange.hang)
        first = start(*ONE_DAY, "--url", server.url)
        assert downloading.wait(60)
        code, _, err = ended(start(*ONE_DAY, "--url", server.url))
        assert (code, err) == (
            1,
            "amplitude-moloco: another process fetches into out; wait for its end, or stop it\n",
        )
        assert first.poll() is None


class TestExitCodes:
    """How a script knows what happened."""

    def test_refused(self, fetch: Fetch, exporting: Sandbox) -> None:
        """Wrong keys end it with 1."""
        wrong = {"AMPLITUDE_SECRET_KEY": "wrong"}
        code, out, err = fetch(*ONE_DAY, "--url", exporting.url, **wrong)
        assert (code, out) == (1, "")
        assert err.startswith("amplitude-moloco: Amplitude refuses the keys (401 Invalid API key")

    def test_another_project(self, fetch: Fetch, exporting: Sandbox, server: FaultyServer) -> None:
        """A folder with another project's exports is refused with 1."""
        assert fetch(*ONE_DAY, "--url", exporting.url).code == 0
        code, _, err = fetch(*TWO_DAYS, "--url", server.url)
        assert code == 1
        assert "out holds the exports of another project or region" in err
        assert server.requests == []

    def test_a_folder_that_can_not_be(self, fetch: Fetch, tmp_path: Path) -> None:
        """A folder that can't be made ends it with 1."""
        (tmp_path / "out").touch()
        code, _, err = fetch(*ONE_DAY, "--url", "http://127.0.0.1:9")
        assert (code, err) == (1, "amplitude-moloco: out: File exists\n")

    @pytest.mark.parametrize(
        ("options", "environment", "message"),
        [
            (ONE_DAY, {"AMPLITUDE_API_KEY": ""}, "AMPLITUDE_API_KEY: not set; "),
            (ONE_DAY, {"AMPLITUDE_SECRET_KEY": ""}, "AMPLITUDE_SECRET_KEY: not set; "),
            ((*ONE_DAY, "--url", "http://a.example"), {}, "--url: plain http would send "),
            ((*ONE_DAY, "--url", "https://a.example", "--eu"), {}, "--url: given beside --eu; "),
            (range_of("yesterday", "2026-01-31"), {}, "--start: found 'yesterday'; use a date "),
            (range_of("2026-01-31", "2026-01-30"), {}, "--end: before --start; "),
            (range_of("2026-01-31", "2999-01-30"), {}, "--end: 29990130T23 is not exported yet"),
            (ONE_DAY, {"REQUESTS_CA_BUNDLE": "/missing.pem"}, "REQUESTS_CA_BUNDLE: '/missing.pem'"),
        ],
    )
    def test_wrong_usage(
        self,
        fetch: Fetch,
        tmp_path: Path,
        options: tuple[str, ...],
        environment: dict[str, str],
        message: str,
    ) -> None:
        """What can't work ends it with 2 before a request, and says what to change."""
        code, out, err = fetch(*options, **environment)
        assert (code, out) == (2, "")
        assert err.startswith(f"amplitude-moloco: {message}")
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_missing_options(self, fetch: Fetch) -> None:
        """A missing option ends it with 2."""
        assert fetch().code == 2

    def test_later(self, fetch: Fetch, server: FaultyServer) -> None:
        """Too many failures end it with 3: the same command may succeed later."""
        server.decide = lambda request: FaultyServer.reply(503, b"busy", Retry_After="1")
        code, out, err = fetch(*ONE_DAY, "--url", server.url)
        assert code == 3
        assert err == (
            "amplitude-moloco: given up: Amplitude answers 503 busy; the same command goes on "
            "later\n"
        )
        assert out.count("next attempt in 1 s") == len(server.requests) - 1 == 9

    def test_help(self, fetch: Fetch) -> None:
        """The help says what the codes mean, and where the keys come from."""
        code, out, _ = fetch("--help")
        assert code == 0
        words = " ".join(out.split())
        assert "Exit codes: 0 all hours are there, 1 refused, 2 wrong usage, 3 try again" in words
        assert "AMPLITUDE_SECRET_KEY" in words


class TestViews:
    """How progress is shown."""

    HOURS = Hours(DAY, DAY + 47)

    def show(self, view: PlainView) -> None:
        with view:
            view.received(1_000)
            view.received(500)
            view.saved(Hours(DAY, DAY + 23), has_data=True)
            view.split(Hours(DAY + 24, DAY + 47), "[bold]too large")
            view.received(7)
            view.waiting(5.0, "it broke")
            view.received(2_000)
            view.saved(Hours(DAY + 24, DAY + 35), has_data=True)
            view.saved(Hours(DAY + 36, DAY + 47), has_data=False)

    def test_plain(self) -> None:
        """Without a terminal, each step is a line, with the size of its own download."""
        out = io.StringIO()
        view = view_of(Console(file=out, width=40), self.HOURS, 0)
        self.show(view)
        assert out.getvalue() == (
            "20260131T00-20260131T23: 1.5 kB (24 of 48 hours)\n"
            "20260201T00-20260201T23: too much for one request, so in parts ([bold]too large)\n"
            "it broke; next attempt in 5 s\n"
            "20260201T00-20260201T11: 2.0 kB (36 of 48 hours)\n"
            "20260201T12-20260201T23: no data (48 of 48 hours)\n"
        )

    def test_terminal(self) -> None:
        """On a terminal, a bar counts the hours, and only what is unusual is a line."""
        out = io.StringIO()
        console = Console(file=out, width=100, force_terminal=True, force_interactive=True)
        view = view_of(console, self.HOURS, 0)
        assert isinstance(view, TerminalView)
        self.show(view)
        shown = out.getvalue()
        assert "48/48" in shown
        assert "it broke; next attempt in 5 s" in shown
        assert "1.5 kB (24" not in shown
