"""How settings look as plain data, such as a JSON or TOML file. Needs the extra ``config``."""

from __future__ import annotations

from typing import Final

from amplitude_moloco.experimental.adbrix.commerce import adbrix_commerce_events
from amplitude_moloco.experimental.adbrix.event import AdbrixEvent
from amplitude_moloco.files.loading import Shape

SHAPE: Final = Shape(
    name="events",
    part=AdbrixEvent,
    required=("token", "events"),
    owner="to an event: in TOML, write it under [[events]]",
    list_advice="use a list of events (in TOML, [[events]]), or 'commerce' for the ready ones",
    ready={"commerce": adbrix_commerce_events},
)
