"""A transport that can't be opened yet."""

from __future__ import annotations

import pytest

from amplitude_moloco.transports.base import SendResult, Transport
from amplitude_moloco.transports.late import LateTransport


class Plain:
    """Accepts everything, and counts what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def send(self, body: bytes) -> SendResult:
        self.calls.append("send")
        return SendResult(200)

    def close(self) -> None:
        self.calls.append("close")


class Pooled(Plain):
    """The same, with idle connections."""

    def close_idle(self) -> None:
        self.calls.append("close idle")


def test_it_is_opened_once_that_is_possible_and_only_once() -> None:
    """Until it can be opened, a request fails with the reason; then all go over the same one."""
    opened: list[Transport] = []

    def open_it() -> Transport:
        if not is_possible:
            raise OSError("no such file")
        opened.append(Plain())
        return opened[-1]

    is_possible = False
    late = LateTransport(open_it)
    result = late.send(b"{}")
    assert (result, result.cause) == (
        SendResult(message="OSError"),
        "the transport can't be opened: no such file",
    )
    is_possible = True
    assert [late.send(b"{}"), late.send(b"{}")] == [SendResult(200)] * 2
    assert len(opened) == 1


@pytest.mark.parametrize("kind", [Plain, Pooled])
def test_what_was_opened_is_closed_and_nothing_is_opened_after(kind: type[Plain]) -> None:
    """Closing reaches the transport and its idle connections; after it, a request fails."""
    inner = kind()
    late = LateTransport(lambda: inner)
    late.close_idle()  # nothing is open
    late.send(b"{}")
    late.close_idle()
    late.close()
    assert late.send(b"{}") == SendResult(message="RuntimeError")
    assert inner.calls == ["send", *(["close idle"] if kind is Pooled else []), "close"]


def test_one_that_was_never_opened_is_closed() -> None:
    """Closing opens nothing."""
    late = LateTransport(lambda: pytest.fail("opened"))
    late.close()
    assert late.send(b"{}") == SendResult(message="RuntimeError")
