"""The library inside real servers, which fork, replace and end their workers as they please.

Slow, and not run by default: ``tox -e torture``. A server that is not installed is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import requests
from support.waiting import await_that

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.sandbox import Sandbox

pytestmark = [pytest.mark.torture, pytest.mark.timeout(300)]

PATIENCE_SECONDS = 100.0
"""How long what is awaited may take: the machine may be busy, and a lease lasts a minute."""
AT_THE_END = 600_000
"""Milliseconds for which events are held back, so that only the end of a process sends them."""
AT_ONCE = 50
AFTER_THE_FORK = 1_500
VISITS = 120
KINDS = [("memory", "requests"), ("sqlite", "requests"), ("memory", "curl")]
"""Of the buffer, and of the transport."""

# What all apps share. The ledger gets an id after track() has returned.
SHOP = """
import os
from pathlib import Path
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import MolocoDestination, Sync

destination = MolocoDestination(
    "key",
    "SHOP",
    [Sync("HOME", events=["Home"])],
    channel_type="SITE",
    base_url=os.environ["MOLOCO_URL"],
    buffer=os.environ["BUFFER"],
    transport=os.environ["TRANSPORT"],
    flush_queue_size=1000,
    flush_interval_millis=int(os.environ["FLUSH_INTERVAL_MILLIS"]),
)
config = Config(server_url=os.environ["AMPLITUDE_URL"], flush_interval_millis=50)
client = Amplitude("amplitude-key", config)
client.add(destination)

def track(id):
    client.track(BaseEvent("Home", user_id="user-1", insert_id=id))
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(id + "\\n")
"""

APP = """
import shop

def wsgi(environ, start_response):
    shop.track(environ["PATH_INFO"][1:])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":  # uvicorn ends by SIGTERM, without Python's exit hooks
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        shop.destination.shutdown()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        shop.track(scope["path"][1:])
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})
"""


# What a server's master does, where it loads the app before it forks.
START = """
import os

shop.track(f"start of {os.getpid()}")
"""


class Shop:
    """A directory with an app, and what its processes have in common."""

    def __init__(self, directory: Path, sandbox: Sandbox, buffer: str, transport: str) -> None:
        self.directory = directory
        self._sandbox = sandbox
        self._transport = transport
        self._is_durable = buffer == "sqlite"
        # On a busy machine another worker may hold the file for long.
        file = f"sqlite:///{directory}/moloco.db?wait_millis=20000"
        self._buffer = file if self._is_durable else "memory://"
        self._ledger = directory / "ledger"
        self._ledger.touch()
        self._log = directory / "log"
        self.write("shop", SHOP)

    def write(self, module: str, text: str) -> None:
        (self.directory / f"{module}.py").write_text(text)

    @contextmanager
    def running(self, *command: str, flush_interval_millis: int) -> Iterator[Process]:
        """A program, in a session of its own; whatever is left of it in the end is killed."""
        log = self._log
        with log.open("w") as output:
            started = subprocess.Popen(
                command,
                cwd=self.directory,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={
                    **os.environ,
                    "HOME": str(self.directory),  # where gunicorn puts its control socket
                    "PYTHONPATH": os.pathsep.join([str(self.directory), *sys.path]),
                    "PYTHONUNBUFFERED": "1",
                    "MOLOCO_URL": self._sandbox.url,
                    "AMPLITUDE_URL": self._sandbox.amplitude_url,
                    "BUFFER": self._buffer,
                    "TRANSPORT": self._transport,
                    "FLUSH_INTERVAL_MILLIS": str(flush_interval_millis),
                    "LEDGER": str(self._ledger),
                },
            )
        with started:
            try:
                yield Process(started, log)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(started.pid, signal.SIGKILL)
                print(log.read_text())  # noqa: T201  # pytest shows it where the test fails

    def run(self, *command: str, flush_interval_millis: int) -> None:
        """Run a program to its end, which must be a success."""
        with self.running(*command, flush_interval_millis=flush_interval_millis) as process:
            process.wait()

    def said(self) -> str:
        """What the last program has printed."""
        return self._log.read_text()

    def tracked(self) -> list[str]:
        """The ids of all events that track() has taken."""
        return self._ledger.read_text().splitlines()

    def delivered(self) -> list[tuple[str, bytes]]:
        """The ids and bodies that MCM has taken."""
        requests = self._sandbox.requests
        taken = [each for each in requests if each.target == "moloco" and each.accepted]
        return [(each.body["id"], each.raw) for each in taken]

    def judge(self, interrupted: Collection[str] = ()) -> None:
        """Of what was tracked, all must have arrived, and nothing else: from memory once each.

        From a file perhaps twice, with the same bytes. What is left in it is sent first. What was
        interrupted in ``track()`` may have arrived or not.
        """
        if self._is_durable:
            self._send_what_is_left()
        delivered = self.delivered()
        assert len(set(delivered)) == len({id for id, _ in delivered})
        ids = [id for id, _ in (set(delivered) if self._is_durable else delivered)]
        tracked = self.tracked()
        uncertain = set(interrupted).difference(tracked)
        assert sorted(id for id in ids if id not in uncertain) == sorted(tracked)

    def _send_what_is_left(self) -> None:
        destination = MolocoDestination(
            "key",
            "SHOP",
            [Sync("HOME", events=["Home"])],
            base_url=self._sandbox.url,
            buffer=self._buffer,
        )
        try:
            destination.flush()
            await_that(lambda: sum(destination.buffer_state()[:2]) == 0)
            assert destination.dead_letters() == []
        finally:
            destination.close()


class Process:
    """A program of this test's own."""

    def __init__(self, started: subprocess.Popen[bytes], log: Path) -> None:
        self._started = started
        self._log = log

    def url(self) -> str:
        """The address that a server says it listens at."""

        def say() -> re.Match[str] | None:
            assert self._started.poll() is None
            return re.search(r"127\.0\.0\.1:[1-9]\d*", self._log.read_text())

        await_that(say)
        found = say()
        assert found
        return f"http://{found[0]}"

    def wait(self, code: int = 0) -> None:
        assert self._started.wait(PATIENCE_SECONDS) == code

    def end(self, sign: signal.Signals, code: int = 0) -> None:
        """Have it end."""
        self._started.send_signal(sign)
        self.wait(code)

    def is_running(self) -> bool:
        return self._started.poll() is None


