"""Which module may import which: imports follow the road of an event, in one direction."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import amplitude_moloco

PACKAGE = Path(amplitude_moloco.__file__).parent
# From the ground up. A province is a folder or a module at the top of the package.
LAYERS = [
    {"errors", "host"},
    {"convert", "transports", "buffers"},
    {"engine"},
    {"moloco"},
    {"__init__"},
    {"sandbox", "cli", "__main__"},
]
RANK = {province: rank for rank, provinces in enumerate(LAYERS) for province in provinces}
PARTNERLESS = {"errors", "host", "convert", "transports", "buffers", "engine"}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    """The dotted name in the package: ``wire.values``, and ``wire`` for ``wire/__init__.py``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(name: str) -> str:
    return name.partition(".")[0]


def imports(file: Path) -> Iterator[str]:
    """The dotted names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(file: Path) -> set[str]:
    """The modules of this library that a file imports, without the library's name."""
    modules = {name_of(each) for each in FILES}
    found = set()
    for name in imports(file):
        library, _, rest = name.partition(".")
        if library == "amplitude_moloco":
            while rest and rest not in modules:
                rest = rest.rpartition(".")[0]
            found.add(rest or "__init__")
    return found


def others(file: Path) -> set[str]:
    """The libraries that a file imports."""
    return {name.partition(".")[0] for name in imports(file)}


def test_every_room_has_a_layer() -> None:
    """Each module and package of the library has its place, and there is no place without one."""
    assert {room_of(name_of(file)) for file in FILES} == set(RANK)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_down(file: Path) -> None:
    """A module imports from its own layer and those below, and never from one above."""
    room = room_of(name_of(file))
    for imported in own_imports(file):
        assert RANK[room_of(imported)] <= RANK[room], f"{room} imports {imported}"


def test_no_imports_go_round() -> None:
    """No room imports itself by way of others, so that each can be read without those above."""
    rooms: dict[str, set[str]] = {room: set() for room in RANK}
    for file in FILES:
        room = room_of(name_of(file))
        rooms[room] |= {room_of(name) for name in own_imports(file)} - {room}
    assert len(list(TopologicalSorter(rooms).static_order())) == len(RANK)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_the_destination_knows_amplitude(file: Path) -> None:
    """Amplitude's SDK is imported by the destination, by what shows it off, and nowhere else."""
    room = room_of(name_of(file))
    assert "amplitude" not in others(file) or room in {"moloco", "sandbox", "cli"}


@pytest.mark.parametrize(
    "not_imported",
    [
        "starlette uvicorn typer rich click pycurl",
        "dataclasses_json marshmallow",
        "iso639",
    ],
    ids=["optional packages", "what reads files", "the tables of languages"],
)
def test_importing_imports_no_more_than_it_needs(not_imported: str) -> None:
    """A bare import takes along no optional package, and nothing that most apps never use."""
    program = "import amplitude_moloco, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    imported = set(done.stdout.split())
    assert "amplitude_moloco" in imported
    assert imported & set(not_imported.split()) == set()
