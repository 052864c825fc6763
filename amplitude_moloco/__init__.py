"""Moloco Commerce Media as a destination of the Amplitude Python SDK."""

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.breaker import BreakerSettings
from amplitude_moloco.engine.facts import (
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
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError, MolocoError
from amplitude_moloco.moloco.converter import Conversion
from amplitude_moloco.moloco.destination import MolocoDestination
from amplitude_moloco.moloco.ecommerce import ecommerce_syncs
from amplitude_moloco.moloco.identifiers import hash_identifier
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire.event import ChannelType, EventType, PersonalizationMode

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
