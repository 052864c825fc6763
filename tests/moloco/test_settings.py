"""The checks of a destination's checks."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from amplitude import BaseEvent
from hypothesis import example, given
from hypothesis import strategies as st

from amplitude_moloco import (
    BreakerPolicy,
    ChannelType,
    ConfigurationError,
    Endpoint,
    Fact,
    MolocoDestination,
    MolocoSettings,
    RetrySchedule,
    SendResult,
    Sync,
    ecommerce_syncs,
    hash_identifier,
)
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.engine import build_engine
from amplitude_moloco.moloco import checks

HOME = Sync("HOME", "Viewed")
NAMES = list(inspect.signature(MolocoSettings).parameters)
BASE: dict[str, Any] = {
    "api_key": "key",
    "platform_id": "SHOP",
    "platform_name": "shop",
    "syncs": [HOME],
    "transport": "none",
}


def made(**changed: Any) -> MolocoSettings:
    """Settings that work, with these changed. A base URL replaces the platform's name."""
    base = {**BASE, "platform_name": None} if changed.get("base_url") is not None else BASE
    return MolocoSettings(**{**base, **changed})


def errors_of(**changed: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        made(**changed)
    return list(caught.value.errors)


def refusal(check: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments)
    return str(caught.value)


def test_syncs_become_a_tuple() -> None:
    """Any iterable of syncs is accepted."""
    assert checks.syncs_of([HOME]) == (HOME,)
    assert checks.syncs_of(iter([HOME, HOME])) == (HOME, HOME)


@pytest.mark.parametrize("syncs", [[], ()], ids=str)
def test_at_least_one_sync_is_required(syncs: Any) -> None:
    """No syncs are refused with a way to make them."""
    assert refusal(checks.syncs_of, syncs) == (
        "syncs: without a Sync nothing would be sent; use a list of Sync(…), or ecommerce_syncs()"
    )


@pytest.mark.parametrize("syncs", [None, 5, "HOME", b"HOME", {"event_type": "HOME"}, {}], ids=str)
def test_syncs_are_a_list(syncs: Any) -> None:
    """Anything but a sync or several is refused with a way to make them."""
    assert refusal(checks.syncs_of, syncs) == (
        f"syncs: found {type(syncs).__name__}; use a list of Sync(…), or ecommerce_syncs()"
    )


def test_what_is_no_sync_is_named_by_its_index() -> None:
    """Each element of a list of syncs that is no Sync is refused with its index."""
    several: list[Any] = [HOME, None, "HOME", {"event_type": "HOME"}, [HOME], Sync]
    assert refusal(checks.syncs_of, several).splitlines() == [
        "syncs[1]: found NoneType; use Sync(…)",
        "syncs[2]: found str; use Sync(…)",
        "syncs[3]: found dict; use Sync(…)",
        "syncs[4]: found list; use one flat list: [*ecommerce_syncs(), Sync(…)]",
        "syncs[5]: found type; use Sync(…)",
    ]


@pytest.mark.parametrize("currency", [None, "USD", "CHF"])
def test_a_currency_is_one_of_mcms(currency: str | None) -> None:
    """One of MCM's currencies, or none, is accepted."""
    assert checks.currency_of(currency) == currency


@pytest.mark.parametrize("currency", ["usd", "XXX", ""])
def test_another_currency_is_refused(currency: str) -> None:
    """Any other currency is refused with the list of currencies."""
    message = refusal(checks.currency_of, currency)
    assert message.startswith(
        f"default_currency: {currency!r} is not one of MCM's currencies; use one of AED, AUD, "
    )
    assert message.endswith(", VES, VND")


def test_user_properties_are_chosen_by_name() -> None:
    """True and False are accepted, and any collection of names becomes a set."""
    assert checks.names_of(True) is True
    assert checks.names_of(False) is False
    for names in (["a", "b"], ("a", "b"), {"a", "b"}):
        assert checks.names_of(names) == frozenset({"a", "b"})


@pytest.mark.parametrize("names", ["plan", {"plan": 1}, [1], None, 5], ids=str)
def test_other_names_are_refused(names: Any) -> None:
    """Anything else is refused with what to use instead."""
    assert refusal(checks.names_of, names) == (
        "include_user_properties: use True, False, or a list of the names to send"
    )


def test_identifiers_are_hashed_if_asked() -> None:
    """True hashes without a salt, a salt is used, and None and False do not hash."""
    assert checks.hash_of(None) is None
    assert checks.hash_of(False) is None
    assert checks.hash_of(True) is hash_identifier
    salted = checks.hash_of({"salt": "pepper"})
    assert salted is not None
    assert salted("me") == hash_identifier("me", "pepper")


@pytest.mark.parametrize(
    "setting",
    ["sha256", {}, {"salt": ""}, {"salt": 5}, {"salt": "a", "pepper": "b"}, {"salt": "\ud800"}],
    ids=ascii,
)
def test_another_hash_is_refused(setting: Any) -> None:
    """Anything else is refused with what to use instead."""
    assert refusal(checks.hash_of, setting) == (
        'hash_identifiers: use True, or {"salt": "…"} for SHA-256 of salt and identifier'
    )


# -- the settings as a whole -----------------------------------------------------------------------


def test_the_constructor_takes_the_settings() -> None:
    """A destination and its settings have the same arguments: names, order, types, defaults."""
    signature = inspect.signature(MolocoDestination)
    assert signature == inspect.signature(MolocoSettings)
    assert {*NAMES} == {each.name for each in fields(MolocoSettings)}
    positional = [each.name for each in signature.parameters.values() if each.kind != 3]
    assert positional == ["api_key", "platform_id", "syncs"]
    with pytest.raises(TypeError, match="colour"):
        MolocoDestination(colour=1)  # type: ignore[call-arg]  # what is tested
    with pytest.raises(TypeError, match="positional"):
        MolocoDestination("key", "SHOP", HOME, "shop")  # type: ignore[call-arg]  # as above


def test_the_docstring_documents_each_setting_in_order() -> None:
    """Each setting has an entry in the docstring of the settings."""
    text = inspect.getdoc(MolocoSettings) or ""  # Python 3.13 takes the indentation away itself
    assert re.findall(r"^ {4}(\w+): ", text, re.MULTILINE)[:-1] == NAMES


def test_settings_cannot_be_changed() -> None:
    """Settings are checked once, and frozen."""
    with pytest.raises(FrozenInstanceError):
        made().connections = 0  # type: ignore[misc]  # what is tested


def test_equal_settings_are_equal() -> None:
    """Settings are a value."""
    assert made() == made()
    assert made() != made(connections=3)


def test_settings_show_neither_key_nor_salt() -> None:
    """No repr of the settings or of their parts holds the key or the salt."""
    secret = made(api_key="s3cret-key", hash_identifiers={"salt": "s3cret-salt"})
    assert "s3cret" not in repr(secret)
    assert "s3cret-key" not in repr(vars(secret))
    assert "s3cret" not in repr([secret.endpoint(), secret.engine_settings()])
    assert secret.endpoint().headers["x-api-key"] == "s3cret-key"


def test_an_iterator_is_read_once() -> None:
    """Settings that are given as iterators are kept, and can be used again and again."""
    kept = made(
        syncs=iter([HOME]),
        hooks=iter([print]),
        absent_identifiers=iter(["kiosk"]),
        id_less_fields=iter(["ip_address"]),
    )
    assert (kept.syncs, kept.hooks) == ((HOME,), (print,))
    assert (kept.absent_identifiers, kept.id_less_fields) == (("kiosk",), ("ip_address",))
    assert kept.converter().syncs == kept.converter().syncs == (HOME,)


def test_the_parts_need_no_client() -> None:
    """The endpoint, the converter and the engine are built from the settings alone."""
    bodies: list[bytes] = []
    facts: list[Fact] = []

    class Accepting:
        def __init__(self, endpoint: Endpoint) -> None:
            self.endpoint = endpoint

        def send(self, body: bytes) -> SendResult:
            bodies.append(body)
            return SendResult(200, self.endpoint.url)

        def close(self) -> None: ...

    parts = made(
        transport=Accepting, channel_type="site", hooks=facts.append, flush_timeout_seconds=30
    )
    assert parts.endpoint().url == (
        "https://shop-evt.mcm-api.moloco.com/rmp/event/v1/platforms/SHOP/userevents"
    )
    event = BaseEvent("Viewed", user_id="me", time=1_700_000_000_000, insert_id="i-1")
    (conversion,) = parts.converter().convert(event, 1_700_000_000_000)
    assert conversion.payload["channel_type"] == ChannelType.SITE
    engine = build_engine(parts.engine_settings())
    engine.start()
    engine.put("i-1", conversion.sync, conversion.body)
    assert engine.flush(30).result(30).delivered == 1
    engine.close(30)
    assert [json.loads(body)["id"] for body in bodies] == ["i-1"]
    assert [type(fact).__name__ for fact in facts] == ["Delivered"]


def test_a_file_makes_settings(tmp_path: Path) -> None:
    """from_file and from_dict read settings; what is given beside them goes first."""
    plain = {"platform_id": "SHOP", "platform_name": "shop", "connections": 3}
    path = tmp_path / "moloco.json"
    path.write_text(json.dumps(plain))
    for read in (
        partial(MolocoSettings.from_file, path),
        partial(MolocoSettings.from_file, str(path)),
        partial(MolocoSettings.from_dict, plain),
    ):
        loaded = read(api_key="key", syncs=[HOME], connections=4, transport="none")
        assert loaded == made(connections=4)
    with pytest.raises(
        ConfigurationError, match=r"moloco\.json: api_key: .*; syncs: found nothing"
    ):
        MolocoSettings.from_file(path)
    with pytest.raises(ConfigurationError, match=r"moloco\.json: hooks\[0\]: found int"):
        MolocoSettings.from_file(path, api_key="key", syncs=[HOME], hooks=[5])


@pytest.mark.parametrize("path", [None, 5, b"moloco.json", ["moloco.json"], {}], ids=repr)
@pytest.mark.parametrize("kind", [MolocoSettings, MolocoDestination])
def test_a_path_is_text(kind: Any, path: Any) -> None:
    """Anything but a path is refused in place of a file."""
    with pytest.raises(ConfigurationError, match=r"^path: found \w+; use the path of a \.json or"):
        kind.from_file(path)


# -- what can't work -------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**9, 10**9 + 1, 2**63, 10**400])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["memory://", "sqlite:x.db", "https://a.b", "USD", "APP", "curl", "none"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(st.just("salt"), inner)
    ),
    max_leaves=5,
)


