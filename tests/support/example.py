"""Runs an example as its README says: in a copy of its folder, against a sandbox."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.cli import run
from support.documents import blocks
from support.waiting import await_that

from amplitude_moloco.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
PATIENCE_SECONDS = 250.0
"""How long what is awaited may take on a busy machine."""
_BLOCKS = blocks(README, "sh")
_BINARIES = str(Path(sys.executable).parent)


def commands(folder: str) -> list[str]:
    """The commands that the README has for a folder, after changing to it."""
    (start,) = (
        number for number, block in enumerate(_BLOCKS) if f"cd examples/{folder}\n" in block
    )
    _, _, rest = _BLOCKS[start].partition(f"cd examples/{folder}\n")
    found = rest.splitlines()
    for block in _BLOCKS[start + 1 :]:
        if "cd examples/" in block:
            break
        found += block.splitlines()
    return [line for line in found if not line.startswith("pip install")]


def environment(sandbox: Sandbox) -> dict[str, str]:
    """The environment that the README exports, with the addresses of a sandbox."""
    (exports,) = (block for block in _BLOCKS if block.startswith("export "))
    words = shlex.split(exports.replace("http://127.0.0.1:8765", sandbox.url))
    found = dict(word.split("=", 1) for word in words if word != "export")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    path = os.pathsep.join([_BINARIES, os.environ.get("PATH", "")])
    return {**inherited, **found, "PATH": path, "PYTHONUNBUFFERED": "1", "no_proxy": "*"}


def copied(folder: str, to: Path) -> Path:
    """A copy of an example's folder: it may write files, and has time to end on a busy machine."""
    copy = to / folder
    shutil.copytree(EXAMPLES / folder, copy, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    settings = copy / "moloco.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(f"shutdown_timeout_seconds = 60\n{text}", encoding="utf-8")
    return copy


class Program:
    """A program of an example, while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def said(self) -> str:
        """What it has printed."""
        return self._log.read_text(encoding="utf-8")

    def url(self) -> str:
        """The address where it says that it listens."""
        address = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")
        await_that(lambda: not self.is_running or address.search(self.said), PATIENCE_SECONDS)
        found = address.search(self.said)
        assert found, self.said
        return found[0]

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def end(self) -> int:
        """Ends it as a server is ended. Returns its exit code."""
        self._process.terminate()
        return self._process.wait(PATIENCE_SECONDS)


@contextmanager
def running(command: str, folder: Path, variables: dict[str, str]) -> Iterator[Program]:
    """A program in a session of its own; what is left of it in the end is killed."""
    log = folder / "log"
    first, *rest = shlex.split(command)
    program = shutil.which(first, path=variables["PATH"]) or first
    # gunicorn has a socket in its home, whose path must be short.
    with TemporaryDirectory() as home, log.open("wb") as output:
        process = subprocess.Popen(
            [program, *rest],
            cwd=folder,
            env={**variables, "HOME": home},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        with process:
            try:
                yield Program(process, log)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def done(command: str, folder: Path, variables: dict[str, str]) -> str:
    """Runs a program to its end, which must be a success. Returns what it printed."""
    finished = subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def contents_of(buffer: Path) -> dict[str, Any]:
    """What ``amplitude-moloco stats`` says of the file of a buffer."""
    contents: dict[str, Any] = run("stats", buffer, "--json").json
    return contents


def judge(sandbox: Sandbox, buffer: Path) -> None:
    """Asserts that all that was tracked has arrived at both, and that nothing waits or is dead."""
    assert [each.message for each in sandbox.requests if not each.accepted] == []
    ids = [event["id"] for event in sandbox.moloco_events]
    assert sorted(ids) == sorted(event["insert_id"] for event in sandbox.amplitude_events)
    assert len(set(ids)) == len(ids)
    contents = contents_of(buffer)
    assert (contents["waiting"], contents["dead"], contents["damaged"]) == (0, 0, 0)
