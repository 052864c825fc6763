"""Adjust as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

from typing import Any

from amplitude_moloco.adjust.settings import AdjustSettings
from amplitude_moloco.arguments import takes_arguments_of
from amplitude_moloco.partner.destination import ConfiguredDestination


class AdjustDestination(ConfiguredDestination):
    """Delivers in-app events to Adjust, by its server-to-server API. Experimental.

        client.add(AdjustDestination("abc123def456", [AdjustEvent("Order Completed", "f0ob4r")],
                                     environment="production"))

    Events of one device and event token are sent one at a time, in the order in which they were
    tracked: Adjust refuses what is earlier than what it has. A retry holds up its device's later
    events of that token, and nothing else. Processes that share no user keep all orders; two that
    track the same device at the same time keep none between them. A dead letter that is resent
    after a newer event will be refused.

    Adjust suppresses no copies: an event that is sent twice counts twice. See ``on_ambiguous``.

    The arguments are those of :class:`AdjustSettings`, which documents each. Raises
    ConfigurationError if settings can't work; the text says of each what to use instead.
    """

    settings_class = AdjustSettings

    @takes_arguments_of(AdjustSettings)
    def __init__(self, settings: AdjustSettings) -> None:
        super().__init__(settings)

    def _overlap_with(self, other: Any) -> str:
        common = {each.token for each in self.syncs} & {each.token for each in other.syncs}
        return f"may both send events of the token {min(common)}" if common else ""
