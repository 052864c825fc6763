from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from support.cli import run as run_command

from amplitude_moloco import EventType, Stats
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.cli.shop import Arrival, Outcome, run
from amplitude_moloco.sandbox import Sandbox

MAIN = "from amplitude_moloco.cli import main; main()"
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.py"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python in a new process, with the packages of this one."""
    processes = []

    def start(*args: str, **more: str) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80", **more}
        process = subprocess.Popen(
            [sys.executable, *args],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """The outcome of one run of the demo."""
    return run()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Returns the exit code and the output of a process."""
    # communicate() would skip what readline() has read ahead.
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(timeout=30), out, err


def url_of(process: subprocess.Popen[str]) -> str:
    """Returns the URL in the first line that a sandbox prints."""
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]


class TestSandbox:
    """The command ``amplitude-moloco sandbox``."""

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_runs_until_told_to_stop(self, start: Start, number: int) -> None:
        """It prints its URLs, serves, and ends silently on a signal."""
        process = start("-c", MAIN, "sandbox", "--port", "0", "--api-key", "secret")
        url = url_of(process)

        with requests.get(f"{url}/events", timeout=10) as events:
            assert events.json() == {"moloco": [], "amplitude": [], "forgotten": 0}
        process.send_signal(number)

        code, out, err = ended(process)
        assert (code, err) == (0, "")
        assert f'MolocoDestination(..., base_url="{url}")\n' in out
        assert f'Config(server_url="{url}/2/httpapi")\n' in out
        assert "secret" not in out

    def test_accepts_only_its_key_and_platform(self, start: Start) -> None:
        """It accepts only the key and the platform given on the command line."""
        options = ("--port", "0", "--api-key", "right", "--platform-id", "SHOP")
        process = start("-c", MAIN, "sandbox", *options)
        url = url_of(process)

        def status(platform_id: str, api_key: str) -> int:
            path = f"{url}/rmp/event/v1/platforms/{platform_id}/userevents"
            with requests.post(path, headers={"x-api-key": api_key}, timeout=10) as answer:
                return answer.status_code

        assert status("SHOP", "right") == 400
        assert status("SHOP", "wrong") == 401
        assert status("OTHER", "right") == 404

    def test_port_in_use(self, start: Start) -> None:
        """For a port in use it prints one line, and ends with exit code 1."""
        with Sandbox() as sandbox:
            port = str(urlsplit(sandbox.url).port)

            code, out, err = ended(start("-c", MAIN, "sandbox", "--port", port))

        assert (code, out) == (1, "")
        assert re.fullmatch(rf"amplitude-moloco: .* port {port}: Address already in use.*\n", err)


class TestDemo:
    """The command ``amplitude-moloco demo``."""

    def test_shows_everything(self) -> None:
        """It shows all eight types at MCM, the invalid event with its fix, and the counters."""
        code, out, err = run_command("demo")

        assert (code, err) == (0, "")
        for event_type in EventType:
            assert re.search(rf"\b{event_type.value}\b.*\byes\b", out)
        assert "search_query: found nothing; map search_query" in out
        assert "no sync selects it" in out
        counts = dict(re.findall(r"^ *(\w+) +(\d+) *$", out, re.MULTILINE))
        assert counts == {
            **{field.name: "0" for field in fields(Stats) if field.name != "delivered_by_sync"},
            "accepted": "9",
            "delivered": "8",
            "invalid": "1",
            "unselected": "1",
        }
        assert max(map(len, out.splitlines())) <= 80

    def test_narrow(self) -> None:
        """At 60 columns nothing is cut, and each event is on a line with its type."""
        code, out, _ = run_command("demo", COLUMNS="60")

        assert code == 0
        assert max(map(len, out.splitlines())) <= 60
        assert "…" not in out
        for event_type in EventType:
            assert re.search(rf"^ \w[\w ]+ {event_type.value} +yes *$", out, re.MULTILINE)
        assert "amplitude-moloco init" in out

    def test_json(self) -> None:
        """With --json it prints what each side received."""
        code, out, _ = run_command("demo", "--json")

        found = json.loads(out)
        assert code == 0
        assert found["is_as_expected"] is True
        assert found["stats"]["delivered"] == 8
        assert [event["tracked"] for event in found["events"] if event["problems"]] == [
            "Products Searched"
        ]
        assert found["events"][0]["moloco"]["event_type"] == "LAND"

    def test_no_proxy(self) -> None:
        """The demo ignores a proxy that is set in the environment."""
        proxy = "http://127.0.0.1:9"

        code, _, _ = run_command("demo", http_proxy=proxy, HTTP_PROXY=proxy)

        assert code == 0

    def test_shows_what_is_missing(self, start: Start) -> None:
        """If an event does not arrive, it shows which, and ends with exit code 1."""
        deaf = (
            "from amplitude import http_client as h\n"
            "h.HttpClient.post = staticmethod(lambda *args: h.Response(h.HttpStatus.SUCCESS))\n"
        )

        code, out, err = ended(start("-c", deaf + MAIN, "demo"))

        assert code == 1
        assert re.search(r"PURCHASE .* no *\n", out)
        assert err == "amplitude-moloco: not every event arrived as expected\n"


class TestOutcome:
    """When the demo counts as a success."""

    def test_as_expected(self, outcome: Outcome) -> None:
        """All eight types at MCM, one event invalid, and all events at Amplitude."""
        assert outcome.is_as_expected

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda arrival: replace(arrival, user_event=None),
            lambda arrival: replace(arrival, user_event={"event_type": "HOME"}),
            lambda arrival: replace(arrival, problems=()),
            lambda arrival: replace(arrival, in_amplitude=False),
        ],
        ids=["not at MCM", "of another type", "not invalid", "not at Amplitude"],
    )
    def test_not_as_expected(self, outcome: Outcome, spoil: Callable[[Arrival], Arrival]) -> None:
        """Anything that is missing makes the demo a failure."""
        assert not Outcome(tuple(map(spoil, outcome.arrivals)), outcome.stats).is_as_expected


@pytest.mark.parametrize("package", ["typer", "rich", "starlette", "uvicorn"])
def test_missing_extra(start: Start, package: str) -> None:
    """Without its packages, the command line prints one line that names the extra."""
    blocked = f"import sys; sys.modules[{package!r}] = None\n"

    code, out, err = ended(start("-c", blocked + MAIN, "demo"))

    assert (code, out) == (1, "")
    assert err == (
        'amplitude-moloco: the command line is an extra: pip install "amplitude-moloco[cli]"\n'
    )


def test_help() -> None:
    """Without a command, it lists the commands."""
    code, out, err = run_command()

    assert (code, err) == (2, "")
    assert "sandbox" in out
    assert "demo" in out


def test_version() -> None:
    """--version shows the version of the distribution, and nothing else."""
    code, out, err = run_command("--version")

    assert (code, out, err) == (0, f"amplitude-moloco {version('amplitude-moloco')}\n", "")


@pytest.mark.parametrize(
    "command", ["check", "ping", "stats", "dead", "link", "sandbox", "demo", "fetch"]
)
def test_help_of_a_command(command: str) -> None:
    """Each command explains itself within 80 columns, without a box or a colour."""
    code, out, _ = run_command(command, "--help", FORCE_COLOR="1")

    assert code == 0
    assert out.startswith("Usage: ")
    assert max(map(len, out.splitlines())) <= 80
    assert all(line.isprintable() for line in out.splitlines())
    assert "\u2500" not in out


def test_a_misspelt_command() -> None:
    """It ends with 2, and names the command that it nearly is."""
    code, out, err = run_command("stat")

    assert (code, out) == (2, "")
    assert "No such command 'stat'. Did you mean 'stats'?" in err


def test_completion(start: Start) -> None:
    """The shell's completion is shown, and completes commands."""
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    _, script, _ = ended(start("-c", MAIN, "--show-completion", "bash", **named))
    more = {"_AMPLITUDE_MOLOCO_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    _, found, _ = ended(start("-c", MAIN, COMP_WORDS="amplitude-moloco de", **more))

    assert "_AMPLITUDE_MOLOCO_COMPLETE=complete_bash" in script
    assert sorted(found.split()) == ["dead", "demo"]


def test_interrupted_before_it_begins(start: Start) -> None:
    """Ctrl-C while the program starts ends it with 130, and without a traceback."""
    interrupted = (
        "import amplitude_moloco.cli.app as module\n"
        "def app(**more): raise KeyboardInterrupt\n"
        "module.app = app\n"
    )

    assert ended(start("-c", interrupted + MAIN)) == (130, "", "")


def test_a_terminal_without_unicode(start: Start) -> None:
    """What the terminal's encoding lacks is shown escaped."""
    code, out, _ = ended(start("-c", MAIN, "stats", "--help", PYTHONIOENCODING="latin-1"))

    assert code == 0
    assert "sqlite:///\\u2026" in out


def test_no_terminal_at_all(start: Start) -> None:
    """Where Python has no standard output, a command still runs."""
    process = start("-c", f"import sys; sys.stdout = None; {MAIN}", "check", "missing.toml")

    assert ended(process)[0] == 2


@pytest.mark.parametrize("command", [("sandbox", "--port", "0", "--json"), ("stats", "--json")])
def test_an_output_that_is_closed(start: Start, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A reader that has seen enough, such as head, ends a command without a message."""
    arguments = [*command]
    if command[0] == "stats":
        with closing(SqliteBuffer(tmp_path / "moloco.db", target="t")) as buffer:
            buffer.put("a", "HOME", b"{}")
        arguments.append(str(tmp_path / "moloco.db"))
    closed = "import os, signal; os.close(1); os.dup2(os.pipe()[1], 1); os.close(3); "
    code, out, err = ended(start("-c", closed + MAIN, *arguments))

    assert (code, out, err) == (1, "", "")


def test_quickstart(start: Start) -> None:
    """The example runs unchanged, and shows the same order at both services."""
    code, out, err = ended(start(str(QUICKSTART)))

    assert (code, err) == (0, "")
    assert "Amplitude received ['Order Completed']" in out
    assert '"event_type": "PURCHASE"' in out


def test_as_a_module() -> None:
    """``python -m amplitude_moloco`` is the same command line."""
    done = subprocess.run(
        [sys.executable, "-m", "amplitude_moloco", "--help"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "sandbox" in done.stdout
    assert "demo" in done.stdout
