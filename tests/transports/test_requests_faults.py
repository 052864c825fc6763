"""The faults of requests in words, where no socket of a test can cause them."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable

import pytest
import requests
from support.endpoint import endpoint_at
from urllib3.exceptions import MaxRetryError, NewConnectionError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from amplitude_moloco.transports.causes import Causes, causes_for
from amplitude_moloco.transports.requests_faults import cause_of

CAUSES = causes_for(endpoint_at("https://shop.example"), None, 10.0)


def raised_by(error: BaseException, kind: type[Exception]) -> BaseException:
    """Returns what requests raises, with what caused it inside."""
    return kind(MaxRetryError(None, "/", error))  # type: ignore[arg-type]  # the pool is not read


@pytest.mark.parametrize(
    "number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL]
)
def test_a_host_without_a_route_is_named(number: int) -> None:
    """Whatever the system calls it, the network is what to check."""
    lost = NewConnectionError(None, "failed")  # type: ignore[arg-type]  # as above
    lost.__cause__ = OSError(number, "no route")
    said = cause_of(raised_by(lost, requests.ConnectionError), CAUSES)
    assert said == "there is no route to shop.example:443; check this machine's network"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SSLError(CertificateError("hostname doesn't match")), lambda: CAUSES.untrusted(62)),
        (SSLError(ssl.SSLError(1, "handshake failure")), CAUSES.tls),
        (SSLError(ssl.SSLCertVerificationError("no match")), lambda: CAUSES.untrusted(0)),
    ],
    ids=["host", "tls", "no code"],
)
def test_a_fault_of_tls_is_named(error: Exception, expected: Callable[[], str]) -> None:
    """A certificate for another host is told from a handshake that failed, as urllib3 says it."""
    assert cause_of(raised_by(error, requests.exceptions.SSLError), CAUSES) == expected()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (requests.exceptions.InvalidHeader, Causes.no_http),
        (requests.exceptions.InvalidURL, Causes.unknown),
    ],
)
def test_a_fault_without_a_cause_is_named_by_its_kind(
    kind: type[Exception], expected: Callable[[Causes], str]
) -> None:
    """What requests itself refuses is described, and what it can't describe is said to be so."""
    assert cause_of(kind("no cause"), CAUSES) == expected(CAUSES)
