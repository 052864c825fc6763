"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from amplitude import BaseEvent

from amplitude_moloco import MolocoDestination, Sync

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
MATCHING: dict[str, dict[str, Any]] = {
    "is": {"plan": "gold"},
    "is one of": {"plan": "silver"},
    "is not": {"plan": "silver"},
    "contains": {"tags": ["new", "sale"]},
    "does not contain": {"tags": "new"},
    "greater, less": {"total": 100},
    "is set": {"coupon": "x"},
    "is not set": {},
    "of a user property": {},
}
OTHER: dict[str, dict[str, Any]] = {
    "is": {"plan": "silver"},
    "is one of": {"plan": "bronze"},
    "is not": {"plan": "gold"},
    "contains": {},
    "does not contain": {"tags": "summer sale"},
    "greater, less": {},
    "is set": {},
    "is not set": {"coupon": "x"},
    "of a user property": {},
}


def conditions() -> dict[str, list[str]]:
    """The expressions in the README's table of conditions."""
    table = README.partition("| condition | expression |\n")[2].partition("\n\n")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:3] for line in table.splitlines()[1:]]
    return {
        name.strip(): [
            (long or short).strip().replace("\\|", "|")
            for long, short in re.findall(r"``(.+?)``(?!`)|`([^`]+)`", cell)
        ]
        for name, cell in rows
    }


def is_selected(where: str, properties: dict[str, Any], country: str) -> bool:
    """Whether a sync with this condition selects an event with these properties."""
    destination = MolocoDestination(
        "key",
        "SHOP",
        [Sync("HOME", events=["Home"], where=where)],
        platform_name="shop",
        channel_type="SITE",
    )
    event = BaseEvent(
        "Home",
        user_id="u",
        event_properties=properties,
        user_properties={"country": country},
    )
    shown = destination.preview(event)
    assert not any(conversion.problems for conversion in shown)
    return bool(shown)


@pytest.mark.parametrize("condition", MATCHING)
def test_a_condition_selects_what_it_says(condition: str) -> None:
    """Each of Amplitude's conditions in the README selects what it names, and nothing else."""
    expressions = conditions()[condition]
    assert expressions
    for where in expressions:
        assert is_selected(where, MATCHING[condition], country="KR")
        assert not is_selected(where, OTHER[condition], country="JP")


def test_the_code_in_the_readme_is_python() -> None:
    """Every block of Python in the README compiles."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        if "event_type, events, *" not in block:  # a signature
            compile(block, "README.md", "exec")
