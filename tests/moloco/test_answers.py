"""What each answer means, as Moloco's failure protocol has it."""

from __future__ import annotations

import pytest

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.transports.base import SendResult

DELIVERED, RETRY, THROTTLED, MISCONFIGURED, REJECTED = Verdict
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
    407: REJECTED,
    408: RETRY,
    409: REJECTED,
    413: REJECTED,
    422: REJECTED,
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


def test_the_verdicts_are_five() -> None:
    """There are five verdicts, in the order in which this file names them."""
    assert [verdict.name for verdict in Verdict] == (
        "DELIVERED RETRY THROTTLED MISCONFIGURED REJECTED".split()
    )


@pytest.mark.parametrize(
    ("status", "verdict"), DOCUMENTED.items(), ids=lambda each: getattr(each, "name", str(each))
)
def test_a_status_has_its_verdict(status: int, verdict: Verdict) -> None:
    """Each documented status means what the table says, on both edges of its range."""
    assert classify(SendResult(status)) is verdict


def expected(status: int) -> Verdict:
    """Moloco's failure protocol, for any status of HTTP."""
    if status in {401, 403, 404}:
        return MISCONFIGURED
    by_hundreds = {1: RETRY, 2: DELIVERED, 3: MISCONFIGURED, 4: REJECTED, 5: RETRY}
    return {408: RETRY, 429: THROTTLED}.get(status, by_hundreds[status // 100])


def test_every_status_has_one_verdict() -> None:
    """From 100 to 599 each status falls into the one verdict of the protocol."""
    statuses = range(100, 600)
    assert {s: classify(SendResult(s)) for s in statuses} == {s: expected(s) for s in statuses}


@pytest.mark.parametrize("message", ["ConnectionError", "ReadTimeout", ""])
def test_a_fault_of_the_network_is_tried_again(message: str) -> None:
    """Without an answer, the event is sent again, whatever the fault is."""
    assert classify(SendResult(message=message)) is RETRY


def test_a_verdict_depends_on_nothing_but_the_status() -> None:
    """Neither the message nor a wait that MCM asks for changes what a status means."""
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
    """For facts, a result is its status, or else the kind of the network's fault."""
    assert result.reason == reason
