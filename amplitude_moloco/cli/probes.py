"""The one request of ``ping`` for each partner, which it refuses if all is well.

==========  =========================================  ========================================
partner     the request                                the answer if all is well
==========  =========================================  ========================================
MCM         a SEARCH without query and identifier      400, naming one of the two
Adjust      an event of a device that is invented      404 ``Device not found``
Adbrix      an event without its required attributes   400 with the code 4002
==========  =========================================  ========================================

So nothing is kept of it. In which order a partner checks a request is documented by none: it may
refuse this one before it looks at the key.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from amplitude_moloco import MolocoSettings, SendResult
from amplitude_moloco.adjust import AdjustSettings
from amplitude_moloco.adjust.form import encode
from amplitude_moloco.cli.route import Step
from amplitude_moloco.cli.terminal import FAILED, LATER
from amplitude_moloco.experimental.adbrix import AdbrixSettings
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.text import one_line

Judged = Iterator[tuple[Step, int]]
"""The steps that an answer shows, each with the exit code if it is the last one."""


class Probe(NamedTuple):
    """A request, and how to read its answer."""

    server: str
    body: bytes
    judge: Callable[[SendResult], Judged | None]
    """Returns the steps of the answer that is expected; None for any other."""
    causes: Mapping[int | str, str]
    """What may be wrong, by the status of an answer, or by a part of its text."""


_KEY = "check api_key: is it this platform's, whole, and not expired? Keys may have an end date"
_PROXY: Mapping[int | str, str] = {407: "a proxy asks for a login; check HTTPS_PROXY"}
_OF_MCM: Mapping[int | str, str] = {
    401: f"MCM does not know the key; {_KEY}",
    403: f"MCM knows the key, but it may not send events for this platform; {_KEY}",
    404: "MCM does not know the platform; check platform_id, and platform_name or base_url",
    429: "MCM throttles this platform now; try again in a minute",
    **_PROXY,
}
_OF_ADJUST: Mapping[int | str, str] = {
    "app token": "Adjust does not know the app; check app_token",
    "event token": "Adjust does not know the event token of this app; check the events' tokens",
    202: "the S2S token is missing or wrong; check token",
    401: "the S2S token is missing or wrong, or lacks the scope Events; check token",
    403: "the app is inactive, or tracking is disabled; look at Adjust's dashboard",
    429: "Adjust throttles now; try again in a minute",
    **_PROXY,
}
_OF_ADBRIX: Mapping[int | str, str] = {
    "4001": "Adbrix does not know the token; check token",
    "4005": "this API is closed for the account; ask IGAWorks: it belongs to a paid plan",
    403: "the account may not use this API; ask IGAWorks: it belongs to a paid plan",
    429: "Adbrix throttles now; try again in a minute",
    **_PROXY,
}


def probe_of(settings: DeliverySettings) -> Probe:
    """Returns the request for these settings' partner."""
    if isinstance(settings, AdjustSettings):
        return _probe_of_adjust(settings)
    if isinstance(settings, AdbrixSettings):
        return Probe("Adbrix", b"{}", _judged_of_adbrix, _OF_ADBRIX)
    assert isinstance(settings, MolocoSettings)  # noqa: S101  # there is no fourth
    platform = one_line(urlsplit(settings.endpoint().url).path.split("/")[-2])
    return Probe("MCM", _body_of_mcm(), lambda result: _judged_of_mcm(result, platform), _OF_MCM)


def judged(probe: Probe, result: SendResult) -> Judged:
    """Yields the steps that an answer shows."""
    expected = probe.judge(result)
    status, answer = result.status, one_line(result.explanation)
    if expected is not None:
        yield from expected
    elif status is None or status >= 500:
        hint = "" if status is None else "; the server fails, or a proxy before it; try again later"
        yield Step("answer", False, f"{answer}{hint}"), LATER
    else:
        code = LATER if status == 429 else FAILED
        yield Step("answer", False, f"{answer}: {_cause(probe, result)}"), code


def _cause(probe: Probe, result: SendResult) -> str:
    message = result.message.lower()
    for sign, cause in probe.causes.items():
        if sign == result.status or (isinstance(sign, str) and sign in message):
            return cause
    if (result.status or 0) < 400:
        return (
            f"{probe.server} would refuse this request: something else answers; check the address"
        )
    return f"{probe.server} does not answer so; check the address, and proxies"


def _body_of_mcm() -> bytes:
    event = {
        "event_type": "SEARCH",
        "channel_type": "SITE",
        "timestamp": str(int(time.time() * 1000)),
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _judged_of_mcm(result: SendResult, platform: str) -> Judged | None:
    if result.status != 400:
        return None
    is_documented = any(word in result.message for word in ("identifier", "search_query"))
    note = "as documented" if is_documented else "not the text that is documented"
    answer = Step("answer", True, f"{one_line(result.explanation)} ({note})")
    return iter([(answer, 0), (Step("key", True, f"accepted, for the platform {platform}"), 0)])


def _probe_of_adjust(settings: AdjustSettings) -> Probe:
    tokens = settings.app_token
    event_token = settings.converter().syncs[0].token
    fields = {
        "s2s": "1",
        "app_token": tokens if isinstance(tokens, str) else next(iter(tokens.values())),
        "event_token": event_token,
        "environment": settings.environment,
        "created_at_unix": str(int(time.time())),
        "gps_adid": str(uuid.uuid4()),
    }

    def judge(result: SendResult) -> Judged | None:
        if result.status != 404 or "device not found" not in result.message.lower():
            return None
        answer = Step("answer", True, f"{one_line(result.explanation)} (as documented)")
        text = f"knows the app, and refuses neither the event token {event_token} nor the S2S token"
        return iter([(answer, 0), (Step("Adjust", True, text), 0)])

    return Probe("Adjust", encode(fields), judge, _OF_ADJUST)


def _judged_of_adbrix(result: SendResult) -> Judged | None:
    if result.status != 400 or "4002" not in result.message:
        return None
    answer = Step("answer", True, f"{one_line(result.explanation)} (as documented)")
    return iter([(answer, 0), (Step("Adbrix", True, "does not refuse the token"), 0)])
