"""Loads a destination's settings from plain data, such as a JSON or TOML file.

Plain data says what the constructors say, with the same names. dataclasses-json loads it strictly:
a number in quotes is not a number, and 1 is not true. Needs the extra ``config``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from amplitude_moloco.buffers.url import absolute_url
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.checks import number, whole_number
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.moloco.settings import currency_of, hash_of, names_of, syncs_of
from amplitude_moloco.moloco.sync import Sync, read_channel_type
from amplitude_moloco.text import one_line

try:
    import marshmallow
    from dataclasses_json import DataClassJsonMixin, config

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"from_dict() and from_file() need the package {missing.name}; "
        f"use pip install 'amplitude-moloco[config]'"
    ) from missing

T = TypeVar("T")


class _Flag(marshmallow.fields.Boolean):
    """Accepts true and false alone, neither 1 nor "yes"."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class _Number(marshmallow.fields.Float):
    """Accepts finite numbers, and no number in quotes."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.make_error("invalid", input=value)
        super()._deserialize(value, *args, **kwargs)
        return value  # so that a message shows it as it was written


class _Tuple(marshmallow.fields.List):
    """Loads a list as a tuple."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return tuple(super()._deserialize(value, *args, **kwargs))


class _Names(marshmallow.fields.List):
    """Accepts one name in place of a list of them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize([value] if isinstance(value, str) else value, *args, **kwargs)


@dataclass(frozen=True)
class SyncSettings:
    """One of ``syncs``: the arguments of a :class:`Sync`. None stands for a missing key."""

    event_type: str
    events: list[str] = field(
        metadata=config(mm_field=_Names(marshmallow.fields.String(), required=True))
    )
    name: str | None = None
    where: str | None = None
    mapping: dict[str, str] | None = None
    channel_type: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True)
class DestinationSettings:
    """The arguments of a ``MolocoDestination``. None stands for a missing key."""

    platform_id: str
    syncs: list[SyncSettings]
    api_key: str | None = None
    platform_name: str | None = None
    base_url: str | None = None
    channel_type: str | None = None
    default_currency: str | None = None
    include_user_properties: bool | list[str] | None = None
    hash_identifiers: bool | dict[str, str] | None = None
    absent_identifiers: list[str] | None = None
    id_less_fields: list[str] | None = None
    library_as_user_agent: bool | None = None
    buffer: str | None = None
    flush_queue_size: int | None = None
    flush_interval_millis: int | None = None
    connections: int | None = None
    timeout_seconds: float | None = None
    ca_bundle: str | None = None
    transport: str | None = None
    shutdown_timeout_seconds: float | None = None
    flush_timeout_seconds: float | None = None
    max_requests_per_second: float | None = None
    retry: RetrySchedule | None = None
    breaker: BreakerPolicy | None = None


def read_file(path: Path) -> dict[str, Any]:
    """Returns the settings in a ``.json`` or ``.toml`` file.

    Raises ConfigurationError, with the path, if the file can't be read or holds anything else.
    """
    name = one_line(path)
    kind = path.suffix.lower()
    if kind not in (".json", ".toml"):
        raise ConfigurationError(f"{name}: use a file that ends in .json or .toml")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows may add a byte order mark
        settings = tomllib.loads(text) if kind == ".toml" else _load_json(text)
    except OSError as error:
        raise ConfigurationError(f"{name}: can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # from JSON, TOML or UTF-8
        said = one_line(error)
        raise ConfigurationError(f"{name}: not valid {kind[1:].upper()} ({said})") from None
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{name}: use an object with the settings")
    return settings


def _load_json(text: str) -> Any:
    """Raises ValueError if a key is given twice: the parser would keep the last."""
    twice: list[str] = []

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        twice.extend(repr(key) for key, count in counts.items() if count > 1)
        return dict(pairs)

    settings = json.loads(text, object_pairs_hook=as_dict)
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}; keep one of each")
    return settings


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Puts the path in front of the text of each ConfigurationError raised in the block."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{one_line(path)}: {error}") from None


def arguments_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a ``MolocoDestination``, those that ``settings`` name alone.

    Raises one ConfigurationError with the path of each key that is unknown, missing or of a wrong
    type, and of each value that can't work.
    """
    if not isinstance(settings, Mapping):
        raise ConfigurationError(
            f"settings: found {type(settings).__name__}; use a dict with the constructor's names"
        )
    messages = _SCHEMA.validate(dict(settings))
    problems = [*_problems(messages, settings), *_strays_in_mappings(settings)]
    # Everything sound is loaded, too, so that all problems are found at once.
    sound = {name: value for name, value in settings.items() if name not in messages}
    syncs = _sound_syncs(settings, messages)
    loaded: Any = _SCHEMA.load({"platform_id": "", **sound, "syncs": list(syncs.values())})
    arguments = {name: each for name, each in _given(loaded).items() if name in sound}
    checks = [partial(_sync, *each) for each in zip(syncs, loaded.syncs, strict=True)]
    arguments["syncs"] = [sync for sync in _all(checks, problems) if sync]
    for name, kind in _POLICIES.items():
        if name in arguments:
            (arguments[name],) = _all([partial(kind, **vars(arguments[name]))], problems)
    if settings.get("syncs") == []:
        _all([partial(syncs_of, ())], problems)
    _all(_checks_of(arguments), problems)
    if problems:
        raise ConfigurationError("; ".join(sorted(set(problems))))
    return arguments


