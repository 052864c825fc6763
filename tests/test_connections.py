from __future__ import annotations

from urllib3 import PoolManager

from amplitude_moloco.transports.connections import use_own_connections


class SocksManager(PoolManager):
    """As one for SOCKS, which has connections of its own."""


def test_a_manager_of_another_kind_keeps_its_connections() -> None:
    """Where connections are made in another way, as for SOCKS, they are left as they are."""
    usual, other = PoolManager(), SocksManager()
    before = other.pool_classes_by_scheme
    for manager in (usual, other):
        use_own_connections(manager)
    assert other.pool_classes_by_scheme is before
    assert usual.pool_classes_by_scheme is not before
