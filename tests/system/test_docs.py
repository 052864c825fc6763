"""What the pages under ``docs/`` say is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from amplitude import BaseEvent
from support.documents import blocks, directed_to, run

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.cli.starters import settings_text
from amplitude_moloco.sandbox import Sandbox

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
RECIPES = {
    section.partition("\n")[0]: section
    for section in PAGES["cookbook"].split("\n## ")
    if section[:1].isdigit()
}
TIMEOUT_SECONDS = 20.0


def payload_of(names: dict[str, Any]) -> dict[str, Any]:
    """What a recipe sends for its event: the one payload, which has no problem."""
    destination = names.get("destination") or MolocoDestination(
        "any", "ANY", names["sync"], platform_name="any", channel_type="SITE"
    )
    (conversion,) = destination.preview(names["event"])
    assert conversion.problems == ()
    assert conversion.omissions == ()
    return dict(conversion.payload)


def test_there_are_ten_recipes() -> None:
    """The cookbook has as many recipes as it says."""
    assert [name.partition(".")[0] for name in RECIPES] == [str(n) for n in range(1, 11)]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_what_it_shows(name: str) -> None:
    """The event of each recipe becomes the fields that the recipe shows."""
    names: dict[str, Any] = {
        "BaseEvent": BaseEvent,
        "MolocoDestination": MolocoDestination,
        "Sync": Sync,
    }
    (code,), (after,) = blocks(RECIPES[name]), blocks(RECIPES[name], "json")
    run(code, "cookbook.md", names)
    payload = payload_of(names)
    shown = json.loads(after)
    assert {field: payload.get(field) for field in shown} == shown


def test_the_cookbooks_way_to_try_a_sync_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The block before the recipes prints what its event becomes."""
    run(blocks(PAGES["cookbook"])[0], "cookbook.md", {})
    assert capsys.readouterr().out.startswith("HOME ")


def test_the_tutorials_shop_sends_six_events(
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The tutorial's program sends six events to MCM and seven to Amplitude, and warns of one."""
    monkeypatch.setenv("MOLOCO_API_KEY", "any")
    monkeypatch.chdir(tmp_path)
    settings = directed_to(sandbox, settings_text("moloco.toml", ()))
    Path("moloco.toml").write_text(settings, encoding="utf-8")
    (shop,) = blocks(PAGES["tutorial"])
    (warning, *_) = blocks(PAGES["tutorial"], "text")
    run(directed_to(sandbox, shop), "tutorial.md", {})
    assert sorted(event["event_type"] for event in sandbox.moloco_events) == [
        *("ADD_TO_CART", "HOME", "ITEM_PAGE_VIEW", "PAGE_VIEW", "PURCHASE", "SEARCH"),
    ]
    assert len(sandbox.amplitude_events) == 7
    assert warning.strip() in caplog.text
    buffer = re.escape(blocks(PAGES["tutorial"], "toml")[0].strip())
    assert re.search(rf"^# {buffer}$", settings, re.MULTILINE)
