"""Adjust as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from amplitude_moloco.adjust.settings import AdjustSettings
from amplitude_moloco.arguments import hidden, takes_arguments_of
from amplitude_moloco.plugin import PartnerDestination
from amplitude_moloco.watch.address import address_of


class AdjustDestination(PartnerDestination):
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

    @takes_arguments_of(AdjustSettings)
    def __init__(self, settings: AdjustSettings) -> None:
        converter, address = settings.converter(), settings.endpoint().url
        super().__init__(
            converter,
            settings.engine_settings(),
            settings.shutdown_timeout_seconds,
            address,
            address_of(settings.inspector),
        )
        self._url, self._tokens = address, {each.token for each in converter.syncs}
        self._events = len(converter.syncs)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> AdjustDestination:
        """Returns a destination from plain data, as JSON has it; see :meth:`from_file`."""
        data, more = hidden(AdjustSettings, data), hidden(AdjustSettings, more)
        return cls(**vars(AdjustSettings.from_dict(data, **more)))

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> AdjustDestination:
        """Returns a destination from a JSON or TOML file; see :meth:`AdjustSettings.from_file`."""
        more = hidden(AdjustSettings, more)
        settings = AdjustSettings.from_file(path, **more)
        from amplitude_moloco.files.reading import named_in_errors  # needs the extra "config"

        with named_in_errors(path):
            return cls(**vars(settings))

    def __repr__(self) -> str:
        if not hasattr(self, "_events"):  # its constructor has raised, or is not done yet
            return "AdjustDestination(not constructed)"
        return f"AdjustDestination({self._url!r}, {self._events} events)"

    def _common_with(self, other: Any) -> str:
        """Returns in words what another destination of the client may send too."""
        if not isinstance(other, AdjustDestination) or other._url != self._url:  # noqa: SLF001  # ours
            return ""
        common = self._tokens & other._tokens  # noqa: SLF001  # as above
        return f"may both send events of the token {min(common)}" if common else ""
