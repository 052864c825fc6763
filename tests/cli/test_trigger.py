"""The command ``amplitude-moloco trigger``."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import run
from support.faulty_server import FaultyServer, StartServer
from support.tls import Tls

from amplitude_moloco import EventType
from amplitude_moloco.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("bare_environment")


@pytest.mark.parametrize("kind", [*EventType])
def test_each_type_is_accepted(sandbox: Sandbox, kind: EventType) -> None:
    """It sends one event of the type, which the sandbox accepts, and shows what it sends."""
    code, out, err = run("trigger", kind.value.lower(), "--url", sandbox.url)
    assert (code, err) == (0, "")
    (event,) = sandbox.moloco_events
    assert event["event_type"] == kind.value
    assert event["user_id"] == "amplitude-moloco-sample"
    first, body, last = out.splitlines()
    assert first == f"POST {sandbox.url}/rmp/event/v1/platforms/SANDBOX_SHOP/userevents"
    assert body.encode() == sandbox.requests[0].raw
    assert last == "200: accepted"


class TestConfig:
    """With a settings file."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "moloco.toml"
        path.write_text(
            'api_key = "the-key"\nplatform_id = "MY_SHOP"\nsyncs = "ecommerce"\n'
            'base_url = "${URL}"\n'
        )
        return path

    def test_its_address_and_key(self, config: Path) -> None:
        """Address and key are those of the settings; a loopback address needs no question."""
        with Sandbox(api_key="the-key", platform_id="MY_SHOP") as sandbox:
            done = run("trigger", "HOME", "--config", config, "--json", URL=sandbox.url)
        assert done.code == 0
        assert (done.json["status"], done.json["body"]["event_type"]) == (200, "HOME")
        assert "the-key" not in done.out

    @pytest.mark.parametrize(
        ("options", "outcome"),
        [
            (("y\n",), (0, 1)),
            (("", "--yes"), (0, 1)),
            (("n\n",), (1, 0)),
            (("",), (130, 0)),
        ],
        ids=["yes", "sure", "no", "nothing"],
    )
    def test_asks_before_it_sends_to_mcm(
        self,
        config: Path,
        start_server: StartServer,
        tls: Tls,
        options: tuple[str, ...],
        outcome: tuple[int, int],
    ) -> None:
        """What goes to another machine is sent after a yes only."""
        server = start_server(tls.context)
        config.write_text(config.read_text() + f'ca_bundle = "{tls.ca_bundle}"\n')
        answer, *more = options
        done = run("trigger", "HOME", "--config", config, *more, stdin=answer, URL=server.url)
        assert (done.code, len(server.requests)) == outcome

    def test_asks_before_it_sends_to_a_private_host(self, config: Path) -> None:
        """A host that gets plain http over a network is another machine, too."""
        config.write_text(config.read_text() + 'allow_plain_http = "sandbox"\n')
        done = run("trigger", "HOME", "--config", config, stdin="n\n", URL="http://sandbox:8765")
        assert done.code == 1
        assert "Send this HOME to sandbox:8765?" in done.err

    def test_one_of_the_two(self, config: Path, sandbox: Sandbox) -> None:
        """--config and --url exclude each other."""
        code, _, err = run("trigger", "HOME", "--config", config, "--url", sandbox.url)
        assert code == 2
        assert err == "amplitude-moloco: --url: given beside --config; use one of the two\n"


@pytest.mark.parametrize(
    ("status", "code"), [(204, 0), (400, 1), (401, 1), (302, 1), (429, 3), (503, 3)]
)
def test_answers(server: FaultyServer, status: int, code: int) -> None:
    """Each answer has its exit code."""
    server.decide = lambda request: FaultyServer.reply(status, b"{}" if status != 204 else b"")
    done = run("trigger", "HOME", "--url", server.url)
    assert done.code == code
    assert f"\n{status}: " in done.out


def test_no_sandbox(server: FaultyServer) -> None:
    """Where nothing answers, it says why, and ends with 3."""
    server.will(lambda exchange: exchange.close())
    code, out, _ = run("trigger", "HOME", "--url", server.url)
    assert code == 3
    assert "no answer: 127.0.0.1" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("ORDER", "--url", "http://127.0.0.1:9"), "'ORDER' is not one of"),
        (("HOME", "--url", "http://shop.example"), "plain http to shop.example would send"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], text: str) -> None:
    """An unknown type and an address without TLS are refused with 2."""
    code, _, err = run("trigger", *arguments)
    assert code == 2
    assert text in err


def test_switched_off(sandbox: Sandbox) -> None:
    """Where sending is switched off, it says so."""
    code, _, err = run("trigger", "HOME", "--url", sandbox.url, MOLOCO_TRANSPORT="none")
    assert code == 2
    assert "transport: 'none' sends nothing" in err
