"""``amplitude-moloco sandbox``: runs the sandbox until it is interrupted."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from amplitude_moloco.sandbox import Sandbox

_INSTRUCTIONS = """\
The sandbox answers for MCM and for Amplitude at {url}

Point the plugin and the SDK to it:

  MolocoDestination(..., base_url="{url}")
  Config(server_url="{amplitude_url}")

Watch what arrives, and why it is refused, in a browser:

  {url}/

Show what it received, and make the next three events fail:

  curl {url}/events
  curl {url}/faults -d '{{"status": 503, "times": 3}}'

Press Ctrl-C to stop."""


def sandbox(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Only this machine can reach the default.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on. 0 picks a free one.")
    ] = 8765,
    api_key: Annotated[
        str | None, typer.Option(help="The only x-api-key to accept. By default, any.")
    ] = None,
    platform_id: Annotated[
        str | None, typer.Option(help="The only platform to accept. By default, any.")
    ] = None,
    exports: Annotated[
        Path | None,
        typer.Option(
            help="A folder with what `fetch` downloads, in files named like "
            "187520_2026-01-31_9#0.json.gz.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(help="A name with a dot by which clients reach it. Repeatable."),
    ] = None,
) -> None:
    """Run a local stand-in for MCM and for Amplitude's HTTP API."""
    # SIGTERM works like Ctrl-C, and SIGINT works even if the shell ignores it in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with Sandbox(
            host=host,
            port=port,
            api_key=api_key,
            platform_id=platform_id,
            exports=exports,
            host_names=host_name or (),
        ) as running:
            typer.echo(_INSTRUCTIONS.format(url=running.url, amplitude_url=running.amplitude_url))
            _wait_for_interrupt()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise SystemExit(f"amplitude-moloco: {error.strerror}") from None


def _wait_for_interrupt() -> NoReturn:
    never = threading.Event()
    while True:
        never.wait(1.0)  # not forever: Windows handles Ctrl-C only between two waits