def _all(checks: Iterable[Callable[[], T]], problems: list[str]) -> list[T | None]:
    """Returns the result of each check, or None, and adds the problems of those that raise."""
    results: list[T | None] = []
    for check in checks:
        try:
            results.append(check())
        except ConfigurationError as error:
            results.append(None)
            problems.append(str(error))
    return results


def _checks_of(arguments: Mapping[str, Any]) -> Iterator[Callable[[], object]]:
    """Yields the checks of the values that the constructor would make one after the other."""
    for name in _CHECKS.keys() & arguments.keys():
        yield partial(_CHECKS[name], arguments[name])
    address = {name: arguments.get(name) for name in ("platform_name", "base_url")}
    if "platform_id" in arguments and any(address.values()):
        key = arguments.get("api_key", "given-elsewhere")
        yield partial(endpoint, api_key=key, platform_id=arguments["platform_id"], **address)


def _given(loaded: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(loaded).items() if value is not None}


def _sound_syncs(settings: Mapping[str, Any], messages: dict[Any, Any]) -> dict[int, Any]:
    """Returns the syncs that have the right keys and types, by their index."""
    found, wrong = settings.get("syncs"), messages.get("syncs", {})
    if not isinstance(found, list) or not isinstance(wrong, dict):
        return {}
    return {index: each for index, each in enumerate(found) if index not in wrong}


def _sync(index: int, loaded: Any) -> Sync:
    try:
        return Sync(**_given(loaded))
    except ConfigurationError as error:
        raise ConfigurationError(*(f"syncs[{index}].{each}" for each in error.errors)) from None