def visit(url: str, number: int) -> None:
    """One request that is answered; each attempt tracks an event of its own."""
    attempts = iter(range(20))
    while True:
        with suppress(requests.ConnectionError):  # a worker was replaced
            attempt = next(attempts)
            assert requests.get(f"{url}/{number}-{attempt}", timeout=PATIENCE_SECONDS).ok
            return


def visit_often(url: str) -> None:
    """Eight visitors at a time."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(visit, url), range(VISITS)))


@pytest.fixture(params=KINDS, ids="-".join)
def shop(request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox) -> Shop:
    """An app of each kind in turn."""
    shop = Shop(tmp_path, sandbox, *request.param)
    shop.write("app", APP)
    return shop


# -- gunicorn --------------------------------------------------------------------------------------

WORKERS = {
    "sync": ["--worker-class=sync", "--workers=2", "app:wsgi"],
    "gthread": ["--worker-class=gthread", "--workers=2", "--threads=4", "app:wsgi"],
    "gevent": ["--worker-class=gevent", "--workers=2", "app:wsgi"],
    "uvicorn": ["--workers=2", "app:asgi"],
}


def gunicorn(worker: str, *options: str) -> list[str]:
    """The command that starts it; skips the test where it, or the kind of worker, is missing."""
    pytest.importorskip("gunicorn")
    arguments = WORKERS[worker]
    if worker == "gevent":
        pytest.importorskip("gevent")
    if worker == "uvicorn":
        pytest.importorskip("uvicorn_worker", reason="needs the package uvicorn-worker")
        arguments = ["--worker-class=uvicorn_worker.UvicornWorker", *arguments]
    return [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", *options, *arguments]


@pytest.mark.parametrize("when", [AT_THE_END, AT_ONCE])
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["no preload", "preload"])
@pytest.mark.parametrize("worker", WORKERS)
def test_gunicorn(shop: Shop, worker: str, preload: list[str], when: int) -> None:
    """What gunicorn's master tracked before the fork, and its workers after it, arrives once."""
    shop.write("app", APP + START)
    command = gunicorn(worker, *preload)
    with shop.running(*command, flush_interval_millis=when) as server:
        visit_often(server.url())
        server.end(signal.SIGTERM)
    starts = [id for id in shop.tracked() if id.startswith("start of")]
    assert len(shop.tracked()) >= VISITS + len(starts)
    assert not preload or len(starts) == 1
    shop.judge()


