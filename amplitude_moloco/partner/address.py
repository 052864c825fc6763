"""A partner's address and credential, checked before anything is sent."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.placeholders import refuse_placeholder
from amplitude_moloco.transports.loopback import is_loopback
from amplitude_moloco.transports.secret import Secret

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+", re.IGNORECASE)


def token_of(token: object, use: str) -> Secret:
    """Returns a token that may stand in a header. ``use`` says which one to use instead.

    Raises ConfigurationError, whose text does not quote the token.
    """
    refuse_placeholder("token", token)
    if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
        raise ConfigurationError(
            f"token: empty, or with blanks, line ends or other characters that no token has; use "
            f"{use}"
        )
    return Secret(token)


def base_url_of(base_url: str | None, default: str) -> str:
    """Returns the scheme and the host in place of the default; https, or http to this machine."""
    if base_url is None:
        return default
    advice = f"use one like {default}, without a path"
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
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url: plain http to {host} would send the token and the events unencrypted; "
            f"use https (http is allowed for a loopback host only)"
        )
    return f"{parts.scheme}://{parts.netloc}"
