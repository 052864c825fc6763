"""When an event that MCM could not take is sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import random

from amplitude_moloco.errors import ConfigurationError

_MAX_ASKED_SECONDS = 3600.0


def is_positive(value: object) -> bool:
    """Whether this is a finite number above 0: a time that one can wait, a rate, a count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < inf


@dataclass(frozen=True)
class RetrySchedule:
    """Moloco's schedule: after 5, 10, 20, 40 and 80 seconds, then every 15 minutes. Pure.

    The jitter only lengthens a delay: Moloco asks for at least five seconds.
    """

    delays_seconds: tuple[float, ...] = (5, 10, 20, 40, 80)
    then_seconds: float = 900
    max_attempts: int = 10
    """So many failures while other events pass, and the event is given up as ``exhausted``."""
    max_age_seconds: float | None = 7 * 24 * 3600
    """At this age, an event that fails is given up as ``expired``; None: never."""
    jitter: float = 0.1
    """The longest addition to a delay, as a part of it."""
    random: Callable[[], float] = field(default=random, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not all(map(is_positive, (*self.delays_seconds, self.then_seconds))):
            raise ConfigurationError("retry: every delay must be a number of seconds above 0")
        if self.max_age_seconds is not None and not is_positive(self.max_age_seconds):
            raise ConfigurationError("retry: max_age_seconds must be above 0, or None for ever")
        if not is_positive(self.max_attempts) or not (self.jitter == 0 or is_positive(self.jitter)):
            raise ConfigurationError("retry: max_attempts must be at least 1, jitter at least 0")

    @property
    def longest_delay_seconds(self) -> float:
        """No delay is longer."""
        longest = max(*self.delays_seconds, self.then_seconds, _MAX_ASKED_SECONDS)
        return longest * (1 + self.jitter)

    def delay_seconds(self, attempts: int, asked_seconds: float = 0.0) -> float:
        """How long to wait after ``attempts`` failed ones.

        ``asked_seconds`` is what MCM's Retry-After says. Beyond an hour it is not believed.
        """
        position = attempts - 1
        delay = (
            self.delays_seconds[position]
            if position < len(self.delays_seconds)
            else self.then_seconds
        )
        asked = min(asked_seconds, _MAX_ASKED_SECONDS)
        return max(delay, asked) * (1 + self.jitter * self.random())

    def gives_up(self, strikes: int, age_seconds: float) -> str | None:
        """Why an event is not tried again, ``exhausted`` or ``expired``; None if it is.

        ``strikes`` are the failures while other events passed. An outage is nobody's strike: it
        costs time, and no event.
        """
        if strikes >= self.max_attempts:
            return "exhausted"
        if self.max_age_seconds is not None and age_seconds >= self.max_age_seconds:
            return "expired"
        return None
