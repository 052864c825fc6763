"""Delivering an export, over loopback."""

from __future__ import annotations

import io
import json
import resource
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.exports import as_lines, numbered, record, write_hour
from support.faulty_server import Exchange, FaultyServer, Received

from amplitude_moloco import BreakerPolicy, ConfigurationError, RetrySchedule, Sync
from amplitude_moloco.errors import BackfillError
from amplitude_moloco.history import Backfill, Progress, Refusal, read_export
from amplitude_moloco.history.lane import MOST_REFUSALS
from amplitude_moloco.history.outcome import Ended, Outcome
from amplitude_moloco.history.place import ExportError
from amplitude_moloco.moloco.settings import MolocoSettings
from amplitude_moloco.sandbox import Sandbox

SYNCS = [
    Sync("HOME", events=["Page Viewed"]),
    Sync("PAGE_VIEW", events=["Page Viewed"], mapping={"page_id": "event_properties.page"}),
]
DELIVERED = Ended("HOME", Outcome.DELIVERED)


def records(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{**each, "user_id": "shopper"} for each in numbered(count, first)]


def backfill(folder: Path, url: str, syncs: Any = SYNCS[0], **options: Any) -> Backfill:
    """Of the exports in ``exports``, with the state beside it."""
    reading = options.pop("reading", {})
    sources = options.pop("sources", folder / "exports")
    settings = {"transport": "requests", "channel_type": "SITE", "base_url": url}
    more = options.pop("settings", {})
    return Backfill(
        MolocoSettings("the-key", "SHOP", syncs, **{**settings, **more}),
        read_export(sources, **reading),
        **{"state": folder / "state.db", "rate": None, **options},
    )


def ids(sandbox: Sandbox) -> list[str]:
    return sorted(event["id"] for event in sandbox.moloco_events)


def test_all_events_arrive_as_they_were(tmp_path: Path, sandbox: Sandbox) -> None:
    """Each is sent with its id and its time, one request for each sync, and is counted."""
    page = {"event_properties": {"page": "start"}, "user_id": "shopper"}
    write_hour(tmp_path / "exports", "2026-01-30_9", [*records(2), record(**page)])
    write_hour(tmp_path / "exports", "2026-01-31_10", records(2, 10))
    result = backfill(tmp_path, sandbox.url, SYNCS).run()
    events = {event["id"]: event for event in sandbox.moloco_events}
    last = record()["$insert_id"]
    assert sorted(events) == sorted(["id-0", "id-1", "id-10", "id-11", last, f"{last}-2"])
    assert {event["timestamp"] for event in events.values()} == {"1750152600123"}
    assert result.counts == {
        DELIVERED: 5,
        Ended("PAGE_VIEW", Outcome.DELIVERED): 1,
        Ended("PAGE_VIEW", Outcome.INVALID, "page_id missing"): 4,
    }
    assert result.has_failures
    first = result.first_places[Ended("PAGE_VIEW", Outcome.INVALID, "page_id missing")]
    assert first.endswith("187520_2026-01-30_9#627.json.gz: line 1")


def test_the_plan_sends_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    """It says what would be sent, what would not and why, and how long sending would take."""
    more = [
        record(event_type="Else", **{"$insert_id": "else"}),
        record(event_type="$identify"),
        {**records(1, 3)[0], "event_time": "2026-01-31 00:00:00.000000"},
        record(event_type="Page Viewed", **{"$insert_id": "nobody's"}),
    ]
    write_hour(tmp_path / "exports", "2026-01-30_9", [*records(3), *records(2), *more])
    seen: list[int] = []
    job = backfill(tmp_path, sandbox.url)
    plan = job.plan(lambda plan: seen.append(plan.read))
    assert seen == list(range(1, 9))
    assert (plan.read, plan.unselected, plan.duplicates, plan.unreadable) == (8, 1, 2, 0)
    assert (plan.to_send, plan.total, plan.seconds(2.0)) == ({"HOME": 4}, 4, 2.0)
    assert plan.invalid.total() == 1
    ((key, problem),) = plan.problems.items()
    assert key in plan.invalid
    assert "line 9: " in problem
    assert plan.left_out == {"never_sent": 1}
    assert (plan.first_millis, plan.last_millis) == (1_750_152_600_123, 1_769_817_600_000)
    assert not sandbox.requests
    assert not (tmp_path / "state.db").exists()


def test_the_plan_of_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    """Without an event to send, the plan has no times."""
    write_hour(tmp_path / "exports", "2026-01-30_9", [])
    plan = backfill(tmp_path, sandbox.url).plan()
    assert (plan.total, plan.first_millis, plan.last_millis) == (0, None, None)


