"""Settings as plain data: a dict, a JSON file, a TOML file."""

from __future__ import annotations

import copy
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from amplitude import BaseEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from amplitude_moloco import (
    BreakerPolicy,
    ConfigurationError,
    MolocoDestination,
    MolocoSettings,
    RetrySchedule,
    Sync,
    ecommerce_syncs,
    hash_identifier,
)
from amplitude_moloco.files import loading
from amplitude_moloco.files.loading import keys_in
from amplitude_moloco.files.reading import read_file
from amplitude_moloco.moloco import file

NOW = 1_700_000_000_000
SYNC: dict[str, Any] = {"event_type": "HOME", "events": ["Viewed"]}
SYNCS_ADVICE = "use a list of syncs (in TOML, [[syncs]]), or 'ecommerce' for the ready ones"
SETTINGS: dict[str, Any] = {
    "api_key": "key",
    "platform_id": "MY_SHOP",
    "platform_name": "my-shop",
    "syncs": [SYNC],
}
# Every setting that a file can hold.
EVERYTHING: dict[str, Any] = {
    "api_key": "key",
    "platform_id": "MY_SHOP",
    "base_url": "http://sandbox:8765",
    "allow_plain_http": "sandbox",
    "channel_type": "site",
    "default_currency": "USD",
    "include_user_properties": ["tier"],
    "hash_identifiers": True,
    "absent_identifiers": ["kiosk"],
    "id_less_fields": ["ip_address"],
    "library_as_user_agent": False,
    "buffer": "memory://?max_events=10",
    "deliver": True,
    "flush_queue_size": 4,
    "flush_interval_millis": 50,
    "connections": 2,
    "timeout_seconds": 2.5,
    "ca_bundle": "/etc/ca.pem",
    "transport": "curl",
    "inspector": "127.0.0.1:0",
    "shutdown_timeout_seconds": 1,
    "flush_timeout_seconds": 2,
    "max_requests_per_second": 30,
    "retry": {
        "delays_seconds": [6, 7.5],
        "then_seconds": 100,
        "max_attempts": 3,
        "max_age_seconds": 1000,
        "jitter": 0,
    },
    "breaker": {"failures": 6, "probe_delays_seconds": [5], "then_seconds": 60},
    "syncs": [
        {
            "event_type": "purchase",
            "events": ["Order Completed", "Order *"],
            "name": "Orders",
            "where": "event_properties.total > `10`",
            "mapping": {"items": "event_properties.products[].{id: sku}"},
            "channel_type": "APP",
            "enabled": False,
        },
        SYNC,
    ],
}


