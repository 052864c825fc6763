"""gunicorn reads this file in the folder where it starts."""

bind = "127.0.0.1:8000"
workers = 2

# Seconds for a worker to end in. It needs more than shutdown_timeout_seconds, which is 5.
graceful_timeout = 30