def test_what_was_sent_is_not_sent_again(tmp_path: Path, sandbox: Sandbox) -> None:
    """A second run sends what a new file has, and reads no file that is done."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(3))
    backfill(tmp_path, sandbox.url).run()
    write_hour(tmp_path / "exports", "2026-01-30_8", records(4))
    told: list[Progress] = []
    result = backfill(tmp_path, sandbox.url).run(told.append)
    assert told[-1].read == 4
    assert ids(sandbox) == ["id-0", "id-1", "id-2", "id-3"]
    assert result.counts == {DELIVERED: 4, Ended("HOME", Outcome.DUPLICATE): 3}


@pytest.mark.parametrize("at", [0, 1, 7, 30])
def test_an_exception_ends_it_and_the_next_run_goes_on(
    tmp_path: Path, sandbox: Sandbox, at: int
) -> None:
    """Ctrl-C anywhere: what is on its way is finished, and no event is sent twice."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(60))

    class Interrupting:
        """A converter that is interrupted at one event."""

        def __init__(self, job: Any) -> None:
            self._converter = job.converter()
            self.endpoint, self.engine_settings = job.endpoint, job.engine_settings
            self._left = at

        def converter(self) -> Any:
            return self

        def convert(self, event: Any, now_millis: int) -> Any:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
            return self._converter.convert(event, now_millis)

    settings = MolocoSettings("key", "SHOP", SYNCS[0], channel_type="SITE", base_url=sandbox.url)
    reader = read_export(tmp_path / "exports")
    state = tmp_path / "state.db"
    with pytest.raises(KeyboardInterrupt):
        Backfill(Interrupting(settings), reader, state=state, rate=None).run()
    assert Backfill(settings, reader, state=state, rate=None).run().counts == {DELIVERED: 60}
    assert ids(sandbox) == sorted(f"id-{number}" for number in range(60))


def test_it_stops_when_all_are_refused(tmp_path: Path, server: FaultyServer) -> None:
    """Twenty refusals in a row end it. They are kept, and the next run sends the others."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(200))
    server.decide = lambda request: server.reply(400, b'{"message": "too old"}')
    with pytest.raises(BackfillError, match=r"20 events in a row were refused, .* 400: too old"):
        backfill(tmp_path, server.url, settings={"connections": 1}).run()
    refused = len(server.requests)
    assert MOST_REFUSALS <= refused < 60
    server.decide = lambda request: server.reply(200)
    result = backfill(tmp_path, server.url).run()
    assert len(server.requests) == 200
    assert result.counts[DELIVERED] == 200 - refused
    assert len(result.refusals) == refused
    (first, *_) = result.refusals
    assert (first.sync, first.reason, first.status, first.message) == (
        *("HOME", "rejected", 400, "too old"),
    )


def test_refusals_with_deliveries_between_them_stop_nothing(
    tmp_path: Path, server: FaultyServer
) -> None:
    """Many refusals, but not in a row, are in the report, each with its place."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(80))

    def decide(request: Received) -> bytes:
        number = int(json.loads(request.body)["id"].partition("-")[2])
        return server.reply(400, b"no") if number % 2 else server.reply(200)

    server.decide = decide
    result = backfill(tmp_path, server.url, settings={"connections": 1}).run()
    assert result.counts == {DELIVERED: 40, Ended("HOME", Outcome.REFUSED, "rejected"): 40}
    place = f"{tmp_path}/exports/187520_2026-01-30_9#627.json.gz: line 2"
    assert result.refusals[0] == Refusal(place, "HOME", "id-1", "rejected", 400, "no")


def test_it_stops_at_once_with_a_wrong_key(tmp_path: Path) -> None:
    """A server that refuses the key refuses everything: nothing is lost, and it says so."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(5))
    with Sandbox(api_key="another-key") as sandbox:
        with pytest.raises(BackfillError, match="the server refuses everything: 401"):
            backfill(tmp_path, sandbox.url).run()
        assert not sandbox.moloco_events
    with Sandbox(api_key="the-key", port=0) as sandbox:
        # Another address would be another target.
        job = backfill(tmp_path, sandbox.url, state=tmp_path / "another.db")
        assert job.run().counts == {DELIVERED: 5}


def test_an_outage_is_waited_for(tmp_path: Path, server: FaultyServer) -> None:
    """While the server fails it waits, says why, and sends all once the server is back."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(5))
    is_back = threading.Event()
    server.decide = lambda request: server.reply(200 if is_back.is_set() else 503)
    pauses: list[str] = []

    def note(progress: Progress) -> None:
        pauses.append(progress.pause)
        if progress.pause:
            is_back.set()

    quick = {
        "retry": RetrySchedule((0.01,), then_seconds=0.01),
        "breaker": BreakerPolicy(failures=2, probe_delays_seconds=(0.1,) * 1_000),
    }
    result = backfill(tmp_path, server.url, settings=quick).run(note)
    assert result.counts == {DELIVERED: 5}
    assert any(pause.startswith("503") for pause in pauses)
    assert pauses[-1] == ""