def refusal(settings: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination.from_dict(settings)
    assert str(caught.value).splitlines() == list(caught.value.errors)
    return "; ".join(caught.value.errors)


def errors_of(settings: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination.from_dict(settings)
    return caught.value.errors


def event(**more: Any) -> BaseEvent:
    return BaseEvent("Viewed", user_id="me", time=NOW, insert_id="1", platform="Web", **more)


def sent(destination: MolocoDestination) -> Any:
    (conversion,) = destination.preview(event(user_properties={"tier": "gold", "age": 5}))
    assert conversion.problems == ()
    return conversion.payload


def arguments_of(settings: dict[str, Any]) -> dict[str, Any]:
    return loading.arguments_of(MolocoSettings, settings, {}, file.SHAPE)


def parameters(of: Any) -> set[str]:
    return set(inspect.signature(of).parameters)


def test_a_file_has_the_names_of_the_constructors() -> None:
    """A file has each argument of the constructors, except hooks, which plain data can't hold."""
    keys = keys_in(MolocoSettings, file.SHAPE)
    assert set(keys[""]) == parameters(MolocoDestination) - {"hooks"}
    assert set(keys["syncs"]) == parameters(Sync)
    assert set(keys["retry"]) == parameters(RetrySchedule)
    assert set(keys["breaker"]) == parameters(BreakerPolicy)


def test_everything_is_tried_here() -> None:
    """The settings that these tests call everything name every key that a file can have."""
    assert {*EVERYTHING, "platform_name"} == parameters(MolocoDestination) - {"hooks"}
    assert set(EVERYTHING["syncs"][0]) == parameters(Sync)
    assert set(EVERYTHING["retry"]) == parameters(RetrySchedule)
    assert set(EVERYTHING["breaker"]) == parameters(BreakerPolicy)


def test_a_dict_equals_the_constructor() -> None:
    """A dict makes the same destination as the constructor's arguments."""
    from_dict = MolocoDestination.from_dict(
        {**SETTINGS, "hash_identifiers": True, "include_user_properties": ["tier"]}
    )
    constructed = MolocoDestination(
        api_key="key",
        platform_id="MY_SHOP",
        platform_name="my-shop",
        syncs=[Sync("HOME", ["Viewed"])],
        hash_identifiers=True,
        include_user_properties=["tier"],
    )
    assert repr(from_dict) == repr(constructed)
    assert sent(from_dict) == sent(constructed)
    assert sent(from_dict)["user_id"] == hash_identifier("me")
    assert sent(from_dict)["user_properties"] == {"tier": "gold"}


def test_every_setting_reaches_the_constructor() -> None:
    """Each setting reaches the constructor in the form it takes, and the dict is not changed."""
    before = copy.deepcopy(EVERYTHING)
    arguments = arguments_of(EVERYTHING)
    assert before == EVERYTHING
    assert arguments["retry"] == RetrySchedule((6, 7.5), 100, 3, 1000, 0)
    assert arguments["breaker"] == BreakerPolicy(6, (5,), 60)
    orders, home = arguments["syncs"]
    assert (orders.event_type.value, orders.name, orders.enabled) == ("PURCHASE", "Orders", False)
    assert orders.channel_type.value == "APP"
    assert orders.mapping == EVERYTHING["syncs"][0]["mapping"]
    assert [orders.matches_name(name) for name in ("Order Paid", "Refund")] == [True, False]
    assert (home.event_type.value, home.name, home.enabled) == ("HOME", "HOME", True)
    plain = arguments.keys() - {"retry", "breaker", "syncs"}
    assert {name: arguments[name] for name in plain} == {
        name: EVERYTHING[name] for name in EVERYTHING.keys() - {"retry", "breaker", "syncs"}
    }


def test_a_missing_key_has_its_default() -> None:
    """Missing keys keep the constructors' defaults, also within retry and breaker."""
    arguments = arguments_of({**SETTINGS, "retry": {"jitter": 0.5}, "breaker": {}})
    assert arguments.keys() == SETTINGS.keys() | {"retry", "breaker"}
    assert arguments["retry"] == RetrySchedule(jitter=0.5)
    assert arguments["breaker"] == BreakerPolicy()


def test_null_means_that_no_event_expires() -> None:
    """In JSON, null for max_age_seconds means that no event expires."""
    arguments = arguments_of({**SETTINGS, "retry": {"max_age_seconds": None}})
    assert arguments["retry"].max_age_seconds is None


@pytest.mark.parametrize("setting", [True, False, {"salt": "pepper"}], ids=str)
def test_hashing_can_be_set(setting: Any) -> None:
    """hash_identifiers is on, off, or on with a salt, and loading it gives no warning."""
    destination = MolocoDestination.from_dict({**SETTINGS, "hash_identifiers": setting})
    salt = "pepper" if isinstance(setting, dict) else ""
    assert sent(destination)["user_id"] == (hash_identifier("me", salt) if setting else "me")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(True, {"tier": "gold", "age": 5}), (False, None), (["age"], {"age": 5}), ([], None)],
    ids=str,
)
def test_user_properties_can_be_set(setting: Any, expected: dict[str, Any] | None) -> None:
    """include_user_properties is all, none, or a list of names, and loading it gives no warning."""
    destination = MolocoDestination.from_dict({**SETTINGS, "include_user_properties": setting})
    assert sent(destination).get("user_properties") == expected


def test_one_event_name_needs_no_list() -> None:
    """One event name stands for a list of one, as in Python."""
    (sync,) = arguments_of({**SETTINGS, "syncs": [{**SYNC, "events": "Viewed"}]})["syncs"]
    assert [sync.matches_name(name) for name in ("Viewed", "View", "V")] == [True, False, False]


def test_other_arguments_are_given_beside_the_file(tmp_path: Path) -> None:
    """Arguments that plain data can't hold, and the key, can be given beside the file."""
    path = tmp_path / "moloco.json"
    path.write_text(json.dumps({name: SETTINGS[name] for name in SETTINGS if name != "api_key"}))
    facts: list[object] = []
    destination = MolocoDestination.from_file(path, api_key="key", hooks=[facts.append])
    assert sent(destination)["id"] == "1"


