"""The page of metrics."""

from __future__ import annotations

import subprocess
import sys

from support.metrics import home, make, values_in

from amplitude_moloco.relay.metrics import metrics_page
from amplitude_moloco.sandbox import Sandbox

# As if the client library were not installed.
WITHOUT = """
import sys
sys.modules["prometheus_client"] = None
from amplitude_moloco.relay.metrics import metrics_page
print(metrics_page(object()))
"""


def test_a_page_has_the_metrics_of_its_source(sandbox: Sandbox) -> None:
    """The page has all metrics of what it was made for, and those of the process."""
    destination = make(sandbox.url)
    make_page = metrics_page(destination)
    assert make_page is not None
    destination.execute(home("a"))
    destination.flush(60).result()
    page, media_type = make_page()
    values = values_in(page.decode())
    labels = (("destination", "moloco"), ("sync", "HOME"))
    assert values["events_delivered_total", labels] == 1
    assert values["process_resident_memory_bytes", ()] > 0
    assert media_type.startswith("text/plain")
    destination.close()


def test_without_the_client_library_there_is_no_page() -> None:
    """An extra that is missing is no error here."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "None\n"
