"""What the command ``check`` prints: for people, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from amplitude_moloco.cli.settings import Loaded
from amplitude_moloco.cli.tally import Counts, Tally
from amplitude_moloco.cli.terminal import print_item, table
from amplitude_moloco.history import ExportError
from amplitude_moloco.text import one_line

_MOST_ERRORS = 5
_MOST_CAUSES = 5
_MOST_NAMES = 40


@dataclass
class Report:
    """All that was found."""

    path: str
    loaded: Loaded
    tally: Tally | None = None
    """None if there were no events to try."""
    errors: list[str] = field(default_factory=list)
    """The first lines, members and files that could not be read."""
    unreadable: int = 0
    left_out: int = 0
    hints: dict[str, str] = field(default_factory=dict)
    """Names that no sync selects, each with the configured name that it resembles."""

    def add_error(self, error: ExportError) -> None:
        """Counts something that can't be read."""
        self.unreadable += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(str(error))

    @property
    def is_refusing(self) -> bool:
        """Whether an event would be refused, or could not be read."""
        return bool(self.unreadable or (self.tally is not None and self.tally.invalid))

    # -- for people ----------------------------------------------------------------------------

    def show(self, console: Console) -> None:
        """Prints all of it."""
        self._show_settings(console)
        if self.tally is None:
            return
        self._show_reading(console, self.tally)
        if self.tally.events:
            console.print(_by_sync(self.tally))
            console.print(self._by_name(self.tally))
            self._show_causes(console, self.tally)
        if self.tally.twice:
            console.print(
                f"{self.tally.twice:,} sent twice: two syncs send the same event as one type.",
                style="yellow",
            )
        self._show_verdict(console, self.tally)

    def _show_settings(self, console: Console) -> None:
        settings, mistakes, warnings = self.loaded
        for warning in warnings:
            print_item(console, "warning: ", one_line(warning), "yellow")
        if settings is None:
            count = len(mistakes)
            console.print(
                f"{self.path}: {_plural(count, 'mistake')}", style="bold red", soft_wrap=True
            )
            for mistake in mistakes:
                print_item(console, "- ", one_line(mistake))
            return
        syncs = _plural(len(settings.converter().syncs), "sync")
        console.print(f"{self.path}: no mistakes", style="bold green", soft_wrap=True)
        console.print(f"{syncs}, to {one_line(settings.endpoint().url)}", soft_wrap=True)

    def _show_reading(self, console: Console, tally: Tally) -> None:
        line = f"\n{_plural(tally.events, 'event')} read"
        if self.left_out:
            line += f", {self.left_out:,} never sent, such as $identify"
        console.print(f"{line}.")
        if self.unreadable:
            console.print(f"{self.unreadable:,} can't be read:", style="red")
            for error in self.errors:
                print_item(console, "- ", error)
            if self.unreadable > len(self.errors):
                console.print("- …")

    def _by_name(self, tally: Tally) -> Table:
        made = table("Event", "sent", "left out", "invalid", "not selected")
        by_size = sorted(tally.names.items(), key=lambda item: -_total(item[1]))
        for name, counts in by_size[:_MOST_NAMES]:
            cell = Text(one_line(name))
            for cause in counts.top(2):
                cell.append(f"\n  {one_line(cause.code)} ({cause.count:,})", style="dim")
            if name in self.hints:
                cell.append(f"\n  did you mean {one_line(self.hints[name])!r}?", style="yellow")
            made.add_row(cell, *_cells(counts, counts.unselected))
        if len(by_size) > _MOST_NAMES:
            made.add_row(f"… and {len(by_size) - _MOST_NAMES:,} names more")
        return made

    def _show_causes(self, console: Console, tally: Tally) -> None:
        for name, counts in tally.syncs:
            for cause in counts.top(_MOST_CAUSES):
                what = "invalid" if cause.is_invalid else "sent without a part"
                title = Text.assemble(
                    (one_line(name), "bold"), f", {what}: {_plural(cause.count, 'event')}"
                )
                console.print(title)
                print_item(console, "  ", one_line(cause.text), "red" if cause.is_invalid else "")
                print_item(console, "  first: ", cause.place, "dim")

    def _show_verdict(self, console: Console, tally: Tally) -> None:
        if self.is_refusing:
            refused = f"{_plural(tally.invalid, 'event')} would be refused"
            unread = f", and {self.unreadable:,} can't be read" if self.unreadable else ""
            console.print(f"{refused}{unread}.", style="bold red")
        else:
            console.print("No event would be refused.", style="bold green")

    # -- for programs --------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """Returns all of it as plain data."""
        report: dict[str, Any] = {
            "config": self.path,
            "mistakes": [*self.loaded.mistakes],
            "warnings": [*self.loaded.warnings],
        }
        tally = self.tally
        if tally is None:
            return report
        return report | {
            "events": tally.events,
            "invalid": tally.invalid,
            "unreadable": self.unreadable,
            "errors": self.errors,
            "never_sent": self.left_out,
            "sent_twice": tally.twice,
            "syncs": [
                {"sync": name, **_plain(counts, tally.unselected_by(counts))}
                for name, counts in tally.syncs
            ],
            "event_types": [
                {
                    "event_type": name,
                    **_plain(counts, counts.unselected),
                    "did_you_mean": self.hints.get(name),
                }
                for name, counts in tally.names.items()
            ],
        }


def _by_sync(tally: Tally) -> Table:
    made = table("Sync", "sent", "left out", "invalid", "filtered", "not selected")
    for name, counts in tally.syncs:
        cells = _cells(counts, tally.unselected_by(counts) - counts.filtered)
        made.add_row(one_line(name), *cells[:3], f"{counts.filtered:,}", cells[3])
    return made


def _cells(counts: Counts, unselected: int) -> tuple[str, str, str, str]:
    numbers = counts.sent, counts.trimmed, counts.invalid, unselected
    sent, trimmed, invalid, rest = (f"{number:,}" for number in numbers)
    return sent, trimmed, invalid, rest


def _plain(counts: Counts, unselected: int) -> dict[str, Any]:
    return {
        "sent": counts.sent,
        "left_out": counts.trimmed,
        "invalid": counts.invalid,
        "not_selected": unselected,
        "filtered": counts.filtered,
        "causes": [vars(cause) for cause in counts.top(len(counts.causes))],
    }


def _total(counts: Counts) -> int:
    return counts.sent + counts.invalid + counts.unselected


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
