"""Which exceptions are the app's, raised by what interrupted our code, and which are not."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType

import pytest

from amplitude_moloco.host.interruption import is_interruption


class TimeLimit(Exception):
    """What a signal handler raises."""


def raising(number: int, frame: FrameType | None) -> None:
    raise TimeLimit


def raising_of_any(*arguments: object) -> None:
    raise TimeLimit


def raising_deep(number: int, frame: FrameType | None) -> None:
    raising_of_any("no frame")


@pytest.fixture(params=[raising, raising_of_any, raising_deep])
def handled(request: pytest.FixtureRequest) -> Iterator[None]:
    """A signal handler is installed that raises."""
    before = signal.signal(signal.SIGUSR1, request.param)
    yield
    signal.signal(signal.SIGUSR1, before)


def caught(work: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as error:  # noqa: PT011  # the test is about any
        work()
    return error.value


def test_what_a_signal_handler_raises_is_one(handled: None) -> None:
    """Whatever the handler's arguments are called, and however deep it raises."""

    def interrupted() -> None:
        signal.raise_signal(signal.SIGUSR1)

    assert is_interruption(caught(interrupted))


def test_what_a_monitoring_tool_raises_is_one() -> None:
    """A callback that was handed the code that it interrupts."""

    def callback(code: CodeType, offset: int) -> None:
        raise TimeLimit

    def interrupted() -> None:
        callback(sys._getframe().f_code, 0)  # noqa: SLF001  # as the interpreter does

    assert is_interruption(caught(interrupted))


@pytest.mark.parametrize(
    "work",
    [lambda: 1 / 0, lambda: int("x"), lambda: dict[str, int]()["x"], lambda: raising(10, None)],
    ids=["zero", "value", "index", "called"],
)
def test_what_code_raises_is_none(work: Callable[[], object]) -> None:
    """An exception of the code itself, or of what it calls, is not the app's interruption."""
    assert not is_interruption(caught(work))


def test_what_was_never_raised_is_none() -> None:
    """An exception without a traceback interrupted nothing."""
    assert not is_interruption(TimeLimit())
