"""What each of Adjust's answers does to an event."""

from __future__ import annotations

import logging

import pytest

from amplitude_moloco.adjust.answers import Classifier, classify, error_message
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
    classifier = Classifier()
    with caplog.at_level(logging.WARNING):
        assert [classifier(SendResult(202)) for _ in range(3)] == [Verdict.DELIVERED] * 3
    assert len(caplog.records) == 1


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
