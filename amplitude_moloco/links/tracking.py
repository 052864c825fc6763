"""Builds and checks the tracking links that are registered on Moloco Ads.

Adjust has two addresses, since clicks and views have different windows. No parameter of a link sets
a window: that is done in Adjust's dashboard, for the link, the partner or the app.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

MOLOCO_PARAMETERS: Final[Mapping[str, str]] = {
    "campaign": "{{campaign.title}}",
    "adgroup": "{{publisher.bundle}}",
    "creative": "{{creative.cr_id}}",
    "idfa": "{{device.idfa}}",
    "gps_adid": "{{device.gaid}}",
    "impression_id": "{{request.id}}",
    "molo_click_id": "{{mtid}}",
    "cost_type": "{{price.cost_type}}",
    "cost_amount": "{{price.cost_amount}}",
    "cost_currency": "{{price.cost_currency}}",
}
"""The parameters of a link of Adjust, each with the macro that Moloco fills in."""

_ADJUST_HOST = re.compile(r"(app|view)\.adjust\.(?:io|com|world|net\.in)")
_ADJUST_TOKEN = re.compile(r"[0-9A-Za-z]{6,}")
_ADBRIX_HOST = re.compile(r"[0-9A-Za-z]+\.adtouch\.adbrix\.io", re.IGNORECASE)
_ADBRIX_PATH = re.compile(r"/api/v1/click/[^/]+")
_ADBRIX_WORDS = re.compile(r"[0-9A-Za-z]+")
_MACRO = re.compile(r"\{\{[^{}]*\}\}")
_OTHER_MACRO = re.compile(r"%\{|\$\{|\{|\}|\[[A-Z_]+\]")
_ADBRIX_PARAMETERS = frozenset(
    "m_adid m_publisher m_sub_publisher m_ad m_adgroup m_creative m_keyword m_placement m_cost "
    "m_cost_currency m_cost_model m_play_percent cb_1 cb_2 cb_3 cb_4 cb_5 "
    "deeplink_custom_path".split()
)


@dataclass(frozen=True)
class LinkProblem:
    """What is wrong with a link."""

    place: str
    """``scheme``, ``host``, ``path``, or the name of a parameter."""
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}; {self.fix}"


def tracking_link(
    partner: str,
    kind: str,
    tracker: str,
    *,
    app_key: str | None = None,
    parameters: Mapping[str, str | None] | None = None,
) -> str:
    """Returns a link for Moloco Ads.

    Args:
        partner: ``adjust`` or ``adbrix``.
        kind: ``click`` or ``view``. The path of Adbrix's view links is not documented: copy those
            from its dashboard.
        tracker: The link's token at Adjust, or its tracker id at Adbrix.
        app_key: The app's key, for Adbrix.
        parameters: More parameters, or others; None leaves one out. A link of Adjust has those of
            ``MOLOCO_PARAMETERS`` unless they are left out. Which macros a link of Adbrix should
            have is not documented: it has what is given here. A macro is kept as it is, and
            everything else is percent-encoded.

    Raises:
        ConfigurationError: A value can't be part of a link.
    """
    base, own = _base(partner, kind, tracker, app_key)
    values = {**own, **(parameters or {})}
    query = "&".join(
        f"{quote(name, safe='')}={_encoded(value)}"
        for name, value in values.items()
        if value is not None
    )
    return f"{base}?{query}" if query else base


def _base(
    partner: str, kind: str, tracker: str, app_key: str | None
) -> tuple[str, Mapping[str, str]]:
    if kind not in ("click", "view"):
        raise ConfigurationError(f"kind: found {shown(kind)}; use 'click' or 'view'")
    if partner == "adjust":
        if not _ADJUST_TOKEN.fullmatch(tracker):
            raise ConfigurationError(
                f"tracker: found {shown(tracker)}; use the link's token: at least six letters and "
                f"digits"
            )
        start = (
            "https://app.adjust.com/"
            if kind == "click"
            else ("https://view.adjust.com/impression/")
        )
        return start + tracker, MOLOCO_PARAMETERS
    if partner != "adbrix":
        raise ConfigurationError(f"partner: found {shown(partner)}; use 'adjust' or 'adbrix'")
    if kind == "view":
        raise ConfigurationError(
            "kind: the path of Adbrix's view links is not documented; copy the link from its "
            "dashboard"
        )
    if not _ADBRIX_WORDS.fullmatch(app_key or ""):
        raise ConfigurationError(f"app_key: found {shown(app_key)}; use the app's key at Adbrix")
    if not _ADBRIX_WORDS.fullmatch(tracker):
        raise ConfigurationError(f"tracker: found {shown(tracker)}; use the link's tracker id")
    return f"https://{app_key}.adtouch.adbrix.io/api/v1/click/{tracker}", {}


def _encoded(value: str) -> str:
    """Returns a value percent-encoded, but for macros in it."""
    parts, end = [], 0
    for macro in _MACRO.finditer(value):
        parts += [quote(value[end : macro.start()], safe=""), macro[0]]
        end = macro.end()
    return "".join([*parts, quote(value[end:], safe="")])


def check_link(url: str, *, required: Iterable[str] = MOLOCO_PARAMETERS) -> list[LinkProblem]:
    """Returns everything that is wrong with a link of Adjust or Adbrix; empty if nothing is.

    Checks what Moloco Ads checks: https, host, path, known macros, and that the ``required``
    parameters are there. Which ones Moloco requires is not public: by default a link of Adjust
    needs all that Moloco's own has. One of Adbrix needs none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return [LinkProblem("url", "no URL", "copy the link from the partner's dashboard")]
    problems = []
    if parts.scheme != "https":
        problems.append(LinkProblem("scheme", shown(parts.scheme), "use https"))
    adjust = _ADJUST_HOST.fullmatch(host)
    is_adbrix = bool(_ADBRIX_HOST.fullmatch(host))
    if not (adjust or is_adbrix) or port is not None or parts.username is not None:
        problems.append(
            LinkProblem(
                "host",
                shown(parts.netloc),
                "use app.adjust.com for clicks, view.adjust.com for views, or the app's at Adbrix",
            )
        )
    elif adjust:
        problems += _adjust_path(adjust[1], parts.path)
    elif not _ADBRIX_PATH.fullmatch(parts.path):
        fix = "use /api/v1/click/ and the tracker id"
        problems.append(LinkProblem("path", shown(parts.path), fix))
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    problems += _of_parameters(pairs, () if is_adbrix else tuple(required))
    if is_adbrix:
        unknown = [name for name, _ in pairs if name not in _ADBRIX_PARAMETERS]
        fix = f"use one of {', '.join(sorted(_ADBRIX_PARAMETERS))}"
        problems += [LinkProblem(name, "a parameter that Adbrix lacks", fix) for name in unknown]
    return problems


