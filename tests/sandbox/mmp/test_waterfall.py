"""Which touch an install goes to: by examples, and against a second, naive reading of the rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amplitude_moloco.sandbox.mmp.decision import Decision
from amplitude_moloco.sandbox.mmp.identity import identifiers
from amplitude_moloco.sandbox.mmp.settings import DAY, HOUR, MmpSettings, Partner, Windows
from amplitude_moloco.sandbox.mmp.touch import Touch, TouchKind, touch_of
from amplitude_moloco.sandbox.mmp.waterfall import (
    History,
    Visit,
    decide_install,
    decide_reattribution,
    duration,
)

NOW = 1_800_000_000.0
GAID = "cdb11111-2222-3333-4444-555566667777"
ID: dict[str, Any] = {"gps_adid": GAID}
NETWORK: dict[str, Any] = {"ip_address": "192.0.2.1", "user_agent": "Phone/1"}
SETTINGS = MmpSettings()


def touch(
    kind: TouchKind, age: float, number: int = 1, link: str = "moloco1", **more: str
) -> Touch:
    """A touch of this age; by default with the device's advertising id."""
    partner = "Moloco" if link == "moloco1" else "Another network"
    parameters = more or ID
    return touch_of(kind, link, partner, parameters, number=number, at=NOW - age)


def install(*touches: Touch, settings: MmpSettings = SETTINGS, **more: str) -> Decision:
    """Attributes an install at ``NOW``."""
    return decide_install(visit(**more), touches, settings.window)


def visit(reftag: str = "", **more: str) -> Visit:
    parameters = {**ID, **more}
    ip, agent = parameters.get("ip_address", ""), parameters.get("user_agent", "")
    return Visit(NOW, identifiers(parameters), ip, agent, reftag)


def reattribute(*touches: Touch, link: str | None = "moloco1", idle: float = 8 * DAY) -> Decision:
    history = History(link, NOW - idle)
    return decide_reattribution(visit(**NETWORK), history, touches, SETTINGS.window)


def reasons(decision: Decision) -> list[str]:
    return [candidate.reason for candidate in decision.candidates]


