"""Turns plain data into the arguments of a class of settings, for any partner.

The keys are the arguments of the constructor, except for what plain data can't hold: callables and
objects. ``${NAME}`` in a text stands for an environment variable. All mistakes are found at once,
each with its place and what to use instead.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import NoneType
from typing import Any, TypeVar

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.files.environment import expand, unset_variables
from amplitude_moloco.files.schema import POLICIES, Keys, keys_of, schema_of
from amplitude_moloco.text import one_line

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """How a partner's settings look as plain data: some settings, and a list of parts."""

    name: str
    """The setting that is the list of parts."""
    part: Callable[..., Any]
    """The class of each."""
    required: tuple[str, ...]
    owner: str
    """Where a key of a part belongs, in words."""
    list_advice: str
    """What to use where the list is something else."""
    goes_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Settings that need not be there where another one has a problem."""
    ready: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """Texts that stand for a list that is made in code."""
    strays: Callable[[Mapping[str, Any], Keys], Iterator[str]] = field(default=lambda *_: iter(()))
    """Yields a text for each setting that landed where any key is allowed."""
    prepare: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = field(
        default=lambda settings, more: settings
    )
    """Returns the settings as they are to be read, beside those that are given in code."""


def keys_in(kind: Callable[..., object], shape: Shape) -> Keys:
    """Returns the keys that the settings and their sections may have."""
    return keys_of(kind, shape.name, shape.part)


def arguments_of(
    kind: Callable[..., object],
    settings: Mapping[str, Any],
    more: Mapping[str, Any],
    shape: Shape,
) -> dict[str, Any]:
    """Returns the arguments of ``kind``, a class of settings, that ``settings`` and ``more`` name.

    Raises one ConfigurationError with the path of each key of ``settings`` that is unknown, missing
    or of a wrong type, and of each value that can't work. ``more`` goes before ``settings``.
    """
    if not isinstance(settings, Mapping):
        raise ConfigurationError(
            f"settings: found {type(settings).__name__}; use a dict with the constructor's names"
        )
    settings = shape.prepare(settings, more)
    unset = [one_line(text) for text in unset_variables(settings, os.environ)]
    settings = expand(settings, os.environ)
    parts = settings.get(shape.name)
    if isinstance(parts, str) and parts in shape.ready:
        settings = {name: value for name, value in settings.items() if name != shape.name}
        more = {shape.name: shape.ready[parts](), **more}
    schema = schema_of(kind, shape.part)
    messages = schema.validate(dict(settings))
    for name in shape.required:
        if name in more and name not in settings:
            messages.pop(name, None)
        elif name not in settings:
            messages[name] = ["Missing data for required field."]
    keys = keys_in(kind, shape)
    problems = [*_problems(messages, settings, keys, shape), *shape.strays(settings, keys), *unset]
    arguments = _loaded(schema, settings, messages, shape, problems)
    problems += _refused(kind, {**settings, **arguments, **more}, problems, shape)
    if problems:
        raise ConfigurationError(*sorted(set(problems)))
    return {**arguments, **more}


def _loaded(
    schema: Any,
    settings: Mapping[str, Any],
    messages: dict[Any, Any],
    shape: Shape,
    problems: list[str],
) -> dict[str, Any]:
    """Returns what is sound, so that all problems are found at once."""
    sound = {name: value for name, value in settings.items() if name not in messages}
    parts = _sound_parts(settings, messages, shape.name)
    required = {name: "" for name in shape.required if name not in sound}
    loaded = vars(schema.load({**required, **sound, shape.name: list(parts.values())}))
    arguments = {name: loaded[name] for name in sound}
    for name, policy in POLICIES.items():
        if name in arguments:
            arguments[name] = _made(policy, arguments[name], problems)
    arguments[shape.name] = [
        _made(shape.part, each, problems, f"{shape.name}[{index}].")
        for index, each in zip(parts, loaded[shape.name], strict=True)
    ]
    if not settings.get(shape.name):
        del arguments[shape.name]
    return arguments


def _made(kind: Callable[..., T], loaded: Any, problems: list[str], place: str = "") -> T | None:
    """Returns the object for what was loaded, or None, and adds the problems if it raises."""
    try:
        return kind(**vars(loaded))
    except ConfigurationError as error:
        problems += [f"{place}{each}" for each in error.errors]
        return None


def _refused(
    kind: Callable[..., object],
    arguments: Mapping[str, Any],
    problems: Collection[str],
    shape: Shape,
) -> list[str]:
    """Returns the errors of the constructor about settings that have no problem yet."""
    known = inspect.signature(kind).parameters
    given = {name: None for name, each in known.items() if each.default is each.empty}
    given |= {name: value for name, value in arguments.items() if name in known}
    try:
        kind(**given)
    except ConfigurationError as error:
        named = {_setting(problem) for problem in problems}
        for name, others in shape.goes_with.items():
            named |= set(others) - arguments.keys() if name in named else set()
        return [each for each in error.errors if _setting(each) not in named]
    return []


def _setting(problem: str) -> str:
    """Returns the name of the setting that a problem is about."""
    return re.split(r"[:.\[]", problem, maxsplit=1)[0]


def _sound_parts(
    settings: Mapping[str, Any], messages: dict[Any, Any], name: str
) -> dict[int, Any]:
    """Returns the parts that have the right keys and types, by their index."""
    found, wrong = settings.get(name), messages.get(name, {})
    if not isinstance(found, list) or not isinstance(wrong, dict):
        return {}
    return {index: each for index, each in enumerate(found) if index not in wrong}


def _problems(messages: Any, found: Any, keys: Keys, shape: Shape, path: str = "") -> Iterator[str]:
    """Yields a text for each of marshmallow's nested messages: the path, and what to use there."""
    if isinstance(messages, list):
        for message in messages:
            if message == "Unknown field.":
                yield f"{path}: no such setting{_hint(path, keys, shape)}"
            else:
                yield f"{path}: found {_kind(found)}; {_advice(message, found, shape, path)}"
        return
    for key, inner in messages.items():
        if isinstance(key, int) and isinstance(found, list):
            yield from _problems(inner, found[key], keys, shape, f"{path}[{key}]")
        elif isinstance(found, Mapping) and key != "_schema":
            name = one_line(key)
            value = found.get(key, _MISSING)
            yield from _problems(inner, value, keys, shape, f"{path}.{name}".lstrip("."))
        else:  # "_schema" is about the whole, "key" and "value" are about one entry of a dict
            yield from _problems(inner, found, keys, shape, path)


