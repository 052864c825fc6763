"""Adjust's address and request headers, checked before anything is sent."""

from __future__ import annotations

from amplitude_moloco.adjust.answers import error_message
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.partner.address import base_url_of, token_of
from amplitude_moloco.partner.answers import accepts
from amplitude_moloco.transports.base import Endpoint
from amplitude_moloco.transports.secret import Secret

BASE_URL = "https://s2s.adjust.com"
_NOTHING = "\0"  # in no header, and in no message


def endpoint(*, token: str | None, base_url: str | None) -> Endpoint:
    """Returns the endpoint for events. Raises one ConfigurationError with all that can't work.

    ``base_url`` replaces the host. Adjust documents no host of a region for this API.
    """
    checks = Checks()
    secret = checks.run(_token_of, token)
    base = checks.run(base_url_of, base_url, BASE_URL)
    checks.raise_errors()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    url = f"{base}/event"
    return Endpoint(url, headers, secret or _NOTHING, read_error=error_message, accepts=accepts)


def _token_of(token: str | None) -> Secret | None:
    use = "the app's S2S token, or None while Adjust does not check it"
    return None if token is None else token_of(token, use)
