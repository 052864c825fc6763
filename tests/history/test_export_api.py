"""Requests to the Export API, over real sockets."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

import pytest
from support.exports import as_gzip, as_zip, numbered, write_hour
from support.faulty_server import Exchange, FaultyServer, StartServer
from support.tls import Tls

from amplitude_moloco import ConfigurationError
from amplitude_moloco.history.export_api import Answer, ExportApi, Keys, Outcome
from amplitude_moloco.history.hours import Hours
from amplitude_moloco.history.problem import FetchError
from amplitude_moloco.sandbox import Sandbox

DAY = Hours(20_484 * 24, 20_484 * 24 + 23)  # 2026-01-31
HOUR = Hours(DAY.first, DAY.first)
KEYS = Keys("the-api-key", "the-secret-key")
ZIP = as_zip({"a.json.gz": as_gzip(numbered(2))})
MakeApi = Callable[..., ExportApi]


@pytest.fixture
def make_api(bare_environment: pytest.MonkeyPatch) -> Iterator[MakeApi]:
    """Makes an API with the keys; all are closed after the test."""
    with ExitStack() as stack:

        def make(address: str, keys: Keys = KEYS, **options: Any) -> ExportApi:
            api = ExportApi(keys, address, **options)
            stack.callback(api.close)
            return api

        yield make


def download(api: ExportApi, hours: Hours = DAY) -> tuple[Answer, bytes]:
    file = io.BytesIO()
    return api.download(hours, file), file.getvalue()


class TestDownloads:
    """What a request gets."""

    def test_both_hours_are_included(self, make_api: MakeApi, tmp_path: Path) -> None:
        """The hours of a request include both ends, as Amplitude's do."""
        for hour in ("2026-01-30_23", "2026-01-31_0", "2026-01-31_23", "2026-02-01_0"):
            write_hour(tmp_path, hour, numbered(1))
        with Sandbox(exports=tmp_path) as sandbox:
            answer, data = download(make_api(sandbox.url))
            (request,) = sandbox.requests
        assert answer == Answer(Outcome.SAVED, status=200)
        assert [
            name.partition("/")[2] for name in zipfile.ZipFile(io.BytesIO(data)).namelist()
        ] == [
            "187520_2026-01-31_0#627.json.gz",
            "187520_2026-01-31_23#627.json.gz",
        ]
        assert request.raw == b"start=20260131T00&end=20260131T23"

    def test_the_request(
        self, make_api: MakeApi, server: FaultyServer, tmp_path: Path, bare_environment: Any
    ) -> None:
        """It carries both keys, asks for no compression, and no .netrc or proxy changes that."""
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login other password other\n")
        bare_environment.setenv("NETRC", str(netrc))
        bare_environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        server.answer(200, ZIP)
        sizes: list[int] = []
        api = make_api(f"{server.url}/")
        assert api.download(HOUR, io.BytesIO(), sizes.append).outcome is Outcome.SAVED
        (request,) = server.requests
        assert request.method == "GET"
        assert request.target == "/api/2/export?start=20260131T00&end=20260131T00"
        scheme, _, pair = request.headers["Authorization"].partition(" ")
        assert (scheme, b64decode(pair)) == ("Basic", b"the-api-key:the-secret-key")
        assert request.headers["Accept-Encoding"] == "identity"
        assert sum(sizes) == len(ZIP)

    def test_one_connection(self, make_api: MakeApi, server: FaultyServer) -> None:
        """Requests go one after the other, over one connection."""
        api = make_api(server.url)
        for _ in range(3):
            server.answer(200, ZIP)
            assert download(api)[1] == ZIP
        assert server.connections == 1


STATUSES = [
    (404, DAY, Outcome.NO_DATA),
    (400, DAY, Outcome.TOO_LARGE),
    (504, DAY, Outcome.TOO_LARGE),
    (504, HOUR, Outcome.FAILED),
    (429, DAY, Outcome.FAILED),
    (408, DAY, Outcome.FAILED),
    (500, DAY, Outcome.FAILED),
    (502, HOUR, Outcome.FAILED),
    (503, DAY, Outcome.FAILED),
]


