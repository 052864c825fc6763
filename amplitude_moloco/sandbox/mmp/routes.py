"""The MMP's addresses: links, sessions, events, and what shows and moves it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from amplitude_moloco.inspector.live import MEDIA_TYPES, SAFETY_HEADERS
from amplitude_moloco.sandbox.answers import Answer
from amplitude_moloco.sandbox.document import parse
from amplitude_moloco.sandbox.faults import Faults
from amplitude_moloco.sandbox.mmp import answers
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.refusal import Refused
from amplitude_moloco.sandbox.mmp.timeline import road_of, state_of
from amplitude_moloco.sandbox.mmp.touch import TouchKind
from amplitude_moloco.sandbox.record import Target

Respond = Callable[[Target, "str | None", bytes, Answer, float], Awaitable[Response]]
"""Records a request and its answer, and returns the response."""
ReadBody = Callable[[Request, int], Awaitable["bytes | None"]]
"""Returns a body, or None if it is larger than a number of bytes."""
_MOST_BYTES = 1024 * 1024
_PAGE = Path(__file__).parent / "page"
_FORM = "application/x-www-form-urlencoded"


class MmpRoutes:
    """The routes, one method each. They run in the server's event loop only."""

    def __init__(self, mmp: Mmp, faults: Faults, respond: Respond, read_body: ReadBody) -> None:
        self._mmp = mmp
        self._faults = faults
        self._respond = respond
        self._read_body = read_body
        self._files = {file.name: file.read_bytes() for file in sorted(_PAGE.iterdir())}

    def routes(self) -> list[Route]:
        """Returns the routes. Events and sessions also have addresses at the top."""
        both = ["GET", "POST"]
        return [
            *(Route(f"{top}/event", self.take_event, methods=both) for top in ("", "/mmp")),
            *(Route(f"{top}/session", self.take_session, methods=both) for top in ("", "/mmp")),
            Route("/mmp/", self.get_page),
            Route("/mmp/page/{name}", self.get_page),
            Route("/mmp/state", self.get_state, methods=["GET"]),
            Route("/mmp/state", self.delete_state, methods=["DELETE"]),
            Route("/mmp/road", self.get_road),
            Route("/mmp/clock", self.move_clock, methods=["POST"]),
            Route("/mmp/impression/{link}", self.take_view, methods=both),
            Route("/mmp/api/v1/impression/{link}", self.take_view, methods=both),
            Route("/mmp/api/v1/click/{link}", self.take_click, methods=both),
            Route("/mmp/{link}", self.take_click, methods=both),
        ]

    async def take_event(self, request: Request) -> Response:
        """Handles an event from a server."""
        return await self._take(
            request,
            "Event",
            lambda parameters: answers.accepted(
                self._mmp.record_event(parameters, request.headers.get("authorization"))
            ),
        )

    async def take_session(self, request: Request) -> Response:
        """Handles a session, as the app's SDK sends it."""
        ip_address, user_agent = _sender(request)
        return await self._take(
            request,
            "Session",
            lambda parameters: answers.accepted(
                self._mmp.record_session(
                    parameters,
                    request.headers.get("authorization"),
                    ip_address=ip_address,
                    user_agent=user_agent,
                )
            ),
        )

    async def take_click(self, request: Request) -> Response:
        """Handles a click on a tracking link."""
        return await self._touch(request, "click", "Click")

    async def take_view(self, request: Request) -> Response:
        """Handles the tracking link of an ad that is shown."""
        return await self._touch(request, "view", "Impression")

    async def get_page(self, request: Request) -> Response:
        """Returns a file of the page."""
        name = request.path_params.get("name", "index.html")
        content = self._files.get(name)
        if content is None:
            return Response("not found", 404, SAFETY_HEADERS, "text/plain")
        return Response(content, 200, SAFETY_HEADERS, MEDIA_TYPES[Path(name).suffix])

    async def get_state(self, request: Request) -> Response:
        """Shows the devices, unless nothing has changed since ``?version=``."""
        return _json(state_of(self._mmp, request.query_params.get("version", "")))

    async def delete_state(self, request: Request) -> Response:
        """Forgets everything."""
        self._mmp.clear()
        return _json({})

    async def get_road(self, request: Request) -> Response:
        """Shows what happened to one device; of touches without a device, if none is named."""
        road = road_of(self._mmp, request.query_params.get("device", ""))
        return _json({} if road is None else road, 404 if road is None else 200)

    async def move_clock(self, request: Request) -> Response:
        """Moves the clock by ``{"move_seconds": 86400}``, or back to the present by ``{}``."""
        raw = await self._read_body(request, _MOST_BYTES)
        try:
            seconds = parse(raw or b"").get("move_seconds")
            self._mmp.reset_clock() if seconds is None else self._mmp.move_clock(float(seconds))
        except (AttributeError, TypeError, ValueError):
            return _json({"message": 'send {"move_seconds": 86400}, or {} for the present'}, 400)
        return _json({"now": self._mmp.clock.now()})

    async def _touch(self, request: Request, kind: TouchKind, what: str) -> Response:
        ip_address, user_agent = _sender(request)
        link = request.path_params["link"]
        return await self._take(
            request,
            what,
            lambda parameters: answers.touched(
                self._mmp.record_touch(
                    kind, link, parameters, ip_address=ip_address, user_agent=user_agent
                )
            ),
        )

    async def _take(
        self, request: Request, what: str, record: Callable[[dict[str, str]], Answer]
    ) -> Response:
        raw = await self._read_body(request, _MOST_BYTES)
        parameters = _parameters(request, raw or b"")
        fault = None if raw is None else self._faults.take("mmp")
        if raw is None:
            answer = answers.refused(what, 413, "Request entity too large")
        elif fault is not None and not fault.after_storing:
            answer = answers.faulty(what, fault)
        else:
            try:
                answer = record(parameters)
            except Refused as refused:
                answer = answers.refused(what, refused.status, refused.message)
            if fault is not None:
                answer = answers.faulty(what, fault)
        kept = json.dumps({"path": request.url.path, "parameters": parameters}).encode()
        return await self._respond("mmp", None, kept, answer, time.time())


def _parameters(request: Request, raw: bytes) -> dict[str, str]:
    """Returns the parameters of the address and of a form, decoded as UTF-8."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    parts = [request.url.query, raw.decode(errors="replace") if content_type == _FORM else ""]
    return dict(pair for part in parts for pair in parse_qsl(part, keep_blank_values=True))


def _sender(request: Request) -> tuple[str, str]:
    """Returns the address and the user agent that a request comes from."""
    host = "" if request.client is None else request.client.host
    return host, request.headers.get("user-agent", "")


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, SAFETY_HEADERS, "application/json")
