"""The hash of a shopper's identifier, for events and for an app's calls of the Decision API."""

from __future__ import annotations

import json
from hashlib import sha256


def hash_identifier(identifier: str, salt: str = "") -> str:
    """Returns SHA-256 of salt and identifier, as 64 hexadecimal digits.

    Moloco recommends hashing, and needs the same value everywhere: use this function for
    identifiers that you send to the Decision API.
    """
    return sha256((salt + identifier).encode()).hexdigest()


def fingerprint_of_body(body: bytes) -> str:
    """Returns a one-way fingerprint of the identifier in an MCM event, fit for a log."""
    event = json.loads(body)
    identifier = event.get("user_id") or event.get("device", {}).get("persistent_id")
    return hash_identifier(str(identifier or event.get("custom_id")))[:16]
