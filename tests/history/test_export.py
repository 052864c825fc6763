"""Reading exports as streams."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.exports import as_gzip, as_lines, as_zip, numbered, record, write_hour

from amplitude_moloco import ConfigurationError
from amplitude_moloco.history import (
    NEVER_SENT,
    ExportError,
    ExportReader,
    LeftOutReason,
    Place,
    read_export,
)
from amplitude_moloco.history.members import MAX_LINE_BYTES

BZIP2 = zipfile.ZIP_BZIP2
MEMBER = "187520/187520_2026-01-31_9#627.json.gz"


def ids(reader: ExportReader) -> list[str]:
    return [event.insert_id for _, event in reader]


def expected(count: int, first: int = 0) -> list[str]:
    return [f"id-{first + number}" for number in range(count)]


class Reading:
    """All that a reading gives: ids, and the errors as text."""

    def __init__(self, sources: Any, **options: Any) -> None:
        self.errors: list[str] = []
        self.reader = read_export(
            sources, on_error=lambda error: self.errors.append(str(error)), **options
        )
        self.ids = ids(self.reader)


class Piecemeal(io.RawIOBase):
    """A stream that can't be sought in, and gives as few bytes at a time as it likes."""

    def __init__(self, data: bytes, most: int = 3) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(len(buffer), self._most))
        buffer[: len(data)] = data
        return len(data)


class Unseekable:
    """A file for writing that can't be sought in, such as a pipe."""

    def __init__(self, target: io.BytesIO) -> None:
        self.write = target.write
        self.flush = target.flush


def stream(data: bytes) -> BinaryIO:
    return cast(BinaryIO, Piecemeal(data))


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


FORMS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "lines": as_lines,
    "gzip": as_gzip,
    "zip": lambda records: as_zip({MEMBER: as_gzip(records)}),
    "zip that stores": lambda records: as_zip({MEMBER: as_gzip(records)}, zipfile.ZIP_STORED),
    "zip of lines": lambda records: as_zip({"a.json": as_lines(records)}),
    "two gzips in one": lambda records: as_gzip(records[:2]) + as_gzip(records[2:]),
    "windows": lambda records: as_lines(records).replace(b"\n", b"\r\n"),
    "no last line end": lambda records: as_lines(records)[:-1],
    "blank lines": lambda records: as_lines(records).replace(b"\n", b"\n \n\n"),
    "byte order mark": lambda records: b"\xef\xbb\xbf" + as_lines(records),
}


