"""All settings of a destination: their names, types and defaults, and what is built from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from amplitude_moloco.adbrix.answers import accepts, classify, error_message
from amplitude_moloco.adbrix.converter import Converter
from amplitude_moloco.adbrix.event import AdbrixEvent
from amplitude_moloco.arguments import hides_arguments
from amplitude_moloco.buffers.base import BufferFactory
from amplitude_moloco.buffers.url import BufferUrl
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.engine.engine import EngineSettings, Partner
from amplitude_moloco.engine.facts import Hook
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.address import base_url_of, token_of
from amplitude_moloco.partner.plain import settings_of_data, settings_of_file
from amplitude_moloco.partner.settings import engine_settings_of
from amplitude_moloco.transports.base import Endpoint, TransportFactory

if TYPE_CHECKING:
    from amplitude_moloco.files.loading import Shape

BASE_URL = "https://openapi.dfinery.io"
_ADBRIX = Partner("Adbrix", "the API token or the address", classify)


@hides_arguments
@dataclass(frozen=True)
class AdbrixSettings:
    """What a destination is made of: the arguments of :class:`AdbrixDestination`.

    Checked once constructed, but nothing is opened. The repr does not show the token. The
    arguments from ``buffer`` on mean the same as those of :class:`MolocoSettings`.

    Args:
        token: The API token of DFINERY's console. The API belongs to a paid plan.
        events: One or several: which events are sent, and as what; see :class:`AdbrixEvent` and
            :func:`adbrix_commerce_events`.
        base_url: Stands in place of ``https://openapi.dfinery.io``.

    Raises:
        ConfigurationError: Settings can't work; the text says of each what to use instead.
    """

    token: str = field(repr=False)
    events: AdbrixEvent | Iterable[AdbrixEvent]
    _: KW_ONLY
    base_url: str | None = None
    buffer: str | BufferFactory = "memory://"
    flush_queue_size: int = 16
    flush_interval_millis: int = 200
    hooks: Hook | Iterable[Hook] = ()
    connections: int | None = None
    timeout_seconds: float = 10.0
    ca_bundle: str | PathLike[str] | None = None
    shutdown_timeout_seconds: float = 5.0
    flush_timeout_seconds: float | None = None
    max_requests_per_second: float | None = None
    retry: RetrySchedule | None = None
    breaker: BreakerPolicy | None = None
    transport: str | TransportFactory = "auto"
    inspector: str | None = None

    def __post_init__(self) -> None:
        events = self.events
        is_list = isinstance(events, Iterable) and not isinstance(events, (str, Mapping))
        object.__setattr__(self, "events", tuple(events) if is_list else (events,))  # type: ignore[arg-type]  # just checked
        if isinstance(self.buffer, str):
            object.__setattr__(self, "buffer", BufferUrl(self.buffer))  # it may hold a login
        checks = Checks()
        checks.run(self.endpoint)
        checks.run(self.converter)
        checks.run(self.engine_settings)
        checks.raise_errors()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> AdbrixSettings:
        """Returns settings from plain data, as JSON has it; see :meth:`from_file`."""
        return settings_of_data(cls, _shape, data, more)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> AdbrixSettings:
        """Returns settings from a JSON or TOML file with the names of the fields.

        ``events`` is a list with the arguments of :class:`AdbrixEvent`, or ``"commerce"`` for those
        of :func:`adbrix_commerce_events`. ``${NAME}`` in a text stands for an environment variable.
        ``more`` are settings that the file lacks, or can't hold; they replace the file's. Raises
        ConfigurationError naming the place in the file.
        """
        return settings_of_file(cls, _shape, path, more)

    def endpoint(self) -> Endpoint:
        """Returns the address and the headers."""
        checks = Checks()
        token = checks.run(token_of, self.token, "the API token of DFINERY's console")
        base = checks.run(base_url_of, self.base_url, BASE_URL)
        checks.raise_errors()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        url = f"{base}/api/v1/events"
        return Endpoint(url, headers, token, read_error=error_message, accepts=accepts)

    def converter(self) -> Converter:
        """Returns a converter of Amplitude events to Adbrix's. Safe from any thread."""
        found = tuple(self.events)  # type: ignore[arg-type]  # a tuple since __post_init__
        if not found or not all(isinstance(each, AdbrixEvent) for each in found):
            raise ConfigurationError(
                "events: use AdbrixEvent('Order Completed', 'abx:purchase'), or several"
            )
        return Converter(found)

    def engine_settings(self) -> EngineSettings:
        """Returns what ``build_engine()`` needs. Opens nothing."""
        return engine_settings_of(self, _ADBRIX, self.endpoint)


def _shape() -> Shape:
    from amplitude_moloco.adbrix.file import SHAPE  # needs the extra "config"

    return SHAPE
