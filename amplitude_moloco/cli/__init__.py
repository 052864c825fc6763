"""The command line. Needs the extra ``cli``. The only part of the library that prints."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from io import TextIOWrapper

_PACKAGES = ("rich", "starlette", "typer", "uvicorn")


def main() -> None:
    """Runs the console script ``amplitude-moloco``."""
    if None in map(find_spec, _PACKAGES):
        raise SystemExit(
            'amplitude-moloco: the command line is an extra: pip install "amplitude-moloco[cli]"'
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal in Latin-1 shows all else escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        from amplitude_moloco.cli.app import app  # not before, since it needs these packages

        app(prog_name="amplitude-moloco")
    except KeyboardInterrupt:  # before a command has begun, or at its end
        raise SystemExit(130) from None
