"""The MMP's answers to sessions, events and touches. Pure."""

from __future__ import annotations

from amplitude_moloco.sandbox.answers import Answer
from amplitude_moloco.sandbox.faults import Fault
from amplitude_moloco.sandbox.mmp.activity import Activity
from amplitude_moloco.sandbox.mmp.form import TOKEN_WARNINGS
from amplitude_moloco.sandbox.mmp.touch import Touch

_SESSION_GAP_SECONDS = 20 * 60


def accepted(activity: Activity) -> Answer:
    """Returns the answer to an accepted session or event: 202 if its token was not right."""
    status = 202 if set(TOKEN_WARNINGS) & set(activity.warnings) else 200
    if activity.kind == "event":
        return Answer(status, {"status": "OK"})
    is_install = activity.kind == "install"
    body = {
        "app_token": activity.parameters["app_token"],
        "adid": activity.adid,
        "timestamp": str(int(activity.at)),
        "message": "Install tracked" if is_install else "Session tracked",
        "ask_in": _SESSION_GAP_SECONDS * 1000,
    }
    return Answer(status, body)


def touched(touch: Touch) -> Answer:
    """Returns the answer to a click or a view."""
    body = {
        "message": f"{touch.kind} recorded",
        "number": touch.number,
        "partner": touch.partner,
        "unfilled": list(touch.unfilled),
        **({"reftag": touch.reftag} if touch.reftag else {}),
    }
    return Answer(200, body)


def refused(what: str, status: int, message: str) -> Answer:
    """Returns a refusal in Adjust's form. ``what`` is Event, Session, Click or Impression."""
    return Answer(status, {"error": f"{what} request failed ({message})"}, message)


def faulty(what: str, fault: Fault) -> Answer:
    """Returns the answer to a request that gets a fault."""
    message = "a fault was requested"
    body = {"error": f"{what} request failed ({message})"}
    return Answer(fault.status, body, message, fault.retry_after)
