"""What a user configures: which Amplitude events are sent, and under which name of Adbrix."""

from __future__ import annotations

from typing import Any

from amplitude_moloco.convert.names import matcher
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.sources import Source, check_name, read_predicate, read_source
from amplitude_moloco.text import shown


class AdbrixEvent:
    """Amplitude events of this name are sent under this name of Adbrix.

    Args:
        event: The name of Amplitude events; ``*`` stands for any text.
        name: The name of the event at Adbrix, such as ``abx:purchase``, or one of your own.
        where: Only events for which it is true are sent.
        order_id, order_sales, payment_method, discount: The attributes of an order. Nothing is sent
            without an expression.
        items: The items, each a dict with attributes such as ``product_id``, ``price`` and
            ``quantity``.

    Expressions are JMESPath over the event, or callables that get it. Callables run in the app's
    thread, inside ``track()``. They must be quick, and must not track events. Immutable.

    Raises:
        ConfigurationError: A name that can't be, or an expression that doesn't compile.
    """

    def __init__(
        self,
        event: str,
        name: str,
        *,
        where: Source | None = None,
        order_id: Source | None = None,
        order_sales: Source | None = None,
        payment_method: Source | None = None,
        discount: Source | None = None,
        items: Source | None = None,
    ) -> None:
        checks = Checks()
        checks.run(check_name, event)
        checks.run(_check_adbrix_name, name)
        self._where = checks.run(read_predicate, where)
        attributes = {
            "order_id": order_id,
            "order_sales": order_sales,
            "payment_method": payment_method,
            "discount": discount,
            "items": items,
        }
        reads = {place: checks.run(read_source, place, each) for place, each in attributes.items()}
        checks.raise_errors()
        self.event, self.adbrix_name, self.where = event, name, where
        self.attributes = {place: each for place, each in reads.items() if each is not None}
        self.matches_name = matcher([event])
        self.name = f"{event} ({name})"
        """What facts, previews and problems call it."""
        self.enabled = True

    def __repr__(self) -> str:
        return f"AdbrixEvent({self.event!r}, {self.adbrix_name!r})"

    def selects(self, event: Any) -> bool:
        """Whether to send an event whose name matches. Raises what the user's callable raises."""
        return bool(self._where(event))


def _check_adbrix_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(
            f"name: found {shown(name)}; use the event's name at Adbrix, such as 'abx:purchase'"
        )
