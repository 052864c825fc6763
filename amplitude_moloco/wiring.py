"""Turns the settings ``buffer`` and ``transport``, which any partner has, into what opens them.

Each is checked first, together with all other settings, and opened later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any

from amplitude_moloco.buffers.base import BufferFactory, Storage
from amplitude_moloco.buffers.url import absolute_url, open_buffer
from amplitude_moloco.engine.checks import callable_of_none, callable_of_one, whole_number
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint, Transport, TransportFactory
from amplitude_moloco.transports.named import known_name, name_of_best, open_transport

_BUFFER_METHODS = "put claim ack retry checkpoint state close bury dead_letters resend"
_TRANSPORT_METHODS = "send close"
_CONNECTIONS = 16
_MANY_CONNECTIONS = 64
"""Where one thread has all requests in flight, more of them cost next to nothing."""


def buffer_of(buffer: str | BufferFactory) -> str | BufferFactory:
    """Returns the setting ``buffer``, a URL with an absolute path. Raises ConfigurationError."""
    if isinstance(buffer, str):
        return absolute_url(buffer)  # a forked child may open it from another folder
    if callable(buffer):
        return callable_of_none("buffer", buffer)
    raise ConfigurationError(
        f"buffer: found {type(buffer).__name__}; use a URL such as 'memory://', or a callable"
    )


def durable_buffer_of(setting: str, buffer: str | BufferFactory) -> str | BufferFactory:
    """Returns the setting ``buffer`` where other processes have to find what is stored.

    Raises ConfigurationError for a buffer in memory, with ``setting`` as what asks for another. An
    app's own buffer is looked at once it is open.
    """
    if isinstance(buffer, str) and buffer.partition(":")[0].lower() == "memory":
        raise _not_durable(setting, "'memory://'")
    return buffer


def transport_of(transport: str | TransportFactory) -> str | TransportFactory:
    """Returns the setting ``transport``, with a name for ``auto``. Raises ConfigurationError."""
    if isinstance(transport, str):
        return name_of_best() if transport == "auto" else known_name(transport)
    if callable(transport):
        return callable_of_one("transport", transport, "the endpoint")
    raise ConfigurationError(
        f"transport: found {type(transport).__name__}; use 'auto', 'requests', 'curl', or a "
        f"callable; 'none' sends nothing, for tests"
    )


def connections_of(connections: int | None, transport: str | TransportFactory) -> int:
    """Returns how many requests may be in flight at a time. Raises ConfigurationError."""
    if connections is None:
        return _MANY_CONNECTIONS if transport == "curl" else _CONNECTIONS
    return whole_number("connections", connections)


def buffer_factory(
    buffer: str | BufferFactory, endpoint: Endpoint, retry: RetrySchedule, *, delivers: bool = True
) -> BufferFactory:
    """Returns a callable that opens the buffer of a checked setting."""
    if not isinstance(buffer, str):
        open_own = partial(_open_own, "buffer", buffer, "Buffer", _BUFFER_METHODS)
        return open_own if delivers else partial(_open_durable, open_own)
    return partial(
        open_buffer,
        buffer,
        target=endpoint.url,
        longest_delay_seconds=retry.longest_delay_seconds,
    )


def transport_factory(
    transport: str | TransportFactory,
    endpoint: Endpoint,
    connections: int,
    timeout_seconds: float,
    ca_bundle: str | PathLike[str] | None,
) -> Callable[[], Transport]:
    """Returns a callable that opens the transport of a checked setting."""
    if not isinstance(transport, str):
        open_own = partial(transport, endpoint)
        return partial(_open_own, "transport", open_own, "Transport", _TRANSPORT_METHODS)
    return partial(
        open_transport,
        transport,
        endpoint,
        connections=connections,
        timeout_seconds=timeout_seconds,
        ca_bundle=ca_bundle,
    )


def _open_durable(open_own: BufferFactory) -> Storage:
    """Returns the app's own buffer. Raises ConfigurationError if it ends with the process."""
    buffer = open_own()
    if not buffer.is_durable:
        buffer.close()
        raise _not_durable("deliver: False", type(buffer).__name__)
    return buffer


def _not_durable(setting: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"{setting} needs a durable buffer, which several processes share; found {found}; use one "
        f"such as 'sqlite:////var/lib/app/events.db'"
    )


def _open_own(setting: str, open_it: Callable[[], Any], kind: str, methods: str) -> Any:
    """Returns what the app's callable opens. Raises ConfigurationError if it lacks a method."""
    opened = open_it()
    for method in methods.split():
        if not callable(getattr(opened, method, None)):
            raise ConfigurationError(
                f"{setting}: the callable returned {type(opened).__name__}, which has no method "
                f"{method}(); return a {kind}"
            )
    return opened
