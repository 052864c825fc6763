"""Delivers what other processes store in a durable buffer, until a signal ends it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from amplitude_moloco.engine.engine import build_engine
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.measures import Measurements
from amplitude_moloco.engine.status import Status
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.relay.address import Address
from amplitude_moloco.relay.configuration import Configuration
from amplitude_moloco.relay.health import Health
from amplitude_moloco.relay.metrics import metrics_page
from amplitude_moloco.relay.pages import Pages
from amplitude_moloco.relay.pulse import Pulse
from amplitude_moloco.relay.service_manager import ServiceManager
from amplitude_moloco.relay.signals import WOKEN, Signals
from amplitude_moloco.text import keep_record_on_one_line

logger = logging.getLogger(__name__)
logger.addFilter(keep_record_on_one_line)  # paths, and what a file holds

_MARGIN_SECONDS = 10.0
"""What the end takes beside the deadline, at most."""


class Relay:
    """One service: an engine without a client, its pulse, and its pages.

    Args:
        read: Reads the configuration, at the start and after SIGHUP. Raises ConfigurationError.
        rate, connections: Go before those of the configuration.
        deadline_seconds: How long the end may take for what is on its way.
        address: Where to serve the pages; None: nowhere.
        manager: Is told how it goes.
        monotonic: The clock of the pulse, in seconds.

    Raises:
        ConfigurationError: The buffer or the transport can't be opened.
        OSError: The pages can't be served at the address.
    """

    def __init__(
        self,
        read: Callable[[], Configuration],
        *,
        rate: float | None = None,
        connections: int | None = None,
        deadline_seconds: float = 20.0,
        address: Address | None = None,
        manager: ServiceManager | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._rate = rate
        self._deadline_seconds = deadline_seconds
        self._manager = manager = manager or ServiceManager()
        self._configuration = configuration = read()
        settings = configuration.settings
        if connections is not None:
            settings = replace(settings, connections=connections)
        if rate is not None:
            settings = replace(settings, max_requests_per_second=rate)
        self._pace = settings.max_requests_per_second
        self._pulse = pulse = Pulse(manager, self._in_words, monotonic)
        self._engine_settings = replace(
            settings.engine_settings(),
            may_drain=False,
            heartbeat=pulse.beat,
            heartbeat_seconds=pulse.seconds,
        )
        self._target = settings.endpoint().url
        self.kinds = str(settings.buffer).partition(":")[0], str(settings.chosen_transport())
        self.syncs = configuration.syncs
        """The syncs in the file as it was read last."""
        self._engine = build_engine(self._engine_settings)
        self._health = Health(self._engine.status, pulse)
        try:
            page = metrics_page(self)
            self._pages = None if address is None else Pages(address, self._health, page)
        except OSError:
            self._engine.close(0)
            raise

    @property
    def url(self) -> str | None:
        """Where the pages are; None if they are nowhere."""
        return None if self._pages is None else self._pages.url

    @property
    def is_closed(self) -> bool:
        """Whether it ends, or has ended."""
        return self._engine.is_closed

    def stats(self) -> Stats:
        """Returns the counters of this process."""
        return self._engine.stats()

    def measurements(self) -> Measurements:
        """Returns what this process has measured."""
        return self._engine.measurements()

    def status(self) -> Status:
        """Returns how sending goes. Waits for nothing that a sender does."""
        return self._engine.status()

    def run(self, signals: Signals) -> bool:
        """Deliver until a signal ends it. Returns False if a second one has cut the end short."""
        self._engine.start()
        self._log_start()
        self._manager.tell("READY=1")
        self._pulse.describe()
        while signals.wait() == signal.SIGHUP:
            self._reload()
        return self._end(signals)

    # -- the end -----------------------------------------------------------------------------

    def _end(self, signals: Signals) -> bool:
        self._health.is_draining = True
        seconds = self._deadline_seconds
        micros = int((seconds + _MARGIN_SECONDS) * 1e6)
        self._manager.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={micros}")
        self._pulse.describe()
        message = "Stopping. What is on its way has %g seconds; all else stays in the buffer."
        logger.info(message, seconds)
        closing = threading.Thread(
            target=self._close, args=[signals], name="relay-end", daemon=True
        )
        closing.start()
        while (number := signals.wait()) == signal.SIGHUP:
            pass  # a reload would change nothing any more
        if self._pages is not None:
            self._pages.close()
        if number == WOKEN:
            logger.info("Stopped. Delivered by this process: %d", self.stats().delivered)
        else:
            message = "Ended at once, with %d on their way: the next relay sends them again."
            logger.warning(message, self.stats().buffered)
        self._manager.close()
        return number == WOKEN

    def _close(self, signals: Signals) -> None:
        try:
            self._engine.close(self._deadline_seconds)
        finally:
            signals.wake()

    # -- the configuration -------------------------------------------------------------------

    def _reload(self) -> None:
        micros = time.monotonic_ns() // 1000
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={micros}")
        try:
            self._apply(self._read())
        except ConfigurationError as error:
            self._log_mistakes(error)
        self._manager.tell("READY=1")

    def _log_mistakes(self, error: ConfigurationError) -> None:
        for each in error.errors:
            logger.error("Not reloaded, all settings stay as they are: %s", each)

    def _apply(self, configuration: Configuration) -> None:
        changed = ", ".join(configuration.changes_from(self._configuration))
        if changed:
            logger.warning("Changed, and used from the next start on: %s", changed)
        self.syncs = configuration.syncs
        pace = configuration.settings.max_requests_per_second
        if self._rate is not None:
            logger.info("Reloaded: --rate %g goes before max_requests_per_second", self._rate)
        elif pace != self._pace:
            self._engine.set_max_rate(pace)
            self._pace = pace
            logger.info("Reloaded: %s", _pace_in_words(pace))
        else:
            logger.info("Reloaded: %s, as before", _pace_in_words(pace))

    # -- in words ----------------------------------------------------------------------------

    def _log_start(self) -> None:
        logger.info(
            "The relay delivers from a %s buffer to %s over %s: %d requests at a time, %s",
            *(self.kinds[0], self._target, self.kinds[1], self._engine_settings.connections),
            _pace_in_words(self._pace),
        )
        if self.url is not None:
            logger.info("Its pages: %s/livez, /readyz and /metrics", self.url)

    def _in_words(self) -> str:
        status, delivered = self.status(), self.stats().delivered
        waiting = "" if status.waiting is None else f", {status.waiting:,} waiting"
        return f"{self._health.ready().text}; {delivered:,} delivered{waiting}"


def _pace_in_words(pace: float | None) -> str:
    return "as fast as the server allows" if pace is None else f"{pace:g} a second at most"
