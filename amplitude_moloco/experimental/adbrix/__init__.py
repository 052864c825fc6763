"""Adbrix (DFINERY) as a destination of the Amplitude Python SDK, by its S2S Event API.

Experimental, and unconfirmed: the API is documented, but not whether what it takes is attributed,
and posted back to Moloco. The names below may change, or go, in any release.
"""

from amplitude_moloco.experimental.adbrix.commerce import ABX_EVENTS, adbrix_commerce_events
from amplitude_moloco.experimental.adbrix.destination import AdbrixDestination
from amplitude_moloco.experimental.adbrix.event import AdbrixEvent
from amplitude_moloco.experimental.adbrix.settings import AdbrixSettings

__all__ = [
    "ABX_EVENTS",
    "AdbrixDestination",
    "AdbrixEvent",
    "AdbrixSettings",
    "adbrix_commerce_events",
]
