"""Opens a durable buffer to look at it, and to change its dead letters, while the app runs."""

from __future__ import annotations

from amplitude_moloco.buffers.contents import BufferReader
from amplitude_moloco.buffers.redis.address import is_redis
from amplitude_moloco.buffers.url import file_of, redis_address, redis_needed
from amplitude_moloco.errors import ConfigurationError


def open_reader(buffer: str) -> BufferReader:
    """Returns a reader for the URL of a buffer, or the path of a file.

    Raises ConfigurationError if there is no buffer, or what reads it is not installed, and OSError
    or sqlite3.Error if it can't be read.
    """
    if is_redis(buffer):
        address = redis_address(buffer)
        try:  # it belongs to an extra
            from amplitude_moloco.buffers.redis.reader import RedisReader
        except ImportError as error:
            raise redis_needed(address, error) from error
        return RedisReader(address)
    path = file_of(buffer)
    try:  # not every system has fcntl, not every Python has sqlite3
        from amplitude_moloco.buffers.sqlite.reader import SqliteReader
    except ImportError as error:
        raise ConfigurationError(f"buffer: can't be read on this system ({error})") from error
    return SqliteReader(path)
