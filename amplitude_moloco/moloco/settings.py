"""All settings of a destination: their names, types and defaults, and what is built from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from amplitude_moloco.arguments import hides_arguments
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.engine.engine import Partner
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.moloco.checks import (
    channel_type_of,
    currency_of,
    deliver_of,
    flag_of,
    hash_of,
    id_less_fields_of,
    names_of,
    syncs_of,
    words_of,
)
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.moloco.identifiers import fingerprint_of_body
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire.vocabulary import ChannelType
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.transports.base import Endpoint

if TYPE_CHECKING:
    from amplitude_moloco.files.loading import Shape

MCM = Partner("MCM", "the API key, the platform id or the address", classify, fingerprint_of_body)


@hides_arguments
@dataclass(frozen=True)
class MolocoSettings(DeliverySettings):
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
        deliver: Whether this process sends. False: it only stores events in a durable buffer, and
            another process delivers them, such as ``amplitude-moloco relay``; no connection is
            opened, and no key is needed. None: the environment variable ``MOLOCO_DELIVER``,
            ``true`` or ``false``; without it, it sends.
        buffer: Where events wait: ``memory://``, or a file, which keeps them when the process ends
            and may be shared by all processes of a machine: ``sqlite:///relative.db`` or
            ``sqlite:////absolute/path.db``. Or Redis, which many machines share:
            ``redis://host:6379/0?stream=NAME``. See :func:`open_buffer` for the options. Or a
            callable without arguments that opens a ``Buffer``.
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

    lists = "syncs", "hooks", "absent_identifiers", "id_less_fields"

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
    deliver: bool | None = None

    @classmethod
    def _shape(cls) -> Shape:
        from amplitude_moloco.moloco.file import SHAPE  # needs the extra "config"

        return SHAPE

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

    def partner(self) -> Partner:
        """Returns what the engine needs to know of MCM."""
        return MCM
