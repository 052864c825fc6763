from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.buffers.url import absolute_url, open_buffer, public_url
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.settings import MolocoSettings

SECRETS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=3, max_size=30)


@pytest.mark.parametrize(
    ("url", "hosts", "database"),
    [
        ("redis://h", (("h", 6379),), 0),
        ("redis://h/", (("h", 6379),), 0),
        ("redis://h:7000/3", (("h", 7000),), 3),
        ("REDIS://h", (("h", 6379),), 0),
        ("redis://[::1]:7000/1", (("::1", 7000),), 1),
        ("redis://user:word@h:1/2", (("h", 1),), 2),
        ("rediss://h", (("h", 6379),), 0),
        ("redis+sentinel://a,b:1/main", (("a", 26379), ("b", 1)), 0),
        ("redis+sentinel://user:word@a,b:1/main/4", (("a", 26379), ("b", 1)), 4),
        ("rediss+sentinel://a/main", (("a", 26379),), 0),
    ],
)
def test_a_url_leads_to_a_server(
    url: str, hosts: tuple[tuple[str, int], ...], database: int
) -> None:
    """A URL names the server, or the Sentinels, and the database."""
    address = parse_address(url, {})
    assert (address.hosts, address.database) == (hosts, database)
    assert address.is_encrypted == url.lower().startswith("rediss")
    assert address.service == ("main" if "sentinel" in url else "")


def test_a_socket_is_a_server() -> None:
    """A path leads to the server's socket, with the database as an option."""
    address = parse_address("unix:///run/redis%20a.sock?db=2&stream=s", {})
    assert (address.socket, address.database, address.hosts) == ("/run/redis a.sock", 2, ())


def test_the_options_are_the_buffers() -> None:
    """Bounds, lease, stream and stage are options, and the stage's path needs no quoting."""
    address = parse_address(
        "redis://h?stream=shop:a&max_events=5&max_bytes=6&lease_seconds=7&stage=sqlite:////a+b.db",
        {},
    )
    assert address.numbers == {"max_events": 5, "max_bytes": 6, "lease_seconds": 7}
    assert address.stage == "sqlite:////a+b.db"
    assert address.layout.keys[0] == "{shop:a}:new"
    assert {key.partition("}")[0] for key in address.layout.keys} == {"{shop:a"}


@pytest.mark.parametrize(
    ("url", "environment", "login"),
    [
        ("redis://h", {}, {}),
        ("redis://u:p@h", {"REDIS_PASSWORD": "e"}, {"username": "u", "password": "p"}),
        ("redis://:p@h", {"REDIS_USERNAME": "e"}, {"password": "p"}),
        ("redis://u@h", {"REDIS_PASSWORD": "e"}, {"username": "u", "password": "e"}),
        ("redis://u@h", {}, {"username": "u"}),
        ("redis://h", {"REDIS_PASSWORD": "a@b/c"}, {"password": "a@b/c"}),
        (
            "redis://h",
            {"REDIS_USERNAME": "e", "REDIS_PASSWORD": "f"},
            {"username": "e", "password": "f"},
        ),
        ("redis://u%40:%2Fp@h", {}, {"username": "u@", "password": "/p"}),
    ],
)
def test_the_login_is_in_the_url_or_the_environment(
    url: str, environment: dict[str, str], login: dict[str, str]
) -> None:
    """User and password come from the URL, percent-encoded, or else from the environment."""
    assert parse_address(url, environment).login == login


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://a,b",
        "redis://h/0/1",
        "redis://h/x",
        "redis://h:99999",
        "redis://h:x",
        "redis://h b",
        "redis://h#f",
        "redis:h",
        "redis://[::1",
        "redis://h?db=1",
        "unix://h/path",
        "unix://",
        "unix:///a.sock?db=x",
        "redis+sentinel://a,b",
        "redis+sentinel:///main",
        "redis+sentinel://a/main/x",
        "redis://user:pa/ss@host/0",
        "redis://user:pa?a=b@host/0",
        "redis://h/\n",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    """A URL that leads to no server is refused, with examples, and without what may be a login."""
    with pytest.raises(ConfigurationError, match=r"^buffer: .*redis://host:6379/0") as refused:
        open_buffer(url, target="t")
    assert "pa" not in str(refused.value).partition("; use")[0].replace("unix://h/path", "")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("straem=a", "the option 'straem' is unknown; did you mean stream?"),
        ("max_event=1", "did you mean max_events?"),
        ("socket_timeout=1", "the option 'socket_timeout' is unknown; use stream, stage,"),
        ("ssl_cert_reqs=none", "certificates are always verified; use ssl_ca_certs"),
        ("stream=a&stream=b", "the option stream is there twice; use it once"),
        ("stream=a{b}", "the option stream='a{b}' can't be used"),
        ("stream=", "the option stream='' can't be used"),
        ("max_events=0", "the option max_events='0' can't be used; use a whole number from 1"),
        ("lease_seconds=1.5", "the option lease_seconds='1.5' can't be used"),
        ("max_bytes=" + "9" * 30, "can't be used; use a whole number from 1 to"),
        ("ssl_ca_certs=/a", "the option ssl_ca_certs needs TLS; use rediss://"),
        ("stage=redis://other", "the option stage can't be another Redis"),
        ("stage=sqlite:///a.db?max_event=1", "the option max_event=1 can't be used"),
        ("stage=file.db", "'file.db' does not name a buffer"),
    ],
)
def test_another_option_is_refused(query: str, message: str) -> None:
    """An option that is unknown, or can't be used, is refused with what to use instead."""
    with pytest.raises(ConfigurationError) as refused:
        absolute_url(f"redis://h?{query}")
    assert message in str(refused.value)


