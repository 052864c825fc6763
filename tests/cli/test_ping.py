"""The command ``amplitude-moloco ping``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.black_hole import black_hole
from support.cli import Done, run
from support.faulty_server import Exchange, FaultyServer, StartServer
from support.refusing_port import refusing_port
from support.tls import Tls

from amplitude_moloco.cli.route import Route
from amplitude_moloco.cli.terminal import FAILED, LATER, UNUSABLE
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.sandbox import MmpSettings, Sandbox

pytestmark = pytest.mark.usefixtures("bare_environment")
TRANSPORTS = ["requests", "curl"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "moloco.toml"
    path.write_text(
        'platform_id = "MY_SHOP"\nbase_url = "${URL}"\nsyncs = "ecommerce"\n'
        'api_key = "the-secret-key"\ntransport = "${KIND}"\n'
    )
    return path


def ping(config: Path, url: str, *options: str, kind: str = "requests", **variables: str) -> Done:
    done = run("ping", config, *options, URL=url, KIND=kind, **variables)
    assert "the-secret-key" not in done.out + done.err
    assert all(line.isprintable() for line in done.out.splitlines())
    return done


class TestAccepted:
    """Where all is well."""

    @pytest.mark.parametrize("kind", TRANSPORTS)
    def test_one_harmless_request(self, config: Path, kind: str) -> None:
        """It sends one request that MCM refuses as documented, and says exactly what it sends."""
        with Sandbox(api_key="the-secret-key", platform_id="MY_SHOP") as sandbox:
            code, out, err = ping(config, sandbox.url, kind=kind)
            (request,) = sandbox.requests
        assert (code, err) == (0, "")
        assert (request.status, request.accepted) == (400, False)
        assert sandbox.moloco_events == []
        lines = out.splitlines()
        assert lines[0] == f"POST {sandbox.url}/rmp/event/v1/platforms/MY_SHOP/userevents"
        assert lines[1].encode() == request.raw
        assert "ok      answer      400 no available valid identifier to construct" in out
        assert out.endswith("ok      key         accepted, for the platform MY_SHOP\n")

    def test_json(self, config: Path, sandbox: Sandbox) -> None:
        """With --json, it prints the steps."""
        found = ping(config, sandbox.url, "--json").json
        assert found["is_well"] is True
        assert found["body"]["event_type"] == "SEARCH"
        assert [step["name"] for step in found["steps"]] == ["name", "connection", "answer", "key"]

    def test_tls(self, config: Path, start_server: StartServer, tls: Tls) -> None:
        """It says how the connection is encrypted, and how long the certificate is valid."""
        server = start_server(tls.context)
        server.decide = lambda request: FaultyServer.reply(
            400, b'{"message": "missing search_query"}'
        )
        config.write_text(config.read_text() + f'ca_bundle = "{tls.ca_bundle}"\n')
        code, out, _ = ping(config, server.url)
        assert code == 0
        assert "ok      TLS         TLSv1.3, with a certificate that is valid until " in out
        assert "400 missing search_query (as documented)" in out

    def test_another_text(self, config: Path, server: FaultyServer) -> None:
        """A 400 with another text is an answer too, and the text is shown as text."""
        server.decide = lambda request: FaultyServer.reply(400, b'{"message": "\\u001b[31m[red]"}')
        code, out, _ = ping(config, server.url)
        assert code == 0
        assert "[31m[red] (not the text that is documented)" in out


class TestRefused:
    """Where it is not."""

    @pytest.mark.parametrize("kind", TRANSPORTS)
    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"api_key": "another"}, "401 missing or invalid x-api-key: MCM does not know the key"),
            ({"platform_id": "OTHER"}, "404 unknown platform: MCM does not know the platform"),
        ],
        ids=["key", "platform"],
    )
    def test_key_or_platform(
        self, config: Path, kind: str, settings: dict[str, Any], text: str
    ) -> None:
        """A wrong key and a wrong platform end it with 1, and the usual causes."""
        with Sandbox(**settings) as sandbox:
            code, out, _ = ping(config, sandbox.url, kind=kind)
        assert code == FAILED
        assert f"FAILED  answer      {text}" in out

    @pytest.mark.parametrize(
        ("status", "code", "text"),
        [
            (200, FAILED, "MCM would refuse this request: something else answers"),
            (302, FAILED, "MCM would refuse this request: something else answers"),
            (403, FAILED, "it may not send events for this platform"),
            (418, FAILED, "MCM does not answer so; check the address"),
            (429, LATER, "MCM throttles this platform now"),
            (503, LATER, "the server fails, or a proxy before it"),
        ],
    )
    def test_other_answers(
        self, config: Path, server: FaultyServer, status: int, code: int, text: str
    ) -> None:
        """Each other answer has its exit code, and what it usually means."""
        server.decide = lambda request: FaultyServer.reply(status)
        done = ping(config, server.url)
        assert done.code == code
        assert f"FAILED  answer      {status}" in done.out
        assert text in done.out

    def test_no_answer(self, config: Path, server: FaultyServer) -> None:
        """A connection that ends without an answer is explained."""
        server.will(lambda exchange: exchange.close())
        code, out, _ = ping(config, server.url)
        assert code == LATER
        assert "ended the connection before its answer was complete" in out


class TestUnreached:
    """Where nobody answers."""

    def test_no_such_host(self, config: Path) -> None:
        """A name that can't be resolved is the last step."""
        code, out, _ = ping(config, "https://nowhere.invalid")
        assert code == LATER
        assert "FAILED  name        the name nowhere.invalid can't be resolved" in out

    def test_refused(self, config: Path) -> None:
        """A port where nothing listens is said to refuse."""
        with refusing_port() as port:
            code, out, _ = ping(config, f"http://127.0.0.1:{port}")
        assert code == LATER
        assert f"FAILED  connection  127.0.0.1:{port} refuses the connection; check host" in out

    def test_another_authority(self, config: Path, start_server: StartServer, tls: Tls) -> None:
        """A certificate that is not trusted is named, with the rule, and nothing is sent."""
        server = start_server(tls.context)
        code, out, _ = ping(config, server.url)
        assert code == LATER
        assert "FAILED  TLS         the certificate of 127.0.0.1" in out
        assert "is not trusted: its issuer is unknown" in out
        assert server.requests == []

    def test_another_host(
        self, config: Path, start_server: StartServer, tmp_path: Path, tls: Tls
    ) -> None:
        """A certificate of another host is refused, whatever folder or file holds the authority."""
        authority = trustme.CA()
        context = type(tls.context)(tls.context.protocol)
        authority.issue_cert("other.example").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        config.write_text(config.read_text() + f'ca_bundle = "{tmp_path / "ca.pem"}"\n')
        code, out, _ = ping(config, start_server(context).url)
        assert code == LATER
        assert "it was issued for another" in out

    def test_no_tls(self, config: Path, sandbox: Sandbox) -> None:
        """A server without TLS is recognized."""
        code, out, _ = ping(config, sandbox.url.replace("http:", "https:"))
        assert code == LATER
        assert "does not speak TLS" in out

    def test_in_time(self, config: Path) -> None:
        """A host that does not answer costs no more than the timeout."""
        with black_hole() as port:
            config.write_text(config.read_text() + "timeout_seconds = 2\n")
            code, out, _ = ping(config, f"http://127.0.0.1:{port}")
        assert code == LATER
        assert "FAILED  connection  no connection to 127.0.0.1:" in out


