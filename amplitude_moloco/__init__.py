"""Moloco Commerce Media as a destination of the Amplitude Python SDK.

The names below are the public interface. Everything else may change in any release.
"""

from amplitude_moloco.buffers.base import (
    Buffer,
    BufferState,
    Claim,
    DeadLetter,
    DeadLetters,
    Entry,
)
from amplitude_moloco.buffers.url import open_buffer
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import (
    Explanation,
    Outcome,
    SelectionReason,
    SyncExplanation,
)
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.convert.reads import ReadValue
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Degraded,
    Delivered,
    Dropped,
    Fact,
    Hook,
    Invalid,
    Lost,
    Paused,
    RepeatedId,
    Resumed,
    Retrying,
    SentTwice,
    ThrottledIdentifier,
    Trimmed,
    Unselected,
    Untold,
)
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.measures import AttemptOutcome, Distribution, Measurements
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.status import CircuitState, Status
from amplitude_moloco.errors import ConfigurationError, MolocoError
from amplitude_moloco.moloco.destination import MolocoDestination
from amplitude_moloco.moloco.ecommerce import ecommerce_syncs
from amplitude_moloco.moloco.identifiers import hash_identifier
from amplitude_moloco.moloco.settings import MolocoSettings
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, EventType, PersonalizationMode
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason
from amplitude_moloco.transports.base import (
    ConcurrentTransport,
    Endpoint,
    RequestLoop,
    SendResult,
    Transport,
)

__all__ = [
    "AttemptOutcome",
    "BreakerPolicy",
    "Buffer",
    "BufferState",
    "ChannelType",
    "CircuitState",
    "Claim",
    "ConcurrentTransport",
    "ConfigurationError",
    "Conversion",
    "DeadLetter",
    "DeadLetterReason",
    "DeadLettered",
    "DeadLetters",
    "Degraded",
    "Delivered",
    "Distribution",
    "DropReason",
    "Dropped",
    "Endpoint",
    "Entry",
    "EventType",
    "Explanation",
    "Fact",
    "Hook",
    "Invalid",
    "Lost",
    "Measurements",
    "MolocoDestination",
    "MolocoError",
    "MolocoSettings",
    "Outcome",
    "PauseReason",
    "Paused",
    "PersonalizationMode",
    "Problem",
    "ReadValue",
    "RepeatedId",
    "RequestLoop",
    "Resumed",
    "RetrySchedule",
    "Retrying",
    "SelectionReason",
    "SendResult",
    "SentTwice",
    "Stats",
    "Status",
    "Sync",
    "SyncExplanation",
    "ThrottledIdentifier",
    "Transport",
    "Trimmed",
    "Unselected",
    "Untold",
    "ecommerce_syncs",
    "hash_identifier",
    "open_buffer",
]
