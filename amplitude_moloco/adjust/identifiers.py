"""A device's identifiers, in the formats that Adjust wants.

==================  ==============================================================
name                format
==================  ==============================================================
idfa, idfv          UUID in upper case
gps_adid            UUID in lower case
fire_adid, oaid,    as it is
web_uuid
android_id          lower case, without hyphens
adid                Adjust's own id: 32 hexadecimal digits. Advised for iOS, and
                    beside another one
external_device_id  as it is; for PCs, consoles and television alone
others              as they are: hashed android_ids, imei, meid, Windows' ids
==================  ==============================================================

Devices that opted out of tracking report all zeros: treated as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

IDENTIFIERS = (
    *("idfa", "gps_adid", "fire_adid", "oaid", "web_uuid", "idfv", "android_id", "adid"),
    *("android_id_lower_md5", "android_id_lower_sha1"),
    *("android_id_upper_md5", "android_id_upper_sha1"),
    *("external_device_id", "imei", "imei_lower_md5", "meid", "win_naid", "win_hwid"),
)
"""The best one first: this order is fixed, since the order of events depends on it."""
_HEX = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_ANDROID_ID = re.compile(r"[0-9a-f]{1,32}", re.IGNORECASE)
_ZEROS = re.compile(r"[0-]*")


def identifiers_of(
    event: Mapping[str, Any], more: Mapping[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """Returns a device's identifiers by Adjust's names, and the names of those in a wrong format.

    Amplitude's ``adid`` is the advertising id of Google's devices, or of Amazon's. ``more`` has
    values by Adjust's names, and goes before the event's own.
    """
    advertising = "fire_adid" if _is_amazons(event) else "gps_adid"
    found = {
        "idfa": event.get("idfa"),
        advertising: event.get("adid"),
        "idfv": event.get("idfv"),
        "android_id": event.get("android_id"),
        **{name: value for name, value in more.items() if value is not None},
    }
    sound: dict[str, str] = {}
    wrong = []
    for name in IDENTIFIERS:
        value = found.get(name)
        if value is None or (isinstance(value, str) and _ZEROS.fullmatch(value.strip())):
            continue
        text = _FORMATS.get(name, _as_is)(value.strip()) if isinstance(value, str) else None
        if text is None:
            wrong.append(name)
        else:
            sound[name] = text
    return sound, wrong


def _is_amazons(event: Mapping[str, Any]) -> bool:
    texts = (event.get(name) for name in ("device_brand", "device_manufacturer", "os_name"))
    return any(
        isinstance(text, str) and text.strip().lower().startswith(("amazon", "fire"))
        for text in texts
    )


def _uuid(value: str) -> str | None:
    digits = value.replace("-", "")
    if not _HEX.fullmatch(digits):
        return None
    return "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])


def _upper_uuid(value: str) -> str | None:
    found = _uuid(value)
    return found and found.upper()


def _lower_uuid(value: str) -> str | None:
    found = _uuid(value)
    return found and found.lower()


def _android_id(value: str) -> str | None:
    digits = value.replace("-", "").lower()
    return digits if _ANDROID_ID.fullmatch(digits) else None


def _adid(value: str) -> str | None:
    return value.lower() if _HEX.fullmatch(value) else None


def _as_is(value: str) -> str | None:
    return value


_FORMATS: dict[str, Callable[[str], str | None]] = {
    "idfa": _upper_uuid,
    "idfv": _upper_uuid,
    "gps_adid": _lower_uuid,
    "android_id": _android_id,
    "adid": _adid,
}
