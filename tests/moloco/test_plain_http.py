"""Plain http to a private host: only if the settings name it, never by a proxy, and loudly."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pytest
from amplitude import BaseEvent
from hypothesis import example, given
from hypothesis import strategies as st
from support.faulty_server import FaultyServer

from amplitude_moloco import ConfigurationError, MolocoDestination, Sync
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.moloco.private_host import PLAIN_HTTP_VARIABLE
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.transports.base import Endpoint

NOW_MILLIS = int(time.time() * 1000)
KEY = "the-secret-key-0123456789"
HOME = Sync("HOME", events=["Home"])
PRIVATE = [
    ("sandbox", "http://sandbox:8765"),
    ("Sandbox", "http://sandBOX"),
    ("my_sandbox", "HTTP://my_sandbox:80/moloco"),
    ("sandbox.internal", "http://sandbox.internal"),
    ("a.b.local", "http://a.b.local:1"),
    ("sandbox.test", "http://sandbox.test"),
    ("shop.localhost", "http://shop.localhost"),
    ("10.1.2.3", "http://10.1.2.3:8765"),
    ("172.31.255.255", "http://172.31.255.255"),
    ("192.168.0.1", "http://192.168.0.1"),
    ("fd12::1", "http://[fd12::1]:8765"),
    ("[fd12::1]", "http://[FD12::1]"),
]
ADVICE = "use the host in base_url: a name without a dot, one that ends in .internal"


def make(base_url: str | None, allow_plain_http: Any = None, **changed: Any) -> Endpoint:
    settings = {"api_key": KEY, "platform_id": "SHOP", "platform_name": None, **changed}
    return endpoint(**settings, base_url=base_url, allow_plain_http=allow_plain_http)


def errors(base_url: str | None, allow_plain_http: Any = None, **changed: Any) -> list[str]:
    """The texts that refuse these settings."""
    with pytest.raises(ConfigurationError) as refused:
        make(base_url, allow_plain_http, **changed)
    assert KEY not in str(refused.value)
    return list(refused.value.errors)


def destination_to(url: str, **settings: Any) -> MolocoDestination:
    return MolocoDestination(KEY, "SHOP", HOME, base_url=url, channel_type="SITE", **settings)


@pytest.mark.parametrize(("allowed", "base_url"), PRIVATE)
def test_a_private_host_that_is_named_is_allowed(allowed: str, base_url: str) -> None:
    """Plain http goes to the private host of the base URL, if the setting names it."""
    made = make(base_url, allowed)
    assert made.is_plain
    assert made.exposed_host == allowed.lower().strip("[]")
    assert made.url.lower().startswith(base_url.lower())


@pytest.mark.parametrize(("allowed", "base_url"), PRIVATE)
def test_the_environment_may_name_it(
    allowed: str, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment variable stands in for the setting."""
    monkeypatch.setenv(PLAIN_HTTP_VARIABLE, allowed)
    assert make(base_url).exposed_host == allowed.lower().strip("[]")


@pytest.mark.parametrize(("allowed", "base_url"), PRIVATE)
def test_a_private_host_that_is_not_named_is_refused(allowed: str, base_url: str) -> None:
    """Without the setting, plain http to a private host is refused, with the way to allow it."""
    (text,) = errors(base_url)
    assert text.startswith("base_url: plain http to ")
    assert f"with allow_plain_http={allowed.lower().strip('[]')!r} for this one)" in text


@pytest.mark.parametrize(
    "host",
    [
        "mcm.example",
        "sandbox.internal.example",
        "internal.example",
        "sandbox.locals",
        "sandbox.",
        "8.8.8.8",
        "172.32.0.1",
        "11.0.0.1",
        "192.0.2.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "2001:db8::1",
        "fe80::1",
        "::",
        "::ffff:10.0.0.1",
        "127.0.0.1",
        "::1",
        "http://mcm.example",
        "*.example",
        "\u017fandbox",
        "",
        True,
        False,
        7,
        b"sandbox",
        ["sandbox"],
    ],
    ids=repr,
)
def test_what_is_no_private_host_can_not_be_allowed(host: Any) -> None:
    """A public host, a loopback address, or what is no host, can't be allowed."""
    shown = f"[{host}]" if isinstance(host, str) and ":" in host else host
    found = errors(f"http://{shown}" if isinstance(host, str) else "http://sandbox", host)
    assert found[0].startswith(f"allow_plain_http: found {host!r}; {ADVICE}")


