"""Tracking links with Moloco's macros, and postbacks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.links import (
    MOLOCO_PARAMETERS,
    check_link,
    parse_postback,
    postback_template,
    tracking_link,
)

QUERY = (
    "campaign={{campaign.title}}&adgroup={{publisher.bundle}}&creative={{creative.cr_id}}"
    "&idfa={{device.idfa}}&gps_adid={{device.gaid}}&impression_id={{request.id}}"
    "&molo_click_id={{mtid}}&cost_type={{price.cost_type}}&cost_amount={{price.cost_amount}}"
    "&cost_currency={{price.cost_currency}}"
)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("click", "https://app.adjust.com/abc123?"),
        ("view", "https://view.adjust.com/impression/abc123?"),
    ],
)
def test_adjusts_links_have_molocos_macros(kind: str, start: str) -> None:
    """A click and a view link of Adjust have addresses of their own, and all of Moloco's macros."""
    link = tracking_link("adjust", kind, "abc123")
    assert link == start + QUERY
    assert check_link(link) == []


def test_parameters_are_added_and_left_out() -> None:
    """Parameters can be added, replaced and left out; macros stay, and the rest is encoded."""
    more = dict.fromkeys(MOLOCO_PARAMETERS) | {"label": "a b&{{mtid}}/", "rt": "0"}
    assert tracking_link("adjust", "click", "abc123", parameters=more) == (
        "https://app.adjust.com/abc123?label=a%20b%26{{mtid}}%2F&rt=0"
    )
    more.update(label=None, rt=None)
    assert tracking_link("adjust", "click", "abc123", parameters=more) == (
        "https://app.adjust.com/abc123"
    )


def test_adbrix_links_have_what_is_given() -> None:
    """A click link of Adbrix has the app's key, the tracker and the parameters that are given."""
    link = tracking_link(
        "adbrix", "click", "t1", app_key="key1", parameters={"m_adid": "{{device.gaid}}"}
    )
    assert link == "https://key1.adtouch.adbrix.io/api/v1/click/t1?m_adid={{device.gaid}}"
    assert check_link(link) == []


@pytest.mark.parametrize(
    ("arguments", "more", "place"),
    [
        (("adjust", "tap", "abc123"), {}, "kind"),
        (("adjust", "click", "abc"), {}, "tracker"),
        (("other", "click", "abc123"), {}, "partner"),
        (("adbrix", "view", "t1"), {"app_key": "k"}, "kind"),
        (("adbrix", "click", "t1"), {}, "app_key"),
        (("adbrix", "click", "t/1"), {"app_key": "k"}, "tracker"),
    ],
)
def test_what_can_be_no_link_is_refused(arguments: Any, more: Any, place: str) -> None:
    """A link that can't work is refused, and the argument named."""
    with pytest.raises(ConfigurationError, match=f"^{place}: "):
        tracking_link(*arguments, **more)


@pytest.mark.parametrize(
    ("url", "places"),
    [
        (f"http://app.adjust.com/abc123?{QUERY}", ["scheme"]),
        (f"https://s2s.adjust.com/abc123?{QUERY}", ["host"]),
        (f"https://app.adjust.com:444/abc123?{QUERY}", ["host"]),
        (f"https://me@app.adjust.com/abc123?{QUERY}", ["host"]),
        (f"https://app.adjust.com.evil.test/abc123?{QUERY}", ["host"]),
        *((f"https://app.adjust.{end}/abc123?{QUERY}", []) for end in ("io", "world", "net.in")),
        (f"https://view.adjust.world/impression/abc123?{QUERY}", []),
        (f"https://app.adjust.org/abc123?{QUERY}", ["host"]),
        (f"https://app.adjust.com/abc?{QUERY}", ["path"]),
        (f"https://app.adjust.com/impression/abc123?{QUERY}", ["path"]),
        (f"https://view.adjust.com/abc123?{QUERY}", ["path"]),
        (f"https://app.adjust.com/abc123?{QUERY}&label={{{{nothing}}}}", ["label"]),
        (f"https://app.adjust.com/abc123?{QUERY}&label=%25%7Bx%7D", ["label"]),
        (f"https://app.adjust.com/abc123?{QUERY}&label=", ["label"]),
        (f"https://app.adjust.com/abc123?{QUERY}&idfa=x", ["idfa"]),
        ("https://app.adjust.com/abc123", list(MOLOCO_PARAMETERS)),
        ("https://k.adtouch.adbrix.io/api/v1/view/t1", ["path"]),
        ("https://k.adtouch.adbrix.io/api/v1/click/t1?campaign=x", ["campaign"]),
        ("https://k.adtouch.adbrix.io/api/v1/click/t1?m_play_percent=50&cb_5=x&m_ad=y", []),
        ("https://[", ["url"]),
    ],
)
def test_each_problem_of_a_link_is_named(url: str, places: list[str]) -> None:
    """Each problem names the part of the link, what was found, and what to use instead."""
    problems = check_link(url)
    assert [each.place for each in problems] == places
    assert all(str(each).startswith(f"{each.place}: found ") for each in problems)


