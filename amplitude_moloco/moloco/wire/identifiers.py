"""The identifiers of a shopper: which values identify, and the rule that an event has one. Pure."""

from __future__ import annotations

import re
import string
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
# How some printed nothing, or a template that was not filled in, may begin or end. Other ids, and
# so nearly all, are not looked at closely. Nothing is left of an id that can't be seen.
SUSPICIOUS_SIGNS = frozenset(["", "\0", *string.punctuation])
SUSPICIOUS_STARTS = tuple("none null undefined nan nil b' urn:uuid: 00 0: 0. 0- 0x".split())
_SUSPICIOUS_ENDS = tuple(
    """undefined null none nothing nil nan anonymous guest unknown
    ) ] } > = : % %s %d )s ' \"""".split()
)
LAST_OF_ENDS = frozenset(each[-1] for each in _SUSPICIOUS_ENDS)
_LONGEST = 500  # characters: nothing that stands for no shopper is as long
_AROUND = f"{string.punctuation} \0"
_BETWEEN = re.compile(r"[\"' ]*[-_:|,;/@+.=&]+[\"' ]*")
_NOTHING = r"(?:none|null|undefined|nothing|nan|nil|<na>|<nil>|<null>)"
_PLACEHOLDER = re.compile(
    # what JavaScript joins with a variable without a value; an assignment; an address
    rf".*[-_:|=/. ]undefined|[\w.\-\"' ]*=[\"' ]*{_NOTHING}|{_NOTHING}@{_NOTHING}(?:\.\w+)*"
    # several words in a row; one in brackets, as the text of an object that holds nothing
    r"|\W*(?:b')?(?:(?:none|null|undefined)[\W_]*)+"
    rf"|.*[(\[{{][\"' ]*{_NOTHING}[\"' ]*[)\]}}]"
    # objects, empty ones too, as Python, PHP, Ruby, Perl, JavaScript and Go print them
    r"|#?<.*\b0x[0-9a-f]+.*>|\w+\(0x[0-9a-f]+\)|[a-z_.]+\((?:0|\[\].*)?\)"
    r"|.*\[object \w+\]|%!\w\(.*\)"
    # templates
    r"|.*[$#@]?\{+[a-z_.$ ?!\[\]'\"]*\}+|.*[$#@{]\{[^{}]*\}+|.*\$\([a-z_. ]+\)|\{[0-9]?\}|\{%.*%\}"
    r"|.*%[sd]|.*%\([a-z_]+\)s|.*%[a-z_]+%|.*<%=?[^%]*%>|[$@](?:[a-z_]*_)?u?id",
    re.DOTALL,
)
_UNNAMED = frozenset(
    """null undefined nil none nan nothing n/a nat void empty missing unset anonymous anon guest
    unknown visitor unidentified unregistered unauthenticated""".split()
)
"""What stands for no shopper also behind the name of a field: ``uid:guest``."""
_NAMES = frozenset(
    """id ids uid uuid guid key user users usr userid customer cust customerid client clientid
    account acct member memberid shopper buyer profile person contact visitor visitorid subscriber
    device deviceid session sid anonymousid distinct external persistent custom name email u
    c""".split()
)


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
        (
            word[:1] in SUSPICIOUS_SIGNS
            or word.startswith(SUSPICIOUS_STARTS)
            or (word[-1] in LAST_OF_ENDS and word.endswith(_SUSPICIOUS_ENDS))
        )
        and _is_placeholder(word, absent)
    ):
        return None
    return plain


def _visible(word: str) -> str:
    """Returns a text in its plainest form, without what can't be seen, each sign as a dash."""
    plain = unicodedata.normalize("NFKC", word[: _LONGEST + 1])
    kinds = ((each, unicodedata.category(each)) for each in plain)
    return "".join(
        "-" if kind[0] == "P" and not each.isascii() else each
        for each, kind in kinds
        if kind != "Cf"
    ).strip()


def _is_placeholder(word: str, absent: Collection[str]) -> bool:
    """Whether a text in lowercase is zeros, signs, absent words, or an unfilled template."""
    if len(word) > _LONGEST:
        return False
    core = word.strip(_AROUND)
    if not core or core in absent or _ZEROS.fullmatch(word) or _PLACEHOLDER.fullmatch(word):
        return True
    if core in _NAMES:
        return word[-1] != core[-1]  # ##id##, or a name without a value: uid=
    parts = _BETWEEN.split(core)
    return all(part in absent for part in parts) or (
        parts[-1] in _UNNAMED and all(part in _NAMES or part in _UNNAMED for part in parts)
    )
