"""All settings of a destination: their names, types and defaults, and what is built from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from amplitude_moloco.adjust.answers import Classifier
from amplitude_moloco.adjust.converter import App, Converter, Read
from amplitude_moloco.adjust.endpoint import endpoint
from amplitude_moloco.adjust.event import AdjustEvent
from amplitude_moloco.adjust.form import too_old
from amplitude_moloco.adjust.identifiers import IDENTIFIERS
from amplitude_moloco.arguments import hides_arguments
from amplitude_moloco.buffers.base import BufferFactory
from amplitude_moloco.buffers.redis.address import is_redis
from amplitude_moloco.buffers.url import public_url
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.engine.engine import EngineSettings, Partner
from amplitude_moloco.engine.facts import Hook
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.plain import settings_of_data, settings_of_file
from amplitude_moloco.partner.settings import engine_settings_of, one_of
from amplitude_moloco.partner.sources import Source, read_source
from amplitude_moloco.text import shown
from amplitude_moloco.transports.base import Endpoint, TransportFactory

if TYPE_CHECKING:
    from amplitude_moloco.files.loading import Shape

_APP_TOKEN = re.compile(r"[0-9A-Za-z]{12}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")


@hides_arguments
@dataclass(frozen=True)
class AdjustSettings:
    """What a destination is made of: the arguments of :class:`AdjustDestination`.

    Checked once constructed, but nothing is opened. The repr does not show the token. The
    arguments from ``buffer`` on mean the same as those of :class:`MolocoSettings`.

    Args:
        app_token: The app's token of 12 characters; or a dict with one for each of Adjust's names
            of operating systems, such as ``{"ios": "…", "android": "…"}``.
        events: One or several: which events are sent, and as what; see :class:`AdjustEvent`.
        environment: ``sandbox`` or ``production``. Adjust keeps their data apart.
        token: The app's S2S token with the scope Events; None while Adjust does not check it.
        base_url: Stands in place of ``https://s2s.adjust.com``.
        on_ambiguous: What happens to an event that Adjust may have, or not, since no answer came:
            ``retry`` sends it again, and it may count twice; ``drop`` makes it a dead letter.
        default_currency: For the revenue of events that state no currency.
        identifiers: Expressions or callables for identifiers of devices that Amplitude has no
            attribute for, by Adjust's names: ``{"adid": "user_properties.adjust_id"}``.

    Raises:
        ConfigurationError: Settings can't work; the text says of each what to use instead.
    """

    app_token: str | Mapping[str, str]
    events: AdjustEvent | Iterable[AdjustEvent]
    _: KW_ONLY
    environment: str
    token: str | None = field(default=None, repr=False)
    base_url: str | None = None
    on_ambiguous: str = "retry"
    default_currency: str | None = None
    identifiers: Mapping[str, Source] | None = None
    buffer: str | BufferFactory = "memory://"
    flush_queue_size: int = 16
    flush_interval_millis: int = 200
    hooks: Hook | Iterable[Hook] = ()
    connections: int | None = None
    timeout_seconds: float = 10.0
    ca_bundle: str | PathLike[str] | None = None
    shutdown_timeout_seconds: float = 5.0
    flush_timeout_seconds: float | None = None
    max_requests_per_second: float | None = None
    retry: RetrySchedule | None = None
    breaker: BreakerPolicy | None = None
    transport: str | TransportFactory = "auto"
    inspector: str | None = None

    def __post_init__(self) -> None:
        events = self.events
        is_list = isinstance(events, Iterable) and not isinstance(events, (str, Mapping))
        object.__setattr__(self, "events", tuple(events) if is_list else (events,))  # type: ignore[arg-type]  # just checked
        checks = Checks()
        checks.run(self.endpoint)
        checks.run(self.converter)
        checks.run(self.engine_settings)
        checks.raise_errors()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **more: Any) -> AdjustSettings:
        """Returns settings from plain data, as JSON has it; see :meth:`from_file`."""
        return settings_of_data(cls, _shape, data, more)

    @classmethod
    def from_file(cls, path: str | PathLike[str], **more: Any) -> AdjustSettings:
        """Returns settings from a JSON or TOML file with the names of the fields.

        ``events`` is a list with the arguments of :class:`AdjustEvent`; in TOML, ``[[events]]``.
        ``${NAME}`` in a text stands for an environment variable. ``more`` are settings that the
        file lacks, or can't hold, such as ``hooks``; they replace the file's. Raises
        ConfigurationError naming the place in the file: an unknown key, a wrong type, a missing
        field, a value that can't work.
        """
        return settings_of_file(cls, _shape, path, more)

    def endpoint(self) -> Endpoint:
        """Returns Adjust's address and headers."""
        return endpoint(token=self.token, base_url=self.base_url)

    def converter(self) -> Converter:
        """Returns a converter of Amplitude events to Adjust's form. Safe from any thread."""
        checks = Checks()
        events = checks.run(_events_of, self.events)
        app = App(
            checks.run(_app_tokens_of, self.app_token),
            checks.run(one_of, "environment", self.environment, ("sandbox", "production")),
            checks.run(_currency_of, self.default_currency),
            checks.run(_identifiers_of, self.identifiers),
        )
        checks.raise_errors()
        return Converter(events, app)

    def engine_settings(self) -> EngineSettings:
        """Returns what ``build_engine()`` needs. Opens nothing."""
        checks = Checks()
        ambiguous = checks.run(one_of, "on_ambiguous", self.on_ambiguous, ("retry", "drop"))
        classify = Classifier(repeats_ambiguous=ambiguous == "retry")
        names = "the S2S token, the app token or the address"
        partner = Partner("Adjust", names, classify, None, too_old)
        made = checks.run(engine_settings_of, self, partner, self.endpoint, _check_lanes)
        checks.raise_errors()
        return made


