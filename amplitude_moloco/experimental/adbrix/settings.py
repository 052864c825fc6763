"""All settings of a destination: their names, types and defaults, and what is built from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from amplitude_moloco.arguments import hides_arguments
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.engine.engine import Partner
from amplitude_moloco.experimental.adbrix.answers import classify, error_message
from amplitude_moloco.experimental.adbrix.converter import Converter
from amplitude_moloco.experimental.adbrix.event import AdbrixEvent
from amplitude_moloco.partner.address import base_url_of, token_of
from amplitude_moloco.partner.answers import accepts, with_ambiguity
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.partner.sources import parts_of
from amplitude_moloco.transports.base import Endpoint

if TYPE_CHECKING:
    from amplitude_moloco.files.loading import Shape

BASE_URL = "https://openapi.dfinery.io"


@hides_arguments
@dataclass(frozen=True)
class AdbrixSettings(DeliverySettings):
    """What a destination is made of: the arguments of :class:`AdbrixDestination`.

    Checked once constructed, but nothing is opened. The repr does not show the token. It also takes
    the arguments ``buffer``, ``flush_queue_size`` and so on, with the meaning and the defaults that
    :class:`MolocoSettings` documents, but for ``deliver``.

    Args:
        token: The API token of DFINERY's console. The API belongs to a paid plan.
        events: One or several: which events are sent, and as what; see :class:`AdbrixEvent` and
            :func:`adbrix_commerce_events`.
        base_url: Stands in place of ``https://openapi.dfinery.io``.
        on_ambiguous: What happens to an event that Adbrix may have, or not, since no answer came:
            ``retry`` sends it again under the same ``event_id``, and it may count twice, since
            nothing says that Adbrix suppresses a copy; ``drop`` makes it a dead letter.

    Raises:
        ConfigurationError: Settings can't work; the text says of each what to use instead.
    """

    lists = "events", "hooks"

    token: str = field(repr=False)
    events: AdbrixEvent | Iterable[AdbrixEvent]
    _: KW_ONLY
    base_url: str | None = None
    on_ambiguous: str = "retry"

    @classmethod
    def _shape(cls) -> Shape:
        from amplitude_moloco.experimental.adbrix.file import SHAPE  # needs the extra "config"

        return SHAPE

    def endpoint(self) -> Endpoint:
        """Returns the address and the headers."""
        checks = Checks()
        token = checks.run(token_of, self.token, "the API token of DFINERY's console")
        base = checks.run(base_url_of, self.base_url, BASE_URL)
        checks.raise_errors()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        url = f"{base}/api/v1/events"
        return Endpoint(url, headers, token, read_error=error_message, accepts=accepts)

    def converter(self) -> Converter:
        """Returns a converter of Amplitude events to Adbrix's. Safe from any thread."""
        use = "AdbrixEvent('Order Completed', 'abx:purchase')"
        return Converter(parts_of(AdbrixEvent, self.events, use))

    def partner(self) -> Partner:
        """Returns what the engine needs to know of Adbrix."""
        classify_all = with_ambiguity(self.on_ambiguous, classify)
        return Partner("Adbrix", "the API token or the address", classify_all)
