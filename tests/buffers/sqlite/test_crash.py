"""The buffer in a file among real processes: killed, stopped, forked, and many at once.

One law is asserted at every end: each event that was put is in the file, was acknowledged, or is a
dead letter, and none is there twice.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.clock import Clock
from support.measuring import unmeasured
from support.repeats import repeats
from support.sqlite_buffers import TARGET
from support.sqlite_files import is_sound

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

KILLS = repeats(6, 40)
FORKS = repeats(10, 200)
STRIDE = repeats(3, 1)
"""How many calls of the system lie between two kills."""
PUTS = repeats(250, 5_000)
FOREVER = 1e12
"""A Unix time at which everything is due."""

PRELUDE = """
import ctypes, gc, os, random, signal, sys, threading, time
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DeadLetterReason

def open_buffer(now=1_700_000_000.0, **settings):
    settings = {"target": "https://mcm.test|SHOP", "wall": lambda: now, **settings}
    return SqliteBuffer("buffer.db", **settings)

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def bury(buffer, entry):
    return buffer.bury(entry, DeadLetterReason.REJECTED, status=400, message="no")

def claim_one(buffer):
    return buffer.claim(1).entries[0]

def wait_for_word():
    assert sys.stdin.readline()
"""


@contextmanager
def process(
    directory: Path, script: str, *arguments: object, is_measured: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """Run a script that begins with the prelude, and kill it afterwards.

    Where many are killed, their coverage is not measured: it takes long, and none saves its own.
    """
    environment = dict(os.environ) if is_measured else unmeasured()
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, *map(str, arguments)],
        cwd=directory,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def run(directory: Path, script: str, *arguments: object, is_measured: bool = True) -> list[str]:
    """Run a script to its proper end. Returns the lines that it wrote."""
    with process(directory, script, *arguments, is_measured=is_measured) as child:
        output, _ = child.communicate(timeout=900)
    assert child.returncode == 0
    return output.splitlines()


def line(child: subprocess.Popen[str]) -> str:
    """The next line that a process writes."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def say(child: subprocess.Popen[str]) -> None:
    """Let a process continue that waits for a word."""
    assert child.stdin is not None
    child.stdin.write("go on\n")
    child.stdin.flush()


def stored(directory: Path) -> Counter[str]:
    """The ids of all that is in the files, which must be sound, waiting or dead."""
    path = directory / "buffer.db"
    with closing(SqliteBuffer(path, target=TARGET)) as buffer:
        state = buffer.state()
        dead = [letter.id for letter in buffer.dead_letters()]
        assert buffer.tend() == []
    assert state.dead == len(dead)
    assert is_sound(path)
    assert {each.name for each in directory.glob("buffer.db*")} == {"buffer.db", "buffer.db-lock"}
    events = drained(path, state.waiting)
    assert len(events) == state.waiting
    return Counter(events + dead)


def drained(path: Path, waiting: int) -> list[str]:
    """The ids of all entries of a copy, which must have counted their number and their bytes."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    with closing(SqliteBuffer(copy, target=TARGET, wall=lambda: FOREVER)) as buffer:
        entries = buffer.claim(waiting + 1).entries
    size = sum(len(entry.body) for entry in entries)
    bounds = {"max_events": waiting + 2, "max_bytes": size + 5}
    with closing(SqliteBuffer(copy, target=TARGET, **bounds)) as buffer:  # type: ignore[arg-type]
        refusals = [buffer.put("id", "HOME", bytes(size)) for size in (6, 5, 1, 0, 0)]
    assert refusals == ["full", None, "full", None, "full"]
    for each in path.parent.glob("copy.db*"):
        each.unlink()
    return [entry.id for entry in entries]


# -- killed --------------------------------------------------------------------------------------

LIVE_CLAIM = 9
"""So many are claimed at a time at most."""
LIVE = """
number = int(sys.argv[1])
dice = random.Random(number)
buffer = open_buffer(wall=time.time)
for count in range(1_000_000):
    id = f"{number}-{count}"
    tell("try", id)
    assert buffer.put(id, "HOME", id.encode() * dice.randrange(300)) is None
    tell("put", id)
    if count % 4 == 0:
        for entry in buffer.claim(dice.randrange(9), newest=1).entries:
            match dice.randrange(5):
                case 0:
                    assert buffer.retry(entry, dice.random() / 100, attempts=1)
                case 1:
                    assert bury(buffer, entry)
                case 2:
                    pass
                case _:
                    tell("ack", entry.id)
                    assert buffer.ack(entry)
    buffer.tend()
    if count % 40 == 0:
        for letter in buffer.dead_letters():
            assert buffer.resend(letter)
