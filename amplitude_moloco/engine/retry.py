"""When an event whose attempt failed is sent again."""

from __future__ import annotations

from dataclasses import dataclass

from amplitude_moloco.engine.checks import is_count, is_positive
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DeadLetterReason

_MAX_ASKED_SECONDS = 3600.0


@dataclass(frozen=True)
class RetrySchedule:
    """After 5, 10, 20, 40 and 80 seconds, then every 15 minutes. Pure.

    Jitter only lengthens a delay: five seconds are the least that the server is given.
    """

    delays_seconds: tuple[float, ...] = (5, 10, 20, 40, 80)
    then_seconds: float = 900
    max_attempts: int = 10
    """An event that fails this often, while other events pass, is given up as ``exhausted``."""
    max_age_seconds: float | None = 7 * 24 * 3600
    """An event that fails at this age is given up as ``expired``. None: never."""
    jitter: float = 0.1
    """The longest addition to a delay, as a fraction of it."""

    def __post_init__(self) -> None:
        with refusing_unreadable(vars(self)):
            self._check()

    def _check(self) -> None:
        errors = []
        is_list = isinstance(self.delays_seconds, (tuple, list))
        if not is_list:
            errors.append("retry: delays_seconds must be a tuple of seconds")
        delays = (*(self.delays_seconds if is_list else ()), self.then_seconds)
        if not all(map(is_positive, delays)):
            errors.append("retry: every delay must be a number of seconds above 0")
        if self.max_age_seconds is not None and not is_positive(self.max_age_seconds):
            errors.append("retry: max_age_seconds must be above 0, or None for no limit")
        if not is_count(self.max_attempts) or not (self.jitter == 0 or is_positive(self.jitter)):
            errors.append("retry: max_attempts must be at least 1, jitter at least 0")
        if errors:
            raise ConfigurationError(*errors)

    @property
    def longest_delay_seconds(self) -> float:
        """The upper bound of all delays."""
        longest = max(*self.delays_seconds, self.then_seconds, _MAX_ASKED_SECONDS)
        return longest * (1 + self.jitter)

    def delay_seconds(
        self, attempts: int, asked_seconds: float = 0.0, chance: float = 0.0
    ) -> float:
        """Returns the delay after ``attempts`` failed ones.

        Args:
            attempts: At least 1.
            asked_seconds: The server's ``Retry-After``. More than an hour counts as an hour.
            chance: A random number from 0 to 1, which picks the jitter.
        """
        position = attempts - 1
        delay = (
            self.delays_seconds[position]
            if position < len(self.delays_seconds)
            else self.then_seconds
        )
        asked = min(asked_seconds, _MAX_ASKED_SECONDS)
        return max(delay, asked) * (1 + self.jitter * chance)

    def gives_up(self, strikes: int, age_seconds: float) -> DeadLetterReason | None:
        """Returns why an event is not sent again; None if it is.

        ``strikes`` are failures while other events passed: an outage costs time, and no event.
        """
        if strikes >= self.max_attempts:
            return DeadLetterReason.EXHAUSTED
        if self.max_age_seconds is not None and age_seconds >= self.max_age_seconds:
            return DeadLetterReason.EXPIRED
        return None
