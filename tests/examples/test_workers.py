"""The examples that are no web servers: Celery, AWS Lambda, and programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.example import (
    EXAMPLES,
    PATIENCE_SECONDS,
    commands,
    copied,
    done,
    environment,
    judge,
    running,
)
from support.waiting import await_that

from amplitude_moloco import hash_identifier
from amplitude_moloco.sandbox import Sandbox

pytestmark = pytest.mark.timeout(900)

ITEMS = [{"id": "shoes-1", "price": {"currency": "USD", "amount": 59.9}, "quantity": 1}]


def assert_is_order(event: dict[str, Any]) -> None:
    """Asserts that this is the order of the README."""
    assert (event["event_type"], event["id"]) == ("PURCHASE", "order-1001")
    assert event["revenue"] == {"currency": "USD", "amount": 59.9}
    assert (event["items"], event["channel_type"]) == (ITEMS, "SITE")
    assert event["user_id"] == hash_identifier("shopper-1")


def test_celery(tmp_path: Path, sandbox: Sandbox) -> None:
    """A task in a forked worker sends its event, and the worker's end loses none."""
    pytest.importorskip("celery")
    copy = copied("celery_worker", tmp_path)
    variables = environment(sandbox)
    worker_command, call = commands("celery_worker")
    with running(worker_command, copy, variables) as worker:
        done(call, copy, variables)
        await_that(lambda: sandbox.moloco_events or not worker.is_running)
        assert worker.end() == 0, worker.said
        assert "Traceback" not in worker.said
    judge(sandbox, copy / "moloco.db")
    (order,) = sandbox.moloco_events
    assert_is_order(order)


def test_a_call_of_a_function(tmp_path: Path, sandbox: Sandbox) -> None:
    """The handler's command, as the README has it, sends the order of the file beside it."""
    copy = copied("aws_lambda", tmp_path)
    (command,) = commands("aws_lambda")
    assert done(command, copy, environment(sandbox)) == "{'statusCode': 204}\n"
    judge(sandbox, copy / "moloco.db")
    (order,) = sandbox.moloco_events
    assert_is_order(order)
    assert order["device"] == {"ip": "192.0.2.1", "ua": "Mozilla/5.0"}


RUNTIME = """
import handler, json, sys
handler.PATIENCE_SECONDS = 60  # the machine may be busy
for line in sys.stdin:
    print(handler.handler(json.loads(line), None)["statusCode"], flush=True)
"""


@pytest.mark.parametrize("buffer", ["memory://", "sqlite:///moloco.db"])
def test_a_function_that_is_frozen_between_its_calls(
    buffer: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    """When a call returns, both have its event; a freeze in between and a failure lose none."""
    copy = copied("aws_lambda", tmp_path)
    event = json.loads((copy / "order.json").read_text(encoding="utf-8"))
    order = json.loads(event["body"])
    variables = {**environment(sandbox), "MOLOCO_BUFFER": buffer}
    with subprocess.Popen(
        [sys.executable, "-c", RUNTIME],
        cwd=copy,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as function:
        assert function.stdin
        assert function.stdout
        for number in range(3):
            body = json.dumps({**order, "id": str(number)})
            function.stdin.write(json.dumps({**event, "body": body}) + "\n")
            function.stdin.flush()
            assert function.stdout.readline() == "204\n"
            function.send_signal(signal.SIGSTOP)
            ids = [event["id"] for event in sandbox.moloco_events]
            assert ids == [f"order-{each}" for each in range(number + 1)]
            assert len(sandbox.amplitude_events) == number + 1
            function.send_signal(signal.SIGCONT)
        function.stdin.close()
        assert function.wait(PATIENCE_SECONDS) == 0


def test_mapping_with_callables(tmp_path: Path, sandbox: Sandbox) -> None:
    """The functions compute items, revenue and time, and the filter leaves the staff out."""
    printed = done(
        f"python -W error {EXAMPLES}/mapping_with_callables.py", tmp_path, environment(sandbox)
    )
    received, _, left_out = printed.removeprefix("MCM received ").partition("\nLeft out")
    (event,) = json.loads(received)
    assert [(item["id"], item.get("seller_id")) for item in event["items"]] == [
        ("shoes-1", "acme"),
        ("socks-7", "woolly"),
    ]
    assert event["revenue"] == {"currency": "USD", "amount": 68.9}
    assert event["timestamp"] == "1769851800000"
    assert left_out == " by the filter: {'PURCHASE': 1}\n"


def test_two_platforms(tmp_path: Path, sandbox: Sandbox) -> None:
    """Each platform receives the events of its country, and Amplitude those of both."""
    printed = done(f"python -W error {EXAMPLES}/two_platforms.py", tmp_path, environment(sandbox))
    assert printed.splitlines() == [
        "MY_SHOP_DE received 2",
        "MY_SHOP_KR received 1",
        "Amplitude received 3",
    ]
