"""Writes to the log what repeats: summed up every few minutes, and once more at the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.log_fields import fields
from amplitude_moloco.engine.reports import report
from amplitude_moloco.engine.summary import SLACK_SECONDS, Sum, Summary
from amplitude_moloco.text import keep_record_on_one_line

logger = logging.getLogger(__name__)
logger.addFilter(keep_record_on_one_line)  # the names of syncs and the server's message

_MOST_LINES = 20
_MESSAGES: Mapping[str, tuple[int, str]] = {
    "invalid": (logging.WARNING, "%s invalid: %s (in %s)"),
    "dead": (logging.WARNING, "%s dead-lettered: %s (in %s)"),
    "dropped": (logging.WARNING, "%s dropped: %s (in %s)"),
    "failed": (logging.WARNING, "%s failed: %s (in %s)"),
    "trimmed": (logging.INFO, "%s sent without a part: %s (in %s)"),
}


class Reporter:
    """Writes summaries. A chore of the ledger's. Never raises.

    Args:
        server: The name of the partner's server, as log lines call it.
        summary: What has been counted.
        delivers: Whether this process delivers. Otherwise the totals have what it handed on.
    """

    def __init__(self, server: str, summary: Summary, *, delivers: bool = True) -> None:
        self._server = server
        self._summary = summary
        self._delivers = delivers

    def run(self) -> None:
        """Write the summary if it is due: a line for each kind, the most frequent first."""
        if self._summary.due_seconds() <= SLACK_SECONDS:
            self._write()

    def due_seconds(self) -> float:
        """Returns the seconds until a summary is due; infinity if there is nothing to sum up."""
        return self._summary.due_seconds()

    def write_last(self, stats: Stats) -> None:
        """Write what was not summed up yet, and a line with the totals of this process.

        The totals are info if they show more than deliveries, and debug otherwise.
        """
        self._write()
        totals = _totals(stats)
        if not self._delivers:
            totals = {"handed_on": stats.handed_on, **totals}
        counted = {what: count for what, count in totals.items() if count}
        if counted:
            is_fine = counted.keys() <= {"delivered", "handed_on"}
            said = ", ".join(
                f"{count:,} {what.replace('_', ' ')}" for what, count in counted.items()
            )
            level = logging.DEBUG if is_fine else logging.INFO
            message = "Events of this process for %s: %s"
            report(logger, level, message, self._server, said, extra=fields(**totals))

    def _write(self) -> None:
        seconds, sums = self._summary.take()
        for each in sums[:_MOST_LINES]:
            self._write_line(each, _in_words(seconds))
        rest = sum(each.count for each in sums[_MOST_LINES:])
        if rest:
            message = "%d more of %d other kinds (in %s)"
            kinds = len(sums) - _MOST_LINES
            extra = fields(count=rest)
            report(logger, logging.WARNING, message, rest, kinds, _in_words(seconds), extra=extra)

    def _write_line(self, each: Sum, span: str) -> None:
        what, sync, reason = each.kind
        level, message = _MESSAGES[what]
        noun = "event" if each.count == 1 else "events"
        counted = f"{each.count:,} {sync} {noun}"
        if what == "failed":
            counted = f"{each.count:,} more {'attempt' if each.count == 1 else 'attempts'}"
        said = each.detail if what == "failed" else ", ".join(filter(None, (reason, each.detail)))
        extra = fields(sync=sync or None, reason=str(reason), status=each.status, count=each.count)
        report(logger, level, message, counted, said, span, extra=extra)


def _totals(stats: Stats) -> dict[str, int]:
    """Returns the sums of the counters, under the names that the log shows."""
    return {
        "delivered": stats.delivered,
        "invalid": sum(stats.invalid.values()),
        "dead_lettered": sum(stats.dead_lettered.values()),
        "dropped": sum(stats.dropped.values()),
        "retried": stats.retried,
        "trimmed": sum(stats.trimmed.values()),
        "left_out_by_filters": sum(stats.filtered.values()),
        "selected_by_no_sync": sum(stats.unselected.values()),
    }


def _in_words(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "1 second"
