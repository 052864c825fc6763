"""Callbacks: postbacks that a tracking link asks for by its own parameters. Pure.

===========================================  =====================================================
parameter of the link                        called for
===========================================  =====================================================
``click_callback``, ``impression_callback``  the click or the view itself
``install_callback``                         an install that the link has driven
``reattribution_callback``                   a reattribution that it has driven
``conversion_callback``                      both of these
``session_callback``                         later sessions of such a device
``event_callback_abc123``                    its events with this token; several are ``_abc_def``
===========================================  =====================================================

The value is an address with placeholders, percent-encoded. Whoever has a link learns in this way of
what the link itself has driven, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from amplitude_moloco.sandbox.mmp.activity import Activity
from amplitude_moloco.sandbox.mmp.address import may_get_postbacks
from amplitude_moloco.sandbox.mmp.postback import (
    NOT_SHARED,
    Message,
    filled,
    own_fields,
    touch_fields,
)
from amplitude_moloco.sandbox.mmp.touch import EVENT_CALLBACK, Touch

_PARAMETERS = {
    "install": ("install_callback", "conversion_callback"),
    "reattribution": ("reattribution_callback", "conversion_callback"),
    "session": ("session_callback",),
    "click": ("click_callback",),
    "view": ("impression_callback",),
}


def callbacks_of(activity: Activity) -> list[Message]:
    """Returns what the link is told that has driven an activity, or why it is not."""
    touch = activity.source.touch
    if touch is None:
        return []
    fields = own_fields(activity)
    names = [name for name in touch.callbacks if _is_for(name, activity)]
    if not activity.is_shared:
        return [Message(touch.partner, "own", {}, NOT_SHARED, callback=name) for name in names]
    return [_message(touch, name, fields) for name in names]


def callbacks_of_touch(touch: Touch) -> list[Message]:
    """Returns what a link is told of the click or the view itself."""
    names = [name for name in touch.callbacks if name in _PARAMETERS[touch.kind]]
    return [_message(touch, name, touch_fields(touch)) for name in names]


def _is_for(name: str, activity: Activity) -> bool:
    if activity.kind != "event":
        return name in _PARAMETERS[activity.kind]
    tokens = name.removeprefix(EVENT_CALLBACK)
    return tokens != name and activity.event_token in tokens.split("_")


def _message(touch: Touch, name: str, fields: Mapping[str, str]) -> Message:
    address = touch.callbacks[name]
    if not may_get_postbacks(address):
        return Message(touch.partner, "own", {}, "its address is not https", callback=name)
    return Message(touch.partner, "own", fields, "", filled(address, fields), name)
