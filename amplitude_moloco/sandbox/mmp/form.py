"""The checks of a request's parameters that need nothing but the settings. Pure.

The messages are Adjust's documented ones. ``OWN_WORDS`` has those for faults that the documentation
names without a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hmac import compare_digest
from ipaddress import IPv4Address

from amplitude_moloco.sandbox.mmp.identity import identifiers
from amplitude_moloco.sandbox.mmp.refusal import Refused
from amplitude_moloco.sandbox.mmp.settings import MmpSettings

OWN_WORDS = {
    "s2s": "s2s must be 1",
    "environment": "environment must be sandbox or production",
    "ip_address": "ip_address must be an IPv4 address",
    "created_at_unix": "created_at_unix must be whole seconds",
    "tracking": "att_status and tracking_enabled must not be sent together",
    "device": "no device identifier",
    "partner_params": "Invalid partner parameters",
    "session": "sessions must be at least 20 minutes apart",
}
TOKEN_WARNINGS = ("missing authentication token", "wrong authentication token")
"""With one of these, a request is accepted with a 202."""
_APP_TOKEN = re.compile(r"[0-9A-Za-z]{12}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,20})?")
_LEAST, _MOST = Decimal("0.001"), Decimal(100_000_000_000)


@dataclass(frozen=True)
class Form:
    """What an acceptable request says."""

    parameters: Mapping[str, str]
    ids: dict[str, str]
    app_token: str
    created_at: float
    warnings: tuple[str, ...]
    """What the MMP accepts, although it is not as documented."""


def form_of(
    parameters: Mapping[str, str],
    authorization: str | None,
    settings: MmpSettings,
    *,
    scope: str,
    now: float,
) -> Form:
    """Returns what a request says. Raises Refused for what every request must have.

    ``scope`` is ``events`` or ``sessions``; ``now`` is the time of a request that names none.
    """
    app_token = _app_token(parameters.get("app_token", ""), settings)
    warnings = list(_token_warnings(authorization, settings, scope))
    _check_words(parameters)
    ids = identifiers(parameters)
    if not ids:
        raise Refused(400, OWN_WORDS["device"])
    seconds = parameters.get("created_at_unix")
    if seconds is not None and not _SECONDS.fullmatch(seconds):
        raise Refused(400, OWN_WORDS["created_at_unix"])
    if "environment" not in parameters:
        warnings.append("without environment, it counts as production")
    if "revenue" in parameters and "currency" not in parameters:
        warnings.append("revenue without a currency")
    return Form(
        parameters, ids, app_token, now if seconds is None else float(seconds), tuple(warnings)
    )


def partner_params(parameters: Mapping[str, str]) -> dict[str, str]:
    """Returns ``partner_params``. Raises Refused for an event with an invalid value."""
    _flat(parameters, "callback_params", "Invalid callback parameters")
    found = _flat(parameters, "partner_params", OWN_WORDS["partner_params"])
    if "revenue" in parameters:
        amount = parameters["revenue"]
        if not _AMOUNT.fullmatch(amount) or not _LEAST <= Decimal(amount) <= _MOST:
            raise Refused(400, "Invalid revenue")
    return found


def _app_token(app_token: str, settings: MmpSettings) -> str:
    if not _APP_TOKEN.fullmatch(app_token):
        raise Refused(400, "Invalid app token")
    if settings.app_token not in (None, app_token):
        raise Refused(404, "App token not found")
    if not settings.is_active:
        raise Refused(403, "App is inactive")
    if not settings.is_tracking:
        raise Refused(403, "Tracking disabled")
    return app_token


def _token_warnings(
    authorization: str | None, settings: MmpSettings, scope: str
) -> tuple[str, ...]:
    """Returns a warning if the token is not right, but need not be."""
    if settings.s2s_token is None:
        return ()
    missing, wrong = TOKEN_WARNINGS
    if authorization is None:
        warning, refusal = missing, missing
    elif not compare_digest(
        authorization.encode(errors="replace"), f"Bearer {settings.s2s_token}".encode()
    ):
        warning, refusal = wrong, "Failed to authorize request"
    elif scope not in settings.token_scopes:
        warning, refusal = wrong, "Session failed"
    else:
        return ()
    if settings.enforce_s2s_token:
        raise Refused(401, refusal)
    return (warning,)


def _check_words(parameters: Mapping[str, str]) -> None:
    if parameters.get("s2s") != "1":
        raise Refused(400, OWN_WORDS["s2s"])
    if parameters.get("environment", "production") not in ("sandbox", "production"):
        raise Refused(400, OWN_WORDS["environment"])
    if "att_status" in parameters and "tracking_enabled" in parameters:
        raise Refused(400, OWN_WORDS["tracking"])
    try:
        IPv4Address(parameters.get("ip_address", "192.0.2.1"))
    except ValueError:
        raise Refused(400, OWN_WORDS["ip_address"]) from None


def _flat(parameters: Mapping[str, str], name: str, message: str) -> dict[str, str]:
    """Returns the object of texts that a parameter holds as JSON."""
    try:
        found = json.loads(parameters.get(name, "{}"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise Refused(400, message)
    return found
