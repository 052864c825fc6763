"""The life and death of a process: exit, signals and fork, with the real SDK in real processes."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from support.faulty_server import FaultyServer

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.host import process
from amplitude_moloco.sandbox import Sandbox

FORKS = int(os.environ.get("TORTURE_FORKS", "50"))

PRELUDE = """
import multiprocessing, os, signal, sys, threading
from amplitude import Amplitude, BaseEvent, Config
from amplitude.plugin import DestinationPlugin
from amplitude_moloco import MolocoDestination, Sync

moloco_url, amplitude_url, transport = sys.argv[1:4]

def make(**settings):
    settings = {"channel_type": "SITE", "base_url": moloco_url, "transport": transport, **settings}
    return MolocoDestination("key", "SHOP", [Sync("HOME", events=["Home"])], **settings)

def make_client(*plugins):
    config = Config(server_url=amplitude_url, flush_interval_millis=50)
    client = Amplitude("amplitude-key", config)
    for plugin in plugins:
        client.add(plugin)
    return client

def home(id):
    return BaseEvent("Home", user_id="user-1", insert_id=id)

def in_forked_workers(work):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=[number]) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]

# Held back, so that only the end of the process can send them.
HELD_BACK = {"flush_queue_size": 1000, "flush_interval_millis": 60_000}
"""


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def start(
    tmp_path: Path, script: str, moloco_url: str, amplitude_url: str, transport: str = "requests"
) -> subprocess.Popen[str]:
    """Run a script that begins with the prelude."""
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            PRELUDE + script,
            moloco_url,
            amplitude_url,
            transport,
        ],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    tmp_path: Path, script: str, moloco_url: str, amplitude_url: str, transport: str = "requests"
) -> tuple[int, str, str]:
    """Run a script to its end; its exit code, output and errors."""
    with start(tmp_path, script, moloco_url, amplitude_url, transport) as child:
        output, errors = child.communicate(timeout=200)
    return child.returncode, output, errors


def ids(sandbox: Sandbox) -> list[str]:
    """The ids of the events that MCM has taken."""
    return sorted(event["id"] for event in sandbox.moloco_events)


def await_that(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until it is so, in what other threads and processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


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
    """However a process ends that runs its exit hooks, its events are sent, and nothing is said."""
    how, code = ENDS[end]
    script = f"""
client = make_client(make(**HELD_BACK))
for number in range(500):
    client.track(home(f"{{number:03}}"))
{how}
"""
    returned, output, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert returned == code
    assert ids(sandbox) == [f"{number:03}" for number in range(500)]
    assert output == ""
    assert "moloco" not in errors.lower()


def test_a_hung_amplitude_does_not_hold_up_moloco(
    tmp_path: Path, sandbox: Sandbox, black_hole: str
) -> None:
    """With Amplitude's endpoint hanging at exit, MCM's events are sent before that wait is over."""
    script = """
client = make_client(make(shutdown_timeout_seconds=20))
for number in range(4000):
    client.track(home(str(number)))
print("tracked", flush=True)
"""
    with start(tmp_path, script, sandbox.url, f"{black_hole}/2/httpapi") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "tracked\n"
        await_that(lambda: len(sandbox.requests) >= 4000)
        assert len(ids(sandbox)) == 4000
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
    """With MCM hanging, the process is gone a second after the deadline, and no event silently."""
    script = f"""{hung}
client = make_client(make(shutdown_timeout_seconds=0.5, {settings}))
for number in range(50):
    client.track(home(str(number)))
print("tracked", flush=True)
"""
    with start(tmp_path, script, black_hole, sandbox.amplitude_url) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "tracked\n"
        tracked = time.monotonic()
        _, errors = child.communicate(timeout=40)
        assert time.monotonic() - tracked < 0.5 + 1 + 1.5  # for the slowness of a busy machine
    assert child.returncode == 0
    if "memory" in settings:
        assert "50 events could not be sent to MCM in time, and are lost" in errors
    else:
        assert "moloco" not in errors.lower()
        assert rows(tmp_path / "moloco.db") == 50


def rows(file: Path) -> int:
    """How many events wait in a file."""
    with closing(sqlite3.connect(file)) as db:
        found: int = db.execute("SELECT events FROM counted").fetchone()[0]
    return found


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
def test_without_exit_hooks_what_waits_in_memory_is_gone(
    tmp_path: Path, sandbox: Sandbox, how: str, code: int, buffer: str
) -> None:
    """Where no hooks run, what waits in memory is lost and no more; what waits in a file is not."""
    script = f"""
destination = make(buffer="{buffer}")
client = make_client(destination)
for number in range(40):
    client.track(home(f"sent {{number:02}}"))
destination.flush().result(timeout=20)
destination.shutdown()
destination = make(buffer="{buffer}", **HELD_BACK)
client = make_client(destination)
for number in range(60):
    client.track(home(f"waiting {{number:02}}"))
