"""Where the pages are served."""

from __future__ import annotations

import pytest

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.relay.address import address_of


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:8767", "127.0.0.1", 8767, True),
        ("localhost:0", "127.0.0.1", 0, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("10.1.2.3:65535", "10.1.2.3", 65535, False),
        ("[::1]:8767", "::1", 8767, True),
        ("[::]:8767", "::", 8767, False),
    ],
)
def test_an_address_and_a_port(text: str, host: str, port: int, *, is_loopback: bool) -> None:
    """An address of this machine and a port are understood; others than loopback are explicit."""
    address = address_of(text)
    assert address == (host, port)
    assert address is not None
    assert address.is_loopback is is_loopback


def test_a_url_has_brackets_where_it_needs_them() -> None:
    """The URL of a server has the port that it has got."""
    four, six = address_of("127.0.0.1:0"), address_of("[::1]:0")
    assert four is not None
    assert six is not None
    assert four.url(80) == "http://127.0.0.1:80"
    assert six.url(80) == "http://[::1]:80"


def test_it_can_be_off() -> None:
    """The word off stands for no pages."""
    assert address_of("off") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8767",
        "127.0.0.1",
        "127.0.0.1:65536",
        "1.2.3:80",
        "999.1.1.1:80",
        "host:80",
        "[x]:80",
        "::1:80",
        "127.0.0.1:80\n",
        "٣.1.1.1:80",
        "[1.2.3.4]:x",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """What names no address and port is refused with an example."""
    with pytest.raises(ConfigurationError) as caught:
        address_of(text)
    (error,) = caught.value.errors
    assert error.startswith("--listen: found ")
    assert error.endswith("; use an address with a port, such as 127.0.0.1:8767, or 'off'")
