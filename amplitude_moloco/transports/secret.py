"""Text that no repr shows."""

from __future__ import annotations

from typing import SupportsIndex


class Secret(str):
    """A credential: text as any other, but its repr is ``'[key]'``.

    So it shows in no repr of an object that holds it: a dict of headers, a partial, a local
    variable in a report of an error.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"

    def __getitem__(self, index: SupportsIndex | slice) -> Secret:
        # Reports of errors may shorten long texts before they show them.
        return Secret(super().__getitem__(index))


class SecretBytes(bytes):
    """As :class:`Secret`, for a credential that came as bytes, and is refused for that."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'[key]'"
