"""The endpoint that tests of transports post to."""

from __future__ import annotations

from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.transports.base import Endpoint

KEY = "the-secret-key-0123456789"


def endpoint_at(url: str, *, platform_id: str = "MY_SHOP") -> Endpoint:
    """Return the endpoint of a platform on a test server."""
    return endpoint(api_key=KEY, platform_id=platform_id, platform_name=None, base_url=url)
