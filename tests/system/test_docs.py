"""What the pages under ``docs/`` say is so."""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from amplitude import Amplitude, BaseEvent, Config
from support.documents import blocks, directed_to, run
from support.exports import record, write_hour

import amplitude_moloco
from amplitude_moloco import (
    BreakerPolicy,
    DeadLetterReason,
    DropReason,
    EventType,
    MolocoDestination,
    MolocoSettings,
    RetrySchedule,
    SendResult,
    Sync,
    adjust,
    ecommerce_syncs,
    history,
    links,
)
from amplitude_moloco import sandbox as sandbox_package
from amplitude_moloco.buffers.memory import MAX_DEAD_LETTERS
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.cli.starters import settings_text
from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.experimental import adbrix
from amplitude_moloco.metrics.catalogue import METRICS
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS, Chart
from amplitude_moloco.moloco.wire.omissions import is_needed
from amplitude_moloco.moloco.wire.requirements import required_keys
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.acceptance import CASES, Acceptance
from amplitude_moloco.sandbox.answers import moloco_fault
from amplitude_moloco.sandbox.faults import Fault
from amplitude_moloco.sandbox.rules import objection

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
RECIPES = {
    section.partition("\n")[0]: section
    for section in PAGES["cookbook"].split("\n## ")
    if section[:1].isdigit()
}
TIMEOUT_SECONDS = 20.0
SYNCS = [Sync("HOME", events=["Home"])]


EXPORTED = record(
    event_type="Home Viewed",
    library="amplitude-python/1.3.0",
    event_time="2026-01-31 09:30:00.123000",
    user_id="u-1",
)


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


SAMPLES: dict[str, Any] = {
    "platform": "APP",
    "event_id": "id-1",
    "user_id": "shopper-1",
    "device_id": "device-1",
    "os_name": "ios 17",
    "language": "ko",
    "ip_address": "192.0.2.1",
    "advertising_id": "6d92078a-8246-4ba4-ae5b-76104861e7dc",
    "revenue_amount": 12.5,
    "revenue_currency": "USD",
    "shipping_charge_amount": 2.5,
    "shipping_charge_currency": "USD",
    "currency": "USD",
    "timestamp": 1_700_000_000_000,
    "items": [{"id": "item"}],
    "personalization_mode": "METRIC_ONLY",
}
"""A value for each field; text that is its own name for all others."""


def code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


