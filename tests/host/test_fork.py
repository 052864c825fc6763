"""What a fork does to each part, in real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(script: str) -> list[str]:
    """Run a script that can fork. Returns the lines that its processes wrote."""
    prelude = """
import ctypes, gc, os, threading
from amplitude_moloco.host.fork import Origin, call_in_forked_child, never_free, take_part

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Part:
    def __init__(self, name):
        self.name = name

    def before_fork(self):
        tell(self.name, "before")

    def after_fork(self, *, is_child):
        tell(self.name, "child" if is_child else "parent")

    def renew(self):
        tell(self.name, "renewed")

def end_child(child):
    assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run(
        # From 3.12 on, Python warns of every fork while threads run.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", prelude + script],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_part_is_called_around_each_fork() -> None:
    """A part is called before each fork, and after it in both processes."""
    script = """
part = Part("part")
take_part(part)
for _ in range(2):
    child = os.fork()
    if not child:
        os._exit(0)
    end_child(child)
"""
    calls = run(script)
    assert [calls[0], calls[3]] == ["part before"] * 2
    assert sorted(calls[1:3]) == sorted(calls[4:]) == ["part child", "part parent"]


def test_a_part_that_is_gone_is_not_called() -> None:
    """Taking part in forks keeps no object alive."""
    script = """
gone, kept = Part("gone"), Part("kept")
take_part(gone)
take_part(kept)
call_in_forked_child(gone.renew)
del gone
gc.collect()
child = os.fork()
if not child:
    os._exit(0)
end_child(child)
"""
    assert sorted(run(script)) == ["kept before", "kept child", "kept parent"]


def test_a_method_is_called_in_a_forked_child() -> None:
    """A method that is to be called in children is called there, and not in the parent."""
    script = """
part = Part("part")
call_in_forked_child(part.renew)
child = os.fork()
if not child:
    tell("child")
    os._exit(0)
end_child(child)
tell("parent")
"""
    assert run(script) == ["part renewed", "child", "parent"]


def test_a_child_knows_that_it_is_elsewhere() -> None:
    """What was made in the parent is elsewhere in a child, also if C code forked."""
    script = """
origin = Origin()
for fork in (os.fork, ctypes.PyDLL(None).fork):
    child = fork()
    if not child:
        tell("child", origin.is_elsewhere, Origin().is_elsewhere)
        os._exit(0)
    end_child(child)
    tell("parent", origin.is_elsewhere)
"""
    assert run(script) == ["child True False", "parent False"] * 2


def test_taking_part_waits_for_a_fork() -> None:
    """While one thread forks, another one takes part only in the forks after it."""
    script = """
is_forking, is_waiting = threading.Event(), threading.Event()
late = Part("late")

class Slow(Part):
    def before_fork(self):
        if not is_forking.is_set():
            is_forking.set()
            assert is_waiting.wait(20)

    def after_fork(self, *, is_child):
        pass

def join():
    assert is_forking.wait(20)
    is_waiting.set()
    take_part(late)

slow = Slow("slow")
take_part(slow)
thread = threading.Thread(target=join)
thread.start()
child = os.fork()
if not child:
    os._exit(0)
end_child(child)
thread.join(20)
tell("joined")
child = os.fork()
if not child:
    os._exit(0)
end_child(child)
"""
    calls = run(script)
    assert calls[:2] == ["joined", "late before"]
    assert sorted(calls[2:]) == ["late child", "late parent"]


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python itself ends a child whose first hook was not called"
)
def test_a_fork_without_its_first_hook_does_no_harm() -> None:
    """A program that calls only the hooks after a fork, as uWSGI does, can fork and take part."""
    script = """
part = Part("part")
take_part(part)
child = ctypes.PyDLL(None).fork()
if not child:
    ctypes.pythonapi.PyOS_AfterFork_Child()
    take_part(Part("other"))
    os._exit(0)
end_child(child)
tell("parent")
"""
    assert run(script) == ["part child", "parent"]


def test_what_is_never_freed_is_not_finalized() -> None:
    """An object that must not be freed is not finalized, not even at the end of the process."""
    script = """
class Connection:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        tell(self.name, "closed")

own, inherited = Connection("own"), Connection("inherited")
never_free(inherited)
del own, inherited
gc.collect()
tell("end")
"""
    assert run(script) == ["own closed", "end"]


LOOK_UP = """
import socket, sys
from amplitude_moloco import MolocoDestination
known = set(sys.modules)
socket.getaddrinfo("localhost", 80)
print(sorted(set(sys.modules) - known))
"""


def test_the_first_look_up_of_a_host_imports_nothing() -> None:
    """A fork can't meet a thread that imports for it, and leave the import's lock to the child."""
    command = [sys.executable, "-c", LOOK_UP]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
