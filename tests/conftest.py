"""Fixtures that several test files use: buffers, servers, certificates, the environment."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings
from support.buffers import MakeBuffer, open_memory, open_sqlite
from support.clock import Clock, RealClock
from support.faulty_server import FaultyServer, StartServer
from support.redis_buffers import open_redis
from support.redis_server import NEEDS_SERVER, PROGRAM, RedisServer, StartRedis, running
from support.repeats import IS_TORTURE, repeats
from support.startup import sitecustomize as startup
from support.tls import Tls

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.sandbox import Sandbox

# No test may depend on how fast the machine is. The quick suite tries the same examples each time;
# the torture suite looks for new ones.
settings.register_profile(
    "unhurried",
    deadline=None,
    derandomize=not IS_TORTURE,
    max_examples=repeats(40, 1_000),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")

# Of every Python that the tests start.
_PATHS = str(Path(startup.__file__).parent), os.environ.get("PYTHONPATH", "")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _PATHS))

# Half of the time on disk would be waiting for it. A process that is killed leaves the same in
# memory as on a disk. The torture suite stays on the disk.
_MEMORY_DISK = "/dev/shm"  # noqa: S108  # pytest makes a private folder there
if Path(_MEMORY_DISK).is_dir() and shutil.disk_usage(_MEMORY_DISK).free > 2 * 1024**3:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY_DISK)

_SETTINGS_OF_REQUESTS = (
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NETRC"
).split()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server for all tests: each uses streams of its own."""
    if PROGRAM is None:
        pytest.skip(NEEDS_SERVER)
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[StartRedis]:
    """Starts a Redis server of the test's own, with these settings."""
    if PROGRAM is None:
        pytest.skip(NEEDS_SERVER)
    with ExitStack() as stack:
        numbers = count()

        def start_one(**settings: str) -> RedisServer:
            folder = tmp_path / f"redis-{next(numbers)}"
            return stack.enter_context(running(folder, **settings))

        yield start_one


_MEMORY = pytest.param(open_memory, id="memory")
_SQLITE = pytest.param(open_sqlite, id="sqlite")
_REDIS = pytest.param(None, id="redis")


@pytest.fixture(params=[_MEMORY, _SQLITE, _REDIS])
def make_buffer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeBuffer]:
    """Opens a new, empty buffer, of each kind in turn. All are closed after the test."""
    open_one = request.param
    if open_one is None:
        open_one = partial(open_redis, request.getfixturevalue("redis_server"))
    with _opening(open_one, tmp_path) as make_one:
        yield make_one


@pytest.fixture(params=[_MEMORY, _SQLITE])
def make_laned_buffer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeBuffer]:
    """As make_buffer, of the kinds that keep lanes."""
    with _opening(request.param, tmp_path) as make_one:
        yield make_one


@contextmanager
def _opening(
    open_one: Callable[[Path, int, int, Clock], Storage], tmp_path: Path
) -> Iterator[MakeBuffer]:
    numbers = count()
    with ExitStack() as stack:

        def make_one(
            *, max_events: int = 10_000, max_bytes: int = 10_000_000, clock: Clock | None = None
        ) -> Storage:
            directory = tmp_path / str(next(numbers))
            directory.mkdir()
            clock = clock or RealClock()
            buffer = open_one(directory, max_events, max_bytes, clock)
            stack.callback(buffer.close)
            return buffer

        yield make_one


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until the test moves it."""
    return Clock()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A stand-in for MCM and Amplitude that accepts any key and platform."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts one server more; all are stopped after the test."""
    with ExitStack() as stack:
        yield lambda tls=None: stack.enter_context(FaultyServer(tls))


@pytest.fixture
def server(start_server: StartServer) -> FaultyServer:
    return start_server()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Of our own making; for 127.0.0.1, and for MCM's host of the platform "acme"."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "acme-evt.mcm-api.moloco.com")
    context, http_2 = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    for each in (context, http_2):
        certificate.configure_cert(each)
    http_2.set_alpn_protocols(["h2", "http/1.1"])
    ca_bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_bundle))
    return Tls(context, http_2, ca_bundle)


@pytest.fixture(autouse=True)
def own_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Of what is logged, caplog sees the library's alone: the SDK's threads outlive their test."""
    only = logging.Filter("amplitude_moloco")
    caplog.handler.addFilter(only)
    yield
    caplog.handler.removeFilter(only)


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing that requests reads from the environment is set, until the test sets it."""
    for name in _SETTINGS_OF_REQUESTS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # Without it, this machine's own .netrc would be read.
    monkeypatch.setenv("NETRC", "/nonexistent")
    return monkeypatch
