"""What belongs to one process: a buffer, a transport, and the threads between them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from amplitude_moloco.buffers.base import Buffer
from amplitude_moloco.engine.breaker import BreakerSettings, CircuitBreaker
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.dispatcher import Dispatcher
from amplitude_moloco.engine.facts import Hook, Hooks
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.rate import Pacer
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.verdict import Classify
from amplitude_moloco.transports.base import Transport, TransportFactory


@dataclass(frozen=True)
class Engine:
    """The parts of one process. A forked child gets an engine of its own, and leaves this alone."""

    pid: int
    buffer: Buffer
    transport: Transport
    ledger: Ledger
    dispatcher: Dispatcher

    def close(self, timeout_seconds: float) -> None:
        """Send what can be sent in time, then end the threads and the connections."""
        self.dispatcher.close(timeout_seconds)
        self.transport.close()


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is built, in every process anew. Building it starts no thread."""

    open_transport: TransportFactory
    classify: Classify
    identify: Callable[[bytes], str]
    hooks: tuple[Hook, ...]
    retry: RetrySchedule
    breaker: BreakerSettings
    max_requests_per_second: float | None
    connections: int
    flush_queue_size: int
    flush_interval_seconds: float

    def build(self, buffer: Buffer) -> Engine:
        transport = self.open_transport()
        ledger, hooks = Ledger(), Hooks(self.hooks)
        breaker, pacer = CircuitBreaker(self.breaker), Pacer(self.max_requests_per_second)
        delivery = Delivery(
            buffer,
            transport,
            classify=self.classify,
            breaker=breaker,
            pacer=pacer,
            retry=self.retry,
            ledger=ledger,
            hooks=hooks,
            identify=self.identify,
        )
        dispatcher = Dispatcher(
            buffer,
            delivery,
            breaker=breaker,
            pacer=pacer,
            ledger=ledger,
            hooks=hooks,
            connections=self.connections,
            flush_queue_size=self.flush_queue_size,
            flush_interval_seconds=self.flush_interval_seconds,
        )
        return Engine(os.getpid(), buffer, transport, ledger, dispatcher)
