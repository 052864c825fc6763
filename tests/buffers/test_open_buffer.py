"""Buffers by their URL."""

from __future__ import annotations

import subprocess
import sys

import pytest

from amplitude_moloco.buffers.base import Buffer, open_buffer
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.errors import ConfigurationError


def holds(buffer: Buffer, size: int, most: int = 10) -> int:
    """How many bodies of a size there is room for."""
    return [buffer.put("id", "HOME", b"x" * size, 0) for _ in range(most)].count(None)


@pytest.mark.parametrize("url", ["memory://", "MEMORY://", "memory://?"])
def test_memory_is_a_buffer(url: str) -> None:
    """The scheme memory opens a buffer in memory, a new one each time."""
    buffer = open_buffer(url, target="t")
    assert isinstance(buffer, MemoryBuffer)
    assert buffer is not open_buffer(url, target="t")
    assert holds(buffer, 1000) == 10


@pytest.mark.parametrize(
    ("query", "small", "large"),
    [
        ("max_events=3", 3, 3),
        ("max_bytes=100", 10, 1),
        ("max_events=3&max_bytes=100", 3, 1),
        ("max_bytes=100&max_events=1", 1, 1),
        ("max_events=003", 3, 3),
    ],
)
def test_the_options_are_its_bounds(query: str, small: int, large: int) -> None:
    """The options in the URL bound the buffer."""
    assert holds(open_buffer(f"memory://?{query}", target="t"), 10) == small
    assert holds(open_buffer(f"memory://?{query}", target="t"), 100) == large


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "redis://localhost",
        "memory://localhost",
        "memory:///path",
        "memory:/path",
        "memory://user@",
        "memory://[",
        "memory://#max_events=3",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    """What names no buffer is refused with what does."""
    with pytest.raises(ConfigurationError, match=r"^buffer: .*use 'memory://'"):
        open_buffer(url, target="t")


@pytest.mark.parametrize(
    "query",
    [
        "max_event=3",
        "MAX_EVENTS=3",
        "max_events",
        "max_events=",
        "max_events=0",
        "max_events=-1",
        "max_events=1.5",
        "max_events=1e3",
        "max_events=1_000",
        "max_events=many",
        "max_events=%20",
        "max_bytes=0",
        "max_events=3&color=red",
        "=3",
    ],
)
def test_another_option_is_refused(query: str) -> None:
    """An option that is unknown, or no whole number of at least 1, is refused."""
    with pytest.raises(
        ConfigurationError, match="the options are max_events, max_bytes; the numbers"
    ):
        open_buffer(f"memory://?{query}", target="t")


def test_a_password_is_not_repeated() -> None:
    """The refusal of a URL with a login does not quote the login."""
    with pytest.raises(ConfigurationError) as refused:
        open_buffer("redis://user:secret@localhost", target="t")
    assert "secret" not in str(refused.value)
    assert "redis://localhost" in str(refused.value)


def test_memory_needs_no_sqlite() -> None:
    """Where SQLite's file can't be shared, memory still works, and the error names what would."""
    script = """
import sys
sys.modules["fcntl"] = None  # as on Windows
from amplitude_moloco.buffers.base import open_buffer
from amplitude_moloco import ConfigurationError
assert open_buffer("memory://", target="t").put("id", "HOME", b"", 0) is None
try:
    open_buffer("sqlite:moloco.db", target="t")
except ConfigurationError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("buffer: sqlite can't be used here")
    assert "memory://" in said.stdout
