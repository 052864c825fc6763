"""An app in a process of its own: a script with the real SDK and a destination."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from amplitude_moloco.sandbox import Sandbox

PRELUDE = """
import multiprocessing, os, signal, sys, threading, traceback, urllib.request
from amplitude import Amplitude, BaseEvent, Config
from amplitude.plugin import DestinationPlugin
from amplitude_moloco import MolocoDestination, Sync

moloco_url, amplitude_url, transport = sys.argv[1:4]

# Otherwise the SDK's first upload makes one, and a TLS context for it. A fork meanwhile leaves a
# lock of OpenSSL's taken in the child, whose own first upload then hangs.
urllib.request.install_opener(urllib.request.build_opener())

def show_unraisable(found, show=sys.unraisablehook):
    # The SDK's shutdown may fail to submit its last upload while Python ends, from 3.12 on.
    frames = traceback.extract_tb(found.exc_traceback)
    is_the_sdks = any(frame.filename.endswith("/amplitude/worker.py") for frame in frames)
    if not (is_the_sdks and found.exc_type is RuntimeError):
        show(found)

sys.unraisablehook = show_unraisable

def make(**settings):
    defaults = {"channel_type": "SITE", "base_url": moloco_url, "transport": transport}
    # No longer than needed, and long enough for a busy machine.
    settings = {"shutdown_timeout_seconds": 60, **defaults, **settings}
    return MolocoDestination("key", "SHOP", [Sync("HOME", events=["Home"])], **settings)

def make_client(*plugins):
    config = Config(server_url=amplitude_url, flush_interval_millis=50)
    client = Amplitude("amplitude-key", config)
    # If Python ends while the SDK's consumer starts a thread, from 3.12 on, the SDK logs an error.
    client.configuration.logger.addFilter(lambda record: record.msg != "Consumer thread error")
    for plugin in plugins:
        client.add(plugin)
    return client

def home(id):
    return BaseEvent("Home", user_id="user-1", insert_id=id)

def in_forked_workers(work, count=3):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=[number]) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    assert [worker.exitcode for worker in workers] == [0] * count

# Held back, so that only the end of the process can send them.
HELD_BACK = {"flush_queue_size": 1000, "flush_interval_millis": 60_000}
"""


def start(
    directory: Path, script: str, moloco_url: str, amplitude_url: str, transport: str = "requests"
) -> subprocess.Popen[str]:
    """Start a script that begins with the prelude."""
    arguments = [PRELUDE + script, moloco_url, amplitude_url, transport]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", *arguments],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    directory: Path, script: str, moloco_url: str, amplitude_url: str, transport: str = "requests"
) -> tuple[int, str, str]:
    """Run a script to its end. Returns its exit code, output and errors."""
    with start(directory, script, moloco_url, amplitude_url, transport) as child:
        output, errors = child.communicate(timeout=200)
    return child.returncode, output, errors


def ids(sandbox: Sandbox) -> list[str]:
    """The ids of the events that MCM has accepted."""
    return sorted(event["id"] for event in sandbox.moloco_events)
