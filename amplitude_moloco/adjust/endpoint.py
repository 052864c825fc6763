"""Adjust's address and request headers, checked before anything is sent."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from amplitude_moloco.adjust.answers import accepts, error_message
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint
from amplitude_moloco.transports.secret import Secret

BASE_URL = "https://s2s.adjust.com"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NOTHING = "\0"  # in no header, and in no message
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.IGNORECASE)


def endpoint(*, token: str | None, base_url: str | None) -> Endpoint:
    """Returns the endpoint for events. Raises one ConfigurationError with all that can't work.

    ``base_url`` replaces the host. Adjust documents no host of a region for this API.
    """
    checks = Checks()
    secret = checks.run(_token, token)
    base = checks.run(_base_url, base_url)
    checks.raise_errors()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    url = f"{base}/event"
    return Endpoint(url, headers, secret or _NOTHING, read_error=error_message, accepts=accepts)


def _token(token: str | None) -> Secret | None:
    # This message must not quote the token.
    if token is None:
        return None
    if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
        raise ConfigurationError(
            "token: empty, or with blanks, line ends or other characters that no token has; use "
            "the app's S2S token, or None while Adjust does not check it"
        )
    return Secret(token)


def _base_url(base_url: str | None) -> str:
    if base_url is None:
        return BASE_URL
    advice = f"use one like {BASE_URL}, without a path"
    try:
        parts = urlsplit(base_url) if isinstance(base_url, str) else urlsplit("")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"base_url: not a URL; {advice}") from None
    is_plain = parts.username is None and parts.path in ("", "/") and not parts.query
    if (
        parts.scheme not in ("https", "http")
        or not _HOST.fullmatch(host)
        or not is_plain
        or parts.fragment
    ):
        raise ConfigurationError(f"base_url: no http(s) URL with nothing but a host; {advice}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"base_url: plain http to {host} would send the token and devices' ids unencrypted; "
            f"use https (http is allowed for a loopback host only)"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
