"""Gives a constructor the arguments of a dataclass of settings, so that they are listed once.

Reports of errors may show the local variables of each frame of a traceback, and the settings are
among them. What no repr of the settings shows is not shown there, either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.secret import Secret

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
            # With fewer names than arguments, the settings refuse them.
            names = [each.name for each in fields(settings)]  # type: ignore[arg-type]  # a dataclass
            given: dict[str, Any] = hidden(settings, dict(zip(names, arguments, strict=False)))
            # mypy can't see that a tuple of the same values is still these arguments.
            arguments = (*given.values(), *arguments[len(given) :])  # type: ignore[assignment]
            more = hidden(settings, more)
            init(self, settings(*arguments, **more))

        return init_with_arguments

    return decorate


def hidden(settings: Any, given: Any) -> Any:
    """Returns a dict of arguments, in which no repr shows those that the settings' hides.

    ``settings`` is a dataclass. Anything but a dict is returned as it is.
    """
    if not isinstance(given, dict):
        return given
    secret = {each.name for each in fields(settings) if not each.repr}
    return {name: _hidden(each) if name in secret else each for name, each in given.items()}


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
    if isinstance(value, dict):
        return {name: _hidden(each) for name, each in value.items()}
    return Secret(value) if isinstance(value, str) else value
