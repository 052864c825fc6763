"""Moloco Commerce Media as a destination of Amplitude's SDK: fits the parts together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from amplitude_moloco.buffers.base import BufferFactory
from amplitude_moloco.buffers.url import absolute_url
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.engine import EngineSettings, Partner
from amplitude_moloco.engine.facts import Hook
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.moloco import settings
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.moloco.identifiers import fingerprint_of_body
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire.vocabulary import ChannelType
from amplitude_moloco.plugin import PartnerDestination
from amplitude_moloco.transports.base import TransportFactory
from amplitude_moloco.wiring import buffer_factory, transport_factory

MCM = Partner("MCM", "the API key, the platform id or the address", classify, fingerprint_of_body)


class MolocoDestination(PartnerDestination):
    """Delivers the events that its syncs select to Moloco Commerce Media (MCM).

        client.add(MolocoDestination(platform_id="MY_SHOP", platform_name="my-shop", syncs=[…]))

    Ready once constructed. All methods are safe from any thread. None raises into ``track()``, and
    ``track()`` never waits for the network.

    Args:
        api_key: Moloco's REST API key. Default: the environment variable ``MOLOCO_API_KEY``.
        platform_id: The id that Moloco gave the platform, such as ``MY_SHOP``.
        syncs: One or several: which events are sent, and as what; see :class:`Sync` and
            :func:`ecommerce_syncs`.
        platform_name: The platform's name in MCM's host: ``https://{name}-evt.mcm-api.moloco.com``.
        base_url: Stands in place of that host and the name: https, or http on a loopback address.
        channel_type: For events whose platform implies none, and whose sync has none.
        default_currency: For the amounts of events that state no currency at all.
        include_user_properties: True sends all (as Amplitude's own destination does), False none,
            a list those named.
        hash_identifiers: True, or ``{"salt": "…"}``: user_id, device_persistent_id and custom_id
            are sent as :func:`hash_identifier` returns them.
        absent_identifiers: Texts that stand for no one shopper, such as a shared guest account, in
            any case. They count as absent, like ``null``, ``None``, ``anonymous`` and many more.
        id_less_fields: Those of ``ip_address``, ``advertising_id`` and ``user_properties`` that are
            sent with the personalization_mode ID_LESS too. By default none is.
        library_as_user_agent: Whether an event without a ``user_agent`` sends its ``library``, as
            Amplitude's own destination does. A server's library is no device's user agent.
        buffer: Where events wait: ``memory://``, or a file, which keeps them when the process ends
            and may be shared by all processes of a machine: ``sqlite:///relative.db`` or
            ``sqlite:////absolute/path.db``; see :func:`open_buffer` for the options. Or a callable
            that opens a buffer.
        flush_queue_size: Send as soon as this many events wait.
        flush_interval_millis: Send at the latest this long after an event was tracked.
        hooks: One or several callables. Each gets every fact, such as
            :class:`Delivered` and :class:`Invalid`.
        connections: How many events are on their way at a time.
        timeout_seconds: For one request.
        ca_bundle: Path of the certificates to trust instead of the usual ones.
        shutdown_timeout_seconds: How long ``shutdown()`` goes on sending.
        flush_timeout_seconds: How long ``flush()`` may take; None: as ``shutdown_timeout_seconds``.
        max_requests_per_second: The highest rate of requests; None: as fast as MCM allows.
        retry: When an event is sent again after a failure.
        breaker: When sending pauses because MCM fails, and when it is probed.
        transport: How requests are made: ``requests``, or ``curl``, which needs the extra of that
            name and takes far less processor time. Or ``none``, which sends nothing, for tests; the
            environment variable ``MOLOCO_TRANSPORT=none`` has the same effect on any setting. Or a
            callable that gets the ``Endpoint`` and opens a ``Transport``, which has a thread for
            each request, or a ``ConcurrentTransport``, which has one for all.

    Raises:
        ConfigurationError: Settings can't work; the text says of each what to use instead.
    """

    def __init__(
        self,
        api_key: str | None = None,
        platform_id: str = "",
        syncs: Sync | Iterable[Sync] = (),
        *,
        platform_name: str | None = None,
        base_url: str | None = None,
        channel_type: ChannelType | str | None = None,
        default_currency: str | None = None,
        include_user_properties: bool | Collection[str] = True,
        hash_identifiers: bool | Mapping[str, str] | None = None,
        absent_identifiers: Iterable[str] = (),
        id_less_fields: Iterable[str] = (),
        library_as_user_agent: bool = True,
        buffer: str | BufferFactory = "memory://",
        flush_queue_size: int = 16,
        flush_interval_millis: int = 200,
        hooks: Hook | Iterable[Hook] = (),
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | None = None,
        shutdown_timeout_seconds: float = 5.0,
        flush_timeout_seconds: float | None = None,
        max_requests_per_second: float | None = None,
        retry: RetrySchedule | None = None,
        breaker: BreakerPolicy | None = None,
        transport: str | TransportFactory = "requests",
    ) -> None:
        address, converter, engine = settings.checked(
            (api_key, platform_id, platform_name, base_url),
            (
                *(syncs, channel_type, default_currency, include_user_properties),
                *(hash_identifiers, absent_identifiers, id_less_fields, library_as_user_agent),
            ),
            {"retry": retry, "breaker": breaker, "hooks": hooks},
            {"connections": connections, "flush_queue_size": flush_queue_size},
            (flush_interval_millis, timeout_seconds, shutdown_timeout_seconds),
        )
        way = (settings.transport_of(transport), address, connections, timeout_seconds, ca_bundle)
        engine_settings = EngineSettings(
            partner=MCM,
            open_buffer=buffer_factory(buffer, address, engine["retry"]),
            open_transport=transport_factory(*way),
            max_requests_per_second=max_requests_per_second,
            flush_timeout_seconds=flush_timeout_seconds,
            **engine,
        )
        super().__init__(converter, engine_settings, shutdown_timeout_seconds)
        self._url, self._syncs, self._buffer = address.url, converter.syncs, buffer

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> MolocoDestination:
        """Returns a destination from plain data, as JSON has it; see :meth:`from_file`."""
        from amplitude_moloco.moloco.file import arguments_of  # needs the extra "config"

        return cls(**arguments_of(data), **more)

    @classmethod
    def from_file(cls, path: str | Path, **more: Any) -> MolocoDestination:
        """Returns a destination from a JSON or TOML file with the constructor's names.

        ``more`` are arguments that no file can hold, such as ``hooks``. Raises ConfigurationError
        naming the place in the file: an unknown key, a wrong type, a missing field.
        """
        from amplitude_moloco.moloco.file import named_in_errors, read_file

        path = Path(path)
        data = read_file(path)
        with named_in_errors(path):
            return cls.from_dict(data, **more)

    def __repr__(self) -> str:
        if not hasattr(self, "_buffer"):  # its constructor has raised, or is not done yet
            return "MolocoDestination(not constructed)"
        buffer = absolute_url(self._buffer) if isinstance(self._buffer, str) else "a callable"
        return f"MolocoDestination({self._url!r}, {len(self._syncs)} syncs, buffer={buffer!r})"

    @property
    def syncs(self) -> tuple[Sync, ...]:
        """The syncs. ``enabled`` of each may be changed at any time."""
        return self._syncs
