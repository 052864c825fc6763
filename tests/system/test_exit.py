"""The end of a process, however it comes, with the real SDK in real processes."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.app_process import ids, run, start
from support.faulty_server import FaultyServer
from support.waiting import await_that

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.sandbox import Sandbox


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def destination_on(file: Path, base_url: str) -> MolocoDestination:
    """A destination with this file as its buffer, which sends nothing before its flush()."""
    syncs = [Sync("HOME", events=["Home"])]
    buffer = f"sqlite:///{file}"
    return MolocoDestination("key", "SHOP", syncs, base_url=base_url, buffer=buffer)


def waiting_in(file: Path, base_url: str) -> int:
    """How many events wait in a file, whichever process has claimed them."""
    with closing(destination_on(file, base_url)) as destination:
        return destination.buffer_state().waiting


ENDS = {
    "end of script": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise ValueError('of the app')", 1),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", -signal.SIGINT),
    "SIGTERM with a handler": (
        (
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
            "os.kill(os.getpid(), 15)\n"
            "threading.Event().wait()"
        ),
        0,
    ),
    "shutdown twice": ("client.shutdown(); client.shutdown()", 0),
    "exit in a thread": (
        "thread = threading.Thread(target=sys.exit); thread.start(); thread.join()",
        0,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_waits_is_sent_when_the_process_ends(
    tmp_path: Path, sandbox: Sandbox, end: str
) -> None:
    """However a process ends that runs its exit hooks, its events are sent without a word."""
    how, code = ENDS[end]
    script = f"""
client = make_client(make(**HELD_BACK))
for number in range(100):
    client.track(home(f"{{number:03}}"))
{how}
"""
    returned, output, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert returned == code
    assert ids(sandbox) == [f"{number:03}" for number in range(100)]
    assert output == ""
    assert "moloco" not in errors.lower()


def test_a_hung_amplitude_does_not_hold_up_moloco(
    tmp_path: Path, sandbox: Sandbox, black_hole: str
) -> None:
    """If Amplitude's endpoint hangs at exit, MCM's events are sent before that wait is over."""
    script = """
client = make_client(make())
for number in range(200):
    client.track(home(str(number)))
print("tracked", flush=True)
"""
    with start(tmp_path, script, sandbox.url, f"{black_hole}/2/httpapi") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "tracked\n"
        await_that(lambda: len(sandbox.requests) >= 200)
        assert len(ids(sandbox)) == 200
        assert child.poll() is None  # it still waits for Amplitude
        child.kill()
        child.communicate()


def test_another_destination_that_raises_changes_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    """A destination before ours that raises in its shutdown does not keep ours from draining."""
    script = """
class Raising(DestinationPlugin):
    def execute(self, event): pass
    def flush(self): pass
    def shutdown(self): raise ValueError("of another destination")

client = make_client(Raising(), make(**HELD_BACK))
client.track(home("1"))
"""
    run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert ids(sandbox) == ["1"]


HUNG_DNS = """
import socket
resolve = socket.getaddrinfo

def hang(host, *args, **more):
    if host.endswith("moloco.com"):
        threading.Event().wait()
    return resolve(host, *args, **more)

socket.getaddrinfo = hang
moloco_url = "https://shop-evt.mcm-api.moloco.com"
"""


@pytest.mark.parametrize(
    ("hung", "settings"),
    [
        ("", 'buffer="memory://"'),
        ("", 'buffer="sqlite:moloco.db"'),
        ("", 'buffer="memory://", transport="curl"'),
        (HUNG_DNS, 'buffer="memory://"'),
    ],
    ids=["memory", "sqlite", "curl", "DNS"],
)
def test_what_hangs_holds_the_process_no_longer_than_the_deadline(
    tmp_path: Path, sandbox: Sandbox, black_hole: str, hung: str, settings: str
) -> None:
    """If MCM hangs, the process ends soon after the deadline, and no event is lost silently."""
    script = f"""{hung}
client = make_client(make(shutdown_timeout_seconds=0.5, timeout_seconds=100, {settings}))
for number in range(50):
    client.track(home(str(number)))
