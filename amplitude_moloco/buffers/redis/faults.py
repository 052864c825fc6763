"""Why Redis can't be used now, in words."""

from __future__ import annotations

from redis import exceptions
from redis.sentinel import MasterNotFoundError

from amplitude_moloco.text import one_line


class RedisAway(OSError):
    """Redis can't be used now. The text says why, and holds no password.

    Attributes:
        is_full: Whether it has no memory for more: what is there can still be taken out.
        may_be_done: Whether the command may have been carried out: its answer was lost.
    """

    def __init__(self, why: str, *, is_full: bool = False, may_be_done: bool = False) -> None:
        super().__init__(why)
        self.is_full = is_full
        self.may_be_done = may_be_done


def away(error: Exception) -> RedisAway:
    """Returns what an exception of the client, or of its sockets, says."""
    text = one_line(error)
    # Before Redis 7, what a command in a script answers is somewhere in the text.
    if isinstance(error, exceptions.ReadOnlyError) or "-READONLY " in text:
        return RedisAway(f"it is a replica, which can't be written ({text})")
    if "NOGROUP" in text:
        return RedisAway("its streams were deleted")
    if isinstance(error, exceptions.OutOfMemoryError) or "-OOM " in text:
        why = "it has reached its maxmemory; raise that, or let it deliver what waits"
        return RedisAway(why, is_full=True)
    if _is_refused_login(error, text):
        return RedisAway(f"it refuses the user or the password ({text})")
    if isinstance(error, exceptions.NoPermissionError):
        return RedisAway(f"its user lacks a permission ({text})")
    if isinstance(error, exceptions.BusyLoadingError):
        return RedisAway("it is still loading its data")
    is_timeout = isinstance(error, (exceptions.TimeoutError, TimeoutError))
    if is_timeout:
        return RedisAway("it did not answer in time", may_be_done=True)
    if isinstance(error, MasterNotFoundError):
        text = _without_master(text)
    is_network = isinstance(error, (exceptions.ConnectionError, OSError))
    return RedisAway(text or type(error).__name__, may_be_done=is_network)


def _is_refused_login(error: Exception, text: str) -> bool:
    kinds = (exceptions.AuthenticationError, exceptions.AuthenticationWrongNumberOfArgsError)
    return isinstance(error, kinds) or text.startswith(("NOAUTH", "WRONGPASS"))


def _without_master(text: str) -> str:
    """Returns why there is no master. The client's own text holds the reprs of its objects."""
    if "AuthenticationError" in text:
        return "a Sentinel wants a login, which is not supported"
    why = "no Sentinel names a working master"
    return f"{why}; some can't be reached" if " : " in text else why
