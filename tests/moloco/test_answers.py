"""What each of MCM's answers means, by Moloco's failure protocol."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.moloco.answers import accepts, classify, error_message
from amplitude_moloco.transports.base import SendResult

DELIVERED, RETRY, THROTTLED, MISCONFIGURED, REJECTED, UNKNOWN = Verdict
DOCUMENTED = {
    200: DELIVERED,
    201: DELIVERED,
    202: DELIVERED,
    204: DELIVERED,
    299: DELIVERED,
    300: MISCONFIGURED,
    301: MISCONFIGURED,
    302: MISCONFIGURED,
    307: MISCONFIGURED,
    308: MISCONFIGURED,
    399: MISCONFIGURED,
    400: REJECTED,
    401: MISCONFIGURED,
    402: REJECTED,
    403: MISCONFIGURED,
    404: MISCONFIGURED,
    405: REJECTED,
    407: RETRY,
    408: RETRY,
    409: REJECTED,
    413: REJECTED,
    421: RETRY,
    422: REJECTED,
    423: REJECTED,
    425: RETRY,
    426: RETRY,
    428: REJECTED,
    429: THROTTLED,
    430: REJECTED,
    499: REJECTED,
    500: RETRY,
    502: RETRY,
    503: RETRY,
    504: RETRY,
    599: RETRY,
    600: RETRY,
    999: RETRY,
    100: RETRY,
    103: RETRY,
    199: RETRY,
}


def test_the_verdicts_are_six() -> None:
    """There are six verdicts, in the order in which this file names them."""
    assert [verdict.name for verdict in Verdict] == (
        "DELIVERED RETRY THROTTLED MISCONFIGURED REJECTED UNKNOWN".split()
    )


@given(st.none() | st.integers(100, 999))
def test_no_event_is_given_up_as_ambiguous(status: int | None) -> None:
    """MCM suppresses copies, so that an event whose answer is lost is always sent again."""
    assert classify(SendResult(status)) is not UNKNOWN


@pytest.mark.parametrize(
    ("status", "verdict"), DOCUMENTED.items(), ids=lambda each: getattr(each, "name", str(each))
)
def test_a_status_has_its_verdict(status: int, verdict: Verdict) -> None:
    """Each documented status has its verdict, at both ends of its range."""
    assert classify(SendResult(status)) is verdict


def expected(status: int) -> Verdict:
    """Returns the verdict of Moloco's failure protocol for any HTTP status."""
    if status in {401, 403, 404}:
        return MISCONFIGURED
    by_hundreds = {1: RETRY, 2: DELIVERED, 3: MISCONFIGURED, 4: REJECTED, 5: RETRY}
    return {407: RETRY, 408: RETRY, 421: RETRY, 425: RETRY, 426: RETRY, 429: THROTTLED}.get(
        status, by_hundreds[status // 100]
    )


def test_every_status_has_one_verdict() -> None:
    """Every status from 100 to 599 has the verdict of the protocol."""
    statuses = range(100, 600)
    assert {s: classify(SendResult(s)) for s in statuses} == {s: expected(s) for s in statuses}


@pytest.mark.parametrize("message", ["ConnectionError", "ReadTimeout", ""])
def test_a_network_fault_is_retried(message: str) -> None:
    """Without an answer, the event is sent again, whatever the fault."""
    assert classify(SendResult(message=message)) is RETRY


def test_a_verdict_depends_on_nothing_but_the_status() -> None:
    """Neither the message nor Retry-After changes what a status means."""
    assert classify(SendResult(200, "request denied", 60)) is DELIVERED
    assert classify(SendResult(400, "try again later", 60)) is REJECTED
    assert classify(SendResult(503, "ok")) is RETRY


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (SendResult(503, "try later"), "503"),
        (SendResult(429), "429"),
        (SendResult(message="ReadTimeout"), "ReadTimeout"),
        (SendResult(), ""),
    ],
    ids=["message", "bare", "fault", "nothing"],
)
def test_a_reason_is_the_status_or_the_fault(result: SendResult, reason: str) -> None:
    """In facts, a result appears as its status, or else as the kind of the network fault."""
    assert result.reason == reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"code": 16, "message": "no key", "details": []}', "no key"),
        (b'{"message": ""}', ""),
        (b'{"message": 7}', "7"),
        (b'{"message": null}', '{"message": null}'),
        (b'{"error": "no"}', '{"error": "no"}'),
        (b'["message"]', '["message"]'),
        (b"<html>", "<html>"),
        (b"\xff", "\ufffd"),
        (b"", ""),
    ],
)
def test_an_error_is_quoted_by_its_message(body: bytes, message: str) -> None:
    """An error's message is its ``message`` field, or else the whole text."""
    assert error_message(body) == message


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_any_body_has_a_message(body: bytes) -> None:
    """Reading the message of an error never raises."""
    assert isinstance(error_message(body), str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
)


@given(JSON, st.sampled_from(["", " ", "\r\n\t"]), st.booleans())
def test_json_is_accepted(value: object, blanks: str, is_escaped: bool) -> None:
    """Any JSON is the answer of an API, whatever blanks are around it."""
    text = json.dumps(value, ensure_ascii=is_escaped)
    assert accepts(f"{blanks}{text}{blanks}".encode(errors="surrogatepass"), True)


@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_what_is_no_json_is_not_accepted(text: str) -> None:
    """A page, or any other text, is not the answer of an API, nor is the beginning of one."""
    for page in (f"<{text}", f"<!DOCTYPE html>{text}", f"Error: {text}"):
        assert not accepts(page.encode(errors="replace"), True)
        assert not accepts(page.encode(errors="replace"), False)


@given(st.binary(), st.booleans())
def test_any_body_can_be_judged(body: bytes, is_complete: bool) -> None:
    """Reading the body of a success never raises."""
    assert accepts(body, is_complete) in (True, False)


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b' {"a": "b'])
def test_the_beginning_of_an_object_is_accepted(body: bytes) -> None:
    """If only a part of the body came, it may be MCM's unless it begins differently."""
    assert accepts(body, False)