class TestAnswers:
    """What statuses mean."""

    @pytest.mark.parametrize(("status", "hours", "outcome"), STATUSES)
    def test_status(
        self,
        make_api: MakeApi,
        server: FaultyServer,
        status: int,
        hours: Hours,
        outcome: Outcome,
    ) -> None:
        """404 is no data, 400 and 504 are too much for one request, and others are for later."""
        body = b'{"code": 1, "error": "what it is"}'
        server.answer(status, body, Retry_After="77")
        answer, data = download(make_api(server.url), hours)
        assert (answer.outcome, answer.status, data) == (outcome, status, b"")
        assert f"{status} what it is" in answer.message
        if outcome is Outcome.FAILED:
            assert answer.retry_after_seconds == 77

    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (401, r"^Amplitude refuses the keys \(401 no\); set AMPLITUDE_API_KEY and .* --eu"),
            (403, r"^Amplitude refuses the keys \(403 no\)"),
            (400, r"^Amplitude refuses the hour 20260131T00 \(400 no\); if it has more than 4 GB"),
            (302, r"^http://127.0.0.1:\d+ answers 302 no; check the address and the proxy"),
            (418, r"^http://127.0.0.1:\d+ answers 418 no"),
            (206, r"^http://127.0.0.1:\d+ answers 206 no"),
        ],
    )
    def test_refusals(
        self, make_api: MakeApi, server: FaultyServer, status: int, message: str
    ) -> None:
        """What every later request would get too is an error that says what to change."""
        server.answer(status, b"no", Location=f"{server.url}/elsewhere")
        with pytest.raises(FetchError, match=message) as caught:
            download(make_api(server.url), HOUR)
        assert not caught.value.is_temporary
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'{"error": "too\\nlarge"}', r"400 too\nlarge"),
            (b'{"message": "m"}', "400 m"),
            (b'{"error": {"a": 1}}', '400 {"error": {"a": 1}}'),
            (b'["x"]', '400 ["x"]'),
            (b" plain \x1b[31m ", r"400 plain \x1b[31m"),
            (b"<html>login</html>", "400"),
            (b"\xff", "400 \ufffd"),
            (b"", "400"),
            (b"[" * 20_000, "400 " + "[" * 300),
            (b"x" * 100_000, "400 " + "x" * 300),
        ],
    )
    def test_messages(
        self, make_api: MakeApi, server: FaultyServer, body: bytes, message: str
    ) -> None:
        """The server's message is on one line and of bounded length; a page of HTML is none."""
        server.answer(400, body)
        assert download(make_api(server.url))[0].message == message

    def test_a_retry_after_that_is_none(self, make_api: MakeApi, server: FaultyServer) -> None:
        """A wait that can't be read is none."""
        server.answer(503, b"", Retry_After="soon")
        assert download(make_api(server.url))[0].retry_after_seconds == 0


