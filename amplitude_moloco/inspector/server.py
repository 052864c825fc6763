"""A server for an ASGI application, in a daemon thread of its own."""

from __future__ import annotations

import asyncio
import socket
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

_KEEP_ALIVE_SECONDS = 60
_BACKLOG = 2048


class ThreadServer(uvicorn.Server):
    """uvicorn in a daemon thread. Prints and logs nothing.

    Args:
        app: The application.
        listener: A socket that listens. It is closed at the end.
        stopping: Set in the server's loop when it stops.
        name: The thread's name.
    """

    def __init__(
        self, app: ASGIApp, listener: socket.socket, stopping: asyncio.Event, name: str
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                loop="asyncio",  # another one would become the policy of the whole process
                ws="none",
                log_config=None,
                # uvicorn offers no other way to mute its access log.
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self._stopping = stopping
        self._listener = listener
        self._thread = Thread(target=self.run, args=([listener],), name=name, daemon=True)

    def start(self) -> None:
        """Serves until ``stop()``, which closes the listener."""
        self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Returns when all connections are closed and the thread has ended, or after a timeout."""
        self.should_exit = True
        self._thread.join(timeout_seconds)
        self._listener.close()  # uvicorn does not if it is stopped before it has started

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Overrides uvicorn's last step, which would wait for clients to disconnect."""
        self._stopping.set()
        hanging_up = asyncio.create_task(self._hang_up())
        await super().shutdown(sockets)
        hanging_up.cancel()

    async def _hang_up(self) -> None:
        # Repeated, since a connection that is being accepted appears in the list a little later.
        while True:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0.01)


def listen(host: str, port: int, name: str) -> socket.socket:
    """Returns a socket that listens.

    Raises OSError, with a text that begins with ``name``, if it can't listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        message = f"{name} can't listen on {host}, port {port}: {error.strerror}"
        raise OSError(error.errno, message) from error
    # Connections inherit the option, which asyncio sets only for sockets that name their protocol.
    # Without it, each answer waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
