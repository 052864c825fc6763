"""Postbacks on their way: sent, repeated after a failure, kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import requests

from amplitude_moloco.sandbox.mmp.postback import Message

State = Literal["kept", "pending", "delivered", "failed"]
_TIMEOUT_SECONDS = 10.0
# Six within 24 hours are documented, their times are not.
REPEAT_SECONDS = (60, 600, 3_600, 10_800, 21_600, 43_200)
Send = Callable[[str], "int | None"]
"""Sends a GET and returns the HTTP status. None for no answer."""


@dataclass(frozen=True)
class Postback:
    """A message to a partner about one activity, and how far it has come."""

    activity: int
    """The number of the activity; of the touch, for a callback about it."""
    message: Message
    at: float
    """When it was made, in the MMP's time."""
    state: State
    """``kept`` without an address; ``failed`` after an answer that is not repeated, or six
    repeats."""
    statuses: tuple[int | None, ...] = ()
    """The HTTP status of each attempt. None for no answer."""
    due_at: float = 0.0
    """When a pending one is sent, in the MMP's time."""


class Courier:
    """Sends postbacks in a daemon thread, and repeats them by the MMP's clock.

    Args:
        now: Returns the MMP's time.
        max_kept: How many postbacks are kept. The oldest are discarded.
        send: Sends one.
    """

    def __init__(self, now: Callable[[], float], max_kept: int, send: Send | None = None) -> None:
        self._now = now
        self._send = send or _get
        self._max_kept = max_kept
        self._kept: dict[int, Postback] = {}  # oldest first
        self._pending: dict[int, Postback] = {}  # those of them that are to be sent
        self._last_number = 0
        self._changed = threading.Condition()
        self._run_token: object = None  # of the thread that may send
        self._in_flight: set[int] = set()
        self._changes = 0

    def add(self, activity: int, message: Message, *, is_only_kept: bool = False) -> None:
        """Keeps a postback, and sends it soon if it has an address, unless it is only kept."""
        at = self._now()
        with self._changed:
            state: State = "kept" if is_only_kept or not message.url else "pending"
            self._last_number += 1
            self._keep(self._last_number, Postback(activity, message, at, state, (), at))
            if len(self._kept) > self._max_kept:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._pending.pop(oldest, None)
            self._changed.notify_all()

    def start(self) -> None:
        """Starts to send, until ``stop()``."""
        token = object()
        self._run_token = token
        name = "amplitude-moloco-sandbox-postbacks"
        threading.Thread(target=self._run, args=(token,), name=name, daemon=True).start()

    def stop(self) -> None:
        """Ends sending. What is pending stays pending."""
        with self._changed:
            self._run_token = None
            self._changed.notify_all()

    def look_again(self) -> None:
        """Says that the clock was moved."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> bool:
        """Waits until no postback is due. Returns False after the timeout."""
        with self._changed:
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._due() is None and not self._in_flight, timeout_seconds
            )

    def clear(self) -> None:
        """Forgets all postbacks."""
        with self._changed:
            self._kept.clear()
            self._pending.clear()
            self._changes += 1
            self._changed.notify_all()

    @property
    def changes(self) -> int:
        """It grows with each attempt, and with ``clear()``."""
        return self._changes

    @property
    def postbacks(self) -> list[Postback]:
        """All postbacks, oldest first."""
        with self._changed:
            return list(self._kept.values())

    def _run(self, token: object) -> None:
        while (due := self._wait_for_due(token)) is not None:
            number, postback = due
            status = self._send(postback.message.url)
            with self._changed:
                self._in_flight.remove(number)
                self._changes += 1
                if number in self._kept:  # it was not discarded meanwhile
                    self._keep(number, _after(postback, status, self._now()))
                self._changed.notify_all()

    def _wait_for_due(self, token: object) -> tuple[int, Postback] | None:
        """Returns the next postback to send. None if this thread is to end."""
        with self._changed:
            while self._run_token is token:
                due = self._due()
                if due is not None:
                    self._in_flight.add(due[0])
                    return due
                self._changed.wait(self._seconds_to_next())
            return None

    def _keep(self, number: int, postback: Postback) -> None:
        self._kept[number] = postback
        if postback.state == "pending":
            self._pending[number] = postback
        else:
            self._pending.pop(number, None)

    def _waiting(self) -> list[tuple[int, Postback]]:
        return [each for each in self._pending.items() if each[0] not in self._in_flight]

    def _due(self) -> tuple[int, Postback] | None:
        now = self._now()
        return next((each for each in self._waiting() if each[1].due_at <= now), None)

    def _seconds_to_next(self) -> float | None:
        times = [postback.due_at for _, postback in self._waiting()]
        return max(0.0, min(times) - self._now()) if times else None


def _after(postback: Postback, status: int | None, now: float) -> Postback:
    statuses = (*postback.statuses, status)
    repeats = len(statuses) - 1
    if status is not None and 200 <= status < 300:
        return replace(postback, state="delivered", statuses=statuses)
    is_repeated = status is None or status >= 500
    if is_repeated and repeats < len(REPEAT_SECONDS):
        return replace(postback, statuses=statuses, due_at=now + REPEAT_SECONDS[repeats])
    return replace(postback, state="failed", statuses=statuses)


def _get(url: str) -> int | None:
    """Sends a GET as an MMP does: it follows no redirect."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            with session.get(
                url, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True
            ) as answer:
                return answer.status_code
        except Exception:  # for an odd host, urllib3 raises what requests does not know
            return None
