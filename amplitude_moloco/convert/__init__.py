"""What partners share in converting an event."""
