"""All settings of a destination: their names, types and defaults, and what is built from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from amplitude_moloco.adjust.answers import Classifier
from amplitude_moloco.adjust.barrier import Barrier
from amplitude_moloco.adjust.converter import CONSENT, App, Converter, Read
from amplitude_moloco.adjust.endpoint import endpoint
from amplitude_moloco.adjust.event import AdjustEvent
from amplitude_moloco.adjust.identifiers import IDENTIFIERS
from amplitude_moloco.arguments import hides_arguments
from amplitude_moloco.buffers.base import BufferFactory
from amplitude_moloco.buffers.redis.address import is_redis
from amplitude_moloco.buffers.url import public_url
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.engine.engine import Partner
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.answers import with_ambiguity
from amplitude_moloco.partner.checks import one_of
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.partner.sources import Source, parts_of, read_sources
from amplitude_moloco.text import shown
from amplitude_moloco.transports.base import Endpoint

if TYPE_CHECKING:
    from amplitude_moloco.files.loading import Shape

_APP_TOKEN = re.compile(r"[0-9A-Za-z]{12}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")


@hides_arguments
@dataclass(frozen=True)
class AdjustSettings(DeliverySettings):
    """What a destination is made of: the arguments of :class:`AdjustDestination`.

    Checked once constructed, but nothing is opened. The repr does not show the token. It also takes
    the arguments ``buffer``, ``flush_queue_size`` and so on, with the meaning and the defaults that
    :class:`MolocoSettings` documents, but for ``deliver``.

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
        consent: The same for what the device's user allows: ``att_status`` (0 to 3, of iOS) or
            ``tracking_enabled`` (0 or 1). What the app does not know is not sent, and never both.

    Raises:
        ConfigurationError: Settings can't work; the text says of each what to use instead.
    """

    lists = "events", "hooks"

    app_token: str | Mapping[str, str]
    events: AdjustEvent | Iterable[AdjustEvent]
    _: KW_ONLY
    environment: str
    token: str | None = field(default=None, repr=False)
    base_url: str | None = None
    on_ambiguous: str = "retry"
    default_currency: str | None = None
    identifiers: Mapping[str, Source] | None = None
    consent: Mapping[str, Source] | None = None

    @classmethod
    def _shape(cls) -> Shape:
        from amplitude_moloco.adjust.file import SHAPE  # needs the extra "config"

        return SHAPE

    def endpoint(self) -> Endpoint:
        """Returns Adjust's address and headers."""
        return endpoint(token=self.token, base_url=self.base_url)

    def converter(self) -> Converter:
        """Returns a converter of Amplitude events to Adjust's form. Safe from any thread."""
        checks = Checks()
        events = checks.run(
            parts_of, AdjustEvent, self.events, "AdjustEvent('Order Completed', 'abc123')"
        )
        app = App(
            checks.run(_app_tokens_of, self.app_token),
            checks.run(one_of, "environment", self.environment, ("sandbox", "production")),
            checks.run(_currency_of, self.default_currency),
            checks.run(_reads_of, "identifiers", self.identifiers, IDENTIFIERS),
            checks.run(_reads_of, "consent", self.consent, CONSENT),
        )
        checks.raise_errors()
        return Converter(events, app)

    def partner(self) -> Partner:
        """Returns what the engine needs to know of Adjust."""
        classify = with_ambiguity(self.on_ambiguous, Classifier())
        names = "the S2S token, the app token or the address"
        barrier = Barrier()
        return Partner("Adjust", names, classify, why_not=barrier.why_not, refused=barrier.refused)

    def chosen_buffer(self) -> str | BufferFactory:
        """Returns what ``buffer`` chooses; not Redis, which keeps no order."""
        if isinstance(self.buffer, str) and is_redis(self.buffer):
            raise ConfigurationError(
                f"buffer: found {shown(public_url(self.buffer))}; Redis can't keep each device's "
                f"events in order; use memory:// or a file, as in sqlite:///adjust.db"
            )
        return super().chosen_buffer()


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


def _reads_of(setting: str, found: object, known: Iterable[str]) -> dict[str, Read]:
    """Returns how to read values of events by these names of Adjust's."""
    found = {} if found is None else found
    if isinstance(found, Mapping):
        wrong = [name for name in found if name not in known]
        if not wrong:
            return read_sources(setting, found)
    else:
        wrong = [found]
    raise ConfigurationError(
        f"{setting}: found {shown(wrong[0])}; use a dict with names such as {', '.join(known)}"
    )