def _adjust_path(kind: str, path: str) -> list[LinkProblem]:
    start = "/" if kind == "app" else "/impression/"
    if path.startswith(start) and _ADJUST_TOKEN.fullmatch(path[len(start) :]):
        return []
    what = "a click link" if kind == "app" else "a view link"
    fix = f"{what} has {start} and a token of at least six letters and digits"
    return [LinkProblem("path", shown(path), fix)]


def _of_parameters(pairs: list[tuple[str, str]], required: tuple[str, ...]) -> list[LinkProblem]:
    problems = []
    names = [name for name, _ in pairs]
    macros = frozenset(MOLOCO_PARAMETERS.values())
    for name, value in pairs:
        found = [each for each in _MACRO.findall(value) if each not in macros]
        if found:
            fix = f"use one of {', '.join(sorted(macros))}"
            problems.append(LinkProblem(name, f"the macro {shown(found[0])}", fix))
        elif _OTHER_MACRO.search(_MACRO.sub("", value)):
            fix = "Moloco's are written {{like.this}}"
            problems.append(LinkProblem(name, "a macro of another network", fix))
        elif not value:
            problems.append(LinkProblem(name, "no value", "give one, or leave it out"))
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [LinkProblem(name, "the parameter twice", "keep one of them") for name in twice]
    for name in required:
        if name not in names:
            macro = MOLOCO_PARAMETERS.get(name, "a value")
            problems.append(LinkProblem(name, "nothing", f"add {name}={macro}"))
    return problems