print("tracked", flush=True)
"""
    with start(tmp_path, script, black_hole, sandbox.amplitude_url) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "tracked\n"
        tracked = time.monotonic()
        _, errors = child.communicate(timeout=40)
        assert time.monotonic() - tracked < 10 * (0.5 + 1)  # a request may take 100 seconds
    assert child.returncode == 0
    if "memory" in settings:
        assert "50 events could not be sent in time, and are lost" in errors
    else:
        assert "moloco" not in errors.lower()
        assert waiting_in(tmp_path / "moloco.db", black_hole) == 50


@pytest.mark.parametrize("buffer", ["memory://", "sqlite:moloco.db"])
@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os._exit(0)", 0),
    ],
    ids=["SIGKILL", "SIGTERM", "os._exit"],
)
def test_without_exit_hooks_only_what_waits_in_memory_is_lost(
    tmp_path: Path, sandbox: Sandbox, how: str, code: int, buffer: str
) -> None:
    """If no hooks run, what waits in memory is lost, and what waits in a file is kept."""
    script = f"""
destination = make(buffer="{buffer}")
client = make_client(destination)
for number in range(40):
    client.track(home(f"sent {{number:02}}"))
destination.flush(20).result()
destination.shutdown()
destination = make(buffer="{buffer}", **HELD_BACK)
client = make_client(destination)
for number in range(60):
    client.track(home(f"waiting {{number:02}}"))
print(destination.buffer_state().waiting, flush=True)
{how}
"""
    returned, output, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (returned, output, errors) == (code, "60\n", "")
    sent = [f"sent {number:02}" for number in range(40)]
    assert ids(sandbox) == sent
    if buffer != "memory://":
        heir = destination_on(tmp_path / "moloco.db", sandbox.url)
        assert heir.flush(20).result().delivered == 60
        heir.close()
        assert ids(sandbox) == sent + [f"waiting {number:02}" for number in range(60)]


def test_a_process_that_was_frozen_continues(
    tmp_path: Path, sandbox: Sandbox, server: FaultyServer
) -> None:
    """What was flushed before a freeze has arrived; a connection lost by it costs no attempt."""
    script = """
destination = make(connections=1, **HELD_BACK)
client = make_client(destination)
for number in range(2):
    client.track(home(str(number)))
    stats = destination.flush(20).result()
    print(stats.delivered, stats.buffered, stats.retried, flush=True)
    sys.stdin.readline()
os._exit(0)
"""
    is_frozen, is_closed = threading.Event(), threading.Event()
    server.will(
        server.reply(200),
        lambda _: is_frozen.wait(20),
        lambda exchange: exchange.close(),
        lambda _: is_closed.set(),
    )
    with start(tmp_path, script, server.url, sandbox.amplitude_url) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "1 0 0\n"
        child.send_signal(signal.SIGSTOP)
        is_frozen.set()
        assert is_closed.wait(20)
        child.send_signal(signal.SIGCONT)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "2 0 0\n"
        child.communicate("\n", timeout=20)
    assert [json.loads(each.body)["id"] for each in server.requests] == ["0", "1"]


def test_a_client_that_is_made_at_the_very_end_does_no_harm(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """A destination that is added while the interpreter ends sends until its own shutdown."""
    script = """
import atexit

@atexit.register
def too_late():
    destination = make()
    make_client(destination).track(home("1"))
    destination.shutdown()
    os._exit(0)
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert code == 0
    assert "moloco" not in errors.lower()
    assert ids(sandbox) == ["1"]


@pytest.mark.parametrize(("end", "sent"), [("", ["main"]), ("thread.join()", ["main", "thread"])])
def test_a_thread_that_outlives_the_main_thread_has_to_be_joined(
    tmp_path: Path, sandbox: Sandbox, end: str, sent: list[str]
) -> None:
    """Amplitude's SDK ignores what a thread tracks after the main thread's end, as the docs say."""
    script = f"""
client = make_client(make())
client.track(home("main"))

def work():
    if {not end}:
        threading.main_thread().join()
    client.track(home("thread"))

thread = threading.Thread(target=work)
thread.start()
{end}
"""
    code, _, _ = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (code, ids(sandbox)) == (0, sent)
