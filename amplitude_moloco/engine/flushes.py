"""Those who wait until everything that came before has been tried."""

from __future__ import annotations

from concurrent.futures import Future

from amplitude_moloco.engine.ledger import Stats


class Flushes:
    """Futures, each with the newest key that was there when it was asked for. For one thread."""

    def __init__(self) -> None:
        self._keys: dict[Future[Stats], int] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, newest: int) -> Future[Stats]:
        """One more, which can't be cancelled: its events are on their way."""
        future: Future[Stats] = Future()
        future.set_running_or_notify_cancel()
        self._keys[future] = newest
        return future

    def done(self, oldest: int | None) -> list[Future[Stats]]:
        """Those that are done where the oldest untried entry has this key; None: where none is."""
        return [future for future, key in self._keys.items() if oldest is None or oldest > key]

    def take(self, oldest: int | None) -> list[Future[Stats]]:
        """The same, and forget them: whoever calls tells them."""
        done = self.done(oldest)
        for future in done:
            del self._keys[future]
        return done