def table_under(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    _, _, section = PAGES[page].partition(f"## {heading}\n")
    table = re.findall(r"^\|.*\|$", section.partition("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in table[2:]]


def flat(value: object, path: str = "") -> dict[str, Any]:
    """The values in an object by their paths: ``device.os``."""
    if not isinstance(value, dict):
        return {path: value}
    parts = (flat(part, f"{path}.{key}".strip(".")) for key, part in value.items())
    return {place: found for part in parts for place, found in part.items()}


def paths_of(fields: dict[str, Any]) -> dict[str, Any]:
    """What a PURCHASE with these fields, each mapped from a property, sends in which place."""
    sync = Sync("PURCHASE", events=["x"], mapping={f: f"event_properties.{f}" for f in fields})
    destination = MolocoDestination("any", "ANY", sync, platform_name="any", channel_type="SITE")
    (conversion,) = destination.preview(BaseEvent("x", event_properties=fields))
    return flat(conversion.payload)


def test_the_table_of_fields_is_the_chart() -> None:
    """The page lists each field with the attributes and the property that fill it by default."""
    chart = Chart(EventType.PURCHASE, None)
    rows = table_under("requirements", "Where each field comes from")
    assert [row[0] for row in rows] == [code(field) for field in MOLOCO_FIELDS]
    for row, field in zip(rows, MOLOCO_FIELDS, strict=True):
        attributes = chart.attributes.get(field, [])
        assert row[2] == code(*reversed(attributes)), field
        assert row[3] == (code(field) if field in chart.properties else ""), field


def test_the_table_of_fields_names_the_places_on_the_wire() -> None:
    """A value that is mapped to a field arrives where the page says."""
    samples = {field: SAMPLES.get(field, field) for field in MOLOCO_FIELDS}
    sent = paths_of(samples)
    for field, wire, *_ in table_under("requirements", "Where each field comes from"):
        name = field.strip("`")
        value = str(samples[name]) if name == "timestamp" else samples[name]
        if name == "os_name":
            assert sent["device.os"] == value
        elif name != "currency":  # which has no place of its own
            assert sent[wire.strip("`")] == value, name


def test_the_table_of_types_is_the_codes() -> None:
    """The page lists for each event type what it requires, and what only is recommended."""
    always = required_keys(EventType.HOME)
    for name, required, recommended in table_under("requirements", "Each event type"):
        event_type = EventType(name.strip("`"))
        own = [key for key in required_keys(event_type) if key not in always]
        field = {"revenue": "revenue_amount"}
        needed = [key for key in own if is_needed(event_type.value, field.get(key, key))]
        assert required == code(*needed), name
        assert recommended == code(*(key for key in own if key not in needed)), name
    listed = [row[0] for row in table_under("requirements", "Each event type")]
    assert listed == [code(event_type.value) for event_type in EventType]


@pytest.mark.parametrize("event_type", EventType)
def test_the_example_of_a_type_needs_no_mapping(event_type: EventType) -> None:
    """An event with the properties that the page shows for its type is sent without a mapping."""
    (examples,) = blocks(PAGES["requirements"], "json")
    sync = Sync(event_type, events=["x"])
    destination = MolocoDestination("any", "ANY", sync, platform_name="any", channel_type="SITE")
    properties = json.loads(examples)[event_type.value]
    (conversion,) = destination.preview(BaseEvent("x", user_id="u", event_properties=properties))
    assert conversion.problems == ()
    if properties:
        (without,) = destination.preview(BaseEvent("x", user_id="u"))
        assert bool(without.problems) == (event_type is not EventType.LAND)


VALID: dict[str, Any] = {
    "channel_type": "SITE",
    "timestamp": "1700000000000",
    "id": "id-1",
    "user_id": "u-1",
}
REFUSED: dict[str, dict[str, Any]] = {
    "no available valid identifier to construct Moloco advertising ID": {"user_id": "null"},
    "missing search_query": {"event_type": "SEARCH"},
    "missing page_id": {"event_type": "PAGE_VIEW"},
    "invalid item: either id or item_group_id must be set": {
        "event_type": "ADD_TO_CART",
        "items": [{"quantity": 1}],
    },
    "invalid timestamp": {"timestamp": "1700000000"},
    "device os must contain ios or android for the app channel type": {"channel_type": "APP"},
}
"""Each 400 that MCM documents, and what causes it. ``page_id is empty`` is another text for one."""


def test_every_documented_message_is_explained() -> None:
    """Troubleshooting lists each message that MCM documents, and nothing that it does not."""
    rows = table_under("troubleshooting", "By MCM's message")
    listed = {(row[0], row[1].strip("`")) for row in rows}
    assert {message for status, message in listed if status == "400"} == {
        *REFUSED,
        "page_id is empty",
    }
    assert {status for status, _ in listed} == {"400", "401", "403", "404", "429", "5xx"}
    throttled = moloco_fault(Fault(status=429)).body["message"]
    assert ("429", throttled) in listed


@pytest.mark.parametrize("message", REFUSED)
def test_a_documented_message_has_the_cause_that_the_page_names(message: str) -> None:
    """The sandbox, which knows MCM's rules, gives the message for its cause."""
    event = VALID | {"event_type": "HOME"} | REFUSED[message]
    assert objection(event, now_millis=1_800_000_000_000) == message


def test_every_reason_is_explained() -> None:
    """Troubleshooting explains each reason for which an event is dropped or given up."""
    for reason in DropReason:
        assert f"| `{reason.value}` |" in PAGES["troubleshooting"]
    for letter in DeadLetterReason:
        assert f"`{letter.value}`" in PAGES["troubleshooting"]


PAGES_RUN = ("deployment", "going-live", "metrics", "troubleshooting")
"""The pages whose Python is run, block after block, with a destination that has sent an event."""
NOT_RUN: dict[str, str] = {
    "signal.signal(": "it would change how the tests themselves end",
    "def child_exit": "only gunicorn calls it; see tests/system/test_servers.py",
    "multiprocessing.Pool(": "a pool forks; see tests/system/test_servers.py",
}
"""Blocks that are only compiled, by a text in them, and why."""
EXCERPT = "# examples/"
"""How a block begins that is a part of an example, which the tests in tests/examples run."""


@pytest.fixture
def names(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """What a page may use: a client with a destination that sends to the sandbox, and syncs."""
    monkeypatch.setenv("MOLOCO_API_KEY", "any")
    monkeypatch.chdir(tmp_path)
    settings = directed_to(sandbox, settings_text("moloco.toml", ()))
    Path("moloco.toml").write_text(settings, encoding="utf-8")
    write_hour(tmp_path / "exports", "2026-01-31_9", [EXPORTED])
    client = Amplitude("KEY", Config(server_url=sandbox.amplitude_url))
    destination = MolocoDestination.from_file("moloco.toml")
    client.add(destination)
    names = {
        "Amplitude": Amplitude,
        "BaseEvent": BaseEvent,
        "Config": Config,
        "MolocoDestination": MolocoDestination,
        "client": client,
        "destination": destination,
        "syncs": destination.syncs,
    }
    yield names
    for each in (destination, names["destination"]):
        each.close(0)
    for each in (client, names["client"]):
        each.shutdown()


@pytest.mark.parametrize("page", PAGES_RUN)
def test_the_python_of_a_page_runs(page: str, names: dict[str, Any], sandbox: Sandbox) -> None:
    """Every block of a page runs after the other, or is compiled if it needs what is not here."""
    for block in blocks(PAGES[page]):
        if block.startswith(EXCERPT):
            continue
        if any(text in block for text in NOT_RUN):
            compile(block, f"{page}.md", "exec")
        else:
            run(directed_to(sandbox, block), f"{page}.md", names)


def test_an_excerpt_is_a_part_of_its_example() -> None:
    """What a page shows of an example is in that example, line by line; … stands for the rest."""
    found = [
        block
        for page in PAGES.values()
        for language in ("python", "dockerfile")
        for block in blocks(textwrap.dedent(page.replace("\n    ```", "\n```")), language)
        if textwrap.dedent(block).startswith(EXCERPT)
    ]
    assert len(found) == 6
    for block in found:
        head, _, rest = textwrap.dedent(block).partition("\n")
        example = (DOCS.parent / head.removeprefix("# ")).read_text(encoding="utf-8")
        for part in rest.split("    # …\n"):
            assert part in example, head


def test_every_block_is_tested() -> None:
    """No page has Python that this file does not run, and each exception is still needed."""
    tested = {
        *PAGES_RUN,
        "coming-from",
        "cookbook",
        "extending",
        "failures",
        "history",
        "mmp-sandbox",
        "mobile",
        "tutorial",
    }
    assert len(blocks(PAGES["cookbook"])) == 1 + len(RECIPES)
    assert len(blocks(PAGES["extending"])) == 3  # one each for the tests of a buffer, a hook, …
    assert {page for page, text in PAGES.items() if blocks(text)} == tested
    for text in NOT_RUN:
        assert any(text in block for page in PAGES_RUN for block in blocks(PAGES[page]))


def test_the_numbers_of_the_failure_protocol_are_the_defaults() -> None:
    """The page about failures has the delays and limits that the policies have by default."""
    page = " ".join(PAGES["failures"].split())
    retry, breaker = RetrySchedule(), BreakerPolicy()
    *first, last = (f"{seconds:g}" for seconds in retry.delays_seconds)
    assert breaker.probe_delays_seconds == retry.delays_seconds
    assert breaker.then_seconds == retry.then_seconds == 15 * 60
    assert page.count(f"{', '.join(first)} and {last} seconds, then every 15 minutes") >= 2
    assert (breaker.failures, retry.max_attempts, retry.max_age_seconds) == (5, 10, 7 * 86400)
    for words in ("more than five failures in a row", "ten failures", "seven days"):
        assert words in page
    (code,) = blocks(PAGES["failures"])
    shown: dict[str, Any] = {"MolocoDestination": lambda **settings: settings, "syncs": ()}
    run(code, "failures.md", shown)
    assert shown["destination"]["retry"] == retry
    assert shown["destination"]["breaker"] == breaker


@pytest.mark.parametrize("status", [None, 200, 204, 302, *range(400, 430), 500, 503])
def test_an_answer_has_the_consequence_that_the_page_names(status: int | None) -> None:
    """The page's table of answers agrees with the code for each status."""
    consequence = {
        Verdict.DELIVERED: "Delivered",
        Verdict.RETRY: "Sent again",
        Verdict.THROTTLED: "Sent again, more slowly",
        Verdict.MISCONFIGURED: "Sending pauses at once",
        Verdict.REJECTED: "Dead letter",
    }
    rows = {
        cell: row[1] for row in table_under("failures", "Answers") for cell in row[0].split(", ")
    }
    family = "" if status is None else f"{status // 100}xx"
    default = rows.get(family, rows["other 4xx"])
    shown = rows["no answer"] if status is None else rows.get(str(status), default)
    assert shown == consequence[classify(SendResult(status=status))]


def test_the_matrix_is_the_sandboxs() -> None:
    """The page about going live lists the cases that the sandbox checks, and its rules."""
    rows = table_under("going-live", "4. Show that it works")
    assert [row[:2] for row in rows] == [[case.action, case.expected] for case in CASES]
    for rule in Acceptance().as_json()["rules"]:
        assert f"- {rule['rule']}" in PAGES["going-live"]


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text, "toml")])
def test_settings_that_a_page_shows_can_be_used(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TOML of every page, together with what it leaves out, makes a destination."""
    monkeypatch.setenv("ADJUST_TOKEN", "s3cret")
    file = tmp_path / "moloco.toml"
    for block in blocks(PAGES[page], "toml"):
        settings = tomllib.loads(block)
        if "app_token" in settings:
            file.write_text(block, encoding="utf-8")
            assert adjust.AdjustSettings.from_file(file).converter().syncs
            continue
        more = {"api_key": "key", "platform_id": "ANY", "platform_name": "any", "syncs": SYNCS}
        file.write_text(block, encoding="utf-8")
        missing = {name: value for name, value in more.items() if name not in settings}
        assert MolocoSettings.from_file(file, **missing).converter().syncs


def test_dead_letters_are_bounded_as_promised() -> None:
    """The page about promises says how many dead letters are kept, and for how long."""
    page = " ".join(PAGES["promises"].split())
    defaults = inspect.signature(SqliteBuffer).parameters
    kept, size, age = (
        defaults[f"max_dead_{name}"].default for name in ("letters", "bytes", "age_seconds")
    )
    assert f"keeps the last {MAX_DEAD_LETTERS:,}." in page
    assert f"up to {kept:,}, in up to {size >> 20} MiB, for {age / 86400:.0f} days." in page


def test_the_law_is_the_readmes() -> None:
    """The page about promises has the same equation of the counters as the README."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (law,) = blocks(PAGES["promises"], "text")
    assert law in blocks(readme, "text")


def test_a_backfill_as_shown_delivers_what_was_exported(
    names: dict[str, Any], sandbox: Sandbox
) -> None:
    """The page about history ends with a backfill, which delivers the exported event."""
    for block in blocks(PAGES["history"]):
        run(block, "history.md", names)
    assert [event["event_type"] for event in sandbox.moloco_events] == ["HOME"]


def test_the_mappings_for_newcomers_give_what_they_say(names: dict[str, Any]) -> None:
    """The syncs that replace another connector's select and fill what the page says."""
    for block in blocks(PAGES["coming-from"]):
        run(block, "coming-from.md", names)
    page = BaseEvent("Page Viewed", user_id="u", event_properties={"category": "x", "brand": "y"})
    assert payload_of({"sync": names["pages"], "event": page})["page_id"] == "category:x;brand:y"
    order = BaseEvent(
        "Order Completed",
        user_id="u",
        event_properties={
            "total": 5,
            "currency": "USD",
            "products": [{"product_id": "a", "price": 5, "quantity": 1}],
        },
    )
    payload = payload_of({"sync": names["purchases"], "event": order})
    assert payload["revenue"] == {"currency": "USD", "amount": 5}


def test_the_ready_made_syncs_are_as_the_page_says() -> None:
    """Each event that the page names for a trigger of Segment's has the type beside it."""
    destination = MolocoDestination("any", "ANY", ecommerce_syncs(), platform_name="any")
    for trigger, event_type, names in table_under("coming-from", "From Segment's destination"):
        events = [trigger] if names == "the same" else names.removeprefix("the events ").split(", ")
        for event in events:
            (conversion,) = destination.preview(BaseEvent(event, user_id="u"))
            assert conversion.payload["event_type"] == event_type, event


def test_the_tables_of_metrics_are_complete() -> None:
    """The page lists every metric with its kind and labels, and every alert of the examples."""
    rows = table_under("metrics", "All metrics")
    assert [row[:3] for row in rows] == [
        [code(metric.name.removeprefix("amplitude_moloco_")), metric.kind.name.lower(), labels]
        for metric in METRICS
        for labels in [code(*metric.labels)]
    ]
    alerts = (DOCS.parent / "examples/metrics/alerts.yml").read_text(encoding="utf-8")
    rules = [rule for group in yaml.safe_load(alerts)["groups"] for rule in group["rules"]]
    assert [row[:2] for row in table_under("metrics", "Alerts")] == [
        [code(rule["alert"]), rule["labels"]["severity"]] for rule in rules if "alert" in rule
    ]


def extended(text: str, names: dict[str, Any], sandbox: Sandbox) -> MolocoDestination:
    """The destination that a block of the page about extending makes."""
    (block,) = (block for block in blocks(PAGES["extending"]) if text in block)
    run(directed_to(sandbox, block), "extending.md", names)
    destination: MolocoDestination = names["destination"]
    return destination


def home() -> BaseEvent:
    now_millis = int(time.time() * 1000)
    return BaseEvent("Home Viewed", user_id="u-1", insert_id=str(uuid4()), time=now_millis)


def test_the_buffer_that_is_shown_works(names: dict[str, Any], sandbox: Sandbox) -> None:
    """With the page's buffer, events are delivered, refused, resent and counted as with ours."""
    destination = extended("class SmallBuffer", names, sandbox)
    sandbox.fail_next(400)
    for _ in range(10):
        destination.execute(home())
    destination.flush(TIMEOUT_SECONDS).result()
    stats = destination.stats()
    assert (stats.accepted, stats.delivered, stats.buffered) == (10, 9, 0)
    assert [letter.status for letter in destination.dead_letters()] == [400]
    assert destination.resend() == 1
    destination.flush(TIMEOUT_SECONDS).result()
    assert len({event["id"] for event in sandbox.moloco_events}) == 10
    assert destination.buffer_state() == (0, 0, 0)


def test_what_fails_waits_in_the_buffer_that_is_shown(
    names: dict[str, Any], sandbox: Sandbox
) -> None:
    """An event that MCM could not take stays in the page's buffer, with its age."""
    destination = extended("class SmallBuffer", names, sandbox)
    sandbox.fail_next(503)
    destination.execute(home())
    destination.flush(TIMEOUT_SECONDS).result()
    assert destination.buffer_state().waiting == 1
    status = destination.status()
    assert (status.waiting, status.last_failure_status) == (1, 503)
    assert status.oldest_waiting_seconds is not None


def test_the_transport_that_is_shown_writes_a_file(names: dict[str, Any], sandbox: Sandbox) -> None:
    """The page's transport writes the body of each request as a line."""
    destination = extended("class FileTransport", names, sandbox)
    destination.execute(home())
    destination.flush(TIMEOUT_SECONDS).result()
    assert destination.stats().delivered == 1
    (line,) = Path("requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["event_type"] == "HOME"


def test_the_hook_that_is_shown_keeps_what_would_be_lost(
    names: dict[str, Any], sandbox: Sandbox
) -> None:
    """The page's hook gets the body of an event that could not be sent in time."""
    destination = extended("SimpleQueue", names, sandbox)
    sandbox.fail_next(503)
    destination.execute(home())
    destination.flush(TIMEOUT_SECONDS).result()
    destination.close(0)
    _, body = names["kept"].get(timeout=TIMEOUT_SECONDS)
    assert json.loads(body)["event_type"] == "HOME"


def test_the_road_that_is_shown_prints_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """The page about the measurement partner prints its decision, and its settings work."""
    page = PAGES["mmp-sandbox"]
    names: dict[str, Any] = {}
    road, settings = blocks(page)
    run(road, "mmp-sandbox.md", names)
    assert capsys.readouterr().out == blocks(page, "text")[0]
    run(settings, "mmp-sandbox.md", names)
    assert names["settings"].window("moloco1", "click_device") == (30 * 86400, "link")
    assert names["settings"].partners[0].postbacks.events == {"abc123": "purchase"}


def test_the_reference_has_every_public_name() -> None:
    """The API reference lists each name that can be imported, and no other."""
    listed = re.findall(r"^::: amplitude_moloco\.([\w.]+)$", PAGES["api"], re.MULTILINE)
    modules = {
        "": amplitude_moloco,
        "experimental.adbrix.": adbrix,
        "adjust.": adjust,
        "history.": history,
        "links.": links,
        "sandbox.": sandbox_package,
    }
    public = {f"{path}{name}" for path, module in modules.items() for name in module.__all__}
    public -= {"history.NEVER_SENT"}  # a constant of names
    assert {*listed} - {"metrics.prometheus.register", "metrics.otel.register"} == public
    assert len(listed) == len({*listed})


def test_the_page_about_apps_sends_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destinations of the page about apps send a purchase with its revenue and its products."""
    names: dict[str, Any] = {}
    code, adbrix_code = blocks(PAGES["mobile"])
    run(code.replace("sqlite:///adjust.db", "memory://"), "mobile.md", names)
    properties = {"total": 20, "currency": "USD", "ids": ["76524"], "product_id": "76524"}
    event = BaseEvent("Order Completed", idfv="8c6cbcb539b34d3ca9f51d2f0c1f7d3e", platform="iOS")
    event.time, event.insert_id = int(time.time() * 1000), "order-1"
    event.user_id, event.event_properties = "shopper", properties
    (from_code,) = names["destination"].preview(event)
    names["client"].shutdown()
    shown = {name: from_code.payload.get(name) for name in ("revenue", "event_token")}
    assert shown == {"revenue": "20", "event_token": "buyt0k"}
    assert json.loads(from_code.payload["partner_params"]) == {"item_id": '["76524"]'}
    (settings,) = blocks(PAGES["mobile"], "toml")
    monkeypatch.setenv("ADJUST_TOKEN", "s3cret")
    path = tmp_path / "adjust.toml"
    path.write_text(settings.replace("sqlite:///adjust.db", "memory://"), encoding="utf-8")
    from_file = adjust.AdjustDestination.from_file(path)
    assert from_file.preview(event)[0].body == from_code.body
    from_file.close()
    run(adbrix_code, "mobile.md", names)
    (conversion,) = names["destination"].preview(event)
    attributes = conversion.payload["event_attributes"]
    assert (attributes["event_name"], attributes["order_sales"]) == ("abx:purchase", 20.0)
    assert attributes["items"] == [{"product_id": "76524"}]
    names["destination"].close()


def test_every_page_is_in_the_navigation() -> None:
    """The settings of the site list every page once."""
    settings = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r"(\S+)\.md$", settings, re.MULTILINE)) == sorted(PAGES)
