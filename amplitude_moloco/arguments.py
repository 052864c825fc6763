"""Gives a constructor the arguments of a dataclass of settings, so that they are listed once.

Reports of errors may show the local variables of each frame of a traceback, and the settings are
among them. What no repr of the settings shows is not shown there, either.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from dataclasses import fields
from functools import wraps
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar

from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.secret import Secret, SecretBytes

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
_Settings = TypeVar("_Settings")
_Self = TypeVar("_Self")


def takes_arguments_of(
    settings: Callable[_Arguments, _Settings],
) -> Callable[[Callable[[_Self, _Settings], None]], Callable[Concatenate[_Self, _Arguments], None]]:
    """Returns a decorator for an ``__init__`` that gets an instance of the class ``settings``.

    Callers pass the arguments of that class instead. Type checkers, editors and
    ``inspect.signature`` see its signature.
    """

    def decorate(
        init: Callable[[_Self, _Settings], None],
    ) -> Callable[Concatenate[_Self, _Arguments], None]:
        @wraps(settings.__init__)
        def init_with_arguments(
            self: _Self, /, *arguments: _Arguments.args, **more: _Arguments.kwargs
        ) -> None:
            # mypy can't see that a tuple of the same values is still these arguments.
            arguments = _hidden_in_order(settings, arguments)  # type: ignore[assignment]
            more = hidden(settings, more)
            init(self, settings(*arguments, **more))

        return init_with_arguments

    return decorate


def hides_arguments(settings: type[_Settings]) -> type[_Settings]:
    """Decorates a dataclass: its ``__init__`` holds no argument that its repr hides."""
    kind: Any = settings  # mypy forbids to replace an __init__, since subclasses may have another
    init = kind.__init__

    @wraps(init)
    def init_with_hidden(self: Any, /, *arguments: Any, **more: Any) -> None:
        arguments = _hidden_in_order(settings, arguments)
        more = hidden(settings, more)
        with refusing_unreadable(vars(self)):
            init(self, *arguments, **more)

    wrapper: Any = init_with_hidden
    wrapper.__signature__ = _own_first(init, own=kind.__annotations__)
    kind.__init__ = wrapper
    return settings


def _own_first(init: Callable[..., None], own: Container[str]) -> inspect.Signature:
    """Returns a constructor's signature, with what a class inherits after what is its own."""
    found = inspect.signature(init)
    this, *arguments = found.parameters.values()
    return found.replace(
        parameters=[this, *sorted(arguments, key=lambda each: each.name not in own)]
    )


def _hidden_in_order(settings: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns positional arguments as ``hidden``. Too many of them are refused by the settings."""
    names = [each.name for each in fields(settings) if not each.kw_only]
    given = hidden(settings, dict(zip(names, arguments, strict=False)))
    return (*given.values(), *arguments[len(given) :])


def hidden(settings: Any, given: Any) -> Any:
    """Returns a dict of arguments, in which no repr shows those that the settings' hides.

    ``settings`` is a dataclass. Anything but a dict is returned as it is.
    """
    if not issubclass(type(given), dict):
        return given
    secret = {each.name for each in fields(settings) if not each.repr}
    return {name: _hidden(each) if name in secret else each for name, each in dict.items(given)}


def shortened(call: Callable[[], _Result]) -> _Result:
    """Returns what a call returns. Raises its ConfigurationError without the frames in between.

    They hold settings as they were read from a file.
    """
    try:
        return call()
    except ConfigurationError as error:
        errors, cause = error.errors, error.__cause__
    raise ConfigurationError(*errors) from cause


def _hidden(value: Any) -> Any:
    kind = type(value)  # an object may raise when it is asked for its class
    if kind in (dict, MappingProxyType):
        return {name: _hidden(each) for name, each in value.items()}
    if kind in (list, tuple):
        return [*map(_hidden, value)]
    if issubclass(kind, (bytes, bytearray)):
        return SecretBytes(memoryview(value))
    return Secret(str.__str__(value)) if issubclass(kind, str) else value
