"""Gives a constructor the arguments of a dataclass of settings, so that they are listed once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

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
            init(self, settings(*arguments, **more))

        return init_with_arguments

    return decorate
