"""How a shopper's identifiers are hashed, here and in an app's calls of the Decision API."""

from __future__ import annotations

import json
from hashlib import sha256


def hash_identifier(identifier: str, salt: str = "") -> str:
    """SHA-256 of salt and identifier, as 64 hexadecimal digits.

    Moloco recommends to hash, and needs the same value in every place: call this for what you send
    to the Decision API.
    """
    return sha256((salt + identifier).encode()).hexdigest()


def fingerprint_of_body(body: bytes) -> str:
    """Tells the identifiers of MCM events apart, and no more: fit for a log."""
    event = json.loads(body)
    identifier = event.get("user_id") or event.get("device", {}).get("persistent_id")
    return hash_identifier(str(identifier or event.get("custom_id")))[:16]
