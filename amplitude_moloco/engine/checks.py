"""Checks of settings: numbers, callables, and several settings at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, TypeVar

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

MOST = 10**9
"""No setting may be larger: clocks, timeouts and SQLite's integers have limits far above it."""

_Result = TypeVar("_Result")


class Checks:
    """Runs checks of several settings, to raise all their errors at once."""

    def __init__(self) -> None:
        self._errors: dict[str, None] = {}  # in their order, each once

    def run(self, check: Callable[..., _Result], *arguments: Any, **more: Any) -> _Result:
        """Returns the check's result. After an error it is None, until ``raise_errors()``."""
        try:
            return check(*arguments, **more)
        except ConfigurationError as error:
            self._errors |= dict.fromkeys(error.errors)
            return None  # type: ignore[return-value]  # raise_errors() comes before any use

    def raise_errors(self) -> None:
        """Raises one ConfigurationError with the texts of all, if there are any."""
        if self._errors:
            raise ConfigurationError(*self._errors)


def callable_of_one(place: str, call: object, argument: str) -> Callable[[Any], Any]:
    """Returns a callable that takes one argument and does its work when called.

    Raises ConfigurationError for anything else, with ``argument`` as the name of what it gets.
    """
    refusal = f"does not take one argument; use one that takes {argument}"
    return _checked_callable(place, call, (None,), refusal)


def callable_of_none(place: str, call: object) -> Callable[[], Any]:
    """Returns a callable that takes no argument and does its work when called.

    Raises ConfigurationError for anything else.
    """
    return _checked_callable(place, call, (), "needs arguments; use one that takes none")


def _checked_callable(
    place: str, call: object, arguments: tuple[None, ...], refusal: str
) -> Callable[..., Any]:
    if not callable(call):
        raise ConfigurationError(f"{place}: found {type(call).__name__}; use a callable")
    for function in (call, getattr(call, "__call__", None)):  # noqa: B004  # an async __call__
        if (
            inspect.iscoroutinefunction(function)
            or inspect.isasyncgenfunction(function)
            or inspect.isgeneratorfunction(function)
        ):
            raise ConfigurationError(
                f"{place}: found an async function or a generator, which would never run; use a "
                f"plain function"
            )
    try:
        inspect.signature(call).bind(*arguments)
    except TypeError:
        raise ConfigurationError(f"{place}: found a callable that {refusal}") from None
    except ValueError:  # a builtin without a signature
        pass
    return call


def listed(name: str, several: Iterable[_Result]) -> list[_Result]:
    """Returns a setting that is iterable as a list. Raises ConfigurationError if it can't be read.

    An array of numpy's without dimensions, for example, only seems to be iterable.
    """
    try:
        return [*several]
    except Exception as error:
        raise ConfigurationError(
            f"{name}: found {type(several).__name__}, which can't be read "
            f"({type(error).__name__}); use a list"
        ) from error


def callables_of_one(name: str, calls: object, argument: str) -> tuple[Callable[[Any], Any], ...]:
    """Returns callables that take one argument, from one or several. Raises ConfigurationError."""
    if callable(calls) and not isinstance(calls, Iterable):
        return (callable_of_one(name, calls, argument),)
    if not isinstance(calls, Iterable) or isinstance(calls, (str, bytes)):
        raise ConfigurationError(f"{name}: found {type(calls).__name__}; use a list of callables")
    checks = Checks()
    checked = tuple(
        checks.run(callable_of_one, f"{name}[{index}]", call, argument)
        for index, call in enumerate(listed(name, calls))
    )
    checks.raise_errors()
    return checked


def instance_of(name: str, kind: type[_Result], value: object) -> _Result:
    """Returns a setting of this type, by default a new one. Raises ConfigurationError."""
    if value is None:
        return kind()
    if isinstance(value, kind):
        return value
    raise ConfigurationError(f"{name}: found {type(value).__name__}; use {kind.__name__}(…)")


def is_positive(value: object) -> bool:
    """Whether this is a number above 0 and at most ``MOST``: a time to wait, a rate, a count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MOST


def bounded(seconds: float) -> float:
    """Returns a time to wait that every clock can: from 0, also for NaN, to ``MOST``."""
    if seconds > MOST:
        return float(MOST)
    return seconds if seconds > 0 else 0.0


def is_count(value: object) -> bool:
    """Whether this is a whole number above 0 and at most ``MOST``."""
    return isinstance(value, int) and is_positive(value)


def whole_number(name: str, value: int) -> int:
    """Returns a setting that is a whole number above 0. Raises ConfigurationError if it is not."""
    if is_count(value):
        return value
    raise ConfigurationError(_refusal(name, value, "a whole number above 0"))


def number(name: str, value: float) -> float:
    """Returns a setting that is a number above 0. Raises ConfigurationError if it is not."""
    if is_positive(value):
        return value
    raise ConfigurationError(_refusal(name, value, "a number above 0"))


def number_or_none(name: str, value: float | None) -> float | None:
    """Returns a setting that is None or a number above 0. Raises ConfigurationError."""
    return None if value is None else number(name, value)


def _refusal(name: str, value: object, wanted: str) -> str:
    is_too_large = isinstance(value, (int, float)) and MOST < value < inf
    limit = f", at most {MOST}" if is_too_large else ""
    return f"{name}: found {shown(value)}; use {wanted}{limit}"
