"""What Redis learns of outcomes, told by one process."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.clock import Clock
from support.redis_buffers import carry, open_still
from support.redis_server import RedisServer

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.redis.address import RedisAddress, parse_address
from amplitude_moloco.buffers.redis.desk import Desk
from amplitude_moloco.buffers.redis.link import Link, connect
from amplitude_moloco.buffers.redis.record import records_from
from amplitude_moloco.buffers.redis.scripts import CLAIM
from amplitude_moloco.buffers.redis.settler import Settler
from amplitude_moloco.reasons import DeadLetterReason


@pytest.fixture
def address(redis_server: RedisServer) -> RedisAddress:
    return parse_address(redis_server.url(), {})


def claim(link: Link, desk: Desk, limit: int) -> list[Entry]:
    taken, _ = link.run(CLAIM, ["me", limit, 0, 0])
    desk.add(records_from(taken))
    return desk.claim(limit, 0).entries


@pytest.mark.parametrize("is_together", [True, False])
def test_the_oldest_dead_letters_are_forgotten(
    address: RedisAddress, redis_server: RedisServer, clock: Clock, *, is_together: bool
) -> None:
    """Redis keeps exactly so many dead letters as it is told, and of those the newest."""
    buffer = open_still(redis_server.url(address.layout.stream), clock)
    for id in "abcde":
        assert buffer.put(id, "HOME", b"") is None
    carry(buffer, clock)
    with closing(Link(connect(address), address, clock.wall)) as link:
        desk = Desk("me", clock.monotonic)
        settler = Settler(link, desk, "me", most_letters=2)
        for entry in claim(link, desk, 5):
            assert desk.bury(entry, DeadLetterReason.REJECTED, 400, "no")
            if not is_together:
                settler.settle()
        settler.settle()
    assert [letter.id for letter in buffer.dead_letters()] == ["d", "e"]
    buffer.close()
