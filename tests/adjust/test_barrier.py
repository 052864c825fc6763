"""Which bodies are not sent any more, since Adjust has said so."""

from __future__ import annotations

from amplitude_moloco.adjust.barrier import Barrier
from amplitude_moloco.transports.base import SendResult

NOW = 1_700_000_000


def body(app: str = "abc123def456", **identifiers: str) -> bytes:
    pairs = {"app_token": app, "created_at_unix": str(NOW), **identifiers}
    return "&".join(f"{name}={value}" for name, value in pairs.items()).encode()


def opted_out(*bodies: bytes) -> Barrier:
    made = Barrier(lambda: float(NOW))
    for each in bodies:
        made.refused(each, SendResult(451, "Device is opted out"))
    return made


def test_a_device_that_opted_out_is_left_alone() -> None:
    """After a 451, nothing with one of the device's identifiers is sent again."""
    found = opted_out(body(gps_adid="a", idfv="v"))
    for same in (body(gps_adid="a"), body(idfv="v", oaid="o"), body(gps_adid="b", idfv="v")):
        refusal = found.why_not(same)
        assert refusal is not None
        assert (refusal.reason, "opted out" in refusal.text) == ("rejected", True)


def test_other_devices_go_on() -> None:
    """Another device, another app, and an identifier of another kind are not meant."""
    found = opted_out(body(gps_adid="a"))
    for other in (body(gps_adid="b"), body(idfa="a"), body("ghi789jkl012", gps_adid="a")):
        assert found.why_not(other) is None


def test_other_refusals_are_about_the_event() -> None:
    """Only a 451 is about the device."""
    found = Barrier(lambda: float(NOW))
    found.refused(body(gps_adid="a"), SendResult(404, "Device not found"))
    assert found.why_not(body(gps_adid="a")) is None


def test_no_identifier_is_kept() -> None:
    """What is remembered names no device."""
    assert "secret-id" not in str(vars(opted_out(body(gps_adid="secret-id"))))


def test_the_memory_is_bounded() -> None:
    """Of very many devices, the ones that opted out last are remembered."""
    found = Barrier(lambda: float(NOW), max_identifiers=3)
    for number in range(4):
        found.refused(body(gps_adid=str(number)), SendResult(451))
    known = [found.why_not(body(gps_adid=str(number))) is not None for number in range(4)]
    assert known == [False, True, True, True]
