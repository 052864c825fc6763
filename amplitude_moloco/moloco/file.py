"""A destination's settings as plain data: JSON and TOML, read with dataclasses-json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataclasses_json import DataClassJsonMixin, config
from marshmallow import RAISE, fields

from amplitude_moloco.engine.breaker import BreakerSettings
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.sync import Sync

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Flag(fields.Boolean):
    """Neither 1 nor "yes"."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class _Number(fields.Float):
    """No number in quotes."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.make_error("invalid", input=value)
        return value


def _setting(kind: fields.Field, *, required: bool = False) -> Any:
    metadata = config(mm_field=kind)
    return field(metadata=metadata) if required else field(default=None, metadata=metadata)


def _whole_number() -> Any:
    return _setting(fields.Integer(strict=True))


def _text() -> Any:
    return _setting(fields.String())


@dataclass
class SyncSettings(DataClassJsonMixin):
    """One of ``syncs``: the arguments of a Sync."""

    event_type: str = _setting(fields.String(required=True), required=True)
    events: list[str] = _setting(fields.List(fields.String(), required=True), required=True)
    name: str | None = _text()
    where: str | None = _text()
    mapping: dict[str, str] | None = _setting(fields.Dict(fields.String(), fields.String()))
    channel_type: str | None = _text()
    enabled: bool | None = _setting(_Flag())


@dataclass
class RetrySettings(DataClassJsonMixin):
    """``retry``: the arguments of a RetrySchedule."""

    delays_seconds: list[float] | None = _setting(fields.List(_Number()))
    then_seconds: float | None = _setting(_Number())
    max_attempts: int | None = _whole_number()
    max_age_seconds: float | None = _setting(_Number(allow_none=True))
    jitter: float | None = _setting(_Number())


@dataclass
class BreakerFileSettings(DataClassJsonMixin):
    """``breaker``: the arguments of a BreakerSettings."""

    failures: int | None = _whole_number()
    probe_delays_seconds: list[float] | None = _setting(fields.List(_Number()))
    then_seconds: float | None = _setting(_Number())


@dataclass
class DestinationSettings(DataClassJsonMixin):
    """The whole file: the arguments of a MolocoDestination that plain data can hold."""

    platform_id: str = _setting(fields.String(required=True), required=True)
    syncs: list[SyncSettings] = _setting(
        fields.List(fields.Nested(SyncSettings.schema(unknown=RAISE)), required=True),
        required=True,
    )
    api_key: str | None = _text()
    platform_name: str | None = _text()
    base_url: str | None = _text()
    channel_type: str | None = _text()
    default_currency: str | None = _text()
    include_user_properties: bool | list[str] | None = _setting(fields.Raw())
    hash_identifiers: bool | dict[str, str] | None = _setting(fields.Raw())
    buffer: str | None = _text()
    flush_queue_size: int | None = _whole_number()
    flush_interval_millis: int | None = _whole_number()
    connections: int | None = _whole_number()
    timeout_seconds: float | None = _setting(_Number())
    ca_bundle: str | None = _text()
    transport: str | None = _text()
    shutdown_timeout_seconds: float | None = _setting(_Number())
    max_requests_per_second: float | None = _setting(_Number())
    retry: RetrySettings | None = _setting(fields.Nested(RetrySettings.schema(unknown=RAISE)))
    breaker: BreakerFileSettings | None = _setting(
        fields.Nested(BreakerFileSettings.schema(unknown=RAISE))
    )


_SCHEMA = DestinationSettings.schema(unknown=RAISE)


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a ``.json`` or ``.toml`` file. Raises ConfigurationError if it has none."""
    if path.suffix not in (".json", ".toml"):
        raise ConfigurationError(f"{path}: use a file that ends in .json or .toml")
    try:
        text = path.read_text(encoding="utf-8")
        settings = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:  # of JSON, of TOML, of UTF-8
        raise ConfigurationError(f"{path}: not valid {path.suffix[1:].upper()} ({error})") from None
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path}: use an object with the settings")
    return settings


def arguments_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of MolocoDestination that ``settings`` stand for.

    Raises ConfigurationError that names the path of every key that is unknown, missing or of a
    wrong type.
    """
    if not isinstance(settings, Mapping):
        raise ConfigurationError(
            f"settings: found {type(settings).__name__}; use a dict with the constructor's names"
        )
    messages = _SCHEMA.validate(dict(settings))
    if messages:
        raise ConfigurationError("; ".join(sorted(set(_problems(messages, settings)))))
    arguments = dict(settings)
    arguments["syncs"] = [_sync(index, each) for index, each in enumerate(settings["syncs"])]
    kinds: dict[str, Callable[..., Any]] = {"retry": RetrySchedule, "breaker": BreakerSettings}
    for name, kind in kinds.items():
        if name in settings:
            arguments[name] = kind(
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in settings[name].items()
                }
            )
    return arguments


def _sync(index: int, settings: Mapping[str, Any]) -> Sync:
    try:
        return Sync(**settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"syncs[{index}].{error}") from None


def _problems(messages: Any, found: Any, path: str = "") -> Iterator[str]:
    """Marshmallow's nested messages, one line for each key, with what was found there."""
    if isinstance(messages, list):
        kind = "nothing" if found is _MISSING else type(found).__name__
        for message in messages:
            yield f"{path}: found {kind}. {message}"
        return
    for key, inner in messages.items():
        if isinstance(key, int):
            yield from _problems(inner, found[key], f"{path}[{key}]")
        elif isinstance(found, Mapping) and key != "_schema":
            yield from _problems(inner, found.get(key, _MISSING), f"{path}.{key}".lstrip("."))
        else:  # marshmallow's words for the whole of it, and for the value of a key
            yield from _problems(inner, found, path)


_MISSING = object()
