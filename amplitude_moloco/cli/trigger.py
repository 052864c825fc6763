"""``amplitude-moloco trigger``: sends one valid sample event of a type.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           the event was accepted
1           it was refused, or the question was not answered with yes
2           the command line or the settings can't work
3           the host can't be reached, or fails or throttles: try again later
130         interrupted
==========  =======================================================================================
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from amplitude import BaseEvent

from amplitude_moloco import (
    ConfigurationError,
    EventType,
    MolocoSettings,
    SendResult,
    ecommerce_syncs,
)
from amplitude_moloco.cli.settings import load
from amplitude_moloco.cli.shop import TRACKED
from amplitude_moloco.cli.terminal import (
    FAILED,
    LATER,
    AsJson,
    console,
    end,
    ending_well,
    print_json,
)
from amplitude_moloco.text import one_line
from amplitude_moloco.transports.named import open_transport

_SANDBOX = "http://127.0.0.1:8765"
_USER = "amplitude-moloco-sample"


def trigger(
    kind: Annotated[
        EventType, typer.Argument(metavar="TYPE", case_sensitive=False, help="MCM's event type.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(help="Settings with the address and the key. By default, a local sandbox."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help=f"A sandbox at another address than {_SANDBOX}.")
    ] = None,
    *,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even for MCM.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send one valid sample event, to the sandbox or, with --config, to where the settings say.

    Asks first if that is another machine: MCM counts the event like any other. Its user is
    amplitude-moloco-sample.

    Exit codes: 0 accepted, 1 refused or not confirmed, 2 wrong usage, 3 MCM can't be reached or
    fails, 130 interrupted.
    """
    with ending_well():
        settings = _settings(config, url)
        if settings.chosen_transport() == "none":
            raise ConfigurationError(
                "transport: 'none' sends nothing; leave it out, and unset MOLOCO_TRANSPORT"
            )
        address = settings.endpoint()
        host = urlsplit(address.url).netloc
        body = sample_body(kind, time.time())
        if not as_json:
            console().print(f"POST {address.url}\n{one_line(body.decode())}", soft_wrap=True)
        question = f"Send this {kind.value} to {host}? It counts like any other event."
        is_here = address.is_plain and not address.exposed_host
        if not (is_here or is_sure or typer.confirm(question, err=True)):
            end(FAILED, "nothing was sent")
        result = _send(settings, body)
        code = _code_of(result)
        if as_json:
            answer = {"status": result.status, "message": result.explanation}
            print_json({"url": address.url, "body": json.loads(body), **answer})
        else:
            text = "accepted" if code == 0 else one_line(result.explanation)
            console().print(f"{result.status or 'no answer'}: {text}", soft_wrap=True)
        if code:
            raise typer.Exit(code)


def sample_body(kind: EventType, now_seconds: float) -> bytes:
    """Returns the body of a valid event: what the ready-made syncs make of the demo shop's."""
    millis = int(now_seconds * 1000)
    converter = _sandbox_settings(_SANDBOX).converter()
    conversions = [
        conversion
        for name, properties in TRACKED
        for conversion in converter.convert(_event(name, properties, millis), millis)
    ]
    return next(each.body for each in conversions if each.payload.get("event_type") == kind.value)


def _event(name: str, properties: dict[str, Any], millis: int) -> BaseEvent:
    return BaseEvent(
        name,
        user_id=_USER,
        device_id=f"{_USER}-device",
        time=millis,
        insert_id=str(uuid.uuid4()),
        event_properties=properties,
    )


def _settings(config: Path | None, url: str | None) -> MolocoSettings:
    if config is not None and url is not None:
        raise ConfigurationError("--url: given beside --config; use one of the two")
    return load(config) if config is not None else _sandbox_settings(url or _SANDBOX)


def _sandbox_settings(url: str) -> MolocoSettings:
    return MolocoSettings(
        "any-key", "SANDBOX_SHOP", ecommerce_syncs(), base_url=url, channel_type="SITE"
    )


def _send(settings: MolocoSettings, body: bytes) -> SendResult:
    transport = open_transport(
        str(settings.chosen_transport()),
        settings.endpoint(),
        connections=1,
        timeout_seconds=settings.timeout_seconds,
        ca_bundle=settings.ca_bundle,
    )
    try:
        return transport.send(body)
    finally:
        transport.close()


def _code_of(result: SendResult) -> int:
    if result.status is None or result.status >= 500 or result.status == 429:
        return LATER
    return 0 if result.status < 300 else FAILED
