"""The sandbox's part of Amplitude's Export API."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.exports import as_gzip, numbered, write_hour

from amplitude_moloco.sandbox import Sandbox

KEYS = ("key", "secret")


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """A folder with the files of three hours, and others."""
    write_hour(tmp_path, "2026-01-31_9", numbered(2))
    write_hour(tmp_path, "2026-01-31_10", numbered(2))
    write_hour(tmp_path, "2026-02-01_0", numbered(2))
    (tmp_path / "complete").touch()
    return tmp_path


@pytest.fixture
def exporting(exports: Path) -> Iterator[Sandbox]:
    """A sandbox that has these exports."""
    with Sandbox(exports=exports) as sandbox:
        yield sandbox


def get(
    sandbox: Sandbox,
    start: str = "20260131T00",
    end: str = "20260131T23",
    auth: tuple[str, str] | None = KEYS,
) -> requests.Response:
    with requests.get(
        f"{sandbox.url}/api/2/export", {"start": start, "end": end}, auth=auth, timeout=10
    ) as answer:
        assert answer.content is not None
        return answer


def test_a_zip_of_the_files(exporting: Sandbox) -> None:
    """The answer is a zip with the files of the hours, below the project."""
    answer = get(exporting, "20260131T10", "20260201T00")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == [
        "187520/187520_2026-01-31_10#627.json.gz",
        "187520/187520_2026-02-01_0#627.json.gz",
    ]
    assert archive.read(archive.namelist()[0]) == as_gzip(numbered(2))


def test_no_data(exporting: Sandbox, sandbox: Sandbox) -> None:
    """Hours without files are a 404, as are all without a folder."""
    for one, hour in ((exporting, "20260131T08"), (sandbox, "20260131T09")):
        answer = get(one, hour, hour)
        assert answer.status_code == 404
        assert answer.json()["error"] == "Raw data files were not found."


def test_too_large(exports: Path) -> None:
    """Files beyond the limit are a 400 that says so."""
    size = max(file.stat().st_size for file in exports.iterdir())
    with Sandbox(exports=exports, max_export_bytes=size) as sandbox:
        answer = get(sandbox)
        assert answer.status_code == 400
        assert "Shorten the time ranges" in answer.json()["error"]
        assert get(sandbox, "20260131T09", "20260131T09").status_code == 200


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("20260131", "20260131T23"),
        ("20260131T00", "20260131T24"),
        ("20260230T00", "20260301T00"),
        ("", "20260131T23"),
        ("20260131T10", "20260131T09"),
        ("20250130T00", "20260131T00"),
    ],
)
def test_bad_hours(exporting: Sandbox, start: str, end: str) -> None:
    """Hours in another form, the wrong way round or beyond a year are a 400."""
    assert get(exporting, start, end).status_code == 400


@pytest.mark.parametrize(
    "auth", [None, ("key", ""), ("", "secret"), ("other", "secret"), ("key", "x")]
)
def test_wrong_keys(exports: Path, auth: tuple[str, str] | None) -> None:
    """Both keys are checked."""
    with Sandbox(
        exports=exports, amplitude_api_key="key", amplitude_secret_key="secret"
    ) as sandbox:
        assert get(sandbox, auth=auth).status_code == 401
        assert get(sandbox).status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer a2V5OnNlY3JldA==", "Basic x", "Basic /w==", "Basic a2V5"]
)
def test_no_keys(exporting: Sandbox, header: str) -> None:
    """Another scheme, and what is no pair of keys, is refused."""
    with requests.get(
        f"{exporting.url}/api/2/export", headers={"Authorization": header}, timeout=10
    ) as answer:
        assert answer.status_code == 401


def test_faults_and_the_record(exporting: Sandbox) -> None:
    """Exports fail on demand, and each request is recorded by its query, without a key."""
    exporting.fail_next(429, retry_after=7, target="export")
    answer = get(exporting)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert get(exporting).status_code == 200
    assert [(each.target, each.status) for each in exporting.requests] == [
        ("export", 429),
        ("export", 200),
    ]
    assert exporting.requests[0].raw == b"start=20260131T00&end=20260131T23"
    assert exporting.moloco_events == []
    assert exporting.amplitude_events == []


def test_a_client_that_leaves(exports: Path) -> None:
    """A client that leaves in the middle of an answer does no harm."""
    write_hour(exports, "2026-01-31_11", numbered(1))
    big = exports / "187520_2026-01-31_12#1.json.gz"
    big.write_bytes(b"\0" * 30_000_000)
    with Sandbox(exports=exports) as sandbox:
        url = f"{sandbox.url}/api/2/export?start=20260131T12&end=20260131T12"
        with requests.get(url, auth=KEYS, timeout=10, stream=True) as answer:
            assert answer.raw.read(10)
        assert get(sandbox, "20260131T11", "20260131T11").status_code == 200