def _problems(messages: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yields a text for each of marshmallow's nested messages: the path, and what to use there."""
    if isinstance(messages, list):
        for message in messages:
            if message == "Unknown field.":
                yield f"{path}: no such setting{_hint(path)}"
            else:
                yield f"{path}: found {_kind(found)}; {_advice(message, found, path)}"
        return
    for key, inner in messages.items():
        if isinstance(key, int) and isinstance(found, list):
            yield from _problems(inner, found[key], f"{path}[{key}]")
        elif isinstance(found, Mapping) and key != "_schema":
            name = one_line(key)
            yield from _problems(inner, found.get(key, _MISSING), f"{path}.{name}".lstrip("."))
        else:  # "_schema" is about the whole, "key" and "value" are about one entry of a dict
            yield from _problems(inner, found, path)


def _kind(found: Any) -> str:
    """Returns what was found, without its value: it may be a key."""
    return _KINDS.get(type(found), type(found).__name__)


def _advice(message: str, found: Any, path: str) -> str:
    """Returns what to use instead."""
    if path == "syncs" and found is not _MISSING:
        return "use a list of syncs: in TOML, [[syncs]]"
    if message == "Not a valid list." and path.endswith(".events"):
        return "use a name or a list of names"
    advice = _ADVICE.get(message, message)
    is_quoted = isinstance(found, str) and advice.endswith(("number", "false"))
    return f"{advice}, without quotes" if is_quoted else advice


def _hint(path: str) -> str:
    """Returns where an unknown key belongs, or the known key that it may be meant for."""
    holder, _, key = path.rpartition(".")
    holder = holder.partition("[")[0]
    if holder not in _KEYS:  # a dot in the key itself
        return ""
    if key == "hooks" and not holder:
        return "; no file can hold hooks; use from_file(…, hooks=[…])"
    if owner := _owner(key, holder):
        return owner
    known = {name.casefold(): name for name in _KEYS[holder]}
    return "".join(
        f"; did you mean {known[name]!r}?" for name in get_close_matches(key.casefold(), known, n=1)
    )


def _owner(key: str, holder: str) -> str:
    """Returns where a key belongs that stands in the wrong place. In TOML this is easily done."""
    owners = [_OWNERS[place] for place, names in _KEYS.items() if key in names and place != holder]
    return f"; it belongs {' or '.join(owners)}" if owners else ""


def _strays_in_mappings(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yields a text for each setting that landed in the mapping of a sync."""
    syncs = settings.get("syncs")
    for index, sync in enumerate(syncs if isinstance(syncs, list) else ()):
        mapping = sync.get("mapping") if isinstance(sync, Mapping) else None
        for key in mapping if isinstance(mapping, Mapping) else ():
            owner = _owner(key, "mapping")
            if owner and key not in MOLOCO_FIELDS:
                yield f"syncs[{index}].mapping.{key}: a setting, not a Moloco field{owner}"


def _loadable(kind: type[Any]) -> type[DataClassJsonMixin]:
    """Returns a dataclass with the fields and defaults of ``kind`` that dataclasses-json can load.

    ``kind`` itself can't be one where it belongs to the core, which does without dataclasses-json.
    """
    types = get_type_hints(kind)
    members = []
    for each in fields(kind):
        metadata = each.metadata or config(mm_field=_optional_field(types[each.name], each.default))
        # Any, since marshmallow has checked and converted the value by the time it is used.
        members.append((each.name, Any, field(default=each.default, metadata=metadata)))
    return make_dataclass(kind.__name__, members, bases=(DataClassJsonMixin,), frozen=True)


def _optional_field(kind: Any, default: object) -> marshmallow.fields.Field:
    # A default of None stands for a missing key, and can't be given.
    is_nullable = NoneType in get_args(kind) and default is not None
    return _strict_field(kind, required=default is MISSING, allow_none=is_nullable)


def _strict_field(kind: Any, **options: Any) -> marshmallow.fields.Field:
    """Returns the marshmallow field that accepts this type and nothing else.

    The constructor checks what may be of several types.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        schema = _loadable(kind).schema(unknown=marshmallow.RAISE)
        return marshmallow.fields.Nested(schema, **options)
    if kind in _STRICT_FIELDS:
        return _STRICT_FIELDS[kind](**options)
    parts = [part for part in get_args(kind) if part not in (NoneType, Ellipsis)]
    if get_origin(kind) in _STRICT_FIELDS:
        return _STRICT_FIELDS[get_origin(kind)](*map(_strict_field, parts), **options)
    if len(parts) == 1:  # this type or None
        return _strict_field(*parts, **options)
    return marshmallow.fields.Raw(**options)


_STRICT_FIELDS: dict[Any, Callable[..., marshmallow.fields.Field]] = {
    bool: _Flag,
    dict: marshmallow.fields.Dict,
    float: _Number,
    int: partial(marshmallow.fields.Integer, strict=True),
    list: marshmallow.fields.List,
    str: marshmallow.fields.String,
    tuple: _Tuple,
}
_SCHEMA = _loadable(DestinationSettings).schema(unknown=marshmallow.RAISE)
_POLICIES: dict[str, Callable[..., Any]] = {"retry": RetrySchedule, "breaker": BreakerPolicy}
_KEYS = {
    place: [each.name for each in fields(kind)]
    for place, kind in (
        ("", DestinationSettings),
        ("syncs", SyncSettings),
        ("retry", RetrySchedule),
        ("breaker", BreakerPolicy),
    )
}
_CHECKS: dict[str, Callable[[Any], object]] = {
    "channel_type": partial(read_channel_type, place="channel_type"),
    "default_currency": currency_of,
    "include_user_properties": names_of,
    "hash_identifiers": hash_of,
    "buffer": absolute_url,
    "connections": partial(whole_number, "connections"),
    "flush_queue_size": partial(whole_number, "flush_queue_size"),
    "flush_interval_millis": partial(number, "flush_interval_millis"),
    "timeout_seconds": partial(number, "timeout_seconds"),
    "shutdown_timeout_seconds": partial(number, "shutdown_timeout_seconds"),
    "max_requests_per_second": partial(number, "max_requests_per_second"),
}
_OWNERS = {
    "": "to the destination: in TOML, write it above the first [section] or [[syncs]]",
    "syncs": "to a sync: in TOML, write it under [[syncs]], before [syncs.mapping]",
    "retry": "to retry: in TOML, write it under [retry]",
    "breaker": "to breaker: in TOML, write it under [breaker]",
}


class _Missing:
    """Stands for the value of a key that is missing."""


_MISSING = _Missing()
_KINDS = {
    _Missing: "nothing",
    NoneType: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}
_ADVICE = {
    "Missing data for required field.": "this setting is required",
    "Field may not be null.": "give a value, or leave it out for the default",
    "Not a valid string.": "use text",
    "Not a valid integer.": "use a whole number",
    "Not a valid number.": "use a number",
    "Number too large.": "use a smaller number",
    "Special numeric values (nan or infinity) are not permitted.": "use a finite number",
    "Not a valid boolean.": "use true or false",
    "Not a valid list.": "use a list",
    "Not a valid mapping type.": "use a table",
    "Invalid input type.": "use a table",
}