"""


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """However often a process is killed, each event that was put is accounted for."""
    dice = random.Random(20)  # noqa: S311 (no secret: the same kills in every run)
    told: dict[str, set[str]] = {"try": set(), "put": set(), "ack": set()}
    for number in range(KILLS):
        acked_before = frozenset(told["ack"])
        with process(tmp_path, LIVE, number, is_measured=False) as child:
            for _ in range(dice.randrange(1, 500)):
                word, id = line(child).split()
                told[word].add(id)
            child.kill()
            assert child.stdout is not None
            for rest in child.stdout:
                word, id = rest.split()
                told[word].add(id)
        found = stored(tmp_path)
        assert max(found.values(), default=1) == 1
        assert told["put"] - told["ack"] <= set(found) <= told["try"]
        # Once more is sent at most what was claimed last, and perhaps one that was about to be.
        assert len(set(found) & (told["ack"] - acked_before)) <= LIVE_CLAIM + 1
    assert len(told["put"]) > KILLS
    assert len(told["try"] - told["put"]) <= KILLS


STEPS = """
# Each step of an entry's way, with the process ended before the n-th call of the system's.
import builtins, resource, sqlite3

now = [0.0]

def tend(buffer):
    now[0] += 1
    assert buffer.tend() == []

def cannot_grow(call):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    call()
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

steps = {
    "put": lambda buffer: buffer.put("new", "HOME", b"body"),
    "claim": lambda buffer: buffer.claim(9),
    "ack": lambda buffer: buffer.ack(claim_one(buffer)),
    "acks": lambda buffer: [buffer.ack(entry) for entry in buffer.claim(9).entries],
    "ack, claim": lambda buffer: (
        [buffer.ack(entry) for entry in buffer.claim(9).entries[:2]], buffer.claim(9)
    ),
    "ack, move": lambda buffer: (
        [buffer.ack(entry) for entry in buffer.claim(9).entries[:2]],
        buffer.put("big", "HOME", bytes(9 * 1024 ** 2)), tend(buffer)
    ),
    "ack, rewrite": lambda buffer: (
        [buffer.ack(entry) for entry in buffer.claim(9).entries[:2]],
        cannot_grow(lambda: buffer.put("new", "HOME", b"body")), tend(buffer)
    ),
    "retry": lambda buffer: (buffer.retry(claim_one(buffer), 5.0, attempts=1), tend(buffer)),
    "bury": lambda buffer: (bury(buffer, claim_one(buffer)), tend(buffer)),
    "resend": lambda buffer: [buffer.resend(letter) for letter in list(buffer.dead_letters())],
    "move": lambda buffer: (
        [buffer.put("big", "HOME", bytes(3 * 1024 ** 2)) for _ in range(2)], tend(buffer)
    ),
    "close": lambda buffer: (buffer.claim(9), buffer.close()),
    "takeover": lambda buffer: tend(buffer),
}
left = None

def passed(call):
    def count(*args, **more):
        global left
        if left is not None:
            left -= 1
            if left < 0:
                kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return count

kill = os.kill
for name in ("write", "open", "unlink", "fdatasync", "fsync", "close", "pwrite", "rename"):
    setattr(os, name, passed(getattr(os, name)))

class Counted(sqlite3.Connection):
    execute = passed(sqlite3.Connection.execute)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **more: connect(*args, factory=Counted, **more)

def open_own():
    return open_buffer(monotonic=lambda: now[0])

name = sys.argv[1]
for number in range(0, 900, int(sys.argv[2])):
    for file in os.listdir():
        os.unlink(file)
    buffer = open_own()
    for id in ("a", "b", "c", "d"):
        buffer.put(id, "HOME", b"body")
    for entry in buffer.claim(2).entries:
        bury(buffer, entry)
    buffer.close()
    child = os.fork()
    if not child:
        buffer = open_own()
        buffer.put("e", "HOME", b"body")
        if name == "takeover":
            if not os.fork():
                dead = open_own()
                for id in ("f", "g"):
                    dead.put(id, "HOME", b"body")
                assert dead.ack(dead.claim(9).entries[-1])
                kill(os.getpid(), signal.SIGKILL)
            os.wait()
        left = number
        steps[name](buffer)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    buffer = open_own()
    now[0] += 10
    live = [entry.id for entry in buffer.claim(99).entries]
    buffer.tend()
    dead = [letter.id for letter in buffer.dead_letters()]
    state = buffer.state()
    buffer.close()
    assert status in (0, -9), status
    assert (state.claimed, state.dead) == (len(live), len(dead)), state
    tell(abs(status), *sorted(live + dead), "|", *sorted(dead))
    if not status:
        break
