from __future__ import annotations

import subprocess
import sys

import pytest

from amplitude_moloco import ConfigurationError
from amplitude_moloco.watch.address import address_of


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        (None, None),
        ("127.0.0.1:8766", ("127.0.0.1", 8766)),
        ("127.9.9.9:0", ("127.9.9.9", 0)),
        ("localhost:8766", ("127.0.0.1", 8766)),
        ("[::1]:8766", ("::1", 8766)),
    ],
)
def test_loopback(setting: str | None, address: tuple[str, int] | None) -> None:
    """A loopback address with a port is accepted; None leaves the page off."""
    assert address_of(setting) == address


@pytest.mark.parametrize(
    "setting",
    [
        "0.0.0.0:8766",
        "[::]:8766",
        "192.168.0.7:8766",
        "shop.example:8766",
        "localhost.evil.example:8766",
        "[1::2::3]:8766",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:\u0668\u0667",
        "http://127.0.0.1:8766",
        ":8766",
        "",
        8766,
        True,
    ],
)
def test_others_are_refused(setting: object) -> None:
    """Anything else is refused at construction, with an example of what to use."""
    with pytest.raises(ConfigurationError, match=r"^inspector: found .*'127\.0\.0\.1:8766'"):
        address_of(setting)  # type: ignore[arg-type]  # what the test is about


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_the_extra_is_missing(package: str) -> None:
    """Without its packages, one error at construction says what to install."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from amplitude_moloco import ConfigurationError, MolocoDestination, Sync\n"
        "home = Sync('HOME', 'Home')\n"
        "def make(**more):\n"
        "    return MolocoDestination('key', 'SHOP', home, platform_name='shop', **more)\n"
        "make()\n"
        "try:\n"
        "    make(inspector='127.0.0.1:0')\n"
        "except ConfigurationError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == (
        "inspector: needs Starlette and uvicorn; use pip install 'amplitude-moloco[sandbox]'\n"
    )
