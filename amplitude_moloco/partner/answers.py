"""What answers have in common, whoever they come from."""

from __future__ import annotations

from typing import Final

from amplitude_moloco.engine.verdict import Classify, Verdict
from amplitude_moloco.partner.checks import one_of
from amplitude_moloco.transports.base import SendResult
from amplitude_moloco.transports.causes import was_never_sent

FROM_GATEWAYS: Final = (407, 408, 421, 425, 426)
"""Statuses of something on the way, after which a request may be repeated."""
_AMBIGUOUS = (502, 504)


def accepts(body: bytes, is_complete: bool) -> bool:
    """Returns whether the body of a 2xx may be the partner's, not a page on the way."""
    return not body.lstrip().startswith(b"<")


def with_ambiguity(on_ambiguous: str, classify: Classify) -> Classify:
    """Returns what reads results, as the setting ``on_ambiguous`` wants it.

    ``retry`` changes nothing. ``drop`` gives up an event that the partner may have although there
    is no good answer: it would count twice. Raises ConfigurationError for anything else.
    """
    if one_of("on_ambiguous", on_ambiguous, ("retry", "drop")) == "retry":
        return classify
    return lambda result: Verdict.UNKNOWN if is_ambiguous(result) else classify(result)


def is_ambiguous(result: SendResult) -> bool:
    """Returns whether the partner may have accepted the event although there is no good answer."""
    if result.status is None:
        return not was_never_sent(result)
    return result.status in _AMBIGUOUS
