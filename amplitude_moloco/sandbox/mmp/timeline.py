"""What the page shows: the devices, and the road of one of them. Pure, but for reading the MMP."""

from __future__ import annotations

from collections import Counter
from typing import Any

from amplitude_moloco.sandbox.mmp.activity import Activity, Refusal
from amplitude_moloco.sandbox.mmp.callback import callbacks_of_touch
from amplitude_moloco.sandbox.mmp.decision import Decision
from amplitude_moloco.sandbox.mmp.delivery import Postback
from amplitude_moloco.sandbox.mmp.device import Device
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.postback import Message
from amplitude_moloco.sandbox.mmp.touch import Touch
from amplitude_moloco.sandbox.mmp.waterfall import Visit, ways_of

_MOST_DEVICES = 200
_MOST_STEPS = 500
_MOST_STRANGERS = 100
Step = dict[str, Any]


def state_of(mmp: Mmp, version: str) -> dict[str, Any]:
    """Returns the clock and the devices, as JSON; without these if they are of this version."""
    current = f"{mmp.measurement.last_number}.{mmp.courier.changes}"
    state = {"version": current, "ahead_seconds": mmp.clock.ahead_seconds, "now": mmp.clock.now()}
    if current == version:
        return state
    activities, devices = mmp.activities, mmp.devices
    events = Counter(each.device for each in activities if each.kind == "event")
    refused = Counter(each.device for each in mmp.refusals)
    shown = sorted(devices, key=lambda device: device.active_at, reverse=True)[:_MOST_DEVICES]
    return {
        **state,
        "devices": [
            {
                "key": device.key,
                "ids": device.ids,
                "installed_at": device.installed_at,
                "active_at": device.active_at,
                "source": _source(device.sources[-1]),
                "events": events[device.key],
                "refused": refused[device.key],
            }
            for device in shown
        ],
        "device_count": len(devices),
        "strangers": len(_strange_steps(mmp)),
        "links": {link: each.name for each in mmp.settings.partners for link in each.links},
        "answers": dict(mmp.answers.most_common()),
    }


def road_of(mmp: Mmp, key: str) -> dict[str, Any] | None:
    """Returns what happened to a device, oldest first, as JSON. None if it is not known.

    An empty key stands for what belongs to no device: touches, and refused requests.
    """
    if not key:
        return {"key": "", "ids": {}, "steps": _in_order(_strange_steps(mmp))}
    device = next((each for each in mmp.devices if each.key == key), None)
    if device is None:
        return None
    postbacks = _postbacks_of(mmp)
    steps = [
        _touch_step(each, postbacks.get(each.number, []))
        for each in mmp.touches
        if _is_of(device, each)
    ]
    steps += [
        _activity_step(mmp, each, postbacks.get(each.number, []))
        for each in mmp.activities
        if each.device == key
    ]
    steps += [_refusal_step(each) for each in mmp.refusals if each.device == key]
    return {"key": key, "ids": device.ids, "steps": _in_order(steps)}


def _postbacks_of(mmp: Mmp) -> dict[int, list[Postback]]:
    """Returns what was sent or kept, by the number of what it is about."""
    found: dict[int, list[Postback]] = {}
    for postback in mmp.postbacks:
        found.setdefault(postback.activity, []).append(postback)
    return found


def _in_order(steps: list[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: (step["at"], step["number"]))[-_MOST_STEPS:]


def _strange_steps(mmp: Mmp) -> list[Step]:
    devices, postbacks = mmp.devices, _postbacks_of(mmp)
    touches = [
        _touch_step(touch, postbacks.get(touch.number, []))
        for touch in mmp.touches[-_MOST_STRANGERS:]
        if not any(_is_of(device, touch) for device in devices)
    ]
    refusals = [_refusal_step(each) for each in mmp.refusals if not each.device]
    return touches + refusals[-_MOST_STRANGERS:]


def _is_of(device: Device, touch: Touch) -> bool:
    """Whether a touch matches a device, or one of the places where it had a session."""
    if any(source.touch is touch for source in device.sources):
        return True  # it may have matched by the referrer alone
    return any(
        ways_of(touch, Visit(0, device.ids, ip_address, user_agent))
        for ip_address, user_agent in device.places
    )


def _touch_step(touch: Touch, postbacks: list[Postback]) -> Step:
    return {
        "number": touch.number,
        "at": touch.at,
        "kind": touch.kind,
        "title": f"{touch.kind} {touch.number}: {touch.partner}",
        "notes": [f"link {touch.link}", *(f"not filled in: {name}" for name in touch.unfilled)],
        "parameters": {**touch.parameters, **touch.callbacks},
        "postbacks": _postbacks(callbacks_of_touch(touch), postbacks),
    }


def _activity_step(mmp: Mmp, activity: Activity, postbacks: list[Postback]) -> Step:
    return {
        "number": activity.number,
        "at": activity.at,
        "kind": activity.kind,
        "title": f"event {activity.event_token}" if activity.event_token else activity.kind,
        "notes": list(activity.warnings),
        "parameters": dict(activity.parameters),
        "source": _source(activity.source),
        "candidates": _candidates(activity.considered),
        "postbacks": _postbacks(mmp.messages(activity), postbacks),
    }


def _postbacks(messages: list[Message], postbacks: list[Postback]) -> list[dict[str, Any]]:
    sent = {(each.message.partner, each.message.callback): each for each in postbacks}
    return [
        {
            "partner": message.partner,
            "callback": message.callback,
            "silence": message.silence,
            "kind": message.kind,
            **_delivery(sent.get((message.partner, message.callback))),
        }
        for message in messages
    ]


def _refusal_step(refusal: Refusal) -> Step:
    return {
        "number": refusal.number,
        "at": refusal.at,
        "kind": "refused",
        "title": f"refused: {refusal.status} {refusal.message}",
        "notes": [refusal.why] if refusal.why else [],
        "parameters": dict(refusal.parameters),
    }


def _source(decision: Decision) -> dict[str, Any]:
    touch = decision.touch
    return {
        "partner": decision.partner or "organic",
        "tier": decision.tier,
        "touch": None if touch is None else touch.number,
    }


def _candidates(decision: Decision | None) -> list[dict[str, Any]]:
    if decision is None:
        return []
    return [
        {
            "name": f"{each.touch.kind} {each.touch.number}: {each.touch.partner}",
            "has_won": each.has_won,
            "reason": each.reason,
        }
        for each in decision.candidates
    ]


def _delivery(postback: Postback | None) -> dict[str, Any]:
    if postback is None:
        return {"state": "", "fields": {}, "url": "", "statuses": []}
    return {
        "state": postback.state,
        "fields": dict(postback.message.fields),
        "url": postback.message.url,
        "statuses": list(postback.statuses),
    }
