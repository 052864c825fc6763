"""How the command ``fetch`` shows its progress: a bar on a terminal, or a line for each file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from amplitude_moloco.history.hours import Hours

if TYPE_CHECKING:
    from typing_extensions import Self


class PlainView(AbstractContextManager["PlainView"]):
    """Prints one line for each file and each wait, for logs and pipes."""

    def __init__(self, console: Console, hours: Hours, present: int) -> None:
        self._console = console
        self._total = hours.total
        self._done = present
        self._size = 0
        if present:
            self._print(f"{present:,} of {hours.total:,} hours are there already")

    def received(self, size: int) -> None:
        self._size += size

    def saved(self, hours: Hours, *, has_data: bool) -> None:
        self._done += hours.total
        found = decimal(self._size) if has_data else "no data"
        self._print(f"{hours}: {found} ({self._done:,} of {self._total:,} hours)")
        self._size = 0

    def split(self, hours: Hours, message: str) -> None:
        self._print(f"{hours}: too much for one request, so in parts ({message})")

    def waiting(self, seconds: float, cause: str) -> None:
        self._size = 0
        self._print(f"{cause}; next attempt in {seconds:.0f} s")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to end: each line stands for itself."""

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


class TerminalView(PlainView):
    """Shows a bar with the hours, what is received and the time that is left."""

    def __init__(self, console: Console, hours: Hours, present: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("hours"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", total=hours.total, completed=present)
        super().__init__(self._progress.console, hours, present)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def received(self, size: int) -> None:
        super().received(size)
        self._progress.update(self._task, description=decimal(self._size))

    def saved(self, hours: Hours, *, has_data: bool) -> None:
        self._size = 0
        self._done += hours.total
        self._progress.update(self._task, completed=self._done, description="")


def view_of(console: Console, hours: Hours, present: int) -> PlainView:
    """Returns the view that fits: a bar needs a terminal."""
    kind = TerminalView if console.is_terminal else PlainView
    return kind(console, hours, present)
