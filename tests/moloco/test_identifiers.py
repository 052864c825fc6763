"""The hash of a shopper's identifier, and the fingerprint for logs."""

from __future__ import annotations

import hashlib

import pytest

from amplitude_moloco import hash_identifier
from amplitude_moloco.moloco.identifiers import fingerprint_of_body


def test_the_hash_is_sha_256() -> None:
    """The hash is SHA-256 as 64 lowercase hexadecimal digits."""
    assert hash_identifier("abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert hash_identifier("") == hashlib.sha256().hexdigest()


@pytest.mark.parametrize("identifier", ["shopper-1", "微波炉", "x" * 1000], ids=len)
def test_the_salt_comes_first(identifier: str) -> None:
    """The hash covers the salt followed by the identifier, in UTF-8."""
    expected = hashlib.sha256(f"pepper{identifier}".encode()).hexdigest()
    assert hash_identifier(identifier, "pepper") == expected
    assert hash_identifier(identifier, salt="pepper") == expected


def test_the_hash_is_the_same_everywhere() -> None:
    """An identifier has the same hash every time, and a different one for another salt."""
    assert hash_identifier("me", "a") == hash_identifier("me", "a")
    assert len({hash_identifier("me"), hash_identifier("me", "a"), hash_identifier("me", "b")}) == 3


@pytest.mark.parametrize(
    ("body", "identifier"),
    [
        (b'{"user_id":"u","device":{"persistent_id":"d"},"custom_id":"c"}', "u"),
        (b'{"device":{"persistent_id":"d"},"custom_id":"c"}', "d"),
        (b'{"device":{"os":"iOS"},"custom_id":"c"}', "c"),
        (b'{"custom_id":"c"}', "c"),
    ],
    ids=["user_id", "persistent_id", "custom_id beside a device", "custom_id"],
)
def test_a_fingerprint_is_part_of_a_hash(body: bytes, identifier: str) -> None:
    """The fingerprint of an event is the start of its first identifier's hash."""
    assert fingerprint_of_body(body) == hash_identifier(identifier)[:16]


def test_an_event_without_identifiers_has_a_fingerprint() -> None:
    """Events without identifiers share one fingerprint."""
    assert fingerprint_of_body(b'{"personalization_mode":"ID_LESS"}') == fingerprint_of_body(b"{}")
