"""A request that the MMP refuses."""

from __future__ import annotations

OUT_OF_ORDER = "it is earlier than the one before it, of the same device and token"


class Refused(Exception):
    """Raised by a check: the HTTP status and the message of the answer.

    ``why`` says more than the answer does, for those who look at the sandbox.
    """

    def __init__(self, status: int, message: str, why: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.why = why
