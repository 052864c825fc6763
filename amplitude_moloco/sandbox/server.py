"""The sandbox as a server: started, asked, told to fail, stopped."""

from __future__ import annotations

import asyncio
import socket
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

import uvicorn

from amplitude_moloco.sandbox.app import Endpoints, Settings
from amplitude_moloco.sandbox.faults import Fault, Faults
from amplitude_moloco.sandbox.record import ReceivedRequest, Record, Target

if TYPE_CHECKING:
    from typing_extensions import Self

_KEEP_ALIVE_SECONDS = 60
_BACKLOG = 2048
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Sandbox:
    """A stand-in for MCM and for Amplitude's HTTP API, in a daemon thread of its own.

    ``with Sandbox() as sandbox:`` starts it and returns when it accepts connections; the end of
    the block stops it. Entered again, it listens on the same port again, with the same record.
    All methods may be called from any thread. It prints nothing and needs no network.

    ``host``
        Where to listen; only this machine can reach the default.
    ``port``
        0 takes a free one.
    ``api_key``, ``platform_id``, ``amplitude_api_key``
        What requests must carry; None accepts whatever is not empty.
    ``delay_seconds``
        How long each answer of the two APIs is held back.
    ``max_requests``
        How many requests are kept; the oldest make room for new ones.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        platform_id: str | None = None,
        amplitude_api_key: str | None = None,
        delay_seconds: float = 0.0,
        max_requests: int = 100_000,
    ) -> None:
        self._host = host
        self._port = port
        self._settings = Settings(api_key, platform_id, amplitude_api_key, delay_seconds)
        self._record = Record(max_requests)
        self._faults = Faults()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        """Start it. Raises OSError if the address can't be had, RuntimeError if it runs already."""
        if self._server is not None:
            raise RuntimeError("this sandbox runs already")
        # Bound here and not in the thread, so that a port in use is this caller's error. From now
        # on the system accepts connections: there is nothing more to wait for.
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._server = _Server(Endpoints(self._settings, self._record, self._faults), listener)
        self._server.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it within a few tenths of a second, hanging up on whoever is connected."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """``MolocoDestination(base_url=…)``. Raises RuntimeError before the port is known."""
        if self._port == 0:
            raise RuntimeError(
                "the sandbox has no port yet: `with Sandbox() as sandbox:` starts it"
            )
        host = _ANY_ADDRESS.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def amplitude_url(self) -> str:
        """``Config(server_url=…)``. Raises RuntimeError before the port is known."""
        return f"{self.url}/2/httpapi"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What came in for either API, oldest first, refused requests included."""
        return self._record.requests()

    @property
    def moloco_events(self) -> list[dict[str, Any]]:
        """The user events that MCM accepted, oldest first."""
        return self._record.moloco_events()

    @property
    def amplitude_events(self) -> list[dict[str, Any]]:
        """The events that Amplitude accepted, oldest first."""
        return self._record.amplitude_events()

    @property
    def forgotten(self) -> int:
        """How many requests were let go to make room for newer ones."""
        return self._record.forgotten

    def clear(self) -> None:
        """Forget what came in. Faults that are asked for stay."""
        self._record.clear()

    def fail_next(
        self,
        status: int,
        times: int = 1,
        retry_after: int | None = None,
        *,
        target: Target = "moloco",
    ) -> None:
        """Answer the next ``times`` requests to ``target`` with this HTTP status, 400 to 599.

        ``retry_after`` adds the header of that name, in seconds. Faults queue up. Raises
        ValueError for what can't be answered.
        """
        self._faults.add(Fault(status, times, retry_after, target))


class _Server(uvicorn.Server):
    """uvicorn in a daemon thread."""

    def __init__(self, endpoints: Endpoints, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                endpoints.app(),
                lifespan="off",
                ws="none",
                log_config=None,
                # uvicorn has no other switch for it than this one, which mutes its logger.
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self._endpoints = endpoints
        self._listener = listener
        self._thread = Thread(
            target=self.run, args=([listener],), name="amplitude-moloco-sandbox", daemon=True
        )

    def start(self) -> None:
        """Begin to serve; the listener is closed in the end."""
        self._thread.start()

    def stop(self) -> None:
        """Return once everything is closed and the thread has ended."""
        self.should_exit = True
        self._thread.join()
        self._listener.close()  # uvicorn does not, if it was told to end before it had begun

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The last step of uvicorn, which waits politely for clients to leave, made brisk."""
        self._endpoints.stopping.set()
        hanging_up = asyncio.create_task(self._hang_up())
        await super().shutdown(sockets)
        hanging_up.cancel()

    async def _hang_up(self) -> None:
        # More than once, since a connection that was just being accepted shows up a little later.
        while True:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0.01)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        message = f"the sandbox can't listen on {host}, port {port}: {error.strerror}"
        raise OSError(error.errno, message) from error
    # Connections inherit it. asyncio sets it just for sockets that name their protocol, which this
    # one doesn't; without it, each answer waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
