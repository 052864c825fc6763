from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import requests
from support.endpoint import endpoint_at
from support.faulty_server import Exchange, FaultyServer
from urllib3 import PoolManager

from amplitude_moloco.transports.base import SendResult
from amplitude_moloco.transports.connections import DeadlineAdapter, use_own_connections
from amplitude_moloco.transports.requests import RequestsTransport

LONG = 10.0
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
    adapter.get_connection_with_tls_context(requests.Request("POST", URL).prepare(), verify=True)
    adapter.close()
    adapter.close_idle()
    assert not adapter.poolmanager.pools


def test_the_idle_connections_beside_a_closed_one_are_closed_at_once(server: FaultyServer) -> None:
    """When one connection has ended, the others do not wait for the garbage collector."""
    all_arrived, ended = threading.Barrier(3), threading.Semaphore(0)

    def end(exchange: Exchange) -> None:
        if exchange.wait():  # one more request
            exchange.read()
            exchange.close()
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
