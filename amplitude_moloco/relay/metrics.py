"""The page of metrics, where the client library of Prometheus is installed."""

from __future__ import annotations

from collections.abc import Callable

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.metrics.reading import Source


def metrics_page(source: Source) -> Callable[[], tuple[bytes, str]] | None:
    """Returns what makes the page, and its media type; None without the client library."""
    try:
        from amplitude_moloco.metrics.prometheus import page_of  # an extra
    except ConfigurationError:
        return None
    return page_of(source)
