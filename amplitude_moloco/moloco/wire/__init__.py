"""MCM's user event: its vocabulary, its limits, its rules and its bytes."""
