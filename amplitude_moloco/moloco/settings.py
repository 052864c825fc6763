"""All settings of a destination: their names, types and defaults, and what is built from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from amplitude_moloco.arguments import hidden, hides_arguments, shortened
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
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.moloco.checks import (
    ca_bundle_of,
    channel_type_of,
    currency_of,
    deliver_of,
    flag_of,
    hash_of,
    id_less_fields_of,
    names_of,
    switched,
    syncs_of,
    words_of,
)
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.moloco.identifiers import fingerprint_of_body
from amplitude_moloco.moloco.placeholders import refuse_placeholders
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire.vocabulary import ChannelType
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

MCM = Partner("MCM", "the API key, the platform id or the address", classify, fingerprint_of_body)


@hides_arguments
@dataclass(frozen=True)
class MolocoSettings:
    """What a destination is made of: the arguments of :class:`MolocoDestination`.

    Its functions build the parts without a client of Amplitude. Checked once constructed, but
    nothing is opened. The repr shows neither the key nor the salt.

    Args:
        api_key: Moloco's REST API key. Default: the environment variable ``MOLOCO_API_KEY``. Not
            needed with ``deliver=False``.
        platform_id: The id that Moloco gave the platform, such as ``MY_SHOP``.
        syncs: One or several: which events are sent, and as what; see :class:`Sync` and
            :func:`ecommerce_syncs`.
        platform_name: The platform's name in MCM's host: ``https://{name}-evt.mcm-api.moloco.com``.
        base_url: Stands in place of that host and the name: https, or http on a loopback address.
        allow_plain_http: The host in ``base_url``, if that is http to another machine or container:
            a private one, such as ``sandbox``. **The key and all events then travel unencrypted**,
            which is logged as a warning. Default: the environment variable
            ``MOLOCO_ALLOW_PLAIN_HTTP``.
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
            ``sqlite:////absolute/path.db``. Or Redis, which many machines share:
            ``redis://host:6379/0?stream=NAME``. See :func:`open_buffer` for the options. Or a
            callable without arguments that opens a ``Buffer``.
        deliver: Whether this process sends. False: it only stores events in a durable buffer, and
            another process delivers them, such as ``amplitude-moloco relay``; no connection is
            opened, and no key is needed. None: the environment variable ``MOLOCO_DELIVER``,
            ``true`` or ``false``; without it, it sends.
        flush_queue_size: Send as soon as this many events wait.
        flush_interval_millis: Send at the latest this long after an event was tracked.
        hooks: One or several callables. Each gets every fact, such as
            :class:`Delivered` and :class:`Invalid`.
        connections: How many events may be on their way at a time; None: 64 over libcurl, which
            has one thread for all, and 16 otherwise. No more connections are opened than the
            backlog asks for, and idle ones are closed.
        timeout_seconds: For one request, from looking up the host's name to the whole answer.
        ca_bundle: Path of the certificates to trust instead of the usual ones.
        shutdown_timeout_seconds: How long ``shutdown()`` goes on sending.
        flush_timeout_seconds: How long ``flush()`` may take; None: as ``shutdown_timeout_seconds``.
        max_requests_per_second: The highest rate of requests; None: as fast as MCM allows.
        retry: When an event is sent again after a failure; None: ``RetrySchedule()``.
        breaker: When sending pauses because MCM fails, and when it is probed; None:
            ``BreakerPolicy()``.
        transport: How requests are made: ``requests``, or ``curl``, which needs the extra of that
            name and takes far less processor time; ``auto``: curl where it is installed, otherwise
            requests. Or ``none``, which sends nothing, for tests; the
            environment variable ``MOLOCO_TRANSPORT=none`` has the same effect on any setting. Or a
            callable that gets the ``Endpoint`` and opens a ``Transport``, which has a thread for
            each request, or a ``ConcurrentTransport``, which has one for all.
        inspector: A loopback address and a port, such as ``127.0.0.1:8766``: a page there shows
            what happens to events, as it happens. None: no page. Needs the extra ``sandbox``.

    Raises:
        ConfigurationError: Settings can't work; the text says of each what to use instead.
    """

    api_key: str | None = field(default=None, repr=False)
    platform_id: str = ""
    syncs: Sync | Iterable[Sync] = ()
    _: KW_ONLY
    platform_name: str | None = None
    base_url: str | None = None
    allow_plain_http: str | None = None
    channel_type: ChannelType | str | None = None
    default_currency: str | None = None
    include_user_properties: bool | Collection[str] = True
    hash_identifiers: bool | Mapping[str, str] | None = field(default=None, repr=False)
    absent_identifiers: Iterable[str] = ()
    id_less_fields: Iterable[str] = ()
    library_as_user_agent: bool = True
    buffer: str | BufferFactory = "memory://"
    deliver: bool | None = None
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
        for name in ("syncs", "hooks", "absent_identifiers", "id_less_fields"):
            value = getattr(self, name)
            if isinstance(value, Iterator):  # which can be read only once
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
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> MolocoSettings:
        """Returns settings from plain data, as JSON has it; see :meth:`from_file`."""
        from amplitude_moloco.moloco.file import arguments_of  # needs the extra "config"

        data, more = hidden(cls, data), hidden(cls, more)

        def load() -> MolocoSettings:
            with refusing_unreadable(data if type(data) is dict else {"settings": data}):
                return cls(**arguments_of(cls, data, more))

        return shortened(load)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> MolocoSettings:
        """Returns settings from a JSON or TOML file with the names of the fields.

        ``more`` are settings that the file lacks, or can't hold, such as ``hooks``; they replace
        the file's. Raises ConfigurationError naming the place in the file: an unknown key, a wrong
        type, a missing field, a value that can't work.
        """
        from amplitude_moloco.moloco.file import named_in_errors, read_file  # as above

        with refusing_unreadable({"path": path}):
            if not isinstance(path, (str, PathLike)):
                raise ConfigurationError(
                    f"path: found {type(path).__name__}; use the path of a .json or .toml file"
                )
            path = Path(fspath(path))  # Path alone may look at it only later
        more = hidden(cls, more)
        data = hidden(cls, shortened(lambda: read_file(path)))

        def load() -> MolocoSettings:
            with named_in_errors(path):
                return cls.from_dict(data, **more)

        return shortened(load)

    def endpoint(self) -> Endpoint:
        """Returns MCM's address and headers."""
        return endpoint(
            api_key=self.api_key,
            platform_id=self.platform_id,
            platform_name=self.platform_name,
            base_url=self.base_url,
            allow_plain_http=self.allow_plain_http,
            needs_key=self.delivers(),
        )

    def converter(self) -> Converter:
        """Returns a converter of Amplitude events to MCM's. Safe from any thread."""
        checks = Checks()
        syncs = checks.run(syncs_of, self.syncs)
        more: dict[str, Any] = {
            "channel_type": checks.run(channel_type_of, self.channel_type),
            "default_currency": checks.run(currency_of, self.default_currency),
            "include_user_properties": checks.run(names_of, self.include_user_properties),
            "hash_identifier": checks.run(hash_of, self.hash_identifiers),
            "absent_identifiers": checks.run(
                words_of, "absent_identifiers", self.absent_identifiers
            ),
            "id_less_fields": checks.run(id_less_fields_of, self.id_less_fields),
            "library_as_user_agent": checks.run(
                flag_of, "library_as_user_agent", self.library_as_user_agent
            ),
        }
        checks.raise_errors()
        return Converter(syncs, **more)

    def delivers(self) -> bool:
        """Returns whether ``deliver`` and the environment have this process send."""
        return deliver_of(self.deliver)

    def chosen_transport(self) -> str | TransportFactory:
        """Returns what ``transport`` and the environment choose here: a name, or a callable."""
        return transport_of(switched(self.transport))

    def engine_settings(self) -> EngineSettings:
        """Returns what ``build_engine()`` needs. Opens nothing."""
        checks = Checks()
        retry = checks.run(instance_of, "retry", RetrySchedule, self.retry)
        breaker = checks.run(instance_of, "breaker", BreakerPolicy, self.breaker)
        hooks = checks.run(callables_of_one, "hooks", self.hooks, "one fact")
        checks.run(refuse_placeholders, "buffer", self.buffer)
        buffer = checks.run(buffer_of, self.buffer)
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
            partner=MCM,
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
