"""The examples of a relay: each file can be read, and names only what there is."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support.redis_server import StartRedis
from support.relays import ended, process, until

from amplitude_moloco import MolocoSettings
from amplitude_moloco.cli.app import app
from amplitude_moloco.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "relay"
UNIT = EXAMPLES / "moloco-relay.service"
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
WITH_REDIS: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose-redis.yaml").read_text("utf-8"))
TOML = (EXAMPLES / "moloco.toml").read_text("utf-8")


def unit() -> configparser.SectionProxy:
    """The section of the unit that says how to run it."""
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its docs suggest
    parser.read(UNIT, encoding="utf-8")
    return parser["Service"]


def options_of(command: list[str]) -> dict[str, Any]:
    """What the command line makes of a command's arguments."""
    assert command[:2] == ["amplitude-moloco", "relay"]
    group: Any = typer.main.get_command(app)
    relay = group.get_command(None, "relay")
    parameters: dict[str, Any] = relay.make_context("relay", command[2:]).params
    return parameters


def test_the_unit_starts_a_relay() -> None:
    """The unit has a command that the command line takes, and signals that a relay knows."""
    path, *command = shlex.split(unit()["ExecStart"])
    assert Path(path).is_absolute()
    options = options_of([Path(path).name, *command])
    assert float(unit()["TimeoutStopSec"]) > options["deadline"] + 10
    assert unit()["ExecReload"].endswith("-HUP $MAINPID")
    assert unit()["Type"] == "notify"
    assert float(unit()["WatchdogSec"]) > 4


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """The unit has no mistake that systemd finds."""
    copy = tmp_path / UNIT.name
    text = UNIT.read_text("utf-8").replace("/opt/shop/venv/bin/amplitude-moloco", sys.executable)
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],  # noqa: S607  # found above
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert UNIT.name not in done.stderr


def test_the_services_share_a_volume() -> None:
    """App and relay have one volume, where the settings have the buffer."""
    (app_volume,), (relay_volume,) = (SERVICES[name]["volumes"] for name in ("app", "relay"))
    assert app_volume == relay_volume
    name, _, folder = relay_volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert f'buffer = "sqlite:///{folder}/' in TOML
    assert folder in (EXAMPLES / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("services", [SERVICES, WITH_REDIS["services"]], ids=["sqlite", "redis"])
def test_the_commands_are_taken(services: dict[str, Any]) -> None:
    """The relay's command is one that the command line takes; the app's names a file."""
    options = options_of(services["relay"]["command"])
    assert (EXAMPLES / options["config"]).exists()
    grace = re.fullmatch(r"(\d+)s", services["relay"]["stop_grace_period"])
    assert grace
    assert int(grace[1]) > options["deadline"] + 10
    assert str(options["listen"]).endswith(":8767")
    assert ":8767/livez" in services["relay"]["healthcheck"]["test"][-1]
    program, file = services["app"]["command"]
    assert program == "python"
    assert (EXAMPLES / file).exists()


def test_what_redis_needs_is_mounted() -> None:
    """App and relays have the settings for Redis in place of the others, the app its stage."""
    services, toml = WITH_REDIS["services"], (EXAMPLES / "moloco-redis.toml").read_text("utf-8")
    settings, stage = services["app"]["volumes"]
    assert [settings] == services["relay"]["volumes"]
    assert settings == "./moloco-redis.toml:/app/moloco.toml:ro"
    assert "redis://redis:6379/" in toml
    assert f"stage=sqlite:///{stage.partition(':')[2]}/" in toml
    assert {stage.partition(":")[0], "redis"} == {*WITH_REDIS["volumes"]}


def test_the_variables_exist() -> None:
    """Each variable in the files is one that the library, or the example, reads."""
    files = [*(ROOT / "amplitude_moloco").rglob("*.py"), EXAMPLES / "app.py"]
    code = "\n".join(file.read_text("utf-8") for file in files)
    for service in [*SERVICES.values(), *WITH_REDIS["services"].values()]:
        for name in service.get("environment", ()):
            assert f'"{name}"' in code
    for file in EXAMPLES.iterdir():
        for name in re.findall(r"\bMOLOCO_[A-Z_]+", file.read_text("utf-8")):
            assert f'"{name}"' in code, name


def test_the_app_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment of compose.yaml the settings work without the key."""
    monkeypatch.delenv("MOLOCO_API_KEY", raising=False)
    monkeypatch.setenv("MOLOCO_DELIVER", SERVICES["app"]["environment"]["MOLOCO_DELIVER"])
    assert not MolocoSettings.from_file(EXAMPLES / "moloco.toml").delivers()


def track(config: Path, sandbox: Sandbox, **variables: str) -> None:
    """Run the program of the example, with these settings."""
    # The SDK of the example uploads to Amplitude itself, which a test must not.
    code = (EXAMPLES / "app.py").read_text("utf-8")
    before = 'Amplitude(os.environ["AMPLITUDE_API_KEY"])'
    config_of_sdk = f'Config(server_url="{sandbox.amplitude_url}")'
    after = f'Amplitude(os.environ["AMPLITUDE_API_KEY"], {config_of_sdk})'
    assert before in code
    code = code.replace(before, after).replace("import Amplitude,", "import Amplitude, Config,")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    environment |= {"AMPLITUDE_API_KEY": "key", "MOLOCO_DELIVER": "false"}
    environment |= {"VIEWS": "5", "PAUSE_SECONDS": "0"}
    environment.pop("MOLOCO_API_KEY", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=config.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deliver=False" in done.stdout


def test_the_app_and_a_relay_deliver(tmp_path: Path, sandbox: Sandbox) -> None:
    """The program of the example tracks, and a relay with its settings delivers."""
    settings = TOML.replace('platform_name = "My Shop"', f'base_url = "{sandbox.url}"')
    config = tmp_path / "moloco.toml"
    config.write_text(settings.replace("/var/lib/moloco", str(tmp_path)), encoding="utf-8")
    track(config, sandbox)
    with process(config, MOLOCO_API_KEY="key"):
        until(lambda: len(sandbox.moloco_events) == 5)
    assert {event["event_type"] for event in sandbox.moloco_events} == {"ITEM_PAGE_VIEW"}


def test_the_app_and_a_relay_share_redis(
    tmp_path: Path, sandbox: Sandbox, start_redis: StartRedis
) -> None:
    """With the server of the example, which needs the password, nothing is to be warned of."""
    _, *options = WITH_REDIS["services"]["redis"]["command"]
    names = [name.removeprefix("--").replace("-", "_") for name in options[::2]]
    given = dict(zip(names, options[1::2], strict=True)) | {"requirepass": "word"}
    server = start_redis(**given)
    settings = (EXAMPLES / "moloco-redis.toml").read_text("utf-8")
    settings = settings.replace('platform_name = "My Shop"', f'base_url = "{sandbox.url}"')
    settings = settings.replace("redis:6379", f"127.0.0.1:{server.port}")
    config = tmp_path / "moloco.toml"
    config.write_text(settings.replace("/var/lib/moloco", str(tmp_path)), encoding="utf-8")
    track(config, sandbox, REDIS_PASSWORD="word")
    with process(config, MOLOCO_API_KEY="key", REDIS_PASSWORD="word") as relay:
        until(lambda: len(sandbox.moloco_events) == 5)
        relay.send_signal(signal.SIGTERM)
        code, log = ended(relay)
    assert code == 0
    assert "Stopped. Delivered by this process: 5" in log
    assert "Degraded" not in log
