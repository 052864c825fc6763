"""How a shopper's identifiers are hashed, here and in an app's calls of Moloco's Decision API."""

from __future__ import annotations

from hashlib import sha256


def hash_identifier(identifier: str, salt: str = "") -> str:
    """SHA-256 of salt and identifier, as 64 hexadecimal digits.

    Moloco recommends to hash, and needs the same value in every place: call this for what you send
    to the Decision API.
    """
    return sha256((salt + identifier).encode()).hexdigest()
