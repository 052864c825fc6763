"""What a postback says to a partner, and the address that carries it. Pure.

A partner gets everything about what it drove. With full postbacks it also gets what other partners
drove, and organic activity, but never another partner's name, campaign or click id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from amplitude_moloco.sandbox.mmp.activity import Activity
from amplitude_moloco.sandbox.mmp.settings import Partner, Postbacks
from amplitude_moloco.sandbox.mmp.touch import Touch

PostbackKind = Literal["own", "other", "organic"]
"""Whether the partner drove the activity, another one did, or it is organic."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ONE_PLACEHOLDER = re.compile(r"\{\w+\}")
_TOLD_IDS = ("adid", "idfa", "gps_adid", "fire_adid", "oaid", "idfv", "android_id")
# By the link's parameter.
_NAMES = {
    "campaign": "campaign_name",
    "adgroup": "adgroup_name",
    "creative": "creative_name",
    "label": "label",
}
_NOT_FORWARDED = {*_NAMES, *_TOLD_IDS, "s2s", "rt", "redirect", "deep_link", "user_agent"}
NOT_SHARED = "the device opted out of sharing its data"


@dataclass(frozen=True)
class Message:
    """What a postback says, or why none is sent."""

    partner: str
    kind: PostbackKind
    fields: Mapping[str, str]
    """By placeholder; those without data are left out. Empty if none is sent."""
    silence: str = ""
    """Why none is sent. Empty if one is."""
    url: str = ""
    """The address with what was filled in. Empty if there is none."""
    callback: str = ""
    """The parameter of the link that asks for it. Empty if the partner's settings do."""


def message_of(partner: Partner, postbacks: Postbacks, activity: Activity) -> Message:
    """Returns the postback to a partner about an activity."""
    kind = _kind(partner, activity)
    if not activity.is_shared:
        return Message(partner.name, kind, {}, NOT_SHARED)
    if kind != "own" and not postbacks.full:
        whose = "organic" if kind == "organic" else "another partner's"
        return Message(partner.name, kind, {}, f"attributed only, and this is {whose}")
    linked = postbacks.events
    if activity.kind == "event" and linked is not None and activity.event_token not in linked:
        return Message(partner.name, kind, {}, "this event is not linked")
    fields = _fields(kind, postbacks, activity)
    return Message(partner.name, kind, fields, "", _address(postbacks.url, fields))


def filled(template: str, fields: Mapping[str, str]) -> str:
    """Returns an address with its placeholders filled in.

    A parameter that holds only a placeholder without data is left out.
    """
    if not _PLACEHOLDER.search(template):
        return template
    parts = urlsplit(template)
    query = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        text = _PLACEHOLDER.sub(lambda found: fields.get(found[1], ""), value)
        if text or not _ONE_PLACEHOLDER.fullmatch(value):
            query.append((name, text))
    path = _PLACEHOLDER.sub(lambda found: quote(fields.get(found[1], ""), safe=""), parts.path)
    return urlunsplit(parts._replace(path=path, query=urlencode(query)))


def _address(template: str | None, fields: Mapping[str, str]) -> str:
    """Returns where a postback goes. Without any placeholder, it gets all fields as parameters."""
    if template is None or _PLACEHOLDER.search(template):
        return filled(template or "", fields)
    return f"{template}{'&' if '?' in template else '?'}{urlencode(fields)}"


def own_fields(activity: Activity) -> dict[str, str]:
    """Returns all that the partner is told which drove an activity."""
    return _fields("own", Postbacks(), activity)


def touch_fields(touch: Touch) -> dict[str, str]:
    """Returns what is told of a click or a view."""
    found = {
        "activity_kind": "click" if touch.kind == "click" else "impression",
        "created_at": str(int(touch.at)),
        **{name: touch.ids[name] for name in _TOLD_IDS if name in touch.ids},
        **_of_touch(touch),
    }
    return {name: value for name, value in found.items() if value}


def _kind(partner: Partner, activity: Activity) -> PostbackKind:
    if activity.source.touch is None:
        return "organic"
    return "own" if activity.source.partner == partner.name else "other"


def _fields(kind: PostbackKind, postbacks: Postbacks, activity: Activity) -> dict[str, str]:
    found = {
        "activity_kind": activity.kind,
        "app_token": activity.parameters["app_token"],
        "event": activity.event_token,
        "event_name": (postbacks.events or {}).get(activity.event_token, activity.event_token),
        "created_at": str(int(activity.at)),
        "installed_at": str(int(activity.installed_at)),
        "is_organic": str(int(kind == "organic")),
        **{name: activity.ids[name] for name in _TOLD_IDS if name in activity.ids},
    }
    if kind == "organic":
        found["network_name"] = "Organic"
    if kind == "own":
        found = {**_own_fields(activity), **found}
    if postbacks.revenue:
        found |= {
            name: activity.parameters[name]
            for name in ("revenue", "currency")
            if name in activity.parameters
        }
    if postbacks.parameters and activity.partner_params:
        found["partner_parameters"] = json.dumps(activity.partner_params, ensure_ascii=False)
    return {name: value for name, value in found.items() if value}


def _own_fields(activity: Activity) -> dict[str, str]:
    """Returns what only the partner that drove the activity may know."""
    touch = activity.source.touch
    assert touch is not None  # noqa: S101  # the partner drove it
    return {**_of_touch(touch), "match_type": activity.source.match}


def _of_touch(touch: Touch) -> dict[str, str]:
    time_name = "click_time" if touch.kind == "click" else "impression_time"
    return {
        **{name: value for name, value in touch.parameters.items() if name not in _NOT_FORWARDED},
        "tracker": touch.link,
        "network_name": touch.partner,
        "reftag": touch.reftag,
        "impression_based": str(int(touch.kind == "view")),
        time_name: str(int(touch.at)),
        **{placeholder: touch.parameters.get(name, "") for name, placeholder in _NAMES.items()},
    }