def made_or_refused(make: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Any:
    """What is made; None if it is refused with texts that name the setting."""
    texts: tuple[str, ...] = ()
    made = None
    try:
        made = make(**arguments)
    except ConfigurationError as error:
        texts = error.errors
    assert (made is None) is bool(texts)
    for text in texts:
        assert text.startswith(name)
        assert text.isprintable()
        assert len(text) < 1000
    return made


@given(name=st.sampled_from(NAMES), value=JSON)
@example(name="default_currency", value=["USD"])
@example(name="flush_interval_millis", value=10**400)
@example(name="base_url", value="https://a.b?c")
def test_any_value_is_taken_or_refused_by_name(name: str, value: Any) -> None:
    """Whatever a setting is set to, it is taken, or refused with its name, on one line."""
    is_named = name == "platform_name" or (name == "base_url" and value is None)
    address = {"platform_name": "shop" if is_named else None}
    address |= {"base_url": None if is_named else "https://a.example"}
    kept = made_or_refused(MolocoSettings, name, {**BASE, **address, name: value})
    if kept is not None:
        kept.converter()
        kept.engine_settings()


@given(name=st.sampled_from(sorted({*NAMES} - {"buffer", "base_url", "ca_bundle"})), value=JSON)
def test_any_value_makes_a_destination_or_is_refused(name: str, value: Any) -> None:
    """What the settings take opens a destination that sends nothing, and closes."""
    destination = made_or_refused(
        MolocoDestination, name, {**BASE, "transport": "none", name: value}
    )
    if destination is not None:
        destination.close()


@given(name=st.sampled_from([*inspect.signature(Sync).parameters]), value=JSON)
def test_any_value_of_a_sync_is_taken_or_refused_by_name(name: str, value: Any) -> None:
    """Whatever an argument of a sync is, it is taken, or refused with its name, on one line."""
    made_or_refused(Sync, name, {"event_type": "HOME", "events": ["Viewed"], name: value})


@given(st.data(), st.sampled_from([(RetrySchedule, "retry: "), (BreakerPolicy, "breaker: ")]), JSON)
def test_any_value_of_a_policy_is_taken_or_refused(
    data: st.DataObject, kind: tuple[Any, str], value: Any
) -> None:
    """Whatever a policy is made of, it works, or is refused with the name of its setting."""
    policy, name = kind
    argument = data.draw(st.sampled_from([*inspect.signature(policy).parameters]))
    kept = made_or_refused(policy, name, {argument: value})
    if kept is not None:
        made(**{name[:-2]: kept}).engine_settings()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_without_a_repr_is_refused_by_name(name: str, sign: int) -> None:
    """A number that Python refuses to print is refused like any other."""
    (text,) = errors_of(**{name: sign * 10**5000})
    assert text.startswith(f"{name}: ")


def test_all_errors_come_at_once() -> None:
    """One error names everything that can't work, in the order of the parts."""
    texts = errors_of(
        api_key="a b",
        platform_id="",
        platform_name="a.b",
        syncs=[HOME, None, "HOME"],
        channel_type="TV",
        default_currency="usd",
        include_user_properties="plan",
        hash_identifiers="sha256",
        absent_identifiers=5,
        id_less_fields=["user_id"],
        library_as_user_agent="no",
        retry=5,
        breaker=5,
        hooks=[print, lambda: None],
        buffer="memory://?max_event=3",
        transport="http",
        ca_bundle="",
        connections=0,
        flush_queue_size=1.5,
        flush_interval_millis="200",
        timeout_seconds=0,
        shutdown_timeout_seconds=-1,
        flush_timeout_seconds=0,
        max_requests_per_second=0,
        inspector="0.0.0.0:8766",
    )
    assert [text.partition(":")[0] for text in texts] == (
        "api_key platform_id platform_name syncs[1] syncs[2] channel_type default_currency "
        "include_user_properties hash_identifiers absent_identifiers id_less_fields "
        "library_as_user_agent retry breaker hooks[1] buffer transport ca_bundle connections "
        "flush_queue_size flush_interval_millis timeout_seconds shutdown_timeout_seconds "
        "flush_timeout_seconds max_requests_per_second inspector"
    ).split()


def test_nothing_given_names_all_that_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination without arguments says everything that it needs."""
    monkeypatch.delenv("MOLOCO_API_KEY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination()
    places = [text.partition(":")[0] for text in caught.value.errors]
    assert places == ["api_key", "platform_id", "platform_name", "syncs"]


def test_all_errors_of_an_address_come_at_once() -> None:
    """A base URL that can't work, and a name beside it, are both named."""
    texts = errors_of(base_url="https://u:p@a.example", platform_name="shop", platform_id=".")
    assert [text.partition(";")[0] for text in texts] == [
        "platform_id: '.' can't be in an address",
        "base_url: holds a user, a query or a fragment",
        "platform_name: given beside base_url, which would replace it",
    ]


PLACEHOLDERS = ["${VAR}", "$VAR", "%VAR%", "%DATA%", "<your key>", "{{ key }}", "$(cat key)"]
TEXT_SETTINGS = (
    "api_key platform_id platform_name base_url allow_plain_http channel_type default_currency "
    "buffer ca_bundle transport inspector"
).split()
NOT_REPLACED = "looks like a placeholder that was not replaced by its value; use the value"


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@pytest.mark.parametrize("name", TEXT_SETTINGS)
def test_a_placeholder_is_refused(name: str, placeholder: str) -> None:
    """A placeholder that was not replaced is refused in each setting that is text."""
    assert f"{name}: {NOT_REPLACED}" in errors_of(**{name: placeholder})


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_of_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, placeholder: str
) -> None:
    """A placeholder in MOLOCO_API_KEY is refused, too."""
    monkeypatch.setenv("MOLOCO_API_KEY", placeholder)
    assert errors_of(api_key=None) == [f"api_key: {NOT_REPLACED}"]


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_is_no_salt(placeholder: str) -> None:
    """Identifiers hashed with a placeholder would match nothing, so that it is refused."""
    assert errors_of(hash_identifiers={"salt": placeholder}) == [
        f"hash_identifiers: {NOT_REPLACED}"
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("base_url", "https://${HOST}/mcm"),
        ("base_url", "https://$HOST/mcm"),
        ("base_url", "https://<host>"),
        ("base_url", "https://%MCM_HOST%"),
        ("buffer", "sqlite:///${DATA}/moloco.db"),
        ("buffer", "sqlite:///$HOME/moloco.db"),
        ("buffer", "sqlite:////%TEMP%/moloco.db"),
        ("ca_bundle", "/etc/{{ host }}/ca.pem"),
        ("api_key", "key-${SUFFIX}"),
    ],
)
def test_a_placeholder_within_an_address_is_refused(name: str, text: str) -> None:
    """An address or a path of which a part was not replaced is refused."""
    assert f"{name}: {NOT_REPLACED}" in errors_of(**{name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api_key", "$ecret%key<1"),
        ("api_key", "a$b"),
        ("base_url", "https://a.example/a%20b%20c"),
        ("base_url", "https://a.example/$metadata"),
        ("buffer", "sqlite:///a%20b%20c.db"),
        ("buffer", "sqlite:///$recycle.db"),
        ("ca_bundle", "/etc/50%/ca.pem"),
        ("hash_identifiers", {"salt": "$ecret 100%"}),
    ],
)
def test_what_only_resembles_a_placeholder_is_taken(name: str, text: Any) -> None:
    """Percent-encoding, and dollars in keys and paths, are no placeholders."""
    assert getattr(made(**{name: text}), name) == text