print(destination.stats().buffered, flush=True)
{how}
"""
    returned, output, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (returned, output, errors) == (code, "60\n", "")
    sent = [f"sent {number:02}" for number in range(40)]
    assert ids(sandbox) == sent
    if buffer != "memory://":
        syncs = [Sync("HOME", events=["Home"])]
        file = f"sqlite://{tmp_path}/moloco.db"
        heir = MolocoDestination("key", "SHOP", syncs, base_url=sandbox.url, buffer=file)
        assert heir.flush().result(timeout=20).delivered == 60
        heir.close()
        assert ids(sandbox) == sent + [f"waiting {number:02}" for number in range(60)]


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_children_of_multiprocessing_send_their_own_and_the_parent_its_own(
    tmp_path: Path, sandbox: Sandbox, transport: str
) -> None:
    """Of a parent and its forked workers, each sends what it tracked, and nothing is sent twice."""
    script = """
client = make_client(make(**HELD_BACK))
client.track(home("parent before"))

in_forked_workers(lambda number: client.track(home(f"child {number}")))
client.track(home("parent after"))
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url, transport)
    assert (code, errors) == (0, "")
    assert ids(sandbox) == ["child 0", "child 1", "child 2", "parent after", "parent before"]


def test_a_child_leaves_its_parents_connection_alone(
    tmp_path: Path, sandbox: Sandbox, server: FaultyServer
) -> None:
    """Whether forked children track or not, their end closes no connection of their parent's."""
    script = """
destination = make(connections=1)
client = make_client(destination)
client.track(home("before"))
destination.flush().result(timeout=20)

in_forked_workers(lambda number: number and client.track(home(f"child {number}")))
client.track(home("after"))
"""
    code, _, errors = run(tmp_path, script, server.url, sandbox.amplitude_url)
    assert code == 0
    assert "moloco" not in errors.lower()  # on some Pythons the SDK's own end is noisy
    ports = {json.loads(each.body)["id"]: each.client_port for each in server.requests}
    assert sorted(ports) == ["after", "before", "child 1", "child 2"]
    assert ports["after"] == ports["before"]
    assert server.connections == len(set(ports.values())) == 3


def test_a_process_that_was_frozen_goes_on(
    tmp_path: Path, sandbox: Sandbox, server: FaultyServer
) -> None:
    """What was flushed before a freeze has arrived; a connection lost by it costs nothing."""
    script = """
destination = make(connections=1, **HELD_BACK)
client = make_client(destination)
for number in range(2):
    client.track(home(str(number)))
    stats = destination.flush().result(timeout=20)
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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_a_fork_while_threads_track_hangs_no_child(
    tmp_path: Path, sandbox: Sandbox, transport: str
) -> None:
    """While four threads track, many forked children track once each, and none hangs."""
    script = """
import itertools
destination = make()
client = make_client(destination)
stop = threading.Event()

def track():
    while not stop.wait(0.001):
        client.track(home(None))

