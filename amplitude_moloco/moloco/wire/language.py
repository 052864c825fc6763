"""The language of a device as ISO 639-1 writes it: two letters."""

from __future__ import annotations

import re
from functools import lru_cache

_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_.@].*)?")


@lru_cache(maxsize=1024)
def iso_639_1(text: str) -> str | None:
    """Returns ``en`` for ``English``, ``en-US``, ``en_GB`` and ``eng``; None for unknown languages.

    Results are cached: converting an event costs one dictionary lookup.
    """
    # Imported here because loading the ISO tables takes longer than importing the rest of the
    # package. A destination calls this once at construction, so that no event waits for it.
    from iso639 import Lang
    from iso639.exceptions import DeprecatedLanguageValue, InvalidLanguageValue

    text = text.strip()
    code = _CODE.fullmatch(text)
    candidates = (code[1].lower(),) if code else (text.capitalize(), text.title(), text)
    for candidate in candidates:
        try:
            return Lang(candidate).pt1 or None
        except DeprecatedLanguageValue as deprecated:
            return iso_639_1(deprecated.change_to) if deprecated.change_to else None
        except InvalidLanguageValue:
            continue
    return None
