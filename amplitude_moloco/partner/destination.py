"""A destination that is made of settings: in code, from plain data, or from a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from amplitude_moloco.arguments import hidden
from amplitude_moloco.buffers.url import public_url
from amplitude_moloco.partner.checks import TRANSPORT_VARIABLE
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.plugin import PartnerDestination
from amplitude_moloco.watch.address import address_of

if TYPE_CHECKING:
    from typing_extensions import Self


class ConfiguredDestination(PartnerDestination):
    """What all destinations have in common beside their life in the SDK."""

    settings_class: ClassVar[type[DeliverySettings]]
    """Whose arguments the constructor takes."""
    parts_name: ClassVar[str] = "events"
    """What its settings call the list that selects events."""

    def __init__(self, settings: DeliverySettings) -> None:
        converter, address = settings.converter(), settings.endpoint().url
        super().__init__(
            converter,
            settings.engine_settings(),
            settings.shutdown_timeout_seconds,
            address,
            address_of(settings.inspector),
        )
        self._url, self._syncs = address, converter.syncs
        self._buffer = public_url(_named(settings.chosen_buffer()))
        self._delivers = settings.delivers()
        self._transport = _named(settings.chosen_transport()) if self._delivers else "absent"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> Self:
        """Returns a destination from plain data, as JSON has it; see :meth:`from_file`."""
        kind = cls.settings_class
        data, more = hidden(kind, data), hidden(kind, more)
        return cls(**vars(kind.from_dict(data, **more)))

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> Self:
        """Returns a destination from a JSON or TOML file; see ``from_file`` of its settings."""
        kind = cls.settings_class
        more = hidden(kind, more)
        settings = kind.from_file(path, **more)
        from amplitude_moloco.files.reading import named_in_errors  # needs the extra "config"

        with named_in_errors(path):
            return cls(**vars(settings))

    def __repr__(self) -> str:
        name = type(self).__name__
        if not hasattr(self, "_transport"):  # its constructor has raised, or is not done yet
            return f"{name}(not constructed)"
        return f"{name}({', '.join(self._details())})"

    @property
    def kinds(self) -> tuple[str, str]:
        """The kinds of buffer and transport: ``("sqlite", "curl")``, or ``"a callable"``.

        The transport is ``absent`` with ``deliver=False``.
        """
        return self._buffer.partition(":")[0], self._transport

    @property
    def syncs(self) -> Sequence[Any]:
        """What selects events, each with its ``name``."""
        return self._syncs

    def _details(self) -> list[str]:
        """Returns what its repr shows."""
        road = f"transport={self._transport!r}" if self._delivers else "deliver=False"
        count = f"{len(self._syncs)} {self.parts_name}"
        return [repr(self._url), count, f"buffer={self._buffer!r}", road]

    def _common_with(self, other: Any) -> str:
        """Returns in words what another destination of the client may send too."""
        kind = self.settings_class
        if not isinstance(other, ConfiguredDestination) or other.settings_class is not kind:
            return ""
        return self._overlap_with(other) if other._url == self._url else ""  # noqa: SLF001  # ours

    @abstractmethod
    def _overlap_with(self, other: Any) -> str:
        """Returns in words what another one with the same address may send too."""

    def _obstacles(self) -> list[str]:
        """Returns in words why nothing is sent now, whatever the syncs say."""
        found = super()._obstacles()
        if self._transport == "none":
            found.append(
                f"The transport is 'none': nothing is sent, as the setting or "
                f"{TRANSPORT_VARIABLE} asks for."
            )
        if not self._delivers:
            found.append("deliver=False: events are stored, and another process sends them.")
        return found


def _named(setting: object) -> str:
    """Returns a name or an address as it is; a callable may show what is the app's."""
    return setting if isinstance(setting, str) else "a callable"
