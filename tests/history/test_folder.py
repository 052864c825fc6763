"""The folder of downloaded exports."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.history.folder import open_folder
from amplitude_moloco.history.hours import Hours
from amplitude_moloco.history.problem import FetchError

DAY = 20_484 * 24


def save(path: Path, *ranges: Hours, project: str = "p") -> None:
    """Puts a file for each range into the folder."""
    with open_folder(path, project) as folder:
        for hours in ranges:
            with folder.new_file() as file:
                file.write(b"zip")
                folder.keep(file, hours)


def test_a_file_is_there_once_it_is_kept(tmp_path: Path) -> None:
    """A file has its name once it is complete, and is for this user only, as the folder is."""
    path = tmp_path / "out"
    with open_folder(path, "p") as folder:
        with folder.new_file() as file:
            file.write(b"zip")
            assert [each.name[:7] for each in path.iterdir()] == [".fetch-"]
            assert stat.S_IMODE(next(path.iterdir()).stat().st_mode) == 0o600
            folder.keep(file, Hours(DAY, DAY + 23))
        assert folder.present(Hours(DAY - 1, DAY + 24)) == 24
    kept = path / "20260131T00-20260131T23.zip"
    assert kept.read_bytes() == b"zip"
    assert {each.name for each in path.iterdir()} == {kept.name, ".project"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for each in path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_a_file_that_is_not_kept_is_gone(tmp_path: Path) -> None:
    """A download that fails leaves nothing behind, whatever ended it."""

    def interrupt() -> None:
        with open_folder(tmp_path, "p") as folder, folder.new_file() as file:
            file.write(b"part")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []


def test_parts_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """What a killed run left half-done is removed; files of others stay."""
    (tmp_path / ".fetch-x").write_bytes(b"part")
    (tmp_path / ".notes").write_bytes(b"mine")
    with open_folder(tmp_path, "p"):
        assert [each.name for each in tmp_path.iterdir()] == [".notes"]


@given(
    st.sets(st.integers(0, 60)),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 30),
)
def test_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory, present: set[int], one: int, other: int, most: int
) -> None:
    """The missing hours come in ranges of one day, none too long, and none twice."""
    path = tmp_path_factory.mktemp("folder")
    wanted = Hours(DAY + min(one, other), DAY + max(one, other))
    for hour in present:
        (path / Hours(DAY + hour, DAY + hour).file_name).touch()
    got: list[int] = []
    with open_folder(path, "p") as folder:
        while hours := folder.next_missing(wanted, most):
            assert hours.total <= most
            assert hours.first // 24 == hours.last // 24
            got += range(hours.first, hours.last + 1)
            with folder.new_file() as file:
                folder.keep(file, hours)
        assert folder.present(wanted) == wanted.total
    missing = [hour for hour in range(wanted.first, wanted.last + 1) if hour - DAY not in present]
    assert got == missing


def test_a_later_run_goes_on(tmp_path: Path) -> None:
    """A later run knows by the names of the files what is there."""
    save(tmp_path, Hours(DAY, DAY + 5))
    with open_folder(tmp_path, "p") as folder:
        assert folder.next_missing(Hours(DAY, DAY + 30), 24) == Hours(DAY + 6, DAY + 23)


def test_one_project(tmp_path: Path) -> None:
    """A folder is for one project: its hours say nothing about another's."""
    with open_folder(tmp_path, "p"):
        pass  # nothing was downloaded, so that it is not the project's yet
    save(tmp_path, Hours(DAY, DAY), project="other")
    save(tmp_path, Hours(DAY + 1, DAY + 1), project="other")
    with pytest.raises(FetchError, match=r"another project or region; use another folder$"):
        save(tmp_path, project="p")


def test_one_process(tmp_path: Path) -> None:
    """Two processes don't fetch into one folder at a time."""
    with (
        open_folder(tmp_path, "p"),
        pytest.raises(FetchError, match=r"^another process fetches into "),
        open_folder(tmp_path, "p"),
    ):
        pass
    save(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    """The folder above has to exist."""
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "a" / "b")
