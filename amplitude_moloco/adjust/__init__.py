"""Adjust as a destination of the Amplitude Python SDK: in-app events, from server to server.

The names below are public, and experimental: they may change in any release.
"""

from amplitude_moloco.adjust.destination import AdjustDestination
from amplitude_moloco.adjust.event import AdjustEvent
from amplitude_moloco.adjust.settings import AdjustSettings

__all__ = ["AdjustDestination", "AdjustEvent", "AdjustSettings"]