async def _async(*arguments: Any) -> None:
    """Would never run."""


def _generator(*arguments: Any) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("name", "call", "found"),
    [
        ("buffer", lambda endpoint: None, "a callable that needs arguments; use one that takes no"),
        ("buffer", lambda *, path: None, "a callable that needs arguments"),
        ("buffer", _async, "an async function or a generator"),
        ("buffer", partial(_async), "an async function or a generator"),
        ("buffer", MemoryBuffer(), "MemoryBuffer; use a URL such as 'memory://', or a callable"),
        ("transport", lambda: None, "a callable that does not take one argument; use one that tak"),
        ("transport", lambda one, two: None, "a callable that does not take one argument"),
        ("transport", _generator, "an async function or a generator"),
        ("transport", object(), "object; use 'auto', 'requests', 'curl', or a callable"),
        ("hooks", lambda: None, "a callable that does not take one argument; use one that takes o"),
        ("hooks", lambda one, two: None, "a callable that does not take one argument"),
        ("hooks", lambda *, fact: None, "a callable that does not take one argument"),
        ("hooks", _generator, "an async function or a generator"),
    ],
)
def test_a_callable_with_another_signature_is_refused(name: str, call: Any, found: str) -> None:
    """A callable that would fail, or do nothing, when it is called is refused by name."""
    (text,) = errors_of(**{name: call})
    assert text.startswith(f"{name}: found {found}")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("buffer", MemoryBuffer),
        ("buffer", lambda path="a": MemoryBuffer()),
        ("buffer", lambda *rest: MemoryBuffer()),
        ("buffer", partial(MemoryBuffer, max_events=3)),
        ("transport", lambda endpoint, more=1: None),
        ("transport", partial(lambda more, endpoint: None, 1)),
        ("hooks", [].append),
        ("hooks", print),
        ("hooks", lambda *facts: None),
        ("hooks", max),  # a builtin without a signature
    ],
)
def test_a_callable_that_can_be_called_is_taken(name: str, call: Any) -> None:
    """Defaults, variable arguments and partials are no obstacle."""
    assert getattr(made(**{name: call}), name) == call


