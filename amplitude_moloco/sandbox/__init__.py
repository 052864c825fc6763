"""A local stand-in for MCM and for Amplitude's HTTP API, for trying things out and for tests.

::

    with Sandbox() as sandbox:
        client = Amplitude("any-key", Config(server_url=sandbox.amplitude_url))
        client.add(MolocoDestination(..., base_url=sandbox.url))

It checks a user event as MCM's published contract says, on its own: it shares no code with the
destination, so that it is a second opinion and not an echo. Needs the extra ``sandbox``.
"""

from __future__ import annotations

try:
    from amplitude_moloco.sandbox.server import Sandbox
except ModuleNotFoundError as missing:
    raise ImportError(
        'the sandbox needs Starlette and uvicorn: pip install "amplitude-moloco[sandbox]"'
    ) from missing

from amplitude_moloco.sandbox.record import ReceivedRequest

__all__ = ["ReceivedRequest", "Sandbox"]
