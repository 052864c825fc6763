"""The whole path of an event: tracked with Amplitude's SDK, received by Amplitude and by Moloco."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from typing import Any

from amplitude import Amplitude, BaseEvent, Config
from amplitude.plugin import DestinationPlugin
from purchase import purchase

from amplitude_moloco import MolocoDestination

_PATIENCE_SECONDS = 300.0


class Pipeline:
    """A client with the SDK's defaults, with or without a destination besides Amplitude's own."""

    def __init__(
        self, url: str, plugin: DestinationPlugin | None = None, *, rate: float | None = None
    ) -> None:
        """``rate``: events tracked per second; None for as fast as possible."""
        self.track_seconds = 0.0
        """CPU time of the tracking thread in the last run, including creating the purchases."""
        self._plugin = plugin
        self._rate = rate
        self._pause = threading.Event()
        self._uploads = _Countdown()
        config = Config(server_url=f"{url}/2/httpapi", callback=self._uploads.one_more)
        self._client = Amplitude("key", config)
        if plugin:
            self._client.add(plugin)

    def run(self, count: int) -> None:
        """Track this many purchases, and wait until both sides have received them."""
        self._uploads.start(count)
        started, clock_started = time.thread_time(), time.monotonic()
        for number in range(count):
            if self._rate:
                self._pause.wait(clock_started + number / self._rate - time.monotonic())
            self._client.track(purchase(number))
        self.track_seconds = time.thread_time() - started
        futures: list[Any] = [each for each in self._client.flush() if each]
        if wait(futures, _PATIENCE_SECONDS).not_done:
            raise TimeoutError("not everything was delivered")
        self._uploads.wait()
        if isinstance(self._plugin, MolocoDestination):
            stats = self._plugin.stats()
            if stats.delivered != stats.accepted:
                raise RuntimeError(f"not everything was delivered: {stats}")


class _Countdown:
    """Counts the events that Amplitude's SDK reports as uploaded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0
        self._is_over = threading.Event()

    def start(self, count: int) -> None:
        self._left = count
        self._is_over.clear()

    def one_more(self, event: BaseEvent, code: int, message: str | None = None) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                self._is_over.set()

    def wait(self) -> None:
        if not self._is_over.wait(_PATIENCE_SECONDS):
            raise TimeoutError(f"{self._left} events were not uploaded")
