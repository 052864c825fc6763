"""``amplitude-moloco relay``: delivers from a durable buffer, as a service.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           stopped by SIGTERM or Ctrl-C: what was on its way is finished, the rest is in the buffer
1           the address of its pages can't be listened on
2           the command line or the settings can't work
130         ended at once, by a second signal: what was on its way is sent again by the next relay
==========  =======================================================================================
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from amplitude_moloco.cli.finite import finite
from amplitude_moloco.cli.terminal import FAILED, INTERRUPTED, UNUSABLE, end
from amplitude_moloco.engine.checks import number
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.relay.address import address_of
from amplitude_moloco.relay.configuration import read_configuration
from amplitude_moloco.relay.log_lines import LogFormat, logging_to
from amplitude_moloco.relay.relay import Relay
from amplitude_moloco.relay.signals import Signals

ConfigArgument = Annotated[
    Path, typer.Argument(help="The settings: a .toml or .json file, which the apps may share.")
]
ConnectionsOption = Annotated[
    int | None, typer.Option(min=1, help="How many requests may be on their way at a time.")
]
RateOption = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        callback=finite,
        help="The highest rate, in events a second. Goes before the file's.",
    ),
]
ListenOption = Annotated[
    str,
    typer.Option(
        help="Where to serve /livez, /readyz and /metrics; 'off' for nowhere. Only this machine "
        "can reach the default."
    ),
]
DeadlineOption = Annotated[
    float, typer.Option(help="How many seconds what is on its way has at the end.")
]
LogFormatOption = Annotated[
    LogFormat, typer.Option(help="One line a record on stderr, as text or as JSON.")
]


def relay(
    config: ConfigArgument,
    *,
    connections: ConnectionsOption = None,
    rate: RateOption = None,
    listen: ListenOption = "127.0.0.1:8767",
    deadline: DeadlineOption = 20.0,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Deliver what apps with deliver=False store in a durable buffer, as a service.

    Any number of relays may share a buffer. SIGTERM ends it: it finishes what is on its way and
    leaves the rest in the buffer. SIGHUP reads CONFIG again, for max_requests_per_second and the
    names of the syncs. It speaks systemd's sd_notify, with the watchdog.

    Exit codes: 0 stopped, 1 the address can't be listened on, 2 wrong usage or settings, 130 ended
    at once by a second signal.
    """
    try:
        with Signals() as signals, logging_to(form=log_format):
            service = Relay(
                partial(read_configuration, config),
                connections=connections,
                rate=rate,
                deadline_seconds=number("--deadline", deadline),
                address=address_of(listen),
            )
            is_done = service.run(signals)
    except ConfigurationError as error:
        end(UNUSABLE, *error.errors)
    except OSError as error:
        end(FAILED, str(error.strerror))
    if not is_done:
        raise typer.Exit(INTERRUPTED)
