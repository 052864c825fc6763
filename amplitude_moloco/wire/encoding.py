"""The bytes of a request's body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from json import JSONEncoder, encoder
from typing import Any

_Encoder = Callable[[Any, int], Iterable[str]]


def encode(payload: Mapping[str, Any]) -> bytes:
    """The bytes of a request's body: JSON in UTF-8. The same payload gives the same bytes."""
    return "".join(_ENCODER(payload, 0)).encode()


def make_encoder(make_in_c: Any) -> _Encoder:
    """What a JSONEncoder makes anew for each text, which takes most of a microsecond, made once.

    ``make_in_c`` is what CPython makes it with. Where there is none, or one that wants something
    else, the JSONEncoder itself gives the same text.
    """
    # A payload can't hold itself, since everything in it was copied to a limited depth.
    json = JSONEncoder(
        ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    )
    try:
        made: _Encoder = make_in_c(
            None,  # does not look for what holds itself
            json.default,
            encoder.encode_basestring,
            json.indent,
            json.key_separator,
            json.item_separator,
            json.sort_keys,
            json.skipkeys,
            json.allow_nan,
        )
    except TypeError:
        return lambda payload, level: [json.encode(payload)]
    return made


_ENCODER = make_encoder(getattr(encoder, "c_make_encoder", None))