@pytest.mark.parametrize("worker", WORKERS)
def test_gunicorn_replaces_its_workers(shop: Shop, worker: str) -> None:
    """Where gunicorn replaces each worker after some requests, each one's events arrive once."""
    shop.write("app", APP + START)
    command = gunicorn(worker, "--preload", "--max-requests=20", "--max-requests-jitter=5")
    with shop.running(*command, flush_interval_millis=AT_THE_END) as server:
        visit_often(server.url())
        server.end(signal.SIGTERM)
    shop.judge()


HANGING = """
import shop, threading

def wsgi(environ, start_response):
    shop.track(environ["PATH_INFO"][1:])
    if "hang" in environ["PATH_INFO"]:
        threading.Event().wait()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_gunicorn_ends_a_worker_that_hangs(shop: Shop) -> None:
    """What a worker of gunicorn's has tracked before it hangs arrives when it is ended for that."""
    shop.write("app", HANGING)
    command = gunicorn("sync", "--timeout=1")
    with shop.running(*command, flush_interval_millis=AT_THE_END) as server:
        url = server.url()
        for number in range(20):
            visit(url, number)
        with suppress(requests.ConnectionError):
            assert not requests.get(f"{url}/hang", timeout=PATIENCE_SECONDS).ok
        visit(url, 20)
        server.end(signal.SIGTERM)
    assert "WORKER TIMEOUT" in shop.said()
    assert "hang" in shop.tracked()
    shop.judge()


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["no preload", "preload"])
def test_gunicorn_whose_workers_are_all_killed(tmp_path: Path, preload: list[str]) -> None:
    """With a file, what all of gunicorn's workers held when they were killed needs no request.

    Those that replace them send it when they load the app; with preload, the master does.
    """
    sandbox = Sandbox()
    with sandbox:
        shop = Shop(tmp_path, sandbox, "sqlite", "requests")
    shop.write("app", HANGING)
    command = gunicorn("sync", "--timeout=0", *preload)
    with (
        ThreadPoolExecutor() as pool,
        shop.running(*command, flush_interval_millis=AT_ONCE) as server,
    ):
        url = server.url()
        visit_often(url)  # MCM does not answer yet
        for number in range(2):
            pool.submit(requests.get, f"{url}/hang-{number}", timeout=PATIENCE_SECONDS)
        # A worker hangs in its request, so each has tracked one of them.
        await_that(lambda: {"hang-0", "hang-1"} <= set(shop.tracked()))
        for worker in re.findall(r"Booting worker with pid: (\d+)", shop.said()):
            os.kill(int(worker), signal.SIGKILL)
        with sandbox:
            await_that(lambda: {id for id, _ in shop.delivered()} == set(shop.tracked()))
            server.end(signal.SIGTERM)
            shop.judge()


@pytest.mark.parametrize("when", [AT_THE_END, AT_ONCE])
def test_uvicorn(shop: Shop, when: int) -> None:
    """With shutdown() called in the lifespan, uvicorn alone loses nothing at SIGTERM."""
    command = [sys.executable, "-m", "uvicorn", "--port=0", "app:asgi"]
    with shop.running(*command, flush_interval_millis=when) as server:
        visit_often(server.url())
        server.end(signal.SIGTERM, code=-signal.SIGTERM)
    shop.judge()


# -- uwsgi -----------------------------------------------------------------------------------------

MODES = {
    "plain": [],
    "enable-threads": ["--enable-threads"],
    "lazy-apps": ["--lazy-apps"],
    "lazy-apps enable-threads": ["--lazy-apps", "--enable-threads"],
    "osafterfork": ["--py-call-osafterfork"],
    "osafterfork enable-threads": ["--py-call-osafterfork", "--enable-threads"],
}
UWSGI_MODES = [
    pytest.param(
        mode,
        marks=pytest.mark.skipif(
            sys.version_info >= (3, 13) and "osafterfork" in mode,
            reason="Python ends uwsgi's workers, which call a hook of the fork without the others",
        ),
    )
    for mode in MODES
]
# On its own account, QUIT has a worker skip Python's exit hooks if it is just serving a request.
GRACEFUL = "--hook-master-start=unix_signal:3 gracefully_kill_them_all"


