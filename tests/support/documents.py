"""Runs the Python blocks of the project's documents."""

from __future__ import annotations

import re
from typing import Any

from amplitude_moloco.sandbox import Sandbox


def blocks(text: str, language: str = "python") -> list[str]:
    """The blocks of one language in a document, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def directed_to(sandbox: Sandbox, text: str) -> str:
    """The same code or settings, with the addresses of the sandbox."""
    server = f'Config(server_url="{sandbox.amplitude_url}")'
    text = text.replace('Amplitude("AMPLITUDE_API_KEY")', f'Amplitude("KEY", {server})')
    text = text.replace("http://127.0.0.1:8765", sandbox.url)
    return re.sub(r'platform_name( ?= ?)"My Shop"', rf'base_url\1"{sandbox.url}"', text)


def run(code: str, name: str, names: dict[str, Any]) -> None:
    """Run a block of a document. What it defines is added to the names."""
    exec(compile(code, name, "exec"), names)  # noqa: S102  # our own documents
