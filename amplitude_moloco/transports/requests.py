"""The default transport: a pooled, kept-alive requests session."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from http.client import RemoteDisconnected

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from amplitude_moloco.transports import SendResult
from amplitude_moloco.transports.endpoint import Endpoint

MAX_ANSWER_BYTES = 16 * 1024
_MAX_MESSAGE = 300
_CHUNK_BYTES = 1024


class RequestsTransport:
    """Posts to one endpoint through requests.

    Redirects are not followed, since the adapter that is called here follows none. Proxies and a
    CA bundle come from the environment, as they do for all of requests; TLS verification is
    always on.

    Args:
        endpoint: Where to post, and the key.
        connections: How many threads may send at a time, each on a connection that is kept alive.
        timeout_seconds: For connecting, for each wait for the server, and for the whole answer.
        ca_bundle: Path of the certificates to trust instead of the usual ones.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | None = None,
    ) -> None:
        self._api_key = endpoint.api_key
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self._session.mount(endpoint.url, self._adapter)
        # What never changes from request to request is worked out once.
        request = requests.Request("POST", endpoint.url, headers=endpoint.headers)
        self._prepared = self._session.prepare_request(request)
        settings = self._session.merge_environment_settings(
            endpoint.url, {}, None, ca_bundle or True, None
        )
        self._verify = settings["verify"] or True  # there is no way to switch it off
        # A proxy is elsewhere: this host's own addresses mean nothing there, and what is sent to
        # them in plain http must not leave the host.
        self._proxies = {} if endpoint.is_plain else settings["proxies"]
        self._may_have_idle = False

    def send(self, body: bytes) -> SendResult:
        deadline = time.monotonic() + self._timeout_seconds
        try:
            try:
                response = self._post(body)
            except requests.ConnectionError as fault:
                if not (self._may_have_idle and _was_hung_up(fault)):
                    raise
                # The server had closed a connection that was kept alive, as servers do. Nothing of
                # the request was taken, so it goes out once more, on a new connection.
                self._may_have_idle = False
                self._adapter.poolmanager.clear()
                response = self._post(body)
            with response:
                answer = self._read(response, deadline)
        except (requests.RequestException, OSError) as fault:
            # Only its kind: the text of some faults quotes headers, and with them the key.
            return SendResult(message=type(fault).__name__)
        self._may_have_idle = True
        return SendResult(
            status=response.status_code,
            message="" if response.ok else self._message(answer),
            retry_after_seconds=_retry_after_seconds(response.headers.get("Retry-After")),
        )

    def close(self) -> None:
        self._session.close()

    def _post(self, body: bytes) -> requests.Response:
        request = self._prepared.copy()
        request.prepare_body(body, None)
        return self._adapter.send(
            request,
            stream=True,
            timeout=self._timeout_seconds,
            verify=self._verify,
            proxies=self._proxies,
        )

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The answer's beginning. A connection whose answer is not read to its end is closed."""
        answer = b""
        for chunk in response.iter_content(_CHUNK_BYTES):
            answer += chunk
            if len(answer) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                break
        return answer

    def _message(self, answer: bytes) -> str:
        """MCM's message, or the answer's beginning; a server that echoes the key is not quoted."""
        text = answer.decode(errors="replace")
        try:
            message = json.loads(text)["message"]
        except (ValueError, LookupError, TypeError, RecursionError):
            message = text
        return str(message).replace(self._api_key, "[key]")[:_MAX_MESSAGE]


def _was_hung_up(fault: requests.ConnectionError) -> bool:
    """Whether the other side closed the connection instead of answering."""
    cause = fault.args[0] if fault.args else None
    return isinstance(cause, ProtocolError) and isinstance(
        cause.args[-1], (RemoteDisconnected, ConnectionResetError, BrokenPipeError)
    )


def _retry_after_seconds(value: str | None) -> float:
    """The header's wait, as seconds or as a date; 0 for none, and for one that makes no sense."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