TOML = """
api_key = "key"
platform_id = "MY_SHOP"
platform_name = "my-shop"
include_user_properties = ["tier"]
hash_identifiers = true

[retry]
delays_seconds = [5, 10.0]

[[syncs]]
event_type = "HOME"
events = ["Viewed"]
where = "platform == 'Web'"

[syncs.mapping]
search_query = 'event_properties."Search Term"'
"""


@pytest.mark.parametrize("as_text", [True, False], ids=["str", "Path"])
def test_json_and_toml_are_equal(tmp_path: Path, as_text: bool) -> None:
    """The same settings in a JSON and in a TOML file make the same destination."""
    toml, as_json = tmp_path / "moloco.toml", tmp_path / "moloco.json"
    toml.write_text(TOML, encoding="utf-8")
    as_json.write_text(json.dumps(read_file(toml)), encoding="utf-8")
    assert read_file(as_json) == read_file(toml)
    for path in (toml, as_json):
        destination = MolocoDestination.from_file(str(path) if as_text else path)
        (conversion,) = destination.preview(event(event_properties={"Search Term": "kettle"}))
        assert conversion.payload["search_query"] == "kettle"
        assert conversion.payload["user_id"] == hash_identifier("me")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": 1}, "colour: no such setting"),
        ({"api_key": 7}, "api_key: found a whole number; use text"),
        (
            {"platform_id": None},
            "platform_id: found null; give a value, or leave it out for the default",
        ),
        ({"platform_name": ["a"]}, "platform_name: found a list; use text"),
        ({"connections": 1.5}, "connections: found a number; use a whole number"),
        ({"connections": True}, "connections: found true or false; use a whole number"),
        (
            {"flush_queue_size": "4"},
            "flush_queue_size: found text; use a whole number, without quotes",
        ),
        ({"timeout_seconds": True}, "timeout_seconds: found true or false; use a number"),
        ({"timeout_seconds": "soon"}, "timeout_seconds: found text; use a number, without quotes"),
        (
            {"syncs": SYNC},
            f"syncs: found a table; {SYNCS_ADVICE}",
        ),
        ({"syncs": [SYNC, 5]}, "syncs[1]: found a whole number; use a table"),
        (
            {"syncs": [{}]},
            (
                "syncs[0].event_type: found nothing; this setting is required; "
                "syncs[0].events: found nothing; this setting is required"
            ),
        ),
        (
            {"syncs": [SYNC, {**SYNC, "mappings": {}}]},
            "syncs[1].mappings: no such setting; did you mean 'mapping'?",
        ),
        (
            {"syncs": [{**SYNC, "events": 5}]},
            "syncs[0].events: found a whole number; use a name or a list of names",
        ),
        (
            {"syncs": [{**SYNC, "events": ["Viewed", 5]}]},
            "syncs[0].events[1]: found a whole number; use text",
        ),
        (
            {"syncs": [{**SYNC, "enabled": "yes"}]},
            "syncs[0].enabled: found text; use true or false, without quotes",
        ),
        (
            {"syncs": [{**SYNC, "enabled": 1}]},
            "syncs[0].enabled: found a whole number; use true or false",
        ),
        (
            {"syncs": [{**SYNC, "mapping": {"items": 5}}]},
            "syncs[0].mapping.items: found a whole number; use text",
        ),
        (
            {"syncs": [{**SYNC, "mapping": {"value": 5}}]},
            "syncs[0].mapping.value: found a whole number; use text",
        ),
        (
            {"syncs": [{**SYNC, "mapping": ["items"]}]},
            "syncs[0].mapping: found a list; use a table",
        ),
        ({"retry": 5}, "retry: found a whole number; use a table"),
        ({"platform": "a"}, "platform: no such setting; did you mean 'platform_id'?"),
        ({"platform.name": 5}, "platform.name: no such setting"),
        (
            {"retry": {"attempts": 5}},
            "retry.attempts: no such setting; did you mean 'max_attempts'?",
        ),
        ({"retry": {"random": 5}}, "retry.random: no such setting"),
        (
            {"retry": {"delays_seconds": 5}},
            "retry.delays_seconds: found a whole number; use a list",
        ),
        (
            {"retry": {"delays_seconds": [5, "x"]}},
            "retry.delays_seconds[1]: found text; use a number, without quotes",
        ),
        (
            {"retry": {"max_attempts": True}},
            "retry.max_attempts: found true or false; use a whole number",
        ),
        (
            {"breaker": {"failures": "5"}},
            "breaker.failures: found text; use a whole number, without quotes",
        ),
        (
            {"breaker": {"failure": 5}},
            "breaker.failure: no such setting; did you mean 'failures'?",
        ),
        (
            {"timeout_seconds": None},
            "timeout_seconds: found null; give a value, or leave it out for the default",
        ),
        ({"retry": None}, "retry: found null; give a value, or leave it out for the default"),
        (
            {"retry": {"max_attempts": None}},
            "retry.max_attempts: found null; give a value, or leave it out for the default",
        ),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, dict) else "",
)
def test_a_key_or_type_that_is_wrong_is_refused_with_its_path(
    settings: dict[str, Any], message: str
) -> None:
    """An unknown key or a wrong type is refused with its path and what was found there."""
    assert refusal({**SETTINGS, **settings}) == message


