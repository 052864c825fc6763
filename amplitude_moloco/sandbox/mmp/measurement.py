"""The MMP's memory: touches, devices and what they did, with the rules that need it."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from threading import Lock

from amplitude_moloco.sandbox.mmp.activity import Activity, ActivityKind, Refusal
from amplitude_moloco.sandbox.mmp.decision import Decision
from amplitude_moloco.sandbox.mmp.device import Device
from amplitude_moloco.sandbox.mmp.form import OWN_WORDS, Form, form_of, partner_params
from amplitude_moloco.sandbox.mmp.identity import ADVERTISING_IDS, DEVICE_IDS, identifiers
from amplitude_moloco.sandbox.mmp.refusal import OUT_OF_ORDER, Refused
from amplitude_moloco.sandbox.mmp.settings import DAY, MmpSettings
from amplitude_moloco.sandbox.mmp.touch import Touch, TouchKind, touch_of
from amplitude_moloco.sandbox.mmp.waterfall import (
    History,
    Visit,
    decide_install,
    decide_reattribution,
)

_SESSION_GAP_SECONDS = 20 * 60
_MOST_AGE_SECONDS = 58 * DAY

_MOST_TOUCHES = 10_000  # each session looks at all of them


class Measurement:
    """Records and attributes. Safe to use from any thread.

    Args:
        settings: The app.
        now: Returns the MMP's time.
        max_kept: How many activities and refusals are kept, each, and how many touches, of which
            there are 10,000 at most. The oldest are discarded; devices are kept.
    """

    def __init__(self, settings: MmpSettings, now: Callable[[], float], max_kept: int) -> None:
        self._settings = settings
        self._now = now
        self._lock = Lock()
        self._touches: deque[Touch] = deque(maxlen=min(max_kept, _MOST_TOUCHES))
        self._activities: deque[Activity] = deque(maxlen=max_kept)
        self._refusals: deque[Refusal] = deque(maxlen=max_kept)
        self._devices: dict[str, Device] = {}
        self._by_id: dict[tuple[str, str, str], Device] = {}
        self._answers: Counter[str] = Counter()
        self._last_number = 0

    def touch(
        self,
        kind: TouchKind,
        link: str,
        parameters: Mapping[str, str],
        *,
        ip_address: str = "",
        user_agent: str = "",
    ) -> Touch:
        """Records a click or a view. Raises Refused for a link that no partner has.

        A report from an ad network's server (``s2s=1``) needs an advertising id.
        """
        partner = self._settings.partner_of(link)
        if partner is None:
            raise Refused(404, "no partner has this link")
        with self._lock:
            found = touch_of(
                *(kind, link, partner.name, parameters),
                number=self._next_number(),
                at=self._now(),
                ip_address=ip_address,
                user_agent=user_agent,
            )
            is_of_server = parameters.get("s2s") == "1"
            if is_of_server and not any(name in found.ids for name in ADVERTISING_IDS):
                raise Refused(400, "s2s=1 needs an advertising id")
            self._touches.append(found)
            return found

    def session(
        self,
        parameters: Mapping[str, str],
        authorization: str | None = None,
        *,
        ip_address: str = "",
        user_agent: str = "",
    ) -> Activity:
        """Records a session: the first one is an install, a later one may reattribute.

        Raises Refused.
        """
        place = (ip_address, user_agent)
        return self._answered(
            parameters, lambda: self._session(parameters, authorization, place), "sessions"
        )

    def event(self, parameters: Mapping[str, str], authorization: str | None = None) -> Activity:
        """Records an event, and attributes it to the source at its time. Raises Refused."""
        return self._answered(parameters, lambda: self._event(parameters, authorization), "events")

    def opt_out(self, ids: Mapping[str, str]) -> bool:
        """Makes a device opt out, in every app. Returns False if it is not known."""
        with self._lock:
            found = self._named(ids)
            for device in found:
                device.is_opted_out = True
            return bool(found)

    def stop_sharing(self, ids: Mapping[str, str]) -> bool:
        """Keeps what a device does from partners, from now on. Returns False if it is not known."""
        with self._lock:
            found = self._named(ids)
            for device in found:
                device.is_shared = False
            return bool(found)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            for each in (self._touches, self._activities, self._refusals):
                each.clear()
            self._devices.clear()
            self._by_id.clear()
            self._answers.clear()

    @property
    def last_number(self) -> int:
        """It grows with everything that is recorded."""
        return self._last_number

    @property
    def touches(self) -> list[Touch]:
        with self._lock:
            return list(self._touches)

    @property
    def activities(self) -> list[Activity]:
        with self._lock:
            return list(self._activities)

    @property
    def refusals(self) -> list[Refusal]:
        with self._lock:
            return list(self._refusals)

    @property
    def answers(self) -> Counter[str]:
        """How often each answer was given, since the last ``clear()``."""
        with self._lock:
            return Counter(self._answers)

    @property
    def devices(self) -> list[Device]:
        """Copies of all devices, in the order of their installs."""
        with self._lock:
            return [device.copy() for device in self._devices.values()]

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _answered(
        self, parameters: Mapping[str, str], record: Callable[[], Activity], what: str
    ) -> Activity:
        with self._lock:
            try:
                activity = record()
            except Refused as refused:
                self._answers[f"{refused.status} {refused.message}"] += 1
                device = self._device_of(parameters.get("app_token", ""), identifiers(parameters))
                key = "" if device is None else device.key
                self._refusals.append(
                    Refusal(
                        *(self._next_number(), self._now(), key, dict(parameters)),
                        *(refused.status, refused.message, refused.why),
                    )
                )
                raise
            self._answers[f"accepted {what}"] += 1
            self._activities.append(activity)
            return activity

    def _session(
        self, parameters: Mapping[str, str], authorization: str | None, place: tuple[str, str]
    ) -> Activity:
        form = self._form(parameters, authorization, "sessions")
        device = self._device_of(form.app_token, form.ids)
        ip_address, user_agent = place
        visit = Visit(
            form.created_at,
            form.ids,
            parameters.get("ip_address", ip_address),
            parameters.get("user_agent", user_agent),
            parameters.get("reftag", ""),
        )
        kind: ActivityKind = "session"
        if device is None:
            kind = "install"
            decision = decide_install(visit, self._touches, self._settings.window)
            device = self._install(form, decision)
        else:
            if form.created_at < device.session_at + _SESSION_GAP_SECONDS:
                raise Refused(400, OWN_WORDS["session"])
            decision = self._reattribution(visit, device)
            if decision.touch is not None:
                kind = "reattribution"
                device.sources.append(decision)
        self._remember(device, form.ids)
        device.places.add((visit.ip_address, visit.user_agent))
        device.session_at = form.created_at
        device.active_at = max(device.active_at, form.created_at)
        return self._activity(kind, device, form, considered=decision)

    def _reattribution(self, visit: Visit, device: Device) -> Decision:
        present = device.sources[-1].touch
        history = History(None if present is None else present.link, device.active_at)
        return decide_reattribution(visit, history, self._touches, self._settings.window)

    def _event(self, parameters: Mapping[str, str], authorization: str | None) -> Activity:
        form = self._form(parameters, authorization, "events")
        token = self._event_token(parameters.get("event_token", ""))
        device = self._device_of(form.app_token, form.ids)
        if device is None:
            raise Refused(404, "Device not found")
        last = device.event_at.get(token)
        if last is not None and token in self._settings.unique_events:
            raise Refused(400, "Ignoring event, earlier unique event tracked")
        if form.created_at < self._now() - _MOST_AGE_SECONDS:
            raise Refused(400, "Bad event state", "it is older than 58 days")
        # A request names whole seconds.
        if form.created_at < int(device.installed_at):
            raise Refused(400, "Bad event state", "it is earlier than the install")
        if last is not None and form.created_at < last:
            raise Refused(400, "Bad event state", OUT_OF_ORDER)
        shared = partner_params(parameters)
        device.event_at[token] = form.created_at
        device.active_at = max(device.active_at, form.created_at)
        self._remember(device, form.ids)
        return self._activity("event", device, form, event_token=token, partner_params=shared)

    def _form(self, parameters: Mapping[str, str], authorization: str | None, scope: str) -> Form:
        form = form_of(parameters, authorization, self._settings, scope=scope, now=self._now())
        device = self._device_of(form.app_token, form.ids)
        if device is not None and device.is_opted_out:
            raise Refused(451, "Device is opted out")
        return form

    def _event_token(self, token: str) -> str:
        known = self._settings.event_tokens
        if not token or (known is not None and token not in known):
            raise Refused(400, "Invalid event token")
        if token in self._settings.blocked_events:
            raise Refused(403, "Event token blocklisted")
        return token

    def _install(self, form: Form, decision: Decision) -> Device:
        number = len(self._devices)
        made = hashlib.sha256(f"{form.app_token} {number}".encode()).hexdigest()[:32]
        adid = form.ids.get("adid", made)
        at = form.created_at
        device = Device(adid, form.app_token, {}, at, [decision], at, at)
        self._devices[device.key] = device
        self._remember(device, {"adid": adid})
        return device

    def _remember(self, device: Device, ids: Mapping[str, str]) -> None:
        """Adds identifiers to a device. One that belongs to another device stays there."""
        for name, value in ids.items():
            if self._by_id.setdefault((device.app_token, name, value), device) is device:
                device.ids.setdefault(name, value)

    def _named(self, ids: Mapping[str, str]) -> list[Device]:
        named = identifiers(ids).items()
        return [device for device in self._devices.values() if named & device.ids.items()]

    def _device_of(self, app_token: str, ids: Mapping[str, str]) -> Device | None:
        named = ((app_token, name, ids[name]) for name in DEVICE_IDS if name in ids)
        return next((self._by_id[each] for each in named if each in self._by_id), None)

    def _activity(
        self,
        kind: ActivityKind,
        device: Device,
        form: Form,
        *,
        event_token: str = "",
        partner_params: Mapping[str, str] | None = None,
        considered: Decision | None = None,
    ) -> Activity:
        return Activity(
            number=self._next_number(),
            kind=kind,
            device=device.key,
            adid=device.adid,
            at=form.created_at,
            installed_at=device.installed_at,
            source=device.source_at(form.created_at),
            parameters=dict(form.parameters),
            ids=dict(device.ids),
            event_token=event_token,
            partner_params=partner_params or {},
            considered=considered,
            warnings=form.warnings,
            is_shared=device.is_shared,
        )
