"""The private parts of Amplitude's SDK, as they are and as they might become."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from amplitude import Amplitude, BaseEvent, DestinationPlugin

from amplitude_moloco.host.sdk import renew_locks, timeline_of, times_added


class Timeline:
    """Like the SDK's, or not quite."""

    def __init__(self, locks: object, plugins: object) -> None:
        self.locks, self.plugins = locks, plugins


@pytest.mark.parametrize("timeline", [None, object(), Timeline([], 3), Timeline({}, {"a": [1]})])
def test_an_sdk_that_has_changed_is_left_alone(timeline: object) -> None:
    """If the SDK's locks are not where they were, nothing is renewed and nothing raises."""
    before = dict(vars(timeline)) if hasattr(timeline, "__dict__") else {}
    renew_locks(timeline)
    assert (dict(vars(timeline)) if hasattr(timeline, "__dict__") else {}) == before


class Storage:
    """Like the SDK's."""

    def __init__(self) -> None:
        self.buffer_lock_cv = threading.Condition()


class Workers:
    """Like the SDK's."""

    def __init__(self) -> None:
        self.consumer_lock = threading.RLock()
        self.threads_pool = ThreadPoolExecutor(max_workers=1)


class Plugin:
    """Like a destination of the SDK."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.workers = Workers()


def test_a_child_gets_workers_that_no_thread_of_the_parent_holds() -> None:
    """The locks and the executor of the SDK's destinations are replaced."""
    plugin = Plugin()
    timeline = Timeline({"destination": threading.Lock()}, {"destination": [plugin]})
    old_lock, old_condition = timeline.locks, plugin.storage.buffer_lock_cv
    assert isinstance(old_lock, dict)
    held = old_lock["destination"]
    before = plugin.workers.consumer_lock, plugin.workers.threads_pool
    renew_locks(timeline)
    assert isinstance(timeline.locks, dict)
    assert timeline.locks["destination"] is not held
    assert plugin.storage.buffer_lock_cv is not old_condition
    assert plugin.workers.consumer_lock is not before[0]
    assert plugin.workers.threads_pool is not before[1]
    assert plugin.workers.threads_pool.submit(int, "3").result(10) == 3
    plugin.workers.threads_pool.shutdown()


class Destination(DestinationPlugin):  # type: ignore[misc]
    """Keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[BaseEvent] = []

    def execute(self, event: BaseEvent) -> None:
        self.events.append(event)

    def flush(self) -> None: ...


def test_a_client_whose_locks_are_held_tracks_again() -> None:
    """When the locks of the real SDK are renewed, a client whose lock was held tracks again."""
    client = Amplitude("key")
    for plugin in plugins_of(client):  # also the SDK's own destination, which uses the network
        client.remove(plugin)
    destination = Destination()
    client.add(destination)
    timeline = timeline_of(client)
    for lock in list(timeline.locks.values()):
        assert lock.acquire(timeout=10)  # as by a thread that the fork did not copy
    renew_locks(timeline)
    client.track(BaseEvent("Home", user_id="user-1"))
    assert [event.event_type for event in destination.events] == ["Home"]
    client.shutdown()


def plugins_of(client: Amplitude) -> list[object]:
    return [plugin for plugins in timeline_of(client).plugins.values() for plugin in plugins]


def test_a_client_of_another_kind_has_no_timeline() -> None:
    """If a client keeps its timeline elsewhere, none is found, and nothing raises."""
    assert timeline_of(object()) is None


@pytest.mark.parametrize(
    "timeline", [None, object(), Timeline({}, ["plugin"])], ids=["none", "no plugins", "a list"]
)
def test_a_timeline_that_is_not_as_expected_holds_no_plugins(timeline: object) -> None:
    """Where an SDK keeps its plugins elsewhere, none is found."""
    assert times_added("plugin", timeline) == 0
