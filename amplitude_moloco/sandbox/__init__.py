"""A local stand-in for MCM and for Amplitude's HTTP API, for tests and experiments.

::

    with Sandbox() as sandbox:
        client = Amplitude("any-key", Config(server_url=sandbox.amplitude_url))
        client.add(MolocoDestination(..., base_url=sandbox.url))

It checks user events against MCM's published contract and shares no code with the destination, so
that it can find the destination's mistakes. Needs the extra ``sandbox``.
"""

from __future__ import annotations

try:
    from amplitude_moloco.sandbox.server import Sandbox
except ModuleNotFoundError as missing:
    raise ImportError(
        'the sandbox needs Starlette and uvicorn: pip install "amplitude-moloco[sandbox]"'
    ) from missing

from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.settings import MmpSettings, Partner, Postbacks, Windows
from amplitude_moloco.sandbox.record import ReceivedRequest

__all__ = [
    "Mmp",
    "MmpSettings",
    "Partner",
    "Postbacks",
    "ReceivedRequest",
    "Sandbox",
    "Windows",
]