threads = [threading.Thread(target=track, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
destination.flush().result(20)  # coverage has a lock of its own, for what runs for the first time
for number in range(FORKS):
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # one that hangs is killed
        client.track(home(f"child {number}"))
        destination.shutdown(20)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, f"child {number} hung"
stop.set()
for thread in threads:
    thread.join()
os._exit(0)
"""
    script = script.replace("FORKS", str(FORKS))
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url, transport)
    assert (code, errors) == (0, "")
    children = [id for id in ids(sandbox) if id.startswith("child")]
    assert children == sorted(f"child {number}" for number in range(FORKS))


def test_locks_of_another_kind_since_the_fork_are_made_anew(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """Where the locks are patched only in the child, as gunicorn does for gevent, it uses those."""
    script = """
class Patched:
    def __init__(self):
        self.lock = original()
        self.acquire, self.release = self.lock.acquire, self.lock.release
        self.locked = self.lock.locked
    def __enter__(self):
        return self.acquire()
    def __exit__(self, *error):
        self.release()

original = threading.Lock
client = make_client(destination := make())
client.track(home("parent's"))
child = os.fork()
if child == 0:
    threading.Lock, threading.RLock = Patched, threading._RLock
    client.track(home("child's"))
    stats = destination.flush().result(20)
    kinds = set(map(type, client._Amplitude__timeline.locks.values()))
    os._exit(kinds != {Patched} or stats.delivered != 1)
assert os.waitpid(child, 0) == (child, 0)
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    assert ids(sandbox) == ["child's", "parent's"]


def test_threads_that_are_the_first_to_track_in_a_child_lose_nothing(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """Where several threads of a forked child need its engine at once, they get the same one."""
    script = """
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.transports.requests import RequestsTransport

mcm = endpoint(api_key="key", platform_id="SHOP", platform_name=None, base_url=moloco_url)
is_starting, others_are_done = threading.Event(), threading.Event()

def open_slowly():
    if parent != os.getpid():
        is_starting.set()
        others_are_done.wait(0.5)
    return RequestsTransport(mcm)

def come_second():
    is_starting.wait(20)
    assert destination.stats().delivered == 0
    client.track(home("second"))
    others_are_done.set()

parent = os.getpid()
destination = make(transport=open_slowly)
client = make_client(destination)
client.track(home("parent's"))
child = os.fork()
if child == 0:
    second = threading.Thread(target=come_second)
    second.start()
    client.track(home("first"))
    second.join(20)
    stats = destination.flush().result(20)
    os._exit(stats.accepted != 2 or stats.delivered != 2)
assert os.waitpid(child, 0) == (child, 0)
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    assert ids(sandbox) == ["first", "parent's", "second"]


def test_a_spawned_worker_sends_too(tmp_path: Path, sandbox: Sandbox) -> None:
    """A worker that is spawned, and makes a client of its own, sends what it tracks."""
    script = """
import concurrent.futures, multiprocessing
"""
    worker = tmp_path / "worker.py"
    worker.write_text(
        PRELUDE.replace("sys.argv[1:4]", f"{sandbox.url!r}, {sandbox.amplitude_url!r}, 'requests'")
        + "def work(number):\n    client = make_client(make())\n"
        "    client.track(home(str(number)))\n    client.shutdown()\n"
    )
    main = tmp_path / "main.py"
    main.write_text(
        script
        + "from worker import work\n"
        + "if __name__ == '__main__':\n"
        + "    context = multiprocessing.get_context('spawn')\n"
        + "    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:\n"
        + "        list(pool.map(work, range(4)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(main)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    assert ids(sandbox) == ["0", "1", "2", "3"]


class Timeline:
    """As the SDK's, or not quite."""

    def __init__(self, locks: object, plugins: object) -> None:
        self.locks, self.plugins = locks, plugins


@pytest.mark.parametrize("timeline", [None, object(), Timeline([], 3), Timeline({}, {"a": [1]})])
def test_an_sdk_that_has_changed_is_left_alone(timeline: object) -> None:
    """Where the SDK's locks are not where they were, nothing is renewed and nothing raises."""
    before = dict(vars(timeline)) if hasattr(timeline, "__dict__") else {}
    process.renew_locks(timeline)
    assert (dict(vars(timeline)) if hasattr(timeline, "__dict__") else {}) == before


class Workers:
    """As the SDK's."""

    def __init__(self) -> None:
        self.consumer_lock = threading.RLock()
        self.threads_pool = ThreadPoolExecutor(max_workers=1)


class Plugin:
    """As a destination of the SDK's."""

    def __init__(self) -> None:
        self.workers = Workers()


def test_a_child_gets_workers_that_no_thread_of_the_parent_holds() -> None:
    """The executor of a destination of the SDK's is replaced too: its lock may have been held."""
    plugin = Plugin()
    before = plugin.workers.consumer_lock, plugin.workers.threads_pool
    process.renew_locks(Timeline({}, {"destination": [plugin]}))
    assert plugin.workers.consumer_lock is not before[0]
    assert plugin.workers.threads_pool is not before[1]
    assert plugin.workers.threads_pool.submit(int, "3").result(10) == 3
    plugin.workers.threads_pool.shutdown()


class Counting:
    """Counts how often it is called."""

    calls = 0

    def call(self) -> None:
        self.calls += 1


def test_the_hooks_of_a_process_hold_nothing_alive() -> None:
    """What is to be called at exit and in a child is called as long as others hold its object."""
    counting = Counting()
    hook = process.weakly(counting.call)
    hook()
    assert counting.calls == 1
    reference = weakref.ref(counting)
    del counting
    gc.collect()
    hook()
    assert reference() is None


class Signal:
    """As Celery's ``worker_process_shutdown``."""

    def connect(self, receiver: Callable[..., object], weak: bool) -> None:
        self.receiver = receiver
        assert not weak


def test_the_end_of_a_celery_child_is_told_by_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Celery is imported, its signal calls; where it is not, or has changed, nothing does."""
    counting = Counting()
    signals = ModuleType("celery.signals")
    monkeypatch.setitem(sys.modules, "celery.signals", signals)
    process.call_at_end_of_celery_child(counting.call)  # there is no such signal
    signal = Signal()
    signals.worker_process_shutdown = signal  # type: ignore[attr-defined]
    process.call_at_end_of_celery_child(counting.call)
    signal.receiver(sender=None, pid=1, exitcode=0)
    assert counting.calls == 1


def test_a_client_that_is_made_at_the_very_end_does_no_harm(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """A destination that is added while the interpreter ends is as good as its own shutdown."""
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
