"""A browser for the tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.browser import Browser, started_browser

from amplitude_moloco.sandbox import Sandbox


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests, since each takes seconds to start."""
    with started_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser, sandbox: Sandbox) -> Iterator[Browser]:
    """A browser that complains of nothing during the test, and leaves before the sandbox ends."""
    yield shared_browser
    assert shared_browser.complaints() == []
    shared_browser.open("about:blank")
