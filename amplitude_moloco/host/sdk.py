"""The private parts of Amplitude's SDK that this library touches, each with its fallback.

Checked with amplitude-analytics 1.2 and 1.3. Where a part is not as expected, it is left alone.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

_POOL = partial(ThreadPoolExecutor, max_workers=16)  # as the SDK's own


def timeline_of(client: Any) -> Any:
    """The client's timeline, which holds its plugins and their locks; None if it is elsewhere."""
    return getattr(client, "_Amplitude__timeline", None)


def times_added(plugin: Any, timeline: Any) -> int:
    """How often a plugin is in a client's timeline; 0 if the plugins are elsewhere."""
    return sum(each is plugin for each in plugins_of(timeline))


def plugins_of(timeline: Any) -> list[Any]:
    """All plugins in a client's timeline; none if they are elsewhere."""
    plugins = getattr(timeline, "plugins", None)
    return [*itertools.chain(*plugins.values())] if isinstance(plugins, dict) else []


def renew_locks(timeline: Any) -> None:
    """Give a timeline, and its destinations, new locks.

    A child inherits the locks as they were at the fork. One that a thread of the parent held is
    never released in the child, and every ``track()`` would wait for it.
    """
    locks = getattr(timeline, "locks", None)
    if isinstance(locks, dict):
        for kind in locks:
            locks[kind] = threading.Lock()
    for plugin in plugins_of(timeline):
        _renew(getattr(plugin, "storage", None), "buffer_lock_cv", threading.Condition)
        workers = getattr(plugin, "workers", None)
        _renew(workers, "consumer_lock", threading.RLock)
        _renew(workers, "threads_pool", _POOL)


def _renew(owner: Any, name: str, new: Callable[[], Any]) -> None:
    if isinstance(getattr(owner, name, None), type(new())):
        setattr(owner, name, new())
