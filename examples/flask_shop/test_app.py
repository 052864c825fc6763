"""How to test a shop: with nothing sent, or with a sandbox that shows what would arrive."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from amplitude_moloco.sandbox import Sandbox

sandbox = Sandbox().__enter__()  # until the tests end
os.environ |= {
    "AMPLITUDE_API_KEY": "any",
    "AMPLITUDE_URL": sandbox.amplitude_url,
    "MOLOCO_API_KEY": "any",
    "MOLOCO_URL": sandbox.url,
    "MOLOCO_BUFFER": "memory://",
    "SECRET_KEY": "any",
}

import app  # noqa: E402  # it reads the environment


@pytest.fixture
def nothing_is_sent() -> Iterator[None]:
    """Switch off what the client sends. MOLOCO_TRANSPORT=none switches off Moloco alone."""
    app.client.configuration.opt_out = True
    yield
    app.client.configuration.opt_out = False


@pytest.mark.usefixtures("nothing_is_sent")
def test_a_page() -> None:
    """Most tests are about something else."""
    assert "Wool socks" in app.app.test_client().get("/search?q=socks").text


def test_a_search_is_tracked() -> None:
    """A search arrives at Moloco with its words."""
    app.app.test_client().get("/search?q=socks")
    app.destination.flush(10)
    (event,) = sandbox.moloco_events
    assert (event["event_type"], event["search_query"]) == ("SEARCH", "socks")
