"""What each of Adjust's answers does to an event."""

from __future__ import annotations

import logging

import pytest

from amplitude_moloco.adjust.answers import Classifier, accepts, classify, error_message
from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.transports.base import SendResult


def said(message: str) -> str:
    return f"Event request failed ({message}) (app_token:abc)"


@pytest.mark.parametrize(
    ("status", "message", "verdict"),
    [
        (200, "", Verdict.DELIVERED),
        (202, "", Verdict.DELIVERED),
        (400, "Ignoring event, earlier unique event tracked", Verdict.DELIVERED),
        (400, "Bad event state", Verdict.REJECTED),
        (400, "Invalid event token", Verdict.REJECTED),
        (400, "Invalid callback parameters", Verdict.REJECTED),
        (400, "Invalid revenue", Verdict.REJECTED),
        (400, "Invalid app token", Verdict.MISCONFIGURED),
        (401, "Failed to authorize request", Verdict.MISCONFIGURED),
        (401, "Session failed", Verdict.MISCONFIGURED),
        (403, "App is inactive", Verdict.MISCONFIGURED),
        (403, "Tracking disabled", Verdict.MISCONFIGURED),
        (403, "Event token blocklisted", Verdict.REJECTED),
        (404, "App token not found", Verdict.MISCONFIGURED),
        (404, "Device not found", Verdict.REJECTED),
        (404, "<html>", Verdict.MISCONFIGURED),
        (301, "", Verdict.MISCONFIGURED),
        (413, "", Verdict.REJECTED),
        (451, "Device is opted out", Verdict.REJECTED),
        (429, "", Verdict.THROTTLED),
        (408, "", Verdict.RETRY),
        (500, "", Verdict.RETRY),
        (503, "", Verdict.RETRY),
        (None, "ReadTimeout", Verdict.RETRY),
    ],
)
def test_each_answer_has_its_verdict(status: int | None, message: str, verdict: Verdict) -> None:
    """An unknown device ends one event alone; what is wrong for all events pauses all."""
    assert classify(SendResult(status, said(message) if status else message)) is verdict


def test_a_202_is_delivered_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A 202 counts as delivered, and a warning says once that the token is not right."""
    classifier = Classifier(repeats_ambiguous=True)
    with caplog.at_level(logging.WARNING):
        assert [classifier(SendResult(202)) for _ in range(3)] == [Verdict.DELIVERED] * 3
    assert len(caplog.records) == 1


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
def test_what_adjust_may_have_is_repeated_on_request(
    result: SendResult, is_ambiguous: bool
) -> None:
    """An event that Adjust may have, or not, is sent again or given up, as on_ambiguous says."""
    assert Classifier(repeats_ambiguous=True)(result) is Verdict.RETRY
    verdict = Classifier(repeats_ambiguous=False)(result)
    assert verdict is (Verdict.UNKNOWN if is_ambiguous else Verdict.RETRY)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"error": "Event request failed (Bad event state)"}',
            "Event request failed (Bad event state)",
        ),
        (b"Device not found", "Device not found"),
        (b"[1]", "[1]"),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_message_is_read_from_the_body(body: bytes, message: str) -> None:
    """The message of an answer is its error, or the whole text."""
    assert error_message(body) == message


def test_a_page_on_the_way_is_no_success() -> None:
    """OK, in text or JSON, is Adjust's; a page of HTML is not."""
    assert accepts(b"OK", True)
    assert accepts(b'{"status": "OK"}', True)
    assert not accepts(b" <html>", False)
