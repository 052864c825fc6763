"""Loads a destination's settings from plain data, such as a JSON or TOML file.

Plain data says what the constructors say, with the same names. dataclasses-json loads it strictly:
a number in quotes is not a number, and 1 is not true. Needs the extra ``config``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.sync import Sync

try:
    import marshmallow
    from dataclasses_json import DataClassJsonMixin, config
    from marshmallow import ValidationError

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"from_dict() and from_file() need the package {missing.name}; "
        f"use pip install 'amplitude-moloco[config]'"
    ) from missing


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
    kind = path.suffix.lower()
    if kind not in (".json", ".toml"):
        raise ConfigurationError(f"{path}: use a file that ends in .json or .toml")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows may add a byte order mark
        settings = tomllib.loads(text) if kind == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # from JSON, TOML or UTF-8
        raise ConfigurationError(f"{path}: not valid {kind[1:].upper()} ({error})") from None
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path}: use an object with the settings")
    return settings


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Puts the path in front of the text of each ConfigurationError raised in the block."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def arguments_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a ``MolocoDestination``, those that ``settings`` name alone.

    Raises ConfigurationError with the path of each key that is unknown, missing or of a wrong type.
    """
    if not isinstance(settings, Mapping):
        raise ConfigurationError(
            f"settings: found {type(settings).__name__}; use a dict with the constructor's names"
        )
    try:
        arguments = _given(_SCHEMA.load(dict(settings)))
    except ValidationError as error:
        problems = set(_problems(error.messages, settings))
        raise ConfigurationError("; ".join(sorted(problems))) from None
    arguments["syncs"] = [_sync(index, each) for index, each in enumerate(arguments["syncs"])]
    for name, kind in _POLICIES.items():
        if name in arguments:
            arguments[name] = kind(**vars(arguments[name]))
    return arguments


def _given(loaded: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(loaded).items() if value is not None}


def _sync(index: int, loaded: Any) -> Sync:
    try:
        return Sync(**_given(loaded))
    except ConfigurationError as error:
        raise ConfigurationError(*(f"syncs[{index}].{each}" for each in error.errors)) from None


def _problems(messages: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yields marshmallow's nested messages, one text for each, with the path and what was found."""
    if isinstance(messages, list):
        kind = "nothing" if found is _MISSING else type(found).__name__
        for message in messages:
            hint = _hint(path) if message == "Unknown field." else ""
            yield f"{path}: found {kind}. {message}{hint}"
        return
    for key, inner in messages.items():
        if isinstance(key, int):
            yield from _problems(inner, found[key], f"{path}[{key}]")
        elif isinstance(found, Mapping) and key != "_schema":
            yield from _problems(inner, found.get(key, _MISSING), f"{path}.{key}".lstrip("."))
        else:  # "_schema" is about the whole, "key" and "value" are about one entry of a dict
            yield from _problems(inner, found, path)


def _hint(path: str) -> str:
    """Returns the known key that an unknown one may be meant for, as a question."""
    holder, _, key = path.rpartition(".")
    known = _KEYS.get(holder.partition("[")[0], ())
    return "".join(f" Did you mean {name!r}?" for name in get_close_matches(key, known, n=1))


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
_MISSING = object()
