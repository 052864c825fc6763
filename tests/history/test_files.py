"""Which files an export consists of."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from amplitude_moloco import ConfigurationError
from amplitude_moloco.history import ExportError
from amplitude_moloco.history.files import ExportFile, find_files, is_export


def names(sources: Any) -> list[str]:
    return [file.name for file in find_files(sources)]


def touch(folder: Path, *files: str) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("187520_2026-01-31_9#627.json.gz", True),
        ("187520/187520_2026-01-31_9#627.json.gz", True),
        ("prefix\\187520_2026-01-31_9#627.json.gz", True),
        ("20260131T00-20260131T23.zip", True),
        ("events.JSON", True),
        ("events.jsonl", True),
        ("events.ndjson.gz", True),
        ("new\nline.json", True),
        ("complete", False),
        ("187520/187520_2026-01-31_9/complete", False),
        ("-4321_2026-01-31_9#1.json.gz", False),
        ("__MACOSX/._187520_2026-01-31_9#627.json.gz", False),
        (".fetch-x1", False),
        (".project", False),
        (".json", False),
        ("readme.txt", False),
        ("187520/", False),
        ("", False),
    ],
)
def test_is_export(name: str, expected: bool) -> None:
    """Exports are known by their names; markers, hidden files and merged ids are none."""
    assert is_export(name) is expected


def test_a_folder_in_the_order_of_its_hours(tmp_path: Path) -> None:
    """A folder's files come in the order of their hours, which have no leading zero."""
    hours = [f"1_2026-01-31_{hour}#{part}.json.gz" for hour in (2, 9, 10, 23) for part in (3, 11)]
    touch(tmp_path, *reversed(hours), "complete", "below/1_2026-02-01_0#0.json.gz", ".fetch-x")
    expected = [*hours, "below/1_2026-02-01_0#0.json.gz"]
    assert names(tmp_path) == [str(tmp_path / name) for name in expected]


def test_very_long_numbers(tmp_path: Path) -> None:
    """Numbers of any length in names are sorted by their size."""
    touch(tmp_path, "1" * 100 + ".json", "2" * 99 + ".json", "007.json", "7a.json")
    found = [Path(name).name for name in names(str(tmp_path))]
    assert found == ["007.json", "7a.json", "2" * 99 + ".json", "1" * 100 + ".json"]


def test_patterns(tmp_path: Path) -> None:
    """A pattern stands for the files that match, below folders too."""
    touch(tmp_path, "a/x_10.json", "a/x_9.json", "a/y.json", "b/c/x_1.json")
    assert names(f"{tmp_path}/**/x_*.json") == [
        f"{tmp_path}/a/x_9.json",
        f"{tmp_path}/a/x_10.json",
        f"{tmp_path}/b/c/x_1.json",
    ]


def test_a_file_named_like_a_pattern(tmp_path: Path) -> None:
    """A file that exists is itself, whatever its name."""
    touch(tmp_path, "[1].json", "1.json")
    assert names(tmp_path / "[1].json") == [str(tmp_path / "[1].json")]


def test_several_without_repetition(tmp_path: Path) -> None:
    """Several sources come in the order given, and a file that two of them lead to only once."""
    touch(tmp_path, "b.json", "a.txt")
    (tmp_path / "link.json").symlink_to("b.json")
    sources = [tmp_path / "a.txt", tmp_path, f"{tmp_path}/*.json", "-", "-"]
    assert names(sources) == [str(tmp_path / "a.txt"), str(tmp_path / "b.json"), "-"]


def test_open_files() -> None:
    """Open files are sources, each once, with a name if they have one."""
    first, second = io.BytesIO(), io.BytesIO()
    second.name = "named"  # as files have
    assert find_files(first) == [ExportFile("<open file>", first)]
    assert names([first, second, first]) == ["<open file>", "named"]


def test_a_folder_for_a_pipe(tmp_path: Path) -> None:
    """A pipe in a folder is not read, which would wait for its other end."""
    os.mkfifo(tmp_path / "pipe.json")
    touch(tmp_path, "a.json")
    assert names(tmp_path) == [str(tmp_path / "a.json")]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("missing.json", "missing.json: does not exist"),
        ("mis\nsing", r"mis\nsing: does not exist"),
        ("*.nothing", "*.nothing: no file matches this pattern"),
        (".", ".: holds no export: no file ends in .zip, .gz, .json, .jsonl or .ndjson"),
    ],
)
def test_nothing_there(
    source: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source without an export is an error that says what is missing, on one line."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError) as caught:
        find_files(source)
    assert str(caught.value) == problem


def test_a_folder_that_can_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that can't be listed is an error: its files would be missing without a word."""
    touch(tmp_path, "a.json")
    monkeypatch.chdir(tmp_path)
    deep = Path("x" * 250)
    for _ in range(17):  # the path of the last one is too long for the system
        deep.mkdir()
        os.chdir(deep)
    with pytest.raises(ExportError, match=r"xxx: can't be read: File name too long$"):
        find_files(tmp_path)
    os.chdir(tmp_path)
    shutil.rmtree(deep)


@pytest.mark.parametrize("sources", [17, None, [17], [["a"]]])
def test_no_sources(sources: Any) -> None:
    """Something that is neither a path nor an open file is refused."""
    with pytest.raises(ConfigurationError, match=r"^sources: found \w+; use paths of files"):
        find_files(sources)
