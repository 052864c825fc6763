"""The destination plugin: fits the road of an event to the life of a plugin in Amplitude's SDK.

The composition root, and the only module that knows Amplitude.
"""

from __future__ import annotations

import copy
import os
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from amplitude import BaseEvent, Config, DestinationPlugin

from amplitude_moloco.buffers.base import BufferFactory, DeadLetter, open_buffer
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.breaker import BreakerSettings
from amplitude_moloco.engine.engine import Engine, EngineSettings
from amplitude_moloco.engine.facts import Degraded, Hook, Rejected
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.host import process
from amplitude_moloco.moloco import settings
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.moloco.converter import Conversion, Converter
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.moloco.identifiers import fingerprint_of_body
from amplitude_moloco.moloco.sync import Sync, read_channel_type
from amplitude_moloco.moloco.wire.event import ChannelType
from amplitude_moloco.moloco.wire.language import iso_639_1
from amplitude_moloco.transports.base import TransportFactory, transport_named

API_KEY_VARIABLE = "MOLOCO_API_KEY"


def _lease_seconds(timeout_seconds: float) -> float:
    """How long a claim may take: to wait for a thread, and to be sent, connecting included.

    What a slow pace takes comes on top, and something to be on the safe side.
    """
    return 4 * timeout_seconds + 20


