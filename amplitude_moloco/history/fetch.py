"""Fetches the hours of an export that a folder lacks, one request at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import IO, Protocol

from amplitude_moloco.history.export_api import Answer, Outcome
from amplitude_moloco.history.folder import ExportFolder
from amplitude_moloco.history.hours import Hours
from amplitude_moloco.history.problem import FetchError
from amplitude_moloco.host.pause import pause

HOURS_PER_REQUEST = 24
FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 300.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0
MAX_FAILURES = 10
"""This many failures in a row end the fetch: after about twenty minutes, if the server names no
wait."""


class Downloads(Protocol):
    """Downloads a range of hours; see :class:`~amplitude_moloco.history.export_api.ExportApi`."""

    def download(self, hours: Hours, file: IO[bytes], received: Callable[[int], object]) -> Answer:
        """Writes the zip of these hours to the file."""
        ...


class Watcher(Protocol):
    """Shows how a fetch proceeds."""

    def received(self, size: int) -> None:
        """This many more bytes were received."""

    def saved(self, hours: Hours, *, has_data: bool) -> None:
        """These hours are in the folder."""

    def split(self, hours: Hours, message: str) -> None:
        """These hours are too much for one request, and are asked for in parts."""

    def waiting(self, seconds: float, cause: str) -> None:
        """A request failed, and is made again after a wait."""


def fetch(
    api: Downloads,
    folder: ExportFolder,
    hours: Hours,
    watcher: Watcher,
    *,
    wait: Callable[[float], object] = pause,
) -> bool:
    """Fetches all of these hours that the folder lacks. Returns whether any of them had data.

    Each download is in the folder completely, or not at all, however the process ends. Hours
    without data become an empty zip, and are not asked for again.

    Raises FetchError if the server refuses a request, or after ten failures in a row; OSError.
    """
    most, failures, has_data = HOURS_PER_REQUEST, 0, False
    while (wanted := folder.next_missing(hours, most)) is not None:
        with folder.new_file() as file:
            answer = api.download(wanted, file, watcher.received)
            if answer.outcome is Outcome.NO_DATA:
                zipfile.ZipFile(file, "w").close()
            if answer.outcome in (Outcome.SAVED, Outcome.NO_DATA):
                folder.keep(file, wanted)
                hours = Hours(wanted.last + 1, hours.last)
                is_saved = answer.outcome is Outcome.SAVED
                has_data |= is_saved
                failures = 0
                watcher.saved(wanted, has_data=is_saved)
                continue
        if answer.outcome is Outcome.TOO_LARGE:
            most = (wanted.total + 1) // 2
            watcher.split(wanted, answer.message)
            continue
        failures += 1
        if failures == MAX_FAILURES:
            raise FetchError(f"given up: {answer.message}", is_temporary=True)
        seconds = _delay(failures, answer.retry_after_seconds)
        watcher.waiting(seconds, answer.message)
        wait(seconds)
    return has_data


def _delay(failures: int, retry_after_seconds: float) -> float:
    """Returns the wait after this many failures in a row: what the server asks for, or longer ones.

    The server's own is bounded, so that a mistaken date does not end the fetch.
    """
    if retry_after_seconds > 0:
        return min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
    return min(FIRST_DELAY_SECONDS * (1 << (failures - 1)), LONGEST_DELAY_SECONDS)
