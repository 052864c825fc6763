"""Fetching the hours that are missing, against a scripted API."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exports import as_gzip, as_zip, numbered

from amplitude_moloco.history import read_export
from amplitude_moloco.history.export_api import Answer, Outcome
from amplitude_moloco.history.fetch import MAX_FAILURES, fetch
from amplitude_moloco.history.folder import open_folder
from amplitude_moloco.history.hours import Hours
from amplitude_moloco.history.problem import FetchError

DAY = 20_484 * 24
SAVED = Answer(Outcome.SAVED)
NO_DATA = Answer(Outcome.NO_DATA)
FAILED = Answer(Outcome.FAILED, "it is busy")


class ScriptedApi:
    """Answers as its script says, and then with one event for each hour."""

    def __init__(self, *script: Answer | BaseException) -> None:
        self.script = deque(script)
        self.asked: list[Hours] = []
        self.largest = 10_000

    def download(self, hours: Hours, file: IO[bytes], received: Callable[[int], object]) -> Answer:
        self.asked.append(hours)
        answer = self.script.popleft() if self.script else SAVED
        if isinstance(answer, BaseException):
            file.write(b"PK")
            raise answer
        if hours.total > self.largest:
            return Answer(Outcome.TOO_LARGE, "too large")
        if answer.outcome is Outcome.SAVED:
            data = as_zip({"a.json.gz": as_gzip(numbered(hours.total, hours.first - DAY))})
            received(file.write(data))
        return answer


class Recorder:
    """Keeps what it is shown, and the waits."""

    def __init__(self) -> None:
        self.bytes = 0
        self.shown: list[object] = []
        self.waits: list[float] = []

    def received(self, size: int) -> None:
        self.bytes += size

    def saved(self, hours: Hours, *, has_data: bool) -> None:
        self.shown.append((hours, has_data))

    def split(self, hours: Hours, message: str) -> None:
        self.shown.append((hours, message))

    def waiting(self, seconds: float, cause: str) -> None:
        self.shown.append((seconds, cause))

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def run(
    path: Path, api: ScriptedApi, hours: Hours, recorder: Recorder | None = None
) -> tuple[bool, Recorder]:
    recorder = recorder or Recorder()
    with open_folder(path, "p") as folder:
        return fetch(api, folder, hours, recorder, wait=recorder.wait), recorder


def fetched(path: Path) -> list[int]:
    """The hours whose events are in the folder, in the order of reading."""
    return [int(event.insert_id.removeprefix("id-")) for _, event in read_export(path)]


def test_a_day_at_a_time(tmp_path: Path) -> None:
    """Each request is for the hours of one day, and each hour is asked for once."""
    api = ScriptedApi()
    has_data, recorder = run(tmp_path, api, Hours(DAY + 20, DAY + 50))
    assert has_data
    assert api.asked == [
        Hours(DAY + 20, DAY + 23),
        Hours(DAY + 24, DAY + 47),
        Hours(DAY + 48, DAY + 50),
    ]
    assert recorder.shown == [(hours, True) for hours in api.asked]
    assert recorder.bytes == sum(file.stat().st_size for file in tmp_path.glob("*.zip"))
    assert fetched(tmp_path) == list(range(20, 51))


def test_no_data_is_no_failure(tmp_path: Path) -> None:
    """Hours without data are an empty zip, which has no events, and are not asked for again."""
    api = ScriptedApi(NO_DATA, NO_DATA)
    assert run(tmp_path, api, Hours(DAY, DAY + 47))[0] is False
    assert fetched(tmp_path) == []
    assert run(tmp_path, api, Hours(DAY, DAY + 48))[0] is True
    assert api.asked[2:] == [Hours(DAY + 48, DAY + 48)]
    assert fetched(tmp_path) == [48]


def test_a_range_that_is_too_large_is_split(tmp_path: Path) -> None:
    """A range that is too large is halved, and the next days are asked for in parts as small."""
    api = ScriptedApi()
    api.largest = 7
    _, recorder = run(tmp_path, api, Hours(DAY, DAY + 47))
    assert [hours.total for hours in api.asked] == [24, 12, 6, 6, 6, 6, 6, 6, 6, 6]
    assert recorder.waits == []
    assert recorder.shown[:2] == [
        (Hours(DAY, DAY + 23), "too large"),
        (Hours(DAY, DAY + 11), "too large"),
    ]
    assert sorted(fetched(tmp_path)) == list(range(48))


def test_waits_grow_while_it_fails(tmp_path: Path) -> None:
    """A failure is tried again after 5, 10, 20 seconds and so on, at most five minutes."""
    api = ScriptedApi(*[FAILED] * (MAX_FAILURES - 1))
    _, recorder = run(tmp_path, api, Hours(DAY, DAY))
    assert recorder.waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert recorder.shown[0] == (5, "it is busy")
    assert fetched(tmp_path) == [0]


def test_a_success_starts_anew(tmp_path: Path) -> None:
    """After a success, the waits begin again, and so does the count of failures."""
    api = ScriptedApi(*[FAILED] * 9, SAVED, *[FAILED] * 9, NO_DATA, FAILED)
    _, recorder = run(tmp_path, api, Hours(DAY, DAY + 71))
    assert recorder.waits[9:] == [*recorder.waits[:9], 5]


@pytest.mark.parametrize(("asked", "waited"), [(0.5, 0.5), (77, 77), (3600, 3600), (1e9, 3600)])
def test_waits_as_the_server_asks(tmp_path: Path, asked: float, waited: float) -> None:
    """A wait that the server asks for is kept, up to an hour."""
    answer = Answer(Outcome.FAILED, "slow down", asked, 429)
    assert run(tmp_path, ScriptedApi(answer), Hours(DAY, DAY))[1].waits == [waited]


def test_gives_up(tmp_path: Path) -> None:
    """After ten failures in a row it ends, and says that a later run may succeed."""
    api = ScriptedApi(SAVED, *[FAILED] * 20)
    with pytest.raises(FetchError, match=r"^given up: it is busy$") as caught:
        run(tmp_path, api, Hours(DAY, DAY + 30))
    assert caught.value.is_temporary
    assert len(api.asked) == 1 + MAX_FAILURES
    run(tmp_path, ScriptedApi(), Hours(DAY, DAY + 30))
    assert sorted(fetched(tmp_path)) == list(range(31))


@given(st.lists(st.sampled_from(["saved", "no data", "failed", "large", "stop"]), max_size=12))
def test_whatever_happens(tmp_path_factory: pytest.TempPathFactory, script: list[str]) -> None:
    """However often it fails or is interrupted, in the end each hour is there exactly once."""
    path = tmp_path_factory.mktemp("out")
    answers: dict[str, Answer | BaseException] = {
        "saved": SAVED,
        "no data": SAVED,
        "failed": FAILED,
        "large": Answer(Outcome.TOO_LARGE),
        "stop": KeyboardInterrupt(),
    }
    api = ScriptedApi(*(answers[each] for each in script))
    api.largest = 9
    hours = Hours(DAY + 3, DAY + 40)
    while True:
        try:
            run(path, api, hours)
        except (KeyboardInterrupt, FetchError):
            assert not any(file.name.startswith(".fetch-") for file in path.iterdir())
        else:
            break
    assert sorted(fetched(path)) == list(range(3, 41))
