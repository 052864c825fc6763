"""What partners share when they convert an event: expressions, conversions and problems."""
