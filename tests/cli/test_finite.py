"""Numbers that are given as options."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import run


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("command", "option"),
    [("relay moloco.toml", "--rate"), ("dead resend x.db", "--rate"), ("sandbox", "--fail-rate")],
)
def test_what_is_no_number_is_refused(command: str, option: str, number: str) -> None:
    """An option that wants a number takes neither nan nor infinity, whatever its range is."""
    done = run(*command.split(), option, number)
    assert (done.code, done.out) == (2, "")
    assert option in done.err
    assert not Path("x.db").exists()