class TestInstall:
    """An install."""

    def test_a_click_in_its_window_wins(self) -> None:
        """A click 6 days and 23 hours before the install gets it."""
        decision = install(touch("click", 6 * DAY + 23 * HOUR))
        assert (decision.partner, decision.tier) == ("Moloco", "device-matched click")
        assert reasons(decision) == ["the latest device-matched click"]

    @pytest.mark.parametrize(
        ("kind", "more", "window"),
        [
            ("click", ID, 7 * DAY),
            ("click", NETWORK, 6 * HOUR),
            ("view", ID, DAY),
            ("view", NETWORK, 6 * HOUR),
        ],
    )
    def test_the_edge_of_each_window(
        self, kind: TouchKind, more: dict[str, Any], window: int
    ) -> None:
        """A touch as old as its window counts, one a second older does not."""
        assert install(touch(kind, window, **more), **NETWORK).partner == "Moloco"
        late = install(touch(kind, window + 1, **more), **NETWORK)
        assert (late.partner, late.tier) == (None, "organic")
        assert reasons(late)[0].endswith(f"the window is {duration(window)} (default)")

    def test_a_click_beats_a_later_view(self) -> None:
        """A click of 6 days ago gets the install, not a view of a minute ago."""
        decision = install(touch("click", 6 * DAY, 1), touch("view", 60, 2))
        assert decision.touch is not None
        assert decision.touch.number == 1
        assert reasons(decision)[1] == "a device-matched click beats a device-matched view"

    def test_a_probabilistic_click_beats_a_view_of_the_device(self) -> None:
        """The tiers go: device click, probabilistic click, device view, probabilistic view."""
        view, likely = touch("view", 60, 1), touch("click", 5 * HOUR, 2, **NETWORK)
        decision = install(view, likely, touch("view", 1, 3, **NETWORK), **NETWORK)
        assert (decision.tier, decision.match) == ("probabilistic click", "probabilistic")
        decision = install(view, touch("view", 1, 3, **NETWORK), **NETWORK)
        assert decision.tier == "device-matched view"

    def test_the_later_of_two_clicks_wins(self) -> None:
        """Within a tier the latest touch wins; of the same time, the one recorded later."""
        one, two, three = (touch("click", age, n) for n, age in enumerate((HOUR, 60, 60), 1))
        decision = install(one, three, two)
        assert decision.touch is three
        assert reasons(decision) == [
            "click 3 is later",
            "the latest device-matched click",
            "click 3 of the same time goes first",
        ]

    def test_the_referrer_decides_a_tie(self) -> None:
        """Of two clicks of the same time, the one that the store's referrer names wins."""
        named = touch("click", 60, 1, campaign="x")
        decision = install(named, touch("click", 60, 2), reftag=named.reftag)
        assert decision.touch is named
        assert (decision.tier, decision.match) == ("device-matched click", "referrer")
        assert touch("view", 60).reftag == ""

    def test_a_click_after_the_install_does_not_count(self) -> None:
        """A touch can't get an install that was there before it."""
        decision = install(touch("click", -1))
        assert (decision.touch, reasons(decision)) == (None, ["it came after the install"])

    @pytest.mark.parametrize(
        "name", ["idfa", "gps_adid", "fire_adid", "oaid", "idfv", "android_id"]
    )
    def test_each_identifier_matches_a_device(self, name: str) -> None:
        """A touch with the same identifier is the device's; with another value it is not."""
        parameters: dict[str, Any] = {name: "id-1"}
        own = decide_install(
            Visit(NOW, identifiers(parameters)), [touch("click", 60, **parameters)], SETTINGS.window
        )
        assert (own.match, own.tier) == ("device", "device-matched click")
        other = decide_install(
            Visit(NOW, {name: "id-2"}), [touch("click", 60, **parameters)], SETTINGS.window
        )
        assert other.touch is None

    def test_identifiers_match_in_any_case(self) -> None:
        """An IDFA in small letters is the same as one in capital letters."""
        decision = install(touch("click", 60, idfa="ABC-1"), idfa="abc-1")
        assert decision.match == "device"

    @pytest.mark.parametrize("value", ["{{device.gaid}}", "%{gaid}", "{gps_adid}", "000-0", ""])
    def test_what_is_no_identifier(self, value: str) -> None:
        """A macro that was not filled in, or zeros alone, match no device."""
        decision = install(touch("click", 60, gps_adid=value, label="x"), gps_adid=value)
        assert (decision.touch, decision.others) == (None, 1)

    def test_another_device_on_the_same_network(self) -> None:
        """The same IP address and user agent do not match if an identifier differs."""
        other = touch("click", 60, **NETWORK, gps_adid="another")
        assert install(other, **NETWORK).others == 1

    def test_windows_of_the_link_the_partner_and_the_app(self) -> None:
        """A link's own window goes before its partner's, and that before the app's."""

        def settings(*levels: int | None) -> MmpSettings:
            link, partner, app = (Windows(click_device=level) for level in levels)
            partners = (Partner("Moloco", {"moloco1": link}, partner),)
            return MmpSettings(partners=partners, windows=app)

        click = touch("click", 10 * DAY)
        for levels, level in [
            ((1 * DAY, 30 * DAY, 30 * DAY), "link"),
            ((None, 2 * DAY, 30 * DAY), "partner"),
            ((None, None, 3 * DAY), "app"),
            ((None, None, None), "default"),
        ]:
            (reason,) = reasons(install(click, settings=settings(*levels)))
            assert reason.endswith(f"({level})")
        assert install(click, settings=settings(10 * DAY, DAY, DAY)).partner == "Moloco"

    @pytest.mark.parametrize("name", ["click_device", "attribution_window", "lookback", "window"])
    def test_no_parameter_of_a_link_sets_a_window(self, name: str) -> None:
        """Windows are settings: a parameter of the link lengthens none."""
        parameters: dict[str, Any] = {**ID, name: str(30 * DAY)}
        assert install(touch("click", 7 * DAY, **parameters)).partner == "Moloco"
        assert install(touch("click", 7 * DAY + 1, **parameters)).touch is None

    def test_a_window_can_be_switched_off(self) -> None:
        """With a window of 0, touches of that kind don't count."""
        settings = MmpSettings(windows=Windows(view_device=0))
        decision = install(touch("view", 0), settings=settings)
        assert reasons(decision) == ["a device-matched view does not count here (set by the app)"]

    def test_a_link_that_no_partner_has(self) -> None:
        """Without a partner, the app's windows hold."""
        assert SETTINGS.window("unknown", "click_device") == (7 * DAY, "default")


