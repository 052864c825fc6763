"""Adbrix as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from amplitude_moloco.adbrix.settings import AdbrixSettings
from amplitude_moloco.arguments import hidden, takes_arguments_of
from amplitude_moloco.plugin import PartnerDestination
from amplitude_moloco.watch.address import address_of


class AdbrixDestination(PartnerDestination):
    """Delivers in-app events to Adbrix, by DFINERY's S2S Event API. Experimental, and unconfirmed.

        client.add(AdbrixDestination("TOKEN", adbrix_commerce_events()))

    The API is documented. Not documented, and known to IGAWorks alone: whether these events are
    attributed and posted back to Moloco, which names count, how old an event may be, and whether a
    copy with the same ``event_id`` is suppressed. Ask before you rely on it.

    The arguments are those of :class:`AdbrixSettings`, which documents each. Raises
    ConfigurationError if settings can't work; the text says of each what to use instead.
    """

    @takes_arguments_of(AdbrixSettings)
    def __init__(self, settings: AdbrixSettings) -> None:
        converter, address = settings.converter(), settings.endpoint().url
        super().__init__(
            converter,
            settings.engine_settings(),
            settings.shutdown_timeout_seconds,
            address,
            address_of(settings.inspector),
        )
        self._url = address
        self._sent = {(each.event, each.adbrix_name) for each in converter.syncs}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> AdbrixDestination:
        """Returns a destination from plain data, as JSON has it; see :meth:`from_file`."""
        data, more = hidden(AdbrixSettings, data), hidden(AdbrixSettings, more)
        return cls(**vars(AdbrixSettings.from_dict(data, **more)))

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> AdbrixDestination:
        """Returns a destination from a JSON or TOML file; see :meth:`AdbrixSettings.from_file`."""
        more = hidden(AdbrixSettings, more)
        settings = AdbrixSettings.from_file(path, **more)
        from amplitude_moloco.files.reading import named_in_errors  # needs the extra "config"

        with named_in_errors(path):
            return cls(**vars(settings))

    def __repr__(self) -> str:
        if not hasattr(self, "_sent"):  # its constructor has raised, or is not done yet
            return "AdbrixDestination(not constructed)"
        return f"AdbrixDestination({self._url!r}, {len(self._sent)} events)"

    def _common_with(self, other: Any) -> str:
        """Returns in words what another destination of the client may send too."""
        if not isinstance(other, AdbrixDestination) or other._url != self._url:  # noqa: SLF001  # ours
            return ""
        common = self._sent & other._sent  # noqa: SLF001  # as above
        return f"may both send {min(common)[0]} as {min(common)[1]}" if common else ""
