"""What the README says is so."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from amplitude import BaseEvent, Config
from support.exports import record, write_hour

import amplitude_moloco
from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.sandbox import Sandbox

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PYTHON: list[str] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TIMEOUT_SECONDS = 20.0
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


def block_with(text: str) -> str:
    """The one Python block that contains this text."""
    (block,) = (block for block in PYTHON if text in block)
    return block


def text_after(block: str) -> str:
    """The block of text that follows a block of Python: what it prints."""
    found = re.match(r"```\n```text\n(.*?)```", README.partition(block)[2], re.DOTALL)
    assert found
    text: str = found[1]
    return text


QUICKSTART = block_with('"Order Completed",\n        user_id')
EXPLAIN = block_with("destination.explain(")
PREVIEW = block_with('{"keyword": "shoes"}')
STATUS = block_with("destination.status()")
DEAD_LETTERS = block_with("destination.dead_letters()")
SETTINGS = block_with("shutdown_timeout_seconds=")
HOOK = block_with("def on_fact(")
TESTING = block_with("with Sandbox()")
HISTORY = block_with("read_export(")
TRANSPORT = block_with("class PrintingTransport")
(TOML,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


def directed_to(sandbox: Sandbox, code: str) -> str:
    """The same code, with the addresses of the sandbox."""
    code = code.replace(
        'Amplitude("AMPLITUDE_API_KEY")',
        f'Amplitude("AMPLITUDE_API_KEY", Config(server_url="{sandbox.amplitude_url}"))',
    )
    directed, replaced = re.subn(
        r'platform_name( ?= ?)"Moloco Demo_Test"', rf'base_url\1"{sandbox.url}"', code
    )
    assert replaced == 1
    return directed


def run(code: str, names: dict[str, Any]) -> None:
    """Run a block. What it defines is added to the names."""
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102  # our own README


@pytest.fixture
def names(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """The names that the quick start leaves to the blocks after it; and a ``moloco.toml``."""
    monkeypatch.setenv("MOLOCO_API_KEY", "key")
    monkeypatch.chdir(tmp_path)
    Path("moloco.toml").write_text(directed_to(sandbox, TOML), encoding="utf-8")
    names: dict[str, Any] = {"Config": Config}
    run(directed_to(sandbox, QUICKSTART), names)
    client, destination = names["client"], names["destination"]
    yield names
    destination.close(0)
    client.shutdown()


def deliver(destination: MolocoDestination, *events: BaseEvent) -> None:
    """Hand events to a destination, and wait until each has been tried."""
    for event in events:
        destination.execute(event)
    destination.flush(TIMEOUT_SECONDS).result()


def search() -> BaseEvent:
    return BaseEvent(
        "Products Searched",
        user_id="u-1",
        insert_id="search-1",
        time=1_700_000_000_000,
        event_properties={"query": "shoes"},
    )


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


def test_every_block_of_python_is_run() -> None:
    """This file runs every Python block of the README."""
    run_here = [
        *(QUICKSTART, EXPLAIN, PREVIEW, DEAD_LETTERS, SETTINGS, HOOK, STATUS, TESTING),
        *(HISTORY, TRANSPORT),
    ]
    assert run_here == PYTHON


def test_the_quick_start_delivers_its_purchase(names: dict[str, Any], sandbox: Sandbox) -> None:
    """The first example of the README delivers its event to both Amplitude and MCM."""
    names["destination"].flush(TIMEOUT_SECONDS).result()
    names["client"].shutdown()
    (purchase,) = sandbox.moloco_events
    assert purchase["event_type"] == "PURCHASE"
    assert purchase["revenue"] == {"currency": "USD", "amount": 30.5}
    assert purchase["items"] == [
        {"id": "a", "price": {"currency": "USD", "amount": 30.5}, "quantity": 1}
    ]
    assert [event["event_type"] for event in sandbox.amplitude_events] == ["Order Completed"]


def test_a_preview_prints_what_the_readme_shows(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The README shows what ``preview`` prints, shortened only where it has an ellipsis."""
    run(PREVIEW, names)
    shown = re.escape(text_after(PREVIEW)).replace("…", ".*")
    assert re.fullmatch(shown, capsys.readouterr().out)


