"""Which of a process's buffers on one file watches it."""

from __future__ import annotations

import os
from pathlib import Path

from amplitude_moloco.buffers.sqlite.watch import Watch


def joined(path: Path) -> Watch:
    watch = Watch(path)
    watch.join()
    return watch


def test_the_first_of_each_file_watches(tmp_path: Path) -> None:
    """Files have nothing to do with each other, and joining again changes nothing."""
    watches = [joined(tmp_path / name) for name in ("a", "a", "b")]
    watches[0].join()
    assert [each.is_relieved for each in watches] == [False, True, False]


def test_one_that_has_not_joined_neither_watches_nor_rests(tmp_path: Path) -> None:
    """A buffer that nothing tends yet relieves no other one."""
    idle, busy = Watch(tmp_path), joined(tmp_path)
    assert (idle.is_relieved, busy.is_relieved) == (False, False)
    idle.end()


def test_the_next_one_begins_once_the_first_has_ended(tmp_path: Path) -> None:
    """It is called then, and not where another one ends."""
    first, second, third = (joined(tmp_path) for _ in range(3))
    begun: list[str] = []
    second.begin = lambda: begun.append("second")
    third.begin = lambda: begun.append("third")
    first.end()
    first.end()
    assert (begun, second.is_relieved) == (["second"], False)
    third.end()
    assert begun == ["second"]
    second.end()
    assert not second.is_relieved


def test_one_that_claims_goes_before_one_that_does_not(tmp_path: Path) -> None:
    """What is found is sent by the buffer that watches, so one that only stores gives way."""
    storing, claiming, storing_too = (Watch(tmp_path) for _ in range(3))
    storing.is_claiming = storing_too.is_claiming = False
    for each in storing, storing_too:
        each.join()
    assert (storing.is_relieved, storing_too.is_relieved) == (False, True)
    claiming.join()
    assert [each.is_relieved for each in (storing, claiming)] == [True, False]
    begun: list[str] = []
    storing.begin = lambda: begun.append("storing")
    claiming.end()
    assert (begun, storing.is_relieved, storing_too.is_relieved) == (["storing"], False, True)


def test_what_was_dropped_relieves_no_other(tmp_path: Path) -> None:
    """A buffer that was never closed, and is gone, watches nothing."""
    first, second = joined(tmp_path), joined(tmp_path)
    assert second.is_relieved
    del first
    assert not second.is_relieved


def test_a_childs_watches_are_its_own(tmp_path: Path) -> None:
    """Its first buffer watches, whatever its parent had."""
    parents = joined(tmp_path)
    child = os.fork()
    if not child:
        os._exit(1 if joined(tmp_path).is_relieved else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert not parents.is_relieved