def uwsgi(*options: str) -> list[str]:
    """The command that starts it; skips the test where it is missing."""
    program = shutil.which("uwsgi", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs uwsgi, which needs a compiler")
    fixed = ["--master", "--processes=2", "--http-socket=127.0.0.1:0", "--need-app"]
    return [program, *fixed, "--disable-logging", f"--home={sys.prefix}", *options]


@pytest.mark.parametrize("mode", [each for each in UWSGI_MODES if "osafterfork" in str(each)])
def test_uwsgi_with_a_master_that_tracks(shop: Shop, mode: str) -> None:
    """What uwsgi's master tracked is sent by the master, once, although it runs no exit hooks.

    Without osafterfork, uwsgi's workers would wait in vain for threads of the SDK, which only the
    master has: with the SDK alone they don't end, either.
    """
    shop.write("app", APP + START)
    # uwsgi forks without Python's lock. A worker never gets it, if a thread has it just then; so
    # those of the SDK and of the library sleep until all workers are there.
    shop.write("shop", SHOP.replace("millis=50", f"millis={AFTER_THE_FORK}"))
    command = uwsgi("--module=app:wsgi", GRACEFUL, *MODES[mode])
    with shop.running(*command, flush_interval_millis=AFTER_THE_FORK) as server:
        visit_often(server.url())
        await_that(lambda: any(id.startswith("start of") for id, _ in shop.delivered()))
        server.end(signal.SIGQUIT)
    shop.judge()


@pytest.mark.parametrize("when", [AT_THE_END, AT_ONCE])
@pytest.mark.parametrize("mode", UWSGI_MODES)
def test_uwsgi(shop: Shop, mode: str, when: int) -> None:
    """What uwsgi's workers tracked arrives once, however they are forked, and they end at once."""
    command = uwsgi("--module=app:wsgi", GRACEFUL, *MODES[mode])
    apps = 2 if "lazy" in mode else 1
    with shop.running(*command, flush_interval_millis=when) as server:
        visit_often(server.url())
        # A worker that gets the signal while it still loads its app ignores it.
        await_that(lambda: shop.said().count("WSGI app 0") >= apps)
        server.end(signal.SIGQUIT)
    assert "Exception" not in shop.said()
    shop.judge()


# -- Celery ----------------------------------------------------------------------------------------

TASKS = """
import os
from pathlib import Path
from celery import Celery
import shop

folders = {}
for name in ("data_folder_in", "data_folder_out", "control_folder"):
    folder = Path(__file__).parent / name.replace("_out", "_in")
    folder.mkdir(exist_ok=True)
    folders[name] = str(folder)
app = Celery("tasks", broker="filesystem://", set_as_current=True)
app.conf.update(
    broker_transport_options=folders,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=1,
    task_ignore_result=True,
)

@app.task
def buy(number):
    shop.track(f"task {number}")
"""

RECIPE = """
from celery.signals import worker_process_shutdown

@worker_process_shutdown.connect
def shut_down(**_):
    shop.destination.shutdown()
"""
TASK_COUNT = 30


def run_celery(shop: Shop, *program: str) -> None:
    """Have Celery's prefork pool do all tasks."""
    order = f"import tasks\nfor number in range({TASK_COUNT}): tasks.buy.delay(number)"
    shop.run(sys.executable, "-c", order, flush_interval_millis=AT_THE_END)
    pool = ["worker", "--pool=prefork", "--concurrency=3", "--loglevel=INFO"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, *program, *pool, *quiet]
    with shop.running(*command, flush_interval_millis=AT_THE_END) as worker:
        await_that(lambda: len(shop.tracked()) == TASK_COUNT or not worker.is_running())
        worker.end(signal.SIGTERM)
    assert sorted(shop.tracked()) == sorted(f"task {number}" for number in range(TASK_COUNT))


@pytest.mark.parametrize("max_tasks", [1, None], ids=["a child for each task", "lasting children"])
@pytest.mark.parametrize("recipe", ["", RECIPE], ids=["no recipe", "recipe"])
def test_celery(shop: Shop, recipe: str, max_tasks: int | None) -> None:
    """Events of Celery's tasks arrive once, although its children run no exit hooks."""
    pytest.importorskip("celery")
    tasks = TASKS.replace("max_tasks_per_child=1", f"max_tasks_per_child={max_tasks}")
    shop.write("tasks", tasks + recipe)
    run_celery(shop, "-m", "celery", "-A", "tasks")
    shop.judge()


def test_celery_that_is_imported_last(shop: Shop) -> None:
    """The same, where the destination was made before Celery was imported."""
    pytest.importorskip("celery")
    shop.write("tasks", TASKS)
    shop.write("main", "import shop, sys, tasks\ntasks.app.worker_main(sys.argv[1:])")
    run_celery(shop, "main.py")
    shop.judge()


# -- multiprocessing -------------------------------------------------------------------------------

WORK = """
import shop

def work(number):
    shop.track(f"work {number}")
"""

METHODS = {
    "fork": 'context = multiprocessing.get_context("fork")',
    "forkserver": 'context = multiprocessing.get_context("forkserver")',
    "forkserver with preload": (
        'context = multiprocessing.get_context("forkserver")\n'
        '    context.set_forkserver_preload(["work"])'
    ),
    "spawn": 'context = multiprocessing.get_context("spawn")',
}

MAIN = """
import multiprocessing
from work import shop, work

if __name__ == "__main__":
    {method}
    shop.track("parent before")
"""

PROCESSES = """
    workers = [context.Process(target=work, args=[number]) for number in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not any(worker.exitcode for worker in workers)
    shop.track("parent after")
"""

POOL = """
    pool = context.Pool(2, maxtasksperchild=3)
    pool.map(work, range(60), chunksize=5)
    pool.close()
    pool.join()
    shop.track("parent after")
"""

TERMINATED_POOL = """
    with context.Pool(2) as pool:
        pool.map(work, range(60), chunksize=5)
    shop.track("parent after")
"""


def run_main(shop: Shop, method: str, how: str, when: int) -> None:
    """Run a script that starts workers."""
    shop.write("work", WORK)
    shop.write("main", MAIN.format(method=METHODS[method]) + how)
    shop.run(sys.executable, "main.py", flush_interval_millis=when)
    assert len(shop.tracked()) == (14 if how is PROCESSES else 62)


@pytest.mark.parametrize("when", [AT_THE_END, AT_ONCE])
@pytest.mark.parametrize("how", [PROCESSES, POOL], ids=["Process", "Pool"])
@pytest.mark.parametrize("method", METHODS)
def test_multiprocessing(shop: Shop, method: str, how: str, when: int) -> None:
    """However its workers are started, what they and their parent tracked arrives once."""
    run_main(shop, method, how, when)
    shop.judge()


@pytest.mark.parametrize("when", [AT_THE_END, AT_ONCE])
@pytest.mark.parametrize("method", METHODS)
def test_a_pool_that_is_terminated(
    tmp_path: Path, sandbox: Sandbox, method: str, when: int
) -> None:
    """With a file, nothing is lost where a Pool's with block ends, and kills its workers."""
    shop = Shop(tmp_path, sandbox, "sqlite", "requests")
    run_main(shop, method, TERMINATED_POOL, when)
    shop.judge()


# -- gevent ----------------------------------------------------------------------------------------

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
import shop
from amplitude import EventPlugin, PluginType

class Yielding(EventPlugin):
    def __init__(self):
        super().__init__(PluginType.ENRICHMENT)

    def execute(self, event):
        gevent.sleep(0.001)
        return event

shop.destination.add(Yielding())

def track(number):
    gevent.sleep(0.001 * (number % 10))
    if number % 5:
        return shop.track(str(number))
    with gevent.Timeout(0.002 * (number % 7), False):
        shop.track(str(number))

greenlets = [gevent.spawn(track, number) for number in range(500)]
gevent.joinall(greenlets, raise_error=True)
shop.track("afterwards")
stats = shop.destination.flush(60).result()
assert stats.accepted == stats.delivered, stats
shop.client.shutdown()
"""


@pytest.mark.parametrize("when", [AT_THE_END, AT_ONCE])
def test_gevent(shop: Shop, when: int) -> None:
    """Of greenlets that track, some of them interrupted, all events arrive, and no lock is kept."""
    pytest.importorskip("gevent")
    shop.write("greenlets", GREENLETS)
    shop.run(sys.executable, "greenlets.py", flush_interval_millis=when)
    assert len(shop.tracked()) >= 401
    assert "afterwards" in shop.tracked()
    shop.judge(interrupted=[str(number) for number in range(0, 500, 5)])
