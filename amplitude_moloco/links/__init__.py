"""Tracking links with Moloco's macros, and the postbacks that come of them.

The names below are public, and experimental: they may change in any release.
"""

from amplitude_moloco.links.postback import Postback, parse_postback, postback_template
from amplitude_moloco.links.tracking import (
    MOLOCO_PARAMETERS,
    LinkProblem,
    check_link,
    tracking_link,
)

__all__ = [
    "MOLOCO_PARAMETERS",
    "LinkProblem",
    "Postback",
    "check_link",
    "parse_postback",
    "postback_template",
    "tracking_link",
]