class TestReattribution:
    """A session of a device that was installed before."""

    def test_another_link_after_a_pause(self) -> None:
        """After 8 days without activity, a click on another link reattributes the device."""
        click = touch("click", DAY, link="another1")
        assert reattribute(click).partner == "Another network"
        assert reattribute(click, link=None).partner == "Another network"
        assert reattribute(touch("click", DAY), link=None).partner == "Moloco"

    @pytest.mark.parametrize(("kind", "window"), [("click", 7 * DAY), ("view", DAY)])
    def test_the_edge_of_each_window(self, kind: TouchKind, window: int) -> None:
        """A touch as old as its window reattributes, one a second older does not."""
        idle = 30 * DAY
        assert reattribute(touch(kind, window, 1, "another1"), idle=idle).touch is not None
        assert reattribute(touch(kind, window + 1, 1, "another1"), idle=idle).touch is None

    def test_the_edge_of_the_pause(self) -> None:
        """After seven days without activity a device can be reattributed, not a second sooner."""
        click = touch("click", 60, 1, "another1")
        assert reattribute(click, idle=7 * DAY).touch is click
        assert reattribute(click, idle=7 * DAY - 1).touch is None

    def test_a_click_beats_a_view(self) -> None:
        """Here, too, any eligible click beats any view."""
        view, click = touch("view", 60, 2, "another1"), touch("click", DAY, 1, "another1")
        assert reattribute(view, click).touch is click
        assert reattribute(view).touch is view

    @pytest.mark.parametrize(
        ("other", "more", "reason"),
        [
            (touch("click", DAY), {}, "its link is the present source"),
            (
                touch("click", DAY, 1, "another1"),
                {"idle": 2 * DAY},
                "the device was inactive for 2 d; 7 d are needed (default)",
            ),
            (
                touch("click", 8 * DAY, 1, "another1"),
                {"idle": 9 * DAY},
                "it is 8 d old; the window is 7 d (default)",
            ),
            (touch("click", 9 * DAY, 1, "another1"), {}, "the device was active after it"),
            (touch("click", -1, 1, "another1"), {}, "it came after the session"),
            (touch("click", 1, 1, "another1", rt="0", **ID), {}, "its link says rt=0"),
            (touch("click", 1, 1, "another1", **NETWORK), {}, "only a device match reattributes"),
        ],
    )
    def test_what_does_not_reattribute(
        self, other: Touch, more: dict[str, Any], reason: str
    ) -> None:
        """Each condition that a touch fails is named."""
        decision = reattribute(other, **more)
        assert decision.touch is None
        assert reasons(decision)[0].startswith(reason)

    def test_it_needs_an_advertising_id(self) -> None:
        """A match of the vendor's identifier alone does not reattribute."""
        click = touch("click", DAY, 1, "another1", idfv="v")
        history = History("moloco1", NOW - 8 * DAY)
        decision = decide_reattribution(
            Visit(NOW, {"idfv": "v"}), history, [click], SETTINGS.window
        )
        assert reasons(decision) == ["only a touch with an advertising id reattributes"]

    def test_views_can_be_switched_off(self) -> None:
        """With a window of 0, no view reattributes."""
        settings = MmpSettings(windows=Windows(reattribution_view=0))
        history = History("moloco1", NOW - 8 * DAY)
        view = touch("view", 60, 1, "another1")
        decision = decide_reattribution(visit(), history, [view], settings.window)
        assert reasons(decision) == ["a view does not reattribute here (set by the app)"]


# -- a second reading ------------------------------------------------------------------------

