"""Moloco's acceptance matrix for real-time events, filled in from what the sandbox received."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from amplitude_moloco.sandbox.record import ReceivedRequest
from amplitude_moloco.sandbox.rules import objection

Event = dict[str, Any]
_DIGEST = re.compile(r"[0-9a-fA-F]{40,128}|[0-9A-Za-z+/_-]{43}=?|[0-9A-Za-z+/_-]{86}(==)?")
"""A hash in hexadecimal or Base64 that is longer than MD5's 32 digits."""
_MANY_USERS = 5
_MAX_IDENTIFIERS = 10_000


@dataclass(frozen=True)
class Case:
    """One line of the matrix: what a shopper does, and the event that has to come."""

    action: str
    expected: str
    is_met_by: Callable[[Event], bool]


def _is(event_type: str, *fields: str) -> Callable[[Event], bool]:
    """Returns a function that says if an event has this type, and one of these fields if any."""
    return lambda event: (
        event.get("event_type") == event_type
        and (not fields or any(name in event for name in fields))
    )


# Events that MCM accepts have the fields that their type requires.
CASES = (
    Case("Open the home page", "HOME", _is("HOME")),
    Case("Open any other page", "PAGE_VIEW with its page_id", _is("PAGE_VIEW")),
    Case("Open an item from a list", "ITEM_PAGE_VIEW with the item's id", _is("ITEM_PAGE_VIEW")),
    Case(
        "Open an item from a search",
        "ITEM_PAGE_VIEW with the item's id and referrer_page_id",
        _is("ITEM_PAGE_VIEW", "referrer_page_id"),
    ),
    Case("Put an item into the cart", "ADD_TO_CART", _is("ADD_TO_CART")),
    Case("Put an item on the wishlist", "ADD_TO_WISHLIST", _is("ADD_TO_WISHLIST")),
    Case("Search from the main box", "SEARCH", _is("SEARCH")),
    Case(
        "Search from a category page",
        "SEARCH; shown here by a page_id or referrer_page_id",
        _is("SEARCH", "page_id", "referrer_page_id"),
    ),
    Case("Buy", "PURCHASE", _is("PURCHASE")),
)


@dataclass
class _Identifier:
    """What is known of one kind of identifier in all accepted events."""

    events: int = 0
    absent: int = 0
    plain: int = 0
    users: dict[str, set[str]] = field(default_factory=dict)
    """Users by identifier: a few for each, and up to ten thousand identifiers."""

    def add(self, value: str | None, user: str) -> None:
        self.events += 1
        if value is None:
            self.absent += 1
            return
        self.plain += not _DIGEST.fullmatch(value)
        if value in self.users or len(self.users) < _MAX_IDENTIFIERS:
            users = self.users.setdefault(value, set())
            if len(users) < _MANY_USERS:
                users.add(user)

    @property
    def shared(self) -> int:
        """How many identifiers stand for many users."""
        return sum(len(users) >= _MANY_USERS for users in self.users.values())


class Acceptance:
    """Which cases of the matrix the received events meet. Takes one request after the other."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[str, str]] = {}
        self._met_number: Counter[str] = Counter()
        self._accepted = 0
        self._refused = 0
        self._last_refusal = ""
        self._user_id = _Identifier()
        self._persistent_id = _Identifier()

    def add(self, request: ReceivedRequest) -> None:
        """Takes a request into account. Those of other APIs, and faults, change nothing."""
        if request.target != "moloco":
            return
        event = request.body
        if request.accepted:
            self._accept(event, request.arrived_at_seconds)
        elif request.status == 400:
            now_millis = int(request.arrived_at_seconds * 1000)
            if objection(event, now_millis=now_millis) == request.message:
                self._refused += 1
                self._last_refusal = request.message or ""

    def as_json(self) -> dict[str, Any]:
        """Returns the matrix and the rules that hold for all events, as JSON."""
        return {"cases": self._cases(), "rules": self._rules()}

    def _accept(self, event: Event, at_seconds: float) -> None:
        self._accepted += 1
        for case in CASES:
            if case.is_met_by(event):
                at = datetime.fromtimestamp(at_seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
                self._met_number[case.action] += 1
                self._met.setdefault(case.action, (str(event.get("id", "")), at))
        user_id = event.get("user_id")
        persistent_id = event.get("device", {}).get("persistent_id")
        self._user_id.add(user_id, persistent_id or "")
        self._persistent_id.add(persistent_id, user_id or "")

    def _cases(self) -> list[dict[str, Any]]:
        found = []
        for case in CASES:
            id, at = self._met.get(case.action, ("", ""))
            found.append(
                {
                    "action": case.action,
                    "expected": case.expected,
                    "state": "met" if at else "open",
                    "events": self._met_number[case.action],
                    "first": f"{id} at {at}".strip() if at else "",
                }
            )
        return found

    def _rules(self) -> list[dict[str, str]]:
        refused = (
            f"{self._refused} refused; the last: {self._last_refusal}" if self._refused else ""
        )
        return [
            self._rule("No validation error", refused, f"none of {self._accepted} refused"),
            self._rule("user_id hashed", *_hashed(self._user_id)),
            self._rule("user_id unique to a shopper", *_unique(self._user_id, "devices")),
            self._rule("device.persistent_id sent", *_present(self._persistent_id)),
            self._rule("device.persistent_id hashed", *_hashed(self._persistent_id)),
            self._rule(
                "device.persistent_id unique to a device", *_unique(self._persistent_id, "shoppers")
            ),
        ]

    def _rule(self, rule: str, broken: str, kept: str) -> dict[str, str]:
        if not (self._accepted or self._refused):
            return {"rule": rule, "state": "open", "found": "no event yet"}
        return {"rule": rule, "state": "broken" if broken else "met", "found": broken or kept}


def _hashed(identifier: _Identifier) -> tuple[str, str]:
    if not identifier.users:
        return "in no event", ""
    return _share(identifier.plain, identifier, "plain"), "wherever it is sent"


def _present(identifier: _Identifier) -> tuple[str, str]:
    return _share(identifier.absent, identifier, "missing"), "in all events"


def _share(events: int, identifier: _Identifier, what: str) -> str:
    return f"{what} in {events} of {identifier.events} events" if events else ""


def _unique(identifier: _Identifier, others: str) -> tuple[str, str]:
    shared = identifier.shared
    broken = f"{shared} with {_MANY_USERS} or more {others} each" if shared else ""
    return broken, f"different values: {len(identifier.users)}"


def report_of(acceptance: Acceptance) -> str:
    """Returns the matrix as Markdown."""
    shown = acceptance.as_json()
    lines = [
        "# Moloco Commerce Media: acceptance of real-time events",
        "",
        "From what the sandbox received and still keeps.",
        "",
        "| | what the shopper does | expected | events | first |",
        "| --- | --- | --- | --- | --- |",
    ]
    for case in shown["cases"]:
        cells = (case["action"], case["expected"], str(case["events"]), _code(case["first"]))
        lines.append(f"| {_MARKS[case['state']]} | {' | '.join(cells)} |")
    lines += ["", "| | in every event | found |", "| --- | --- | --- |"]
    for rule in shown["rules"]:
        lines.append(f"| {_MARKS[rule['state']]} | {rule['rule']} | {_code(rule['found'])} |")
    return "\n".join(lines) + "\n"


_MARKS = {"met": "☑", "open": "☐", "broken": "☒"}


def _code(text: str) -> str:
    """Returns a text from outside as code, which Markdown shows as it is."""
    plain = "".join(character for character in text if character.isprintable())
    plain = plain.replace("`", "'").replace("|", "/")
    return f"`{plain}`" if plain else ""
