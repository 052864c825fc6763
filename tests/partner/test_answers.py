"""What the answers of partners have in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.answers import accepts, with_ambiguity
from amplitude_moloco.transports.base import SendResult


def retry(result: SendResult) -> Verdict:
    return Verdict.RETRY


@pytest.mark.parametrize(
    ("result", "is_ambiguous"),
    [
        (SendResult(None, "ReadTimeout", cause="x has not answered within 10 s"), True),
        (SendResult(None, "ConnectionError", cause="x ended the connection before"), True),
        (SendResult(502), True),
        (SendResult(504), True),
        (SendResult(500), False),
        (SendResult(None, "ConnectTimeout"), False),
        (SendResult(None, "SSLError"), False),
        (SendResult(None, "ConnectionError", cause="x refuses the connection; check"), False),
        (SendResult(None, "ConnectionError", cause="the name x can't be resolved; check"), False),
    ],
)
def test_what_the_partner_may_have_is_repeated_on_request(
    result: SendResult, is_ambiguous: bool
) -> None:
    """What the partner may have, or not, is sent again or given up, as on_ambiguous says."""
    assert with_ambiguity("retry", retry)(result) is Verdict.RETRY
    verdict = with_ambiguity("drop", retry)(result)
    assert verdict is (Verdict.UNKNOWN if is_ambiguous else Verdict.RETRY)


@given(st.binary())
def test_a_page_on_the_way_is_no_success(body: bytes) -> None:
    """A body is the partner's, whatever it is, unless it is a page of HTML."""
    assert accepts(body, True) == (not body.lstrip().startswith(b"<"))
    assert not accepts(b" <html>" + body, False)


def test_there_are_two_ways() -> None:
    """Anything but ``retry`` or ``drop`` is refused."""
    with pytest.raises(ConfigurationError, match=r"^on_ambiguous: found 'ask'; use 'retry' or"):
        with_ambiguity("ask", retry)
