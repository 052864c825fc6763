"""Transports inside a destination."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from amplitude import BaseEvent
from support.faulty_server import Exchange, FaultyServer, Step

from amplitude_moloco import (
    BreakerPolicy,
    ConfigurationError,
    Delivered,
    Fact,
    MolocoDestination,
    RetrySchedule,
    Sync,
)

LONG = 30.0
"""Seconds after which a wait in a test has failed."""


def make(**settings: Any) -> MolocoDestination:
    return MolocoDestination(
        "key", "SHOP", [Sync("HOME", ["Home"])], channel_type="SITE", **settings
    )


@pytest.mark.parametrize("name", ["Curl", "pycurl", " ", 5])
def test_an_unknown_name_is_refused(name: Any) -> None:
    """The setting ``transport`` is a name of a transport or a callable."""
    with pytest.raises(ConfigurationError, match=r"^transport: .* use 'auto', 'requests', 'curl'"):
        make(transport=name, base_url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("setting", "agent"),
    [
        ({}, "PycURL"),
        ({"transport": "auto"}, "PycURL"),
        ({"transport": "requests"}, "python"),
        ({"transport": "curl"}, "PycURL"),
    ],
)
def test_a_destination_sends_through_the_transport_that_it_names(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, setting: dict[str, str], agent: str
) -> None:
    """The setting ``transport`` chooses how events are sent; by default libcurl, if installed."""
    destination = make(base_url=server.url, **setting)
    destination.execute(BaseEvent("Home", user_id="u", insert_id="1", time=1_700_000_000_000))
    assert destination.flush(10).result().delivered == 1
    destination.close()
    assert server.requests[0].headers["User-Agent"].startswith(agent)


def test_a_far_server_gets_as_many_connections_as_keep_it_busy(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer
) -> None:
    """While a backlog waits for answers, up to 64 connections are opened, and no more."""
    all_wait = threading.Barrier(64)  # no answer before 64 requests are in flight

    def answer(exchange: Exchange) -> None:
        all_wait.wait(LONG)
        exchange.send(server.reply(200))

    server.decide = lambda request: answer
    destination = make(base_url=server.url)
    for number in range(128):
        destination.execute(
            BaseEvent("Home", user_id="u", insert_id=str(number), time=1_700_000_000_000)
        )
    assert destination.flush(LONG).result().delivered == 128
    destination.close()
    assert server.connections == 64


@pytest.mark.parametrize(
    ("transport", "shown"), [("auto", "curl"), ("requests", "requests"), ("none", "none")]
)
def test_the_repr_shows_the_transport_that_was_chosen(transport: str, shown: str) -> None:
    """What ``auto`` chose is seen in the repr, and in the log at debug level."""
    destination = make(transport=transport, base_url="http://127.0.0.1:9")
    assert f"transport={shown!r}" in repr(destination)
    destination.close()


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_the_ca_bundle_applies_to_each_transport(
    bare_environment: pytest.MonkeyPatch, transport: str
) -> None:
    """A CA bundle that does not exist is refused, whatever the transport."""
    with pytest.raises(ConfigurationError, match=r"^ca_bundle: "):
        make(transport=transport, platform_name="shop", ca_bundle="/nonexistent")


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_a_server_that_fails_in_every_way_gets_every_event(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, transport: str
) -> None:
    """Despite ended connections, garbage, silence and 503s, each event is delivered once."""
    faults: list[tuple[Step, ...]] = [
        (lambda exchange: exchange.close(),),
        (lambda exchange: exchange.reset(),),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", lambda exchange: exchange.close()),
        (b"SSH-2.0-OpenSSH_9.6\r\n", lambda exchange: exchange.close()),
        (b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}",),
        (lambda exchange: exchange.hang(),),
    ]
    for fault in faults * 5:
        server.answer(200)
        server.will(*fault)
    ends: list[Delivered] = []
    destination = make(
        transport=transport,
        base_url=server.url,
        connections=4,
        timeout_seconds=0.3,
        hooks=[lambda fact: ends.append(fact) if isinstance(fact, Delivered) else None],
        retry=RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01, max_attempts=1000),
        breaker=BreakerPolicy(failures=1000),
    )
    for number in range(60):
        destination.execute(
            BaseEvent("Home", user_id="u", insert_id=f"{number}", time=1_700_000_000_000)
        )
    while (stats := destination.flush(10).result()).buffered:
        pass
    destination.close()
    assert stats.delivered == len({fact.id for fact in ends}) == len(ends) == 60
    assert stats.retried > 0
    assert not server.script


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("kind", ["Delivered", "Retrying", "Invalid", "Paused", "DeadLettered"])
def test_a_hook_that_exits_strands_nothing_over_a_real_socket(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, transport: str, kind: str
) -> None:
    """sys.exit() in a hook, whatever it is told, leaves nothing on its way."""

    def leave(fact: Fact) -> None:
        if type(fact).__name__ == kind:
            raise SystemExit

    server.will(server.reply(400), server.reply(503))
    destination = make(
        transport=transport,
        base_url=server.url,
        hooks=[leave],
        breaker=BreakerPolicy(failures=1, probe_delays_seconds=(0.01,), then_seconds=0.01),
        retry=RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
        flush_timeout_seconds=60,
        shutdown_timeout_seconds=60,
    )
    for number in range(20):
        time = None if number % 5 == 0 else 1_700_000_000_000
        destination.execute(BaseEvent("Home", user_id="u", insert_id=str(number), time=time))
    destination.flush(60).result()
    destination.close()
    stats = destination.stats()
    assert (stats.accepted, stats.buffered, stats.dropped) == (20, 0, {})
    assert stats.delivered + sum(stats.invalid.values()) + sum(stats.dead_lettered.values()) == 20


@pytest.mark.parametrize("setting", ["requests", "curl", "none"])
@pytest.mark.parametrize("variable", [None, "none", " NONE "])
def test_sending_can_be_switched_off(
    bare_environment: pytest.MonkeyPatch,
    server: FaultyServer,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    variable: str | None,
) -> None:
    """With the transport "none" or the variable nothing is sent; events count as delivered."""
    if variable is None:
        bare_environment.delenv("MOLOCO_TRANSPORT", raising=False)
    else:
        bare_environment.setenv("MOLOCO_TRANSPORT", variable)
    destination = make(base_url=server.url, transport=setting)
    destination.execute(BaseEvent("Home", user_id="u", insert_id="1", time=1_700_000_000_000))
    assert destination.flush(10).result().delivered == 1
    destination.close()
    is_off = setting == "none" or variable is not None
    assert server.connections == (0 if is_off else 1)
    assert ("Sending is switched off" in caplog.text) == is_off


def test_the_variable_goes_before_a_transport_of_the_app(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    """If the environment switches sending off, no transport at all is opened."""
    bare_environment.setenv("MOLOCO_TRANSPORT", "none")
    opened: list[Any] = []
    make(platform_name="shop", transport=opened.append).close()
    assert opened == []


@pytest.mark.parametrize("value", ["off", "requests", "0", "nothing"])
def test_another_value_of_the_variable_is_refused(
    bare_environment: pytest.MonkeyPatch, value: str
) -> None:
    """A misspelt variable does not send in silence."""
    bare_environment.setenv("MOLOCO_TRANSPORT", value)
    with pytest.raises(ConfigurationError, match=r"^MOLOCO_TRANSPORT: .*use 'none'"):
        make(platform_name="shop")


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_the_first_failure_is_logged_at_once_with_its_cause(
    bare_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    """A single event to a host that does not exist leaves a warning that names the host."""
    destination = make(base_url="https://no-such-shop.invalid", transport=transport)
    destination.execute(BaseEvent("Home", user_id="u", insert_id="1", time=1_700_000_000_000))
    destination.flush(10).result()
    destination.close(0.1)
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert said[0].startswith(
        "Sending to MCM failed: the name no-such-shop.invalid can't be resolved; check "
    )


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("status", [200, 407, 421, 425, 426])
def test_what_a_gateway_answers_costs_no_event(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, transport: str, status: int
) -> None:
    """A login page and the statuses of gateways keep the event, which is sent again."""
    server.answer(status, b"<html>Log in</html>")
    destination = make(
        base_url=server.url, transport=transport, retry=RetrySchedule(delays_seconds=(0.01,))
    )
    destination.execute(BaseEvent("Home", user_id="u", insert_id="1", time=1_700_000_000_000))
    while (stats := destination.flush(10).result()).buffered:
        pass
    destination.close()
    assert (stats.delivered, stats.retried, stats.dead_lettered) == (1, 1, {})
    assert len({request.body for request in server.requests}) == 1
