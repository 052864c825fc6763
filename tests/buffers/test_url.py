"""Buffers by their URL."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from amplitude_moloco.buffers.base import Buffer
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.url import open_buffer
from amplitude_moloco.errors import ConfigurationError


def holds(buffer: Buffer, size: int, most: int = 10) -> int:
    """How many bodies of this size there is room for."""
    return [buffer.put("id", "HOME", b"x" * size) for _ in range(most)].count(None)


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
    """A URL that names no buffer is refused, and the message gives one that does."""
    with pytest.raises(ConfigurationError, match=r"^buffer: .*use 'memory://'"):
        open_buffer(url, target="t")


@pytest.mark.parametrize("url", ["memory://", "sqlite:{}/b.db"])
@pytest.mark.parametrize("option", ["max_events", "max_bytes"])
@pytest.mark.parametrize(
    "number", ["9223372036854775808", "1" + 20 * "0", "1" + 5000 * "0"], ids=len
)
def test_a_number_beyond_all_use_is_refused(
    tmp_path: Path, url: str, option: str, number: str
) -> None:
    """A bound that no buffer can keep is refused at once, and not by every event."""
    with pytest.raises(
        ConfigurationError, match=f"{option} can't be that large; use at most 92233"
    ):
        open_buffer(f"{url.format(tmp_path)}?{option}={number}", target="t")


@pytest.mark.parametrize("bound", [0, -1, 2**63, 1.5, True, None])
def test_a_bound_in_memory_is_a_whole_number(bound: Any) -> None:
    """What bounds a buffer in memory is checked when it is made."""
    with pytest.raises(ConfigurationError, match=r"^buffer: max_events="):
        MemoryBuffer(max_events=bound)


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
    """An option that is unknown, or not a whole number of at least 1, is refused."""
    with pytest.raises(ConfigurationError, match="the options are max_events, max_bytes; numbers"):
        open_buffer(f"memory://?{query}", target="t")


@pytest.mark.parametrize("url", ["sqlite://{path}", "sqlite:{path}", "SQLITE://{path}"])
def test_a_file_is_a_buffer(url: str, tmp_path: Path) -> None:
    """The scheme sqlite opens a durable buffer at its path, with the options as its settings."""
    path = tmp_path / "a b.db"
    options = "max_events=3&max_bytes=100&synchronous=full&wait_millis=1"
    with closing(open_buffer(f"{url.format(path=path)}?{options}", target="t")) as buffer:
        assert isinstance(buffer, SqliteBuffer)
        assert path.exists()
        assert holds(buffer, 40) == 2
        assert holds(buffer, 10) == 1


def test_a_path_may_be_quoted(tmp_path: Path) -> None:
    """What is percent-encoded in the URL is decoded in the path."""
    with closing(open_buffer(f"sqlite://{tmp_path}/a%20b%3F.db", target="t")):
        assert (tmp_path / "a b?.db").exists()


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite://host/path"])
def test_a_file_needs_a_path(url: str) -> None:
    """The scheme sqlite without a path, or with a host, is refused."""
    with pytest.raises(ConfigurationError, match="use 'memory://' or 'sqlite:///"):
        open_buffer(url, target="t")


def test_another_option_of_a_file_is_refused(tmp_path: Path) -> None:
    """An unknown option is refused with those that a file has."""
    with pytest.raises(ConfigurationError) as refused:
        open_buffer(f"sqlite://{tmp_path}/buffer.db?color=red", target="t")
    assert str(refused.value) == (
        "buffer: the option color=red can't be used; the options are max_events, max_bytes, "
        "wait_millis, synchronous; numbers are whole and at least 1"
    )


def test_a_password_is_not_repeated() -> None:
    """The refusal of a URL with a login does not quote the login."""
    with pytest.raises(ConfigurationError) as refused:
        open_buffer("redis://user:secret@localhost", target="t")
    assert "secret" not in str(refused.value)
    assert "redis://localhost" in str(refused.value)


def test_memory_needs_no_sqlite() -> None:
    """Where SQLite's file can't be shared, memory still works, and the error says to use it."""
    script = """
import sys
sys.modules["fcntl"] = None  # as on Windows
from amplitude_moloco.buffers.url import open_buffer
from amplitude_moloco.errors import ConfigurationError
assert open_buffer("memory://", target="t").put("id", "HOME", b"") is None
try:
    open_buffer("sqlite:moloco.db", target="t")
except ConfigurationError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("buffer: 'sqlite:' can't be used here")
    assert "memory://" in said.stdout