@pytest.mark.parametrize(
    "settings",
    [
        {"retry": {"delays_seconds": ["5"]}},
        {"retry": {"then_seconds": "900"}},
        {"retry": {"max_age_seconds": "5"}},
        {"retry": {"jitter": "0.1"}},
        {"breaker": {"then_seconds": "60"}},
        {"breaker": {"probe_delays_seconds": ["5"]}},
        {"timeout_seconds": "10"},
        {"max_requests_per_second": "10"},
    ],
    ids=str,
)
def test_a_number_in_quotes_is_not_a_number(settings: dict[str, Any]) -> None:
    """A number in quotes is refused like any other text, with its place."""
    (place,) = settings
    assert refusal({**SETTINGS, **settings}).startswith(place)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN"])
@pytest.mark.parametrize(
    "setting",
    [
        "timeout_seconds",
        "shutdown_timeout_seconds",
        "max_requests_per_second",
        "retry.then_seconds",
        "retry.max_age_seconds",
        "retry.jitter",
        "breaker.then_seconds",
    ],
)
def test_infinity_and_nan_are_refused(setting: str, number: str) -> None:
    """Infinity and NaN, which the parsers of JSON and TOML accept, are refused with their place."""
    name, _, inner = setting.partition(".")
    value = json.loads(f'{{"{inner}": {number}}}' if inner else number)
    assert refusal({**SETTINGS, name: value}).startswith(name)


@pytest.mark.parametrize("key", ["platform_id", "syncs"])
def test_a_missing_setting_is_named(key: str) -> None:
    """A required setting that is missing is named in the error."""
    settings = {name: value for name, value in SETTINGS.items() if name != key}
    assert refusal(settings) == f"{key}: found nothing; this setting is required"


def test_one_error_names_all_wrong_settings() -> None:
    """One error names everything that is wrong with the settings."""
    message = refusal(
        {"colour": 1, "syncs": [{"event_type": 5, "events": ["a"]}], "connections": "x"}
    )
    assert message == (
        "colour: no such setting; "
        "connections: found text; use a whole number, without quotes; "
        "platform_id: found nothing; this setting is required; "
        "syncs[0].event_type: found a whole number; use text"
    )


def test_one_error_names_wrong_keys_types_and_values() -> None:
    """Unknown keys, wrong types and values that can't work are all named in one error."""
    message = refusal(
        {
            **SETTINGS,
            "colour": 1,
            "connections": 0,
            "default_currency": "XXX",
            "platform_name": "my.shop",
            "buffer": "disk://",
            "retry": {"then_seconds": 0},
            "breaker": {"failures": "5"},
            "syncs": [
                {**SYNC, "event_type": "BUY"},
                {**SYNC, "enabled": 1},
                SYNC,
                {**SYNC, "mapping": {"item": "a"}},
            ],
        }
    )
    for place in (
        "breaker.failures: found text",
        "buffer: 'disk://' does not name",
        "colour: no such setting",
        "connections: found 0",
        "default_currency: 'XXX'",
        "platform_name: 'my.shop'",
        "retry: every delay",
        "syncs[0].event_type: 'BUY'",
        "syncs[1].enabled: found a whole number",
        "syncs[3].mapping.item: 'item' is not a Moloco field",
    ):
        assert place in message
    assert "syncs[2]" not in message


