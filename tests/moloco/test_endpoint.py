"""MCM's address and request headers."""

from __future__ import annotations

import dataclasses
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.transports.base import Endpoint

KEY = "the-secret-key-0123456789"
PATH = "/rmp/event/v1/platforms/MY_SHOP/userevents"


def make(**changed: Any) -> Endpoint:
    """Returns an endpoint, with these settings changed."""
    settings = {
        "api_key": KEY,
        "platform_id": "MY_SHOP",
        "platform_name": None if "base_url" in changed else "my-shop",
        "base_url": None,
        **changed,
    }
    return endpoint(**settings)


def refusal(**changed: Any) -> str:
    """Returns the message that refuses these settings."""
    with pytest.raises(ConfigurationError) as refused:
        make(**changed)
    assert KEY not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("acme", "acme-evt.mcm-api.moloco.com"),
        ("sandbox", "sandbox-evt.mcm-api.moloco.com"),
        ("ACME_Shop KR", "acme-shop-kr-evt.mcm-api.moloco.com"),
        ("  acme\n", "acme-evt.mcm-api.moloco.com"),
        ("a", "a-evt.mcm-api.moloco.com"),
        ("7-eleven", "7-eleven-evt.mcm-api.moloco.com"),
        ("a" * 59, "a" * 59 + "-evt.mcm-api.moloco.com"),
    ],
)
def test_the_platforms_name_makes_the_host(name: str, host: str) -> None:
    """The host starts with the name in lower case, with hyphens for underscores and blanks."""
    assert make(platform_name=name).url == f"https://{host}{PATH}"


@pytest.mark.parametrize(
    "name",
    ["", " ", "_", "-acme", "acme_", "acme.shop", "acme/shop", "acme@evil", "açme", "a" * 60, 7],
    ids=repr,
)
def test_a_name_that_makes_no_host_is_refused(name: Any) -> None:
    """A name that can't be part of a host is refused with the characters that can."""
    said = refusal(platform_name=name)
    assert said.startswith("platform_name: ")
    assert "use letters, digits, hyphens, underscores and spaces" in said


def test_a_name_or_a_base_url_is_needed() -> None:
    """Without a platform name and a base URL, the settings are refused."""
    assert refusal(platform_name=None).startswith("platform_name: missing; give it")


@pytest.mark.parametrize(
    ("base_url", "base"),
    [
        ("https://acme-evt.rmp-api.moloco.com", "https://acme-evt.rmp-api.moloco.com"),
        ("https://gateway.example:8443/moloco/", "https://gateway.example:8443/moloco"),
        ("https://gateway.example///", "https://gateway.example"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://LocalHost", "http://LocalHost"),
        ("https://mcm.example/a%20b%C3%A4", "https://mcm.example/a%20b%C3%A4"),
    ],
)
def test_a_base_url_stands_in_for_the_name(base_url: str, base: str) -> None:
    """A base URL needs no name; plain http is accepted on a loopback address."""
    made = make(base_url=base_url, platform_name=None)
    assert made.url == base + PATH
    assert made.is_plain is base.startswith("http:")


def test_a_base_url_beside_a_name_is_refused() -> None:
    """A base URL and a name contradict each other, and only one may be given."""
    with pytest.raises(ConfigurationError, match=r"^platform_name: given beside base_url"):
        make(base_url="https://acme.example", platform_name="acme")


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        f"{PATH}/",
        "/rmp/event/v1/platforms/OTHER",
        "/rmp/event/v1",
        "/RMP/Event/v1",
        "/gateway/userevents",
        "/gateway/UserEvents/",
    ],
)
def test_a_base_url_with_the_path_of_the_api_is_refused(path: str) -> None:
    """A base URL that holds MCM's path would hold it twice, and is refused."""
    with pytest.raises(ConfigurationError, match=r"^base_url: holds the path of MCM's API"):
        make(base_url=f"https://acme.example{path}", platform_name=None)


@pytest.mark.parametrize(
    "text",
    ["${MOLOCO_API_KEY}", "$MOLOCO_API_KEY", "$(KEY)", "%KEY%", "{{key}}", "<key>"],
)
@pytest.mark.parametrize("place", ["api_key", "platform_id"])
def test_a_placeholder_is_refused(place: str, text: str) -> None:
    """A placeholder that nothing has replaced is refused, without quoting it."""
    with pytest.raises(ConfigurationError, match=f"^{place}: looks like a placeholder") as caught:
        make(**{place: text})
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "acme-evt.mcm-api.moloco.com",
        "10.0.0.1",
        "0.0.0.0",
        "128.0.0.1",
        "[::2]",
        "[::]",
        "2130706433",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "notlocalhost",
    ],
)
def test_plain_http_is_refused_beyond_loopback(host: str) -> None:
    """Plain http to another host is refused: it would expose the key and the shoppers' data."""
    said = refusal(base_url=f"http://{host}:8000")
    assert said.startswith(f"base_url: plain http to {host.strip('[]')} would send the key")
    assert "use https" in said


