"""gunicorn reads this file in the folder where it starts."""

bind = "127.0.0.1:8000"
workers = 2

# Loads the app once, before it forks the workers. Each worker has threads, connections and events
# of its own, and all of them share the file of the buffer.
preload_app = True

# Seconds for a worker to end in. It needs more than shutdown_timeout_seconds, which is 5.
graceful_timeout = 30


def worker_exit(server: object, worker: object) -> None:
    """Send what waits, Amplitude's events too: its SDK can't at exit on Python 3.12."""
    from app import client  # the app is loaded by now, not when this file is read

    client.shutdown()
