"""The sandbox: a server in a thread, with its record and its faults."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from amplitude_moloco.inspector.server import ThreadServer, listen
from amplitude_moloco.sandbox.app import Endpoints, Settings
from amplitude_moloco.sandbox.export import ExportFolder
from amplitude_moloco.sandbox.faults import Conditions, Fault, Faults
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.settings import MmpSettings
from amplitude_moloco.sandbox.record import ReceivedRequest, Record, Target

if TYPE_CHECKING:
    from typing_extensions import Self

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Sandbox:
    """A stand-in for MCM, Amplitude's HTTP API, an MMP and Adbrix's API, in a daemon thread.

    ``with Sandbox() as sandbox:`` starts it and returns when it accepts connections. The end of the
    block stops it. Entered again, it listens on the same port and keeps its record. Its ``url``
    shows a live page in a browser. All methods may be called from any thread. It prints nothing and
    needs no network.

    Args:
        host: The address to listen on. Only this machine can reach the default.
        port: The port to listen on. 0 picks a free one.
        api_key: The only ``x-api-key`` that MCM accepts. None accepts any that is not empty.
        platform_id: The only platform that MCM accepts. None accepts any.
        amplitude_api_key: The only key that Amplitude accepts. None accepts any that is not empty.
        amplitude_secret_key: The only secret key that Amplitude's Export API accepts, beside the
            key. None accepts any that is not empty.
        adbrix_token: The only API token that Adbrix accepts. None accepts any that is not empty.
        exports: A folder with what the Export API has, in files that are named as Amplitude's:
            ``187520_2026-01-31_9#0.json.gz``. They may change while the sandbox runs.
        max_export_bytes: The largest size of the files of one export.
        delay_seconds: How long each answer of both APIs is delayed, up to an hour.
        max_requests, max_bytes: How many requests are kept, and how many bytes of memory they
            take. When full, the oldest are discarded.
        host_names: Names with a dot by which clients reach it, such as ``sandbox.internal``.
            Addresses and names without a dot need no mention. Another ``Host`` gets a 403.
        fail_rate: The share of events, from 0 to 1, that MCM answers with ``fail_status``.
        fail_status: The HTTP status of these answers, 400 to 599.
        mmp: The app, the partners and the links of the measurement partner (MMP). By default,
            Moloco's link ``moloco1`` and another network's link ``another1``.

    Raises ValueError for a rate, a status or a delay that can't be.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        platform_id: str | None = None,
        amplitude_api_key: str | None = None,
        amplitude_secret_key: str | None = None,
        adbrix_token: str | None = None,
        exports: str | PathLike[str] | None = None,
        max_export_bytes: int = 4 * 1024**3,
        delay_seconds: float = 0.0,
        max_requests: int = 100_000,
        max_bytes: int = 256 * 1024**2,
        host_names: Iterable[str] = (),
        fail_rate: float = 0.0,
        fail_status: int = 503,
        mmp: MmpSettings | None = None,
    ) -> None:
        self._host = host
        self._port = port
        names = (host_names,) if isinstance(host_names, str) else tuple(host_names)
        names = (*names, host)
        self._settings = Settings(
            *(api_key, platform_id, amplitude_api_key),
            amplitude_secret_key=amplitude_secret_key,
            adbrix_token=adbrix_token,
            host_names=names,
        )
        folder = None if exports is None else Path(exports)
        self._exports = ExportFolder(folder, max_export_bytes)
        self._record = Record(max_requests, max_bytes)
        self._faults = Faults(Conditions(fail_rate, fail_status, delay_seconds * 1000))
        self._mmp = Mmp(mmp, max_kept=max_requests)
        self._server: ThreadServer | None = None

    def __enter__(self) -> Self:
        """Starts the server.

        Raises OSError if it can't listen on the address, RuntimeError if it is already running.
        """
        if self._server is not None:
            raise RuntimeError("this sandbox is already running")
        # Bound in the caller's thread, so that a port in use is an error of this call. From now on
        # the system accepts connections: there is nothing to wait for.
        listener = listen(self._host, self._port, "the sandbox")
        self._port = listener.getsockname()[1]
        endpoints = Endpoints(self._settings, self._record, self._faults, self._exports, self._mmp)
        self._server = ThreadServer(
            endpoints.app(), listener, endpoints.stopping, "amplitude-moloco-sandbox"
        )
        self._server.start()
        self._mmp.courier.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops the server within a few tenths of a second, and closes all connections."""
        if self._server is not None:
            self._mmp.courier.stop()
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """The value for ``MolocoDestination(base_url=…)``. Raises RuntimeError before the start."""
        if self._port == 0:
            raise RuntimeError(
                "the sandbox has no port yet: `with Sandbox() as sandbox:` starts it"
            )
        host = _ANY_ADDRESS.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    @property
    def amplitude_url(self) -> str:
        """The value for ``Config(server_url=…)``. Raises RuntimeError before the start."""
        return f"{self.url}/2/httpapi"

    @property
    def mmp(self) -> Mmp:
        """The measurement partner: its clock, devices, events and postbacks."""
        return self._mmp

    @property
    def mmp_url(self) -> str:
        """What replaces the MMP's addresses: links, ``/session`` and ``/event`` are below it."""
        return f"{self.url}/mmp"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """All requests to both APIs, refused ones included, oldest first."""
        return self._record.requests()

    @property
    def moloco_events(self) -> list[dict[str, Any]]:
        """The user events that MCM accepted, oldest first."""
        return self._record.moloco_events()

    @property
    def amplitude_events(self) -> list[dict[str, Any]]:
        """The events that Amplitude accepted, oldest first."""
        return self._record.amplitude_events()

    @property
    def adbrix_events(self) -> list[dict[str, Any]]:
        """The events that Adbrix's S2S Event API accepted, oldest first."""
        return self._record.adbrix_events()

    @property
    def forgotten(self) -> int:
        """The number of requests discarded to make room for newer ones."""
        return self._record.forgotten

    def clear(self) -> None:
        """Discards all requests. Pending faults stay."""
        self._record.clear()

    def fail_next(
        self,
        status: int,
        times: int = 1,
        retry_after: int | None = None,
        *,
        target: Target = "moloco",
        after_storing: bool = False,
    ) -> None:
        """Answers the next ``times`` requests to ``target`` with this HTTP status, 400 to 599.

        ``retry_after`` adds the header ``Retry-After``, in seconds. With ``after_storing`` the MMP
        stores what it got, and only its answer is lost. Faults queue up. Raises ValueError for a
        value that can't be answered.
        """
        self._faults.add(Fault(status, times, retry_after, target, after_storing))