def test_the_stage_has_an_absolute_path(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative stage is made absolute; a forked child may open it from another folder."""
    folder = tmp_path_factory.mktemp("folder") / "a b@c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    url = absolute_url("redis://u:p@h/1?stage=sqlite:///s.db?synchronous=FULL&stream=x")
    assert parse_address(url, {}).stage.endswith("a%20b%40c/s.db?synchronous=FULL")
    assert parse_address(url, {}).layout.stream == "x"
    assert absolute_url(url) == url
    assert absolute_url("redis://h") == "redis://h"


@given(user=SECRETS, password=SECRETS, is_quoted=st.booleans())
def test_no_text_holds_the_login(user: str, password: str, *, is_quoted: bool) -> None:
    """Whatever user and password are, and quoted or not: no repr, URL or error shows them."""
    user, password = f"usr{user}usr", f"pwd{password}pwd"
    login = (
        f"{quote(user, safe='')}:{quote(password, safe='')}" if is_quoted else f"{user}:{password}"
    )
    url = f"redis://{login}@host/0"
    shown = [public_url(url)]
    try:
        address = parse_address(url, {})
        shown += [repr(address), str(address), repr(absolute_url(url))]
        buffer = open_buffer(url, target="t")
        shown += [repr(buffer)]
        assert isinstance(buffer, RedisBuffer)
        buffer.close()
    except ConfigurationError as error:
        assert not is_quoted
        shown.append(str(error))
    assert not [text for text in shown if "usr" in text or "pwd" in text]


def test_no_setting_shows_the_login() -> None:
    """Neither the settings nor the destination shows the login of its buffer."""
    settings: dict[str, Any] = {"base_url": "http://127.0.0.1:9", "channel_type": "SITE"}
    arguments = ("key", "SHOP", [Sync("HOME", events=["Home"])])
    url = "redis://user:secret@127.0.0.1:9/0"
    made = MolocoSettings(*arguments, **settings, buffer=url)
    destination = MolocoDestination(*arguments, **settings, buffer=url)
    texts = [repr(made), repr(vars(made)), repr(made.engine_settings()), repr(destination)]
    assert not [text for text in texts if "secret" in text or "user:" in text]
    assert "redis://127.0.0.1:9/0" in repr(destination)
    assert destination.kinds[0] == "redis"
    destination.shutdown()


def test_redis_needs_its_client(tmp_path: Path) -> None:
    """Without redis-py the error says what to install, for the app and for the commands."""
    script = """
import sys
sys.modules["redis"] = None
from amplitude_moloco.buffers.readers import open_reader
from amplitude_moloco.buffers.url import open_buffer
for open_it in (open_reader, lambda url: open_buffer(url, target="t")):
    try:
        open_it("redis://user:secret@h/0")
    except ValueError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith("buffer: redis://h/0 needs redis-py (")
    assert first.endswith("; pip install 'amplitude-moloco[redis]'")
