"""Moloco Commerce Media as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

import logging
from typing import Any

from amplitude_moloco.arguments import takes_arguments_of
from amplitude_moloco.moloco.overlaps import overlapping_type, warn_of_overlaps
from amplitude_moloco.moloco.private_host import EXPOSURE
from amplitude_moloco.moloco.settings import MolocoSettings
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.partner.destination import ConfiguredDestination

logger = logging.getLogger(__name__)


class MolocoDestination(ConfiguredDestination):
    """Delivers the events that its syncs select to Moloco Commerce Media (MCM).

        client.add(MolocoDestination(platform_id="MY_SHOP", platform_name="my-shop", syncs=[…]))

    Ready once constructed. All methods are safe from any thread. None raises into ``track()``, and
    ``track()`` never waits for the network.

    The arguments are those of :class:`MolocoSettings`, which documents each. Raises
    ConfigurationError if settings can't work; the text says of each what to use instead.
    """

    settings_class = MolocoSettings
    parts_name = "syncs"
    _exposed_host = ""

    @takes_arguments_of(MolocoSettings)
    def __init__(self, settings: MolocoSettings) -> None:
        super().__init__(settings)
        warn_of_overlaps(self.syncs)
        if self._delivers:
            self._exposed_host = settings.endpoint().exposed_host
        if self._exposed_host:
            logger.warning(EXPOSURE, self._exposed_host)
        logger.debug("%r is ready", self)

    @property
    def syncs(self) -> tuple[Sync, ...]:
        """The syncs. ``enabled`` of each may be changed at any time."""
        return tuple(self._syncs)

    def _details(self) -> list[str]:
        exposed = [f"allow_plain_http={self._exposed_host!r}"] if self._exposed_host else []
        return [*super()._details(), *exposed]

    def _overlap_with(self, other: Any) -> str:
        found = overlapping_type(self.syncs, other.syncs)
        return f"may both send an event as {found}" if found else ""
