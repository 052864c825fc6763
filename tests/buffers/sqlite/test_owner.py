"""Locks that say which processes live."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amplitude_moloco.buffers.sqlite.owner import Owner, lock_path, new_token, published

HOLD = """
import sys, threading
from pathlib import Path
from amplitude_moloco.buffers.sqlite.owner import Owner
owner = Owner(Path(sys.argv[1]), sys.argv[2])
owner.publish(3, 40)
if len(sys.argv) > 3:
    open(owner.path, "rb").read()  # drops the lock
print("held", flush=True)
threading.Event().wait(60)
"""


@pytest.mark.parametrize("reads", [[], ["reads"]], ids=["", "reads its lock"])
def test_a_living_process_is_known_and_a_dead_one_too(path: Path, reads: list[str]) -> None:
    """A lock can be had once its process is dead, and no sooner, even if that one dropped it."""
    token = new_token()
    command = [sys.executable, "-c", HOLD, str(path), token, *reads]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(BlockingIOError):
            Owner(path, token)
        assert published(path, token) == (3, 40)
        child.kill()
        child.wait(20)
    owner = Owner(path, token)
    assert owner.is_held()
    with pytest.raises(BlockingIOError, match="held by this process"):
        Owner(path, token)
    owner.release(is_done=True)
    assert not owner.is_held()
    assert not owner.path.exists()
    assert published(path, token) == (0, 0)


def test_what_this_process_publishes_is_read_without_its_file(path: Path) -> None:
    """Reading what an own lock file says keeps its lock."""
    owner = Owner(path, new_token())
    owner.publish(0, 0)
    assert published(path, owner.token) == (0, 0)
    owner.publish(1, 2)
    assert published(path, owner.token) == (1, 2)
    assert owner.is_held()
    owner.release()
    owner.release()
    owner.publish(5, 5)
    assert lock_path(path, owner.token).read_bytes().split()[-2:] == [b"1", b"2"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"x y", b"1 2", b"4294967295 1 0 0"])
def test_a_lock_file_may_hold_anything(path: Path, content: bytes) -> None:
    """A free lock whose file names no living process is a dead one's."""
    token = new_token()
    lock_path(path, token).write_bytes(content)
    assert published(path, token) == (0, 0)
    Owner(path, token).release()


def test_a_lock_file_that_was_replaced_is_lost(path: Path) -> None:
    """A lock whose file has another name, or none, protects nothing."""
    owner = Owner(path, new_token())
    owner.path.unlink()
    assert not owner.is_held()
    owner.path.write_bytes(b"")
    assert not owner.is_held()
    owner.release()


def test_no_link_is_followed_to_a_lock(path: Path, tmp_path: Path) -> None:
    """A link in place of a lock file is refused."""
    token = new_token()
    lock_path(path, token).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="Too many levels"):
        Owner(path, token)
    assert not (tmp_path / "victim").exists()


def test_a_child_does_not_hold_its_parents_lock(path: Path) -> None:
    """A forked child can't take the lock of its living parent, nor end it."""
    owner = Owner(path, new_token())
    owner.publish(0, 0)
    child = os.fork()
    if not child:
        held = owner.is_held()
        try:
            Owner(path, owner.token)
        except BlockingIOError:
            owner.release()
            os._exit(int(held))
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert owner.is_held()
    owner.release()