AGES = st.sampled_from(
    [-1, 0, 1, HOUR, 6 * HOUR, 6 * HOUR + 1, DAY, DAY + 1, 7 * DAY, 7 * DAY + 1, 8 * DAY]
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "gps_adid": st.sampled_from([GAID, GAID.upper(), "another"]),
        "idfv": st.sampled_from(["v", "w"]),
        "ip_address": st.sampled_from(["192.0.2.1", "192.0.2.2"]),
        "user_agent": st.sampled_from(["Phone/1", "Phone/2"]),
        "rt": st.sampled_from(["0", "1"]),
    },
)
LINKS = ["moloco1", "moloco2", "another1"]
TOUCHES = st.lists(
    st.tuples(st.sampled_from(["click", "view"]), AGES, st.sampled_from(LINKS), PARAMETERS),
    max_size=6,
)
OFF_OR = (0, HOUR, 6 * HOUR, DAY)
WINDOWS = st.builds(
    Windows,
    click_device=st.none() | st.sampled_from([DAY, 7 * DAY]),
    click_probabilistic=st.none() | st.sampled_from(OFF_OR),
    view_device=st.none() | st.sampled_from(OFF_OR),
    view_probabilistic=st.none() | st.sampled_from(OFF_OR),
    reattribution_click=st.none() | st.sampled_from([0, DAY]),
    reattribution_view=st.none() | st.sampled_from(OFF_OR),
    inactivity=st.none() | st.sampled_from([0, DAY]),
)
APPS = st.builds(
    lambda one, two, three, partner, app: MmpSettings(
        partners=(
            Partner("Moloco", {"moloco1": one, "moloco2": two}, partner),
            Partner("Another network", {"another1": three}),
        ),
        windows=app,
    ),
    *(WINDOWS, WINDOWS, WINDOWS, WINDOWS, WINDOWS),
)


def made(drawn: list[tuple[Any, float, str, dict[str, str]]]) -> list[Touch]:
    return [
        touch_of(kind, link, "x", parameters, number=number, at=NOW - age)
        for number, (kind, age, link, parameters) in enumerate(drawn, 1)
    ]


def window(app: MmpSettings, link: str, name: str) -> int:
    """The window of a link, read from the top."""
    partner = app.partners[0] if link.startswith("moloco") else app.partners[1]
    found = DEFAULTS[name]
    for windows in (app.windows, partner.windows, partner.links[link]):
        value = getattr(windows, name)
        found = found if value is None else value
    return found


DEFAULTS: dict[str, int] = {
    "click_device": 7 * DAY,
    "click_probabilistic": 6 * HOUR,
    "view_device": DAY,
    "view_probabilistic": 6 * HOUR,
    "reattribution_click": 7 * DAY,
    "reattribution_view": DAY,
    "inactivity": 7 * DAY,
}


def is_same_device(one: Touch, parameters: dict[str, str]) -> bool:
    return any(
        one.parameters.get(name, "-").lower() == parameters.get(name, "+").lower()
        for name in ("gps_adid", "idfv")
    )


def is_alike(one: Touch, parameters: dict[str, str]) -> bool:
    if any(
        one.parameters[name].lower() != parameters[name].lower()
        for name in ("gps_adid", "idfv")
        if name in one.parameters and name in parameters
    ):
        return False
    return all(
        one.parameters.get(name, "-") == parameters.get(name, "+")
        for name in ("ip_address", "user_agent")
    )


@given(drawn=TOUCHES, parameters=PARAMETERS, app=APPS)
@example(drawn=[("click", 0, "moloco1", ID)], parameters=ID, app=SETTINGS)
def test_installs_go_where_a_naive_reading_says(
    drawn: list[tuple[Any, float, str, dict[str, str]]],
    parameters: dict[str, str],
    app: MmpSettings,
) -> None:
    """Whatever the touches and the windows: the first tier with an eligible touch, its latest."""
    touches = made(drawn)
    expected = None
    for kind, way, belongs in [
        ("click", "device", is_same_device),
        ("click", "probabilistic", is_alike),
        ("view", "device", is_same_device),
        ("view", "probabilistic", is_alike),
    ]:
        tier = []
        for each in touches:
            limit = window(app, each.link, f"{kind}_{way}")
            age = NOW - each.at
            if each.kind == kind and belongs(each, parameters) and limit and 0 <= age <= limit:
                tier.append(each)
        if tier:
            expected = max(tier, key=lambda each: (each.at, each.number))
            break

    ip, agent = parameters.get("ip_address", ""), parameters.get("user_agent", "")
    seen = Visit(NOW, identifiers(parameters), ip, agent)
    decision = decide_install(seen, touches, app.window)

    assert decision.touch is expected
    assert len(decision.candidates) + decision.others == len(touches)
    won = [candidate.touch for candidate in decision.candidates if candidate.has_won]
    assert won == ([] if expected is None else [expected])
    assert all(candidate.reason for candidate in decision.candidates)


