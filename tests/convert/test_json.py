"""JSON with and without orjson."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.convert.json import dumps, dumps_without_orjson

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e-3, 1e-3)
    | st.sampled_from([1e16, 1e15, 1e-4, 1e-5, -1.5e-5, 9.999e-6, 1e-6, -0.0, 5e-324])
    | st.sampled_from(["1e-05", "1e+16", '"\\/\b\f\n\r\t\x00\x7f\x85\u2028😀', ""])
)
VALUES = st.recursive(
    SCALARS, lambda parts: st.lists(parts) | st.dictionaries(TEXTS, parts), max_leaves=20
)


def in_form_of_today(written: bytes) -> bytes:
    """Older releases of orjson write 1e16 where current ones write 1e+16; the number is equal."""
    if orjson.dumps(1e16) == b"1e+16":
        return written
    return re.sub(rb"([0-9])e\+", rb"\1e", written)


@given(VALUES)
def test_both_write_the_same_bytes(value: Any) -> None:
    """Without orjson, an event has the same bytes on the wire."""
    assert in_form_of_today(dumps_without_orjson(value)) == in_form_of_today(orjson.dumps(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_exact(number: float) -> None:
    """A number is read back as it was, to the last bit."""
    read = orjson.loads(dumps_without_orjson([number]))[0]
    assert (read, math.copysign(1, read)) == (number, math.copysign(1, number))


@pytest.mark.parametrize(
    "value", [{"a": {1, 2}}, {"a": b"1"}, [object()]], ids=["set", "bytes", "object"]
)
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    """A value that JSON can't represent raises TypeError either way."""
    for write in (dumps_without_orjson, orjson.dumps):
        with pytest.raises(TypeError):
            write(value)


def test_orjson_is_used_where_it_is_installed() -> None:
    """With orjson, nothing else encodes."""
    assert dumps is orjson.dumps


WITHOUT_ORJSON = """
import sys
sys.modules["orjson"] = None
from amplitude import BaseEvent
from amplitude_moloco import MolocoDestination, Sync
destination = MolocoDestination(
    "key", "SHOP", [Sync("HOME", ["Home"])], channel_type="SITE", platform_name="shop"
)
event = BaseEvent("Home", user_id="u", insert_id="1", time=1_700_000_000_000,
                  user_properties={"x": [1e-05, 2.5, "é"]})
sys.stdout.buffer.write(destination.preview(event)[0].body)
"""


def test_the_library_works_without_orjson() -> None:
    """Where orjson is not installed, events have the same bytes."""
    command = [sys.executable, "-c", WITHOUT_ORJSON]
    without = subprocess.run(command, capture_output=True, timeout=40, check=True).stdout
    command[2] = WITHOUT_ORJSON.replace('sys.modules["orjson"] = None', "")
    assert subprocess.run(command, capture_output=True, timeout=40, check=True).stdout == without
    assert '"x":[0.00001,2.5,"é"]'.encode() in without
