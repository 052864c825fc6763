"""The faults of requests, in words."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, RemoteDisconnected

import requests
from urllib3 import exceptions
from urllib3.util.ssl_match_hostname import CertificateError

from amplitude_moloco.transports.causes import Causes

_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})\b")
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_MOST_CAUSES = 50


def cause_of(fault: BaseException, causes: Causes) -> str:
    """Returns what a fault means. Reads the exceptions that caused it, but quotes none."""
    chain = list(_chain(fault))
    if any(
        isinstance(each, exceptions.ProxyError | requests.exceptions.ProxyError) for each in chain
    ):
        found = next(filter(None, (_TUNNEL_STATUS.search(str(each)) for each in chain)), None)
        return causes.at_proxy(int(found[1]) if found else 0)
    for each in () if isinstance(fault, requests.Timeout) else chain:
        cause = _cause_in(each, causes)
        if cause:
            return cause
    return _cause_of_kind(fault, causes)


def _cause_in(error: BaseException, causes: Causes) -> str | None:
    """Returns what an exception of the standard library means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        # Only OpenSSL's own errors have a code and a reason.
        return causes.untrusted(getattr(error, "verify_code", 0))
    if isinstance(error, CertificateError):  # from urllib3, which may compare the host itself
        return causes.untrusted(62)
    if isinstance(error, ssl.SSLError):
        return causes.no_tls() if getattr(error, "reason", "") in _NO_TLS else causes.tls()
    if isinstance(error, socket.gaierror):
        return causes.unresolved()
    if isinstance(error, ConnectionRefusedError):
        return causes.refused()
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return causes.unreachable()
    if isinstance(error, RemoteDisconnected | IncompleteRead | ConnectionError):
        return causes.ended()
    if isinstance(error, BadStatusLine | HTTPException):
        return causes.no_http()
    return None


def _cause_of_kind(fault: BaseException, causes: Causes) -> str:
    if isinstance(fault, requests.ConnectTimeout):
        return causes.not_connected_in_time()
    if isinstance(fault, requests.Timeout):
        return causes.not_answered_in_time()
    if isinstance(fault, requests.exceptions.InvalidHeader):
        return causes.no_http()
    if isinstance(fault, requests.exceptions.ContentDecodingError):
        return causes.unreadable()
    if isinstance(fault, requests.exceptions.ChunkedEncodingError):
        return causes.ended()
    return causes.unknown()


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """Yields a fault and what caused it, nearest first."""
    waiting: list[object] = [fault]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_CAUSES:
        error = waiting.pop(0)
        if not isinstance(error, BaseException) or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        waiting += [*error.args, getattr(error, "reason", None)]
        waiting += [getattr(error, "original_error", None), error.__cause__ or error.__context__]