@pytest.mark.parametrize(
    "base_url",
    [
        pytest.param("https://me@mcm.example", id="user"),
        pytest.param("https://me:secret@mcm.example", id="password"),
        pytest.param("https://@mcm.example", id="empty-user"),
        pytest.param("http://127.0.0.1\\@mcm.example", id="backslash"),
        pytest.param("https://mcm.example/?a=b", id="query"),
        pytest.param("https://mcm.example?", id="empty-query"),
        pytest.param("https://mcm.example/#a", id="fragment"),
        pytest.param("https://mcm.example#", id="empty-fragment"),
        pytest.param("https://mcm.example/\r\nX-Evil: yes", id="header"),
        pytest.param("https://mcm.example\n", id="line-end"),
        pytest.param("\thttps://mcm.example", id="tab"),
        pytest.param(" https://mcm.example", id="blank-before"),
        pytest.param("https://mcm.exa mple", id="blank"),
        pytest.param("https://mcm.example/\x00", id="nul"),
        pytest.param("https://münchen.example", id="no-ascii"),
        pytest.param("", id="empty"),
        pytest.param("https://", id="no-host"),
        pytest.param("https:///path", id="no-host-but-path"),
        pytest.param("mcm.example", id="no-scheme"),
        pytest.param("//mcm.example", id="empty-scheme"),
        pytest.param("ftp://mcm.example", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("https://mcm.example:port", id="no-port"),
        pytest.param("https://mcm.example:65536", id="port-too-high"),
        pytest.param("https://[::1", id="open-bracket"),
        pytest.param("https://*.mcm.example", id="wildcard"),
        pytest.param("https://.mcm.example", id="label-missing-first"),
        pytest.param("https://mcm..example", id="label-missing"),
        pytest.param(f"https://{'a' * 64}.example", id="label-too-long"),
        pytest.param(7, id="number"),
        pytest.param(b"https://mcm.example", id="bytes"),
    ],
)
def test_a_base_url_that_can_not_work_is_refused(base_url: Any) -> None:
    """A base URL that is not a plain http(s) address is refused, without quoting a secret."""
    said = refusal(base_url=base_url)
    assert said.startswith("base_url: ")
    assert "use one like https://your-platform-evt.mcm-api.moloco.com" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("platform_id", "segment"),
    [
        ("SANDBOX", "SANDBOX"),
        ("A/B", "A%2FB"),
        ("A B", "A%20B"),
        ("../admin", "..%2Fadmin"),
        ("A?b=c#d", "A%3Fb%3Dc%23d"),
        ("%2F", "%252F"),
        ("가게", "%EA%B0%80%EA%B2%8C"),
    ],
)
def test_the_platforms_id_is_one_segment_of_the_path(platform_id: str, segment: str) -> None:
    """The platform id is quoted, so that it is always one segment of the path."""
    url = make(platform_id=platform_id).url
    assert url.endswith(f"/rmp/event/v1/platforms/{segment}/userevents")


@given(
    st.text(st.characters(exclude_categories=["C"])).filter(lambda text: text.strip().strip("."))
)
def test_every_printable_id_comes_through(platform_id: str) -> None:
    """The server reads any printable platform id from the path unchanged."""
    path = urlsplit(make(platform_id=platform_id).url).path
    assert [unquote(segment) for segment in path.split("/")][-2:] == [platform_id, "userevents"]


@pytest.mark.parametrize(
    "platform_id",
    ["", " ", "\t", "A\nB", "A\r\nX-Evil: yes", "A\x00", "A\x7f", ".", "..", "A\udcff", None, 7],
    ids=repr,
)
def test_an_id_that_can_not_be_in_an_address_is_refused(platform_id: Any) -> None:
    """An id that is empty, or can't be in an address, is refused."""
    assert refusal(platform_id=platform_id).startswith("platform_id: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: " ",
        lambda key: f"{key} ",
        lambda key: f" {key}",
        lambda key: f"{key}\n",
        lambda key: f"{key}\r\nX-Evil: yes",
        lambda key: f"{key} {key}",
        lambda key: f"{key}\x00",
        lambda key: f"{key}é",
        lambda key: f"{key}\udcff",
        lambda key: None,
        lambda key: key.encode(),
        lambda key: [key],
    ],
    ids=(
        "empty blank blank-after blank-before line-end header two nul no-ascii surrogate none "
        "bytes list"
    ).split(),
)
def test_a_key_that_no_header_can_hold_is_refused_without_quoting_it(change: Any) -> None:
    """A key with anything but visible ASCII is refused, and the message does not quote it."""
    said = refusal(api_key=change(KEY))
    assert said.startswith("api_key: ")
    assert "MOLOCO_API_KEY" in said


