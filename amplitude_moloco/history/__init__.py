"""What Amplitude already has: exported events, read as the events that live code would track.

The names below are public.
"""

from amplitude_moloco.history.backfill import Backfill, Progress, Result
from amplitude_moloco.history.export import ExportReader, read_export
from amplitude_moloco.history.filters import NEVER_SENT, LeftOutReason
from amplitude_moloco.history.outcome import Refusal
from amplitude_moloco.history.place import ExportError, Place
from amplitude_moloco.history.plan import Plan

__all__ = [
    "NEVER_SENT",
    "Backfill",
    "ExportError",
    "ExportReader",
    "LeftOutReason",
    "Place",
    "Plan",
    "Progress",
    "Refusal",
    "Result",
    "read_export",
]
