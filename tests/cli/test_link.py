"""``amplitude-moloco link``."""

from __future__ import annotations

from support.cli import run

from amplitude_moloco.links import tracking_link


def test_a_link_is_built() -> None:
    """The command prints the link that the function returns."""
    done = run("link", "build", "adjust", "click", "abc123")
    assert (done.code, done.out) == (0, tracking_link("adjust", "click", "abc123") + "\n")


def test_parameters_are_added_and_left_out() -> None:
    """A parameter with a value is added, and one without is left out."""
    more = ("--parameter", "m_ad=x y", "--parameter", "m_adid=")
    done = run("link", "build", "adbrix", "click", "t1", "--app-key", "k", *more)
    assert done.out == "https://k.adtouch.adbrix.io/api/v1/click/t1?m_ad=x%20y\n"


def test_what_can_be_no_link_is_refused() -> None:
    """Arguments that can't be a link's end the command with 2, and are named."""
    assert run("link", "build", "adjust", "tap", "abc123").code == 2
    done = run("link", "build", "adjust", "click", "abc123", "--parameter", "x")
    assert (done.code, "--parameter: found 'x'" in done.err) == (2, True)


def test_a_link_is_checked() -> None:
    """A sound link ends the command with 0."""
    done = run("link", "check", tracking_link("adjust", "view", "abc123"))
    assert (done.code, done.out) == (0, "Nothing is wrong with this link.\n")


def test_problems_are_printed() -> None:
    """Each problem of a link is a line, and the command ends with 1."""
    link = tracking_link("adjust", "view", "abc123").replace("https", "http")
    done = run("link", "check", link)
    assert (done.code, done.out) == (1, "- scheme: found 'http'; use https\n")
    as_json = run("link", "check", link, "--json")
    assert (as_json.code, as_json.json) == (
        1,
        [{"place": "scheme", "found": "'http'", "fix": "use https"}],
    )
