from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests
from support.endpoint import endpoint_at
from support.faulty_server import Exchange, FaultyServer
from urllib3 import PoolManager
from urllib3.exceptions import ConnectTimeoutError

from amplitude_moloco.transports.base import SendResult
from amplitude_moloco.transports.connections import DeadlineAdapter, exchange, use_own_connections
from amplitude_moloco.transports.requests import RequestsTransport
from amplitude_moloco.transports.resolver import Resolver

LONG = 60.0
URL = "http://127.0.0.1:9/"


class SocksManager(PoolManager):
    """A manager with connections of its own, as requests uses for SOCKS."""


def test_a_manager_of_another_kind_keeps_its_connections() -> None:
    """A manager that makes its connections differently, as for SOCKS, is left unchanged."""
    usual, other = PoolManager(), SocksManager()
    before = other.pool_classes_by_scheme
    for manager in (usual, other):
        use_own_connections(manager)
    assert other.pool_classes_by_scheme is before
    assert usual.pool_classes_by_scheme is not before


def test_without_a_connection_there_is_nothing_to_close() -> None:
    """Closing idle connections works before the first request, and after all are closed."""
    adapter = DeadlineAdapter()
    adapter.close_idle()
    with suppress(requests.ConnectionError):  # nothing listens there
        adapter.send(requests.Request("POST", URL).prepare())
    assert len(adapter.poolmanager.pools) == 1
    adapter.close()
    adapter.close_idle()
    assert not adapter.poolmanager.pools


@pytest.mark.filterwarnings("ignore:.*get_connection_with_tls_context:DeprecationWarning")
def test_an_older_requests_gets_the_same_connections() -> None:
    """What requests 2.31 calls for its pool keeps that pool as well."""
    adapter = DeadlineAdapter()
    pool = adapter.get_connection(URL)
    assert adapter.get_connection(URL) is pool
    adapter.close()
    assert adapter.get_connection(URL) is not pool
    adapter.close()


def connection_to(url: str) -> Any:
    """Returns a connection as a manager makes it, not connected yet."""
    manager = PoolManager()
    use_own_connections(manager)
    pool = manager.connection_from_url(url)
    return pool.ConnectionCls(host=pool.host, port=pool.port)


def test_without_time_no_address_is_tried(server: FaultyServer) -> None:
    """Once the deadline is over, nothing is connected to."""
    exchange.begin(0.0, Resolver())
    with pytest.raises(ConnectTimeoutError, match="connecting timed out"):
        connection_to(server.url).connect()
    assert server.connections == 0


def test_with_too_little_time_nothing_is_sent(server: FaultyServer) -> None:
    """If connecting has taken nearly all the time, the connection is closed unused."""
    exchange.begin(LONG, Resolver())
    exchange.timeout_seconds = 1000 * LONG  # so what is left of it is a thousandth
    connection = connection_to(server.url)
    with pytest.raises(ConnectTimeoutError, match="too late for an answer"):
        connection.request("POST", "/", body=b"{}")
    assert connection.sock is None
    assert server.requests == []


def test_idle_connections_can_be_closed(server: FaultyServer) -> None:
    """After its idle connections were closed, a transport opens another one and sends."""
    ended = threading.Semaphore(0)

    def wait_for_end(connection: Exchange) -> None:
        assert not connection.wait()
        ended.release()

    server.will(server.reply(200), wait_for_end)
    transport = RequestsTransport(endpoint_at(server.url))
    try:
        assert transport.send(b"{}") == SendResult(200)
        transport.close_idle()
        assert ended.acquire(timeout=LONG)
        assert transport.send(b"{}") == SendResult(200)
        assert server.connections == 2
    finally:
        transport.close()


def test_the_idle_connections_beside_a_closed_one_are_closed_at_once(server: FaultyServer) -> None:
    """When one connection has ended, the others do not wait for the garbage collector."""
    all_arrived, ended = threading.Barrier(3), threading.Semaphore(0)

    def end(connection: Exchange) -> None:
        if connection.wait():  # one more request
            connection.read()
            connection.close()
        ended.release()

    for _ in range(3):
        server.will(lambda _: all_arrived.wait(LONG), server.reply(200), end)
    transport = RequestsTransport(endpoint_at(server.url))
    gc.disable()
    try:
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(transport.send, [b"{}"] * 3)) == [SendResult(200)] * 3
        assert transport.send(b"{}") == SendResult(200)
        assert server.connections == 4
        for _ in range(3):
            assert ended.acquire(timeout=LONG)
    finally:
        gc.enable()
        transport.close()
