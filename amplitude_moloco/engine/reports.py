"""Log lines whose failure changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from amplitude_moloco.host.interruption import raise_if_apps


def report(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    error: BaseException | None = None,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Log a line, with the traceback of an error, and with data in fields of the record.

    Raises nothing but what is the app's.

    A handler of the app's log may raise anything. That must end no thread of an engine, and keep no
    close() from its end.
    """
    try:
        logger.log(level, message, *args, exc_info=error, stacklevel=2, extra=extra)
    except BaseException as failure:
        raise_if_apps(failure)
