"""The setting ``inspector``: where the live page listens."""

from __future__ import annotations

import re
from importlib.util import find_spec
from ipaddress import ip_address
from typing import NamedTuple

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:]+)\]|(?P<host>[\w.]+)):(?P<port>\d{1,5})", re.ASCII
)
_PACKAGES = ("starlette", "uvicorn")


class Address(NamedTuple):
    """A loopback address and a port. Port 0 stands for any free one."""

    host: str
    port: int


def address_of(inspector: str | None) -> Address | None:
    """Returns where the live page listens; None if it is off. Raises ConfigurationError.

    Only a loopback address is allowed, since the page shows what shoppers do.
    """
    if inspector is None:
        return None
    found = _ADDRESS.fullmatch(inspector) if isinstance(inspector, str) else None
    if not found or int(found["port"]) > 65535 or not _is_loopback(found["ipv6"] or found["host"]):
        what = shown(inspector) if isinstance(inspector, str) else type(inspector).__name__
        raise ConfigurationError(
            f"inspector: found {what}; use a loopback address with a port, such as '127.0.0.1:8766'"
        )
    if None in map(find_spec, _PACKAGES):
        raise ConfigurationError(
            "inspector: needs Starlette and uvicorn; use pip install 'amplitude-moloco[sandbox]'"
        )
    host = found["ipv6"] or found["host"]
    return Address("127.0.0.1" if host == "localhost" else host, int(found["port"]))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
