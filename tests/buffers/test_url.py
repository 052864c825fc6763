"""Buffers by their URL."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amplitude_moloco.buffers.base import Buffer
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.url import absolute_url, file_of, open_buffer
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
        "amqp://localhost",
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


@pytest.mark.parametrize("bound", [0, -1, 2**63, 10**20, 10**5000, 1.5, True, None], ids=type)
@pytest.mark.parametrize("name", ["max_events", "max_bytes"])
def test_a_bound_is_a_whole_number(tmp_path: Path, name: str, bound: Any) -> None:
    """The bounds of a buffer are checked when it is made, and no file is made first."""
    with pytest.raises(ConfigurationError, match=f"^buffer: {name}="):
        MemoryBuffer(**{name: bound})
    with pytest.raises(ConfigurationError, match=f"^buffer: {name}="):
        SqliteBuffer(tmp_path / "b.db", target="t", **{name: bound})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["memory://", "sqlite:///b.db"])
def test_options_are_checked_before_anything_is_opened(url: str) -> None:
    """A URL is made absolute only if its options can be used."""
    with pytest.raises(ConfigurationError, match=r"^buffer: the option max_event=3 can't be used"):
        absolute_url(f"{url}?max_event=3")


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
        "max_events=\u0663",
        "max_events=\uff13",
    ],
)
def test_another_option_is_refused(query: str) -> None:
    """An option that is unknown, or not a whole number of at least 1, is refused."""
    with pytest.raises(ConfigurationError, match="the options are max_events, max_bytes; numbers"):
        open_buffer(f"memory://?{query}", target="t")


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
def test_an_option_is_there_once(url: str) -> None:
    """An option that is given twice is refused: which one counts is anybody's guess."""
    with pytest.raises(ConfigurationError, match="the option max_events is there twice; use it"):
        open_buffer(f"{url}?max_bytes=9&max_events=1&max_events=2", target="t")


@pytest.mark.parametrize("url", ["sqlite:///{path}", "sqlite:{path}", "SQLITE:///{path}"])
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
    with closing(open_buffer(f"sqlite:///{tmp_path}/a%20b%3F.db", target="t")):
        assert (tmp_path / "a b?.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite://host/path",
        "sqlite://moloco.db",
        "sqlite:///folder/",
        "sqlite:///:memory:",
        "sqlite::memory:",
        "sqlite:///a%00b",
        "sqlite:///a\nb",
        "sqlite:///a\ud800b",
    ],
)
def test_a_file_needs_a_path(url: str) -> None:
    """The scheme sqlite with a host, or without a path that a file can have, is refused."""
    with pytest.raises(ConfigurationError, match=r"use 'memory://', 'sqlite:///relative\.db' or"):
        open_buffer(url, target="t")


