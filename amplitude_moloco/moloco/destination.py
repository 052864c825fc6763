"""Moloco Commerce Media as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import PathLike
from typing import Any

from amplitude_moloco.arguments import hidden, takes_arguments_of
from amplitude_moloco.buffers.url import public_url
from amplitude_moloco.moloco.overlaps import overlapping_type, warn_of_overlaps
from amplitude_moloco.moloco.private_host import EXPOSURE
from amplitude_moloco.moloco.settings import MolocoSettings
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.plugin import PartnerDestination
from amplitude_moloco.watch.address import address_of
from amplitude_moloco.wiring import buffer_of

logger = logging.getLogger(__name__)


class MolocoDestination(PartnerDestination):
    """Delivers the events that its syncs select to Moloco Commerce Media (MCM).

        client.add(MolocoDestination(platform_id="MY_SHOP", platform_name="my-shop", syncs=[…]))

    Ready once constructed. All methods are safe from any thread. None raises into ``track()``, and
    ``track()`` never waits for the network.

    The arguments are those of :class:`MolocoSettings`, which documents each. Raises
    ConfigurationError if settings can't work; the text says of each what to use instead.
    """

    @takes_arguments_of(MolocoSettings)
    def __init__(self, settings: MolocoSettings) -> None:
        converter, endpoint = settings.converter(), settings.endpoint()
        warn_of_overlaps(converter.syncs)
        super().__init__(
            converter,
            settings.engine_settings(),
            settings.shutdown_timeout_seconds,
            endpoint.url,
            address_of(settings.inspector),
        )
        self._url, self._syncs = endpoint.url, converter.syncs
        self._buffer = public_url(_named(buffer_of(settings.buffer)))
        self._delivers = settings.delivers()
        self._transport = _named(settings.chosen_transport()) if self._delivers else "absent"
        self._exposed_host = endpoint.exposed_host if self._delivers else ""
        if self._exposed_host:
            logger.warning(EXPOSURE, self._exposed_host)
        logger.debug("%r is ready", self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> MolocoDestination:
        """Returns a destination from plain data, as JSON has it; see :meth:`from_file`."""
        data, more = hidden(MolocoSettings, data), hidden(MolocoSettings, more)
        return cls(**vars(MolocoSettings.from_dict(data, **more)))

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> MolocoDestination:
        """Returns a destination from a JSON or TOML file; see :meth:`MolocoSettings.from_file`."""
        more = hidden(MolocoSettings, more)
        settings = MolocoSettings.from_file(path, **more)
        from amplitude_moloco.moloco.file import named_in_errors  # needs the extra "config"

        with named_in_errors(path):
            return cls(**vars(settings))

    def __repr__(self) -> str:
        if not hasattr(self, "_transport"):  # its constructor has raised, or is not done yet
            return "MolocoDestination(not constructed)"
        road = f"transport={self._transport!r}" if self._delivers else "deliver=False"
        exposed = f", allow_plain_http={self._exposed_host!r}" if self._exposed_host else ""
        return (
            f"MolocoDestination({self._url!r}, {len(self._syncs)} syncs, buffer={self._buffer!r}, "
            f"{road}{exposed})"
        )

    def _common_with(self, other: Any) -> str:
        """Returns in words what another destination of the client may send too."""
        if not isinstance(other, MolocoDestination) or other._url != self._url:  # noqa: SLF001  # ours
            return ""
        found = overlapping_type(self.syncs, other.syncs)
        return f"may both send an event as {found}" if found else ""

    def _obstacles(self) -> list[str]:
        """Returns in words why nothing is sent now, whatever the syncs say."""
        found = super()._obstacles()
        if self._transport == "none":
            found.append(
                "The transport is 'none': nothing is sent, as the setting or "
                "MOLOCO_TRANSPORT asks for."
            )
        if not self._delivers:
            found.append("deliver=False: events are stored, and another process sends them.")
        return found

    @property
    def kinds(self) -> tuple[str, str]:
        """The kinds of buffer and transport: ``("sqlite", "curl")``, or ``"a callable"``.

        The transport is ``absent`` with ``deliver=False``.
        """
        return self._buffer.partition(":")[0], self._transport

    @property
    def syncs(self) -> tuple[Sync, ...]:
        """The syncs. ``enabled`` of each may be changed at any time."""
        return self._syncs


def _named(setting: object) -> str:
    """Returns a name or an address as it is; a callable may show what is the app's."""
    return setting if isinstance(setting, str) else "a callable"
