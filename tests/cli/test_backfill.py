"""The command ``amplitude-moloco backfill``, over loopback."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.exports import HISTORY_CONFIG, as_lines, numbered, record, write_hour
from support.faulty_server import FaultyServer, Received
from support.measuring import unmeasured
from support.repeats import repeats
from support.waiting import await_that
from typer.testing import CliRunner

from amplitude_moloco.cli.app import app
from amplitude_moloco.cli.backfill_view import Bar
from amplitude_moloco.history import Plan, Progress
from amplitude_moloco.history.outcome import Ended, Outcome
from amplitude_moloco.sandbox import Sandbox

KILLS = repeats(2, 40)
CONNECTIONS = 8
SINCE = ("--since", "2025-01-01")
Run = Callable[..., tuple[int, str, str]]


def records(count: int) -> list[dict[str, Any]]:
    return [{**each, "user_id": "shopper"} for each in numbered(count)]


@pytest.fixture
def folder(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration for the sandbox and an export of three events."""
    configure(tmp_path, sandbox.url)
    write_hour(tmp_path / "ex", "2025-06-17_9", records(3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLOCO_API_KEY", "the-key")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("MOLOCO_TRANSPORT", raising=False)
    return tmp_path


def configure(folder: Path, url: str) -> None:
    text = HISTORY_CONFIG.format(url=url, connections=CONNECTIONS)
    (folder / "conf.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    """Runs the command, and returns its exit code, output and errors. The key is in neither."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*options: str, answer: str | None = None) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["backfill", "conf.toml", *options], input=answer)
        assert "the-key" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ids(sandbox: Sandbox) -> list[str]:
    return sorted(event["id"] for event in sandbox.moloco_events)


def test_settings_of_another_partner_are_refused(run: Run, folder: Path) -> None:
    """It delivers to MCM, and says so where the configuration is for Adjust."""
    settings = 'app_token = "abc123def456"\nenvironment = "sandbox"\n[[events]]\n'
    (folder / "conf.toml").write_text(f'{settings}event = "A"\ntoken = "b"\n')
    code, _, err = run("ex", *SINCE)
    assert code == 2
    assert "these settings are for Adjust, and this command is for MCM" in err


class TestRun:
    """What it sends and says."""

    def test_shows_the_plan_asks_and_sends(self, run: Run, folder: Path, sandbox: Sandbox) -> None:
        """After a yes all events are sent; state and report lie beside the configuration."""
        code, out, err = run("ex", *SINCE, answer="y\n")
        assert (code, err) == (0, "")
        assert "3 events read, to send from 2025-06-17 09:30 to 2025-06-17 09:30 UTC, for " in out
        assert "3 to send: 0:00:00 at 30 a second" in out
        assert f"Send them to {sandbox.url}/rmp/event/v1/platforms/SHOP/userevents? [y/N]: " in out
        assert out.endswith(
            "HOME: 3 delivered\n"
            "All events are done. The report is in conf.backfill.db.report.json\n"
        )
        assert ids(sandbox) == ["id-0", "id-1", "id-2"]
        report = json.loads((folder / "conf.backfill.db.report.json").read_bytes())
        assert report["refused"] == []
        (outcome,) = report["outcomes"]
        assert (outcome["outcome"], outcome["events"]) == ("delivered", 3)

    def test_after_a_no_it_sends_nothing(self, run: Run, sandbox: Sandbox) -> None:
        """A no ends it, and that is no failure."""
        code, _, err = run("ex", *SINCE, answer="n\n")
        assert (code, err) == (0, "")
        assert not sandbox.requests

    def test_dry_run(self, run: Run, folder: Path, sandbox: Sandbox) -> None:
        """It shows what can't be sent and why, and leaves no file."""
        more = [
            record(event_type="Article Read", user_id="shopper"),
            record(event_type="Else"),
            record(event_type="$identify"),
            *records(1),
        ]
        write_hour(folder / "ex", "2025-06-17_10", more)
        code, out, err = run("ex", *SINCE, "--dry-run", "--rate", "0.5")
        assert (code, err) == (1, "")
        lines = out.splitlines()
        rows = [line.split() for line in lines]
        assert ["HOME", "3", "0"] in rows
        assert ["PAGE_VIEW", "0", "1"] in rows
        assert any(
            line.startswith("PAGE_VIEW: 1 with page_id missing; the first: ex/187520_2025-06-17_10")
            for line in lines
        )
        assert "1 not sent: no sync selects them" in lines
        assert "1 not sent: their id was there before" in lines
        assert "1 not sent: left out by never_sent" in lines
        assert "3 to send: 0:00:06 at 0.5 a second" in lines
        assert not sandbox.requests
        assert not list(folder.glob("*.db*"))

    def test_nothing_to_send(self, run: Run) -> None:
        """A range without events has a plan, too."""
        code, out, err = run("ex", "--since", "2030-01-01", "--dry-run")
        assert (code, err) == (0, "")
        assert out.startswith("0 events read, for http://127.0.0.1:")
        assert out.endswith("3 not sent: left out by time\n0 to send: 0:00:00 at 30 a second\n")

    def test_filters(self, run: Run, folder: Path, sandbox: Sandbox) -> None:
        """Names, libraries and times choose the events, and event_id can be the id."""
        more = [
            {**records(1)[0], "library": "amplitude-python/1.3.0", "event_id": 7},
            {**records(1)[0], "library": "segment", "event_id": 8},
            record(event_type="Article Read", library="amplitude-python/1.3.0", event_id=9),
        ]
        write_hour(folder / "ex", "2025-06-17_9", more)
        options: tuple[str, ...] = (
            "--library",
            "amplitude-python",
            "--exclude",
            "Art*",
            "--event-type",
            "*",
        )
        code, _, err = run(
            "ex", *SINCE, "--until", "2026-01-01", *options, "--keep-event-id", "--yes"
        )
        assert (code, err) == (0, "")
        assert ids(sandbox) == ["7"]

    def test_json(self, run: Run, sandbox: Sandbox) -> None:
        """With --json, the output is JSON alone, of the plan or of the result."""
        code, out, err = run("ex", *SINCE, "--dry-run", "--json")
        assert code == 0
        plan = json.loads(out)
        assert (plan["read"], plan["to_send"], plan["seconds"]) == (3, {"HOME": 3}, 0.1)
        assert "3 events read" in err
        code, out, _ = run("ex", *SINCE, "--yes", "--json")
        assert code == 0
        result = json.loads(out)
        assert result["outcomes"][0]["events"] == 3
        assert result["target"].startswith(sandbox.url)

    def test_failures_are_told(self, run: Run, folder: Path, sandbox: Sandbox) -> None:
        """What can't be read, can't be sent or was refused is told, and ends with 1."""
        sandbox.fail_next(400)
        damaged = b"".join([b"{]\n" * 12, as_lines([record(event_type="Article Read")])])
        (folder / "ex" / "damaged.json").write_bytes(damaged)
        code, out, err = run("ex", *SINCE, "--yes")
        assert code == 1
        assert "HOME: 2 delivered\nHOME: 1 refused (rejected); the first: ex/187520_2025" in out
        assert "PAGE_VIEW: 1 invalid (" in out
        assert err.count("ex/damaged.json: line ") == 20  # ten while planning, ten while sending
        assert err.count("and 2 more can't be read") == 2
        report = json.loads((folder / "conf.backfill.db.report.json").read_bytes())
        (refused,) = report["refused"]
        assert refused["status"] == 400

    def test_standard_input(self, folder: Path, sandbox: Sandbox) -> None:
        """It can be read only once: without a plan, and with --yes."""
        command = [sys.executable, "-m", "amplitude_moloco", "backfill", "conf.toml", "-", *SINCE]
        data = as_lines(records(2))
        done = subprocess.run(command, input=data, capture_output=True, timeout=100, check=False)
        assert done.returncode == 2
        assert b"read only once, so that there is no plan; add --yes, or use a file" in done.stderr
        command.append("--yes")
        done = subprocess.run(command, input=data, capture_output=True, timeout=100, check=True)
        assert done.stdout.startswith(b"HOME: 2 delivered\n")
        assert ids(sandbox) == ["id-0", "id-1"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("nowhere", *SINCE), "nowhere: does not exist"),
            (("ex", "--since", "yesterday"), "since: found 'yesterday'; use a date or a time"),
            (("ex", *SINCE, "--rate", "0"), "rate: found 0.0; use a number above 0"),
            (("ex", *SINCE, "--yes", "--state", "no/where"), "no/where can't be used for the stat"),
        ],
    )
    def test_wrong_usage(self, run: Run, options: tuple[str, ...], message: str) -> None:
        """One line says what can't work, and what to use."""
        code, out, err = run(*options)
        assert (code, out) == (2, "")
        assert err.startswith(f"amplitude-moloco: {message}")
        assert err.count("\n") == 1

    def test_switched_off(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where sending is switched off, it would only seem to send: that is refused."""
        monkeypatch.setenv("MOLOCO_TRANSPORT", "none")
        code, _, err = run("ex", *SINCE, "--yes")
        assert (code, err.count("which sends nothing; use 'auto'")) == (2, 1)
        assert run("ex", *SINCE, "--dry-run")[0] == 0

    def test_refused(self, run: Run, folder: Path) -> None:
        """A server that refuses the key ends it with 1."""
        with Sandbox(api_key="another-key") as sandbox:
            configure(folder, sandbox.url)
            code, _, err = run("ex", *SINCE, "--yes")
        assert code == 1
        assert err.startswith("amplitude-moloco: the server refuses everything: 401 ")

    def test_on_a_terminal(self, folder: Path) -> None:
        """On a terminal it shows bars, and the plan as in a pipe."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "amplitude_moloco", "backfill", "conf.toml", "ex", *SINCE]
        process = subprocess.Popen(
            [*command, "--yes"],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
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
        assert b"3 to send" in shown
        assert b"HOME: 3 delivered" in shown


class TestBar:
    """How far it is."""

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_shows_outcomes_and_pauses(self, is_terminal: bool) -> None:
        """It shows how many ended how, and why nothing is sent; in a pipe now and then."""
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            console = Console(file=nowhere, force_terminal=is_terminal, width=200, record=True)
            now = 0.0
            with Bar(console, "sending", 10, clock=lambda: now) as bar:
                counts = {Ended("HOME", Outcome.DELIVERED): 4, Ended("CART", Outcome.REFUSED): 1}
                bar.show_progress(Progress(0, {}, 0, ""))
                now = 11.0
                bar.show_progress(Progress(7, counts, 2, "503 \x1b[2Jdown"))
                bar.show_progress(Progress(7, {}, 0, ""))
                now = 22.0
                bar.show_progress(Progress(0, {}, 0, ""))
                now = 33.0
                bar.show_plan(Plan(read=1_234))
                bar.show_plan(Plan(read=9))
        shown = console.export_text()
        assert "4 delivered, 1 refused, waiting: 503 \\x1b[2Jdown" in shown or is_terminal
        assert is_terminal or shown.splitlines()[1:] == ["sending", "sending: 1,234 events"]
        assert not is_terminal or "sending: 1,234 events" in shown

    def test_shows_the_rate(self) -> None:
        """The rate is that of this run: what earlier ones have delivered is no part of it."""
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            console = Console(file=nowhere, force_terminal=True, width=200, record=True)
            now = 0.0
            with Bar(console, "sending", 9_000, clock=lambda: now) as bar:
                for seconds in range(4):
                    now, delivered = float(seconds), 5_000 + 700 * seconds
                    counts = {Ended("HOME", Outcome.DELIVERED): delivered}
                    bar.show_progress(Progress(delivered, counts, 2, ""))
        assert " 7100/9000 700/s 0:00:03" in console.export_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(folder: Path, sandbox: Sandbox, number: signal.Signals) -> None:
    """What is on its way is finished; the next run sends the rest, and nothing twice."""
    write_hour(folder / "ex", "2025-06-17_9", records(400))
    command = [sys.executable, "-m", "amplitude_moloco", "backfill", "conf.toml", "ex", *SINCE]
    command += ["--yes", "--rate", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        await_events(sandbox, 5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b"amplitude-moloco: interrupted; the same command goes on where it ended\n"
    assert 5 <= len(sandbox.moloco_events) < 400
    command[-1] = "100000"
    subprocess.run(command, capture_output=True, timeout=100, check=True)
    assert ids(sandbox) == sorted(f"id-{number}" for number in range(400))


def test_kills_lose_nothing(folder: Path, sandbox: Sandbox) -> None:
    """Killed again and again, it sends all, and again no more than what was on its way."""
    events = 200 * (KILLS + 1)
    write_hour(folder / "ex", "2025-06-17_8", [*records(events), *records(20)])
    write_hour(folder / "ex", "2025-06-17_9", records(0))
    command = [sys.executable, "-m", "amplitude_moloco", "backfill", "conf.toml", "ex", *SINCE]
    command += ["--yes", "--rate", "100000"]
    for _ in range(KILLS):
        before = len(sandbox.moloco_events)
        with subprocess.Popen(
            command, env=unmeasured(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            await_events(sandbox, before + 100)
            process.kill()
            process.communicate(timeout=60)
    subprocess.run(command, capture_output=True, timeout=200, check=True)
    sent = Counter(ids(sandbox))
    assert sent.keys() == {f"id-{number}" for number in range(events)}
    assert sent.total() - len(sent) <= KILLS * CONNECTIONS


def await_events(sandbox: Sandbox, count: int) -> None:
    """Wait until the sandbox has accepted this many."""
    await_that(lambda: len(sandbox.moloco_events) >= count)


def test_the_answers_of_a_moment_lose_nothing(folder: Path, server: FaultyServer) -> None:
    """Failures and slow-downs between the answers are waited for."""
    configure(folder, server.url)
    text = (folder / "conf.toml").read_text(encoding="utf-8").replace("[[syncs]]", "{}[[syncs]]", 1)
    retry = "[retry]\ndelays_seconds = [0.01]\n[[syncs]]"
    (folder / "conf.toml").write_text(text.replace("{}[[syncs]]", retry), encoding="utf-8")
    write_hour(folder / "ex", "2025-06-17_9", records(30))
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def decide(request: Received) -> bytes:
        with lock:
            id = json.loads(request.body)["id"]
            seen[id] += 1
            return server.reply(500 if seen[id] == 1 and int(id[3:]) % 7 == 0 else 200)

    server.decide = decide
    command = [sys.executable, "-m", "amplitude_moloco", "backfill", "conf.toml", "ex", *SINCE]
    command += ["--yes", "--rate", "100000"]
    done = subprocess.run(command, capture_output=True, timeout=200, check=True)
    assert b"HOME: 30 delivered\n" in done.stdout
    assert seen == {f"id-{number}": 1 + (number % 7 == 0) for number in range(30)}
