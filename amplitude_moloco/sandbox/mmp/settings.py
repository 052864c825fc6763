"""What the MMP knows of its app, its partners and their links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from amplitude_moloco.sandbox.mmp.address import may_get_postbacks

HOUR = 3600
DAY = 24 * HOUR
_TOKEN = re.compile(r"[0-9A-Za-z]{6,}")
_APP_TOKEN = re.compile(r"[0-9A-Za-z]{12}")
# From the dashboard's documentation. Where its pages disagree, the wider range.
_RANGES = {
    "click_device": (DAY, 30 * DAY),
    "click_probabilistic": (HOUR, DAY),
    "view_device": (HOUR, 30 * DAY),
    "view_probabilistic": (HOUR, DAY),
    "reattribution_click": (DAY, 30 * DAY),
    "reattribution_view": (HOUR, 30 * DAY),
    "inactivity": (0, 365 * DAY),
}
_ALWAYS_ON = "click_device"


@dataclass(frozen=True)
class Windows:
    """How long touches count, in seconds. None takes the next level's: link, partner, app.

    0 switches a window off, except for clicks that match a device, which always count.
    """

    click_device: int | None = None
    click_probabilistic: int | None = None
    view_device: int | None = None
    view_probabilistic: int | None = None
    reattribution_click: int | None = None
    reattribution_view: int | None = None
    inactivity: int | None = None
    """How long a device must have been inactive before a touch can reattribute it."""

    def __post_init__(self) -> None:
        for each in fields(self):
            seconds = getattr(self, each.name)
            low, high = _RANGES[each.name]
            is_off = seconds == 0 and each.name != _ALWAYS_ON
            if seconds is not None and not is_off and not low <= seconds <= high:
                raise ValueError(
                    f"{each.name} must be from {low} to {high} seconds, not {seconds!r}"
                )


DEFAULT_WINDOWS = Windows(
    click_device=7 * DAY,
    click_probabilistic=6 * HOUR,
    view_device=DAY,
    view_probabilistic=6 * HOUR,
    reattribution_click=7 * DAY,
    reattribution_view=DAY,
    inactivity=7 * DAY,
)


@dataclass(frozen=True)
class Postbacks:
    """Which postbacks a partner gets, with what in them, and where they are sent."""

    url: str | None = None
    """Where to send them with GET: https, or http to this machine. ``{placeholders}`` are filled
    in; without any, everything is appended. None only keeps them."""
    full: bool = True
    """True includes what other partners drove, and organic activity. False is "attributed only"."""
    events: Mapping[str, str] | None = None
    """The linked events: the partner's name for each event token. None links each under its own
    token."""
    revenue: bool = True
    parameters: bool = True
    """Whether ``partner_params`` are forwarded."""

    def __post_init__(self) -> None:
        if self.url is not None and not may_get_postbacks(self.url):
            raise ValueError(
                f"a postback's url must begin with https://, or be http:// to this machine: "
                f"{self.url!r}"
            )


@dataclass(frozen=True)
class Partner:
    """An ad network with its links, each with the windows that are its own."""

    name: str
    links: Mapping[str, Windows]
    windows: Windows = Windows()
    postbacks: Postbacks | None = None
    """None for a partner without postbacks."""

    def __post_init__(self) -> None:
        for token in self.links:
            if not _TOKEN.fullmatch(token):
                raise ValueError(f"a link's token has 6 or more letters and digits, not {token!r}")


DEFAULT_PARTNERS = (
    Partner("Moloco", {"moloco1": Windows()}, postbacks=Postbacks()),
    Partner("Another network", {"another1": Windows()}),
)


@dataclass(frozen=True)
class MmpSettings:
    """The app as its dashboard at the MMP has it. Raises ValueError for what can't be.

    Args:
        app_token: The only app token to know, of 12 characters. None knows any.
        event_tokens: The only event tokens to know. None knows any.
        unique_events: Event tokens that count once for a device.
        blocked_events: Event tokens on the blocklist.
        partners: The ad networks. By default Moloco, with the link ``moloco1`` and full postbacks,
            and another network with the link ``another1``.
        windows: The app's windows; what is None has the documented default.
        s2s_token: What requests must carry as ``Authorization: Bearer``. None asks for nothing.
        enforce_s2s_token: True refuses requests without it; False only warns, with a 202.
        token_scopes: What the token is for: ``events``, ``sessions`` or both.
        is_active: False refuses everything: the app is inactive.
        is_tracking: False refuses everything: tracking is disabled.
        sends_callbacks: Whether callbacks that a link asks for are sent. By default they are only
            shown: whoever can open a link would choose what the sandbox calls.
    """

    app_token: str | None = None
    event_tokens: frozenset[str] | None = None
    unique_events: frozenset[str] = frozenset()
    blocked_events: frozenset[str] = frozenset()
    partners: tuple[Partner, ...] = DEFAULT_PARTNERS
    windows: Windows = field(default=Windows())
    s2s_token: str | None = None
    enforce_s2s_token: bool = False
    token_scopes: frozenset[str] = frozenset({"events", "sessions"})
    is_active: bool = True
    is_tracking: bool = True
    sends_callbacks: bool = False

    def __post_init__(self) -> None:
        if self.app_token is not None and not _APP_TOKEN.fullmatch(self.app_token):
            raise ValueError(f"app_token must be 12 letters and digits, not {self.app_token!r}")
        tokens = [token for partner in self.partners for token in partner.links]
        names = [partner.name for partner in self.partners]
        for each in (tokens, names):
            if len(each) != len(set(each)):
                raise ValueError(f"each link and each partner must be there once: {each}")

    def partner_of(self, link: str) -> Partner | None:
        """Returns the partner that a link belongs to. None if no partner has it."""
        return next((partner for partner in self.partners if link in partner.links), None)

    def window(self, link: str, name: str) -> tuple[int, str]:
        """Returns a window of a known link in seconds, and the level that it comes from."""
        partner = self.partner_of(link)
        levels = [("app", self.windows), ("default", DEFAULT_WINDOWS)]
        if partner is not None:
            levels = [("link", partner.links[link]), ("partner", partner.windows), *levels]
        return next(
            (getattr(windows, name), level)
            for level, windows in levels
            if getattr(windows, name) is not None
        )
