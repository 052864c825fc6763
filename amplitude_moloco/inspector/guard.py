"""Keeps other web sites away from a server on this machine.

A site may resolve its own name to this machine's address (DNS rebinding), and would then read what
shoppers did. It can't do so with an address, nor with a name that has no dot, which belongs to the
local network. A site may also send requests without reading the answers: a browser names the site
in ``Origin`` or ``Sec-Fetch-Site``.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from hmac import compare_digest
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_OWN_SITES = (b"same-origin", b"none")


class Guard:
    """Refuses requests for other hosts, and those that a browser sends for another site.

    An ASGI application around another. ``Host`` must be an address, a local name or one of
    ``names``. ``Origin`` must be absent, or the same as ``Host``. A browser may follow a link from
    another site to a page.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = {name.lower().rstrip(".") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = _values(scope, b"host")
        if not all(self._is_own(host.decode("latin-1")) for host in hosts):  # a browser sends one
            message = "the header Host names another server; use the server's address, or allow it"
        elif not _is_from_own_page(scope, hosts):
            message = "the header Origin names another site; only the server's own page may do this"
        else:
            await self._app(scope, receive, send)
            return
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


class TokenPath:
    """Serves an application below a path that only who knows a token can name.

    Everything else gets a 404.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token, slash, rest = scope["path"].removeprefix("/").partition("/")
        if slash and compare_digest(token.encode(errors="replace"), self._token):
            await self._app({**scope, "path": f"/{rest}"}, receive, send)
        else:
            await Response("not found", 404, media_type="text/plain")(scope, receive, send)


def _is_from_own_page(scope: Scope, hosts: list[bytes]) -> bool:
    """Whether no other site sent this request through a browser. Other programs name no site."""
    own = {scheme + host.lower() for host in hosts for scheme in (b"http://", b"https://")}
    if not own.issuperset(origin.lower() for origin in _values(scope, b"origin")):
        return False
    sites = _values(scope, b"sec-fetch-site")
    is_followed_link = scope["method"] == "GET" and b"navigate" in _values(scope, b"sec-fetch-mode")
    return is_followed_link or all(site in _OWN_SITES for site in sites)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]
