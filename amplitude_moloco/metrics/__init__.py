"""Metrics of a destination: for Prometheus (``prometheus.py``) and OpenTelemetry (``otel.py``)."""
