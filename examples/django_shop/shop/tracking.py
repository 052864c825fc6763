"""Tracks what shoppers do: a client for each process, and a middleware that knows the shopper."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from amplitude import Amplitude, BaseEvent, Config
from django.http import HttpRequest, HttpResponse

from amplitude_moloco import MolocoDestination

YEAR, HALF_HOUR = 365 * 86400, 30 * 60
"""Seconds for which a browser keeps its device id, and its session after the last click."""

# The server loads the middleware, and so makes the client, when a process starts.
client = Amplitude(
    os.environ["AMPLITUDE_API_KEY"],
    # Amplitude's SDK may hold up the end of a process for as long as flush_interval_millis.
    Config(server_url=os.environ.get("AMPLITUDE_URL"), flush_interval_millis=1_000),
)
destination = MolocoDestination.from_file(Path(__file__).parents[1] / "moloco.toml")
client.add(destination)


class ShopperMiddleware:
    """Recognizes the browser and its session, and notes where a shopper comes from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle a request, and have the browser keep its ids."""
        request.device_id = request.get_signed_cookie("device_id", None) or str(uuid.uuid4())
        # Amplitude's session id is the time at which the session began.
        now_millis = int(time.time() * 1000)
        request.session_id = int(request.get_signed_cookie("session_id", None) or now_millis)
        referrer = urlsplit(request.META.get("HTTP_REFERER", "")).netloc
        is_foreign = referrer != request.get_host()
        source = request.GET.get("utm_source") or (referrer if is_foreign else "")
        if source:
            track(request, "Landing Page Viewed", referrer=source)
        response = self.get_response(request)
        # Ask shoppers first, where the law says so.
        for name, value, seconds in (
            ("device_id", request.device_id, YEAR),
            ("session_id", str(request.session_id), HALF_HOUR),
        ):
            response.set_signed_cookie(
                name,
                value,
                max_age=seconds,
                httponly=True,
                samesite="Lax",
                secure=request.is_secure(),
            )
        return response


def track(
    request: HttpRequest, name: str, insert_id: str | None = None, **properties: object
) -> None:
    """Track what a shopper does. It never waits for the network, and never raises."""
    came_from = urlsplit(request.META.get("HTTP_REFERER", ""))
    if came_from.netloc == request.get_host():
        properties.setdefault("referrer", came_from.path)
    client.track(
        BaseEvent(
            name,
            insert_id=insert_id,
            user_id=request.session.get("user_id"),  # with Django's own users: request.user
            device_id=request.device_id,
            session_id=request.session_id,
            platform="Web",
            ip=request.META.get("REMOTE_ADDR"),
            language=request.META.get("HTTP_ACCEPT_LANGUAGE", "")[:2] or None,
            user_agent=request.META.get("HTTP_USER_AGENT"),
            event_properties=properties,
        )
    )
