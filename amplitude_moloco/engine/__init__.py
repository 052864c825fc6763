"""Moves opaque entries from a buffer to a server. Knows no partner and no backend."""
