"""Why an export can't be fetched."""

from __future__ import annotations

from amplitude_moloco.errors import MolocoError


class FetchError(MolocoError):
    """An export can't be fetched. The text says what to change; it never holds a key.

    Attributes:
        is_temporary: Whether the same call may succeed later, without a change.
    """

    def __init__(self, problem: str, *, is_temporary: bool = False) -> None:
        super().__init__(problem)
        self.is_temporary = is_temporary