def test_an_explanation_prints_what_the_readme_shows(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The README shows what ``explain`` prints."""
    run(EXPLAIN, names)
    assert capsys.readouterr().out == text_after(EXPLAIN)


def test_the_health_check_speaks_up_when_mcm_fails(
    names: dict[str, Any], sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's health check prints nothing while all is well, and the cause once it is not."""
    destination = names["destination"]
    destination.flush(TIMEOUT_SECONDS).result()
    run(STATUS, names)
    assert capsys.readouterr().out == ""
    sandbox.fail_next(401)
    deliver(destination, search())
    run(STATUS, names)
    printed = capsys.readouterr().out
    assert printed.startswith("MCM: ")
    assert printed.endswith("; 1 events wait\n")


def test_dead_letters_are_listed_and_resent(
    names: dict[str, Any], sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's example lists a dead letter, and ``resend()`` delivers it with the same id."""
    destination = names["destination"]
    destination.flush(TIMEOUT_SECONDS).result()
    sandbox.fail_next(400)
    deliver(destination, search())
    run(DEAD_LETTERS, names)
    assert capsys.readouterr().out.startswith("search-1 rejected 400 ")
    assert destination.resend() == 1
    destination.flush(TIMEOUT_SECONDS).result()
    assert [event["id"] for event in sandbox.moloco_events if event["event_type"] == "SEARCH"] == [
        "search-1"
    ]


def test_resend_takes_ids(names: dict[str, Any], sandbox: Sandbox) -> None:
    """The README's call of ``resend`` sends the dead letters with these ids again."""
    destination = names["destination"]
    destination.flush(TIMEOUT_SECONDS).result()
    sandbox.fail_next(400, times=3)
    events = [search() for _ in range(3)]
    for number, event in enumerate(events, start=1):
        event.insert_id = f"id-{number}"
    deliver(destination, *events)
    run(DEAD_LETTERS, names)
    destination.flush(TIMEOUT_SECONDS).result()
    assert [letter.id for letter in destination.dead_letters()] == ["id-3"]


def test_the_settings_are_the_constructors() -> None:
    """The README lists every setting, and the default of each that has one."""
    statement = ast.parse(SETTINGS).body[-1]
    assert isinstance(statement, ast.Assign)
    assert isinstance(statement.value, ast.Call)
    shown = {keyword.arg: keyword.value for keyword in statement.value.keywords}
    parameters = inspect.signature(MolocoDestination).parameters
    assert shown.keys() == parameters.keys()
    examples = {"platform_id", "platform_name", "syncs"}
    policies = {"retry", "breaker"}  # None stands for them
    for name in parameters.keys() - examples - policies:
        assert ast.literal_eval(shown[name]) == parameters[name].default, name
    for name in policies:
        assert parameters[name].default is None


def test_the_settings_lead_to_molocos_host(names: dict[str, Any]) -> None:
    """The README's settings construct a destination, and its platform's name gives the host."""
    run(SETTINGS, names)
    assert "https://moloco-demo-test-evt.mcm-api.moloco.com/" in repr(names["destination"])


def test_the_settings_file_loads(names: dict[str, Any], tmp_path: Path) -> None:
    """The README's TOML is a complete settings file."""
    file = tmp_path / "as-shown.toml"
    file.write_text(TOML, encoding="utf-8")
    assert tomllib.loads(TOML)["platform_name"] == "Moloco Demo_Test"
    (conversion,) = MolocoDestination.from_file(file).preview(search())
    assert conversion.problems == ()
    assert conversion.payload["search_query"] == "shoes"


def test_a_hook_receives_what_is_dropped(names: dict[str, Any], sandbox: Sandbox) -> None:
    """The README's hook receives the id and the body of an event that could not be sent."""
    spooled: list[tuple[str, bytes]] = []
    names["destination"].flush(TIMEOUT_SECONDS).result()
    names["spool"] = lambda id, body: spooled.append((id, body))
    run(HOOK, names)
    destination = names["destination"]
    sandbox.fail_next(503)
    (conversion,) = destination.preview(search())
    deliver(destination, search())
    destination.close(0)
    assert spooled == [("search-1", conversion.body)]


def test_the_counters_add_up_as_the_readme_says(names: dict[str, Any], sandbox: Sandbox) -> None:
    """The equation in the README holds for events that end in different ways."""
    (law,) = re.findall(r"```text\n(accepted \+ .* = .*)\n```", README)
    destination = names["destination"]
    destination.flush(TIMEOUT_SECONDS).result()
    sandbox.fail_next(400)
    deliver(destination, search(), BaseEvent("Products Searched", user_id="u-1"))
    stats = destination.stats()
    left, right = (
        [getattr(stats, name) for name in side.split(" + ")] for side in law.split(" = ")
    )
    assert sum(left) == 3
    assert sum(sum(each.values()) if hasattr(each, "values") else each for each in right) == 3


def test_the_example_for_tests_passes(names: dict[str, Any]) -> None:
    """The README's example of a test with the sandbox passes."""
    run(TESTING, names)


def test_an_export_is_previewed(
    names: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's example prints what can't be sent of an export, with its place, and the rest."""
    file = write_hour(
        tmp_path / "exports",
        "2026-01-31_9",
        [
            record(event_type=name, library=library, event_time=time, user_id="u")
            for name, library, time in (
                ("Products Searched", "amplitude-python/1.3.0", "2026-01-31 23:00:00"),
                ("Products Searched", "amplitude-python/1.3.0", "2026-02-01 00:00:00"),
                ("Products Searched", "amplitude-ts/2.11.1", "2026-01-31 23:00:00"),
                ("$identify", "amplitude-python/1.3.0", "2026-01-31 23:00:00"),
            )
        ],
    )
    run(HISTORY, names)
    printed = capsys.readouterr().out
    assert printed.startswith(f"exports/{file.name}: line 1 SEARCH can't be sent:\n")
    assert printed.endswith("\n{'time': 1, 'library': 1, 'never_sent': 1}\n")


def test_a_transport_is_a_class_with_two_methods(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's transport prints the request of an event, which then counts as delivered."""
    run(TRANSPORT, names)
    destination = names["destination"]
    (conversion,) = destination.preview(search())
    deliver(destination, search())
    assert capsys.readouterr().out == conversion.body.decode() + "\n"
    assert destination.stats().delivered == 1
    destination.close(0)


def test_the_extension_points_are_public() -> None:
    """Every name that the README offers to implement or extend is importable from the package."""
    section = README.partition("## Extending it\n")[2].partition("```python")[0]
    offered = set(re.findall(r"`([A-Z]\w+|open_buffer)`", section))
    assert offered == {
        *("Buffer", "BufferState", "Claim", "ConcurrentTransport", "DeadLetter"),
        *("DeadLetterReason", "DeadLetters", "DropReason", "Endpoint", "Entry", "Hook"),
        *("PauseReason", "RequestLoop", "SendResult", "Transport", "open_buffer"),
    }
    assert offered <= set(amplitude_moloco.__all__)


def test_every_fact_is_explained() -> None:
    """The README names every fact that a hook may receive, and why events are lost or kept."""
    section = README.partition("## What happened\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    assert {fact.__name__ for fact in get_args(amplitude_moloco.Fact)} <= named
    for reasons in (amplitude_moloco.DropReason, amplitude_moloco.DeadLetterReason):
        assert {reason.value for reason in reasons} <= named
