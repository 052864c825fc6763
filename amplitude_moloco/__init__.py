"""Moloco Commerce Media as a destination of the Amplitude Python SDK."""

from amplitude_moloco.breaker import BreakerSettings
from amplitude_moloco.buffers import DeadLetter
from amplitude_moloco.conversion import Conversion
from amplitude_moloco.destination import MolocoDestination
from amplitude_moloco.ecommerce import ecommerce_syncs
from amplitude_moloco.errors import ConfigurationError, MolocoError
from amplitude_moloco.hooks import (
    Buried,
    Degraded,
    Delivered,
    Dropped,
    Fact,
    Paused,
    Rejected,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)
from amplitude_moloco.identifiers import hash_identifier
from amplitude_moloco.retry import RetrySchedule
from amplitude_moloco.stats import Stats
from amplitude_moloco.sync import Sync
from amplitude_moloco.wire import ChannelType, EventType, PersonalizationMode, Problem

__all__ = [
    "BreakerSettings",
    "Buried",
    "ChannelType",
    "ConfigurationError",
    "Conversion",
    "DeadLetter",
    "Degraded",
    "Delivered",
    "Dropped",
    "EventType",
    "Fact",
    "MolocoDestination",
    "MolocoError",
    "Paused",
    "PersonalizationMode",
    "Problem",
    "Rejected",
    "Resumed",
    "RetrySchedule",
    "Retrying",
    "Stats",
    "Sync",
    "ThrottledIdentifier",
    "ecommerce_syncs",
    "hash_identifier",
]