class TestFaults:
    """What a network may do."""

    @pytest.mark.parametrize("at", [0, 1, len(ZIP) // 2, len(ZIP) - 1])
    def test_a_cut_download(self, make_api: MakeApi, server: FaultyServer, at: int) -> None:
        """A download that is cut off is no data: it is made again."""
        server.will(FaultyServer.reply(200, ZIP)[: at - len(ZIP)], Exchange.close)
        answer, _ = download(make_api(server.url))
        assert answer.outcome is Outcome.FAILED
        assert answer.message

    @pytest.mark.parametrize("at", [1, len(ZIP) // 2, len(ZIP) - 1])
    def test_a_cut_download_without_a_length(
        self, make_api: MakeApi, server: FaultyServer, at: int
    ) -> None:
        """A download whose length is not known is complete only if its zip is."""
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        server.will(head + ZIP[:at], Exchange.close)
        server.will(head + ZIP, Exchange.close)
        api = make_api(server.url)
        assert download(api)[0].message == "the download is no complete zip"
        assert download(api) == (Answer(Outcome.SAVED, status=200), ZIP)

    @pytest.mark.parametrize(
        "body", [b"", b"<html>Please log in</html>", b"PK\x05\x06" + b"\xff" * 18]
    )
    def test_no_zip(self, make_api: MakeApi, server: FaultyServer, body: bytes) -> None:
        """A 200 that is no zip, such as a login page, is tried again."""
        server.answer(200, body)
        answer, _ = download(make_api(server.url))
        assert answer == Answer(Outcome.FAILED, "the download is no complete zip", status=200)

    @pytest.mark.parametrize(
        "bytes_sent",
        [
            b"",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        ],
    )
    def test_no_answer(self, make_api: MakeApi, server: FaultyServer, bytes_sent: bytes) -> None:
        """A connection that breaks, or speaks no HTTP, is a fault in words."""
        server.will(bytes_sent, Exchange.close)
        answer, _ = download(make_api(server.url))
        assert answer.outcome is Outcome.FAILED
        assert answer.status is None
        assert "127.0.0.1" in answer.message

    @pytest.mark.parametrize("sent", [b"", FaultyServer.reply(200, ZIP)[:-1]])
    def test_silence(self, make_api: MakeApi, server: FaultyServer, sent: bytes) -> None:
        """A server that falls silent is given up after a while, before its answer and within."""
        server.will(sent, Exchange.hang)
        answer, _ = download(make_api(server.url, answer_seconds=0.2))
        assert answer.outcome is Outcome.FAILED
        assert answer.status is None

    def test_nobody_listens(self, make_api: MakeApi) -> None:
        """A port where nothing listens is a fault."""
        answer, _ = download(make_api("http://127.0.0.1:9"))
        assert answer.outcome is Outcome.FAILED
        assert "refuses the connection" in answer.message or "127.0.0.1" in answer.message

    def test_a_full_disk(self, make_api: MakeApi, server: FaultyServer) -> None:
        """A file that can't be written ends the fetch, and is no fault of the network."""

        class Full(io.BytesIO):
            def write(self, data: Any) -> int:
                raise OSError(28, "No space left on device")

        server.answer(200, ZIP)
        with pytest.raises(FetchError, match=r"^the download can't be written: No space left"):
            make_api(server.url).download(DAY, cast(IO[bytes], Full()))


class TestTls:
    """Certificates."""

    def test_an_unknown_certificate(
        self, make_api: MakeApi, start_server: StartServer, tls: Tls
    ) -> None:
        """A server whose certificate is not trusted gets no request."""
        server = start_server(tls.context)
        answer, _ = download(make_api(server.url))
        assert answer.outcome is Outcome.FAILED
        assert "certificate" in answer.message
        assert server.requests == []

    @pytest.mark.parametrize("value", ["", "0", "False"])
    def test_can_not_be_switched_off(
        self,
        make_api: MakeApi,
        start_server: StartServer,
        tls: Tls,
        bare_environment: Any,
        value: str,
    ) -> None:
        """No environment variable switches the check off."""
        server = start_server(tls.context)
        bare_environment.setenv("PYTHONHTTPSVERIFY", value)
        bare_environment.setenv("CURL_CA_BUNDLE", "")
        assert download(make_api(server.url))[0].outcome is Outcome.FAILED
        assert server.requests == []

    def test_the_environments_bundle(
        self, make_api: MakeApi, start_server: StartServer, tls: Tls, bare_environment: Any
    ) -> None:
        """Certificates of the environment's bundle are trusted, as by requests."""
        bare_environment.setenv("REQUESTS_CA_BUNDLE", str(tls.ca_bundle))
        server = start_server(tls.context)
        server.answer(200, ZIP)
        assert download(make_api(server.url))[0].outcome is Outcome.SAVED


class TestKeys:
    """Keys, and where they must not appear."""

    def test_are_nowhere(
        self, make_api: MakeApi, server: FaultyServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No repr, message, error or log line has a key, even if the server repeats it."""
        caplog.set_level(logging.DEBUG)
        echo = json.dumps({"error": "key the-api-key with the-secret-key is wrong"}).encode()
        server.answer(503, echo)
        server.answer(401, echo)
        api = make_api(server.url)
        answer, _ = download(api)
        with pytest.raises(FetchError) as caught:
            download(api)
        assert answer.message == "Amplitude answers 503 key [key] with [key] is wrong"
        shown = (
            f"{caught.value}{caught.value!r}{api!r}{KEYS!r}{vars(api)}{api.project}{caplog.text}"
        )
        assert "the-api-key" not in shown
        assert "the-secret-key" not in shown

    def test_of_the_environment(self) -> None:
        """Both keys come from the environment."""
        environment = {"AMPLITUDE_API_KEY": "a", "AMPLITUDE_SECRET_KEY": "s:s"}
        assert Keys.of_environment(environment) == Keys("a", "s:s")

    @pytest.mark.parametrize(
        ("api_key", "secret_key", "message"),
        [
            ("", "s", r"^AMPLITUDE_API_KEY: not set; set the environment variable to the key"),
            ("a", "", r"^AMPLITUDE_SECRET_KEY: not set"),
            ("secret key", "s", r"^AMPLITUDE_API_KEY: holds characters that no key has"),
            ("a:b", "s", r"^AMPLITUDE_API_KEY: holds characters"),
            ("a", "secret\n", r"^AMPLITUDE_SECRET_KEY: holds characters"),
            ("a", "sécret", r"^AMPLITUDE_SECRET_KEY: holds characters"),
        ],
    )
    def test_that_can_not_work(self, api_key: str, secret_key: str, message: str) -> None:
        """A key that is missing or can't be one is refused by its name, and not shown."""
        with pytest.raises(ConfigurationError, match=message) as caught:
            Keys(api_key, secret_key)
        assert "secret key" not in str(caught.value)

    def test_projects_differ(self, make_api: MakeApi) -> None:
        """The text for a project differs by key and by region, and is the same the next time."""
        addresses = ("https://amplitude.com", "https://analytics.eu.amplitude.com")
        projects = {
            make_api(address, Keys(key, secret)).project
            for address in addresses
            for key in "ab"
            for secret in "st"
        }
        assert len(projects) == 4


class TestAddresses:
    """Where requests may go."""

    @pytest.mark.parametrize(
        "address",
        [
            *("https://amplitude.com", "https://analytics.eu.amplitude.com/", "HTTPS://a.example"),
            *("http://localhost:8765", "http://127.0.0.1:1", "http://[::1]:8765", "https://a:443"),
        ],
    )
    def test_good(self, make_api: MakeApi, address: str) -> None:
        """Any https address, and http on a loopback address."""
        assert make_api(address).project.startswith(address.rstrip("/"))

    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("http://amplitude.com", "plain http would send the keys unencrypted"),
            ("http://2130706433", "plain http would send the keys unencrypted"),
            ("http://127.0.0.1.example", "plain http would send the keys unencrypted"),
            ("amplitude.com", "no address of a server"),
            ("ftp://amplitude.com", "no address of a server"),
            ("https://user@amplitude.com", "no address of a server"),
            ("https://amplitude.com/api/2/export", "no address of a server"),
            ("https://amplitude.com?x", "no address of a server"),
            ("https://amplitude.com\n", "no address of a server"),
            ("https://amplitude.com:99999", "no address of a server"),
            ("https://[::1", "no address of a server"),
            ("https://", "no address of a server"),
            ("", "no address of a server"),
        ],
    )
    def test_bad(self, make_api: MakeApi, address: str, message: str) -> None:
        """Another address is refused, and the message says which ones work."""
        with pytest.raises(ConfigurationError, match=rf"^--url: {message}; use https://amplitude"):
            make_api(address)
