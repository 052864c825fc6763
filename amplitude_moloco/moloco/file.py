"""Loads settings from plain data, such as a JSON or TOML file. Needs the extra ``config``.

The keys are the arguments of the constructors, except for what plain data can't hold: callables and
objects. ``syncs = "ecommerce"`` stands for the ready-made syncs, and ``${NAME}`` in a text for an
environment variable. All mistakes are found at once, each with its place and what to use instead.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS
from amplitude_moloco.moloco.checks import deliver_of
from amplitude_moloco.moloco.ecommerce import ecommerce_syncs
from amplitude_moloco.moloco.environment import expand, unset_variables
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.text import one_line

try:
    from amplitude_moloco.moloco.schema import POLICIES, Keys, keys_of, schema_of

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
READY_SYNCS = "ecommerce"
"""What stands for the ready-made syncs."""


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
        if isinstance(error, UnicodeDecodeError):
            said += "; save the file as UTF-8"
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
def named_in_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Puts the path in front of the text of each ConfigurationError raised in the block."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{one_line(path)}: {'; '.join(error.errors)}") from None


def arguments_of(
    kind: Callable[..., object], settings: Mapping[str, Any], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the arguments of ``kind``, a class of settings, that ``settings`` and ``more`` name.

    Raises one ConfigurationError with the path of each key of ``settings`` that is unknown, missing
    or of a wrong type, and of each value that can't work. ``more`` goes before ``settings``.
    """
    if not isinstance(settings, Mapping):
        raise ConfigurationError(
            f"settings: found {type(settings).__name__}; use a dict with the constructor's names"
        )
    settings = _without_needless_key(settings, more)
    unset = [one_line(text) for text in unset_variables(settings, os.environ)]
    settings = expand(settings, os.environ)
    if settings.get("syncs") == READY_SYNCS:
        settings = {name: value for name, value in settings.items() if name != "syncs"}
        more = {"syncs": ecommerce_syncs(), **more}
    schema = schema_of(kind)
    messages = schema.validate(dict(settings))
    missing = [name for name in _REQUIRED if name not in settings and name not in more]
    messages |= {name: ["Missing data for required field."] for name in missing}
    keys = keys_of(kind)
    problems = [*_problems(messages, settings, keys), *_strays_in_mappings(settings, keys), *unset]
    # What is sound is loaded anyway, so that all problems are found at once.
    sound = {name: value for name, value in settings.items() if name not in messages}
    syncs = _sound_syncs(settings, messages)
    loaded = vars(schema.load({**sound, "syncs": list(syncs.values())}))
    arguments = {name: loaded[name] for name in sound}
    for name, policy in POLICIES.items():
        if name in arguments:
            arguments[name] = _made(policy, arguments[name], problems)
    arguments["syncs"] = [
        _made(Sync, each, problems, f"syncs[{index}].")
        for index, each in zip(syncs, loaded["syncs"], strict=True)
    ]
    if not settings.get("syncs"):
        del arguments["syncs"]
    problems += _refused(kind, {**settings, **arguments, **more}, problems)
    if problems:
        raise ConfigurationError(*sorted(set(problems)))
    return {**arguments, **more}