def test_what_is_required_is_a_setting() -> None:
    """Which parameters a link needs can be set."""
    assert check_link("https://app.adjust.com/abc123", required=()) == []
    (missing,) = check_link("https://app.adjust.com/abc123", required=["label"])
    assert str(missing) == "label: found nothing; add label=a value"


@given(st.text())
def test_any_text_is_checked(text: str) -> None:
    """Whatever is checked, the answer is a list of problems."""
    assert check_link(text)


# -- postbacks -------------------------------------------------------------------------------------


def test_a_postback_is_read() -> None:
    """A postback gives its activity and identifiers; what was not filled in is absent."""
    template = postback_template("https://shop.test/postback")
    assert "&event_name={event_name}&" in template
    url = (
        "https://shop.test/postback?activity_kind=event&network_name=moloco&idfa=A&idfv={idfv}"
        "&adid=&partner_parameters=%7B%22item_id%22%3A%22%5B1%5D%22%7D"
    )
    found = parse_postback(url)
    assert (found.activity_kind, found.is_organic) == ("event", False)
    assert found.identifiers == {"idfa": "A"}
    assert found.partner_parameters == {"item_id": "[1]"}


@pytest.mark.parametrize("query", ["is_organic=1", "network_name=Organic"])
def test_organic_activities_are_known(query: str) -> None:
    """An activity that is attributed to nothing says so, by its flag or its network."""
    found = parse_postback(query)
    assert found.is_organic
    assert (found.activity_kind, found.partner_parameters) == ("", {})


def test_partner_parameters_are_an_object() -> None:
    """What is no JSON object has no parameters."""
    assert parse_postback("partner_parameters=[1]").partner_parameters == {}


def test_names_may_be_chosen() -> None:
    """Each parameter of a template has the placeholder that is chosen for it."""
    names = {"event type": "event_name"}
    assert (
        postback_template("https://x.test/", names) == "https://x.test/?event%20type={event_name}"
    )
    with pytest.raises(ConfigurationError, match=r"^names: "):
        postback_template("https://x.test/", {"a": "{event_name}"})


def test_a_template_may_have_adbrix_macros() -> None:
    """Adbrix's macros stand in a template as they are, and count as absent if not filled in."""
    names = {"id": "a_key", "event": "req.evt.event_name"}
    template = postback_template("https://x.test/", names)
    assert template == "https://x.test/?id={a_key}&event={req.evt.event_name}"
    assert parse_postback(template).values == {}
    filled = template.replace("{req.evt.event_name}", "abx:purchase")
    assert parse_postback(filled).values == {"event": "abx:purchase"}


@pytest.mark.parametrize("url", ["http://x.test", "https://", "https://x.test?a=1", "https://x#a"])
def test_a_template_needs_https(url: str) -> None:
    """Postbacks go to https, and the template's address has no query."""
    with pytest.raises(ConfigurationError, match=r"^base_url: "):
        postback_template(url)
