"""Checks the header ``Host``, so that no web page reaches the sandbox through a name of its own.

A page may resolve its own name to this machine's address (DNS rebinding), and would then read what
shoppers did. It can't do so with an address, nor with a name that has no dot, which belongs to the
local network.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


class HostCheck:
    """Refuses requests whose ``Host`` is neither an address, a local name nor one given here.

    An ASGI application around another.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = {name.lower().rstrip(".") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if all(self._is_own(host.decode("latin-1")) for host in hosts):  # a browser sends one
            await self._app(scope, receive, send)
            return
        message = "the header Host names another server; use the sandbox's address, or allow it"
        body = json.dumps({"code": 403, "message": message, "details": []})
        await Response(body, 403, media_type="application/json")(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            if "." not in name or name in self._names or name.endswith(".localhost"):
                return True
            ip_address(name)
        except ValueError:  # neither an address nor a host
            return False
        return True