class TestWay:
    """What lies between."""

    def test_through_a_proxy(
        self, config: Path, server: FaultyServer, bare_environment: pytest.MonkeyPatch
    ) -> None:
        """Where a proxy makes the connection, it is named without its password."""
        server.will(lambda exchange: exchange.send(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n"))
        proxy = server.url.replace("http://", "http://me:hush@")
        code, out, _ = ping(config, "https://acme.example", HTTPS_PROXY=proxy)
        assert code == LATER
        assert f"ok      proxy       {server.url[7:]} makes the connection" in out
        assert "the proxy 127.0.0.1" in out
        assert "hush" not in out

    def test_a_folder_of_certificates(
        self, start_server: StartServer, tmp_path: Path, tls: Tls
    ) -> None:
        """A folder of certificates is searched, as OpenSSL does."""
        server = start_server(tls.context)
        (tmp_path / "00000000.0").touch()
        address = endpoint(api_key="k", platform_id="P", platform_name=None, base_url=server.url)
        *_, last = Route(address, tmp_path, 5.0).steps()
        assert (last.name, last.is_done) == ("TLS", False)


class TestUsage:
    """What can't work."""

    def test_no_key(self, config: Path) -> None:
        """Without a key it ends with 2, and names all mistakes."""
        config.write_text(config.read_text().replace("the-secret-key", "${NO_KEY}"))
        code, out, err = run("ping", config)
        assert (code, out) == (UNUSABLE, "")
        assert "amplitude-moloco: api_key: the environment variable NO_KEY is not set" in err
        assert "amplitude-moloco: base_url: the environment variable URL is not set" in err

    def test_no_transport(self, config: Path, sandbox: Sandbox) -> None:
        """Where sending is switched off, nothing is tried."""
        code, _, err = ping(config, sandbox.url, MOLOCO_TRANSPORT="none")
        assert code == UNUSABLE
        assert "transport: 'none' sends nothing" in err
        assert sandbox.requests == []


def test_an_exchange_that_hangs(config: Path, server: FaultyServer) -> None:
    """A server that accepts and says nothing costs no more than the timeout."""
    server.will(Exchange.hang)
    config.write_text(config.read_text() + "timeout_seconds = 2\n")
    code, out, _ = ping(config, server.url)
    assert code == LATER
    assert "has not answered within 2 s" in out
    assert json.loads(server.requests[0].body)["event_type"] == "SEARCH"


class TestAdjust:
    """Settings for Adjust."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "adjust.toml"
        path.write_text(
            'app_token = "abc123def456"\nenvironment = "sandbox"\ntoken = "the-secret-key"\n'
            'base_url = "${URL}"\ntransport = "${KIND}"\n'
            '[[events]]\nevent = "Order Completed"\ntoken = "buyt0k"\n'
        )
        return path

    @pytest.mark.parametrize("kind", TRANSPORTS)
    def test_one_harmless_request(self, config: Path, kind: str) -> None:
        """It sends an event of an invented device, which Adjust refuses as documented."""
        mmp = MmpSettings(
            app_token="abc123def456",
            event_tokens=frozenset({"buyt0k"}),
            s2s_token="the-secret-key",
            enforce_s2s_token=True,
        )
        with Sandbox(mmp=mmp) as sandbox:
            code, out, _ = ping(config, sandbox.url, kind=kind)
            found = ping(config, sandbox.url, "--json", kind=kind).json
            assert sandbox.mmp.events == []
            assert len(sandbox.mmp.refusals) == 2
        assert code == 0
        assert out.startswith(f"POST {sandbox.url}/event\ns2s=1&app_token=abc123def456&")
        assert "ok      answer      404 Event request failed (Device not found)" in out
        assert "neither the event token buyt0k nor the S2S token" in out
        assert (found["is_well"], found["body"].startswith("s2s=1&")) == (True, True)

    def test_an_app_for_each_platform(self, config: Path) -> None:
        """With several apps, it asks for the first one."""
        text = config.read_text().replace('"abc123def456"', '{ ios = "abc123def456" }')
        config.write_text(text)
        with Sandbox() as sandbox:
            assert ping(config, sandbox.url).code == 0

    @pytest.mark.parametrize(
        ("settings", "cause"),
        [
            ({"s2s_token": "other", "enforce_s2s_token": True}, "lacks the scope Events"),
            ({"app_token": "ghi789jkl012"}, "does not know the app; check app_token"),
            ({"event_tokens": frozenset({"other1"})}, "does not know the event token"),
            ({"is_active": False}, "the app is inactive, or tracking is disabled"),
        ],
        ids=str,
    )
    def test_what_is_wrong(self, config: Path, settings: dict[str, Any], cause: str) -> None:
        """Each refusal names what to check, and ends with 1."""
        with Sandbox(mmp=MmpSettings(**settings)) as sandbox:
            code, out, _ = ping(config, sandbox.url)
        assert code == FAILED
        assert "FAILED  answer" in out
        assert cause in out

    @pytest.mark.parametrize(
        ("status", "code", "cause"),
        [
            (200, FAILED, "Adjust would refuse this request: something else answers"),
            (202, FAILED, "the S2S token is missing or wrong"),
            (404, FAILED, "Adjust does not answer so; check the address"),
            (429, LATER, "Adjust throttles now"),
            (500, LATER, "try again later"),
        ],
    )
    def test_other_answers(
        self, config: Path, server: FaultyServer, status: int, code: int, cause: str
    ) -> None:
        """An answer that Adjust would not give, or not now, is explained."""
        server.decide = lambda request: server.reply(status)
        done = ping(config, server.url)
        assert (done.code, cause in done.out) == (code, True)


class TestAdbrix:
    """Settings for Adbrix."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "adbrix.toml"
        path.write_text(
            'token = "the-secret-key"\nbase_url = "${URL}"\ntransport = "${KIND}"\n'
            'events = "commerce"\n'
        )
        return path

    def test_one_harmless_request(self, config: Path) -> None:
        """It sends an event without its required attributes, which Adbrix refuses."""
        with Sandbox(adbrix_token="the-secret-key") as sandbox:
            code, out, _ = ping(config, sandbox.url)
            assert sandbox.adbrix_events == []
        assert code == 0
        assert "ok      Adbrix      does not refuse the token" in out

    def test_a_wrong_token(self, config: Path) -> None:
        """A token that Adbrix does not know is named, and ends with 1."""
        with Sandbox(adbrix_token="other") as sandbox:
            code, out, _ = ping(config, sandbox.url)
        assert (code, "Adbrix does not know the token; check token" in out) == (FAILED, True)
