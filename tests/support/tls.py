"""The certificate of a test server, from an authority of the tests."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple


class Tls(NamedTuple):
    """A server's certificate, and the CA bundle that makes a client trust it."""

    context: ssl.SSLContext
    http_2: ssl.SSLContext
    """Offers HTTP/2 before HTTP/1.1."""
    ca_bundle: Path
