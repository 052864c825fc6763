"""MCM's address and request headers, checked before anything is sent."""

from __future__ import annotations

import os
import re
import string
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from urllib3.util import parse_url

from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.answers import accepts, error_message
from amplitude_moloco.moloco.private_host import allowed_host, is_private
from amplitude_moloco.partner.placeholders import refuse_placeholder, refuse_placeholders
from amplitude_moloco.text import shown
from amplitude_moloco.transports.base import Endpoint
from amplitude_moloco.transports.loopback import is_loopback
from amplitude_moloco.transports.secret import Secret

# A label has at most 63 characters, and a platform's gets "-evt" appended.
_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?", re.IGNORECASE)
_PLATFORM_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,57}[a-z0-9])?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


# Only what every reader of URLs takes the same way: no user, no backslash, no empty port.
_BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[a-z0-9._~!$&'()*+,;=:@-]|%[0-9a-f]{2})*)*)",
    re.IGNORECASE,
)
_ENCODED = re.compile(r"%([0-9a-f]{2})", re.IGNORECASE)
_NEVER_ENCODED = frozenset(
    [*string.ascii_letters, *string.digits, *"-._~/\\?#%;\x7f", *map(chr, range(32))]
)
"""What needs no encoding in a path, and what some programs read as a separator once decoded."""
_LONGEST_HOST = 253
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)

API_KEY_VARIABLE = "MOLOCO_API_KEY"