def test_what_an_address_lacks_is_named_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key and a name that are missing are named together with everything else."""
    monkeypatch.delenv("MOLOCO_API_KEY", raising=False)
    message = refusal({"platform_id": "SHOP", "syncs": [SYNC], "connections": 0, "timeout": 1})
    places = [text.partition(":")[0] for text in message.split("; ") if ": " in text]
    assert places == ["api_key", "connections", "platform_name", "timeout"]


def test_a_wrong_address_is_not_called_missing() -> None:
    """A base URL of a wrong type is named once, and not as a name that is missing."""
    settings = {name: SETTINGS[name] for name in SETTINGS if name != "platform_name"}
    assert refusal({**settings, "base_url": 5}) == "base_url: found a whole number; use text"


def test_what_is_given_beside_the_file_goes_first(tmp_path: Path) -> None:
    """Required settings may be given beside the file, and replace those of the file."""
    path = tmp_path / "moloco.json"
    path.write_text(json.dumps({"platform_name": "my-shop", "connections": 3}))
    destination = MolocoDestination.from_file(
        path, api_key="key", platform_id="MY_SHOP", syncs=Sync("HOME", "Viewed"), connections=4
    )
    assert sent(destination)["id"] == "1"
    given = {**SETTINGS, "connections": 3}
    settings = loading.arguments_of(MolocoSettings, given, {"connections": 4}, file.SHAPE)
    assert settings["connections"] == 4


def test_a_file_in_utf_16_is_explained(tmp_path: Path) -> None:
    """A file as PowerShell writes it is refused with the encoding to use."""
    path = tmp_path / "moloco.toml"
    path.write_text(TOML, encoding="utf-16")
    with pytest.raises(ConfigurationError, match=r"not valid TOML \(.*; save the file as UTF-8\)$"):
        read_file(path)


def test_an_error_of_opening_names_the_file(tmp_path: Path) -> None:
    """What is found only when buffer and transport are opened is named after the file, too."""
    path = tmp_path / "moloco.json"
    path.write_text(json.dumps({**SETTINGS, "ca_bundle": str(tmp_path / "missing.pem")}))
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination.from_file(path)
    assert str(caught.value).startswith(f"{path}: ca_bundle: ")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("buffer", "sqlite:///$(DATA)/x.db"),
        ("channel_type", "%CHANNEL%"),
        ("hash_identifiers", {"salt": "$SALT"}),
        ("platform_name", "<your platform>"),
    ],
)
def test_a_placeholder_in_a_file_is_refused(setting: str, value: Any) -> None:
    """A placeholder that is none of an environment variable is refused."""
    assert refusal({**SETTINGS, setting: value}) == (
        f"{setting}: looks like a placeholder that was not replaced by its value; use the value"
    )


def test_a_variable_in_a_text_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """${NAME} stands for an environment variable, anywhere in the settings, whatever it holds."""
    monkeypatch.setenv("SHOP", "My shop")
    monkeypatch.setenv("EVENT", "Viewed ${SHOP}")
    settings = {
        **SETTINGS,
        "platform_id": "${SHOP}-2",
        "include_user_properties": ["$SHOP", "${SHOP}"],
        "syncs": [{**SYNC, "events": ["a ${EVENT}"]}],
    }
    arguments = arguments_of(settings)
    assert arguments["platform_id"] == "My shop-2"
    assert [*arguments["include_user_properties"]] == ["$SHOP", "My shop"]
    assert arguments["syncs"][0].names == ("a Viewed ${SHOP}",)


def test_variables_that_are_not_set_are_named_with_all_other_mistakes() -> None:
    """Each one has its place, and does not hide what else is wrong."""
    settings = {
        **SETTINGS,
        "platform_id": "${NOT_SET}",
        "conections": 1,
        "syncs": [{**SYNC, "mapping": {"page_id": "${NOT_SET_EITHER}"}}],
    }
    variable = "the environment variable {} is not set; set it, or use a value"
    assert {
        f"platform_id: {variable.format('NOT_SET')}",
        "conections: no such setting; did you mean 'connections'?",
        f"syncs[0].mapping.page_id: {variable.format('NOT_SET_EITHER')}",
    } <= {*errors_of(settings)}


def test_what_is_nested_too_deeply_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are replaced as deep as settings go, and refused settings cost no stack."""
    monkeypatch.setenv("SHOP", "My shop")
    deep: Any = "${SHOP} ${NOT_SET}"
    for _ in range(50):
        deep = [{"a": deep}]
    assert errors_of({**SETTINGS, "channel_type": deep})[0].startswith("channel_type: ")


