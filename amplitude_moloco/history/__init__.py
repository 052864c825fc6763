"""What Amplitude already has: exported events, read as the events that live code would track.

The names below are public.
"""

from amplitude_moloco.history.export import ExportReader, read_export
from amplitude_moloco.history.filters import NEVER_SENT, LeftOutReason
from amplitude_moloco.history.place import ExportError, Place

__all__ = ["NEVER_SENT", "ExportError", "ExportReader", "LeftOutReason", "Place", "read_export"]
