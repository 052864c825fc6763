"""What every Python that the tests start runs first: it lets forked children end under coverage.

Coverage takes a lock when a file runs for the first time, and again to save at the end. A child
that is forked while another thread has it would wait for it without end.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_collectors: list[Any] = []  # of this process, and of those that it was forked from


def _add_collector() -> None:
    if "coverage" in sys.modules:
        current = sys.modules["coverage"].Coverage.current()
        _collectors.append(getattr(current, "_collector", None))


def _renew_locks() -> None:
    _add_collector()  # coverage has started anew, in its own hook
    for each in _collectors:
        if getattr(each, "data_lock", None):
            each.data_lock = threading.Lock()


_add_collector()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
