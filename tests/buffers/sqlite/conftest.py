"""Buffers in a file, opened as often as a test needs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
from support.sqlite_buffers import TARGET, OpenBuffer

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

NOBODY = 65534


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


@pytest.fixture
def open_buffer(path: Path, clock: Clock) -> Iterator[OpenBuffer]:
    """Opens the file once more, as another process would. All are closed after the test."""
    with ExitStack() as stack:

        def open_one(**settings: Any) -> SqliteBuffer:
            defaults = {
                "path": path,
                "target": TARGET,
                "wall": clock.wall,
                "monotonic": clock.monotonic,
            }
            buffer = SqliteBuffer(**{**defaults, **settings})
            stack.callback(buffer.close)
            return buffer

        yield open_one


@pytest.fixture
def buffer(open_buffer: OpenBuffer) -> SqliteBuffer:
    return open_buffer()


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """An empty directory of an unprivileged user. The test continues as that user."""
    directory = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield directory
        finally:
            os.seteuid(0)
    else:
        yield directory
    shutil.rmtree(directory)
