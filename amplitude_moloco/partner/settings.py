"""The settings of delivery, which all partners have in common: checked, and built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Protocol
from urllib.parse import urlsplit

from amplitude_moloco.buffers.base import BufferFactory
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
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown
from amplitude_moloco.transports.base import Endpoint, TransportFactory
from amplitude_moloco.watch.address import address_of
from amplitude_moloco.wiring import (
    buffer_factory,
    buffer_of,
    connections_of,
    transport_factory,
    transport_of,
)


class DeliverySettings(Protocol):
    """The settings of delivery, as constructors of settings name them."""

    @property
    def buffer(self) -> str | BufferFactory: ...
    @property
    def flush_queue_size(self) -> int: ...
    @property
    def flush_interval_millis(self) -> int: ...
    @property
    def hooks(self) -> Hook | Iterable[Hook]: ...
    @property
    def connections(self) -> int | None: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def ca_bundle(self) -> str | PathLike[str] | None: ...
    @property
    def shutdown_timeout_seconds(self) -> float: ...
    @property
    def flush_timeout_seconds(self) -> float | None: ...
    @property
    def max_requests_per_second(self) -> float | None: ...
    @property
    def retry(self) -> RetrySchedule | None: ...
    @property
    def breaker(self) -> BreakerPolicy | None: ...
    @property
    def transport(self) -> str | TransportFactory: ...
    @property
    def inspector(self) -> str | None: ...


def engine_settings_of(
    settings: DeliverySettings,
    partner: Partner,
    endpoint: Callable[[], Endpoint],
    check_buffer: Callable[[str | BufferFactory], None] = lambda buffer: None,
) -> EngineSettings:
    """Returns what ``build_engine()`` needs. Opens nothing.

    ``check_buffer`` raises ConfigurationError for a buffer that the partner can't use. Raises one
    ConfigurationError with all that can't work.
    """

    def checked_buffer() -> str | BufferFactory:
        found = buffer_of(settings.buffer)
        check_buffer(found)
        return found

    checks = Checks()
    retry = checks.run(instance_of, "retry", RetrySchedule, settings.retry)
    breaker = checks.run(instance_of, "breaker", BreakerPolicy, settings.breaker)
    hooks = checks.run(callables_of_one, "hooks", settings.hooks, "one fact")
    buffer = checks.run(checked_buffer)
    transport = checks.run(transport_of, settings.transport)
    connections = checks.run(connections_of, settings.connections, transport)
    checks.run(whole_number, "flush_queue_size", settings.flush_queue_size)
    for name in ("flush_interval_millis", "timeout_seconds", "shutdown_timeout_seconds"):
        checks.run(number, name, getattr(settings, name))
    checks.run(number_or_none, "flush_timeout_seconds", settings.flush_timeout_seconds)
    checks.run(max_rate_of, settings.max_requests_per_second)
    checks.run(address_of, settings.inspector)
    checks.raise_errors()
    address, seconds = endpoint(), settings.timeout_seconds
    return EngineSettings(
        partner=partner,
        open_buffer=buffer_factory(buffer, address, retry),
        open_transport=transport_factory(
            *(transport, address, connections, seconds, settings.ca_bundle)
        ),
        hooks=hooks,
        retry=retry,
        breaker=breaker,
        max_requests_per_second=settings.max_requests_per_second,
        connections=connections,
        flush_queue_size=settings.flush_queue_size,
        flush_interval_millis=settings.flush_interval_millis,
        flush_timeout_seconds=settings.flush_timeout_seconds,
        host=urlsplit(address.url).netloc,
    )


def one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Returns one of these values. Raises ConfigurationError for any other."""
    if isinstance(value, str) and value in choices:
        return value
    raise ConfigurationError(f"{name}: found {shown(value)}; use {' or '.join(map(repr, choices))}")