def test_the_headers_are_mcms() -> None:
    """The headers carry the key, and declare JSON both ways."""
    assert make().headers == {
        "x-api-key": KEY,
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


def test_an_endpoint_never_shows_the_key() -> None:
    """Neither repr nor str of an endpoint shows the key."""
    made = make()
    assert repr(made) == f"Endpoint(url='https://my-shop-evt.mcm-api.moloco.com{PATH}')"
    assert str(made) == repr(made)


def test_an_endpoint_is_frozen() -> None:
    """An endpoint can't be changed after it was checked."""
    made = make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.url = "http://evil.example"  # type: ignore[misc]


@pytest.mark.parametrize(
    "base_url",
    [
        "http://evil.example\\[::1]",
        "https://evil.example\\[::1]",
        "https://mcm.example[::1]",
        "https://[::1]mcm.example",
        "https://[::1%25eth0]",
        "https://[v1.a]",
        "https://mcm.example:",
        "https://mcm.example:0",
        "https://mcm.example:0443",
        "https://mcm.example:+443",
        "https://mcm%2eexample",
        "https://mcm.example/a/../b",
        "https://mcm.example/./b",
        "https://mcm.example/..",
        "https://mcm.example/%zz",
        "https://mcm.example/%",
        "https://mcm.example/a\\b",
        "https://mcm.example/a|b",
        'https://mcm.example/"',
        "https://mcm.example/{a}",
        "https:/mcm.example",
        "https:mcm.example",
        "https:///mcm.example",
        "https://2130706433",
        "https://0x7f000001",
        "https://127.1",
        "https://0177.0.0.1",
        "https://mcm.example.0x1",
        "https://1.2.3.256",
        "https://mcm.example.",
        "https://mcm.example/%2e%2e/b",
        "https://mcm.example/.%2E/b",
        "https://mcm.example/a/%2e",
        "https://mcm.example/%41",
        "https://mcm.example/%7e",
        "https://mcm.example/a%2Fb",
        "https://mcm.example/..%5Cb",
        "https://mcm.example/%00",
        "https://mcm.example/%0d%0ax:1",
        "https://mcm.example/%252e%252e/b",
        "https://mcm.example/a%3Fb",
        "https://mcm.example/a%23b",
        "https://mcm.example/a//b",
        "http://127.0.0.1//mcm.example",
        "https://mcm.example/..;/b",
        "https://mcm.example/.;a=b/b",
        "https://mcm.example/;/b",
        "https://" + ".".join(["a" * 60] * 5),
    ],
)
def test_a_base_url_that_programs_read_differently_is_refused(base_url: str) -> None:
    """What is not the one way to write an address is refused: another program reads another one."""
    said = refusal(base_url=base_url)
    assert said.startswith("base_url: ")
    assert "use one like https://your-platform-evt.mcm-api.moloco.com" in said


@pytest.mark.parametrize("base_url", ["HTTP://127.0.0.1", "Http://localhost:80", "hTTp://[::1]/a"])
def test_plain_http_is_seen_in_capitals(base_url: str) -> None:
    """However its scheme is written, plain http is plain, and accepted on loopback alone."""
    made = make(base_url=base_url)
    assert made.url.startswith("http://")
    assert made.is_plain
    assert dataclasses.replace(made, url=base_url).is_plain
    elsewhere = base_url.replace("127.0.0.1", "mcm.example").replace("localhost", "mcm.example")
    assert "would send the key" in refusal(base_url=elsewhere.replace("[::1]", "mcm.example"))


PIECES = st.sampled_from(
    "http https HTTP :// : / // \\ @ [ ] [::1] localhost 127.0.0.1 evil.example mcm.example . .. % "
    "%2e %2E%2e %2F %5c %41 %7e %20 %0a ; ? # 80 0 a b - _ 0x7f.1 2130706433 | ^ ~ ! $".split()
)


@given(
    st.lists(PIECES, max_size=8).map("".join)
    | st.lists(PIECES, max_size=6).map(lambda pieces: f"http://{''.join(pieces)}")
    | st.lists(PIECES, max_size=6).map(lambda pieces: f"https://{''.join(pieces)}")
    | st.from_regex(r"https?://[ -~]{1,20}", fullmatch=True)
)
def test_what_was_checked_is_what_is_connected_to(base_url: str) -> None:
    """Every accepted base URL is read the same way by Python, urllib3 and requests."""
    try:
        made = make(base_url=base_url)
    except ConfigurationError:
        return
    ours, theirs = urlsplit(made.url), parse_url(made.url)
    assert (ours.scheme, ours.port, ours.path) == (theirs.scheme, theirs.port, ours.path)
    assert ours.hostname == (theirs.host or "").strip("[]")
    sent = requests.Request("POST", made.url).prepare().url or ""
    assert urlsplit(sent).netloc.lower() == ours.netloc.lower()
    assert urlsplit(sent).path.lower() == ours.path.lower()
    host = ours.hostname or ""
    assert sent.startswith("https:") or host == "localhost" or ip_address(host).is_loopback
    assert made.is_plain is sent.startswith("http:")


def test_the_key_shows_in_no_repr() -> None:
    """Neither the headers nor the credential show the key in a repr, also inside other objects."""
    made = make()
    shown = repr((made.headers, made.secret, list(made.headers.values()), partial(print, made)))
    assert KEY not in shown
    assert "[key]" in shown
    assert made.secret == KEY
