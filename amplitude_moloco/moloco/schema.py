"""A strict schema of settings, read from the arguments of their constructor.

So names, types and defaults are said once. dataclasses-json loads it, with the extra ``config``: a
number in quotes is not a number, and 1 is not true.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, field, make_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import marshmallow
from dataclasses_json import DataClassJsonMixin, config

from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.moloco.sync import Sync

Keys = dict[str, list[str]]
"""The keys of each section; those of the settings themselves under an empty name."""
POLICIES: dict[str, Callable[..., Any]] = {"retry": RetrySchedule, "breaker": BreakerPolicy}
_SECTIONS: tuple[Any, ...] = (Sync, *POLICIES.values())


def schema_of(kind: Callable[..., object]) -> Any:
    """Returns the marshmallow schema of a class of settings. Unknown keys are an error."""
    return _loadable(kind).schema(unknown=marshmallow.RAISE)


def keys_of(kind: Callable[..., object]) -> Keys:
    """Returns the keys that the settings and their sections may have."""
    sections: dict[str, Any] = {"": kind, "syncs": Sync, **POLICIES}
    return {name: [*_loadable(of).__dataclass_fields__] for name, of in sections.items()}


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
def _loadable(kind: Any) -> Any:
    """Returns a dataclass with the arguments of ``kind`` that plain data can hold.

    dataclasses-json can load it. ``kind`` itself belongs to the core, which does without it.
    """
    types = get_type_hints(kind.__init__)
    members = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if _plain_parts(types[name]):
            is_required = parameter.default is parameter.empty
            metadata = config(mm_field=_argument(types[name], parameter.default))
            default = MISSING if is_required else parameter.default
            # Any, since marshmallow has checked and converted the value by the time it is used.
            members.append((name, Any, field(default=default, metadata=metadata)))
    bases = (DataClassJsonMixin,)
    return make_dataclass(kind.__name__, members, bases=bases, kw_only=True)


def _argument(kind: Any, default: object) -> marshmallow.fields.Field:
    # A default of None stands for a missing key, and can't be given.
    is_nullable = NoneType in get_args(kind) and default is not None
    return _strict_field(kind, required=default is inspect.Parameter.empty, allow_none=is_nullable)


def _strict_field(kind: Any, **options: Any) -> marshmallow.fields.Field:
    """Returns the marshmallow field that accepts this type and nothing else.

    The constructor checks what may be of several types.
    """
    parts = _plain_parts(kind)
    if len(parts) == 2 and get_args(parts[1]) == (parts[0],):  # X | Iterable[X]
        return _OneOrMore(_strict_field(parts[0]), **options)
    if len(parts) > 1:
        return marshmallow.fields.Raw(**options)
    (part,) = parts
    if part in _SECTIONS:
        return marshmallow.fields.Nested(schema_of(part), **options)
    inner = map(_strict_field, _inner(part))
    return _STRICT_FIELDS[get_origin(part) or part](*inner, **options)


def _plain_parts(kind: Any) -> list[Any]:
    """Returns those types of a union that plain data can hold. One type is a union of one."""
    if get_origin(kind) in (Union, UnionType):
        return [part for each in get_args(kind) for part in _plain_parts(each)]
    is_known = kind in _SECTIONS or (get_origin(kind) or kind) in _STRICT_FIELDS
    return [kind] if is_known and all(map(_plain_parts, _inner(kind))) else []


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
