"""How fast a backlog goes to a server that is far away, and beside an app that computes.

    python benchmarks/backlog_speed.py [--events 20000] [--delay-millis 50] [--seconds 5]
                                       [--transport curl]

The engine has its default settings, and a buffer in memory that is full from the beginning. First
it sends to a server whose answers take a while: at most 64 requests are on their way at a time, so
the ideal is 64 / delay. Then it sends to one that answers at once, while another thread computes
without a pause: the two share the GIL.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from purchase import body
from server import Server

from amplitude_moloco import MolocoSettings, ecommerce_syncs
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.engine import Engine, build_engine

CONNECTIONS = 64
_FIRST_SECONDS = 2.0
"""In the beginning 16 requests are on their way, then twice as many again and again."""


@contextmanager
def engine_with_backlog(url: str, transport: str, events: int) -> Iterator[Engine]:
    """An engine with default settings, in whose buffer this many events wait."""
    settings = MolocoSettings(
        *("key", "SHOP", ecommerce_syncs()),
        channel_type="SITE",
        base_url=url,
        transport=transport,
    )
    buffer = MemoryBuffer(max_events=events, max_bytes=1024**3)
    payload = body()
    for number in range(events):
        buffer.put(str(number), "PURCHASE", payload)
    engine = build_engine(replace(settings.engine_settings(), open_buffer=lambda: buffer))
    yield engine
    engine.close(0.0)


def far_away(server: Server, options: argparse.Namespace) -> None:
    """Print how fast the backlog goes where answers take a while."""
    server.set("delay_millis", options.delay_millis)
    ideal = CONNECTIONS / (options.delay_millis / 1000)
    with engine_with_backlog(server.url, options.transport, options.events) as engine:
        began, cpu = time.perf_counter(), time.process_time()
        flush = engine.flush(timeout_seconds=options.events / ideal * 100)
        time.sleep(_FIRST_SECONDS)
        first, first_at = engine.stats().delivered, time.perf_counter()
        flush.result()
        ended = time.perf_counter()
        cpu = time.process_time() - cpu
    speeds = options.events / (ended - began), (options.events - first) / (ended - first_at)
    server.set("delay_millis", 0)
    print(f"answers after {options.delay_millis} ms, of {ideal:,.0f} events/s: ", end="")
    print(f"{speeds[0]:,.0f} ({speeds[0] / ideal:.3f}), ", end="")
    print(f"after {_FIRST_SECONDS:.0f} s {speeds[1]:,.0f} ({speeds[1] / ideal:.3f}), ", end="")
    print(f"{cpu / options.events * 1e6:.0f} us of CPU time an event", flush=True)


def beside_a_busy_app(server: Server, options: argparse.Namespace) -> None:
    """Print how fast the backlog goes while another thread of the process computes."""
    is_over = threading.Event()

    def compute() -> None:
        while not is_over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    with engine_with_backlog(server.url, options.transport, options.events) as engine:
        thread.start()
        began = time.perf_counter()
        engine.flush()
        time.sleep(options.seconds)
        speed = engine.stats().delivered / (time.perf_counter() - began)
        is_over.set()
        thread.join()
    print(f"while the app computes: {speed:,.0f} events/s")


def main() -> None:
    """Run both, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--delay-millis", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--transport", default="curl")
    options = parser.parse_args()
    with Server() as server:
        far_away(server, options)
        beside_a_busy_app(server, options)


if __name__ == "__main__":
    main()
