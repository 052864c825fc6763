"""A file as the stage: what Redis has not got yet survives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
from support.redis_buffers import TARGET, carry, open_still
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.url import open_buffer


def stage(path: Path, clock: Clock) -> SqliteBuffer:
    return SqliteBuffer(path, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)


def test_an_outage_loses_nothing(start_redis: StartRedis, tmp_path: Path, clock: Clock) -> None:
    """What a process could not write into Redis, the next one writes, with its age."""
    server = start_redis()
    server.end()
    url = server.url()
    file = stage(tmp_path / "stage.db", clock)
    buffer = open_still(url, clock, file, patience_seconds=1.0)
    for id in "abc":
        assert buffer.put(id, "HOME", id.encode()) is None
    carry(buffer, clock)
    assert len(buffer.tend()) == 1
    assert buffer.close() == []
    server.start()
    clock.advance(10)
    buffer = open_still(url, clock, stage(tmp_path / "stage.db", clock))
    carry(buffer, clock)
    buffer.claim(3)
    buffer.step()
    entries = buffer.claim(3).entries
    assert [(entry.id, entry.body) for entry in entries] == [(id, id.encode()) for id in "abc"]
    assert [entry.age_seconds for entry in entries] == [16.0] * 3
    buffer.close()


PUTTING = """
import os, sys
from amplitude_moloco.buffers.url import open_buffer

buffer = open_buffer(sys.argv[1], target="t")
for number in range(int(sys.argv[2])):
    assert buffer.put(f"{os.getpid()}-{number}", "HOME", b"body") is None
    os.write(1, f"{os.getpid()}-{number}\\n".encode())
while True:
    pass
"""


def test_a_killed_producer_loses_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """Whatever was put before a kill -9 is in Redis once another process has opened the stage."""
    url = redis_server.url(stage=f"sqlite:///{tmp_path}/stage.db")
    put: set[str] = set()
    for most in (1, 50, 400):
        with subprocess.Popen(
            [sys.executable, "-c", PUTTING, url, "500"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(most):
                put.add(process.stdout.readline().strip())
            process.kill()
            put |= {line.strip() for line in process.stdout if line.endswith("\n")}
    last: Any = open_buffer(url, target="t")
    found: set[str] = set()
    while not put <= found:
        last.tend()
        for entry in last.claim(100).entries:
            found.add(entry.id)
            last.ack(entry)
    assert last.close() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_child_does_not_use_its_parents_buffer(redis_server: RedisServer) -> None:
    """In a forked child nothing is put, claimed or closed, and the parent goes on."""
    script = """
import os, sys
from amplitude_moloco.buffers.url import open_buffer

buffer = open_buffer(sys.argv[1], target="t")
assert buffer.put("a", "HOME", b"") is None
while sum(buffer.state()[:2]) != 1:
    pass
while not (entries := buffer.claim(1).entries):
    pass
child = os.fork()
if not child:
    found = [
        str(buffer.put("b", "HOME", b"")), buffer.claim(1), buffer.ack(entries[0]), buffer.share(),
        buffer.retry(entries[0], 0, attempts=1), buffer.checkpoint()(), buffer.tend(),
        buffer.bury(entries[0], "rejected", status=None, message=""), buffer.close(),
        list(buffer.dead_letters()), buffer.resend(None), buffer.oldest_age_seconds(),
    ]
    print(found, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert buffer.ack(entries[0])
while sum(buffer.state()):
    pass
assert buffer.close() == []
"""
    done = subprocess.run(
        [sys.executable, "-c", script, redis_server.url()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == (
        "['forked', Claim(entries=[], next_seconds=None), False, True, False, True, [], False, [], "
        "[], False, None]\n"
    )
