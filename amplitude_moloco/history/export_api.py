"""Amplitude's Export API: one request for a range of hours, and what its answer means."""

from __future__ import annotations

import json
import os
import re
import zipfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from http.client import HTTPException
from ipaddress import ip_address
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.hours import Hours, hour_text
from amplitude_moloco.history.problem import FetchError
from amplitude_moloco.text import one_line
from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, read_retry_after
from amplitude_moloco.transports.base import Endpoint
from amplitude_moloco.transports.causes import causes_for
from amplitude_moloco.transports.network import read_network_settings
from amplitude_moloco.transports.requests_faults import cause_of
from amplitude_moloco.transports.secret import Secret

ADDRESS = "https://amplitude.com"
EU_ADDRESS = "https://analytics.eu.amplitude.com"
API_KEY_VARIABLE = "AMPLITUDE_API_KEY"
SECRET_KEY_VARIABLE = "AMPLITUDE_SECRET_KEY"  # noqa: S105  # its name
CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 300.0
"""For the first byte, and between two: Amplitude packs the zip before it answers."""
_CHUNK_BYTES = 256 * 1024
_MAX_MESSAGE = 300
_PATH = "/api/2/export"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ADDRESS = re.compile(
    r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?/?", re.IGNORECASE
)
_BUSY = frozenset({408, 421, 425, 429})


class Outcome(Enum):
    """What an answer means for the hours that were asked for."""

    SAVED = auto()
    """The file has them."""
    NO_DATA = auto()
    """Nothing was uploaded in them."""
    TOO_LARGE = auto()
    """Ask for fewer hours at a time."""
    FAILED = auto()
    """Ask again later."""


class Answer(NamedTuple):
    """The answer to one request, or the fault of the network in its place."""

    outcome: Outcome
    message: str = ""
    """What the server or the network said, on one line. Never a key."""
    retry_after_seconds: float = 0.0
    """The wait that the server asks for; 0 for none."""
    status: int | None = None


@dataclass(frozen=True)
class Keys:
    """The keys of a project. No repr shows them."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, key in ((API_KEY_VARIABLE, self.api_key), (SECRET_KEY_VARIABLE, self.secret_key)):
            if not _VISIBLE.fullmatch(key) or (":" in key and key is self.api_key):
                raise ConfigurationError(
                    f"{name}: {'not set' if not key else 'holds characters that no key has'}; set "
                    f"the environment variable to the key that the settings of your project show"
                )

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Keys:
        """Returns the keys of the environment. Raises ConfigurationError if one can't be used."""
        names = (API_KEY_VARIABLE, SECRET_KEY_VARIABLE)
        return cls(*(Secret(environment.get(name, "")) for name in names))


class ExportApi:
    """Downloads exports. For one thread: requests go one at a time.

    Certificates are always checked, redirects are not followed, and no ``.netrc`` is read.

    Raises:
        ConfigurationError: The address, the certificates or the proxy can't work.
    """

    def __init__(
        self, keys: Keys, address: str = ADDRESS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._keys = keys
        self._timeouts = (CONNECT_SECONDS, answer_seconds)
        self._address = _checked(address)
        pair = f"{keys.api_key}:{keys.secret_key}".encode()
        credential = Secret(f"Basic {b64encode(pair).decode()}")
        headers = {"Authorization": credential, "Accept-Encoding": "identity"}
        endpoint = Endpoint(self._address + _PATH, headers, credential, read_error=_error_in)
        network = read_network_settings(endpoint, None)
        self._causes = causes_for(
            endpoint, select_proxy(endpoint.url, network.proxies), answer_seconds
        )
        self._session = requests.Session()
        self._session.trust_env = False  # read above, and a .netrc would replace the keys
        self._session.headers.update(endpoint.headers)
        self._session.verify = network.ca_bundle
        self._session.proxies = network.proxies

    @property
    def project(self) -> str:
        """Text that no other project or region has. It does not reveal a key."""
        return f"{self._address} {sha256(self._keys.api_key.encode()).hexdigest()[:16]}\n"

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def download(
        self, hours: Hours, file: IO[bytes], received: Callable[[int], object] = lambda size: None
    ) -> Answer:
        """Requests these hours, and writes the zip to the file. ``received`` gets sizes in bytes.

        Raises FetchError if a later request would fail as well.
        """
        parameters = {"start": hour_text(hours.first), "end": hour_text(hours.last)}
        try:
            with self._session.get(
                self._address + _PATH,
                params=parameters,
                stream=True,
                allow_redirects=False,
                timeout=self._timeouts,
            ) as response:
                if response.status_code == 200:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        _write(file, chunk)
                        received(len(chunk))
                    return _checked_zip(file)
                status, message = response.status_code, self._message_of(response)
                retry_after = read_retry_after(response.headers.get("Retry-After"))
        except (requests.RequestException, HTTPError, HTTPException, ValueError) as fault:
            return Answer(Outcome.FAILED, cause_of(fault, self._causes))
        return self._meaning(status, message, retry_after, hours)

    def _meaning(self, status: int, message: str, retry_after: float, hours: Hours) -> Answer:
        said = f"{status} {message}".strip()
        if status == 404:
            return Answer(Outcome.NO_DATA, said, status=status)
        if status in (400, 504) and hours.total > 1:
            return Answer(Outcome.TOO_LARGE, said, retry_after, status)
        if status in _BUSY or status >= 500:
            return Answer(Outcome.FAILED, f"Amplitude answers {said}", retry_after, status)
        if status in (401, 403):
            raise FetchError(
                f"Amplitude refuses the keys ({said}); set {API_KEY_VARIABLE} and "
                f"{SECRET_KEY_VARIABLE} to the keys of one project, and use --eu if its data is "
                f"in the EU"
            )
        if status == 400:
            raise FetchError(
                f"Amplitude refuses the hour {hour_text(hours.first)} ({said}); if it has more "
                f"than 4 GB, use an export to S3, Google Cloud Storage or Azure for it"
            )
        raise FetchError(f"{self._address} answers {said}; check the address and the proxy")

    def _message_of(self, response: requests.Response) -> str:
        """Returns the message of an error: bounded, on one line, without the keys."""
        message = _error_in(next(response.iter_content(MAX_ANSWER_BYTES), b""))
        for key in (self._keys.api_key, self._keys.secret_key):
            message = message.replace(key, "[key]")
        return one_line(message[:_MAX_MESSAGE])


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:  # which requests' own exceptions are, too
        raise FetchError(f"the download can't be written: {error.strerror}") from None


def _checked_zip(file: IO[bytes]) -> Answer:
    """The list of a zip's members is at its end, so that a part of a zip is none."""
    file.seek(0)
    try:
        zipfile.ZipFile(file).close()
    # The last one is raised for a version of zips that Python does not know.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return Answer(Outcome.FAILED, "the download is no complete zip", status=200)
    return Answer(Outcome.SAVED, status=200)


def _error_in(body: bytes) -> str:
    """Returns the message in the body of an error; nothing for a page of HTML."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.startswith("<") else text
    error = found.get("error") or found.get("message") if isinstance(found, dict) else None
    return error if isinstance(error, str) else text


def _checked(address: str) -> str:
    """Returns an address without a slash at its end. Raises ConfigurationError."""
    advice = f"use {ADDRESS}, {EU_ADDRESS}, or http on a loopback address"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not _ADDRESS.fullmatch(address):
        raise ConfigurationError(f"--url: no address of a server; {advice}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(f"--url: plain http would send the keys unencrypted; {advice}")
    return address.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