def _shape() -> Shape:
    from amplitude_moloco.adjust.file import SHAPE  # needs the extra "config"

    return SHAPE


def _check_lanes(buffer: str | BufferFactory) -> None:
    if isinstance(buffer, str) and is_redis(buffer):
        raise ConfigurationError(
            f"buffer: found {shown(public_url(buffer))}; Redis can't keep each device's events in "
            f"order; use memory:// or a file, as in sqlite:///adjust.db"
        )


def _events_of(events: Iterable[object]) -> tuple[AdjustEvent, ...]:
    found = tuple(events)
    if not found or not all(isinstance(each, AdjustEvent) for each in found):
        raise ConfigurationError("events: use AdjustEvent('Order Completed', 'abc123'), or several")
    return found  # type: ignore[return-value]  # just checked


def _app_tokens_of(tokens: object) -> str | Mapping[str, str]:
    several = dict(tokens) if isinstance(tokens, Mapping) else {"": tokens}
    for each in several.values() or [None]:
        if not isinstance(each, str) or not _APP_TOKEN.fullmatch(each):
            raise ConfigurationError(
                f"app_token: found {shown(each)}; use the app's token of 12 letters and digits"
            )
    return (
        {str(name): str(each) for name, each in several.items()}
        if "" not in several
        else str(tokens)
    )


def _currency_of(currency: object) -> str | None:
    if currency is None:
        return None
    if isinstance(currency, str) and _CURRENCY.fullmatch(currency):
        return currency.upper()
    raise ConfigurationError(
        f"default_currency: found {shown(currency)}; use an ISO 4217 code, such as 'USD'"
    )


def _identifiers_of(identifiers: object) -> dict[str, Read]:
    found = {} if identifiers is None else identifiers
    unknown = (
        [each for each in found if each not in IDENTIFIERS] if isinstance(found, Mapping) else [""]
    )
    if not isinstance(found, Mapping) or unknown:
        raise ConfigurationError(
            f"identifiers: found {shown(unknown[0])}; use a dict with names such "
            f"as {', '.join(IDENTIFIERS)}"
        )
    checks = Checks()
    reads = {
        name: checks.run(read_source, f"identifiers.{name}", each) for name, each in found.items()
    }
    checks.raise_errors()
    return {name: each for name, each in reads.items() if each is not None}
