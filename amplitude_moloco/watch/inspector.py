"""The live page of a destination: a hook, and a server on a loopback address."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable

from starlette.applications import Starlette

from amplitude_moloco.engine.facts import Fact
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.status import Status
from amplitude_moloco.host import fork
from amplitude_moloco.inspector.guard import Guard, TokenPath
from amplitude_moloco.inspector.live import LivePage
from amplitude_moloco.inspector.server import ThreadServer, listen
from amplitude_moloco.watch.address import Address
from amplitude_moloco.watch.feed import FactFeed

logger = logging.getLogger(__name__)

_STOP_SECONDS = 5.0


class Inspector:
    """Shows what happens in this process, for as long as it is open. Read-only.

    A hook of the engine's: it costs nothing in ``track()``. A forked child has no page of its own,
    and shows nothing on its parent's. Safe from any thread.

    Args:
        address: Where to listen.
        server: The name of the server that events are sent to.
        stats, status: Read whenever an open page asks.
    """

    def __init__(
        self,
        address: Address,
        server: str,
        stats: Callable[[], Stats],
        status: Callable[[], Status],
    ) -> None:
        self._address = address
        self._origin = fork.Origin()
        self._feed = FactFeed(server, stats, status)
        self._token = secrets.token_urlsafe(16)
        self._server: ThreadServer | None = None
        self._listeners: list[socket.socket] = []
        self.url: str | None = None
        """Where the page is, with its token. None before the start and after the end."""

    def __call__(self, fact: Fact) -> None:
        """Notes a fact. In a forked child, nobody could see it."""
        if not self._origin.is_elsewhere:
            self._feed.add(fact)

    def start(self) -> None:
        """Serves the page. Never raises: events matter more than a page that shows them."""
        if self._origin.is_elsewhere:
            return
        host, port = self._address
        try:
            listener = listen(host, port, "the inspector")
        except OSError as error:
            logger.warning("%s. Events are sent, but not shown.", error.strerror)
            return
        app = Starlette(routes=LivePage(self._feed).routes())
        app.router.redirect_slashes = False
        guarded = Guard(TokenPath(app, self._token), ())
        self._listeners.append(listener)
        self._server = ThreadServer(guarded, listener, asyncio.Event(), "inspector")
        fork.call_in_forked_child(self._leave_to_parent)
        self._server.start()
        named = f"[{host}]" if ":" in host else host
        self.url = f"http://{named}:{listener.getsockname()[1]}/{self._token}/"
        logger.warning("The inspector shows the events of this process at %s", self.url)

    def close(self) -> None:
        """Ends the server. A second call does nothing."""
        server, self._server, self.url = self._server, None, None
        if server is not None:
            server.stop(_STOP_SECONDS)

    def _leave_to_parent(self) -> None:
        """In a forked child: lets the port go, so that it is free once the parent has ended."""
        fork.never_free(self._server)  # with its loop, whose thread the child does not have
        self._server = self.url = None
        for listener in self._listeners:
            listener.close()
