"""Settings as plain data: JSON and TOML files, for any partner. Needs the extra ``config``."""

from __future__ import annotations

from amplitude_moloco.errors import ConfigurationError

try:
    from amplitude_moloco.files import loading as _loading
    from amplitude_moloco.files import reading as _reading
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"from_dict() and from_file() need the package {missing.name}; "
        f"use pip install 'amplitude-moloco[config]'"
    ) from missing

__all__: list[str] = []
del _loading, _reading
