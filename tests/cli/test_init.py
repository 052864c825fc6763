"""The command ``amplitude-moloco init``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from support.cli import run

from amplitude_moloco import EventType, MolocoDestination, Sync
from amplitude_moloco.adjust import AdjustDestination
from amplitude_moloco.cli.app_starters import STARTERS, Partner
from amplitude_moloco.cli.proposals import Proposals, type_of
from amplitude_moloco.cli.starters import Framework, code_text, settings_text, toml_text
from amplitude_moloco.experimental.adbrix import AdbrixDestination
from amplitude_moloco.files.reading import read_file
from amplitude_moloco.history.tracked import event_of_any
from amplitude_moloco.sandbox import Sandbox

HOSTILE = 'home "x\\\x1b[31m\u202e\nname = 5'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLOCO_API_KEY", "any")
    return tmp_path


def write(path: str, *events: Any) -> str:
    Path(path).write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def proposed(*events: dict[str, Any]) -> list[Sync]:
    proposals = Proposals()
    for event in events:
        proposals.add(event_of_any(event))
    return proposals.syncs()


class TestFile:
    """What it writes."""

    def test_works_at_once(self) -> None:
        """The file has no mistakes, and explains each setting; the code is shown."""
        code, out, err = run("init")
        assert (code, err) == (0, "")
        assert out.startswith("Wrote moloco.toml\n")
        assert 'MolocoDestination.from_file("moloco.toml")' in out
        assert run("check", "moloco.toml").code == 0
        assert len(MolocoDestination.from_file("moloco.toml").syncs) == 9

    def test_never_over_a_file(self, folder: Path) -> None:
        """A file that is there stays, also where it is a link that leads nowhere."""
        (folder / "moloco.toml").write_text("mine")
        code, out, err = run("init")
        assert (code, out) == (1, "")
        assert err.startswith("amplitude-moloco: moloco.toml is there already, and is left as it")
        assert (folder / "moloco.toml").read_text() == "mine"
        (folder / "moloco.toml").unlink()
        (folder / "moloco.toml").symlink_to("elsewhere.toml")
        assert run("init").code == 1
        assert not (folder / "elsewhere.toml").exists()

    def test_a_folder_that_is_gone(self, folder: Path) -> None:
        """Where nothing can be written, it says why."""
        folder.rmdir()
        code, _, err = run("init")
        assert (code, err) == (1, "amplitude-moloco: moloco.toml: No such file or directory\n")

    @pytest.mark.parametrize("framework", [*Framework])
    def test_code(self, framework: Framework) -> None:
        """Each framework's code is Python."""
        shown = run("init", "--framework", framework.value, "--json").json["code"]
        compile(shown, "shown", "exec")
        assert 'from_file("moloco.toml")' in shown
        assert "Products Searched" in shown

    def test_the_script_runs(self, folder: Path) -> None:
        """The script sends its event to the sandbox."""
        with Sandbox() as sandbox:
            text = settings_text("moloco.toml", []).replace("http://127.0.0.1:8765", sandbox.url)
            (folder / "moloco.toml").write_text(text)
            code = code_text(Framework.SCRIPT, "moloco.toml").replace(
                'Amplitude("AMPLITUDE_API_KEY")',
                "Amplitude('k', config)",
            )
            setup = "from amplitude import Config\n"
            setup += f"config = Config(server_url={sandbox.amplitude_url!r})\n"
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            subprocess.run(
                [sys.executable, "-c", setup + code], env=environment, timeout=120, check=True
            )
            assert [event["search_query"] for event in sandbox.moloco_events] == ["shoes"]


