"""The examples of a relay: each file can be read, and names only what there is."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support.relays import process, until

from amplitude_moloco import MolocoSettings
from amplitude_moloco.cli.app import app
from amplitude_moloco.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "relay"
UNIT = EXAMPLES / "moloco-relay.service"
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
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


def test_the_commands_are_taken() -> None:
    """The relay's command is one that the command line takes; the app's names a file."""
    options = options_of(SERVICES["relay"]["command"])
    assert (EXAMPLES / options["config"]).exists()
    grace = re.fullmatch(r"(\d+)s", SERVICES["relay"]["stop_grace_period"])
    assert grace
    assert int(grace[1]) > options["deadline"] + 10
    assert str(options["listen"]).endswith(":8767")
    assert ":8767/livez" in SERVICES["relay"]["healthcheck"]["test"][-1]
    program, file = SERVICES["app"]["command"]
    assert program == "python"
    assert (EXAMPLES / file).exists()


def test_the_variables_exist() -> None:
    """Each variable in the files is one that the library, or the example, reads."""
    files = [*(ROOT / "amplitude_moloco").rglob("*.py"), EXAMPLES / "app.py"]
    code = "\n".join(file.read_text("utf-8") for file in files)
    for service in SERVICES.values():
        for name in service["environment"]:
            assert f'"{name}"' in code
    for file in EXAMPLES.iterdir():
        for name in re.findall(r"\bMOLOCO_[A-Z_]+", file.read_text("utf-8")):
            assert f'"{name}"' in code, name


def test_the_app_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment of compose.yaml the settings work without the key."""
    monkeypatch.delenv("MOLOCO_API_KEY", raising=False)
    monkeypatch.setenv("MOLOCO_DELIVER", SERVICES["app"]["environment"]["MOLOCO_DELIVER"])
    assert not MolocoSettings.from_file(EXAMPLES / "moloco.toml").delivers()


def test_the_app_and_a_relay_deliver(tmp_path: Path, sandbox: Sandbox) -> None:
    """The program of the example tracks, and a relay with its settings delivers."""
    settings = TOML.replace('platform_name = "My Shop"', f'base_url = "{sandbox.url}"')
    settings = settings.replace("/var/lib/moloco", str(tmp_path))
    config = tmp_path / "moloco.toml"
    config.write_text(settings, encoding="utf-8")
    # The SDK of the example uploads to Amplitude itself, which a test must not.
    code = (EXAMPLES / "app.py").read_text("utf-8")
    before = 'Amplitude(os.environ["AMPLITUDE_API_KEY"])'
    config_of_sdk = f'Config(server_url="{sandbox.amplitude_url}")'
    after = f'Amplitude(os.environ["AMPLITUDE_API_KEY"], {config_of_sdk})'
    assert before in code
    code = code.replace(before, after).replace("import Amplitude,", "import Amplitude, Config,")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"AMPLITUDE_API_KEY": "key", "MOLOCO_DELIVER": "false"}
    environment |= {"VIEWS": "5", "PAUSE_SECONDS": "0"}
    environment.pop("MOLOCO_API_KEY", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deliver=False" in done.stdout
    with process(config, MOLOCO_API_KEY="key"):
        until(lambda: len(sandbox.moloco_events) == 5)
    assert {event["event_type"] for event in sandbox.moloco_events} == {"ITEM_PAGE_VIEW"}
