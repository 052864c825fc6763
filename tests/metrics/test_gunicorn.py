"""One page of metrics for all workers of a real gunicorn, which replaces them as they serve.

Slow, and not run by default: ``tox -e torture``.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from support.metrics import Values, is_lawful, series_of, value, values_in
from support.waiting import await_that

from amplitude_moloco.sandbox import Sandbox

pytestmark = [pytest.mark.torture, pytest.mark.timeout(300)]
VISITS = 60
APP = """
import os
import struct
from amplitude import Amplitude, BaseEvent, Config
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.metrics.prometheus import register

client = Amplitude("key", Config(server_url=os.environ["AMPLITUDE_URL"]))
destination = MolocoDestination(
    "key", "SHOP", Sync("HOME", "Home"), channel_type="SITE", base_url=os.environ["MOLOCO_URL"]
)
client.add(destination)
register(destination, refresh_seconds=0.05)

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        try:
            body = generate_latest(registry)
        except struct.error:  # the client library has met a file that is being created
            body = b""
    else:
        client.track(BaseEvent("Home", user_id="user-1"))
        body = b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
CONFIG = """
from prometheus_client import multiprocess

def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""


@contextmanager
def gunicorn(folder: Path, sandbox: Sandbox, *options: str) -> Iterator[str]:
    """Runs the app, and yields its address. It must end well."""
    pytest.importorskip("gunicorn")
    files = folder / "metrics"
    files.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "gunicorn.conf.py").write_text(CONFIG)
    log = folder / "log"
    fixed = ["--bind=127.0.0.1:0", "--workers=3", "--max-requests=10"]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *fixed, *options, "app:wsgi"],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={
                **os.environ,
                "HOME": str(folder),
                "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
                "PROMETHEUS_MULTIPROC_DIR": str(files),
                "MOLOCO_URL": sandbox.url,
                "AMPLITUDE_URL": sandbox.amplitude_url,
            },
        )
    address = re.compile(r"Listening at: (http://\S+)")
    try:
        await_that(lambda: address.search(log.read_text()) is not None)
        yield address.findall(log.read_text())[0]
        server.send_signal(signal.SIGTERM)
        assert server.wait(100) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["each loads", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_page_has_all_workers(
    tmp_path: Path, sandbox: Sandbox, worker: str, options: list[str]
) -> None:
    """Whichever worker answers, its page has what all of them did, also those that have ended."""
    if worker == "gevent":
        pytest.importorskip("gevent")
    with gunicorn(tmp_path, sandbox, f"--worker-class={worker}", *options) as url:

        def page() -> Values:
            return values_in(requests.get(f"{url}/metrics", timeout=60).text)

        def is_complete() -> bool:
            values = page()
            return sum(series_of(values, "events_delivered_total")) == VISITS

        for _ in range(VISITS):
            assert requests.get(url, timeout=60).text == "ok"
        await_that(is_complete)
        values = page()
        assert is_lawful(values)
        assert value(values, "events_accepted_total") == VISITS
        assert value(values, "buffered_events") == 0
        assert value(values, "delivery_delay_seconds_count") == VISITS
    assert len(sandbox.moloco_events) == VISITS
