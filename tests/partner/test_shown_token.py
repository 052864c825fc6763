"""Reports of errors show local variables: no partner's token is among them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import amplitude_moloco
from amplitude_moloco import ConfigurationError
from amplitude_moloco.adjust import AdjustDestination, AdjustSettings
from amplitude_moloco.experimental.adbrix import AdbrixDestination, AdbrixSettings

TOKEN = "a-token-that-is-nobodys-business"
PACKAGE = str(Path(amplitude_moloco.__file__).parent)
WRONG: dict[str, Any] = {"token": TOKEN, "transport": "pigeon"}
ADJUST = {
    **WRONG,
    "app_token": "abc123def456",
    "environment": "sandbox",
    "events": [{"event": "A", "token": "b"}],
}
ADBRIX = {**WRONG, "events": "commerce"}


def from_file(kind: Any, data: dict[str, Any], folder: Path) -> None:
    path = folder / "settings.toml"
    path.write_text(f'token = "{TOKEN}"\ntransport = "pigeon"\n')
    kind.from_file(path, **{name: each for name, each in data.items() if name not in WRONG})


@pytest.mark.parametrize(
    "construct",
    [
        lambda kind, data, _: kind(**data),
        lambda kind, data, _: kind.from_dict(data),
        lambda kind, data, _: kind.from_dict({}, **data),
        from_file,
    ],
)
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (AdjustSettings, ADJUST),
        (AdjustDestination, ADJUST),
        (AdbrixSettings, ADBRIX),
        (AdbrixDestination, ADBRIX),
    ],
)
def test_no_frame_of_a_refusal_shows_the_token(
    kind: Any, data: dict[str, Any], construct: Callable[..., object], tmp_path: Path
) -> None:
    """Whatever is wrong, and however the settings were given."""
    with pytest.raises(ConfigurationError) as caught:
        construct(kind, data, tmp_path)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [str(caught.value)]
    errors: list[traceback.TracebackException | None] = [report]
    while error := errors.pop() if errors else None:
        ours = [each for each in error.stack if each.filename.startswith((PACKAGE, "<string>"))]
        shown += [f"{name}={value}" for each in ours for name, value in (each.locals or {}).items()]
        errors += [each for each in (error.__cause__, error.__context__) if each is not None]
    assert not [each for each in shown if TOKEN in each]