@given(
    drawn=TOUCHES,
    parameters=PARAMETERS,
    app=APPS,
    link=st.none() | st.sampled_from(LINKS),
    idle=AGES.filter(lambda age: age >= 0),
)
def test_reattributions_go_where_a_naive_reading_says(
    drawn: list[tuple[Any, float, str, dict[str, str]]],
    parameters: dict[str, str],
    app: MmpSettings,
    link: str | None,
    idle: float,
) -> None:
    """Whatever the touches and the windows: the latest eligible click, else the latest view."""
    touches = made(drawn)
    expected = None
    for kind in ("click", "view"):
        eligible = [
            each
            for each in touches
            if each.kind == kind
            and each.link != link
            and "gps_adid" in each.parameters
            and each.parameters.get("rt") != "0"
            and is_same_device(each, parameters)
            and 0 <= NOW - each.at < idle
            and 0 < window(app, each.link, f"reattribution_{kind}") >= NOW - each.at
            and idle >= window(app, each.link, "inactivity")
        ]
        if eligible:
            expected = max(eligible, key=lambda each: (each.at, each.number))
            break

    ip, agent = parameters.get("ip_address", ""), parameters.get("user_agent", "")
    seen = Visit(NOW, identifiers(parameters), ip, agent)
    decision = decide_reattribution(seen, History(link, NOW - idle), touches, app.window)

    assert decision.touch is expected
    assert all(candidate.reason for candidate in decision.candidates)


class TestSettings:
    """Settings that can't be."""

    @pytest.mark.parametrize(
        ("name", "least", "most", "may_be_off"),
        [
            ("click_device", DAY, 30 * DAY, False),
            ("click_probabilistic", HOUR, DAY, True),
            ("view_device", HOUR, 30 * DAY, True),
            ("view_probabilistic", HOUR, DAY, True),
            ("reattribution_click", DAY, 30 * DAY, True),
            ("reattribution_view", HOUR, 30 * DAY, True),
            ("inactivity", 0, 365 * DAY, True),
        ],
    )
    def test_the_range_of_each_window(
        self, name: str, least: int, most: int, may_be_off: bool
    ) -> None:
        """Each window has the range of the dashboard, and only that of clicks is always on."""
        for seconds in (least, most, *([0] if may_be_off else [])):
            assert getattr(Windows(**{name: seconds}), name) == seconds
        for seconds in (
            most + 1,
            -1,
            *([least - 1] if least else []),
            *([] if may_be_off else [0]),
        ):
            with pytest.raises(ValueError, match=f"^{name} must be from {least} to {most}"):
                Windows(**{name: seconds})

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Windows(click_device=0),
            lambda: Windows(click_device=31 * DAY),
            lambda: Windows(view_device=-1),
            lambda: Windows(inactivity=366 * DAY),
            lambda: Partner("x", {"short": Windows()}),
            lambda: MmpSettings(app_token="short"),
            lambda: MmpSettings(partners=(Partner("x", {}), Partner("x", {}))),
            lambda: MmpSettings(
                partners=(Partner("x", {"sixsix": Windows()}), Partner("y", {"sixsix": Windows()}))
            ),
        ],
    )
    def test_are_refused(self, make: Any) -> None:
        """A window outside its range, a short token, and a name that is there twice are refused."""
        with pytest.raises(ValueError, match=r"must|letters"):
            make()


def test_durations() -> None:
    """A time span is shown in its two largest units."""
    spans = (0, 59, 3_600, 601_200, 604_801)
    assert [duration(span) for span in spans] == ["0 s", "59 s", "1 h", "6 d 23 h", "7 d 1 s"]


def test_a_link_of_adbrix() -> None:
    """Adbrix's parameter of the advertising id matches both systems' identifiers."""
    click = touch("click", 60, m_adid=GAID, m_adgroup="summer", m_cost="{{price.cost_amount}}")
    assert (click.ids["idfa"], click.ids["gps_adid"]) == (GAID, GAID)
    assert click.parameters["adgroup"] == "summer"
    assert click.unfilled == ("cost_amount", "m_cost")
