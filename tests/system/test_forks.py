"""Forked and spawned processes, with the real SDK in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.app_process import PRELUDE, ids, run
from support.faulty_server import FaultyServer
from support.repeats import repeats

from amplitude_moloco.sandbox import Sandbox

FORKS = repeats(10, 200)


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_children_of_multiprocessing_send_their_own_and_the_parent_its_own(
    tmp_path: Path, sandbox: Sandbox, transport: str
) -> None:
    """A parent and its forked workers each send what they tracked, and nothing is sent twice."""
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
    """Whether forked children track or not, their end closes no connection of their parent."""
    script = """
destination = make(connections=1)
client = make_client(destination)
client.track(home("before"))
destination.flush(20).result()

in_forked_workers(lambda number: number and client.track(home(f"child {number}")))
client.track(home("after"))
"""
    code, _, errors = run(tmp_path, script, server.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    ports = {json.loads(each.body)["id"]: each.client_port for each in server.requests}
    assert sorted(ports) == ["after", "before", "child 1", "child 2"]
    assert ports["after"] == ports["before"]
    assert server.connections == len(set(ports.values())) == 3


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
destination.flush(20).result()
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


def test_locks_that_are_patched_after_the_fork_are_renewed(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """If locks are patched only in the child, as gunicorn does for gevent, it uses those."""
    script = """
from amplitude_moloco.host.sdk import timeline_of

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
client = make_client(destination := make(timeout_seconds=50, shutdown_timeout_seconds=50))
client.track(home("parent's"))
destination.flush(50).result()  # so that no thread of the parent's is at work during the fork
child = os.fork()
if child == 0:
    threading.Lock, threading.RLock = Patched, threading._RLock
    client.track(home("child's"))
    stats = destination.flush(50).result()
    kinds = set(map(type, timeline_of(client).locks.values()))
    os._exit(kinds != {Patched} or stats.delivered != 1)
assert os.waitpid(child, 0) == (child, 0)
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    assert ids(sandbox) == ["child's", "parent's"]


def test_threads_that_are_the_first_to_track_in_a_child_lose_nothing(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """If several threads of a forked child need its engine at once, they get the same one."""
    script = """
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.transports.requests import RequestsTransport

mcm = endpoint(api_key="key", platform_id="SHOP", platform_name=None, base_url=moloco_url)
is_starting, others_are_done = threading.Event(), threading.Event()

def open_slowly(endpoint):
    if parent != os.getpid():
        is_starting.set()
        others_are_done.wait(0.5)
    return RequestsTransport(endpoint)

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
    stats = destination.flush(20).result()
    os._exit(stats.accepted != 2 or stats.delivered != 2)
assert os.waitpid(child, 0) == (child, 0)
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    assert ids(sandbox) == ["first", "parent's", "second"]


@pytest.mark.parametrize("buffer", ["memory://", "sqlite:///moloco.db"])
@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_a_child_that_can_not_open_its_transport_keeps_its_events(
    tmp_path: Path, sandbox: Sandbox, transport: str, buffer: str
) -> None:
    """Without its certificates a child's track() goes on; the event is sent once they are back."""
    script = """
import shutil
import certifi
from amplitude_moloco import BreakerPolicy, RetrySchedule

def hear(fact):
    told.append(type(fact).__name__)
    happened[told[-1]].set()

told, happened = [], {}
for kind in ("Delivered", "Degraded", "Retrying", "Paused", "Resumed"):
    happened[kind] = threading.Event()
shutil.copy(certifi.where(), "certificates.pem")
client = make_client(destination := make(
    buffer=BUFFER, ca_bundle="certificates.pem", hooks=[hear],
    retry=RetrySchedule((0.1,), then_seconds=0.1),
    breaker=BreakerPolicy(probe_delays_seconds=(0.1,), then_seconds=0.1),
))
client.track(home("parent's"))
destination.flush(50).result()
is_alone, parent_is_done = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(100)
    os.read(is_alone, 1)  # the parent, too, would send what lies in a shared buffer
    happened["Delivered"].clear()
    os.rename("certificates.pem", "elsewhere.pem")
    client.track(home("child's"))
    assert happened["Retrying"].wait(50) and happened["Degraded"].is_set()
    os.rename("elsewhere.pem", "certificates.pem")
    assert happened["Delivered"].wait(50)
    destination.shutdown(50)
    os._exit(destination.stats().delivered != 1)
destination.shutdown(50)
os.write(parent_is_done, b".")
assert os.waitpid(child, 0) == (child, 0)
"""
    script = script.replace("BUFFER", repr(buffer))
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url, transport)
    assert code == 0, errors
    assert "can't be opened" in errors
    assert "'certificates.pem' does not exist" in errors
    assert ids(sandbox) == ["child's", "parent's"]


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
