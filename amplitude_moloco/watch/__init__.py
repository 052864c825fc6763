"""The live page of a running app: what its destination does with each event. Off by default."""
