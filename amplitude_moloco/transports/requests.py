"""The default transport: a pooled, kept-alive requests session."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime

import requests
from requests.adapters import HTTPAdapter

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
        self._proxies = settings["proxies"]

    def send(self, body: bytes) -> SendResult:
        request = self._prepared.copy()
        request.prepare_body(body, None)
        deadline = time.monotonic() + self._timeout_seconds
        try:
            response = self._adapter.send(
                request,
                stream=True,
                timeout=self._timeout_seconds,
                verify=self._verify,
                proxies=self._proxies,
            )
            with response:
                answer = self._read(response, deadline)
        except (requests.RequestException, OSError) as fault:
            # Only its kind: the text of some faults quotes headers, and with them the key.
            return SendResult(message=type(fault).__name__)
        return SendResult(
            status=response.status_code,
            message="" if response.ok else self._message(answer),
            retry_after_seconds=_retry_after_seconds(response.headers.get("Retry-After")),
        )

    def close(self) -> None:
        self._session.close()

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
