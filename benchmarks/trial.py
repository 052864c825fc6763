"""A trial: one contestant brings a number of events to the server, in its own process.

The measurement covers the whole process, all threads. It begins after the imports and a warm-up,
and ends when every event has arrived.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from contestants import CONTESTANTS, Contestant, Job, NoSuchTransportError
from server import Server

_WARM_UP = 200
_IMPORT = """
import sys, time
started = time.perf_counter()
for name in sys.argv[1:]:
    __import__(name)
print(time.perf_counter() - started)
"""
_PATIENCE_SECONDS = 1_200.0
_ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
_LEFT_OUT, _MEASURED = "left out", "measured"


class Measurement(NamedTuple):
    """The result of one trial."""

    import_seconds: float
    events: int
    seconds: float
    cpu_seconds: float
    track_seconds: float
    """CPU time of the tracking thread."""
    memory_bytes: float
    """Rise of the peak memory during the trial."""

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_micros(self) -> float:
        """CPU time per event."""
        return self.cpu_seconds / self.events * 1e6

    @property
    def track_micros(self) -> float:
        """The tracking thread's CPU time per event."""
        return self.track_seconds / self.events * 1e6


class LeftOut(Exception):
    """The contestant can't take part; the text says why."""


class Failed(Exception):
    """The contestant's process failed; the text is the end of its error output."""


def body() -> str:
    """Returns what the bare loops post, made in another process to keep this one small."""
    return _python([str(Path(__file__).with_name("purchase.py"))])


def run(
    name: str,
    server: Server,
    *,
    events: int,
    connections: int,
    body: str,
    rate: float | None = None,
) -> Measurement:
    """Run a trial, and check that the server received everything. Raises LeftOut and Failed."""
    for module in CONTESTANTS[name].modules:
        if not find_spec(module):
            raise LeftOut(f"{module} is not installed")
    program = ["-c", _IMPORT, *CONTESTANTS[name].modules]
    _python(program)  # compiles the modules
    import_seconds = float(_python(program))
    before = server.counts
    with tempfile.TemporaryDirectory() as directory:
        job = Job(server.url, body, connections, directory, rate)
        kind, *values = json.loads(_python([__file__, name, str(events)], json.dumps(job)))
    if kind == _LEFT_OUT:
        raise LeftOut(*values)
    after = server.counts
    arrived = {after.taken - before.taken, after.uploaded - before.uploaded} - {0}
    if arrived != {events + _WARM_UP}:
        raise Failed(f"{events + _WARM_UP} events were sent, and {arrived} arrived")
    return Measurement(import_seconds, *values)


def _python(arguments: list[str], text: str = "") -> str:
    """Returns what a Python program prints. Raises Failed with the end of its error output."""
    process = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        capture_output=True,
        check=False,
        text=True,
        timeout=_PATIENCE_SECONDS,
        env=_ENVIRONMENT,
    )
    if process.returncode:
        raise Failed(process.stderr.strip()[-1_000:] or f"it ended with {process.returncode}")
    return process.stdout


# -- in the process of the contestant --------------------------------------------------------------


def _main() -> None:
    name, events = sys.argv[1:]
    try:
        contestant = CONTESTANTS[name].make(Job(*json.load(sys.stdin)))
    except NoSuchTransportError as error:
        answer: list[object] = [_LEFT_OUT, str(error)]
    else:
        answer = [_MEASURED, *_measure(contestant, int(events))]
    print(json.dumps(answer), flush=True)
    os._exit(0)  # does not wait for threads, which have nothing left to do


def _measure(contestant: Contestant, events: int) -> tuple[float, ...]:
    """Returns the fields of a Measurement after the first."""
    contestant.run(_WARM_UP)
    memory = _peak_bytes()
    started, cpu_started = time.perf_counter(), time.process_time()
    contestant.run(events)
    return (
        events,
        time.perf_counter() - started,
        time.process_time() - cpu_started,
        contestant.track_seconds,
        _peak_bytes() - memory,
    )


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    _main()
