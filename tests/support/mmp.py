"""An MMP whose clock stands still, and requests for it."""

from __future__ import annotations

from typing import Any

from amplitude_moloco.sandbox.mmp.clock import VirtualClock
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.settings import MmpSettings

NOW = 1_800_000_000
APP_TOKEN = "abcdefghijkl"
GAID = "cdb11111-2222-3333-4444-555566667777"


def make_mmp(**settings: Any) -> Mmp:
    """Returns an MMP whose clock stands still until it is moved."""
    return Mmp(MmpSettings(**settings), VirtualClock(lambda: float(NOW)))


def form(created_at: int | None = None, **more: str | None) -> dict[str, str]:
    """Returns a valid form of an event, with other parameters. None leaves one out."""
    usual = {
        "s2s": "1",
        "app_token": APP_TOKEN,
        "event_token": "abc123",
        "gps_adid": GAID,
        "environment": "sandbox",
        "created_at_unix": str(NOW if created_at is None else created_at),
    }
    return {name: value for name, value in {**usual, **more}.items() if value is not None}
