"""Runs a command of ``amplitude-moloco`` in this process."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from typer.testing import CliRunner

from amplitude_moloco.cli.app import app


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of JSON that it printed."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def words(self) -> str:
        """Its output, without the line ends and blanks of its layout."""
        return " ".join(self.out.split())


def run(*arguments: object, stdin: str | bytes | None = None, **variables: str | None) -> Done:
    """Runs a command, without a terminal, 80 columns wide."""
    environment = {"COLUMNS": "80", **variables}
    done = CliRunner().invoke(app, [*map(str, arguments)], input=stdin, env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)