@pytest.mark.parametrize("host", ["mcm.example", "8.8.8.8", "127.0.0.1", "http://sandbox.example"])
def test_the_environment_can_not_allow_it_either(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is not private is refused in the environment too, whatever the base URL is."""
    monkeypatch.setenv(PLAIN_HTTP_VARIABLE, host)
    (text,) = errors("https://mcm.example")
    assert text.startswith(f"{PLAIN_HTTP_VARIABLE}: found {host!r}; {ADVICE}")


@pytest.mark.parametrize(
    ("base_url", "allowed"),
    [
        ("http://other:8765", "sandbox"),
        ("http://sandbox.internal", "sandbox"),
        ("http://sandbox", "sandbox.internal"),
        ("http://10.0.0.2", "10.0.0.1"),
        ("http://[fd12::2]", "fd12::1"),
        ("http://mcm.example", "sandbox"),
        ("http://sandbox", "sandbox:8765"),
        ("http://sandbox", "*"),
        ("http://sandbox", " sandbox"),
        ("http://sandbox", "http://sandbox"),
    ],
)
def test_another_host_is_refused(base_url: str, allowed: str) -> None:
    """The setting allows the one host that it names, and no other, and knows no patterns."""
    (text,) = errors(base_url, allowed)
    assert text.startswith("base_url: plain http to ")


@pytest.mark.parametrize("numeric", ["2130706433", "0x7f000001", "0xa000001", "0"])
def test_a_number_is_no_name(numeric: str) -> None:
    """A number that programs read as an address has no dot, and is refused nevertheless."""
    (text,) = errors(f"http://{numeric}", numeric)
    assert text.startswith("base_url: a host, a port or a path that programs read differently")


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        (None, "my-shop"),
        ("https://sandbox", None),
        ("https://mcm.example", None),
        ("http://127.0.0.1:8765", None),
        ("http://localhost:8765", None),
    ],
)
def test_a_setting_that_is_not_needed_is_refused(base_url: str | None, name: str | None) -> None:
    """Where no plain http goes to the named host, the setting is refused: it would lie in wait."""
    (text,) = errors(base_url, "sandbox", platform_name=name)
    assert text.startswith("allow_plain_http: 'sandbox' is not needed for http")
    assert text.endswith("; leave it out")


@pytest.mark.parametrize("base_url", ["https://mcm.example", "http://127.0.0.1:8765"])
def test_a_variable_that_is_not_needed_changes_nothing(
    base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable may be meant for another destination of the process."""
    monkeypatch.setenv(PLAIN_HTTP_VARIABLE, "sandbox")
    assert make(base_url).exposed_host == ""


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable allows nothing."""
    monkeypatch.setenv(PLAIN_HTTP_VARIABLE, "")
    assert errors("http://sandbox")[0].startswith("base_url: plain http to sandbox")


def test_a_setting_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both are there, the setting counts."""
    monkeypatch.setenv(PLAIN_HTTP_VARIABLE, "other")
    assert make("http://sandbox", "sandbox").exposed_host == "sandbox"
    assert errors("http://other", "sandbox")


HOSTS = st.sampled_from(
    "sandbox Sandbox localhost 127.0.0.1 10.0.0.1 [fd12::1] fd12::1 8.8.8.8 mcm.example a.internal "
    "evil.example .internal internal 0x0a000001 167772161 10.1 sandbox. [::1] "
    "::ffff:10.0.0.1 *".split()
)


@given(
    base=st.lists(HOSTS, min_size=1, max_size=3).map("".join),
    allowed=HOSTS | st.lists(HOSTS, max_size=3).map("".join),
    tail=st.sampled_from(["", ":80", "/path", "@10.0.0.1", "#sandbox", "\\@sandbox"]),
)
@example(base="sandbox", allowed="sandbox", tail="")
def test_plain_http_goes_nowhere_else(base: str, allowed: str, tail: str) -> None:
    """Whatever the settings are, plain http goes to loopback, or to the named and private host."""
    try:
        made = make(f"http://{base}{tail}", allowed)
    except ConfigurationError:
        return
    host = urlsplit(made.url).hostname or ""
    assert host == allowed.lower().strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        assert "." not in host or host.endswith(".internal")
    else:
        assert address.is_private
        assert not address.is_loopback


def test_it_is_logged_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The construction warns once of what travels unencrypted to which host, as does the repr."""
    made = destination_to("http://sandbox:1", allow_plain_http="sandbox", transport="none")
    (record,) = [each for each in caplog.records if "Plain http" in each.msg]
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "Plain http to sandbox, as allow_plain_http says: the key and all events travel unencrypted"
    )
    assert repr(made).endswith(", allow_plain_http='sandbox')")
    made.close(0)


@pytest.mark.parametrize("url", ["https://mcm.example", "http://127.0.0.1:1"])
def test_nothing_is_logged_otherwise(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """https, and plain http on this machine, need no warning."""
    made = destination_to(url, transport="none")
    assert "plain_http" not in repr(made)
    assert "unencrypted" not in caplog.text
    made.close(0)


def test_a_file_may_name_it() -> None:
    """Plain data has the setting, with variables of the environment as in any text."""
    data = {"api_key": KEY, "platform_id": "SHOP", "syncs": "ecommerce"}
    data |= {"base_url": "http://sandbox:8765", "allow_plain_http": "sandbox", "transport": "none"}
    made = MolocoDestination.from_dict(data)
    assert "allow_plain_http='sandbox'" in repr(made)
    made.close(0)


def own_name() -> str:
    """A name of this machine that is not always loopback for the library, but is here."""
    for name in (socket.gethostname(), "ip6-localhost"):
        if "." in name:
            continue
        try:
            found = {each[4][0] for each in socket.getaddrinfo(name, None)}
        except OSError:
            continue
        if found == {"127.0.0.1"}:
            return name
    pytest.skip("needs a name without a dot that means 127.0.0.1 alone, as in Debian's /etc/hosts")


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_no_proxy_sees_the_key(
    transport: str,
    sandbox: Sandbox,
    server: FaultyServer,
    bare_environment: pytest.MonkeyPatch,
) -> None:
    """Events go to the named host itself, although the environment names a proxy for everything."""
    if transport == "curl":
        pytest.importorskip("pycurl")
    name = own_name()
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        bare_environment.setenv(variable, server.url)
    url = sandbox.url.replace("127.0.0.1", name)
    destination = destination_to(url, allow_plain_http=name, transport=transport)
    destination.execute(BaseEvent("Home", user_id="user-1", insert_id="e-1", time=NOW_MILLIS))
    assert destination.flush(60).result().delivered == 1
    destination.close()
    assert [event["id"] for event in sandbox.moloco_events] == ["e-1"]
    assert server.connections == 0
