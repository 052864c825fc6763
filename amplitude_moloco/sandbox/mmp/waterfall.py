"""Attribution: which touch an install goes to, and which touch reattributes a device. Pure.

An install goes to the first tier that has an eligible touch: a click that matches the device, a
click that matches probabilistically, then views in the same way. Within a tier the latest touch
wins. Without any, the install is organic. So every eligible click beats every view.

A device is reattributed by a touch of another link that matches the device itself, after it has
been inactive for some time. It never becomes organic again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from amplitude_moloco.sandbox.mmp.decision import ORGANIC, Candidate, Decision
from amplitude_moloco.sandbox.mmp.identity import ADVERTISING_IDS, MATCHING_IDS
from amplitude_moloco.sandbox.mmp.settings import DAY, HOUR
from amplitude_moloco.sandbox.mmp.touch import Touch

WindowOf = Callable[[str, str], tuple[int, str]]
"""Returns a link's window by its name, in seconds, and the level that it comes from."""
_TIERS = {
    ("click", "device"): "device-matched click",
    ("click", "probabilistic"): "probabilistic click",
    ("view", "device"): "device-matched view",
    ("view", "probabilistic"): "probabilistic view",
}
_RANKS = {name: rank for rank, name in enumerate(_TIERS.values())}


@dataclass(frozen=True)
class Visit:
    """A session, as far as attribution looks at it."""

    at: float
    ids: dict[str, str]
    ip_address: str = ""
    user_agent: str = ""
    reftag: str = ""
    """The click that the app store's referrer names. Empty for none."""


@dataclass(frozen=True)
class History:
    """What is known of a device before a session."""

    link: str | None
    """The link of its present source. None for organic."""
    active_at: float
    """Its last session or event."""


@dataclass(frozen=True)
class _Look:
    touch: Touch
    tier: str
    match: str
    objection: str
    """Empty if the touch is eligible."""


def decide_install(visit: Visit, touches: Iterable[Touch], window_of: WindowOf) -> Decision:
    """Returns what an install is attributed to."""
    return _decide(visit, touches, lambda touch, way: _install_look(visit, touch, way, window_of))


def decide_reattribution(
    visit: Visit, history: History, touches: Iterable[Touch], window_of: WindowOf
) -> Decision:
    """Returns the touch that reattributes a device that was installed before, if any does."""
    return _decide(
        visit,
        touches,
        lambda touch, way: _reattribution_look(visit, history, touch, way, window_of),
    )


def ways_of(touch: Touch, visit: Visit) -> tuple[str, ...]:
    """Returns how a touch matches a visit's device: ``device``, ``probabilistic``, both, neither.

    Probabilistic is: the same IP address and the same user agent, and no identifier that differs.
    """
    ways = []
    shared = [name for name in MATCHING_IDS if name in touch.ids and name in visit.ids]
    equal = [touch.ids[name] == visit.ids[name] for name in shared]
    if any(equal) or _is_referrer(touch, visit):
        ways.append("device")
    seen = (touch.ip_address, touch.user_agent)
    if all(seen) and all(equal) and seen == (visit.ip_address, visit.user_agent):
        ways.append("probabilistic")
    return tuple(ways)


def duration(seconds: float) -> str:
    """Returns a time span in words: ``6 d 23 h``."""
    parts = []
    rest = int(seconds)
    for unit, size in (("d", DAY), ("h", HOUR), ("min", 60), ("s", 1)):
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2]) or "0 s"


def _is_referrer(touch: Touch, visit: Visit) -> bool:
    return touch.reftag != "" and touch.reftag == visit.reftag


def _decide(
    visit: Visit, touches: Iterable[Touch], look_at: Callable[[Touch, str], _Look]
) -> Decision:
    looks = []
    others = 0
    for touch in touches:
        found = [look_at(touch, way) for way in ways_of(touch, visit)]
        if found:
            # The first way is the better tier. If neither is eligible, it has the better reason.
            looks.append(next((look for look in found if not look.objection), found[0]))
        else:
            others += 1
    eligible = [look for look in looks if not look.objection]
    best = max(eligible, key=lambda look: _strength(look, visit)) if eligible else None
    candidates = tuple(_candidate(look, best) for look in looks)
    if best is None:
        return Decision(visit.at, None, ORGANIC, "", candidates, others)
    match = "referrer" if _is_referrer(best.touch, visit) else best.match
    return Decision(visit.at, best.touch, best.tier, match, candidates, others)


def _strength(look: _Look, visit: Visit) -> tuple[int, float, bool, int]:
    touch = look.touch
    return (-_RANKS[look.tier], touch.at, _is_referrer(touch, visit), touch.number)


def _candidate(look: _Look, best: _Look | None) -> Candidate:
    if look is best:
        return Candidate(look.touch, True, f"the latest {look.tier}")
    if look.objection or best is None:
        return Candidate(look.touch, False, look.objection)
    if look.tier != best.tier:
        reason = f"a {best.tier} beats a {look.tier}"
    elif look.touch.at < best.touch.at:
        reason = f"{best.touch.kind} {best.touch.number} is later"
    else:
        reason = f"{best.touch.kind} {best.touch.number} of the same time goes first"
    return Candidate(look.touch, False, reason)


def _install_look(visit: Visit, touch: Touch, way: str, window_of: WindowOf) -> _Look:
    tier = _TIERS[touch.kind, way]
    limit, level = window_of(touch.link, f"{touch.kind}_{way}")
    if touch.at > visit.at:
        objection = "it came after the install"
    elif limit == 0:
        objection = f"a {tier} does not count here (set by the {level})"
    else:
        objection = _too_old(visit.at - touch.at, limit, level)
    return _Look(touch, tier, way, objection)


def _reattribution_look(
    visit: Visit, history: History, touch: Touch, way: str, window_of: WindowOf
) -> _Look:
    tier = _TIERS[touch.kind, way]
    objection = _reattribution_objection(visit, history, touch, way, window_of)
    return _Look(touch, tier, way, objection)


def _reattribution_objection(
    visit: Visit, history: History, touch: Touch, way: str, window_of: WindowOf
) -> str:
    limit, level = window_of(touch.link, f"reattribution_{touch.kind}")
    idle, idle_level = window_of(touch.link, "inactivity")
    inactive = visit.at - history.active_at
    if touch.at > visit.at:
        return "it came after the session"
    if way != "device":
        return "only a device match reattributes"
    if not any(name in touch.ids for name in ADVERTISING_IDS):
        return "only a touch with an advertising id reattributes"
    if not touch.may_reattribute:
        return "its link says rt=0: not for reattribution"
    if touch.link == history.link:
        return "its link is the present source"
    # Documented is the inactivity alone; that the touch has to end it is inferred.
    if touch.at <= history.active_at:
        return "the device was active after it"
    if inactive < idle:
        return (
            f"the device was inactive for {duration(inactive)}; "
            f"{duration(idle)} are needed ({idle_level})"
        )
    if limit == 0:
        return f"a {touch.kind} does not reattribute here (set by the {level})"
    return _too_old(visit.at - touch.at, limit, level)


def _too_old(age: float, limit: int, level: str) -> str:
    if age <= limit:
        return ""
    return f"it is {duration(age)} old; the window is {duration(limit)} ({level})"
