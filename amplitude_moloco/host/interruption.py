"""Tells an exception of the app's signal handler from one of the code that it interrupted."""

from __future__ import annotations

from types import CodeType, FrameType, TracebackType


def is_interruption(error: BaseException) -> bool:
    """Whether a signal handler raised this, or something like one, in the midst of other code.

    What Celery's time limit or a test's timeout raises may be an ordinary Exception. It must reach
    the app, wherever it strikes. The interpreter hands a handler, and a debugger's callback, the
    frame that it interrupts, or its code: nothing else is called with that of its caller.
    """
    interrupted: FrameType | None = None
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if interrupted is not None and _was_given(frame, interrupted, interrupted.f_code):
            return True
        interrupted, traceback = frame, traceback.tb_next
    return False


def pass_interruption(error: BaseException) -> None:
    """Raise the exception again if it is an interruption. For code that goes on after others."""
    if is_interruption(error):
        raise error


def _was_given(frame: FrameType, interrupted: FrameType, code: CodeType) -> bool:
    for value in tuple(frame.f_locals.values()):
        for each in value if type(value) is tuple else (value,):
            if each is interrupted or each is code:
                return True
    return False