def endpoint(
    *,
    api_key: str | None,
    platform_id: str,
    platform_name: str | None,
    base_url: str | None,
    allow_plain_http: str | None = None,
    needs_key: bool = True,
) -> Endpoint:
    """Return MCM's endpoint for a platform.

    Without an ``api_key``, the environment's ``MOLOCO_API_KEY`` is used. ``base_url`` overrides the
    host that ``platform_name`` stands for. Plain http goes to a loopback address, and to the one
    private host that ``allow_plain_http`` names. Where another process makes the requests, no key
    is needed. Raises one ConfigurationError with all values that can't work.
    """
    checks = Checks()
    found = os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key
    is_left_out = api_key is None and not found and not needs_key
    key = Secret("") if is_left_out else checks.run(_api_key, found)
    checks.run(_check_platform_id, platform_id)
    allowed = checks.run(allowed_host, allow_plain_http)
    if base_url is None:
        base = checks.run(_host_of, platform_name)
    else:
        base = checks.run(_base_url, base_url, allowed)
        checks.run(_refuse_name, platform_name)
    if allow_plain_http is not None and allowed and base:
        checks.run(_refuse_unused, allowed, base)
    checks.raise_errors()
    path = f"/rmp/event/v1/platforms/{quote(platform_id, safe='')}/userevents"
    headers = {
        **({"x-api-key": key} if key else {}),
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    return Endpoint(base + path, headers, key, read_error=error_message, accepts=accepts)


def _api_key(api_key: str) -> Secret:
    # These messages must not quote the key.
    refuse_placeholder("api_key", api_key)
    if not isinstance(api_key, str) or not _VISIBLE.fullmatch(api_key):
        raise ConfigurationError(
            "api_key: empty, or with blanks, line ends or other characters that no key has; use "
            f"the REST API key of your Moloco account, or set {API_KEY_VARIABLE}"
        )
    return Secret(api_key)


def _check_platform_id(platform_id: str) -> None:
    refuse_placeholder("platform_id", platform_id)
    if not isinstance(platform_id, str) or not platform_id.strip():
        raise ConfigurationError("platform_id: empty; use the id that Moloco gave you")
    if not _PRINTABLE.fullmatch(platform_id) or platform_id in (".", ".."):
        raise ConfigurationError(
            f"platform_id: {shown(platform_id)} can't be in an address; use the id that Moloco "
            f"gave you"
        )


def _refuse_name(platform_name: str | None) -> None:
    if platform_name is not None:
        raise ConfigurationError(
            "platform_name: given beside base_url, which would replace it; use one of the two"
        )


def _host_of(platform_name: str | None) -> str:
    if platform_name is None:
        raise ConfigurationError(
            "platform_name: missing; give it (the name that Moloco gave you), or a base_url"
        )
    refuse_placeholder("platform_name", platform_name)
    is_text = isinstance(platform_name, str)
    label = re.sub(r"[_\s]", "-", platform_name.strip().lower()) if is_text else ""
    if not _PLATFORM_LABEL.fullmatch(label):
        raise ConfigurationError(
            f"platform_name: {shown(platform_name)} can't be part of a host's name; use letters, "
            f"digits, hyphens, underscores and spaces, 59 at most"
        )
    return f"https://{label}-evt.mcm-api.moloco.com"


def _refuse_unused(allowed: str, base: str) -> None:
    parts = urlsplit(base)
    if parts.scheme != "http" or parts.hostname != allowed:
        raise ConfigurationError(
            f"allow_plain_http: {shown(allowed)} is not needed for {parts.scheme}://"
            f"{parts.netloc}; leave it out"
        )


def _base_url(base_url: str, allowed: str | None) -> str:
    """Return a base URL that every library reads the same way, with its scheme in lower case."""
    refuse_placeholders("base_url", base_url)
    advice = "use one like https://your-platform-evt.mcm-api.moloco.com"
    try:
        if not isinstance(base_url, str):
            raise ValueError(base_url)
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"base_url: not a URL; {advice}") from None
    if not _VISIBLE.fullmatch(base_url) or parts.scheme not in ("https", "http") or not host:
        raise ConfigurationError(f"base_url: no http(s) URL with a host; {advice}")
    path = parts.path.lower().rstrip("/")
    if "/rmp/event/" in f"{path}/" or path.endswith("/userevents"):
        raise ConfigurationError(f"base_url: holds the path of MCM's API, which is added; {advice}")
    if parts.username is not None or "?" in base_url or "#" in base_url:
        raise ConfigurationError(f"base_url: holds a user, a query or a fragment; {advice}")
    found = _BASE_URL.fullmatch(base_url)
    if not found or not _is_host(host):
        raise ConfigurationError(
            f"base_url: a host, a port or a path that programs read differently; {advice}"
        )
    if parts.scheme == "http" and host != allowed and not is_loopback(host):
        way_out = f", and with allow_plain_http={host!r} for this one" if is_private(host) else ""
        raise ConfigurationError(
            f"base_url: plain http to {host} would send the key and your shoppers' data "
            f"unencrypted; use https (http is allowed for a loopback host only{way_out})"
        )
    if not _is_canonical(found, host):
        raise ConfigurationError(
            f"base_url: a host, a port or a path that programs read differently; {advice}"
        )
    return f"{parts.scheme}{base_url[len(parts.scheme) :]}".rstrip("/")


def _is_canonical(found: re.Match[str], host: str) -> bool:
    """Whether what was checked is what the transports connect to.

    They rewrite paths with ".." or "//", and read a host like 2130706433 or 0x7f.1 as an IPv4
    address. Some decode "%2e" first, and whatever else needs no encoding.
    """
    segments = found["path"].rstrip("/").split("/")[1:]
    if any(segment.partition(";")[0] in ("", ".", "..") for segment in segments):
        return False
    codes = _ENCODED.findall(found["path"])
    if any(chr(int(code, 16)) in _NEVER_ENCODED for code in codes) or len(host) > _LONGEST_HOST:
        return False
    if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) and not _is_address(host):
        return False
    read = parse_url(found[0])
    is_same_host = (read.host or "").strip("[]") == host
    return is_same_host and read.port == (int(found["port"]) if found["port"] else None)


def _is_host(host: str) -> bool:
    return _is_address(host) or all(map(_HOST_LABEL.fullmatch, host.split(".")))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
