"""A request that the MMP refuses."""

from __future__ import annotations


class Refused(Exception):
    """Raised by a check: the HTTP status and the message of the answer.

    ``is_out_of_order`` is True for an event that is earlier than one before it.
    """

    def __init__(self, status: int, message: str, *, is_out_of_order: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.is_out_of_order = is_out_of_order
