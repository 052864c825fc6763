"""The default transport: a pooled, kept-alive requests session."""

from __future__ import annotations

import time
from os import PathLike

import requests
from urllib3.exceptions import HTTPError

from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, read_retry_after, result_of
from amplitude_moloco.transports.base import Endpoint, SendResult
from amplitude_moloco.transports.connections import DeadlineAdapter, exchange
from amplitude_moloco.transports.environment import environment

_CHUNK_BYTES = 1024


class RequestsTransport:
    """Posts to one endpoint through requests.

    Redirects are not followed, since the adapter that is called here follows none. Proxies and a
    CA bundle come from the environment, as they do for all of requests; TLS verification is
    always on. A ``.netrc`` is not read: the key alone opens MCM.

    Args:
        endpoint: Where to post, and the key.
        connections: How many threads may send at a time, each on a connection that is kept alive.
        timeout_seconds: For connecting, and from the start to the end of the answer.
        ca_bundle: Path of the certificates to trust instead of the usual ones.

    Raises:
        ConfigurationError: The certificates can't be read.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | PathLike[str] | None = None,
    ) -> None:
        surroundings = environment(endpoint, ca_bundle)
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self._session.mount(endpoint.url, self._adapter)
        # What never changes from request to request is worked out once.
        self._prepared = requests.Request("POST", endpoint.url, headers=endpoint.headers).prepare()
        self._verify = surroundings.certificates
        self._proxies = surroundings.proxies

    def send(self, body: bytes) -> SendResult:
        exchange.deadline = time.monotonic() + self._timeout_seconds
        try:
            with self._post(body) as response:
                answer = self._read(response)  # to its end, so that the connection can be kept
        except (requests.RequestException, HTTPError, OSError) as fault:
            # Only its kind: the text of some faults quotes headers, and with them the key.
            return SendResult(message=type(fault).__name__)
        wait_seconds = read_retry_after(response.headers.get("Retry-After"))
        return result_of(response.status_code, answer, wait_seconds, self._endpoint)

    def close(self) -> None:
        self._session.close()

    def _post(self, body: bytes) -> requests.Response:
        """Send, and once more at once where a kept-alive connection turns out to be closed.

        Servers close them when they please. Should the request have been taken all the same, its id
        makes the second one harmless.
        """
        try:
            return self._post_once(body)
        except requests.ConnectionError as fault:
            if isinstance(fault, requests.Timeout) or not exchange.is_on_used_connection:
                raise
            self._adapter.close_idle()  # the others are closed as well
            return self._post_once(body)

    def _post_once(self, body: bytes) -> requests.Response:
        request = self._prepared.copy()
        request.prepare_body(body, None)
        exchange.is_on_used_connection = False
        return self._adapter.send(
            request,
            stream=True,
            timeout=self._timeout_seconds,
            verify=self._verify,
            proxies=self._proxies,
        )

    def _read(self, response: requests.Response) -> bytes:
        """The answer's beginning. A connection whose answer is not read to its end is closed."""
        answer = b""
        for chunk in response.iter_content(_CHUNK_BYTES):
            answer += chunk
            if len(answer) > MAX_ANSWER_BYTES:
                break
        return answer
