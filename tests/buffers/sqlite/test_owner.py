"""Locks that say which processes live."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amplitude_moloco.buffers.sqlite.owner import Owner, new_owner, tokens_beside

TOKEN = "0123456789abcdef"
HOLD = """
import sys, threading
from pathlib import Path
from amplitude_moloco.buffers.sqlite.owner import Owner
owner = Owner(Path(sys.argv[1]), sys.argv[2])
if len(sys.argv) > 3:
    open(owner.path, "rb").read()  # drops the lock
print("held", flush=True)
threading.Event().wait(60)
"""


@pytest.mark.parametrize("reads", [[], ["reads"]], ids=["", "reads its lock"])
def test_a_living_process_is_known_and_a_dead_one_too(path: Path, reads: list[str]) -> None:
    """A lock can be had once its process is dead, and no sooner, even if that one dropped it."""
    command = [sys.executable, "-c", HOLD, str(path), TOKEN, *reads]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(BlockingIOError):
            Owner(path, TOKEN)
        child.kill()
        child.wait(20)
    owner = Owner(path, TOKEN)
    assert owner.hold()
    with pytest.raises(BlockingIOError, match="held by this process"):
        Owner(path, TOKEN)
    owner.release(is_done=True)
    assert not owner.path.exists()
    owner.release()


def test_each_new_lock_has_a_name_of_its_own(path: Path) -> None:
    """What lies beside a file shows which processes have, or had, it open."""
    owners = [new_owner(path) for _ in range(3)]
    path.with_name("buffer.db-fedcba9876543210-00000001.journal").touch()
    path.with_name("buffer.db-strange.lock").touch()
    assert tokens_beside(path) == {owner.token for owner in owners} | {"fedcba9876543210"}
    for owner in owners:
        owner.release(is_done=True)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"x y", b"1 2", b"4294967295 1"])
def test_a_lock_file_may_hold_anything(path: Path, content: bytes) -> None:
    """A free lock whose file names no living process is a dead one's."""
    path.with_name(f"{path.name}-{TOKEN}.lock").write_bytes(content)
    Owner(path, TOKEN).release()


def test_a_lock_is_taken_again_where_its_file_was_removed(path: Path) -> None:
    """A lock whose file is gone protects nothing; a new file is held then."""
    owner = Owner(path, TOKEN)
    owner.path.unlink()
    assert not owner.hold()
    assert owner.hold()
    owner.path.unlink()
    owner.path.write_bytes(b"")
    assert not owner.hold()
    owner.release()


def test_a_lock_that_another_process_took_is_not_held(path: Path) -> None:
    """Where its file was removed and another process has the new one, the lock can't be had."""
    owner = Owner(path, TOKEN)
    owner.path.unlink()
    command = [sys.executable, "-c", HOLD, str(path), TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                owner.hold()
        child.kill()
        child.wait(20)
    assert not owner.hold()
    assert owner.hold()
    owner.release()


def test_no_link_is_followed_to_a_lock(path: Path, tmp_path: Path) -> None:
    """A link in place of a lock file is refused."""
    path.with_name(f"{path.name}-{TOKEN}.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="Too many levels"):
        Owner(path, TOKEN)
    assert not (tmp_path / "victim").exists()


def test_a_child_does_not_hold_its_parents_lock(path: Path) -> None:
    """A forked child can't take the lock of its living parent, nor end it."""
    owner = Owner(path, TOKEN)
    child = os.fork()
    if not child:
        try:
            Owner(path, TOKEN)
        except BlockingIOError:
            owner.release()
            os._exit(0)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert owner.hold()
    owner.release()
