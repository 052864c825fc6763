"""Tracks one event with nothing but the core and the standard library. Prints what was delivered.

The tox environment ``core`` runs it where no extra is installed, but marshmallow 4 is.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import ConfigurationError, MolocoDestination, ecommerce_syncs

bodies: list[dict[str, Any]] = []


class Server(BaseHTTPRequestHandler):
    """Accepts everything, as MCM and as Amplitude."""

    def do_POST(self) -> None:
        bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = b'{"code": 200}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    client = Amplitude("amplitude-key", Config(server_url=url, flush_interval_millis=100))
    destination = MolocoDestination(
        "moloco-key", "SHOP", ecommerce_syncs(), base_url=url, channel_type="SITE"
    )
    client.add(destination)
    client.track(BaseEvent("Home Viewed", user_id="shopper-1"))
    stats = destination.flush(30).result()
    client.shutdown()
    server.shutdown()

try:
    MolocoDestination.from_dict({})
except ConfigurationError as error:
    refusal = str(error)
else:
    sys.exit("from_dict() works without its extra")

events = [body["event_type"] for body in bodies if "event_type" in body]
if events != ["HOME"] or stats.delivered != 1 or "amplitude-moloco[config]" not in refusal:
    sys.exit(f"delivered {stats.delivered}, received {events}, refused with {refusal!r}")
sys.stdout.write(f"The core has delivered an event, and says: {refusal}\n")
