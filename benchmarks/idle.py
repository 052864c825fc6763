"""What an idle client costs: CPU time, and how often it wakes up.

    python benchmarks/idle.py [--seconds 30]

Four programs run side by side, since none of them keeps the machine busy: one without a client, one
with the SDK alone, and one for each buffer with a destination. Each client tracks one event; when
it has arrived, the program stays idle.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import wait

from amplitude import Amplitude, Config
from purchase import destination, purchase
from server import Server

_SETTLE_SECONDS = 2.0
_KINDS = ("nothing", "sdk alone", "plugin memory", "plugin sqlite")


def main() -> None:
    """Start the programs, and print what each cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds: float = parser.parse_args().seconds
    with Server() as server, tempfile.TemporaryDirectory() as directory:
        file = f"{directory}/moloco.db"
        programs = [_start(kind, seconds, server.url, file) for kind in _KINDS]
        try:
            answers = [program.communicate()[0] for program in programs]
        finally:
            for program in programs:
                program.kill()
    print(f"{'in a minute':16}{'CPU ms':>9}{'of a core':>12}{'wake-ups':>10}")
    for kind, answer in zip(_KINDS, answers, strict=True):
        if not answer:
            print(f"{kind:16} FAILED")
            continue
        cpu_seconds, wakes = json.loads(answer)
        print(f"{kind:16}{cpu_seconds / seconds * 60e3:9.1f}", end="")
        print(f"{cpu_seconds / seconds:12.4%}{wakes / seconds * 60:10.0f}")


def _start(kind: str, seconds: float, url: str, file: str) -> subprocess.Popen[str]:
    program = [sys.executable, __file__, kind, str(seconds), url, file]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


# -- in the process of one program -----------------------------------------------------------------


def _idle(kind: str, seconds: float, url: str, file: str) -> None:
    if kind != "nothing":
        _track_one(kind, url, file)
    never = threading.Event()
    never.wait(_SETTLE_SECONDS)
    cpu_seconds, wakes = time.process_time(), _wakes()
    never.wait(seconds)
    print(json.dumps([time.process_time() - cpu_seconds, _wakes() - wakes]), flush=True)
    os._exit(0)


def _track_one(kind: str, url: str, file: str) -> None:
    client = Amplitude("key", Config(server_url=f"{url}/2/httpapi"))
    if kind.startswith("plugin"):
        buffer = "memory://" if kind == "plugin memory" else f"sqlite:///{file}"
        client.add(destination(url, buffer=buffer))
    client.track(purchase(1))
    wait([each for each in client.flush() if each])


def _wakes() -> int:
    """Returns how often a thread of this process has given up the processor to wait."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


if __name__ == "__main__":
    if len(sys.argv) > 4:
        _idle(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
    else:
        main()