def _without_needless_key(
    settings: Mapping[str, Any], more: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns the settings without a key that is not set here, if another process needs it alone.

    So apps that store events, and the relay that sends them, can share a file.
    """
    try:
        is_needed = deliver_of(more.get("deliver", settings.get("deliver")))
    except ConfigurationError:  # it is told with the other mistakes
        return settings
    if is_needed or not any(unset_variables(settings.get("api_key"), os.environ)):
        return settings
    return {name: value for name, value in settings.items() if name != "api_key"}


def _made(kind: Callable[..., T], loaded: Any, problems: list[str], place: str = "") -> T | None:
    """Returns the object for what was loaded, or None, and adds the problems if it raises."""
    try:
        return kind(**vars(loaded))
    except ConfigurationError as error:
        problems += [f"{place}{each}" for each in error.errors]
        return None


def _refused(
    kind: Callable[..., object], arguments: Mapping[str, Any], problems: Collection[str]
) -> list[str]:
    """Returns the errors of the constructor about settings that have no problem yet."""
    known = inspect.signature(kind).parameters
    try:
        kind(**{name: value for name, value in arguments.items() if name in known})
    except ConfigurationError as error:
        named = {_setting(problem) for problem in problems}
        if "platform_id" in named:  # then the rest of the address may come from elsewhere, too
            named |= {"api_key", "platform_name"} - arguments.keys()
        return [each for each in error.errors if _setting(each) not in named]
    return []


def _setting(problem: str) -> str:
    """Returns the name of the setting that a problem is about."""
    return re.split(r"[:.\[]", problem, maxsplit=1)[0]


def _sound_syncs(settings: Mapping[str, Any], messages: dict[Any, Any]) -> dict[int, Any]:
    """Returns the syncs that have the right keys and types, by their index."""
    found, wrong = settings.get("syncs"), messages.get("syncs", {})
    if not isinstance(found, list) or not isinstance(wrong, dict):
        return {}
    return {index: each for index, each in enumerate(found) if index not in wrong}


def _problems(messages: Any, found: Any, keys: Keys, path: str = "") -> Iterator[str]:
    """Yields a text for each of marshmallow's nested messages: the path, and what to use there."""
    if isinstance(messages, list):
        for message in messages:
            if message == "Unknown field.":
                yield f"{path}: no such setting{_hint(path, keys)}"
            else:
                yield f"{path}: found {_kind(found)}; {_advice(message, found, path)}"
        return
    for key, inner in messages.items():
        if isinstance(key, int) and isinstance(found, list):
            yield from _problems(inner, found[key], keys, f"{path}[{key}]")
        elif isinstance(found, Mapping) and key != "_schema":
            name = one_line(key)
            value = found.get(key, _MISSING)
            yield from _problems(inner, value, keys, f"{path}.{name}".lstrip("."))
        else:  # "_schema" is about the whole, "key" and "value" are about one entry of a dict
            yield from _problems(inner, found, keys, path)


def _kind(found: Any) -> str:
    """Returns what was found, without its value: it may be a key."""
    return _KINDS.get(type(found), type(found).__name__)


def _advice(message: str, found: Any, path: str) -> str:
    """Returns what to use instead."""
    if path == "syncs" and found is not _MISSING:
        return f"use a list of syncs (in TOML, [[syncs]]), or {READY_SYNCS!r} for the ready ones"
    if message == "Not a valid list." and path.endswith(".events"):
        return "use a name or a list of names"
    advice = _ADVICE.get(message, message)
    is_quoted = isinstance(found, str) and advice.endswith(("number", "false"))
    return f"{advice}, without quotes" if is_quoted else advice


def _hint(path: str, keys: Keys) -> str:
    """Returns where an unknown key belongs, or the known key that it may be meant for."""
    holder, _, key = path.rpartition(".")
    holder = holder.partition("[")[0]
    if holder not in keys:  # a dot in the key itself
        return ""
    if key == "hooks" and not holder:
        return "; no file can hold hooks; use from_file(…, hooks=[…])"
    if owner := _owner(key, holder, keys):
        return owner
    known = {name.casefold(): name for name in keys[holder]}
    return "".join(
        f"; did you mean {known[name]!r}?" for name in get_close_matches(key.casefold(), known, n=1)
    )


def _owner(key: str, holder: str, keys: Keys) -> str:
    """Returns where a key belongs that stands in the wrong place. In TOML this is easily done."""
    owners = [_OWNERS[place] for place, names in keys.items() if key in names and place != holder]
    return f"; it belongs {' or '.join(owners)}" if owners else ""


def _strays_in_mappings(settings: Mapping[str, Any], keys: Keys) -> Iterator[str]:
    """Yields a text for each setting that landed in the mapping of a sync."""
    syncs = settings.get("syncs")
    for index, sync in enumerate(syncs if isinstance(syncs, list) else ()):
        mapping = sync.get("mapping") if isinstance(sync, Mapping) else None
        for key in mapping if isinstance(mapping, Mapping) else ():
            owner = _owner(key, "mapping", keys)
            if owner and key not in MOLOCO_FIELDS:
                yield f"syncs[{index}].mapping.{key}: a setting, not a Moloco field{owner}"


_REQUIRED = ("platform_id", "syncs")
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
