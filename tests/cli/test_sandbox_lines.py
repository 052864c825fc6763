"""The lines that ``amplitude-moloco sandbox`` prints, and its faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.cli import run

from amplitude_moloco.cli.request_lines import RequestLine, RequestLines
from amplitude_moloco.sandbox import ReceivedRequest, Sandbox
from amplitude_moloco.sandbox.faults import Conditions, Faults

HOME = {
    "event_type": "HOME",
    "channel_type": "SITE",
    "timestamp": "1700000000000",
    "user_id": "u",
    "id": "e-1",
}


def post(url: str, event: Any = HOME) -> int:
    path = f"{url}/rmp/event/v1/platforms/SHOP/userevents"
    headers = {"x-api-key": "key"}
    with requests.post(path, json=event, headers=headers, timeout=30) as answer:
        return answer.status_code


def received(target: Any, raw: bytes, status: int = 200, message: str | None = None) -> RequestLine:
    return RequestLine(ReceivedRequest(target, None, status, message, raw, 1_700_000_000.0))


class TestLine:
    """One line."""

    @pytest.mark.parametrize(
        ("line", "end"),
        [
            (received("moloco", json.dumps(HOME).encode()), "MCM        200  HOME  e-1"),
            (received("moloco", b"{}", 400, "missing x"), "MCM        400  missing x"),
            (received("moloco", b"nonsense", 400, "no JSON"), "MCM        400  no JSON"),
            (received("amplitude", b'{"events": [{}]}'), "Amplitude  200  1 event"),
            (received("amplitude", b'{"events": [{}, {}]}'), "Amplitude  200  2 events"),
            (received("amplitude", b'{"events": 7}', 400, "bad"), "Amplitude  400  0 events  bad"),
            (received("export", b"start=1&end=2"), "export     200  start=1&end=2"),
            (
                received("mmp", b'{"path": "/event", "parameters": {"event_token": "abc123"}}'),
                "MMP        200  /event  abc123",
            ),
            (
                received("mmp", b'{"path": "/mmp/moloco1", "parameters": {}}', 404, "no link"),
                "MMP        404  /mmp/moloco1  no link",
            ),
        ],
    )
    def test_says_what_came(self, line: RequestLine, end: str) -> None:
        """It has the time, the API, the status, what was sent, and why it was refused."""
        assert line.text[8:] == f"  {end}"
        assert line.text[2::3][:2] == "::"
        assert line.style == ("green" if "200" in end else "red")

    def test_hostile_text(self) -> None:
        """Whatever a client sends is shown on one line, and cut."""
        event = json.dumps({"event_type": "\x1b[31m\nX" * 500}).encode()
        line = received("moloco", event, 400, "[red]\x07").text
        assert line.isprintable()
        assert len(line) == 200

    def test_plain_data(self) -> None:
        """For programs it has the body, too."""
        line = received("moloco", json.dumps(HOME).encode())
        assert line.as_json() == {
            "target": "moloco",
            "at": 1_700_000_000.0,
            "platform_id": None,
            "status": 200,
            "message": None,
            "body": HOME,
        }


def test_each_request_is_told_once() -> None:
    """Requests are told in their order, also after the record was cleared or has become full."""
    with Sandbox(max_requests=2) as sandbox:
        lines = RequestLines(sandbox)

        def told() -> list[str]:
            return [each.as_json()["body"]["id"] for each in lines.new()]

        assert told() == []
        post(sandbox.url, {**HOME, "id": "a"})
        assert told() == ["a"]
        assert told() == []
        for id in "bcd":
            post(sandbox.url, {**HOME, "id": id})
        assert told() == ["c", "d"]
        sandbox.clear()
        post(sandbox.url, {**HOME, "id": "e"})
        assert told() == ["e"]


class TestFaults:
    """Faults for a share of the events."""

    def test_a_share_fails(self) -> None:
        """Each number below the rate is a fault; what is in the queue goes first."""
        chances = iter([0.1, 0.2, 0.3])
        faults = Faults(Conditions(0.25, 429), lambda: next(chances))
        found = [faults.take("moloco") for _ in range(3)]
        assert [fault and fault.status for fault in found] == [429, 429, None]
        assert faults.take("amplitude") is None

    @pytest.mark.parametrize(
        "more", [{"fail_rate": 1.1}, {"fail_rate": -0.1}, {"fail_status": 302}, {"fail_rate": None}]
    )
    def test_what_can_not_be(self, more: dict[str, Any]) -> None:
        """Another rate or status is refused."""
        with pytest.raises((ValueError, TypeError)):
            Sandbox(**more)

    def test_all_fail(self) -> None:
        """At a rate of 1, each event fails with the status, and Amplitude works."""
        with Sandbox(fail_rate=1.0, fail_status=500) as sandbox:
            assert {post(sandbox.url) for _ in range(5)} == {500}
            batch = {"api_key": "k", "events": [{}]}
            with requests.post(sandbox.amplitude_url, json=batch, timeout=30) as answer:
                assert answer.status_code == 200


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts the command, and returns it with the sandbox's address."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "amplitude_moloco", "sandbox", "--port", "0", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        first = process.stdout.readline()
        if first.startswith("{"):
            return process, json.loads(first)["url"]
        while process.stdout.readline() != "Press Ctrl-C to stop.\n":
            pass
        return process, first.split()[-1]

    yield start
    for process in processes:
        with process:
            process.kill()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ((), 200),
        (("--status", "429"), 429),
        (("--fail-rate", "1"), 503),
        (("--fail-rate", "0", "--status", "429"), 200),
        (("--latency-millis", "1"), 200),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_command_prints_each_request(start: Any, options: tuple[str, ...], status: int) -> None:
    """Each request is a line as it comes, with the status that was asked for."""
    process, url = start(*options)
    assert post(url) == status
    line = process.stdout.readline()
    assert f"  MCM        {status}  HOME  e-1" in line
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_the_command_prints_json(start: Any) -> None:
    """With --json, the first line has the addresses, and each further one a request."""
    process, url = start("--json")
    post(url)
    line = json.loads(process.stdout.readline())
    assert (line["target"], line["status"], line["body"]) == ("moloco", 200, HOME)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_the_options_of_the_mmp(start: Any) -> None:
    """The options name the app, link events, and set up Moloco's postbacks."""
    token = "abcdefghijkl"
    options = ("--mmp-event", "abc123=purchase", "--mmp-event", "xyz789=cart")
    flags = ("--mmp-attributed-only", "--mmp-send-callbacks")
    process, url = start("--mmp-app-token", token, *flags, *options)
    device = {"s2s": "1", "app_token": token, "gps_adid": "x", "event_token": "abc123"}
    for path, parameters, status in [
        ("session", device, 200),
        ("event", device, 200),
        ("event", {**device, "app_token": "otherother12"}, 404),
    ]:
        answer = requests.post(f"{url}/mmp/{path}", parameters, timeout=30)
        assert answer.status_code == status
        assert f"  MMP        {status}  /mmp/{path}" in process.stdout.readline()
    (known,) = requests.get(f"{url}/mmp/state", timeout=30).json()["devices"]
    road = requests.get(f"{url}/mmp/road", {"device": known["key"]}, timeout=30).json()
    silences = {each["silence"] for step in road["steps"] for each in step.get("postbacks", ())}
    assert silences == {"attributed only, and this is organic"}
    click = {"gps_adid": "y", "click_callback": "http://127.0.0.1:9/"}
    requests.get(f"{url}/mmp/moloco1", click, timeout=30)
    (*_, step) = requests.get(f"{url}/mmp/road", timeout=30).json()["steps"]
    assert step["postbacks"][0]["state"] == "pending"  # nobody listens there
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mmp-event", "abc123"), "write --mmp-event as TOKEN=NAME"),
        (("--mmp-app-token", "short"), "app_token must be 12 letters and digits"),
        (("--mmp-postback-url", "ftp://host/"), "must begin with https://"),
        (("--mmp-postback-url", "http://host/"), "or be http:// to this machine"),
    ],
)
def test_options_of_the_mmp_that_can_not_be(options: tuple[str, str], message: str) -> None:
    """A token, an event or an address that can't be is refused with exit code 2."""
    done = run("sandbox", *options)
    assert done.code == 2
    assert message in " ".join(done.err.split())
