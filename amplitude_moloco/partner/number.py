"""Numbers in the events of an app."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation


def finite_decimal(value: object) -> Decimal | None:
    """Returns a finite number, or text that holds one, as it is written; None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        found = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):  # Python writes no whole number of over 4,300 digits
        return None
    return found if found.is_finite() else None
