"""Adbrix as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

from typing import Any

from amplitude_moloco.arguments import takes_arguments_of
from amplitude_moloco.experimental.adbrix.settings import AdbrixSettings
from amplitude_moloco.partner.destination import ConfiguredDestination


class AdbrixDestination(ConfiguredDestination):
    """Delivers in-app events to Adbrix, by DFINERY's S2S Event API. Experimental, and unconfirmed.

        client.add(AdbrixDestination("TOKEN", adbrix_commerce_events()))

    The API is documented. Not documented, and known to IGAWorks alone: whether these events are
    attributed and posted back to Moloco, which names count, how old an event may be, and whether a
    copy with the same ``event_id`` is suppressed. Ask before you rely on it.

    The arguments are those of :class:`AdbrixSettings`, which documents each. Raises
    ConfigurationError if settings can't work; the text says of each what to use instead.
    """

    settings_class = AdbrixSettings

    @takes_arguments_of(AdbrixSettings)
    def __init__(self, settings: AdbrixSettings) -> None:
        super().__init__(settings)

    def _overlap_with(self, other: Any) -> str:
        common = _sent_by(self) & _sent_by(other)
        return "may both send {} as {}".format(*min(common)) if common else ""


def _sent_by(destination: AdbrixDestination) -> set[tuple[str, str]]:
    return {(each.event, each.adbrix_name) for each in destination.syncs}
