"""The installed package: what it requires and contains, and where the core works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points, metadata, requires
from pathlib import Path

import amplitude_moloco
from amplitude_moloco.cli import main
from amplitude_moloco.sandbox import Sandbox

CORE_ALONE = Path(__file__).parents[1] / "support" / "core_alone.py"
REQUIREMENTS = requires("amplitude-moloco") or []

# Windows lacks these parts of the standard library.
LIKE_WINDOWS = """
import os, sys
sys.modules["fcntl"] = None
del os.fork, os.register_at_fork
"""
TRACKING = """
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import MolocoDestination, ecommerce_syncs
url = sys.argv[1]
config = Config(server_url=url + "/2/httpapi", flush_interval_millis=100)
client = Amplitude("amplitude-key", config)
client.add(MolocoDestination(
    "moloco-key", "SHOP", ecommerce_syncs(), base_url=url, channel_type="SITE", buffer="memory://"
))
client.track(BaseEvent("Home Viewed", user_id="shopper-1"))
client.shutdown()  # from Python 3.12 on, the SDK may start no thread once the interpreter ends
"""
OPENING = """
from amplitude_moloco import ConfigurationError, MolocoDestination, ecommerce_syncs
try:
    MolocoDestination("key", "SHOP", ecommerce_syncs(), platform_name="shop", buffer=sys.argv[1])
except ConfigurationError as error:
    print(error)
"""


def python(*args: str) -> str:
    """Runs Python with the packages of this process. Returns what it prints."""
    done = subprocess.run(
        [sys.executable, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def required(extra: str | None = None) -> set[str]:
    """Returns the names of the packages that the core or an extra requires."""
    found = set()
    for requirement in REQUIREMENTS:
        name, _, marker = requirement.partition(";")
        extras = re.findall(r"""extra == ['"]([^'"]+)""", marker)
        if extras == ([extra] if extra else []):
            found.add(re.split(r"[<>=!~ ]", name.strip())[0])
    return found


def test_the_core_needs_no_marshmallow() -> None:
    """The core requires neither marshmallow nor dataclasses-json, so any marshmallow fits."""
    assert required() == {"amplitude-analytics", "jmespath", "orjson", "requests"}


def test_the_extras() -> None:
    """Configuration files need the extra config, which the extra cli includes."""
    assert required("config") == {"dataclasses-json", "marshmallow", "tomli"}
    assert required("curl") == {"pycurl"}
    assert required("prometheus") == {"prometheus-client"}
    assert required("otel") == {"opentelemetry-api"}
    assert required("redis") == {"redis"}
    assert required("sandbox") == {"starlette", "uvicorn"}
    assert required("cli") == required("config") | required("sandbox") | {"rich", "typer"}


def test_lower_bounds_are_plain() -> None:
    """Each requirement is one lower bound, which can be installed and tested."""
    for requirement in REQUIREMENTS:
        name = requirement.partition(";")[0].strip()
        assert re.fullmatch(r"[\w-]+>=[\d.]+", name), name


def test_the_metadata_is_complete() -> None:
    """The metadata names the documentation, the source, the changelog and the issues."""
    urls = metadata("amplitude-moloco").get_all("Project-URL") or []
    assert {url.partition(",")[0] for url in urls} == {
        "Documentation",
        "Source",
        "Changelog",
        "Issues",
    }


def test_the_command_is_installed() -> None:
    """The package installs the command ``amplitude-moloco``."""
    (script,) = entry_points(group="console_scripts", name="amplitude-moloco")
    assert script.load() is main


def test_types_are_shipped() -> None:
    """Type checkers find the types of the package."""
    assert (Path(amplitude_moloco.__file__).parent / "py.typed").is_file()


def test_the_live_page_is_shipped() -> None:
    """The package holds the files of the live page, beside the code that serves them."""
    page = Path(amplitude_moloco.__file__).parent / "inspector" / "page"
    assert {"index.html", "style.css", "main.js", "icon.svg"} <= {
        file.name for file in page.iterdir()
    }


def test_the_core_works_alone() -> None:
    """Without any extra, the core delivers events, and refuses plain data by naming the extra."""
    missing = (
        "dataclasses_json marshmallow opentelemetry prometheus_client pycurl rich starlette tomli "
        "typer uvicorn"
    ).split()
    program = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({missing}))\n"
        "runpy.run_path(sys.argv[1])"
    )
    printed = python("-c", program, str(CORE_ALONE))
    assert "use pip install 'amplitude-moloco[config]'" in printed


def test_the_core_works_without_posix(sandbox: Sandbox) -> None:
    """Where there are no forks and no file locks, as on Windows, a memory buffer delivers."""
    assert python("-c", LIKE_WINDOWS + TRACKING, sandbox.url) == ""
    assert [event["event_type"] for event in sandbox.moloco_events] == ["HOME"]
    assert [event["event_type"] for event in sandbox.amplitude_events] == ["Home Viewed"]


def test_a_sqlite_buffer_needs_posix(tmp_path: Path) -> None:
    """Where there are no file locks, a SQLite buffer is refused, and the error says what to use."""
    printed = python("-c", LIKE_WINDOWS + OPENING, f"sqlite:///{tmp_path}/moloco.db")
    assert re.match(r"buffer: .*sqlite.* can't be used here .*POSIX.*'memory://'", printed)
    assert not (tmp_path / "moloco.db").exists()
