"""What the sandbox reads as JSON, with and without orjson."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.sandbox.document import loads_without_orjson

LITERALS = st.sampled_from(
    """NaN Infinity -Infinity -0 -0.0 01 1. .5 1e5 1E+2 1e999 -1e999 1e-999 18446744073709551615
    18446744073709551616 -9223372036854775808 -9223372036854775809 "\\ud800" "\\udc00\\ud800"
    "\\ud83d\\ude00" "\\x" "\t" {"a":1,"a":2} {"a":} [1,] [] {} null true nul "" 'a' // """.split()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=10,
)
DOCUMENTS = (
    VALUES.map(lambda value: json.dumps(value).encode())
    | VALUES.map(
        lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    | LITERALS.map(lambda text: f'{{"a": [{text}]}}'.encode())
    | st.binary(max_size=20)
    | st.integers(min_value=-(10**400), max_value=10**400).map(lambda number: str(number).encode())
)


def read(loads: Any, raw: bytes) -> str:
    try:
        return repr(loads(raw))
    except ValueError:
        return "refused"


@given(DOCUMENTS)
def test_both_read_the_same(raw: bytes) -> None:
    """Without orjson the sandbox accepts the same documents, with the same values."""
    assert read(loads_without_orjson, raw) == read(orjson.loads, raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_what_is_nested_too_deep_is_refused(opening: bytes) -> None:
    """A document that would exhaust the stack is refused like any other that can't be read."""
    with pytest.raises(ValueError, match=r".+"):
        loads_without_orjson(opening * 100_000)


def test_the_sandbox_works_without_orjson() -> None:
    """Where orjson is not installed, the sandbox reads with the standard library."""
    script = """
import sys
sys.modules["orjson"] = None
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.document import parse
print(parse(b'{"a": [1, 2.5]}'))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "{'a': [1, 2.5]}\n"
