"""The identifiers of a shopper: which values identify, and the rule that an event has one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.values import check_id_length, text
from amplitude_moloco.moloco.wire.vocabulary import NULL_LIKE

IdentifierReader = Callable[[object], str | None]
# Field of the chart, whether it belongs to the device, and its key in MCM's event.
_IDENTIFIERS = (
    ("user_id", False, "user_id"),
    ("device_persistent_id", True, "persistent_id"),
    ("custom_id", False, "custom_id"),
)


def identifier(value: object) -> str | None:
    """Returns identifying text of at most 128 characters; None if the value does not identify."""
    return check_id_length(_identifying_text(value))


def hashed_identifier(hash_identifier: Callable[[str], str], value: object) -> str | None:
    """Returns the hash of identifying text of any length; None if the value does not identify."""
    plain = _identifying_text(value)
    return None if plain is None else check_id_length(hash_identifier(plain))


def read_identifiers(
    problems: Problems,
    fields: Mapping[str, Any],
    reader: IdentifierReader,
    payload: dict[str, Any],
    device: dict[str, Any],
) -> None:
    """Adds the identifiers to ``payload`` and ``device``; at least one is required."""
    known_problems = len(problems)
    is_identified = is_given = False
    for field, in_device, key in _IDENTIFIERS:
        value = fields.get(field)
        if value is None:
            continue
        is_given = True
        identifying = problems.read(field, reader, value)
        if identifying is not None:
            is_identified = True
            (device if in_device else payload)[key] = identifying
    if not is_identified and len(problems) == known_problems:
        problems.add(
            "user_id",
            ProblemReason.NO_IDENTIFIER,
            "only placeholders (blank, null, undefined, invalid, nil)"
            if is_given
            else "no identifier",
            "use at least one of user_id, device_persistent_id (Amplitude's device_id) and "
            "custom_id, or the personalization_mode ID_LESS",
        )


def _identifying_text(value: object) -> str | None:
    plain = text(value)
    return None if plain is None or plain.strip().lower() in NULL_LIKE else plain
