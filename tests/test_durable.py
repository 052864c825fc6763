"""A durable buffer in the real SDK, over kills, restarts and several processes.

Each test ends with the law: what was accepted was delivered, or lies in the buffer or with the dead
letters, or its end was told.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import Dropped, Fact, MolocoDestination, RetrySchedule, Sync
from amplitude_moloco.sandbox import Sandbox

ROUNDS = int(os.environ.get("MOLOCO_KILLS", "6"))
EVENTS = 10_000 if ROUNDS >= 20 else 3_000

# Tracks from one number to another, and writes each number down once track() has returned. At the
# end it waits until nothing is left in the buffer.
TRACKING = """
import os, sys, time
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import Dropped, MolocoDestination, Sync
from amplitude_moloco.buffers.sqlite import SqliteBuffer

url, file, ledger, name, first, last = sys.argv[1:]
refused = os.open("refused", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def write_down_if_dropped(fact):
    if isinstance(fact, Dropped):
        os.write(refused, f"{fact.id}\\n".encode())

target = "https://mcm.example|SHOP"
destination = MolocoDestination(
    "key", "SHOP", [Sync("HOME", events=["Home"])], base_url=url, channel_type="SITE",
    buffer=lambda: SqliteBuffer(file, target=target, lease_seconds=2, wait_seconds=1),
    timeout_seconds=1, hooks=[write_down_if_dropped],
)
client = Amplitude("amplitude-key", Config(server_url=url + "/2/httpapi"))
client.add(destination)
written = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(int(first), int(last)):
    client.track(BaseEvent("Home", user_id="user-1", insert_id=f"{name}-{number}"))
    os.write(written, f"{name}-{number}\\n".encode())
print("tracked", flush=True)
destination.flush()
while destination.stats().buffered:
    time.sleep(0.02)
print(destination.stats(), flush=True)
os._exit(0)
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A server of this test's own."""
    with Sandbox() as sandbox:
        yield sandbox


def start(
    tmp_path: Path, sandbox: Sandbox, name: str, first: int, last: int
) -> subprocess.Popen[str]:
    """A process that tracks."""
    arguments = [sandbox.url, "moloco.db", "ledger", name, str(first), str(last)]
    return subprocess.Popen(
        [sys.executable, "-c", TRACKING, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tracked(tmp_path: Path) -> list[str]:
    """The ids for which track() has returned."""
    return ids_in(tmp_path / "ledger")


def ids_in(file: Path) -> list[str]:
    """The ids that were written down, a line each."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


def assert_all_arrived(tmp_path: Path, sandbox: Sandbox, kills: int) -> None:
    """Nothing is missing, at most one more for each kill, and copies are copies."""
    received = [request for request in sandbox.requests if request.target == "moloco"]
    bodies: dict[str, set[bytes]] = {}
    for request in received:
        bodies.setdefault(request.body["id"], set()).add(request.raw)
    assert set(tracked(tmp_path)) <= bodies.keys() | set(ids_in(tmp_path / "refused"))
    assert len(bodies) <= len(tracked(tmp_path)) + kills
    assert all(len(copies) == 1 for copies in bodies.values())
    # What was on its way at a kill comes again: as many as there are senders, and staged for them.
    assert len(received) - len(bodies) <= kills * 32


@pytest.mark.timeout(600)
def test_no_event_is_lost_by_kill_9(tmp_path: Path, sandbox: Sandbox) -> None:
    """However often a process is killed, each event for which track() had returned arrives."""
    chance = random.Random(4711)  # noqa: S311  # moments, not secrets
    for _ in range(ROUNDS):
        first = len(tracked(tmp_path))
        with start(tmp_path, sandbox, f"round-{first}", first, EVENTS) as child:
            while len(tracked(tmp_path)) <= first and child.poll() is None:
                os.sched_yield()
            deadline = time.monotonic() + chance.uniform(0.01, 0.6)
            while time.monotonic() < deadline:
                os.sched_yield()
            child.kill()
            child.communicate()
    first = len(tracked(tmp_path))
    with start(tmp_path, sandbox, "last", first, EVENTS) as child:
        _, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    assert len(tracked(tmp_path)) == EVENTS
    assert_all_arrived(tmp_path, sandbox, kills=ROUNDS)


@pytest.mark.timeout(120)
def test_four_processes_share_one_file_and_one_is_killed(tmp_path: Path, sandbox: Sandbox) -> None:
    """Of four processes with one file each sends its share, and what one leaves is taken over."""
    children = [start(tmp_path, sandbox, f"process-{n}", 0, 400) for n in range(4)]
    while len(tracked(tmp_path)) < 600:
        os.sched_yield()
    children[0].kill()
    for child in children[1:]:
        _, errors = child.communicate(timeout=100)
        assert child.returncode == 0, errors
    children[0].communicate()
    assert len(tracked(tmp_path)) >= 1200
    assert_all_arrived(tmp_path, sandbox, kills=1)


def make(
    tmp_path: Path, url: str, facts: list[Fact] | None = None, options: str = ""
) -> MolocoDestination:
    """A destination with a file."""
    return MolocoDestination(
        "key",
        "SHOP",
        [Sync("HOME", events=["Home"])],
        base_url=url,
        channel_type="SITE",
        buffer=f"sqlite://{tmp_path}/moloco.db{options}",
        hooks=[facts.append] if facts is not None else (),
        retry=RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
        shutdown_timeout_seconds=2,
    )


def home(id: str) -> BaseEvent:
    """An event that becomes a HOME."""
    return BaseEvent("Home", user_id="u", insert_id=id, time=1_700_000_000_000)


def test_what_the_end_leaves_in_the_file_is_sent_at_the_next_start(tmp_path: Path) -> None:
    """Shutdown does not wait for a durable backlog: it is sent by whoever opens the file next."""
    sandbox = Sandbox()
    with sandbox:
        url = sandbox.url
    destination = make(tmp_path, url)  # where nobody answers now
    for number in range(50):
        destination.execute(home(str(number)))
    started = time.monotonic()
    destination.shutdown()
    assert time.monotonic() - started < 5
    assert destination.stats().dropped == {}
    with sandbox:
        again = make(tmp_path, url)
        assert again.stats().buffered == 50
        again.flush().result(timeout=10)
        assert again.stats().buffered == 0
        again.shutdown()
        assert len({event["id"] for event in sandbox.moloco_events}) == 50


def test_a_buffer_holds_the_events_of_one_platform(tmp_path: Path, sandbox: Sandbox) -> None:
    """A file with events for one address can't be opened for another."""
    make(tmp_path, sandbox.url).shutdown()
    with pytest.raises(Exception, match="SHOP") as raised:
        make(tmp_path, "https://other.example")
    assert type(raised.value).__name__ == "ConfigurationError"


def test_dead_letters_are_resent_as_they_were(tmp_path: Path, sandbox: Sandbox) -> None:
    """A dead letter that is sent again has the same id and bytes, also after a restart."""
    sandbox.fail_next(400, times=3)
    destination = make(tmp_path, sandbox.url)
    for id in ("a", "b", "c"):
        destination.execute(home(id))
    assert destination.flush().result(timeout=10).buried == {"rejected": 3}
    destination.shutdown()
    again = make(tmp_path, sandbox.url)
    assert sorted(letter.entry.id for letter in again.dead_letters()) == ["a", "b", "c"]
    assert again.resend(["b"]) == 1
    assert again.flush().result(timeout=10).delivered == 1
    assert again.resend() == 2
    stats = again.flush().result(timeout=10)
    assert (stats.accepted, stats.delivered) == (3, 3)
    assert again.dead_letters() == []
    assert again.resend() == 0
    again.shutdown()
    sent = Counter(request.raw for request in sandbox.requests)
    assert sorted(sent.values()) == [2, 2, 2]


def test_a_full_file_refuses_visibly(tmp_path: Path, sandbox: Sandbox) -> None:
    """An event that finds no room in the file is told as dropped, with its body."""
    sandbox.fail_next(401, times=1000)
    facts: list[Fact] = []
    destination = make(tmp_path, sandbox.url, facts, "?max_events=2")
    for id in ("a", "b", "c"):
        destination.execute(home(id))
    assert destination.stats().dropped == {"full": 1}
    destination.shutdown()
    assert [fact.id for fact in facts if isinstance(fact, Dropped)] == ["c"]


def test_a_forked_child_opens_the_file_anew(tmp_path: Path, sandbox: Sandbox) -> None:
    """A child of a fork writes to the same file over its own connection, and both are sent."""
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    client.add(destination := make(tmp_path, sandbox.url))
    client.track(home("parent"))
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        client.track(home("child"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    destination.flush().result(timeout=10)
    client.shutdown()
    assert sorted(event["id"] for event in sandbox.moloco_events) == ["child", "parent"]


def test_a_child_that_cannot_open_the_file_keeps_its_events_in_memory(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """Where a child can't open the file, its events are sent all the same, and it says so."""
    facts: list[Fact] = []
    destination = make(tmp_path, sandbox.url, facts)
    destination.execute(home("parent"))
    destination.flush().result(timeout=10)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        (tmp_path / "moloco.db").rename(tmp_path / "elsewhere")
        (tmp_path / "moloco.db").mkdir()
        destination.execute(home("child"))
        destination.shutdown()
        told = [type(fact).__name__ for fact in facts]
        os._exit(0 if "Degraded" in told and told.count("Delivered") == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(event["id"] for event in sandbox.moloco_events) == ["child", "parent"]
    destination.shutdown()
