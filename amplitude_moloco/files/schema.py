"""A strict schema of settings, read from the arguments of their constructor.

So names, types and defaults are said once. dataclasses-json loads it, with the extra ``config``: a
number in quotes is not a number, and 1 is not true.
"""

from __future__ import annotations

import inspect
import sys
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, field, make_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import marshmallow
from dataclasses_json import DataClassJsonMixin, config

from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.retry import RetrySchedule

Keys = dict[str, list[str]]
"""The keys of each section; those of the settings themselves under an empty name."""
POLICIES: dict[str, Callable[..., Any]] = {"retry": RetrySchedule, "breaker": BreakerPolicy}


def schema_of(kind: Callable[..., object], part: Callable[..., object]) -> Any:
    """Returns the marshmallow schema of a class of settings. Unknown keys are an error.

    ``part`` is the class of which the settings have a list.
    """
    return _loadable(kind, part).schema(unknown=marshmallow.RAISE)


def keys_of(kind: Callable[..., object], name: str, part: Callable[..., object]) -> Keys:
    """Returns the keys that the settings and their sections may have; ``name`` is the list's."""
    sections: dict[str, Any] = {"": kind, name: part, **POLICIES}
    return {each: [*_loadable(of, part).__dataclass_fields__] for each, of in sections.items()}


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


class _OneOrMore(marshmallow.fields.List):
    """Accepts one text in place of a list of them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._deserialize([value] if isinstance(value, str) else value, *args, **kwargs)


@cache
def _loadable(kind: Any, part: Any) -> Any:
    """Returns a dataclass with the arguments of ``kind`` that plain data can hold.

    dataclasses-json can load it. ``kind`` itself belongs to the core, which does without it.
    """
    # An argument may be inherited: its type is written in the words of another module.
    words = ChainMap(*(vars(sys.modules[each.__module__]) for each in kind.__mro__))
    types = get_type_hints(kind.__init__, dict(words))
    members = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if _plain_parts(types[name], part):
            is_required = parameter.default is parameter.empty
            metadata = config(mm_field=_argument(types[name], part, parameter.default))
            default = MISSING if is_required else parameter.default
            # Any, since marshmallow has checked and converted the value by the time it is used.
            members.append((name, Any, field(default=default, metadata=metadata)))
    bases = (DataClassJsonMixin,)
    return make_dataclass(kind.__name__, members, bases=bases, kw_only=True)


def _argument(kind: Any, part: Any, default: object) -> marshmallow.fields.Field:
    # A default of None stands for a missing key, and can't be given.
    is_nullable = NoneType in get_args(kind) and default is not None
    is_required = default is inspect.Parameter.empty
    return _strict_field(kind, part, required=is_required, allow_none=is_nullable)


def _strict_field(kind: Any, part: Any, **options: Any) -> marshmallow.fields.Field:
    """Returns the marshmallow field that accepts this type and nothing else.

    The constructor checks what may be of several types.
    """
    kinds = _plain_parts(kind, part)
    if len(kinds) == 2 and get_args(kinds[1]) == (kinds[0],):  # X | Iterable[X]
        return _OneOrMore(_strict_field(kinds[0], part), **options)
    if len(kinds) > 1:
        return marshmallow.fields.Raw(**options)
    (only,) = kinds
    if _is_section(only, part):
        return marshmallow.fields.Nested(schema_of(only, part), **options)
    inner = (_strict_field(each, part) for each in _inner(only))
    return _STRICT_FIELDS[get_origin(only) or only](*inner, **options)


def _plain_parts(kind: Any, part: Any) -> list[Any]:
    """Returns those types of a union that plain data can hold. One type is a union of one."""
    if get_origin(kind) in (Union, UnionType):
        return [found for each in get_args(kind) for found in _plain_parts(each, part)]
    if get_origin(kind) is Literal:
        return [kind]
    is_known = _is_section(kind, part) or (get_origin(kind) or kind) in _STRICT_FIELDS
    return [kind] if is_known and all(_plain_parts(each, part) for each in _inner(kind)) else []


def _is_section(kind: Any, part: Any) -> bool:
    return kind is part or kind in POLICIES.values()


def _inner(kind: Any) -> list[Any]:
    return [each for each in get_args(kind) if each is not Ellipsis]


_STRICT_FIELDS: dict[Any, Callable[..., marshmallow.fields.Field]] = {
    bool: _Flag,
    float: _Number,
    int: partial(marshmallow.fields.Integer, strict=True),
    str: marshmallow.fields.String,
    tuple: _Tuple,
    Collection: marshmallow.fields.List,
    Iterable: marshmallow.fields.List,
    Mapping: marshmallow.fields.Dict,
}
