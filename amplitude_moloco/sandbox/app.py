"""The sandbox's ASGI application: routes, request bodies, answers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from amplitude_moloco.inspector.guard import Guard
from amplitude_moloco.inspector.live import LivePage
from amplitude_moloco.sandbox import answers
from amplitude_moloco.sandbox.acceptance import Acceptance, report_of
from amplitude_moloco.sandbox.adbrix import adbrix, adbrix_fault
from amplitude_moloco.sandbox.answers import Answer
from amplitude_moloco.sandbox.document import parse
from amplitude_moloco.sandbox.export import ExportFolder
from amplitude_moloco.sandbox.faults import Conditions, Fault, Faults
from amplitude_moloco.sandbox.feed import SandboxFeed
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.routes import MmpRoutes
from amplitude_moloco.sandbox.record import ReceivedRequest, Record, Target

MAX_USER_EVENT_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 20 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """What requests must carry. None accepts any value."""

    api_key: str | None
    platform_id: str | None
    amplitude_api_key: str | None
    amplitude_secret_key: str | None = None
    adbrix_token: str | None = None
    host_names: tuple[str, ...] = ()
    """Names in the header Host, beside addresses and names without a dot."""


class Endpoints:
    """The routes, one method each. They run in the server's event loop only."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        faults: Faults,
        exports: ExportFolder,
        mmp: Mmp,
    ) -> None:
        self._settings = settings
        self._record = record
        self._faults = faults
        self._exports = exports
        self._mmp_routes = MmpRoutes(mmp, faults, self._respond, _body)
        self._feed = SandboxFeed(record, faults)
        self.stopping = asyncio.Event()
        """Set when the server stops. Delayed answers are then sent at once."""

    def app(self) -> ASGIApp:
        """Returns the ASGI application."""
        user_events = "/rmp/event/v1/platforms/{platform_id}/userevents"
        routes = [
            Route(user_events, self.post_user_event, methods=["POST"]),
            Route("/2/httpapi", self.post_batch, methods=["POST"]),
            Route("/batch", self.post_batch, methods=["POST"]),
            Route("/api/v1/events", self.post_adbrix_event, methods=["POST"]),
            Route("/api/2/export", self.get_export, methods=["GET"]),
            Route("/events", self.get_events, methods=["GET"]),
            Route("/events", self.delete_events, methods=["DELETE"]),
            Route("/faults", self.post_fault, methods=["POST"]),
            Route("/faults", self.delete_faults, methods=["DELETE"]),
            Route("/conditions", self.put_conditions, methods=["PUT"]),
            Route("/live/acceptance.md", self.get_report, methods=["GET"]),
            *LivePage(self._feed).routes(),
            *self._mmp_routes.routes(),
            Route("/", self.unknown, methods=["POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers={ClientDisconnect: _disconnected})
        # MCM does not redirect a path with an extra slash, so the sandbox must not either.
        app.router.redirect_slashes = False
        return Guard(app, self._settings.host_names)

    async def post_user_event(self, request: Request) -> Response:
        """Handles MCM's one operation."""
        platform_id = request.path_params["platform_id"]
        raw = await _body(request, MAX_USER_EVENT_BYTES)
        now_seconds = time.time()
        if raw is None:
            raw, answer = b"", answers.moloco_refusal(413, "the body is too large")
        elif fault := self._faults.take("moloco"):
            answer = answers.moloco_fault(fault)
        else:
            answer = answers.moloco(
                raw,
                platform_id=platform_id,
                headers=request.headers,
                known_api_key=self._settings.api_key,
                known_platform_id=self._settings.platform_id,
                now_millis=int(now_seconds * 1000),
            )
        return await self._respond("moloco", platform_id, raw, answer, now_seconds)

    async def post_batch(self, request: Request) -> Response:
        """Handles Amplitude's two upload operations, which are alike."""
        raw = await _body(request, MAX_BATCH_BYTES)
        now_seconds = time.time()
        if raw is None:
            kept, answer = b"", answers.amplitude_refusal(413, "Payload too large")
        else:
            answer, kept = answers.amplitude(
                raw,
                known_api_key=self._settings.amplitude_api_key,
                now_millis=int(now_seconds * 1000),
            )
            if fault := self._faults.take("amplitude"):
                answer = answers.amplitude_fault(fault)
        return await self._respond("amplitude", None, kept, answer, now_seconds)

    async def post_adbrix_event(self, request: Request) -> Response:
        """Handles an event for Adbrix's S2S Event API."""
        raw = await _body(request, MAX_USER_EVENT_BYTES)
        now_seconds = time.time()
        if raw is None:
            raw, answer = b"", adbrix_fault(Fault(413, target="adbrix"))
        elif fault := self._faults.take("adbrix"):
            answer = adbrix_fault(fault)
        else:
            known = self._settings.adbrix_token
            answer = adbrix(raw, headers=request.headers, known_token=known)
        return await self._respond("adbrix", None, raw, answer, now_seconds)

    async def get_export(self, request: Request) -> Response:
        """Handles Amplitude's export of the events of some hours."""
        query = request.url.query.encode()
        answer: Answer | IO[bytes]
        if fault := self._faults.take("export"):
            answer = answers.amplitude_fault(fault)
        else:
            answer = self._exports.answer(
                request.query_params,
                request.headers,
                self._settings.amplitude_api_key,
                self._settings.amplitude_secret_key,
            )
        if isinstance(answer, Answer):
            return await self._respond("export", None, query, answer, time.time())
        await self._respond("export", None, query, Answer(200, {}), time.time())
        size = answer.seek(0, os.SEEK_END)
        answer.seek(0)
        headers = {"content-length": str(size)}
        return StreamingResponse(_chunks(answer), 200, headers, media_type="application/zip")

    async def get_events(self, request: Request) -> Response:
        """Shows everything in the record."""
        return _json(200, self._record.as_json())

    async def delete_events(self, request: Request) -> Response:
        """Clears the record."""
        self._record.clear()
        return _json(200, "{}")

    async def post_fault(self, request: Request) -> Response:
        """Adds a fault, given as a JSON object with the fields of :class:`Fault`."""
        raw = await _body(request, MAX_USER_EVENT_BYTES)
        try:
            self._faults.add(Fault(**parse(raw or b"")))
        except (TypeError, ValueError) as mistake:
            return _refused(mistake)
        return _json(200, "{}")

    async def put_conditions(self, request: Request) -> Response:
        """Sets the conditions, given as a JSON object with the fields of :class:`Conditions`.

        A field that is not given has its default.
        """
        raw = await _body(request, MAX_USER_EVENT_BYTES)
        try:
            self._faults.conditions = Conditions(**parse(raw or b""))
        except (TypeError, ValueError) as mistake:
            return _refused(mistake)
        return _json(200, "{}")

    async def delete_faults(self, request: Request) -> Response:
        """Discards the faults that are pending."""
        self._faults.clear()
        return _json(200, "{}")

    async def get_report(self, request: Request) -> Response:
        """Returns Moloco's acceptance matrix as a Markdown file to save."""
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        acceptance = Acceptance()
        for received in self._record.requests():
            acceptance.add(received)
        return Response(report_of(acceptance), 200, headers, "text/markdown")

    async def unknown(self, request: Request) -> Response:
        """Answers a request to the page's address that MCM has no operation for."""
        return _json(404, json.dumps(answers.moloco_refusal(404, "Not Found").body))

    async def _respond(
        self, target: Target, platform_id: str | None, kept: bytes, answer: Answer, at: float
    ) -> Response:
        self._record.add(
            ReceivedRequest(target, platform_id, answer.status, answer.message, kept, at)
        )
        if latency_millis := self._faults.conditions.latency_millis:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), latency_millis / 1000)
        return _json(answer.status, json.dumps(answer.body), retry_after=answer.retry_after)


async def _body(request: Request, limit_bytes: int) -> bytes | None:
    """Returns the request's body, or None if it is larger than the limit."""
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _json(status: int, text: str, *, retry_after: int | None = None) -> Response:
    headers = None if retry_after is None else {"retry-after": str(retry_after)}
    return Response(text, status, headers, media_type="application/json")


def _refused(mistake: Exception) -> Response:
    """Answers a request for a fault or for conditions that can't be."""
    refusal = answers.moloco_refusal(400, str(mistake))
    return _json(refusal.status, json.dumps(refusal.body))


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


async def _disconnected(request: Request, exc: Exception) -> Response:
    """Answers a client that disconnected before its body was complete. Nothing is recorded."""
    return Response(status_code=400)
