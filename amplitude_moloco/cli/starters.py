"""What ``init`` writes: a commented settings file, and the lines of code for a framework."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from amplitude_moloco import Sync


class Framework(str, Enum):
    """What the app is built with."""

    SCRIPT = "script"
    FLASK = "flask"
    FASTAPI = "fastapi"
    DJANGO = "django"


_SETTINGS = """\
# Settings of amplitude-moloco. Find mistakes: amplitude-moloco check {name}
# ${{NAME}} stands for the environment variable NAME.

# Moloco's REST API key. The sandbox takes any.
api_key = "${{MOLOCO_API_KEY}}"

# The local stand-in for MCM: amplitude-moloco sandbox
platform_id = "SANDBOX_SHOP"
base_url = "http://127.0.0.1:8765"
# Once Moloco has given you a platform, use its id and its name in place of these two:
# platform_id = "MY_SHOP"
# platform_name = "My Shop"

# The channel of events whose platform does not tell it: SITE, MOBILE_SITE, DESKTOP_SITE or APP.
channel_type = "SITE"

# The currency of amounts in events that state none.
# default_currency = "USD"

# Where events wait until MCM has accepted them. In a file, they survive the process.
# buffer = "sqlite:///moloco.db"

# Send ids as SHA-256 hashes. Your calls of Moloco's Decision API need the same values.
# hash_identifiers = true

{syncs}"""
_READY = """\
# Which events are sent, and as what. "ecommerce" stands for the usual names (Product Viewed,
# Product Added, Order Completed, …) with their usual properties.
syncs = "ecommerce"
# With names and properties of your own, write syncs in place of that line:
# [[syncs]]
# event_type = "SEARCH"
# events = ["Products Searched"]
# where = "event_properties.results > `0`"
# mapping = { search_query = "event_properties.query" }
"""
_PROPOSED = """\
# Which events are sent, and as what. Proposed for your sample events: look them through.
"""
_SETUP = """\
from amplitude import Amplitude, BaseEvent
from amplitude_moloco import MolocoDestination

client = Amplitude("AMPLITUDE_API_KEY")
client.add(MolocoDestination.from_file("{name}"))
"""
_TRACK = """\
client.track(
    BaseEvent("Products Searched", user_id="shopper-1", event_properties={"query": "shoes"})
)
"""
_CODES = {
    Framework.SCRIPT: f"""\
{_SETUP}
{_TRACK}client.shutdown()
""",
    Framework.FLASK: f"""\
from flask import Flask, request

{_SETUP}app = Flask(__name__)


@app.get("/search")
def search():
    properties = {{"query": request.args["q"]}}
    # Use your shopper's own ids: the device's always, the user's after the login.
    shopper = {{"user_id": "shopper-1", "device_id": "device-1", "platform": "Web"}}
    client.track(BaseEvent("Products Searched", event_properties=properties, **shopper))
    return "found"
""",
    Framework.FASTAPI: f"""\
from contextlib import asynccontextmanager

from fastapi import FastAPI

{_SETUP}

@asynccontextmanager
async def lifespan(app):
    yield
    client.shutdown()  # uvicorn runs no exit hooks


app = FastAPI(lifespan=lifespan)


@app.get("/search")
def search(q: str):
    properties = {{"query": q}}
    # Use your shopper's own ids: the device's always, the user's after the login.
    shopper = {{"user_id": "shopper-1", "device_id": "device-1", "platform": "Web"}}
    client.track(BaseEvent("Products Searched", event_properties=properties, **shopper))
    return "found"
""",
    Framework.DJANGO: f"""\
# tracking.py, in your app's folder
{_SETUP}
# views.py
from django.http import HttpResponse

from .tracking import BaseEvent, client


def search(request):
    properties = {{"query": request.GET["q"]}}
    # Use your shopper's own ids: the device's always, the user's after the login.
    shopper = {{"user_id": "shopper-1", "device_id": "device-1", "platform": "Web"}}
    client.track(BaseEvent("Products Searched", event_properties=properties, **shopper))
    return HttpResponse("found")
""",
}


def settings_text(name: str, proposed: Iterable[Sync]) -> str:
    """Returns a settings file with the proposed syncs, or with the ready ones if there are none."""
    syncs = [_sync_text(sync) for sync in proposed]
    return _SETTINGS.format(name=name, syncs="\n".join([_PROPOSED, *syncs]) if syncs else _READY)


def code_text(framework: Framework, name: str) -> str:
    """Returns the lines of code for a framework."""
    return _CODES[framework].replace("{name}", name)


def toml_text(text: str) -> str:
    """Returns a text as TOML has it, with everything escaped that is not printable."""
    return '"' + "".join(map(_toml_character, text)) + '"'


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08X}"


def _sync_text(sync: Sync) -> str:
    lines = [
        "[[syncs]]",
        f"event_type = {toml_text(sync.event_type.value)}",
        f"name = {toml_text(sync.name)}",
        f"events = [{', '.join(map(toml_text, sync.names or ()))}]",
    ]
    if sync.mapping:
        lines.append("[syncs.mapping]")
        lines += [f"{field} = {toml_text(str(source))}" for field, source in sync.mapping.items()]
    return "\n".join(lines) + "\n"