def _kind(found: Any) -> str:
    """Returns what was found, without its value: it may be a key."""
    return _KINDS.get(type(found), type(found).__name__)


def _advice(message: str, found: Any, shape: Shape, path: str) -> str:
    """Returns what to use instead."""
    if path == shape.name and found is not _MISSING:
        return shape.list_advice
    if message == "Not a valid list." and path.endswith(".events"):
        return "use a name or a list of names"
    advice = _ADVICE.get(message, message)
    is_quoted = isinstance(found, str) and advice.endswith(("number", "false"))
    return f"{advice}, without quotes" if is_quoted else advice


def _hint(path: str, keys: Keys, shape: Shape) -> str:
    """Returns where an unknown key belongs, or the known key that it may be meant for."""
    holder, _, key = path.rpartition(".")
    holder = holder.partition("[")[0]
    if holder not in keys:  # a dot in the key itself
        return ""
    if key == "hooks" and not holder:
        return "; no file can hold hooks; use from_file(…, hooks=[…])"
    if owner := owner_of(key, holder, keys, shape):
        return owner
    known = {name.casefold(): name for name in keys[holder]}
    return "".join(
        f"; did you mean {known[name]!r}?" for name in get_close_matches(key.casefold(), known, n=1)
    )


def owner_of(key: str, holder: str, keys: Keys, shape: Shape) -> str:
    """Returns where a key belongs that stands in the wrong place. In TOML this is easily done."""
    top = f"to the destination: in TOML, write it above the first [section] or [[{shape.name}]]"
    owners = {**_OWNERS, "": top, shape.name: shape.owner}
    found = [owners[place] for place, names in keys.items() if key in names and place != holder]
    return f"; it belongs {' or '.join(found)}" if found else ""


class _Missing:
    """Stands for the value of a key that is missing."""


_MISSING = _Missing()
_OWNERS = {
    "retry": "to retry: in TOML, write it under [retry]",
    "breaker": "to breaker: in TOML, write it under [breaker]",
}
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
