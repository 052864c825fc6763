"""The durable buffer: a SQLite file that processes may share."""
