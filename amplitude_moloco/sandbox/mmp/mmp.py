"""The MMP as a whole: its clock, its memory and its postbacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from amplitude_moloco.sandbox.mmp.activity import Activity, Refusal
from amplitude_moloco.sandbox.mmp.callback import callbacks_of, callbacks_of_touch
from amplitude_moloco.sandbox.mmp.clock import VirtualClock
from amplitude_moloco.sandbox.mmp.delivery import Courier, Postback
from amplitude_moloco.sandbox.mmp.device import Device
from amplitude_moloco.sandbox.mmp.measurement import Measurement
from amplitude_moloco.sandbox.mmp.postback import Message, message_of
from amplitude_moloco.sandbox.mmp.refusal import Refused
from amplitude_moloco.sandbox.mmp.settings import MmpSettings
from amplitude_moloco.sandbox.mmp.touch import Touch, TouchKind

_APP_TOKEN = "sandboxtoken"  # noqa: S105  # an app's public name


class Mmp:
    """A stand-in for a mobile measurement partner. All methods may be called from any thread.

    Args:
        settings: The app, its partners and their links.
        clock: The MMP's time. Move it on to let windows pass.
        max_kept: How many touches, activities, refusals and postbacks are kept, each.
    """

    def __init__(
        self,
        settings: MmpSettings | None = None,
        clock: VirtualClock | None = None,
        max_kept: int = 100_000,
    ) -> None:
        self.settings = settings or MmpSettings()
        self.clock = clock or VirtualClock()
        self.measurement = Measurement(self.settings, self.clock.now, max_kept)
        self.courier = Courier(self.clock.now, max_kept)

    def click(self, link: str, **parameters: str) -> Touch:
        """Records a click on a link, as its address would. Raises ValueError for another link."""
        return self._touch("click", link, parameters)

    def view(self, link: str, **parameters: str) -> Touch:
        """Records that an ad was shown. Raises ValueError for an unknown link."""
        return self._touch("view", link, parameters)

    def session(self, **parameters: str) -> Activity:
        """Records a session, as the app's SDK would: the first one is the install.

        ``app_token``, ``s2s`` and ``environment`` have defaults. Raises ValueError if it is
        refused.
        """
        usual = {
            "app_token": self.settings.app_token or _APP_TOKEN,
            "s2s": "1",
            "environment": "sandbox",
        }
        token = self.settings.s2s_token
        try:
            return self.record_session(
                {**usual, **parameters}, None if token is None else f"Bearer {token}"
            )
        except Refused as refused:
            raise ValueError(refused.message) from None

    def opt_out(self, **ids: str) -> None:
        """Makes a device opt out: it gets a 451 from now on. Raises ValueError if not known."""
        _check_known(ids, is_known=self.measurement.opt_out(ids))

    def stop_sharing(self, **ids: str) -> None:
        """Makes a device opt out of third-party sharing: it is measured, and no partner is told.

        Raises ValueError if it is not known.
        """
        _check_known(ids, is_known=self.measurement.stop_sharing(ids))

    def move_clock(self, seconds: float) -> None:
        """Moves the clock on, or back if ``seconds`` is negative."""
        self.clock.move(seconds)
        self.courier.look_again()

    def reset_clock(self) -> None:
        """Sets the clock to the real time."""
        self.clock.reset()
        self.courier.look_again()

    def wait(self, timeout_seconds: float = 20.0) -> None:
        """Waits until no postback is due. Raises TimeoutError after the timeout."""
        if not self.courier.wait(timeout_seconds):
            raise TimeoutError("some postbacks are still on their way")

    def clear(self) -> None:
        """Forgets all touches, devices, activities and postbacks. The clock stays."""
        self.measurement.clear()
        self.courier.clear()

    @property
    def touches(self) -> list[Touch]:
        """All clicks and views, oldest first."""
        return self.measurement.touches

    @property
    def devices(self) -> list[Device]:
        """All devices, in the order of their installs."""
        return self.measurement.devices

    @property
    def activities(self) -> list[Activity]:
        """All installs, sessions, reattributions and events, oldest first."""
        return self.measurement.activities

    @property
    def events(self) -> list[Activity]:
        """The events that were accepted, oldest first."""
        return [each for each in self.activities if each.kind == "event"]

    @property
    def refusals(self) -> list[Refusal]:
        """The sessions and events that were refused, oldest first."""
        return self.measurement.refusals

    @property
    def out_of_order(self) -> list[Refusal]:
        """The events that were earlier than one before them, of the same device and token."""
        return [each for each in self.refusals if each.is_out_of_order]

    @property
    def answers(self) -> Counter[str]:
        """How often each answer was given."""
        return self.measurement.answers

    @property
    def postbacks(self) -> list[Postback]:
        """All postbacks to partners, oldest first."""
        return self.courier.postbacks

    def record_touch(
        self,
        kind: TouchKind,
        link: str,
        parameters: Mapping[str, str],
        *,
        ip_address: str = "",
        user_agent: str = "",
    ) -> Touch:
        """Records a click or a view, and sends the callbacks that it asks for. Raises Refused."""
        touch = self.measurement.touch(
            kind, link, parameters, ip_address=ip_address, user_agent=user_agent
        )
        self._send(touch.number, callbacks_of_touch(touch))
        return touch

    def record_session(
        self,
        parameters: Mapping[str, str],
        authorization: str | None = None,
        *,
        ip_address: str = "",
        user_agent: str = "",
    ) -> Activity:
        """Records a session, and sends postbacks. Raises Refused."""
        activity = self.measurement.session(
            parameters, authorization, ip_address=ip_address, user_agent=user_agent
        )
        self._send(activity.number, self.messages(activity))
        return activity

    def record_event(
        self, parameters: Mapping[str, str], authorization: str | None = None
    ) -> Activity:
        """Records an event, and sends postbacks. Raises Refused."""
        activity = self.measurement.event(parameters, authorization)
        self._send(activity.number, self.messages(activity))
        return activity

    def messages(self, activity: Activity) -> list[Message]:
        """Returns the postback to each partner that has any, or why none is sent; and callbacks."""
        postbacks = [
            message_of(partner, partner.postbacks, activity)
            for partner in self.settings.partners
            if partner.postbacks is not None
        ]
        return postbacks + callbacks_of(activity)

    def _touch(self, kind: TouchKind, link: str, parameters: Mapping[str, str]) -> Touch:
        try:
            return self.record_touch(kind, link, parameters)
        except Refused as refused:
            raise ValueError(f"{link!r}: {refused.message}") from None

    def _send(self, number: int, messages: list[Message]) -> None:
        for message in messages:
            if not message.silence:
                is_only_kept = bool(message.callback) and not self.settings.sends_callbacks
                self.courier.add(number, message, is_only_kept=is_only_kept)


def _check_known(ids: Mapping[str, str], *, is_known: bool) -> None:
    if not is_known:
        raise ValueError(f"no device has one of these identifiers: {ids}")
