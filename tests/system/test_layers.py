"""Which province may import which, and what no province may know."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import amplitude_moloco

PACKAGE = Path(amplitude_moloco.__file__).parent
# From the ground up. A province is a folder or a module at the top of the package.
LAYERS = [
    {"errors", "reasons", "text", "host", "inspector"},
    {"convert", "transports", "buffers"},
    {"engine"},
    {"arguments", "files", "plugin", "watch", "wiring"},
    {"partner"},
    {"adjust", "experimental", "links", "moloco"},
    {"history", "metrics"},
    {"relay"},
    {"__init__"},
    {"sandbox", "cli", "__main__"},
]
RANK = {province: rank for rank, provinces in enumerate(LAYERS) for province in provinces}
KNOW_NO_PARTNER = set().union(*LAYERS[:5])
NAME_NO_PARTNER = {"engine", "buffers", "transports", "history"}
PARTNER_NAME = re.compile(r"(?<!amplitude_)moloco|\bmcm\b|adjust\b|adbrix", re.IGNORECASE)
# What the SDK does not document. Its public interface has none of these.
SDK_PRIVATE = re.compile(r"_Amplitude__|\b(buffer_lock_cv|consumer_lock|threads_pool)\b")
PROCESS_PRIVATE = re.compile(r"\b(register_at_fork|_register_atexit|getpid|atexit|celery)\b")
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_CLASS_LINES = 300
MAX_FUNCTION_LINES = 50


def name_of(file: Path) -> str:
    """The dotted name in the package: ``engine.rate``, and ``engine`` for its ``__init__.py``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(file) for file in FILES}


def province_of(name: str) -> str:
    return name.partition(".")[0]


def files_of(provinces: set[str]) -> list[Path]:
    return [file for file in FILES if province_of(name_of(file)) in provinces]


@cache
def imports(file: Path) -> tuple[str, ...]:
    """The dotted names of all that a file imports, wherever in it."""
    return tuple(_imports(ast.parse(file.read_text(encoding="utf-8")), file))


def _imports(tree: ast.Module, file: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(file: Path) -> set[str]:
    """The modules of this library that a file imports, without the library's name."""
    found = set()
    for name in imports(file):
        library, _, rest = name.partition(".")
        if library == "amplitude_moloco":
            while rest and rest not in MODULES:
                rest = rest.rpartition(".")[0]
            found.add(rest or "__init__")
    return found


def others(file: Path) -> set[str]:
    """The libraries that a file imports."""
    return {name.partition(".")[0] for name in imports(file)}


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """The strings and comments of a file, docstrings included, each with its line."""
    with file.open("rb") as lines:
        for token in tokenize.tokenize(lines.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT) or (
                tokenize.tok_name[token.type] == "FSTRING_MIDDLE"
            ):
                yield token.start[0], token.string


def test_every_province_has_a_layer() -> None:
    """Each folder and module of the library has its place, and there is no place without one."""
    assert {province_of(name_of(file)) for file in FILES} == set(RANK)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_down(file: Path) -> None:
    """A module imports from its own layer and those below, and never from one above."""
    province = province_of(name_of(file))
    for imported in own_imports(file):
        assert RANK[province_of(imported)] <= RANK[province], f"{province} imports {imported}"


def test_no_imports_go_round() -> None:
    """No module imports itself by way of others, so that each can be read without those above."""
    modules = {name_of(file): own_imports(file) - {name_of(file)} for file in FILES}
    assert len(list(TopologicalSorter(modules).static_order())) == len(FILES)
    provinces: dict[str, set[str]] = {province: set() for province in RANK}
    for name, imported in modules.items():
        province = province_of(name)
        provinces[province] |= {province_of(each) for each in imported} - {province}
    assert len(list(TopologicalSorter(provinces).static_order())) == len(RANK)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_the_plugin_and_what_shows_it_off_import_amplitude(file: Path) -> None:
    """Amplitude's SDK is imported by plugin.py, to read history, by the demo, nowhere else."""
    province = province_of(name_of(file))
    assert "amplitude" not in others(file) or province in {"plugin", "history", "cli"}


def test_the_sandbox_imports_nothing_of_the_library() -> None:
    """The sandbox is a second opinion: it shares no code with what it judges."""
    for file in files_of({"sandbox"}):
        assert {province_of(name) for name in own_imports(file)} <= {"sandbox", "inspector"}


def test_the_live_page_imports_nothing_of_the_library() -> None:
    """The sandbox uses the live page, so that imports nothing of the library either."""
    for file in files_of({"inspector"}):
        assert {province_of(name) for name in own_imports(file)} <= {"inspector"}


@pytest.mark.parametrize("file", files_of(NAME_NO_PARTNER), ids=name_of)
def test_what_moves_entries_names_no_partner(file: Path) -> None:
    """What moves entries, and what reads exports, holds no partner's name in any text."""
    named = [text for text in texts(file) if PARTNER_NAME.search(text[1])]
    assert named == []


@pytest.mark.parametrize(
    "file", [file for file in FILES if province_of(name_of(file)) != "host"], ids=name_of
)
def test_only_the_host_touches_privates_exit_hooks_and_forks(file: Path) -> None:
    """The SDK's private parts, exit hooks and the process id are the business of host/ alone."""
    code = file.read_text(encoding="utf-8")
    assert not SDK_PRIVATE.search(code)
    assert not PROCESS_PRIVATE.search(re.sub(r"call_at_end_of_celery_child", "", code))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_classes_and_functions_are_short(file: Path) -> None:
    """No class has more than 300 lines, no function more than 50, docstrings included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            is_class = isinstance(node, ast.ClassDef)
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= (MAX_CLASS_LINES if is_class else MAX_FUNCTION_LINES), node.name


@pytest.mark.parametrize(
    "not_imported",
    [
        "starlette uvicorn typer rich click pycurl prometheus_client opentelemetry redis",
        "dataclasses_json marshmallow",
    ],
    ids=["optional packages", "what reads files"],
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