def test_events_that_wait_are_bounded(tmp_path: Path, server: FaultyServer) -> None:
    """It reads about a thousand events ahead of the first that has no outcome."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(1_500))
    is_full, read = threading.Event(), []

    def wait_and_answer(exchange: Exchange) -> None:
        is_full.wait(60)
        exchange.send(server.reply(200))

    def note(progress: Progress) -> None:
        read.append(progress.read)
        if len(read) > 3 and read[-1] == read[-3]:
            is_full.set()

    server.decide = lambda request: wait_and_answer
    assert backfill(tmp_path, server.url).run(note).counts == {DELIVERED: 1_500}
    assert is_full.is_set()
    assert 1_000 in read


def test_a_state_that_cannot_be_written_ends_it(tmp_path: Path, sandbox: Sandbox) -> None:
    """On a full disk it says so, and begins again where it was once there is room."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(2_000))
    job = backfill(tmp_path, sandbox.url, Sync("HOME", events=["Another"]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_disk(progress: Progress) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))

    try:
        with pytest.raises(BackfillError, match=r"^the state can't be written: "):
            job.run(fill_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert job.run().counts == {}


def test_what_cannot_be_read_is_left_out(tmp_path: Path, sandbox: Sandbox) -> None:
    """With ``on_error``, the good part of a damaged export is sent."""
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a.json").write_bytes(as_lines(records(1)) + b"{]\n" + as_lines(records(1, 1)))
    errors: list[Any] = []
    job = backfill(tmp_path, sandbox.url, reading={"on_error": errors.append})
    assert job.run().counts == {DELIVERED: 2}
    assert [error.place.line for error in errors] == [2]


def test_what_is_before_the_unreadable_is_sent(tmp_path: Path, sandbox: Sandbox) -> None:
    """Without ``on_error``, an error ends the run, and what was read before it has been sent."""
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a.json").write_bytes(as_lines(records(3)) + b"{]\n" + as_lines(records(1, 3)))
    with pytest.raises(ExportError, match="line 4"):
        backfill(tmp_path, sandbox.url).run()
    assert ids(sandbox) == ["id-0", "id-1", "id-2"]


def test_an_open_file(tmp_path: Path, sandbox: Sandbox) -> None:
    """An open file, which may have no name, works like a path."""
    job = backfill(tmp_path, sandbox.url, sources=io.BytesIO(as_lines(records(2))))
    assert job.run().counts == {DELIVERED: 2}
    files = [io.BytesIO(), io.BytesIO()]
    with pytest.raises(ConfigurationError, match="two open files have the same name; use paths"):
        backfill(tmp_path, sandbox.url, sources=files)


@pytest.mark.parametrize("rate", [0, -1.0, "fast"])
def test_a_rate_that_cannot_work_is_refused(tmp_path: Path, sandbox: Sandbox, rate: Any) -> None:
    """The rate is a number above 0, or None."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(1))
    with pytest.raises(ConfigurationError, match=r"rate: found .*; use a number above 0"):
        backfill(tmp_path, sandbox.url, rate=rate)


def test_the_state_is_checked_before_anything_is_read(tmp_path: Path, sandbox: Sandbox) -> None:
    """Another choice of events needs another state."""
    write_hour(tmp_path / "exports", "2026-01-30_9", records(1))
    backfill(tmp_path, sandbox.url).run()
    job = backfill(tmp_path, sandbox.url, reading={"since": "2026-01-31"})
    with pytest.raises(ConfigurationError, match=r"since any time.*, not since 2026-01-31 00"):
        job.check_state()


def test_two_syncs_of_one_event_are_settled_apart(tmp_path: Path, server: FaultyServer) -> None:
    """If one request of an event is refused, the other one is delivered."""
    page = {"event_properties": {"page": "start"}, "user_id": "shopper"}
    write_hour(tmp_path / "exports", "2026-01-30_9", [record(**page)])
    kinds: Counter[str] = Counter()

    def decide(request: Received) -> bytes:
        kind = json.loads(request.body)["event_type"]
        kinds[kind] += 1
        return server.reply(400 if kind == "PAGE_VIEW" else 200)

    server.decide = decide
    result = backfill(tmp_path, server.url, SYNCS).run()
    assert result.counts == {DELIVERED: 1, Ended("PAGE_VIEW", Outcome.REFUSED, "rejected"): 1}
    assert kinds == {"HOME": 1, "PAGE_VIEW": 1}
