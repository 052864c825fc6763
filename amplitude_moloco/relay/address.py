"""Where the pages of the service are served."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

OFF = "off"
_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<ipv4>[\d.]+)):(?P<port>\d{1,5})", re.ASCII
)


class Address(NamedTuple):
    """An address of this machine and a port. Port 0 stands for any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ip_address(self.host).is_loopback

    def url(self, port: int) -> str:
        """Returns the URL of a server there, that has got this port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"


def address_of(text: str) -> Address | None:
    """Returns what ``--listen`` names; None for ``off``. Raises ConfigurationError."""
    if text == OFF:
        return None
    found = _ADDRESS.fullmatch(text.replace("localhost:", "127.0.0.1:"))
    try:
        if found is None or int(found["port"]) > 65535:
            raise ValueError(text)
        return Address(str(ip_address(found["ipv6"] or found["ipv4"])), int(found["port"]))
    except ValueError:
        raise ConfigurationError(
            f"--listen: found {shown(text)}; use an address with a port, such as 127.0.0.1:8767, "
            f"or 'off'"
        ) from None