def test_the_ready_syncs_have_a_name() -> None:
    """The text "ecommerce" stands for the ready-made syncs; syncs beside the file replace it."""
    settings = {**SETTINGS, "syncs": "ecommerce"}
    ready = MolocoSettings.from_dict(settings).converter().syncs
    assert [repr(sync) for sync in ready] == [repr(sync) for sync in ecommerce_syncs()]
    own = Sync("HOME", "Viewed")
    assert MolocoSettings.from_dict(settings, syncs=own).syncs is own
    assert refusal({**SETTINGS, "syncs": "Ecommerce"}) == (f"syncs: found text; {SYNCS_ADVICE}")


AT_THE_TOP = "it belongs to the destination: in TOML, write it above the first [section]"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("connections = 4", f"syncs[0].connections: no such setting; {AT_THE_TOP}"),
        ("buffer = 'memory://'", f"syncs[0].buffer: no such setting; {AT_THE_TOP}"),
        ("[retry]\nconnections = 4", f"retry.connections: no such setting; {AT_THE_TOP}"),
        (
            "[breaker]\nmax_attempts = 4",
            "breaker.max_attempts: no such setting; it belongs to retry: in TOML",
        ),
        (
            "[syncs.mapping]\nconnections = 4",
            f"syncs[0].mapping.connections: a setting, not a Moloco field; {AT_THE_TOP}",
        ),
        (
            "[syncs.mapping]\ntransport = 'curl'",
            f"syncs[0].mapping.transport: a setting, not a Moloco field; {AT_THE_TOP}",
        ),
        (
            "[syncs.mapping]\nwhere = 'a'",
            "syncs[0].mapping.where: a setting, not a Moloco field; it belongs to a sync: in TOML",
        ),
    ],
)
def test_a_setting_in_the_wrong_section_is_explained(
    tmp_path: Path, lines: str, message: str
) -> None:
    """A setting that landed in a section of TOML is refused with the place where it belongs."""
    path = tmp_path / "moloco.toml"
    path.write_text(
        "platform_id = 'A'\nplatform_name = 'a'\n[[syncs]]\nevent_type = 'HOME'\nevents = 'a'\n"
        + lines
    )
    with pytest.raises(ConfigurationError) as refused:
        MolocoDestination.from_file(path, api_key="key")
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hooks": []}, "hooks: no such setting; no file can hold hooks; use from_file("),
        ({"events": "a"}, "events: no such setting; it belongs to a sync"),
        ({"jitter": 0}, "jitter: no such setting; it belongs to retry"),
        (
            {"TIMEOUT_SECONDS": 5},
            "TIMEOUT_SECONDS: no such setting; did you mean 'timeout_seconds'",
        ),
        ({"platformName": "a"}, "platformName: no such setting; did you mean 'platform_name'?"),
        ({"flush-queue-size": 5}, "flush-queue-size: no such setting; did you mean 'flush_queue_"),
    ],
)
def test_an_unknown_key_is_explained(settings: dict[str, Any], message: str) -> None:
    """An unknown key is refused with the key that is meant, or the place where it belongs."""
    assert refusal({**SETTINGS, **settings}).startswith(message)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('{"a": 1, "a": 1}', "'a'"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "'b'"),
        ('{"a": [{"b": 1, "b": 3}], "a": 5}', "'b', 'a'"),
        ('{"a\\n": 1, "a\\u000a": 1}', "'a\\n'"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(tmp_path: Path, text: str, keys: str) -> None:
    """In JSON as in TOML, no key may be given twice, at any depth."""
    path = tmp_path / "moloco.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        read_file(path)
    assert str(refused.value) == f"{path}: not valid JSON (given twice: {keys}; keep one of each)"


def test_a_name_with_line_ends_stays_on_one_line(tmp_path: Path) -> None:
    """The name of a file, and a key in it, can't add lines to an error."""
    path = tmp_path / "a\nb.json"
    path.write_text(json.dumps({**SETTINGS, "c\nd": 1}))
    with pytest.raises(ConfigurationError) as refused:
        MolocoDestination.from_file(path)
    assert str(refused.value).endswith("a\\nb.json: c\\nd: no such setting")


PLACES = [
    (name, *inner)
    for name, value in EVERYTHING.items()
    for inner in [(), *((key,) for key in (value if isinstance(value, dict) else {}))]
] + [("syncs", 0), *(("syncs", 0, key) for key in EVERYTHING["syncs"][0])]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(changes=st.dictionaries(st.sampled_from(PLACES), JSON, min_size=1, max_size=4))
def test_any_settings_are_taken_or_refused(changes: dict[Any, Any]) -> None:
    """Whatever a setting holds, it is taken or refused with its place, on one line."""
    changed = copy.deepcopy({**EVERYTHING, "api_key": "s3cret-key"})
    for place, value in sorted(changes.items(), key=lambda change: len(change[0])):
        holder: Any = changed
        try:
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue
    said = ""
    try:
        arguments_of(changed)
    except ConfigurationError as error:
        said = "; ".join(error.errors)
    assert said.isprintable()
    assert "s3cret" not in said
    assert not said or any(str(place[0]) in said for place in changes)


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({"syncs": []}, "syncs: without a Sync nothing would be sent"),
        (
            {"syncs": [SYNC, {**SYNC, "event_type": "BUY"}]},
            "syncs[1].event_type: 'BUY' is not one of MCM's event types; use one of HOME",
        ),
        (
            {"syncs": [{**SYNC, "where": "a b"}]},
            "syncs[0].where: 'a b' is not a JMESPath expression",
        ),
        (
            {"syncs": [{**SYNC, "mapping": {"item": "a"}}]},
            "syncs[0].mapping.item: 'item' is not a Moloco field; did you mean 'items'?",
        ),
        (
            {"syncs": [{**SYNC, "mapping": {"items": "a["}}]},
            "syncs[0].mapping.items: 'a[' is not a JMESPath expression",
        ),
        ({"syncs": [{**SYNC, "events": []}]}, "syncs[0].events: found []; use names"),
        ({"syncs": [{**SYNC, "channel_type": "TV"}]}, "syncs[0].channel_type: 'TV' is not one of"),
        (
            {"channel_type": "TV"},
            "channel_type: 'TV' is not one of MCM's channel types; use one of APP",
        ),
        (
            {"default_currency": "XXX"},
            "default_currency: 'XXX' is not one of MCM's currencies; use one of AED",
        ),
        ({"hash_identifiers": "md5"}, "hash_identifiers: use True, or"),
        ({"hash_identifiers": {"salt": 5}}, "hash_identifiers: use True, or"),
        ({"hash_identifiers": {"salt": ""}}, "hash_identifiers: use True, or"),
        ({"hash_identifiers": {"salt": "a", "pepper": "b"}}, "hash_identifiers: use True, or"),
        (
            {"include_user_properties": "tier"},
            "include_user_properties: use True, False, or a list",
        ),
        ({"include_user_properties": [5]}, "include_user_properties: use True, False, or a list"),
        ({"include_user_properties": 5}, "include_user_properties: "),
        ({"include_user_properties": {"tier": 1}}, "include_user_properties: "),
        ({"retry": {"then_seconds": 0}}, "retry: every delay must be "),
        ({"retry": {"delays_seconds": [5, 0]}}, "retry: every delay must be "),
        ({"retry": {"max_attempts": 0}}, "retry: max_attempts must be at least 1"),
        ({"retry": {"jitter": -0.1}}, "retry: max_attempts must be at least 1"),
        ({"retry": {"max_age_seconds": -1}}, "retry: "),
        ({"breaker": {"failures": 0}}, "breaker: failures must be at least 1"),
        ({"connections": 0}, "connections: found 0; use a whole number above 0"),
        ({"flush_queue_size": -1}, "flush_queue_size: found -1"),
        ({"flush_interval_millis": 0}, "flush_interval_millis: found 0"),
        ({"timeout_seconds": 0}, "timeout_seconds: found 0"),
        ({"shutdown_timeout_seconds": -0.5}, "shutdown_timeout_seconds: found -0.5"),
        ({"max_requests_per_second": 0}, "max_requests_per_second: "),
        ({"buffer": "disk://"}, "buffer: 'disk://' does not name a buffer"),
        ({"api_key": ""}, "api_key: empty"),
        ({"base_url": "http://mcm.example"}, "base_url: plain http to mcm.example"),
        ({"base_url": "https://mcm.example"}, "platform_name: given beside base_url"),
    ],
    ids=lambda value: str(value)[:70] if isinstance(value, dict) else "",
)
def test_a_value_that_cannot_work_is_refused_with_its_path(
    settings: dict[str, Any], start: str
) -> None:
    """A value of the right type that can't work is refused with its path and what to use."""
    assert refusal({**SETTINGS, **settings}).startswith(start)