"""


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    ("step", "ends"),
    [
        ("put", ["a b c d e new | a b"]),
        ("claim", ["a b c d e | a b"]),
        ("ack", ["a b d e | a b"]),
        ("acks", ["a b | a b"]),
        ("ack, claim", ["a b e | a b"]),
        ("ack, move", ["a b big c d e | a b", "a b big e | a b", "a b e | a b"]),
        ("ack, rewrite", ["a b e | a b", "a b e new | a b"]),
        ("retry", ["a b d e | a b", "a b c d e | a b"]),
        ("bury", ["a b c d e | a b c"]),
        ("resend", ["a b c d e | b", "a b c d e |"]),
        ("move", [f"a b {'big ' * count}c d e | a b" for count in range(3)]),
        ("close", ["a b c d e | a b"]),
        ("takeover", ["a b c d e f g | a b", "a b c d e f | a b"]),
    ],
)
def test_each_step_is_done_or_is_not(tmp_path: Path, step: str, ends: list[str]) -> None:
    """A kill at any call of the system leaves nothing half done: lost, twice, or miscounted."""
    lines = run(tmp_path, STEPS, step, STRIDE, is_measured=False)
    assert len(lines) > 1
    assert {each[2:] for each in lines} <= {"a b c d e | a b", *ends}


# -- the disk ------------------------------------------------------------------------------------

SYNCS = """
buffer = open_buffer(synchronous=sys.argv[1])
os.getppid()  # the trace begins to count here
for number in range(200):
    assert buffer.put(str(number), "HOME", b"body") is None
