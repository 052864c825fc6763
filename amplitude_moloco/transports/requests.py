"""The default transport: a pooled, kept-alive requests session."""

from __future__ import annotations

import json
import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime
from os import PathLike, fspath
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports import SendResult
from amplitude_moloco.transports.connections import DeadlineAdapter, exchange
from amplitude_moloco.transports.endpoint import Endpoint

MAX_ANSWER_BYTES = 16 * 1024
_MAX_MESSAGE = 300
_CHUNK_BYTES = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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
        if ca_bundle is not None and not Path(ca_bundle).exists():
            raise ConfigurationError(f"ca_bundle: {fspath(ca_bundle)!r} is not there")
        self._api_key = endpoint.api_key
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self._session.mount(endpoint.url, self._adapter)
        # What never changes from request to request is worked out once.
        self._prepared = requests.Request("POST", endpoint.url, headers=endpoint.headers).prepare()
        settings = self._session.merge_environment_settings(
            endpoint.url, {}, None, fspath(ca_bundle) if ca_bundle is not None else True, None
        )
        self._verify = settings["verify"] or True  # there is no way to switch it off
        # A proxy is elsewhere: this host's own addresses mean nothing there, and what is sent to
        # them in plain http must not leave the host.
        self._proxies = {} if endpoint.is_plain else settings["proxies"]

    def send(self, body: bytes) -> SendResult:
        exchange.deadline = time.monotonic() + self._timeout_seconds
        try:
            with self._post(body) as response:
                answer = self._read(response)  # to its end, so that the connection can be kept
        except (requests.RequestException, HTTPError, OSError) as fault:
            # Only its kind: the text of some faults quotes headers, and with them the key.
            return SendResult(message=type(fault).__name__)
        return SendResult(
            status=response.status_code,
            message="" if response.ok else self._message(answer),
            retry_after_seconds=_retry_after_seconds(response.headers.get("Retry-After")),
        )

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
            self._adapter.close()  # drops the idle connections: the others are closed as well
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

    def _message(self, answer: bytes) -> str:
        """MCM's message, or the answer's beginning; a server that echoes the key is not quoted."""
        text = answer.decode(errors="replace")
        try:
            message = json.loads(text)["message"]
        except (ValueError, LookupError, TypeError, RecursionError):
            message = None
        message = text if message is None else str(message)
        message = message.replace(self._api_key, "[key]")[:_MAX_MESSAGE]
        return _CONTROL.sub(" ", message)  # it goes into logs, a line each


def _retry_after_seconds(value: str | None) -> float:
    """The header's wait, as seconds or as a date; 0 for none, and for one that makes no sense."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(int(value)))
    except OverflowError:
        return 0.0
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)  # as HTTP's dates are
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