class TestProposals:
    """What it proposes for sample events."""

    EVENTS = (
        {
            "event_type": "productViewed",
            "user_id": "u",
            "event_properties": {"Item ID": "x", "Unit Price": 3.5, "currency": "EUR"},
        },
        {
            "event_type": "Checkout Complete",
            "user_id": "u",
            "event_properties": {
                "grand_total": 3.5,
                "currency": "EUR",
                "line_items": [{"sku": "a", "price": 3.5, "qty": 1}],
            },
        },
        {"event_type": "user_searched", "user_id": "u", "event_properties": {"Keyword": "x"}},
        {"event_type": "Newsletter Read", "user_id": "u"},
    )

    def test_own_names(self) -> None:
        """Names and properties of one's own become syncs that send the events."""
        events = write("events.jsonl", *self.EVENTS)
        code, out, _ = run("init", "--events", events)
        assert code == 0
        assert "With 3 syncs of your own, 3 of 4 sample events would be sent." in out
        report = run("check", "moloco.toml", events, "--json").json
        assert (report["invalid"], report["mistakes"]) == (0, [])
        assert [sync["sent"] for sync in report["syncs"]] == [1, 1, 1]

    def test_the_usual_names(self) -> None:
        """Where the ready-made syncs send as much, they are used."""
        searched = {"event_type": "Products Searched", "user_id": "u"}
        events = write("events.jsonl", {**searched, "event_properties": {"query": "x"}})
        found = run("init", "--events", events, "--json").json
        assert (found["syncs"], found["events"], found["would_be_sent"]) == ([], 1, 1)
        assert 'syncs = "ecommerce"' in Path("moloco.toml").read_text()

    def test_nothing_to_propose(self) -> None:
        """Events that no shopper causes leave the ready-made syncs."""
        code, out, _ = run("init", "--events", write("e.jsonl", {"event_type": "Newsletter"}))
        assert code == 0
        assert "With the ready-made syncs, 0 of 1 sample events would be sent." in out

    @pytest.mark.parametrize("source", ["missing.jsonl", "-"])
    def test_events_that_can_not_be_read(self, source: str) -> None:
        """A path that does not exist, and the standard input, end it with 2, and write nothing."""
        assert run("init", "--events", source).code == 2
        assert not Path("moloco.toml").exists()

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("Home", "HOME"),
            ("home_page_viewed", "HOME"),
            ("Landing Page Viewed", "LAND"),
            ("pageView", "PAGE_VIEW"),
            ("Viewed Screen", "PAGE_VIEW"),
            ("Product Detail Viewed", "ITEM_PAGE_VIEW"),
            ("view item", "ITEM_PAGE_VIEW"),
            ("ADD_TO_CART", "ADD_TO_CART"),
            ("Product Added To Wishlist", "ADD_TO_WISHLIST"),
            ("productFavorited", "ADD_TO_WISHLIST"),
            ("SearchPerformed", "SEARCH"),
            ("purchase", "PURCHASE"),
            ("Order Completed", "PURCHASE"),
            ("Newsletter Read", None),
            ("", None),
        ],
    )
    def test_names(self, name: str, kind: str | None) -> None:
        """A name suggests a type, whatever its case and separators."""
        assert type_of(name) == (None if kind is None else EventType(kind))

    def test_properties(self) -> None:
        """Properties are found by their usual names; what is not there is not mapped."""
        page, land, cart, empty = proposed(
            {"event_type": "page view", "event_properties": {"Path": "/a"}},
            {"event_type": "landed", "event_properties": {"referrer": "x"}},
            {"event_type": "Add to cart", "event_properties": {"items": [{"color": "red"}]}},
            {"event_type": "wishlist"},
        )
        assert page.mapping == {"page_id": "event_properties.Path"}
        assert land.mapping == {"referrer_page_id": "event_properties.referrer"}
        assert cart.mapping == empty.mapping == {}

    def test_names_that_no_sync_takes(self) -> None:
        """A name that looks like a regular expression, or is no Unicode, is passed over."""
        assert proposed({"event_type": "^home.*$"}) == []
        assert proposed({"event_type": "home \ud800"}) == []

    def test_many_names(self) -> None:
        """At most two hundred names are looked at."""
        assert len(proposed(*({"event_type": f"home {n}"} for n in range(300)))) == 200

    def test_only_so_many_events_are_read(self) -> None:
        """The first ten thousand events are enough."""
        line = json.dumps({"event_type": "n", "time": 1, "insert_id": "i"}) + "\n"
        Path("many.jsonl").write_text(line * 10_001)
        assert run("init", "--events", "many.jsonl", "--json").json["events"] == 10_000


class TestText:
    """How names from files are written into the file."""

    def test_hostile_names(self) -> None:
        """Whatever a name holds, the file says the same name, and nothing else."""
        Path("moloco.toml").write_text(settings_text("x", [Sync("HOME", HOSTILE, name=HOSTILE)]))
        (sync,) = read_file(Path("moloco.toml"))["syncs"]
        assert sync == {"event_type": "HOME", "name": HOSTILE, "events": [HOSTILE]}

    @given(text=st.text(st.characters(codec="utf-8")))
    def test_any_text(self, text: str) -> None:
        """Any text is read back as it was, and printable in the file."""
        quoted = toml_text(text)
        assert quoted.isprintable()
        Path("any.toml").write_text(f"a = {quoted}\n", encoding="utf-8")
        assert read_file(Path("any.toml")) == {"a": text}


class TestApps:
    """Settings for Adjust and for Adbrix."""

    @pytest.mark.parametrize(
        ("partner", "kind", "count"),
        [("adjust", AdjustDestination, 1), ("adbrix", AdbrixDestination, 13)],
    )
    def test_works_at_once(
        self, monkeypatch: pytest.MonkeyPatch, partner: str, kind: Any, count: int
    ) -> None:
        """The file has no mistakes, and the code that is shown uses it."""
        monkeypatch.setenv("ADBRIX_TOKEN", "any")
        code, out, err = run("init", "--partner", partner)
        assert (code, err) == (0, "")
        assert out.startswith(f"Wrote {partner}.toml\n")
        assert f'{kind.__name__}.from_file("{partner}.toml")' in out
        assert run("check", f"{partner}.toml", ADBRIX_TOKEN="any").code == 0
        destination = kind.from_file(f"{partner}.toml")
        assert len(destination.syncs) == count
        destination.close()
        assert run("init", "--partner", partner).code == 1

    def test_the_steps_lead_to_an_event(self, folder: Path, sandbox: Sandbox) -> None:
        """After the install that is shown, the code sends an order with its products."""
        found = run("init", "--partner", "adjust", "--json").json
        assert found["path"] == "adjust.toml"
        path = folder / "adjust.toml"
        path.write_text(path.read_text().replace("http://127.0.0.1:8765", sandbox.url))
        form = re.search(r"curl -d '(.*?)'", STARTERS[Partner.ADJUST].next)
        assert form is not None
        requests.post(f"{sandbox.url}/session", dict(parse_qsl(form[1])), timeout=30)
        setup = (
            f"from amplitude import Config\nconfig = Config(server_url={sandbox.amplitude_url!r})\n"
        )
        shown = found["code"].replace('Amplitude("AMPLITUDE_API_KEY")', "Amplitude('k', config)")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", setup + shown]
        subprocess.run(command, env=environment, timeout=120, check=True)
        (event,) = sandbox.mmp.events
        assert event.parameters["revenue"] == "20.5"
        assert event.partner_params == {"product_id": '["sku-1"]'}

    def test_what_is_for_moloco_alone(self) -> None:
        """Sample events and frameworks are for MCM's settings."""
        code, _, err = run("init", "--partner", "adjust", "--framework", "flask")
        assert (code, "--partner: adjust has neither --events nor --framework" in err) == (2, True)
