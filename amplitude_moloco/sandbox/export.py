"""Amplitude's Export API: which files of a folder belong to the hours that are asked for."""

from __future__ import annotations

import binascii
import re
import tempfile
import zipfile
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO

from amplitude_moloco.sandbox.answers import Answer, amplitude_refusal

_HOUR = re.compile(r"\d{8}T\d{2}", re.ASCII)
_FILE = re.compile(r"(\d+)_(\d{4}-\d\d-\d\d)_(\d{1,2})#\d+\.json\.gz", re.ASCII)
_LONGEST = timedelta(days=365)
_TOO_LARGE = (
    "The file size of the exported data is too large. Shorten the time ranges and try again. The "
    "limit size is 4GB."
)


class ExportFolder:
    """Answers from files as Amplitude names them: ``187520_2026-01-31_9#0.json.gz``.

    Args:
        folder: Where the files are. They may come and go while the sandbox runs. None for none.
        max_bytes: The largest size of the files in one answer.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def answer(
        self,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        known_api_key: str | None,
        known_secret_key: str | None,
    ) -> Answer | IO[bytes]:
        """Returns a refusal, or a zip. A known value of None accepts any. The caller closes it."""
        if not _are_known(headers.get("authorization", ""), known_api_key, known_secret_key):
            return amplitude_refusal(401, "Invalid API key or secret key")
        try:
            start, end = (_hour(query.get(name, "")) for name in ("start", "end"))
        except ValueError:
            return amplitude_refusal(400, "start and end must be hours such as 20260131T18")
        if end < start or end - start > _LONGEST:
            return amplitude_refusal(400, "end must be after start, by 365 days at most")
        files = self._files(start, end)
        if not files:
            return amplitude_refusal(404, "Raw data files were not found.")
        if sum(file.stat().st_size for file in files.values()) > self._max_bytes:
            return amplitude_refusal(400, _TOO_LARGE)
        archive: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        with zipfile.ZipFile(archive, "w") as members:
            for name, file in files.items():
                members.write(file, name)
        archive.seek(0)
        return archive

    def _files(self, start: datetime, end: datetime) -> dict[str, Path]:
        """Returns the files of these hours, both included, by their names in the zip."""
        found = {}
        for file in sorted(self._folder.iterdir()) if self._folder else ():
            parts = _FILE.fullmatch(file.name)
            if parts:
                day = datetime.fromisoformat(parts[2]).replace(tzinfo=timezone.utc)
                if start <= day + timedelta(hours=int(parts[3])) <= end:
                    found[f"{parts[1]}/{file.name}"] = file
        return found


def _are_known(authorization: str, api_key: str | None, secret_key: str | None) -> bool:
    scheme, _, credentials = authorization.partition(" ")
    try:
        sent = b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    known = ((sent[0], api_key), (sent[2], secret_key))
    return scheme.lower() == "basic" and all(
        given and right in (None, given) for given, right in known
    )


def _hour(text: str) -> datetime:
    if not _HOUR.fullmatch(text):
        raise ValueError(text)
    return datetime.strptime(text, "%Y%m%dT%H").replace(tzinfo=timezone.utc)
