"""The command ``amplitude-moloco check``."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.cli import run
from support.exports import as_gzip, as_zip, numbered
from support.measuring import unmeasured

from amplitude_moloco.cli.progress import watched
from amplitude_moloco.cli.tally import OTHERS, Counts, Tally
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.history import Place
from amplitude_moloco.history.files import ExportFile, find_files
from amplitude_moloco.history.tracked import event_of_any
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.sync import Sync

SHOP = """
platform_id = "MY_SHOP"
platform_name = "My Shop"
channel_type = "SITE"
"""
READY = f'{SHOP}syncs = "ecommerce"\n'
ADDRESS = "https://my-shop-evt.mcm-api.moloco.com/rmp/event/v1/platforms/MY_SHOP/userevents"
KEY = {"MOLOCO_API_KEY": "the-key"}
SEARCHED = {"event_type": "Products Searched", "user_id": "u", "event_properties": {"query": "x"}}
HOSTILE = "x[red]\x1b]0;title\x07\u202e[/]\nHome"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with the ready-made syncs."""
    path = tmp_path / "moloco.toml"
    path.write_text(READY)
    return path


def lines(*events: Any) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


class TestSettings:
    """Without events."""

    def test_no_mistakes(self, config: Path) -> None:
        """Settings that work are said to, with the address."""
        code, out, err = run("check", config, **KEY)
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            f"{config}: no mistakes",
            f"9 syncs, to {ADDRESS}",
        ]

    def test_all_mistakes(self, config: Path) -> None:
        """All mistakes are shown at once, each on a line with its place, and it ends with 2."""
        config.write_text(
            'platform_id = "${NOT_SET}"\nplatform_nam = "x"\ntimeout_seconds = "10"\n'
            '[[syncs]]\nevent_type = "ORDER"\nevents = "a"\nmapping = {item = "x"}\n'
        )
        code, out, _ = run("check", config, **KEY)
        assert code == 2
        title, *mistakes = out.splitlines()
        assert title == f"{config}: 5 mistakes"
        assert [mistake.partition(":")[0] for mistake in mistakes] == [
            "- platform_id",
            "- platform_nam",
            "- syncs[0].event_type",
            "- syncs[0].mapping.item",
            "- timeout_seconds",
        ]
        done = run("check", config, "--json", **KEY)
        assert done.code == 2
        assert [f"- {mistake}" for mistake in done.json["mistakes"]] == mistakes

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("a.toml", None, "can't be read (No such file or directory)"),
            ("a.toml", "a = [", "not valid TOML"),
            ("a.json", "[]", "use an object with the settings"),
            ("a.yaml", "", "use a file that ends in .json or .toml"),
        ],
    )
    def test_a_file_that_can_not_be_read(
        self, tmp_path: Path, name: str, text: str | None, problem: str
    ) -> None:
        """A file that is no settings file ends it with 2, and one line."""
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        code, out, err = run("check", path)
        assert (code, out) == (2, "")
        assert err.startswith(f"amplitude-moloco: {path}: {problem}")
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("settings", "variables", "is_warned"),
        [
            ("", {}, True),
            ("", KEY, False),
            ('api_key = "${SHOP_KEY}"', KEY, True),
            ('api_key = "${SHOP_KEY}"', {"SHOP_KEY": "the-key"}, False),
            ('api_key = "the-key"', {}, False),
        ],
    )
    def test_no_key_is_needed(
        self, config: Path, settings: str, variables: dict[str, str], is_warned: bool
    ) -> None:
        """A key that is not set on this machine is a warning; a key is never shown."""
        config.write_text(f"{settings}\n{READY}")
        code, out, err = run("check", config, **{"MOLOCO_API_KEY": None, **variables})
        assert (code, err) == (0, "")
        assert out.startswith("warning: api_key: the environment variable") is is_warned
        assert "the-key" not in out

    def test_what_may_not_be_meant(self, config: Path) -> None:
        """Syncs that send an event twice, and a misspelled type, are warnings."""
        config.write_text(
            f'{SHOP}[[syncs]]\nevent_type = "PURHCASE"\nevents = "a"\n'
            '[[syncs]]\nevent_type = "PURCHASE"\nevents = "*"\n'
        )
        done = run("check", config, "--json", **KEY)
        assert done.code == 0
        misspelled, twice = done.json["warnings"]
        assert "MCM's name is PURCHASE" in misspelled
        assert twice.startswith("syncs[0] and syncs[1] ('PURCHASE' and 'PURCHASE') may both send")


