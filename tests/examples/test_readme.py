"""The list of the examples."""

from __future__ import annotations

import re

from support.example import EXAMPLES, README


def test_every_example_is_listed() -> None:
    """The README of the examples has a line for each, and none for what is not there."""
    listed = re.findall(r"^\| \[`[^`]+`\]\(([^)]+)\) \|", README, re.MULTILINE)
    there = {path.name for path in EXAMPLES.iterdir() if path.name != "README.md"}
    assert {*listed} == {name for name in there if not name.startswith((".", "__"))}
    assert len(listed) == len({*listed})


def test_every_link_leads_somewhere() -> None:
    """Each link of the README to a file leads to one that is there."""
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (EXAMPLES / target).exists(), target