@pytest.mark.parametrize("opened", [None, "memory://", {}], ids=str)
def test_a_callable_that_opens_something_else_is_refused(opened: Any) -> None:
    """A callable that returns no buffer, or no transport, is refused when it has done so."""
    kind = type(opened).__name__
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination(**{**BASE, "buffer": lambda: opened})
    assert str(caught.value) == (
        f"buffer: the callable returned {kind}, which has no method put(); return a Buffer"
    )
    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination(**{**BASE, "transport": lambda endpoint: opened})
    assert str(caught.value) == (
        f"transport: the callable returned {kind}, which has no method send(); return a Transport"
    )


@pytest.mark.parametrize(
    ("path", "is_taken"),
    [("ca.pem", True), (Path("ca.pem"), True), (None, True), ("", False), (True, False), (b"", 0)],
)
def test_a_ca_bundle_is_a_path(path: Any, *, is_taken: bool) -> None:
    """The certificates are text or a path; whether they can be read is seen when opened."""
    if is_taken:
        assert made(ca_bundle=path).ca_bundle == path
    else:
        assert errors_of(ca_bundle=path)[0].startswith(f"ca_bundle: found {path!r}; use the path")


@pytest.mark.parametrize("name", ["connections", "timeout_seconds", "flush_timeout_seconds"])
def test_a_number_is_at_most_a_billion(name: str) -> None:
    """A number beyond what clocks and stores can keep is refused with the limit."""
    assert getattr(made(**{name: 10**9}), name) == 10**9
    (text,) = errors_of(**{name: 10**9 + 1})
    assert text.startswith(f"{name}: found 1000000001; use a ")
    assert text.endswith(" above 0, at most 1000000000")


def test_a_ready_sync_in_a_list_of_its_own_is_explained() -> None:
    """The list of ecommerce_syncs() inside another list is refused with the way to join them."""
    assert errors_of(syncs=[HOME, ecommerce_syncs()]) == [
        "syncs[1]: found list; use one flat list: [*ecommerce_syncs(), Sync(…)]"
    ]
