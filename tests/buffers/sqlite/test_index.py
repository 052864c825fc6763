"""The index of the WAL keeps its length, which SQLite has mapped into memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amplitude_moloco.buffers.sqlite.index import Index


@pytest.fixture
def shm(path: Path) -> Path:
    file = path.with_name(f"{path.name}-shm")
    file.write_bytes(b"index" * 100)
    return file


@pytest.fixture
def index(path: Path, shm: Path) -> Index:
    index = Index(path)
    index.learn()
    return index


@pytest.mark.parametrize("size", [0, 77])
def test_a_cut_index_has_its_length_again(shm: Path, index: Index, size: int) -> None:
    """What was cut off is zeros, which are no index, so that SQLite makes one."""
    os.truncate(shm, size)
    index.mend()
    assert shm.read_bytes() == (b"index" * 100)[:size] + bytes(500 - size)


def test_an_index_may_grow(shm: Path, index: Index) -> None:
    """It has the greatest length that was seen, and that could be mapped by then."""
    os.truncate(shm, 900)
    index.mend()
    os.truncate(shm, 100)
    index.mend()
    assert shm.stat().st_size == 900


def test_another_file_is_left_alone(shm: Path, index: Index, tmp_path: Path) -> None:
    """A shorter file in its place, or what a link there leads to, is not written."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    shm.rename(tmp_path / "moved")
    os.link(victim, shm)
    index.mend()
    shm.unlink()
    shm.symlink_to(victim)
    index.mend()
    assert victim.read_bytes() == b"precious"


def test_where_nothing_is_nothing_is_made(path: Path, shm: Path, index: Index) -> None:
    """SQLite removes the index with its last connection."""
    shm.unlink()
    index.mend()
    Index(path).learn()
    assert not shm.exists()
