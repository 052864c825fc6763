"""The whole road of history: exports are fetched, checked and delivered, and killed on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.exports import HISTORY_CONFIG, record, write_hour
from support.measuring import unmeasured
from support.repeats import repeats
from support.waiting import await_that

from amplitude_moloco.sandbox import Sandbox

KILLS = repeats(2, 40)
DAYS = max(3, KILLS // 2)
HOURS = (0, 9, 23)
CONNECTIONS = 8
KEYS = {
    "MOLOCO_API_KEY": "the-key",
    "AMPLITUDE_API_KEY": "the-api-key",
    "AMPLITUDE_SECRET_KEY": "the-secret-key",
}


class Export:
    """An export of some days: most can be sent; some are repeated, invalid, or of no interest."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.ids: set[str] = set()
        """What should arrive."""
        self.counts: Counter[str] = Counter()
        """Lines, by what they are."""
        for day in range(1, DAYS + 1):
            for hour in HOURS:
                records = [self._record(chance, f"{day}-{hour}-{n}") for n in range(60)]
                write_hour(folder, f"2025-06-{day:02}_{hour}", records)

    def _record(self, chance: random.Random, number: str) -> dict[str, Any]:
        kind = chance.choices(["home", "page", "again", "invalid", "else"], [12, 4, 2, 1, 1])[0]
        if kind == "again" and not self.ids:
            kind = "home"
        self.counts[kind] += 1
        id = chance.choice(sorted(self.ids)) if kind == "again" else f"{kind}-{number}"
        if kind in ("home", "page"):
            self.ids.add(id)
        is_page = id.startswith(("page", "invalid"))
        name = "Else" if kind == "else" else "Article Read" if is_page else "Page Viewed"
        properties = {} if kind == "invalid" else {"page": "/a"}
        values = {"event_type": name, "user_id": "shopper", "event_properties": properties}
        return record(**values, **{"$insert_id": id})


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "amplitude_moloco", *arguments]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**os.environ, **KEYS},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def kill_once(
    folder: Path, arguments: tuple[str, ...], count: Callable[[], int], wanted: int
) -> None:
    """Start a command, and kill it at this count; it may have ended before."""
    with subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env={**unmeasured(), **KEYS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        await_that(lambda: count() >= wanted or process.poll() is not None)
        process.kill()
        assert process.wait(60) in (-signal.SIGKILL, 0, 1)


@pytest.mark.timeout(600)
def test_history_arrives_whole_however_often_it_is_killed(tmp_path: Path) -> None:
    """What arrives is what the export holds, once each but for what was on its way at a kill."""
    chance = random.Random(KILLS)  # noqa: S311  # not for secrets
    export = Export(tmp_path / "at-amplitude", chance)
    with Sandbox(
        exports=tmp_path / "at-amplitude",
        amplitude_api_key="the-api-key",
        amplitude_secret_key="the-secret-key",
    ) as sandbox:
        config = HISTORY_CONFIG.format(url=sandbox.url, connections=CONNECTIONS)
        (tmp_path / "conf.toml").write_text(config, encoding="utf-8")
        fetch_with_kills(tmp_path, sandbox, KILLS // 2, chance)
        check(tmp_path, export)
        backfill_with_kills(tmp_path, sandbox, KILLS - KILLS // 2, len(export.ids))
        sent = Counter(str(event["id"]) for event in sandbox.moloco_events)
    assert sent.keys() == export.ids
    assert sent.total() - len(sent) <= KILLS * CONNECTIONS


def fetch_with_kills(folder: Path, sandbox: Sandbox, kills: int, chance: random.Random) -> None:
    days = ("--start", "2025-06-01", "--end", f"2025-06-{DAYS:02}")
    fetch = ("fetch", *days, "--out", "fetched", "--url", sandbox.url)

    def exports() -> int:
        return sum(request.target == "export" for request in sandbox.requests)

    for _ in range(kills):
        wanted = exports() + chance.randint(1, 2)
        kill_once(folder, fetch, exports, wanted)
    last = run(folder, *fetch)
    assert last.returncode == 0, last.stderr


def check(folder: Path, export: Export) -> None:
    """It counts every line by what becomes of it, and leaves repeated ones to ``backfill``."""
    last = run(folder, "check", "conf.toml", "fetched", "--json")
    assert last.returncode == (1 if export.counts["invalid"] else 0), last.stderr
    found = json.loads(last.stdout)
    assert (found["events"], found["unreadable"]) == (export.counts.total(), 0)
    assert sum(sync["sent"] for sync in found["syncs"]) == sum(
        export.counts[kind] for kind in ("home", "page", "again")
    )
    assert found["invalid"] == export.counts["invalid"]


def backfill_with_kills(folder: Path, sandbox: Sandbox, kills: int, events: int) -> None:
    options = ("--since", "2025-06-01", "--yes", "--rate", "100000")
    backfill = ("backfill", "conf.toml", "fetched", *options)
    for number in range(kills):
        wanted = events * (number + 1) // (kills + 1)
        kill_once(folder, backfill, lambda: len(sandbox.moloco_events), wanted)
    last = run(folder, *backfill)
    assert last.returncode == 1, last.stderr  # some can't be sent, and are told
    assert "delivered" in last.stdout
