"""Refuses settings that raise when they are looked at, or that are not what they claim to be."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType
from typing import Any

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.interruption import pass_interruption

_SOUND = {str, int, float, bool, NoneType, bytes, FunctionType, MethodType, BuiltinFunctionType}
_LISTS = {list, tuple, set, frozenset}


@contextmanager
def refusing_unreadable(settings: Mapping[str, Any]) -> Iterator[None]:
    """Turns what a setting raises meanwhile into a ConfigurationError that names the setting.

    Python asks an object for its class, its truth or its items wherever it is used, and it may
    raise whatever it wants. What no setting explains is raised as it is.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        pass_interruption(error)
        for name, culprit in _culprits(settings):
            raise ConfigurationError(
                f"{name}: found {_in_words(culprit)}, which can't be read "
                f"({type(error).__name__}); use plain values"
            ) from error
        raise


def _culprits(settings: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yields what may have raised, with the setting that holds it; the most suspicious first."""
    for name, value in settings.items():
        yield from ((name, each) for each in _unreadable(value))
    # What an iterator has handed out can't be looked at once more.
    yield from ((name, each) for name, each in settings.items() if isinstance(each, Iterator))


def _unreadable(value: Any) -> Iterator[object]:
    kind = type(value)
    if kind is dict:
        value, kind = [*chain(value, value.values())], list
    if kind in _LISTS:
        for each in value:
            yield from _unreadable(each)
    elif kind not in _SOUND:
        try:
            _look_at(value)
        except Exception:
            yield value
        else:
            if value.__class__ is not kind:  # it only claims to be what is wanted
                yield value


def _look_at(value: Any) -> None:
    """Does what checks do with a value."""
    looks: list[object] = [type(value).__name__, repr(value), bool(value), value == value]  # noqa: PLR0124  # for what it raises
    if isinstance(value, str):
        looks += [hash(value), value.strip(), str(value), *value]
    if isinstance(value, int):
        looks += [hash(value), value < 0]
    if isinstance(value, Mapping):
        looks += value.items()
    if isinstance(value, Iterable):
        iter(value)
    if isinstance(value, os.PathLike):
        os.fspath(value)
    if callable(value):
        with suppress(TypeError, ValueError):  # a builtin without a signature
            inspect.signature(value)


def _in_words(value: object) -> str:
    try:
        return f"a value of type {type(value).__name__}"
    except Exception:
        return "a value"
