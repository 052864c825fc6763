"""Functions that are written as source code at run time."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from amplitude_moloco.convert.code import Code


def doubled(title: str = "doubled") -> Callable[..., Any]:
    code = Code("double(number)")
    code.bind(two=2)
    with code.block("if number is None:"):
        code.add("raise ValueError(two)  # nothing to double")
    code.add("return two * number")
    return code.compile(title)


def test_the_lines_are_a_function_with_the_objects_that_they_name() -> None:
    """The function runs its lines, which find each bound object under its name."""
    assert doubled()(21) == 42


def test_the_source_can_be_printed() -> None:
    """The source of a compiled function can be printed, as that of any other."""
    assert inspect.getsource(doubled()) == (
        "def double(number):\n"
        "    if number is None:\n"
        "        raise ValueError(two)  # nothing to double\n"
        "    return two * number\n"
    )


def test_a_traceback_shows_the_line() -> None:
    """A traceback shows the line that raised, and the title in place of a file."""
    with pytest.raises(ValueError, match="2") as caught:
        doubled("sync PURCHASE")(None)
    text = "".join(traceback.format_exception(caught.value))
    assert "raise ValueError(two)  # nothing to double" in text
    assert 'File "<sync PURCHASE ' in text


def test_functions_of_one_source_share_their_lines() -> None:
    """Compiling the same source again and again does not fill the memory."""
    doubled()
    known = len(linecache.cache)
    for _ in range(10):
        doubled()
    assert len(linecache.cache) == known


def test_any_title_will_do() -> None:
    """A title may hold what no name of a file does."""
    assert doubled("a\0b\n\ud800")(1) == 2


def test_a_block_may_stay_empty() -> None:
    """A block to which nothing was added does nothing."""
    code = Code("nothing(found)")
    with code.block("if found:"):
        pass
    assert code.compile("nothing")(True) is None
