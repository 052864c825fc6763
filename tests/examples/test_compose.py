"""The containers. There is no Docker in the tests: their commands run as processes instead."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.cli import run
from support.example import (
    EXAMPLES,
    README,
    contents_of,
    copied,
    environment,
    running,
)
from support.waiting import await_that

from amplitude_moloco import MolocoSettings
from amplitude_moloco.moloco.private_host import PLAIN_HTTP_VARIABLE
from amplitude_moloco.sandbox import Sandbox

pytestmark = pytest.mark.timeout(900)

FOLDER = EXAMPLES / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
SHOP, SANDBOX = SERVICES["shop"], SERVICES["sandbox"]
VARIABLES: dict[str, str] = SHOP["environment"]


def test_the_environment_is_what_the_app_reads() -> None:
    """The shop gets each variable that it reads, and none but those and the library's own."""
    shop = EXAMPLES / "flask_shop"
    code = (shop / "app.py").read_text(encoding="utf-8")
    settings = (shop / "moloco.toml").read_text(encoding="utf-8").partition("\n")[2]
    read = {
        *re.findall(r'environ(?:\.get\(|\[)"(\w+)"', code),
        *re.findall(r"\$\{(\w+)\}", settings),
    }
    assert VARIABLES.keys() == read | {PLAIN_HTTP_VARIABLE}
    assert all(isinstance(value, str) for value in VARIABLES.values())


def test_the_settings_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the environment of the shop, its settings allow plain http to the sandbox alone."""
    copy = copied("flask_shop", tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MOLOCO_BUFFER", f"sqlite:///{tmp_path}/moloco.db")
    settings = MolocoSettings.from_file(copy / "moloco.toml")
    assert settings.endpoint().exposed_host == "sandbox"
    done = run("check", copy / "moloco.toml")
    assert done.code == 0
    assert "the key and all events travel unencrypted" in done.words


def test_the_containers_fit_together() -> None:
    """Hosts, ports, folders and the user of the services, the image and the volume agree."""
    assert {each["build"]["dockerfile"] for each in SERVICES.values()} == {
        "examples/compose/Dockerfile"
    }
    root = (FOLDER / SHOP["build"]["context"]).resolve()
    assert root == EXAMPLES.parent
    assert VARIABLES[PLAIN_HTTP_VARIABLE] in SERVICES
    for name in ("AMPLITUDE_URL", "MOLOCO_URL"):
        assert VARIABLES[name].startswith("http://sandbox:8765")
    assert SANDBOX["ports"] == ["127.0.0.1:8765:8765"]
    assert SANDBOX["command"][-2:] == ["--port", "8765"]
    (volume,) = SHOP["volumes"]
    name, _, folder = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert VARIABLES["MOLOCO_BUFFER"].startswith(f"sqlite:///{folder}/moloco.db")
    assert f"install --directory --owner shop --mode 700 {folder}\nVOLUME {folder}\n" in DOCKERFILE
    assert DOCKERFILE.index("pip install --no") < DOCKERFILE.index("USER shop")
    (directory,) = re.findall(r"^WORKDIR /src/(.*)$", DOCKERFILE, re.MULTILINE)
    assert root / directory == EXAMPLES / "flask_shop"
    assert f"CMD {json.dumps(SHOP['command'])}\n" in DOCKERFILE
    assert f"exec shop amplitude-moloco stats {folder}/moloco.db" in README


def test_the_image_has_what_it_needs() -> None:
    """All that the build of the package reads is copied into the image."""
    kept = re.findall(r"^!(.*)$", (FOLDER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert all((EXAMPLES.parent / path).exists() for path in kept)
    assert {"LICENSE", "README.md", "amplitude_moloco", "examples", "pyproject.toml"} == {*kept} - {
        "**/__pycache__"
    }


def test_the_commands_run(tmp_path: Path) -> None:
    """The sandbox and two shops that share a buffer work with their commands, on loopback."""
    pytest.importorskip("flask")
    pytest.importorskip("gunicorn")
    (tmp_path / "sandbox").mkdir()
    base = environment(Sandbox(port=1))

    def here(command: list[str]) -> str:
        """The command, on a free port of this machine alone."""
        text = shlex.join(command).replace("0.0.0.0", "127.0.0.1")
        return text.replace("8765", "0").replace(":8000", ":0")

    with running(here(SANDBOX["command"]), tmp_path / "sandbox", base) as sandbox:
        url = sandbox.url()
        moved = {
            name: value.replace("http://sandbox:8765", url.replace("127.0.0.1", "localhost"))
            for name, value in VARIABLES.items()
        }
        moved[PLAIN_HTTP_VARIABLE] = "localhost"
        moved["MOLOCO_BUFFER"] = VARIABLES["MOLOCO_BUFFER"].replace("/var/lib/shop", str(tmp_path))
        first, second = (copied("flask_shop", tmp_path / name) for name in ("first", "second"))
        variables = {**base, **moved}
        with (
            running(here(SHOP["command"]), first, variables) as one,
            running(here(SHOP["command"]), second, variables) as other,
        ):
            for shop in (one, other):
                assert requests.get(shop.url(), timeout=60).ok
            assert (one.end(), other.end()) == (0, 0)
        await_that(lambda: len(requests.get(f"{url}/events", timeout=60).json()["moloco"]) == 2)
        assert contents_of(tmp_path / "moloco.db")["waiting"] == 0
        assert sandbox.end() == 0
