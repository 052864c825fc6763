"""Postbacks: what an MMP tells of an activity, by a URL of which it fills in the placeholders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")
_PLACEHOLDERS: Final = (
    "activity_kind event_name network_name campaign_name adgroup_name creative_name tracker "
    "is_organic match_type impression_based gps_adid idfa idfv adid created_at installed_at "
    "click_time impression_time partner_parameters"
).split()
_UNFILLED = re.compile(rf"\{{{_NAME.pattern}\}}")
_IDENTIFIERS = ("gps_adid", "idfa", "idfv", "android_id", "adid")


@dataclass(frozen=True)
class Postback:
    """What a postback says. Holds identifiers of a device: keep it out of logs."""

    values: Mapping[str, str]
    """All parameters that have a value."""

    @property
    def activity_kind(self) -> str:
        """``install``, ``event``, ``reattribution``, ``session`` and so on; empty if not told."""
        return self.values.get("activity_kind", "")

    @property
    def is_organic(self) -> bool:
        """Whether the activity is attributed to nothing."""
        is_named = self.values.get("network_name", "").lower() == "organic"
        return self.values.get("is_organic") == "1" or is_named

    @property
    def identifiers(self) -> dict[str, str]:
        """The device's identifiers, by name."""
        return {name: self.values[name] for name in _IDENTIFIERS if name in self.values}

    @property
    def partner_parameters(self) -> dict[str, Any]:
        """The partner parameters; empty where there are none, or no JSON object of them."""
        try:
            found = json.loads(self.values.get("partner_parameters", ""))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def postback_template(base_url: str, names: Mapping[str, str] | None = None) -> str:
    """Returns a URL with Adjust's placeholders, for a server of your own that receives postbacks.

    ``names`` has the placeholder for each parameter, without braces; by default the usual ones,
    under their own names. So it can have those of Adbrix instead: ``{"id": "a_key"}``.

    Raises:
        ConfigurationError: The URL is not https, or has a query, or a name is no placeholder.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"base_url: found {shown(base_url)}; use https, without a query")
    chosen = {name: name for name in _PLACEHOLDERS} if names is None else names
    for placeholder in chosen.values():
        if not _NAME.fullmatch(placeholder):
            raise ConfigurationError(
                f"names: found {shown(placeholder)}; use placeholders without braces, such as "
                f"'event_name'"
            )
    query = "&".join(f"{quote(name, safe='')}={{{value}}}" for name, value in chosen.items())
    return f"{base_url}?{query}"


def parse_postback(url: str) -> Postback:
    """Returns what a postback says, from its URL or its query.

    Placeholders that were not filled in, and empty values, count as absent. Of a name that is given
    twice the last value counts.
    """
    query = urlsplit(url).query if "?" in url else url
    found = dict(parse_qsl(query))
    values = {name: value for name, value in found.items() if not _UNFILLED.fullmatch(value)}
    return Postback(MappingProxyType(values))
