"""The identifiers of a shopper: which values identify, and the rule that an event has one. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import Any

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.values import check_id_length, text
from amplitude_moloco.moloco.wire.vocabulary import ABSENT_IDENTIFIERS, MAX_ID_CHARACTERS

IdentifierReader = Callable[[object], str | None]
# Field of the chart, whether it belongs to the device, and its key in MCM's event.
IDENTIFIERS = (
    ("user_id", False, "user_id"),
    ("device_persistent_id", True, "persistent_id"),
    ("custom_id", False, "custom_id"),
)
# Devices that know no id of their own report zeros: as digits, in hexadecimal, as a UUID or a MAC.
_ZEROS = re.compile(r"(urn:uuid:)?[{(]?(0x)?0[0:.\-]+[)}]?|0x0")
# What some printed nothing, or a template that was not filled in, may begin with. Ids that begin
# otherwise, and so nearly all, are not looked at closely.
_SUSPICIOUS = (
    *("0", "urn:uuid:", "none", "null", "undefined", "nan", "nil", "b'"),
    *"{([<\"'`_-.?*#$%/~+=:&@\0",
)
_SUSPICIOUS_ENDS = ("undefined", "null", "none")
_LONGEST = 500  # characters: nothing that stands for no shopper is as long
_AROUND = "{([<>])}\"'`_-.?*#/~+=: \0"
_BETWEEN = re.compile(r"[-_:|,;/@+.]+")
_REPEATED = re.compile(r"(b')?((none|null|undefined)[\W_]*)+")
_TEMPLATE = re.compile(
    r"[$#]?\{+[a-z_.$ ]*\}+|\{\{.*\}\}|\{[0-9]?\}|%[sd]|%\([a-z_]+\)s|%[a-z_]+%|<%=?[^%]*%>"
    r"|[$@][a-z_]*id|\[object \w+\]",
    re.DOTALL,
)
_UNDEFINED = re.compile(r".*[-_:|=/. ]undefined", re.DOTALL)
"""Text that JavaScript has joined with a variable that had no value."""


def identifier(value: object, absent: Collection[str] = ABSENT_IDENTIFIERS) -> str | None:
    """Returns identifying text of at most 128 characters; None if the value does not identify.

    ``absent`` are the texts, in lowercase, that count as no identifier.
    """
    plain = _identifying_text(value, absent)
    return plain if plain is None or len(plain) <= MAX_ID_CHARACTERS else check_id_length(plain)


def hashed_identifier(
    hash_identifier: Callable[[str], str],
    value: object,
    absent: Collection[str] = ABSENT_IDENTIFIERS,
) -> str | None:
    """Returns the hash of identifying text of any length; None if the value does not identify."""
    plain = _identifying_text(value, absent)
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
    for field, in_device, key in IDENTIFIERS:
        value = fields.get(field)
        if value is None:
            continue
        is_given = True
        if in_device and is_unknown_device(value):
            continue
        identifying = problems.read(field, reader, value)
        if identifying is not None:
            is_identified = True
            (device if in_device else payload)[key] = identifying
    if not is_identified and len(problems) == known_problems:
        problems.add(
            "user_id",
            ProblemReason.NO_IDENTIFIER,
            "only placeholders (blank, null, None, nan, anonymous, zeros, …)"
            if is_given
            else "no identifier",
            "use at least one of user_id, device_persistent_id (Amplitude's device_id) and "
            "custom_id, or the personalization_mode ID_LESS",
        )


def is_unknown_device(value: object) -> bool:
    """Whether a device reports that it has no id. A user may have the number 0."""
    return type(value) in (str, int) and value in (0, "0")


def _identifying_text(value: object, absent: Collection[str]) -> str | None:
    plain = text(value)
    if plain is None:
        return None
    word = plain.strip().lower()
    if not word.isascii():
        word = _visible(word)
    if word in absent or (
        (word.startswith(_SUSPICIOUS) or word.endswith(_SUSPICIOUS_ENDS))
        and _is_placeholder(word, absent)
    ):
        return None
    return plain


def _visible(word: str) -> str:
    """Returns a text in its plainest form, without what can't be seen."""
    plain = unicodedata.normalize("NFKC", word[: _LONGEST + 1])
    return "".join(each for each in plain if unicodedata.category(each) != "Cf").strip()


def _is_placeholder(word: str, absent: Collection[str]) -> bool:
    """Whether a text in lowercase is zeros, absent words, or an unfilled template."""
    if len(word) > _LONGEST:
        return False
    core = word.strip(_AROUND)
    return bool(
        (not core and len(word) > 1)
        or core in absent
        or _UNDEFINED.fullmatch(word)
        or _ZEROS.fullmatch(word)
        or _REPEATED.fullmatch(word.lstrip(_AROUND))
        or _TEMPLATE.fullmatch(word)
        or all(part in absent for part in _BETWEEN.split(core))
    )
