"""Celery's settings. A folder is the broker here; in production: ``broker_url = "redis://…"``."""

from pathlib import Path

_folder = Path("queue")
_folder.mkdir(exist_ok=True)

broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": str(_folder),
    "data_folder_out": str(_folder),
    "control_folder": str(_folder),
}
task_ignore_result = True