class TestEvents:
    """With events."""

    def test_all_can_be_sent(self, config: Path) -> None:
        """It reads the standard input, and ends with 0 if nothing would be refused."""
        code, out, err = run("check", config, "-", stdin=lines(SEARCHED, SEARCHED), **KEY)
        assert (code, err) == (0, "")
        assert "\n2 events read.\n" in out
        assert out.endswith("No event would be refused.\n")

    def test_shows_what_becomes_of_each(self, config: Path, tmp_path: Path) -> None:
        """Sent, sent without a part, invalid, filtered and not selected are counted, and why."""
        config.write_text(
            f'{SHOP}[[syncs]]\nevent_type = "SEARCH"\nevents = "Products Searched"\n'
            "where = \"event_properties.query != 'secret'\"\n"
            'mapping = {search_query = "event_properties.query"}\n'
            '[[syncs]]\nevent_type = "HOME"\nevents = ["Home Viewed", "Nothing"]\n'
        )
        events = tmp_path / "events.jsonl"
        trimmed = {"event_type": "Home Viewed", "user_id": "u", "event_properties": {"items": 7}}
        secret = {**SEARCHED, "event_properties": {"query": "secret"}}
        nothing = {**SEARCHED, "event_properties": {"keyword": "x"}}
        renamed = {"event_type": "home viewed"}
        events.write_text(lines(SEARCHED, trimmed, secret, nothing, renamed, nothing) + "{\n")
        code, out, err = run("check", config, events, **KEY)
        assert (code, err) == (1, "")
        assert f"1 can't be read:\n- {events}: line 7: not JSON" in out
        assert [
            line.split() for line in out.splitlines() if line.startswith((" SEARCH", " HOME"))
        ] == [
            ["SEARCH", "1", "0", "2", "1", "2"],
            ["HOME", "1", "1", "0", "0", "5"],
        ]
        assert "   did you mean 'Home Viewed'?" in out
        assert (
            "SEARCH, invalid: 2 events\n"
            "  search_query: found nothing; map search_query to what the shopper typed; "
            "mapping.search_query is 'event_properties.query': event_properties has no 'query'\n"
            f"  first: {events}: line 4\n"
        ) in out
        assert "HOME, sent without a part: 1 event\n" in out
        assert out.endswith("2 events would be refused, and 1 can't be read.\n")

        report = run("check", config, events, "--json", **KEY)
        assert report.code == 1
        search, home = report.json["syncs"]
        (cause,) = search.pop("causes")
        assert search == {
            "sync": "SEARCH",
            "sent": 1,
            "left_out": 0,
            "invalid": 2,
            "not_selected": 3,
            "filtered": 1,
        }
        assert (cause["code"], cause["count"]) == ("search_query missing", 2)
        assert [cause["is_invalid"] for cause in home["causes"]] == [False]
        by_name = {each["event_type"]: each for each in report.json["event_types"]}
        assert by_name["home viewed"]["did_you_mean"] == "Home Viewed"
        assert by_name["Products Searched"]["not_selected"] == 1
        assert report.json["unreadable"] == 1

    def test_explains(self, config: Path) -> None:
        """On request it shows what each sync makes of the first events."""
        stdin = lines(SEARCHED, {"event_type": HOSTILE}, SEARCHED)
        code, out, _ = run("check", config, "-", "--explain", 2, stdin=stdin, **KEY)
        assert code == 0
        assert out.count(" does not select it: ") == 17
        assert '"search_query":"x"' in out
        assert "-: line 2:\n" in out
        assert "-: line 3:\n" not in out
        assert all(line.isprintable() for line in out.splitlines())

    def test_exports_as_they_come(self, config: Path, tmp_path: Path) -> None:
        """Zips and gzip of Amplitude, below a folder; what is never sent is counted."""
        (tmp_path / "exports").mkdir()
        (tmp_path / "exports" / "a.zip").write_bytes(as_zip({"a.json.gz": as_gzip(numbered(3))}))
        identify = {"event_type": "$identify", "event_time": "2026-01-31 18:00:00.000000"}
        packed = gzip.compress(lines(identify).encode())
        (tmp_path / "exports" / "b.json.gz").write_bytes(packed)
        _, out, _ = run("check", config, tmp_path / "exports", **KEY)
        assert "\n3 events read, 1 never sent, such as $identify.\n" in out

    def test_no_event_at_all(self, config: Path) -> None:
        """An empty file is no failure, and has no tables."""
        code, out, _ = run("check", config, "-", stdin="", **KEY)
        assert code == 0
        assert out.endswith("0 events read.\nNo event would be refused.\n")

    def test_sent_twice(self, config: Path) -> None:
        """Events that two syncs send as one type are counted."""
        config.write_text(
            f'{SHOP}[[syncs]]\nevent_type = "HOME"\nevents = "a"\n'
            '[[syncs]]\nevent_type = "HOME"\nevents = "*"\nname = "all"\n'
        )
        stdin = lines({"event_type": "a", "user_id": "u"})
        _, out, _ = run("check", config, "-", stdin=stdin, **KEY)
        assert "1 sent twice: two syncs send the same event as one type." in out

    def test_missing_events(self, config: Path, tmp_path: Path) -> None:
        """A path that does not exist ends it with 2."""
        code, _, err = run("check", config, tmp_path / "none", **KEY)
        assert (code, err) == (2, f"amplitude-moloco: {tmp_path / 'none'}: does not exist\n")

    def test_many_names_and_many_faults(self, config: Path) -> None:
        """What is too much for a screen is cut, and counted."""
        stdin = lines(*({"event_type": f"n-{i}"} for i in range(50))) + "{\n" * 7
        _, out, _ = run("check", config, "-", stdin=stdin, **KEY)
        assert "… and 10 names more" in out
        assert "7 can't be read:\n" in out
        assert "- …\n" in out

    def test_hostile_text(self, config: Path, tmp_path: Path) -> None:
        """Neither names nor paths bring a sequence to the terminal, or markup to the layout."""
        hostile = tmp_path / "a\x1b[31m[bold].jsonl"
        hostile.write_text(lines({"event_type": HOSTILE}) + "{\n")
        config.write_text(
            f'{SHOP}[[syncs]]\nevent_type = "HOME"\nevents = "*"\nname = "[b]\\u001b"'
        )
        _, out, err = run("check", config, hostile, **KEY)
        assert "x[red]\\x1b]0;title" in out
        assert "[b]\\x1b" in out
        assert "a\\x1b[31m[bold].jsonl" in out
        assert all(line.isprintable() for line in (out + err).splitlines())

    def test_narrow(self, config: Path) -> None:
        """At 60 columns all columns are there, and no line of a table is longer."""
        stdin = lines(*[SEARCHED] * 3)
        _, out, _ = run("check", config, "-", stdin=stdin, COLUMNS="60", **KEY)
        tables = out.partition("read.")[2].splitlines()
        assert max(map(len, tables)) <= 60
        assert [" ".join(line.split()) for line in tables if "filtered" in line] == [
            "Sync sent out invalid filtered selected"
        ]

    def test_on_a_terminal(self, config: Path) -> None:
        """On a terminal long texts are wrapped behind their bullet, and colours say how it went."""
        config.write_text(READY.replace("SITE", "TV"))
        code, out, _ = run("check", config, COLUMNS="60", FORCE_COLOR="1", NO_COLOR=None, **KEY)
        assert code == 2
        assert "\x1b[" in out
        shown = re.sub(r"\x1b\[[\d;]*m", "", out)
        assert "\n- channel_type: " in shown
        assert "\n  " in shown.partition("- channel_type")[2]
        _, plain, _ = run("check", config, COLUMNS="60", FORCE_COLOR="1", NO_COLOR="1", **KEY)
        assert "\x1b[31" not in plain

    def test_interrupted(self, config: Path) -> None:
        """Ctrl-C ends it with 130 and a line."""
        process = subprocess.Popen(
            [sys.executable, "-m", "amplitude_moloco", "check", str(config), "-", "--explain", "1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(lines(SEARCHED).encode())
            process.stdin.flush()
            assert process.stdout.readline() == b"-: line 1:\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (130, b"amplitude-moloco: interrupted\n")


class TestTally:
    """How events are counted."""

    def test_bounds(self) -> None:
        """However many names and kinds of problems there are, the memory stays flat."""
        tally = Tally(Converter([Sync("HOME", "*")]))
        for number in range(1_100):
            event = event_of_any({"event_type": f"name {number}", "user_id": "u"})
            tally.add(event, Place("a", line=number))
        tally.add(event_of_any({"event_type": "x" * 300, "user_id": "u"}), Place("a"))
        assert len(tally.names) == 1_001
        assert tally.names[OTHERS].invalid == 101

        counts = Counts()
        for number in range(150):
            problem = Problem(f"user_properties.p{number}", ProblemReason.NOT_JSON, "x", "y")
            counts.add(problem, Place("a"), is_invalid=False)
        assert len(counts.causes) == 101
        assert counts.causes[OTHERS, False].count == 50

    def test_one_event_of_several_syncs(self) -> None:
        """An event that one sync sends and another one refuses counts as invalid, once."""
        syncs = [Sync("HOME", "a"), Sync("SEARCH", "a"), Sync("HOME", "a", enabled=False)]
        tally = Tally(Converter(syncs))
        tally.add(event_of_any({"event_type": "a", "user_id": "u", "platform": "Web"}), Place("f"))
        assert tally.invalid == 1
        assert [(each.sent, each.invalid, each.filtered) for _, each in tally.syncs] == [
            (1, 0, 0),
            (0, 1, 0),
            (0, 0, 1),
        ]
        assert (tally.names["a"].sent, tally.names["a"].invalid) == (0, 1)


class TestProgress:
    """The bar."""

    def test_on_a_terminal(self, tmp_path: Path) -> None:
        """On a terminal it shows how much of all files was read, and leaves nothing behind."""
        for name in "ab":
            (tmp_path / f"{name}.json").write_bytes(bytes(1_000))
        out = io.StringIO()
        console = Console(file=out, width=80, force_terminal=True, force_interactive=True)
        files = [*find_files([tmp_path]), ExportFile(str(tmp_path / "removed"))]
        with watched(files, console) as (several, step):
            for file in several[:2]:
                opened = file.open()
                opened.read(600)
                for _ in range(500):
                    step()
                opened.close()
            for _ in range(500):
                step()
        shown = out.getvalue()
        assert "1.6/2.0 kB" in shown
        assert "2.0/2.0 kB" in shown

    def test_without_a_terminal(self) -> None:
        """Without a terminal there is no bar."""
        out = io.StringIO()
        with watched([ExportFile("-")], Console(file=out)) as (_, step):
            for _ in range(500):
                step()
        assert out.getvalue() == ""


ADJUST = """
app_token = "abc123def456"
environment = "sandbox"
token = "${ADJUST_TOKEN}"

[[events]]
event = "Order Completed"
token = "buyt0k"
where = "event_properties.total > `0`"
"""
IDFV = "8C6CBCB5-39B3-4D3C-A9F5-1D2F0C1F7D3E"


class TestAdjust:
    """Settings of AdjustDestination, which have an app_token."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "adjust.toml"
        path.write_text(ADJUST)
        return path

    def test_no_mistakes(self, config: Path) -> None:
        """They are checked as such; a token that is not set here is a warning."""
        code, out, _ = run("check", config)
        assert code == 0
        assert out.splitlines() == [
            (
                "warning: token: the environment variable ADJUST_TOKEN is not set; set it, or use "
                "a value (this check needs no token)"
            ),
            f"{config}: no mistakes",
            "1 sync, to https://s2s.adjust.com/event",
        ]
        code, out, _ = run("check", config, ADJUST_TOKEN="s3cret")
        assert "warning" not in out

    def test_mistakes(self, config: Path) -> None:
        """Mistakes are shown with their places, and it ends with 2."""
        config.write_text('app_token = "abc123def456"\nenvironment = "test"\n')
        code, out, _ = run("check", config)
        assert code == 2
        assert "- environment: found 'test'; use 'sandbox' or 'production'" in out
        assert "- events: found nothing; this setting is required" in out

    def test_events(self, config: Path, tmp_path: Path) -> None:
        """It says what becomes of events, and explains them with the form."""
        bought = {"event_type": "Order Completed", "idfv": IDFV, "platform": "iOS"}
        path = tmp_path / "events.jsonl"
        path.write_text(
            lines(
                {**bought, "event_properties": {"total": 7}},
                {**bought, "event_properties": {"total": 0}},
                {"event_type": "Order Completed", "event_properties": {"total": 7}},
                {"event_type": "order_completed"},
            )
        )
        code, out, _ = run("check", config, path, "--json")
        assert code == 1
        found = json.loads(out)
        (sync,) = found["syncs"]
        counts = {name: sync[name] for name in ("sync", "sent", "invalid", "filtered")}
        assert counts == {
            "sync": "Order Completed (buyt0k)",
            "sent": 1,
            "invalid": 1,
            "filtered": 1,
        }
        assert [each["code"] for each in sync["causes"]] == ["device no_identifier"]
        names = {each["event_type"]: each["did_you_mean"] for each in found["event_types"]}
        assert names == {"Order Completed": None, "order_completed": "Order Completed"}
        code, out, _ = run("check", config, path, "--explain", "2")
        assert "buyt0k" in out
        assert "where is false" in out

    def test_other_commands_say_what_they_are_for(self, config: Path) -> None:
        """A command that is for MCM alone refuses them."""
        code, out, err = run("trigger", "HOME", "--config", config, ADJUST_TOKEN="s3cret")
        assert code == 2
        assert "these settings are for Adjust, and this command is for MCM" in out + err


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('channel_type = "SITE"', "platform_id: found nothing"),
        ('environment = "sandbox"', "app_token: found nothing"),
        ('token = "t"\nevents = []', "events: "),
        ('platform_id = "x"\nevents = []', "events: no such setting"),
    ],
)
def test_whose_settings_they_are(tmp_path: Path, text: str, mistake: str) -> None:
    """A file counts as the partner's whose names it has, and as MCM's if it has none."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    code, out, _ = run("check", path)
    assert code == 2
    assert f"- {mistake}" in out


class TestAdbrix:
    """Settings of AdbrixDestination, which have events and no app."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "adbrix.toml"
        path.write_text('token = "${ADBRIX_TOKEN}"\nevents = "commerce"\n')
        return path

    def test_no_mistakes(self, config: Path) -> None:
        """They are checked as such; a token that is not set here is a warning."""
        code, out, _ = run("check", config)
        assert code == 0
        assert "warning: token: the environment variable ADBRIX_TOKEN is not set" in out
        assert "13 syncs, to https://openapi.dfinery.io/api/v1/events" in out
        assert "warning" not in run("check", config, ADBRIX_TOKEN="s3cret").out

    def test_mistakes(self, config: Path) -> None:
        """Mistakes are shown with their places, and it ends with 2."""
        config.write_text('[[events]]\nevent = "Order Completed"\n')
        code, out, _ = run("check", config)
        assert code == 2
        assert "- token: found nothing; this setting is required" in out
        assert "- events[0].name: found nothing; this setting is required" in out

    def test_events(self, config: Path, tmp_path: Path) -> None:
        """It says what becomes of events, and explains them with the JSON that is sent."""
        path = tmp_path / "events.jsonl"
        bought = {"event_type": "Order Completed", "event_properties": {"order_id": "o-1"}}
        path.write_text(lines({**bought, "user_id": "u"}, bought))
        code, out, _ = run("check", config, path, "--json")
        assert code == 1
        (sync,) = [each for each in json.loads(out)["syncs"] if each["sent"]]
        assert (sync["sync"], sync["invalid"]) == ("Order Completed (abx:purchase)", 1)
        assert [each["code"] for each in sync["causes"]] == ["user_id no_identifier"]
        assert "abx:purchase" in run("check", config, path, "--explain", "1").out

    def test_other_commands_say_what_they_are_for(self, config: Path) -> None:
        """A command that is for MCM alone refuses them."""
        code, out, err = run("trigger", "HOME", "--config", config, ADBRIX_TOKEN="s3cret")
        assert code == 2
        assert "these settings are for Adbrix, and this command is for MCM" in out + err
