"""Turns the settings ``buffer`` and ``transport``, which any partner has, into what opens them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from amplitude_moloco.buffers.base import BufferFactory
from amplitude_moloco.buffers.url import absolute_url, open_buffer
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint, Transport, TransportFactory
from amplitude_moloco.transports.named import open_transport


def buffer_factory(
    buffer: str | BufferFactory, endpoint: Endpoint, retry: RetrySchedule
) -> BufferFactory:
    """Returns what opens the buffer that a setting names. Raises ConfigurationError."""
    if isinstance(buffer, str):
        return partial(
            open_buffer,
            absolute_url(buffer),  # a forked child may open it from another folder
            target=endpoint.url,
            longest_delay_seconds=retry.longest_delay_seconds,
        )
    if callable(buffer):
        return buffer
    raise ConfigurationError(
        f"buffer: found {type(buffer).__name__}; use a URL such as 'memory://', or a callable"
    )


def transport_factory(
    transport: str | TransportFactory,
    endpoint: Endpoint,
    connections: int,
    timeout_seconds: float,
    ca_bundle: str | None,
) -> Callable[[], Transport]:
    """Returns what opens the transport that a setting names. Raises ConfigurationError."""
    if isinstance(transport, str):
        return partial(
            open_transport,
            transport,
            endpoint,
            connections=connections,
            timeout_seconds=timeout_seconds,
            ca_bundle=ca_bundle,
        )
    if callable(transport):
        return partial(transport, endpoint)
    raise ConfigurationError(
        f"transport: found {type(transport).__name__}; use 'requests', 'curl', or a callable; "
        f"'none' sends nothing, for tests"
    )