os.getppid()
buffer.close()
"""


@pytest.mark.parametrize(
    ("synchronous", "least", "most"),
    [("OFF", 0, 0), ("1s", 0, 0), ("NORMAL", 0, 0), ("FULL", 200, 400)],
)
def test_it_waits_for_the_disk_as_synchronous_says(
    tmp_path: Path, synchronous: str, least: int, most: int
) -> None:
    """With FULL each put waits for the disk, else none does; each is one call of write."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,getppid,write,writev,pwrite64,open,openat,flock"
    command = [strace, "-f", "-o", str(trace), "-e", calls]
    script = [sys.executable, "-c", PRELUDE + SYNCS, synchronous]
    done = subprocess.run(
        [*command, *script], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed to trace here")
    assert done.returncode == 0, done.stderr
    _, between, _ = trace.read_text().split("getppid(")
    assert least <= between.count("sync(") <= most
    assert between.count("write(") == 200
    assert between.count("(") == 200 + 1 + between.count("sync(")  # the rest of the mark itself


# -- many ----------------------------------------------------------------------------------------

WORK = """
number, events, processes = map(int, sys.argv[1:])
buffer = open_buffer(wall=time.time)
pause = threading.Event()

def produce():
    for count in range(events):
        id = f"{number}-{count}"
        while buffer.put(id, "HOME", b"body"):
            pause.wait(0.001)
        tell("put", id)

    open(f"{number}.done", "w").close()

def is_over():  # all others have put all that they put
    return all(os.path.exists(f"{other}.done") for other in range(processes))

producer = threading.Thread(target=produce)
producer.start()
while True:
    buffer.tend()
    entries = buffer.claim(8, newest=2).entries
    for entry in entries:
        tell("send", entry.id)
        if buffer.ack(entry):
            tell("ack", entry.id)
    if not entries:
        is_last = not producer.is_alive()
        if is_last and not buffer.state().waiting and is_over():
            break
        pause.wait(0.002)
buffer.close()
"""


def outcomes(children: list[subprocess.Popen[str]]) -> dict[str, Counter[str]]:
    """What they write until their ends. All are read at once, so that none waits for its reader."""
    with ThreadPoolExecutor(len(children)) as pool:
        outputs = list(pool.map(lambda child: list(child.stdout or ()), children))
    told: dict[str, Counter[str]] = {"put": Counter(), "send": Counter(), "ack": Counter()}
    for output in outputs:
        for each in output:
            word, id = each.split()
            told[word][id] += 1
    return told


def test_four_processes_send_each_event_once(tmp_path: Path) -> None:
    """With four processes that put and claim on one file, every event is sent exactly once."""
    with (
        process(tmp_path, WORK, 0, PUTS, 4) as a,
        process(tmp_path, WORK, 1, PUTS, 4) as b,
        process(tmp_path, WORK, 2, PUTS, 4) as c,
        process(tmp_path, WORK, 3, PUTS, 4) as d,
    ):
        told = outcomes([a, b, c, d])
        assert [child.wait(50) for child in (a, b, c, d)] == [0, 0, 0, 0]
    assert set(told["put"].values()) == set(told["send"].values()) == {1}
    assert told["put"] == told["ack"]
    assert len(told["put"]) == 4 * PUTS
    assert stored(tmp_path) == Counter()


def test_others_take_over_from_a_killed_process(tmp_path: Path) -> None:
    """Other processes send what a killed one had claimed, and lose nothing that it had put."""
    with process(tmp_path, WORK, 0, 10**6, 1) as victim:
        early = [line(victim) for _ in range(300)]
        with (
            process(tmp_path, WORK, 1, 200, 0) as b,
            process(tmp_path, WORK, 2, 200, 0) as c,
            process(tmp_path, WORK, 3, 200, 0) as d,
        ):
            early += [line(victim) for _ in range(300)]
            victim.kill()
            told = outcomes([victim, b, c, d])
            assert [child.wait(50) for child in (b, c, d)] == [0, 0, 0]
    for each in early:
        word, id = each.split()
        told[word][id] += 1
    assert set(told["put"]) <= set(told["send"])
    # It may have been killed before it told the last put and the last acknowledgement.
    assert len(told["ack"].keys() - told["put"].keys()) <= 1
    assert len(told["put"].keys() - told["ack"].keys()) <= 1
    again = {id for id, count in told["send"].items() if count > 1}
    assert len(again) <= 8  # as many as one claim: what was delivered of it may not be noted yet
    assert {id for id, count in told["ack"].items() if count > 1} <= again
    assert set(stored(tmp_path)) == set()


def test_a_process_that_is_stopped_keeps_its_entries(tmp_path: Path) -> None:
    """However long a process is stopped, no other takes its entries while it lives."""
    sleeper = """
buffer = open_buffer()
for id in ("a", "b", "c"):
    assert buffer.put(id, "HOME", b"body") is None
a, b, c = buffer.claim(3).entries
tell("claimed")
wait_for_word()
tell(buffer.ack(a), buffer.retry(b, 0.0, attempts=1), bury(buffer, c))
buffer.close()
"""
    clock = Clock()
    heir = SqliteBuffer(
        tmp_path / "buffer.db", target=TARGET, wall=clock.wall, monotonic=clock.monotonic
    )
    with process(tmp_path, sleeper) as child, closing(heir):
        assert line(child) == "claimed"
        child.send_signal(signal.SIGSTOP)
        clock.advance(1_000_000)
        assert heir.tend() == []
        assert heir.claim(9).entries == []
        child.send_signal(signal.SIGCONT)
        say(child)
        assert line(child) == "True True True"
        assert child.wait(50) == 0
        assert [entry.id for entry in heir.claim(9).entries] == ["b"]
    assert stored(tmp_path) == Counter("bc")


LEAVING = """
# A process that dies while a child of it, forked by Python or by C code, lives on.
buffer = open_buffer()
for id in ("a", "b"):
    assert buffer.put(id, "HOME", b"body") is None
claim_one(buffer)
fork = os.fork if sys.argv[1] == "python" else ctypes.PyDLL(None).fork
if not fork():
    tell("child", os.getpid())
    threading.Event().wait(60)
    os._exit(0)
tell("parent", 0)
threading.Event().wait(60)
"""


@pytest.mark.parametrize("fork", ["python", "c"])
def test_a_living_child_hides_no_death(tmp_path: Path, fork: str) -> None:
    """What a killed process had is taken over at once, although a child of it is still there."""
    clock = Clock()
    heir = SqliteBuffer(
        tmp_path / "buffer.db", target=TARGET, wall=clock.wall, monotonic=clock.monotonic
    )
    with process(tmp_path, LEAVING, fork) as parent, closing(heir):
        words = dict(line(parent).split() for _ in range(2))
        try:
            clock.advance(1)
            assert heir.tend() == []
            assert heir.claim(9).entries == []
            parent.kill()
            parent.wait(50)
            clock.advance(1)
            assert heir.tend() == []
            assert [entry.id for entry in heir.claim(9).entries] == ["a", "b"]
        finally:
            os.kill(int(words["child"]), signal.SIGKILL)


def test_a_process_whose_lock_was_dropped_is_no_dead_one(tmp_path: Path) -> None:
    """An app that reads its own lock file, and so drops the lock, keeps its events."""
    reader = """
buffer = open_buffer()
assert buffer.put("a", "HOME", b"body") is None
for file in os.listdir():
    open(file, "rb").read()
tell("read")
wait_for_word()
tell(*(entry.id for entry in buffer.claim(9).entries))
"""
    clock = Clock()
    heir = SqliteBuffer(
        tmp_path / "buffer.db", target=TARGET, wall=clock.wall, monotonic=clock.monotonic
    )
    with process(tmp_path, reader) as child, closing(heir):
        assert line(child) == "read"
        clock.advance(1)
        assert heir.tend() == []
        assert heir.claim(9).entries == []
        say(child)
        assert line(child) == "a"
    assert stored(tmp_path) == Counter("a")


# -- forked --------------------------------------------------------------------------------------

FORKS_OF_ONE = """
buffer = open_buffer()
stop = threading.Event()
refused = []

def work(number):
    count = 0
    while not stop.is_set():
        if count == 10_000:  # nothing is moved here: the memory would be full at some time
            stop.wait()
            break
        id = f"{number}-{count}"
        refusal = buffer.put(id, "HOME", b"body")
        if refusal:
            refused.append(refusal)
        else:
            tell("put", id)
            count += 1
        if count % 8 == 0:
            for entry in buffer.claim(4).entries:
                assert buffer.retry(entry, 0.0, attempts=1)

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
children = []
for number in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        assert buffer.put("x", "HOME", b"body") == "forked"
        assert buffer.claim(9) == ([], None)
        assert (list(buffer.dead_letters()), buffer.close()) == ([], [])
        own = open_buffer()
        assert own.put(f"child-{number}", "HOME", b"body") is None
        tell("put", f"child-{number}")
        if number % 2:
            own.close()
        os._exit(0)
    children.append(child)
codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
stop.set()
for thread in threads:
    thread.join()
buffer.close()
tell("codes", *codes)
tell("refused", *set(refused))
"""


def test_a_fork_while_threads_write_hangs_no_process(tmp_path: Path) -> None:
    """While four threads write, every forked child ends, and nothing is lost."""
    lines = run(tmp_path, FORKS_OF_ONE, FORKS)
    assert lines[-2:] == ["codes 0", "refused"]
    puts = [each.split()[1] for each in lines[:-2]]
    assert sum(id.startswith("child") for id in puts) == FORKS
    assert stored(tmp_path) == Counter(puts)


def test_a_child_loses_nothing_when_its_parent_closes(tmp_path: Path) -> None:
    """A child's events are in the file although its parent has closed it, and all have ended."""
    script = """
parent = open_buffer()
assert parent.put("parent", "HOME", b"body") is None
read, write = os.pipe()
child = os.fork()
if not child:
    os.close(write)
    own = open_buffer()
    assert own.put("before", "HOME", b"body") is None
    tell("ready")
    os.read(read, 1)
    assert own.put("after", "HOME", b"body") is None
    os._exit(0)
wait_for_word()
assert parent.put("again", "HOME", b"body") is None
parent.close()
os.close(write)
assert os.waitpid(child, 0)[1] == 0
"""
    with process(tmp_path, script) as child:
        assert line(child) == "ready"
        say(child)
        assert child.wait(50) == 0
    assert stored(tmp_path) == Counter(["parent", "before", "again", "after"])


def test_a_fork_that_python_does_not_see(tmp_path: Path) -> None:
    """A child that C code forks notices that it is one, and does not close what it inherits."""
    script = """
parent = open_buffer()
assert parent.put("parent", "HOME", b"body") is None
child = ctypes.PyDLL(None).fork()
if not child:
    assert parent.put("x", "HOME", b"body") == "forked"
    assert parent.close() == []
    del parent
    gc.collect()
    own = open_buffer()
    assert own.put("child", "HOME", b"body") is None
    own.close()
else:
    assert os.waitpid(child, 0)[1] == 0
    assert parent.put("again", "HOME", b"body") is None
    assert parent.close() == []
"""
    assert run(tmp_path, script) == []
    assert stored(tmp_path) == Counter(["parent", "child", "again"])


def test_a_grandchild_is_like_a_child(tmp_path: Path) -> None:
    """A child that forks again, and never used what it inherited, passes on no trouble."""
    script = """
buffer = open_buffer()
assert buffer.put("parent", "HOME", b"body") is None
children = []
for generation in range(3):
    child = os.fork()
    if child:
        break
    assert buffer.put("x", "HOME", b"body") == "forked"
    own = open_buffer()
    assert own.put(f"child-{generation}", "HOME", b"body") is None
    own.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
buffer.close()
"""
    assert run(tmp_path, script) == []
    assert stored(tmp_path) == Counter(["parent", "child-0", "child-1", "child-2"])