@pytest.mark.parametrize(
    "url", ["sqlite:///a.db", "sqlite:a.db", "sqlite:///./a.db", "sqlite:./a.db"]
)
def test_three_slashes_lead_to_a_relative_path(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in SQLAlchemy, a path after three slashes starts from the current folder."""
    monkeypatch.chdir(tmp_path)
    with closing(open_buffer(url, target="t")) as buffer:
        assert repr(buffer) == f"SqliteBuffer('{tmp_path}/a.db')"
    assert (tmp_path / "a.db").exists()


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@settings(deadline=None)
@given(parts=st.lists(NAMES, min_size=1, max_size=3), query=st.sampled_from(["", "max_events=3"]))
def test_an_absolute_url_leads_to_the_same_file(parts: list[str], query: str) -> None:
    """Any path, percent-encoded, has an absolute URL, which is its own absolute URL."""
    path = "/".join(parts)
    absolute = absolute_url(f"sqlite:///{quote(path)}?{query}")
    encoded, _, rest = absolute.partition("?")
    assert encoded.startswith("sqlite:////")
    assert Path(unquote(encoded.removeprefix("sqlite:///"))) == Path(path).absolute()
    assert rest == query
    assert absolute_url(absolute) == absolute


def test_a_name_that_is_no_text_is_a_path(tmp_path: Path) -> None:
    """A file's name may hold any bytes, percent-encoded."""
    with closing(open_buffer(f"sqlite:///{tmp_path}/%FF.db", target="t")) as buffer:
        assert buffer.put("id", "HOME", b"") is None
    assert "\udcff.db" in {each.name for each in tmp_path.iterdir()}


def test_a_relative_path_needs_a_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the current folder was deleted, a relative path is refused, an absolute one works."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match=r"current folder can't be read .* absolute path"):
        absolute_url("sqlite:///buffer.db")
    assert absolute_url(f"sqlite:///{tmp_path}/buffer.db") == f"sqlite:///{tmp_path}/buffer.db"


@pytest.mark.parametrize("folder", ["var", "var/lib/app"])
def test_no_folder_is_made(folder: str, tmp_path: Path) -> None:
    """A path in a folder that does not exist is refused, and nothing is created."""
    with pytest.raises(ConfigurationError) as refused:
        open_buffer(f"sqlite:///{tmp_path}/{folder}/buffer.db", target="t")
    assert f"the folder {tmp_path}/{folder} does not exist; create it" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_the_absolute_path_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, the log says at level info in which file events wait."""
    caplog.set_level(logging.INFO, "amplitude_moloco")
    monkeypatch.chdir(tmp_path)
    with closing(open_buffer("sqlite:///buffer.db", target="t")) as buffer:
        assert buffer.put("id", "HOME", b"") is None
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage() == f"Events wait in the file {tmp_path}/buffer.db"


def test_another_option_of_a_file_is_refused(tmp_path: Path) -> None:
    """An unknown option is refused with those that a file has."""
    with pytest.raises(ConfigurationError) as refused:
        open_buffer(f"sqlite:///{tmp_path}/buffer.db?color=red", target="t")
    assert str(refused.value) == (
        "buffer: the option color=red can't be used; the options are max_events, max_bytes, "
        "wait_millis, synchronous, drain_at_exit; numbers are whole and at least 1"
    )


def test_the_end_may_wait_for_what_is_stored(tmp_path: Path) -> None:
    """The option drain_at_exit is 1, 0 or left out; anything else is refused."""
    drains = []
    for number, option in enumerate(["", "?drain_at_exit=0", "?drain_at_exit=1"]):
        with closing(
            open_buffer(f"sqlite:///{tmp_path}/{number}.db{option}", target="t")
        ) as buffer:
            assert isinstance(buffer, SqliteBuffer)
            drains.append(buffer.drain_at_exit)
    assert drains == [False, False, True]
    with pytest.raises(ConfigurationError, match="drain_at_exit=yes can't be used; use 0 or 1"):
        open_buffer(f"sqlite:///{tmp_path}/buffer.db?drain_at_exit=yes", target="t")


def test_a_password_is_not_repeated() -> None:
    """The refusal of a URL with a login does not quote the login."""
    with pytest.raises(ConfigurationError) as refused:
        open_buffer("amqp://user:secret@localhost", target="t")
    assert "secret" not in str(refused.value)
    assert "amqp://localhost" in str(refused.value)


@pytest.mark.parametrize(
    "lacking",
    [
        'sys.modules["fcntl"] = None',  # as on Windows
        "del os.fork, os.register_at_fork",
        'sys.modules["fcntl"] = None; del os.fork, os.register_at_fork',
        'sys.modules["sqlite3"] = None',
        # Without SQLite's library, whatever has imported it before.
        'sys.modules.pop("sqlite3", None); sys.modules["sqlite3.dbapi2"] = None',
    ],
)
def test_memory_needs_no_sqlite(lacking: str, tmp_path: Path) -> None:
    """Where SQLite's file can't be shared, memory still works, and the error says to use it."""
    script = f"""
import os, sys
{lacking}
from amplitude_moloco.buffers.url import absolute_url, open_buffer
from amplitude_moloco.errors import ConfigurationError
assert open_buffer("memory://", target="t").put("id", "HOME", b"") is None
try:
    open_buffer("sqlite:moloco.db", target="t")
except ConfigurationError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("buffer: 'sqlite:' can't be used here")
    assert "memory://" in said.stdout


@pytest.mark.parametrize(
    ("buffer", "path"),
    [
        ("moloco.db", "moloco.db"),
        ("/var/lib/a b%20.db", "/var/lib/a b%20.db"),
        ("shop:1.db", "shop:1.db"),
        ("sqlite:///moloco.db", "moloco.db"),
        ("sqlite:////var/a%20b.db?synchronous=FULL", "/var/a b.db"),
        ("sqlite:moloco.db", "moloco.db"),
    ],
)
def test_the_file_of_a_buffer_has_a_path_or_a_url(buffer: str, path: str) -> None:
    """A path is taken as it is; a URL leads to the file that open_buffer opens."""
    assert file_of(buffer) == Path(path)


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        ("memory://", "what waits in memory can be seen by its own process alone"),
        ("amqp://me:secret@host/0", "'amqp://host/0' does not name a buffer"),
        ("sqlite:///a.db?max_event=3", "the option max_event=3 can't be used"),
    ],
)
def test_what_has_no_file_is_refused(buffer: str, message: str) -> None:
    """A URL of another kind names no file, and is refused as by open_buffer."""
    with pytest.raises(ConfigurationError) as caught:
        file_of(buffer)
    assert str(caught.value).startswith(f"buffer: {message}")
