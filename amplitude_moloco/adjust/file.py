"""How settings look as plain data, such as a JSON or TOML file. Needs the extra ``config``."""

from __future__ import annotations

from typing import Final

from amplitude_moloco.adjust.event import AdjustEvent
from amplitude_moloco.files.loading import Shape

SHAPE: Final = Shape(
    name="events",
    part=AdjustEvent,
    required=("app_token", "events", "environment"),
    owner="to an event: in TOML, write it under [[events]], before [events.partner_params]",
    list_advice="use a list of events (in TOML, [[events]])",
)
