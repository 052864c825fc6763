"""``amplitude-moloco ping``: is the partner reached, and does it accept the key?

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           the partner is reached, and accepts the key
1           the partner, or what answers in its place, does not
2           the settings can't work
3           the host can't be reached, or fails or throttles: try again later
130         interrupted
==========  =======================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from amplitude_moloco import ConfigurationError
from amplitude_moloco.cli.probes import Probe, judged, probe_of
from amplitude_moloco.cli.route import Route, Step
from amplitude_moloco.cli.settings import load_any
from amplitude_moloco.cli.terminal import (
    LATER,
    AsJson,
    console,
    ending_well,
    print_item,
    print_json,
)
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.transports.named import open_transport


def ping(
    config: Annotated[Path, typer.Argument(help="The settings: a .toml or .json file.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Find out whether MCM, Adjust or Adbrix is reached, and accepts the key.

    Sends one request, which is refused: to MCM a SEARCH without a query, to Adjust an event of a
    device that is invented, to Adbrix one without attributes. Nothing is kept of it.

    Exit codes: 0 all is well, 1 key, app or platform refused, 2 the settings can't work, 3 the
    server can't be reached or fails, 130 interrupted.
    """
    with ending_well():
        settings = load_any(config)
        if settings.chosen_transport() == "none":
            raise ConfigurationError(
                "transport: 'none' sends nothing; leave it out, and unset MOLOCO_TRANSPORT"
            )
        code = _ping(settings, as_json=as_json)
        if code:
            raise typer.Exit(code)


def _ping(settings: DeliverySettings, *, as_json: bool) -> int:
    out, endpoint, probe = console(), settings.endpoint(), probe_of(settings)
    body = probe.body.decode()
    if not as_json:
        out.print(f"POST {endpoint.url}", soft_wrap=True)
        out.print(
            f"{body}\nThe only request, with your key. Nothing is kept of it.\n", soft_wrap=True
        )
    steps, codes = [], []
    for step, code in _steps(settings, probe):
        steps.append(step)
        codes.append(code)
        if not as_json:
            mark = "ok      " if step.is_done else "FAILED  "
            style = "green" if step.is_done else "red"
            print_item(out, f"{mark}{step.name:12}", step.text, style)
    if as_json:
        print_json(_as_json(endpoint.url, body, steps, is_well=not any(codes)))
    return max(codes)


def _steps(settings: DeliverySettings, probe: Probe) -> Iterator[tuple[Step, int]]:
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
        result = transport.send(probe.body)
    finally:
        transport.close()
    yield from judged(probe, result)


def _as_json(url: str, body: str, steps: list[Step], *, is_well: bool) -> dict[str, Any]:
    return {
        "url": url,
        "body": json.loads(body) if body.startswith("{") else body,
        "is_well": is_well,
        "steps": [step._asdict() for step in steps],
    }
