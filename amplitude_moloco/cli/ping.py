"""``amplitude-moloco ping``: is MCM reached, and does it accept the key and the platform?

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           MCM is reached, and accepts the key and the platform
1           MCM, or what answers in its place, does not
2           the settings can't work
3           the host can't be reached, or fails or throttles: try again later
130         interrupted
==========  =======================================================================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from amplitude_moloco import ConfigurationError, MolocoSettings, SendResult
from amplitude_moloco.cli.route import Route, Step
from amplitude_moloco.cli.settings import load
from amplitude_moloco.cli.terminal import (
    FAILED,
    LATER,
    AsJson,
    console,
    ending_well,
    print_item,
    print_json,
)
from amplitude_moloco.text import one_line
from amplitude_moloco.transports.named import open_transport

_DOCUMENTED = ("identifier", "search_query")
_KEY = "check api_key: is it this platform's, whole, and not expired? Keys may have an end date"
_CAUSES = {
    401: f"MCM does not know the key; {_KEY}",
    403: f"MCM knows the key, but it may not send events for this platform; {_KEY}",
    404: "MCM does not know the platform; check platform_id, and platform_name or base_url",
    407: "a proxy asks for a login; check HTTPS_PROXY",
    429: "MCM throttles this platform now; try again in a minute",
}


def ping(
    config: Annotated[Path, typer.Argument(help="The settings: a .toml or .json file.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Find out whether MCM is reached, and accepts the key and the platform.

    Sends one request, which MCM answers with a 400: a SEARCH without a query and without an
    identifier. It is no event, and nothing is kept of it.

    Exit codes: 0 all is well, 1 key or platform refused, 2 the settings can't work, 3 MCM can't be
    reached or fails, 130 interrupted.
    """
    with ending_well():
        settings = load(config)
        if settings.chosen_transport() == "none":
            raise ConfigurationError(
                "transport: 'none' sends nothing; leave it out, and unset MOLOCO_TRANSPORT"
            )
        code = _ping(settings, as_json=as_json)
        if code:
            raise typer.Exit(code)


def harmless_body(now_seconds: float) -> bytes:
    """Returns the body of a request that MCM refuses for two documented reasons."""
    event = {
        "event_type": "SEARCH",
        "channel_type": "SITE",
        "timestamp": str(int(now_seconds * 1000)),
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _ping(settings: MolocoSettings, *, as_json: bool) -> int:
    out, endpoint, body = console(), settings.endpoint(), harmless_body(time.time())
    if not as_json:
        out.print(f"POST {endpoint.url}", soft_wrap=True)
        out.print(f"{body.decode()}\nThe only request, with your key. It is no event.\n")
    steps, codes = [], []
    for step, code in _steps(settings, body):
        steps.append(step)
        codes.append(code)
        if not as_json:
            mark = "ok      " if step.is_done else "FAILED  "
            style = "green" if step.is_done else "red"
            print_item(out, f"{mark}{step.name:12}", step.text, style)
    if as_json:
        print_json(_as_json(endpoint.url, body, steps, is_well=not any(codes)))
    return max(codes)


def _steps(settings: MolocoSettings, body: bytes) -> Iterator[tuple[Step, int]]:
    """Yields the steps that are taken, each with the exit code if it is the last one."""
    endpoint, timeout_seconds = settings.endpoint(), settings.timeout_seconds
    for step in Route(endpoint, settings.ca_bundle, timeout_seconds).steps():
        yield step, 0 if step.is_done else LATER
        if not step.is_done:
            return
    transport = open_transport(
        str(settings.chosen_transport()),
        endpoint,
        connections=1,
        timeout_seconds=timeout_seconds,
        ca_bundle=settings.ca_bundle,
    )
    try:
        result = transport.send(body)
    finally:
        transport.close()
    yield from _judged(result, endpoint.url)


def _judged(result: SendResult, url: str) -> Iterator[tuple[Step, int]]:
    status, answer = result.status, one_line(result.explanation)
    if status == 400:
        is_documented = any(word in result.message for word in _DOCUMENTED)
        note = "as documented" if is_documented else "not the text that is documented"
        yield Step("answer", True, f"{answer} ({note})"), 0
        platform = one_line(urlsplit(url).path.split("/")[-2])
        yield Step("key", True, f"accepted, for the platform {platform}"), 0
        return
    if status is None or status >= 500:
        hint = "" if status is None else "; the server fails, or a proxy before it; try again later"
        yield Step("answer", False, f"{answer}{hint}"), LATER
        return
    if status < 400:
        cause = "MCM would refuse this request: something else answers; check the address"
    else:
        cause = _CAUSES.get(status, "MCM does not answer so; check the address, and proxies")
    code = LATER if status == 429 else FAILED
    yield Step("answer", False, f"{answer}: {cause}"), code


def _as_json(url: str, body: bytes, steps: list[Step], *, is_well: bool) -> dict[str, Any]:
    return {
        "url": url,
        "body": json.loads(body),
        "is_well": is_well,
        "steps": [step._asdict() for step in steps],
    }
