"""What one request costs this process, by transport: processor time, and time on the clock.

    python benchmarks/transport_cost.py [--requests 20000] [--url http://127.0.0.1:8000]

Against the server of these benchmarks, or another one on loopback. The transports take turns, so
that what disturbs one disturbs all.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from server import Server

from amplitude_moloco.transports import Transport, transport_named
from amplitude_moloco.transports.endpoint import endpoint

_BODY = b'{"event_type": "PURCHASE", "padding": "%s"}' % (b"x" * 600)
_ROUNDS = 5


def measure(transport: Transport, requests: int, threads: int) -> tuple[float, float]:
    """Microseconds of processor and of clock for each request."""

    def send(count: int) -> None:
        for _ in range(count):
            if transport.send(_BODY).status != 200:
                raise RuntimeError("not delivered")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, [10] * threads))  # connects
        clock, processor = time.perf_counter(), time.process_time()
        list(pool.map(send, [requests // threads] * threads))
        spent = time.process_time() - processor, time.perf_counter() - clock
    return spent[0] / requests * 1e6, spent[1] / requests * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = arguments.url or stack.enter_context(Server()).url
        address = endpoint(api_key="key", platform_id="P", platform_name=None, base_url=url)
        for threads in (1, 16):
            costs: dict[str, list[tuple[float, float]]] = {"requests": [], "curl": []}
            for _ in range(_ROUNDS):
                for name, measured in costs.items():
                    transport = transport_named(name)(address)
                    measured.append(measure(transport, arguments.requests // _ROUNDS, threads))
                    transport.close()
            for name, measured in costs.items():
                processor, clock = (median(each) for each in zip(*measured, strict=True))
                print(f"{threads:2} threads, {name:8}: {processor:5.1f} us of processor,", end=" ")
                print(f"{clock:5.1f} us on the clock")


if __name__ == "__main__":
    main()
