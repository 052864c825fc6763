"""The default transport: a pooled, kept-alive requests session."""

from __future__ import annotations

from importlib import import_module
from os import PathLike

import requests
from requests.utils import select_proxy
from urllib3 import HTTPResponse

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, read_retry_after, result_of
from amplitude_moloco.transports.base import Endpoint, SendResult
from amplitude_moloco.transports.causes import causes_for
from amplitude_moloco.transports.connections import DeadlineAdapter, exchange
from amplitude_moloco.transports.network import read_network_settings
from amplitude_moloco.transports.requests_faults import cause_of
from amplitude_moloco.transports.resolver import Resolver

_CHUNK_BYTES = 1024


class RequestsTransport:
    """Posts to one endpoint through requests.

    It follows no redirects, since it calls the adapter directly, keeps no cookies and reads no
    ``.netrc``. Proxies and a CA bundle come from the environment, as requests reads it. TLS
    verification is always on.

    Args:
        endpoint: Where to post, and the credential.
        connections: How many connections are kept alive. More threads may send at a time.
        timeout_seconds: From the start of a request to the end of the answer, with the lookup of
            the host's name and connecting. A request that could hardly be answered in what is
            left after that is not sent.
        ca_bundle: Path of the certificates to trust instead of the default ones.

    Raises:
        ConfigurationError: The certificates can't be read, or the proxy can't be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | PathLike[str] | None = None,
    ) -> None:
        network = read_network_settings(endpoint, ca_bundle)
        proxy = select_proxy(endpoint.url, network.proxies)
        _require_pysocks(proxy)
        self._causes = causes_for(endpoint, proxy, timeout_seconds)
        self._resolver = Resolver()
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self._session.mount(endpoint.url, self._adapter)
        # What is the same in every request is prepared once.
        self._prepared = requests.Request("POST", endpoint.url, headers=endpoint.headers).prepare()
        self._ca_bundle = network.ca_bundle
        self._proxies = network.proxies

    def send(self, body: bytes) -> SendResult:
        exchange.begin(self._timeout_seconds, self._resolver)
        try:
            with self._post(body) as response:
                answer, is_complete = self._read(response)
        except Exception as fault:  # also a ValueError of http.client, for a negative chunk
            # Not its text: some quote the headers, and with them the secret.
            return SendResult(message=type(fault).__name__, cause=cause_of(fault, self._causes))
        return result_of(
            response.status_code,
            answer,
            read_retry_after(response.headers.get("Retry-After")),
            self._endpoint,
            self._causes,
            is_complete=is_complete,
        )

    def close(self) -> None:
        self._session.close()

    def close_idle(self) -> None:
        """Close the connections that are not in use. The next request opens one."""
        self._adapter.close_idle()

    def _post(self, body: bytes) -> requests.Response:
        """Send, and try a second time at once if a kept-alive connection turns out to be closed.

        Servers close idle connections at any time. If the server did take the first attempt, the
        id in the body makes the second one harmless.
        """
        try:
            return self._post_once(body)
        except requests.ConnectionError as fault:
            if isinstance(fault, requests.Timeout) or not exchange.is_on_used_connection:
                raise
        self._adapter.close_idle()  # the server has probably closed the others as well
        return self._post_once(body)

    def _post_once(self, body: bytes) -> requests.Response:
        request = self._prepared.copy()
        request.prepare_body(body, None)
        exchange.is_on_used_connection = False
        return self._adapter.send(
            request,
            stream=True,
            timeout=self._timeout_seconds,
            verify=self._ca_bundle,
            proxies=self._proxies,
        )

    def _read(self, response: requests.Response) -> tuple[bytes, bool]:
        """Return the body, or its beginning, and whether it is complete.

        Only after a complete one is the connection kept alive. A large one is not read to its end.
        The head of a 2xx is the answer, even if its body breaks off.
        """
        answer = b""
        # Otherwise what came of a short body would be lost in the exception.
        response.raw.enforce_content_length = False
        try:
            _check_encodings(response)
            for chunk in response.iter_content(_CHUNK_BYTES):
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    return answer, False
            if response.raw.length_remaining:
                raise requests.exceptions.ChunkedEncodingError
        except Exception:
            if not 200 <= response.status_code < 300:
                raise
            return answer, False
        return answer, True


def _check_encodings(response: requests.Response) -> None:
    """Raise ContentDecodingError for a body that urllib3 would hand out as it came."""
    encodings = response.headers.get("Content-Encoding")
    if encodings:
        for each in encodings.lower().split(","):
            if each.strip() not in ("", "identity", *HTTPResponse.CONTENT_DECODERS):
                raise requests.exceptions.ContentDecodingError


def _require_pysocks(proxy: str | None) -> None:
    if not (proxy or "").lower().startswith("socks"):
        return
    try:
        import_module("socks")  # requests needs it for this kind of proxy alone
    except ImportError:
        raise ConfigurationError(
            "transport: the environment names a SOCKS proxy (HTTPS_PROXY or ALL_PROXY), for which "
            "requests needs PySocks; pip install 'requests[socks]', or use another proxy, or the "
            "transport 'curl'"
        ) from None
