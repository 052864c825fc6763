"""The pages of the service: ``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from amplitude_moloco.inspector.guard import Guard
from amplitude_moloco.inspector.server import ThreadServer, listen
from amplitude_moloco.relay.address import Address
from amplitude_moloco.relay.health import Finding, Health

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_STOP_SECONDS = 5.0
_NO_METRICS = (
    "There are no metrics: the package prometheus_client is missing. "
    "pip install 'amplitude-moloco[prometheus]'\n"
)


class Pages:
    """Serves the pages in a thread of its own, which waits for nothing that the senders do.

    Args:
        address: Where.
        health: What the probes ask.
        metrics: Returns the page of metrics and its media type; None where there is none.

    Raises:
        OSError: It can't listen there.
    """

    def __init__(
        self, address: Address, health: Health, metrics: Callable[[], tuple[bytes, str]] | None
    ) -> None:
        self._health = health
        self._metrics = metrics
        listener = listen(address.host, address.port, "the relay")
        self.url = address.url(listener.getsockname()[1])
        app: ASGIApp = Starlette(
            routes=[
                Route("/livez", self.get_live),
                Route("/healthz", self.get_live),  # what it is called elsewhere
                Route("/readyz", self.get_ready),
                Route("/metrics", self.get_metrics),
            ]
        )
        if address.is_loopback:  # the names by which others reach it are not known here
            app = Guard(app, ())
        self._server = ThreadServer(app, listener, asyncio.Event(), "relay-pages")
        self._server.start()

    def close(self) -> None:
        """End the server."""
        self._server.stop(_STOP_SECONDS)

    async def get_live(self, request: Request) -> Response:
        return _answer(self._health.live())

    async def get_ready(self, request: Request) -> Response:
        return _answer(self._health.ready())

    async def get_metrics(self, request: Request) -> Response:
        if self._metrics is None:
            return Response(_NO_METRICS, 404, _HEADERS, "text/plain")
        page, media_type = self._metrics()
        return Response(page, 200, {**_HEADERS, "content-type": media_type})


def _answer(finding: Finding) -> Response:
    status = 200 if finding.is_well else 503
    return Response(f"{finding.text}\n", status, _HEADERS, "text/plain")
