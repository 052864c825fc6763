"""``amplitude-moloco sandbox``: runs the sandbox until it is interrupted.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           stopped, by Ctrl-C or SIGTERM
1           the address can't be listened on
2           the command line can't work
==========  =======================================================================================
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from amplitude_moloco.cli.finite import finite
from amplitude_moloco.cli.request_lines import RequestLines
from amplitude_moloco.cli.terminal import FAILED, AsJson, console, end, ending_well, print_json
from amplitude_moloco.host.pause import pause
from amplitude_moloco.sandbox import MmpSettings, Postbacks, Sandbox

_INSTRUCTIONS = """\
The sandbox answers for MCM, Amplitude, an MMP and Adbrix at {url}

Point the plugin and the SDK to it:

  MolocoDestination(..., base_url="{url}")
  Config(server_url="{amplitude_url}")

Watch what arrives, and why it is refused, in a browser:

  {url}/

Tracking links, sessions and events of a measurement partner (MMP) go to

  {mmp_url}/

Show what it received, and make the next three events fail:

  curl {url}/events
  curl {url}/faults -d '{{"status": 503, "times": 3}}'

Press Ctrl-C to stop."""
_POLL_SECONDS = 0.25

ExportsOption = Annotated[
    Path | None,
    typer.Option(
        help="A folder with what `fetch` downloads, in files named like "
        "187520_2026-01-31_9#0.json.gz.",
        exists=True,
        file_okay=False,
    ),
]
HostNameOption = Annotated[
    list[str] | None, typer.Option(help="A name with a dot by which clients reach it. Repeatable.")
]
FailRateOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        callback=finite,
        help="The share of events that fail: 0.2 for every fifth one.",
    ),
]
StatusOption = Annotated[
    int | None,
    typer.Option(
        min=400, max=599, help="Their status, 503 by default. Without --fail-rate, all fail."
    ),
]
LatencyOption = Annotated[
    int, typer.Option(min=0, max=3_600_000, help="How long each answer is delayed.")
]
HostOption = Annotated[
    str, typer.Option(help="Address to listen on. Only this machine can reach the default.")
]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on. 0 picks a free one.")
]
ApiKeyOption = Annotated[
    str | None, typer.Option(help="The only x-api-key to accept. By default, any.")
]
PlatformOption = Annotated[
    str | None, typer.Option(help="The only platform to accept. By default, any.")
]
AppTokenOption = Annotated[
    str | None, typer.Option(help="The only app token that the MMP knows. By default, any.")
]
LinkedEventOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A linked event, as abc123=purchase: the MMP posts it back to Moloco under this "
        "name. Repeatable. By default, all are linked."
    ),
]
PostbackUrlOption = Annotated[
    str | None,
    typer.Option(help="Where the MMP sends Moloco's postbacks. By default, it only shows them."),
]
AttributedOnlyOption = Annotated[
    bool, typer.Option("--mmp-attributed-only", help="Post back only what Moloco drove.")
]
SendCallbacksOption = Annotated[
    bool,
    typer.Option(
        "--mmp-send-callbacks", help="Send the callbacks that links ask for, not only show them."
    ),
]


def sandbox(
    *,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    api_key: ApiKeyOption = None,
    platform_id: PlatformOption = None,
    exports: ExportsOption = None,
    host_name: HostNameOption = None,
    fail_rate: FailRateOption = None,
    status: StatusOption = None,
    latency_millis: LatencyOption = 0,
    mmp_app_token: AppTokenOption = None,
    mmp_event: LinkedEventOption = None,
    mmp_postback_url: PostbackUrlOption = None,
    mmp_attributed_only: AttributedOnlyOption = False,
    mmp_send_callbacks: SendCallbacksOption = False,
    as_json: AsJson = False,
) -> None:
    """Run a local stand-in for MCM, Amplitude's HTTP API, an MMP and Adbrix's API.

    Prints a line for each request as it comes. With --json, the first line has the addresses.

    Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 the address can't be listened on, 2 wrong usage.
    """
    mmp = _mmp_of(mmp_app_token, mmp_event, mmp_postback_url, is_full=not mmp_attributed_only)
    mmp = replace(mmp, sends_callbacks=mmp_send_callbacks)
    with ending_well(), suppress(KeyboardInterrupt):
        try:
            with Sandbox(
                host=host,
                port=port,
                api_key=api_key,
                platform_id=platform_id,
                exports=exports,
                host_names=host_name or (),
                delay_seconds=latency_millis / 1000,
                fail_rate=_rate_of(fail_rate, status),
                fail_status=status or 503,
                mmp=mmp,
            ) as running:
                _run(running, as_json=as_json)
        except BrokenPipeError:  # of the output
            raise
        except OSError as error:
            end(FAILED, str(error.strerror))


def _run(running: Sandbox, *, as_json: bool) -> NoReturn:
    urls = {
        "url": running.url,
        "amplitude_url": running.amplitude_url,
        "mmp_url": running.mmp_url,
    }
    if as_json:
        print_json(urls)
    else:
        typer.echo(_INSTRUCTIONS.format(**urls))
    out, lines = console(), RequestLines(running)
    while True:
        for line in lines.new():
            if as_json:
                print_json(line.as_json())
            else:
                out.print(line.text, style=line.style, soft_wrap=True)
        pause(_POLL_SECONDS)


def _rate_of(fail_rate: float | None, status: int | None) -> float:
    if fail_rate is None:
        return 0.0 if status is None else 1.0
    return fail_rate


def _mmp_of(
    app_token: str | None, events: list[str] | None, url: str | None, *, is_full: bool
) -> MmpSettings:
    """Returns the MMP that the options describe. Raises BadParameter for what can't be."""
    linked = dict(event.partition("=")[::2] for event in events or ())
    if not all(linked.values()):
        raise typer.BadParameter("write --mmp-event as TOKEN=NAME: abc123=purchase")
    try:
        postbacks = Postbacks(url=url, full=is_full, events=linked or None)
        moloco, other = MmpSettings().partners
        partners = (replace(moloco, postbacks=postbacks), other)
        return MmpSettings(app_token=app_token, partners=partners)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
