"""What the command ``backfill`` tells machines: its plan and its result as JSON has them."""

from __future__ import annotations

from typing import Any

from amplitude_moloco.history.backfill import Result
from amplitude_moloco.history.plan import Plan


def plan_data(plan: Plan, rate: float) -> dict[str, Any]:
    """Returns a plan for ``json.dumps``."""
    return {
        "read": plan.read,
        "unselected": plan.unselected,
        "to_send": dict(plan.to_send),
        "invalid": [
            {"sync": sync, "problem": code, "events": events, "first": plan.problems[sync, code]}
            for (sync, code), events in plan.invalid.most_common()
        ],
        "duplicates": plan.duplicates,
        "left_out": {str(reason): events for reason, events in plan.left_out.items()},
        "unreadable": plan.unreadable,
        "first_millis": plan.first_millis,
        "last_millis": plan.last_millis,
        "seconds": plan.seconds(rate),
    }


def result_data(result: Result, url: str) -> dict[str, Any]:
    """Returns a result for ``json.dumps``. Refused events are named, one by one."""
    return {
        "target": url,
        "outcomes": [
            {**ended._asdict(), "events": events, "first": result.first_places[ended]}
            for ended, events in sorted(result.counts.items())
        ],
        "refused": [refusal._asdict() for refusal in result.refusals],
    }
