"""The settings of delivery, which all partners have in common: checked, and built from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from amplitude_moloco.arguments import hidden
from amplitude_moloco.buffers.base import BufferFactory
from amplitude_moloco.buffers.url import BufferUrl
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.checks import (
    Checks,
    callables_of_one,
    instance_of,
    number,
    number_or_none,
    whole_number,
)
from amplitude_moloco.engine.engine import EngineSettings, Partner
from amplitude_moloco.engine.facts import Hook
from amplitude_moloco.engine.rate import max_rate_of
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.partner.checks import ca_bundle_of, switched
from amplitude_moloco.partner.placeholders import refuse_placeholders
from amplitude_moloco.partner.plain import settings_of_data, settings_of_file
from amplitude_moloco.plugin import Converter
from amplitude_moloco.transports.absent import AbsentTransport
from amplitude_moloco.transports.base import Endpoint, TransportFactory
from amplitude_moloco.watch.address import address_of
from amplitude_moloco.wiring import (
    buffer_factory,
    buffer_of,
    connections_of,
    durable_buffer_of,
    transport_factory,
    transport_of,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from amplitude_moloco.files.loading import Shape


@dataclass(frozen=True, kw_only=True)
class DeliverySettings(ABC):
    """What every class of settings has; :class:`MolocoSettings` documents each.

    Checked once constructed, but nothing is opened.
    """

    lists: ClassVar[tuple[str, ...]] = ("hooks",)
    """The settings that may be an iterator, which can be read only once."""

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
        for name in self.lists:
            value = getattr(self, name)
            if isinstance(value, Iterator):
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.buffer, str):
            object.__setattr__(self, "buffer", BufferUrl(self.buffer))  # its repr hides a password
        # All mistakes are found by building everything.
        checks = Checks()
        checks.run(self.endpoint)
        checks.run(self.converter)
        checks.run(self.engine_settings)
        checks.raise_errors()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> Self:
        """Returns settings from plain data, as JSON has it; see :meth:`from_file`."""
        data, more = hidden(cls, data), hidden(cls, more)
        return settings_of_data(cls, cls._shape, data, more)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> Self:
        """Returns settings from a JSON or TOML file with the names of the fields.

        ``${NAME}`` in a text stands for an environment variable. ``more`` are settings that the
        file lacks, or can't hold, such as ``hooks``; they replace the file's. Raises
        ConfigurationError naming the place in the file: an unknown key, a wrong type, a missing
        field, a value that can't work.
        """
        more = hidden(cls, more)
        return settings_of_file(cls, cls._shape, path, more)

    @classmethod
    @abstractmethod
    def _shape(cls) -> Shape:
        """Returns how these settings look as plain data. Imports the extra ``config``."""

    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Returns the partner's address and headers."""

    @abstractmethod
    def converter(self) -> Converter:
        """Returns a converter of Amplitude events to the partner's. Safe from any thread."""

    @abstractmethod
    def partner(self) -> Partner:
        """Returns what the engine needs to know of the partner."""

    def delivers(self) -> bool:
        """Returns whether this process sends, or only stores for another one."""
        return True

    def chosen_transport(self) -> str | TransportFactory:
        """Returns what ``transport`` and the environment choose here: a name, or a callable."""
        return transport_of(switched(self.transport))

    def chosen_buffer(self) -> str | BufferFactory:
        """Returns what ``buffer`` chooses: a URL with an absolute path, or a callable."""
        return buffer_of(self.buffer)

    def engine_settings(self) -> EngineSettings:
        """Returns what ``build_engine()`` needs. Opens nothing."""
        checks = Checks()
        partner = checks.run(self.partner)
        retry = checks.run(instance_of, "retry", RetrySchedule, self.retry)
        breaker = checks.run(instance_of, "breaker", BreakerPolicy, self.breaker)
        hooks = checks.run(callables_of_one, "hooks", self.hooks, "one fact")
        checks.run(refuse_placeholders, "buffer", self.buffer)
        buffer = checks.run(self.chosen_buffer)
        is_delivering = checks.run(self.delivers)
        if is_delivering is False:
            checks.run(durable_buffer_of, "deliver: False", buffer)
        transport = checks.run(self.chosen_transport)
        ca_bundle = checks.run(ca_bundle_of, self.ca_bundle)
        connections = checks.run(connections_of, self.connections, transport)
        checks.run(whole_number, "flush_queue_size", self.flush_queue_size)
        for name in ("flush_interval_millis", "timeout_seconds", "shutdown_timeout_seconds"):
            checks.run(number, name, getattr(self, name))
        checks.run(number_or_none, "flush_timeout_seconds", self.flush_timeout_seconds)
        checks.run(max_rate_of, self.max_requests_per_second)
        checks.run(refuse_placeholders, "inspector", self.inspector)
        checks.run(address_of, self.inspector)
        checks.raise_errors()
        address, seconds = self.endpoint(), self.timeout_seconds
        return EngineSettings(
            partner=partner,
            open_buffer=buffer_factory(buffer, address, retry, delivers=is_delivering),
            open_transport=AbsentTransport
            if not is_delivering
            else transport_factory(transport, address, connections, seconds, ca_bundle),
            delivers=is_delivering,
            hooks=hooks,
            retry=retry,
            breaker=breaker,
            max_requests_per_second=self.max_requests_per_second,
            connections=connections,
            flush_queue_size=self.flush_queue_size,
            flush_interval_millis=self.flush_interval_millis,
            flush_timeout_seconds=self.flush_timeout_seconds,
            host=urlsplit(address.url).netloc,  # an endpoint's address holds no login
        )