def test_no_refusal_holds_the_key() -> None:
    """Whatever is wrong with the settings, the error shows neither the key nor the salt."""
    key, salt = "s3cret key", "s3cret salt"
    for wrong in ({"api_key": key}, {"api_key": [key]}, {"api_key": key, "colour": 1}):
        assert "s3cret" not in refusal({**SETTINGS, **wrong})
    for hashing in ({"salt": salt, "more": 1}, {"salt": [salt]}, salt):
        assert "s3cret" not in refusal({**SETTINGS, "hash_identifiers": hashing})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("moloco.yaml", b"a: 1", "use a file that ends in .json or .toml"),
        ("moloco", b"{}", "use a file that ends in .json or .toml"),
        ("moloco.json", b"{", "not valid JSON (Expecting property name"),
        ("moloco.json", b"", "not valid JSON (Expecting value"),
        ("moloco.json", b'{"a": "\xff"}', "not valid JSON ('utf-8' codec can't decode"),
        ("moloco.json", b"[]", "use an object with the settings"),
        ("moloco.json", b'"text"', "use an object with the settings"),
        pytest.param("moloco.json", b"[" * 100_000, "not valid JSON (", id="deep"),
        ("moloco.toml", b"a = ", "not valid TOML (Invalid value"),
        ("moloco.toml", b"a = 1\na = 2", "not valid TOML (Cannot overwrite a value"),
        ("missing.json", None, "can't be read (No such file or directory)"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    """A file that is missing, of another kind or malformed is refused with path and reason."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination.from_file(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("name", ["moloco.toml", "moloco.TOML", "Moloco.Toml"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
def test_a_file_from_windows_can_be_read(tmp_path: Path, name: str, bom: bytes) -> None:
    """The suffix may be in any case, and a byte order mark is skipped."""
    path = tmp_path / name
    path.write_bytes(bom + TOML.replace("\n", "\r\n").encode())
    assert read_file(path)["platform_id"] == "MY_SHOP"
    path = path.with_suffix(".JSON")
    path.write_bytes(bom + json.dumps(SETTINGS).encode())
    assert read_file(path) == SETTINGS


def test_an_error_names_the_file(tmp_path: Path) -> None:
    """An unknown or missing key in a file is named after the file."""
    path = tmp_path / "moloco.toml"
    path.write_text(TOML.replace("events", "event"), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination.from_file(path)
    assert str(caught.value) == (
        f"{path}: syncs[0].event: no such setting; did you mean 'events'?; "
        "syncs[0].events: found nothing; this setting is required"
    )


def test_an_error_of_the_constructor_names_the_file(tmp_path: Path) -> None:
    """A value in a file that can't work is named after the file, too."""
    path = tmp_path / "moloco.json"
    path.write_text(json.dumps({**SETTINGS, "connections": 0}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination.from_file(path)
    assert str(caught.value).startswith(f"{path}: connections: found 0")


@pytest.mark.parametrize("package", ["dataclasses_json", "marshmallow"])
@pytest.mark.parametrize("call", ["from_dict({})", "from_file('moloco.json')"])
def test_without_the_extra_the_error_names_it(package: str, call: str) -> None:
    """Without the extra, from_dict and from_file raise an error that says what to install."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from amplitude_moloco import ConfigurationError, MolocoDestination\n"
        "for _ in range(2):\n"
        f"    try: MolocoDestination.{call}\n"
        "    except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    message = (
        f"from_dict() and from_file() need the package {package}; "
        "use pip install 'amplitude-moloco[config]'"
    )
    assert done.stdout.splitlines() == [message] * 2


def test_a_misspelled_type_is_understood() -> None:
    """Amplitude's misspellings are understood in plain data, too, with a warning."""
    settings = {**SETTINGS, "syncs": [{**SYNC, "event_type": "PURHCASE"}]}
    with pytest.warns(UserWarning, match="MCM's name is PURCHASE"):
        destination = MolocoDestination.from_dict(settings)
    assert [sync.event_type.value for sync in destination.syncs] == ["PURCHASE"]


@pytest.mark.parametrize("settings", [5, None, ["platform_id"]], ids=str)
def test_settings_are_a_dict(settings: Any) -> None:
    """Anything but a dict of settings is refused."""
    with pytest.raises(ConfigurationError, match=r"^settings: found "):
        MolocoDestination.from_dict(settings)