class MolocoDestination(DestinationPlugin):  # type: ignore[misc]  # the SDK has no types
    """Delivers the events that its syncs select to Moloco Commerce Media, beside Amplitude.

        client.add(MolocoDestination(platform_id="MY_SHOP", platform_name="my-shop", syncs=[…]))

    Ready once constructed. All methods may be called from any thread; none of them raises into
    ``track()``, and ``track()`` never waits for the network.

    Args:
        api_key: The REST API key of Moloco. Without one, the environment's ``MOLOCO_API_KEY``.
        platform_id: The id that Moloco gave the platform, such as ``MY_SHOP``.
        syncs: Which events are sent, and as what; see :class:`Sync` and :func:`ecommerce_syncs`.
        platform_name: The platform's name in MCM's host: ``https://{name}-evt.mcm-api.moloco.com``.
        base_url: Instead of that host: https, or http on a loopback address.
        channel_type: For events whose platform does not tell it, and whose sync has none.
        default_currency: For amounts that come without a currency.
        include_user_properties: All go along (as with Amplitude's own), none, or those named.
        hash_identifiers: True, or ``{"salt": "…"}``: user_id, device_persistent_id and custom_id
            are sent as :func:`hash_identifier` makes them.
        buffer: Where events wait: ``memory://``, or ``sqlite:///path/to/moloco.db``, which keeps
            them when the process ends and may be shared by all processes of a machine; see
            :func:`open_buffer` for the options. Or a callable that opens a buffer.
        flush_queue_size: So many waiting events are sent at once.
        flush_interval_millis: So long an event waits for others at most.
        hooks: Callables that get every fact (:class:`Delivered`, :class:`Rejected`, …).
        connections: How many events are sent at a time.
        timeout_seconds: For one request.
        ca_bundle: Path of the certificates to trust instead of the usual ones.
        shutdown_timeout_seconds: How long ``shutdown()`` goes on sending.
        max_requests_per_second: How fast MCM may be called at most; None for as fast as it takes.
        retry: When an event that MCM could not take is sent again.
        breaker: When sending pauses because MCM fails, and when it is tried again.
        transport: How requests are made: ``requests``, or ``curl``, which needs the extra of that
            name and takes far less processor time. Or a callable that opens a ``Transport``, which
            has a thread for each request, or a ``ConcurrentTransport``, which has one for all.

    Raises:
        ConfigurationError: A setting can't work; the text says what to do instead.
    """

    def __init__(
        self,
        api_key: str | None = None,
        platform_id: str = "",
        syncs: Iterable[Sync] = (),
        *,
        platform_name: str | None = None,
        base_url: str | None = None,
        channel_type: ChannelType | str | None = None,
        default_currency: str | None = None,
        include_user_properties: bool | Collection[str] = True,
        hash_identifiers: bool | Mapping[str, str] | None = None,
        buffer: str | BufferFactory = "memory://",
        flush_queue_size: int = 16,
        flush_interval_millis: int = 200,
        hooks: Iterable[Hook] = (),
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | None = None,
        shutdown_timeout_seconds: float = 5.0,
        max_requests_per_second: float | None = None,
        retry: RetrySchedule | None = None,
        breaker: BreakerSettings | None = None,
        transport: str | TransportFactory = "requests",
    ) -> None:
        super().__init__()
        self.timeline.configuration = Config()  # an event may come before setup() does
        self._syncs = settings.syncs_of(syncs)
        self._converter = Converter(
            self._syncs,
            channel_type=read_channel_type(channel_type, "channel_type"),
            default_currency=settings.currency_of(default_currency),
            include_user_properties=settings.names_of(include_user_properties),
            hash_identifier=settings.hash_of(hash_identifiers),
        )
        self._endpoint = endpoint(
            api_key=os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key,
            platform_id=platform_id,
            platform_name=platform_name,
            base_url=base_url,
        )
        timeout_seconds = settings.number("timeout_seconds", timeout_seconds)
        retry = retry or RetrySchedule()
        self._shutdown_timeout_seconds = settings.number(
            "shutdown_timeout_seconds", shutdown_timeout_seconds
        )
        self._open_buffer: BufferFactory = (
            partial(
                open_buffer,
                buffer,
                target=self._endpoint.url,
                lease_seconds=_lease_seconds(timeout_seconds),
                longest_delay_seconds=retry.longest_delay_seconds,
            )
            if isinstance(buffer, str)
            else buffer
        )
        self._engines = EngineSettings(
            open_transport=transport
            if callable(transport)
            else partial(
                transport_named(transport),
                self._endpoint,
                connections=settings.whole_number("connections", connections),
                timeout_seconds=timeout_seconds,
                ca_bundle=ca_bundle,
            ),
            classify=classify,
            identify=fingerprint_of_body,
            hooks=tuple(hooks),
            retry=retry,
            breaker=breaker or BreakerSettings(),
            max_requests_per_second=max_requests_per_second,
            connections=settings.whole_number("connections", connections),
            flush_queue_size=settings.whole_number("flush_queue_size", flush_queue_size),
            flush_interval_seconds=settings.number("flush_interval_millis", flush_interval_millis)
            / 1000,
        )
        iso_639_1("en")  # reads its tables now, so that no event waits for them
        self._engine = self._engines.build(self._open_buffer())
        self._timelines: list[Any] = [self.timeline]
        self._is_set_up = False
        self._starting = threading.RLock()
        process.call_in_forked_child(self._renew_locks)
        process.call_at_end_of_celery_child(self.close)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> MolocoDestination:
        """A destination from plain data, as JSON has it; see :meth:`from_file`."""
        from amplitude_moloco.moloco.file import arguments_of  # most apps have no use for it

        return cls(**arguments_of(data), **more)

    @classmethod
    def from_file(cls, path: str | Path, **more: Any) -> MolocoDestination:
        """A destination from a JSON or TOML file with the constructor's names.

        ``more`` are arguments that no file can hold, such as ``hooks``. Raises ConfigurationError
        naming the place in the file: an unknown key, a wrong type, a missing field.
        """
        from amplitude_moloco.moloco.file import read_file

        return cls.from_dict(read_file(Path(path)), **more)

    def __repr__(self) -> str:
        return f"MolocoDestination({self._endpoint.url!r}, {len(self._syncs)} syncs)"

    @property
    def syncs(self) -> tuple[Sync, ...]:
        """The syncs; ``enabled`` of each may be changed at any time."""
        return self._syncs

    def setup(self, client: Any) -> None:
        """Called by the SDK when the destination is added. Calling it again does nothing more."""
        super().setup(client)
        timeline = getattr(client, "_Amplitude__timeline", None)  # private: where it is, it is used
        if not any(timeline is known for known in self._timelines):
            self._timelines.append(timeline)
        if not self._is_set_up:
            self._is_set_up = True
            process.call_early_at_exit(self.close)
            self._current().dispatcher.start()

    def execute(self, event: BaseEvent) -> None:
        """Take one event. Called by the SDK inside ``track()``, under its lock.

        Never raises, logs, calls a hook or waits for the network.
        """
        dispatcher = self._current().dispatcher
        try:
            for conversion in self._convert(event):
                if conversion.problems:
                    dispatcher.reject(_rejected(event, conversion))
                else:
                    dispatcher.put(str(conversion.id), conversion.sync, conversion.body)
        except Exception as error:  # a plugin added to this one, most likely
            dispatcher.reject(_failed(error))

    def preview(self, event: BaseEvent) -> list[Conversion]:
        """What would be sent for ``event``, one for each sync that selects it. Nothing is sent.

        Works on a copy, with the time and the insert_id that ``track()`` would add.
        """
        event = copy.deepcopy(event)
        event.time = event.time or int(time.time() * 1000)
        event.insert_id = event.insert_id or str(uuid.uuid4())
        return self._convert(event)

    def stats(self) -> Stats:
        """The counters of this process, at this moment.

        Of a durable buffer ``buffered`` is what lies in it, for all processes that share it; so the
        law holds for all of them together, from the making of the file on.
        """
        return self._current().dispatcher.stats()

    def dead_letters(self) -> list[DeadLetter]:
        """The events that can't be delivered, with the reason of each, oldest first."""
        return self._current().buffer.dead_letters()

    def resend(self, ids: Iterable[str] | None = None) -> int:
        """Send dead letters once more: those with these ids, or all of them.

        Each keeps its id and its body, and with it its timestamp; it counts as accepted anew.
        Returns how many there were.
        """
        engine = self._current()
        resent = engine.buffer.resend(None if ids is None else frozenset(ids), time.time())
        for _ in range(resent):
            engine.ledger.stored()
        engine.dispatcher.flush()
        return resent

    def flush(self, timeout_seconds: float = 0.0) -> Future[Stats]:
        """Send at once what waits for its first attempt, and wait for it as long as this.

        The future is done when everything that was tracked before has been delivered, rejected or
        tried once; its result are the counters at that time. Never raises: a durable buffer that
        can't be read is the future's exception.
        """
        future = self._current().dispatcher.flush()
        futures.wait([future], timeout_seconds)
        return future

    def close(self, timeout_seconds: float | None = None) -> None:
        """Go on sending for ``timeout_seconds`` at most, then end the threads.

        Without it, for the setting ``shutdown_timeout_seconds``.

        What could not be sent in time is told to the hooks as :class:`Dropped`, and its number is
        logged. Calling it again does nothing. For a destination that was removed from its client;
        where it was not, the SDK calls ``shutdown()``, and the interpreter's end this.
        """
        if self._engine.pid == os.getpid():  # a child that has tracked nothing has nothing to close
            default = self._shutdown_timeout_seconds
            self._engine.close(default if timeout_seconds is None else timeout_seconds)

    def shutdown(self, timeout_seconds: float | None = None) -> None:
        """Close this destination, and the plugins that were added to it. Called by the SDK."""
        self.close(timeout_seconds)
        super().shutdown()

    def _convert(self, event: BaseEvent) -> list[Conversion]:
        if any(self.timeline.plugins.values()):
            event = self.timeline.process(event)
        if event is None:  # a plugin added to this one has dropped it
            return []
        return self._converter.convert(event, int(time.time() * 1000))

    def _current(self) -> Engine:
        """This process's engine.

        A forked child has no threads, and must not send what is its parent's: it starts afresh, and
        never touches the parent's engine again.
        """
        if self._engine.pid != os.getpid():
            # gunicorn has gevent patch what locks are made of only after the fork.
            if not isinstance(self._starting, type(threading.RLock())):
                self._renew_locks()
            with self._starting:
                if self._engine.pid != os.getpid():  # no other thread was faster
                    self._engine = self._start_in_child()
        return self._engine

    def _start_in_child(self) -> Engine:
        """In the middle of ``track()``: a buffer that can't be opened must not raise into it."""
        process.call_at_end_of_celery_child(self.close)  # it may have been imported since
        try:
            return self._engines.build(self._open_buffer())
        except Exception as error:
            engine = self._engines.build(MemoryBuffer())
            engine.dispatcher.post(Degraded(str(error)))
            return engine

    def _renew_locks(self) -> None:
        self._starting = threading.RLock()
        for timeline in self._timelines:
            process.renew_locks(timeline)


def _rejected(event: BaseEvent, conversion: Conversion) -> Rejected:
    name = event.event_type if isinstance(event.event_type, str) else ""
    return Rejected(conversion.sync, conversion.id, name, conversion.problems)


def _failed(error: Exception) -> Rejected:
    problem = Problem(
        "event",
        "failed",
        f"a plugin or a value that raised {type(error).__name__}",
        "mend the plugins that were added to this destination",
    )
    return Rejected("", None, "", (problem,))
