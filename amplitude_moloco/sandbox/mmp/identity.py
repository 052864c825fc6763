"""Identifiers of devices, as links and requests carry them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

ADVERTISING_IDS = ("idfa", "gps_adid", "fire_adid", "oaid")
MATCHING_IDS = (*ADVERTISING_IDS, "idfv", "android_id")
"""A touch with one of these belongs to the device that has the same."""
DEVICE_IDS = (
    "adid",
    *MATCHING_IDS,
    "android_id_lower_md5",
    "android_id_lower_sha1",
    "android_id_upper_md5",
    "android_id_upper_sha1",
    "web_uuid",
    "external_device_id",
    "imei",
    "imei_lower_md5",
    "meid",
    "win_naid",
    "win_hwid",
)
"""What names a device in a request. Where they disagree, the first one decides."""
_NOTHING = re.compile(r"[0-]*")
_MACRO = re.compile(r"\{\{.*\}\}|%\{.*\}|\{\w+\}", re.DOTALL)


def is_macro(value: str) -> bool:
    """Returns True for a macro of an ad network that was not filled in: ``{{device.gaid}}``."""
    return _MACRO.search(value) is not None


def identifiers(parameters: Mapping[str, str]) -> dict[str, str]:
    """Returns the identifiers among the parameters, in lower case.

    Macros that were not filled in and values of zeros alone, which stand for an opt-out, are left
    out.
    """
    found = {}
    for name in DEVICE_IDS:
        value = parameters.get(name, "").strip().casefold()
        if not _NOTHING.fullmatch(value) and not is_macro(value):
            found[name] = value
    return found