class TestForms:
    """What an export may be."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("name", ["export.json", "export.zip"])
    def test_by_content(self, form: str, name: str, tmp_path: Path) -> None:
        """The first bytes of a file decide what it is, whatever its name."""
        path = write(tmp_path, name, FORMS[form](numbered(5)))
        assert ids(read_export(path)) == expected(5)

    @pytest.mark.parametrize("form", FORMS)
    def test_from_a_stream(self, form: str) -> None:
        """A stream that can't be sought in is read as it comes, a zip by way of a private copy."""
        data = FORMS[form](numbered(5))
        assert ids(read_export(stream(data))) == expected(5)
        assert ids(read_export(io.BytesIO(data))) == expected(5)

    @pytest.mark.parametrize("form", FORMS)
    def test_from_standard_input(self, form: str) -> None:
        """``-`` is the standard input, a pipe too."""
        program = (
            "from amplitude_moloco.history import read_export\n"
            "for place, event in read_export('-'): print(place, event.insert_id)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            input=FORMS[form](numbered(2)),
            capture_output=True,
            timeout=60,
            check=True,
        )
        lines = done.stdout.decode().split("\n")
        assert [line.rpartition(" ")[2] for line in lines] == [*expected(2), ""]
        assert lines[0].startswith("-: ")

    def test_empty(self) -> None:
        """An empty file, as of hours without data, has no events."""
        for empty in (b"", gzip.compress(b""), as_zip({}), b"\n \n"):
            assert ids(read_export(io.BytesIO(empty))) == []
            assert ids(read_export(stream(empty))) == []

    def test_a_folder(self, tmp_path: Path) -> None:
        """A folder is read file by file in the order of the hours, without markers."""
        write_hour(tmp_path, "2026-01-31_10", numbered(2, 20))
        write_hour(tmp_path, "2026-01-31_9", numbered(2, 10))
        write(tmp_path, "2026-01-30.zip", as_zip({MEMBER: as_gzip(numbered(2))}))
        write(tmp_path, "complete", b"not an export")
        write(tmp_path, "-4321_2026-01-31_9#1.json.gz", b"not an export")
        reader = read_export(tmp_path)
        assert ids(reader) == [*expected(2), *expected(2, 10), *expected(2, 20)]
        assert len(reader.files) == 3
        assert ids(reader) == [*expected(2), *expected(2, 10), *expected(2, 20)]

    def test_members_of_a_zip(self) -> None:
        """A zip's members come in the order of their hours, without markers and merged ids."""
        data = as_zip(
            {
                "1/1_2026-01-31_10#1.json.gz": as_gzip(numbered(1, 10)),
                "1/1_2026-01-31_9#2.json.gz": as_gzip(numbered(1)),
                "1/complete": b"x",
                "1/": b"",
                "1/-4321_2026-01-31_9#1.json.gz": b"x",
                "__MACOSX/1/._1_2026-01-31_9#2.json.gz": b"x",
            }
        )
        assert ids(read_export(io.BytesIO(data))) == ["id-0", "id-10"]

    def test_other_line_ends_are_text(self) -> None:
        """Line ends of Unicode in a text do not end the line."""
        text = "a\u2028b\u2029c\x85d\x0be"
        data = as_lines([record(event_properties={"text": text})])
        ((place, event),) = read_export(io.BytesIO(data))
        assert event.event_properties == {"text": text}
        assert place.line == 1

    def test_an_open_file_stays_open(self, tmp_path: Path) -> None:
        """A file that the caller opened is the caller's to close."""
        with write(tmp_path, "a.json.gz", as_gzip(numbered(2))).open("rb") as file:
            assert ids(read_export(file)) == expected(2)
            assert not file.closed

    def test_a_named_pipe(self, tmp_path: Path) -> None:
        """A named pipe, as a shell makes it of ``<(…)``, is read like a file."""
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(as_gzip(numbered(3)),))
        writer.start()
        assert ids(read_export(path)) == expected(3)
        writer.join(30)

    def test_member_names_are_no_paths(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is unpacked: a member's name that leads elsewhere is only a name."""
        monkeypatch.chdir(tmp_path)
        names = ["../../evil.json", "/root/evil.json", "C:\\evil.json", "a\n\x1b[31mb.json"]
        data = as_zip({name: as_lines(numbered(1)) for name in names})
        found = sorted(str(place) for place, _ in read_export(io.BytesIO(data)))
        assert found == sorted(
            [
                "<open file>: ../../evil.json: line 1",
                "<open file>: /root/evil.json: line 1",
                "<open file>: C:\\evil.json: line 1",
                r"<open file>: a\n\x1b[31mb.json: line 1",
            ]
        )
        assert list(tmp_path.iterdir()) == []


class TestPlaces:
    """Where an event lies."""

    def test_file_member_and_line(self, tmp_path: Path) -> None:
        """Each event has its file, the member and the line."""
        path = write(tmp_path, "a.zip", as_zip({MEMBER: as_gzip(numbered(2))}))
        places = [place for place, _ in read_export(path)]
        assert places == [Place(str(path), MEMBER, 1), Place(str(path), MEMBER, 2)]
        assert str(places[1]) == f"{path}: {MEMBER}: line 2"

    def test_blank_lines_count(self) -> None:
        """The number is that of an editor: blank lines count."""
        data = b"\n\n" + as_lines(numbered(1))
        assert [place.line for place, _ in read_export(io.BytesIO(data))] == [3]


class TestFaults:
    """Good parts of bad files."""

    def test_a_cut_gzip(self, tmp_path: Path) -> None:
        """A cut file gives its good lines, and then an error with the line that was cut."""
        whole = as_gzip(numbered(2_000))
        path = write(tmp_path, "a.json.gz", whole[: len(whole) // 2])
        got: list[str] = []
        with pytest.raises(ExportError) as caught:
            got.extend(event.insert_id for _, event in read_export(path))
        assert got == expected(len(got))
        assert len(got) > 500
        assert caught.value.place == Place(str(path), "", len(got) + 1)
        assert str(caught.value) == f"{path}: line {len(got) + 1}: the file is cut off here"

    def test_a_cut_member(self) -> None:
        """A cut member gives its good lines, an error with its name, and then the next member."""
        cut = as_gzip(numbered(2_000))
        cut = cut[: len(cut) // 2]
        data = as_zip({"a_1.json.gz": cut, "a_2.json.gz": as_gzip(numbered(2, 5_000))})
        reading = Reading(io.BytesIO(data))
        good = len(reading.ids) - 2
        assert reading.ids == [*expected(good), *expected(2, 5_000)]
        assert reading.errors == [
            f"<open file>: a_1.json.gz: line {good + 1}: the file is cut off here"
        ]
        assert reading.reader.unreadable == 1

    @pytest.mark.parametrize("stored", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_a_damaged_member(self, stored: int) -> None:
        """A member with a wrong checksum gives its lines, and then an error."""
        data = as_zip({"a.json": as_lines(numbered(2))}, stored)
        broken = data.replace(
            zipfile.ZipFile(io.BytesIO(data)).infolist()[0].CRC.to_bytes(4, "little"), b"\0\0\0\1"
        )
        reading = Reading(io.BytesIO(broken))
        assert reading.ids in ([], expected(2))
        assert reading.errors
        assert reading.errors[0].endswith(": the file is damaged here")

    def test_a_damaged_gzip(self) -> None:
        """What follows a gzip, and is none, is an error after the good lines."""
        reading = Reading(io.BytesIO(as_gzip(numbered(2)) + b"garbage"))
        assert reading.ids == expected(2)
        assert reading.errors == ["<open file>: line 3: the file is damaged here"]

    def test_a_cut_text(self) -> None:
        """A text that is cut off in a line gives those before it."""
        reading = Reading(io.BytesIO(as_lines(numbered(3))[:-40]))
        assert reading.ids == expected(2)
        assert reading.errors == [
            "<open file>: line 3: not JSON, and the last line: the file may be cut off here"
        ]

    def test_bad_lines(self) -> None:
        """Each line that is no record is an error without its content, and the others are read."""
        good = as_lines(numbered(1))
        bad = {
            b"{secret": "not JSON, at character 2",
            b"[1]": "found a list; use lines of one JSON object each, as Amplitude exports",
            b'"secret"': "found text; use lines of one JSON object each, as Amplitude exports",
            b"17": "found a number; use lines of one JSON object each, as Amplitude exports",
            b"null": "found null; use lines of one JSON object each, as Amplitude exports",
            b"true": "found true or false; use lines of one JSON object each, as Amplitude exports",
            b'"\xff"': "not text in UTF-8",
            b"[" * 100_000: "JSON that is nested too deeply",
            b'{"a":' + b"1" * 5_000 + b"}": "not JSON",
            b"{}": "event_type: found no text; use events as Amplitude exports them",
            b'{"event_type": 1}': "event_type: found no text; use events as Amplitude exports them",
            b'{"event_type": "a"}': "event_time: found nothing; an event without its time can't be "
            "sent",
        }
        reading = Reading(io.BytesIO(b"".join(line + b"\n" + good for line in bad)))
        assert reading.ids == ["id-0"] * len(bad)
        assert reading.errors == [
            f"<open file>: line {2 * number + 1}: {problem}"
            for number, problem in enumerate(bad.values())
        ]

    def test_deep_properties(self) -> None:
        """Properties that are nested too deeply are an error of their line."""
        deep = '{"a":' * 990 + "1" + "}" * 990
        line = json.dumps(record(event_properties="deep")).replace('"deep"', deep).encode()
        reading = Reading(io.BytesIO(line + b"\n" + as_lines(numbered(1))))
        assert reading.ids[-1] == "id-0"
        assert len(reading.ids) + len(reading.errors) == 2

    def test_a_line_without_end(self) -> None:
        """A line beyond all bounds is an error, is not kept in memory, and the next one is read."""
        long = b" " * (2 * MAX_LINE_BYTES + 17)
        data = gzip.compress(long + b"\n" + as_lines(numbered(1)), 1)
        reading = Reading(io.BytesIO(data))
        assert reading.ids == ["id-0"]
        assert reading.errors == ["<open file>: line 1: a line of over 16,777,216 bytes"]

    def test_a_line_of_the_largest_size(self) -> None:
        """A line up to the bound is read, also without a line end."""
        line = as_lines(numbered(1))[:-1]
        padded = line + b" " * (MAX_LINE_BYTES - len(line) - 1)
        assert ids(read_export(io.BytesIO(padded + b"\n" + line))) == ["id-0", "id-0"]
        assert ids(read_export(io.BytesIO(padded))) == ["id-0"]

    def test_a_cut_zip(self, tmp_path: Path) -> None:
        """A cut download gives the good lines of its members, and then errors with the place."""
        names = [f"1/1_2026-01-31_{hour}#0.json.gz" for hour in range(3)]
        members = {name: as_gzip(numbered(900, 1_000 * i)) for i, name in enumerate(names)}
        members["1/complete"] = b"x"
        whole = as_zip(members)
        path = write(tmp_path, "a.zip", whole[: len(whole) * 5 // 6])
        reading = Reading(path)
        last = [each for each in reading.ids if int(each.removeprefix("id-")) >= 2_000]
        assert reading.ids == [*expected(900), *expected(900, 1_000), *expected(len(last), 2_000)]
        assert last
        assert reading.errors == [
            f"{path}: {names[2]}: line {len(last) + 1}: the file is cut off here",
            f"{path}: a zip that is cut off or damaged; download it again",
        ]
        with pytest.raises(ExportError) as caught:
            list(read_export(path))
        assert caught.value.place == Place(str(path), names[2], len(last) + 1)

    def test_a_zip_cut_at_each_byte(self) -> None:
        """Wherever a zip is cut, the lines before the cut are read, and there is an error."""
        whole = as_zip({"a.json": as_lines(numbered(1)), "b.json": as_lines(numbered(1, 1))})
        before = 0
        for at in range(1, len(whole)):
            reading = Reading(io.BytesIO(whole[:at]))
            assert reading.ids == expected(len(reading.ids))
            assert before <= len(reading.ids)
            assert reading.errors
            before = len(reading.ids)
        assert before == 2

    @pytest.mark.parametrize("stored", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    @pytest.mark.parametrize("is_streamed", [False, True], ids=["sizes before", "sizes behind"])
    def test_a_zip_without_its_list(self, stored: int, is_streamed: bool) -> None:
        """Without its list, a zip's members are read by their heads; some zips don't allow it."""
        target = io.BytesIO()
        # A zip that is written to a pipe has the sizes of its members behind them.
        out = Unseekable(target) if is_streamed else target
        with zipfile.ZipFile(cast(Any, out), "w", stored) as archive:
            for number in range(3):
                archive.writestr(f"größe {number}.json.gz", as_gzip(numbered(2, number * 10)))
        whole = target.getvalue()
        reading = Reading(io.BytesIO(whole[: whole.index(b"PK\x01\x02")]))
        if is_streamed and stored == zipfile.ZIP_STORED:
            assert reading.ids == []
        else:
            assert reading.ids == [*expected(2), *expected(2, 10), *expected(2, 20)]
        assert reading.errors == [
            "<open file>: a zip that is cut off or damaged; download it again"
        ]

    def test_a_damaged_zip_without_its_list(self) -> None:
        """However a member of a cut zip is damaged, reading ends with an error."""
        whole = as_zip({"a.json": as_lines(numbered(1)), "b.json": as_lines(numbered(1, 1))})
        cut = whole[: whole.index(b"PK\x01\x02")]
        for at in range(min(len(cut), 200)):
            for value in (0, 9, 255):
                reading = Reading(io.BytesIO(cut[:at] + bytes([value]) + cut[at + 1 :]))
                assert len(reading.ids) <= 2
                assert reading.errors

    def test_members_that_need_unpacking(self) -> None:
        """Encrypted members, other compressions and a zip in a zip are named, and not read."""
        encrypted = bytearray(as_zip({"a.json": b"x"}))
        encrypted[6] |= 1
        encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
        inner = as_zip({"b.json": as_lines(numbered(1))})
        data = {
            "encrypted; unpack it first": bytes(encrypted),
            "compressed with method 12; unpack it first": as_zip(
                {"a.json": b"x"}, zipfile.ZIP_BZIP2
            ),
            "a zip in a zip; unpack it first": as_zip({"a.json": inner}),
        }
        for problem, archive in data.items():
            assert Reading(io.BytesIO(archive)).errors == [f"<open file>: a.json: {problem}"]

    def test_a_member_that_can_not_be_opened(self) -> None:
        """A member whose head is damaged is an error of that member."""
        data = as_zip({"a.json": as_lines(numbered(1)), "b.json": as_lines(numbered(1))})
        reading = Reading(io.BytesIO(b"XX" + data[2:]))
        assert reading.ids in ([], ["id-0"])
        assert reading.errors

    def test_a_file_that_vanishes(self, tmp_path: Path) -> None:
        """A file that can't be opened is an error, and the next one is read."""
        first = write(tmp_path, "a.json", as_lines(numbered(1)))
        write(tmp_path, "b.json", as_lines(numbered(1, 1)))
        errors: list[ExportError] = []
        reader = read_export(tmp_path, on_error=errors.append)
        first.unlink()
        assert ids(reader) == ["id-1"]
        assert [str(error) for error in errors] == [
            f"{first}: can't be opened: No such file or directory"
        ]

    @pytest.mark.parametrize(
        ("fault", "problem"),
        [
            (OSError(5, "Input/output error"), "can't be read: Input/output error"),
            (ValueError("read of closed file"), "the file is damaged here"),
        ],
    )
    @pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\n" * 100])
    def test_a_disk_that_fails(self, fault: Exception, problem: str, start: bytes) -> None:
        """An error of the disk is an error with the place."""

        class Failing(Piecemeal):
            def readinto(self, buffer: Any) -> int:
                size = super().readinto(buffer)
                if not size:
                    raise fault
                return size

        reading = Reading(Failing(start))
        assert reading.ids == []
        assert [error.rpartition(problem)[1] for error in reading.errors] == [problem]

    def test_a_zip_whose_list_is_hostile(self) -> None:
        """A zip whose list of members makes no sense is an error, whatever it is."""
        data = as_zip({"a.json": as_lines(numbered(1))})
        at = data.index(b"PK\x01\x02")
        for number in range(at, len(data)):
            for value in (0, 255):
                broken = data[:number] + bytes([value]) + data[number + 1 :]
                reading = Reading(io.BytesIO(broken))
                assert reading.ids in ([], ["id-0"])

    @given(st.binary(max_size=60), st.sampled_from([b"", b"\x1f\x8b\x08", b"PK\x03\x04", b"{"]))
    def test_any_bytes(self, rest: bytes, start: bytes) -> None:
        """Whatever a file holds, reading it ends with events and errors that have places."""
        reading = Reading(io.BytesIO(start + rest))
        assert reading.ids == []
        assert all(error.startswith("<open file>: ") for error in reading.errors)

    @given(st.sampled_from([*FORMS]), st.integers(0, 3_000))
    def test_cut_anywhere(self, form: str, at: int) -> None:
        """Wherever a file is cut, its good part is read, in order, and the rest is an error."""
        whole = FORMS[form](numbered(5))
        reading = Reading(io.BytesIO(whole[:at]))
        assert reading.ids == expected(len(reading.ids))
        if "two" not in form:
            assert len(reading.errors) <= 2

    def test_the_callers_error(self) -> None:
        """An exception of the caller's on_error ends the reading, and is the caller's."""

        def stop(error: ExportError) -> None:
            raise OSError(str(error))

        with pytest.raises(OSError, match=r"line 1: not JSON"):
            list(read_export(io.BytesIO(b"x\n"), on_error=stop))


class TestFilters:
    """Which events are read."""

    def test_what_amplitude_writes_itself(self) -> None:
        """Computed revenue and $identify are never read, but counted, whatever else they lack."""
        names = [*sorted(NEVER_SENT), "revenue_amount", "Order Completed"]
        data = as_lines(
            record(event_type=name, event_time=None, client_event_time=None)
            for name in sorted(NEVER_SENT)
        )
        data += as_lines(record(event_type=name) for name in names)
        reader = read_export(io.BytesIO(data), event_types="*")
        assert [event.event_type for _, event in reader] == ["revenue_amount", "Order Completed"]
        assert reader.left_out == {LeftOutReason.NEVER_SENT: 8}
        assert {"$identify", "verified_revenue"} <= NEVER_SENT

    def test_names(self) -> None:
        """Names of events are selected and excluded as in a sync, brackets included."""
        names = ["Order Completed", "Order Refunded", "[Amplitude] Page Viewed", "A"]
        data = as_lines(record(event_type=name) for name in names)

        def read(**filters: Any) -> list[str]:
            return [event.event_type for _, event in read_export(io.BytesIO(data), **filters)]

        assert read() == names
        assert read(event_types="Order *", exclude="*Refunded") == ["Order Completed"]
        assert read(event_types=["A", "[Amplitude] *"]) == ["[Amplitude] Page Viewed", "A"]
        assert read(exclude=["Order *", "A"]) == ["[Amplitude] Page Viewed"]

    def test_libraries(self) -> None:
        """A library is meant in any version, unless one is given."""
        names = [
            "amplitude-python/1.3.0",
            "amplitude-python/1.2.0",
            "amplitude-ts/2",
            "segment",
            None,
        ]
        data = as_lines(record(library=name, **{"$insert_id": str(name)}) for name in names)

        def read(libraries: Any) -> list[str]:
            return ids(read_export(io.BytesIO(data), libraries=libraries))

        assert read("amplitude-python") == names[:2]
        assert read("amplitude-python/1.2.0") == names[1:2]
        assert read(["segment", "amplitude-t*"]) == names[2:4]
        reader = read_export(io.BytesIO(data), libraries="amplitude")
        assert ids(reader) == []
        assert reader.left_out == {LeftOutReason.LIBRARY: 5}

    def test_names_beyond_the_cache(self) -> None:
        """However many names an export has, each is selected rightly."""
        data = as_lines(record(event_type=f"name {number}") for number in range(1_200))
        reader = read_export(io.BytesIO(data * 2), event_types="name 1*")
        assert sum(1 for _ in reader) == 2 * sum(str(n).startswith("1") for n in range(1_200))
        assert reader.left_out == {LeftOutReason.EVENT_TYPE: 2_400 - 2 * 311}

    @pytest.mark.parametrize(
        ("since", "until"),
        [
            ("2026-01-02", "2026-01-03"),
            (date(2026, 1, 2), datetime(2026, 1, 3, tzinfo=timezone.utc)),
            (datetime(2026, 1, 2), "2026-01-03T09:00+09:00"),  # noqa: DTZ001  # means UTC
        ],
    )
    def test_range(self, since: Any, until: Any) -> None:
        """The range is by the time of the event, not of its upload: from since on, until before."""
        times = ["01 23:59:59.999999", "02 00:00:00", "02 23:59:59.999999", "03 00:00:00.000000"]
        data = as_lines(
            record(event_time=f"2026-01-{time}", server_upload_time="2026-01-02 12:00:00")
            for time in times
        )
        reader = read_export(io.BytesIO(data), since=since, until=until)
        assert [place.line for place, _ in reader] == [2, 3]
        assert reader.left_out == {LeftOutReason.TIME: 2}
        assert [place.line for place, _ in read_export(io.BytesIO(data), since=since)] == [2, 3, 4]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"since": "x"}, r"^since: found 'x'; use a date"),
            ({"until": 5}, r"^until: found 5; use a date"),
            ({"since": "2026-01-02", "until": "2026-01-02"}, r"^until: not after since"),
            ({"libraries": 5}, r"^libraries: found int; use a list of names"),
            ({"event_types": [5]}, r"^event_types: found 5; use names"),
            ({"exclude": [""]}, r"^exclude: found ''; use names"),
            ({"on_error": 5}, r"^on_error: found int; use a callable"),
        ],
    )
    def test_what_can_not_work(self, arguments: dict[str, Any], message: str) -> None:
        """An argument that can't work is refused at once, by its name."""
        with pytest.raises(ConfigurationError, match=message):
            read_export("-", **arguments)


class TestIds:
    """Ids of events."""

    def test_event_ids_on_request(self) -> None:
        """Events have their event_id only on request."""
        data = as_lines([record(event_id=17)])
        assert [event.event_id for _, event in read_export(io.BytesIO(data))] == [None]
        reader = read_export(io.BytesIO(data), keep_event_id=True)
        assert [event.event_id for _, event in reader] == [17]

    def test_large_numbers(self) -> None:
        """Numbers of more than 64 bits are exact, whichever parser reads them first."""
        properties = {"order": 2**80 + 1, "rate": 1e300}
        data = as_lines([record(event_properties=properties)])
        ((_, event),) = read_export(io.BytesIO(data))
        assert event.event_properties == properties


class TestMemory:
    """What reading takes."""

    def test_is_flat(self) -> None:
        """Memory does not grow with the length of a file."""

        class Endless(io.RawIOBase):
            def __init__(self, times: int) -> None:
                super().__init__()
                self._left = times
                self._data = as_lines(numbered(50))
                self._at = 0

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any) -> int:
                data = self._data[self._at : self._at + len(buffer)]
                self._at += len(data)
                if self._at == len(self._data) and self._left:
                    self._left, self._at = self._left - 1, 0
                buffer[: len(data)] = data
                return len(data)

        def peak(times: int) -> int:
            source: BinaryIO = io.BufferedReader(Endless(times))
            tracemalloc.start()
            assert sum(1 for _ in read_export(source)) == 50 * (times + 1)
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return size

        peak(1)
        assert peak(40) < peak(2) + 100_000

    def test_a_bomb(self) -> None:
        """A file that unpacks to a thousand times its size is read in flat memory."""
        data = as_zip({"a.json.gz": gzip.compress(b" " * 40_000_000 + b"\n")})
        assert len(data) < 1_000
        tracemalloc.start()
        reading = Reading(io.BytesIO(data))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert reading.errors == ["<open file>: a.json.gz: line 1: a line of over 16,777,216 bytes"]
        assert size < 4 * MAX_LINE_BYTES


def test_without_orjson(tmp_path: Path) -> None:
    """Without orjson the same events are read, by the standard library."""
    path = write(tmp_path, "a.json", as_lines(numbered(2)) + b"[" * 100_000 + b"\n")
    program = (
        "import sys; sys.modules['orjson'] = None\n"
        "from amplitude_moloco.history import read_export\n"
        "for _, event in read_export(sys.argv[1], on_error=print): print(event.insert_id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n") == [
        *expected(2),
        f"{path}: line 3: JSON that is nested too deeply",
        "",
    ]
