"""What ``init`` writes for apps: settings for Adjust or Adbrix, and the lines of code."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Partner(str, Enum):
    """Whose settings are written."""

    MOLOCO = "moloco"
    ADJUST = "adjust"
    ADBRIX = "adbrix"


class Starter(NamedTuple):
    """What one begins with."""

    settings: str
    code: str
    next: str
    """What to run next."""


_DEVICE = "cdb11111-2222-3333-4444-555566667777"
_ADJUST_SETTINGS = """\
# Settings of AdjustDestination. Find mistakes: amplitude-moloco check adjust.toml
# ${NAME} stands for the environment variable NAME.

# The app's token, of 12 characters. The sandbox takes any.
app_token = "sandboxtoken"
# Several apps have one each: app_token = { ios = "…", android = "…" }

# "sandbox" or "production": Adjust keeps their data apart.
environment = "sandbox"

# The local stand-in for Adjust: amplitude-moloco sandbox. Leave it out for Adjust itself.
base_url = "http://127.0.0.1:8765"

# The app's S2S token, with the scope Events.
# token = "${ADJUST_TOKEN}"

# The currency of revenue in events that state none.
# default_currency = "USD"

# Where events wait until Adjust has accepted them. In a file, they survive the process.
# buffer = "sqlite:///adjust.db"

# Adjust's own id of a device, which the app reads from Adjust's SDK. Send it where you can.
# [identifiers]
# adid = "user_properties.adjust_id"

# Which events are sent, each under its token in Adjust's dashboard.
[[events]]
event = "Order Completed"
token = "abc123"
revenue = "event_properties.total"
currency = "event_properties.currency"
# What partners get. Agree the names with your representative at Moloco.
partner_params = { product_id = "event_properties.products[].product_id" }
"""
_ADBRIX_SETTINGS = """\
# Settings of AdbrixDestination. Find mistakes: amplitude-moloco check adbrix.toml
# ${NAME} stands for the environment variable NAME.
# Unconfirmed: whether these events are attributed, and posted back to Moloco. Ask IGAWorks.

# The API token of DFINERY's console. The sandbox takes any: export ADBRIX_TOKEN=any
token = "${ADBRIX_TOKEN}"

# The local stand-in for Adbrix: amplitude-moloco sandbox. Leave it out for Adbrix itself.
base_url = "http://127.0.0.1:8765"

# Where events wait until Adbrix has accepted them. In a file, they survive the process.
# buffer = "sqlite:///adbrix.db"

# Which events are sent, and as what. "commerce" stands for the usual names (Product Viewed,
# Product Added, Order Completed, …) under those of Adbrix's SDKs.
events = "commerce"
# With names of your own, write events in place of that line:
# [[events]]
# event = "Level Finished"
# name = "level_finished"
"""
_CODE = """\
from amplitude import Amplitude, BaseEvent
from amplitude_moloco.{module} import {kind}

client = Amplitude("AMPLITUDE_API_KEY")
client.add({kind}.from_file("{partner}.toml"))

order = BaseEvent("Order Completed", user_id="shopper-1", platform="Android")
{device}order.event_properties = {{
    "total": 20.5,
    "currency": "USD",
    "products": [{{"product_id": "sku-1", "price": 20.5, "quantity": 1}}],
}}
client.track(order)
client.shutdown()
"""
_INSTALL = f"s2s=1&app_token=sandboxtoken&environment=sandbox&gps_adid={_DEVICE}"
STARTERS = {
    Partner.ADJUST: Starter(
        _ADJUST_SETTINGS,
        _CODE.format(
            partner="adjust",
            module="adjust",
            kind="AdjustDestination",
            device=f'order.adid = "{_DEVICE}"  # the device\'s advertising id\n',
        ),
        f"""\
  amplitude-moloco sandbox      in another terminal; http://127.0.0.1:8765/mmp/ shows the device
  curl -d '{_INSTALL}' http://127.0.0.1:8765/session
                                the install, which the app's SDK reports
  amplitude-moloco ping adjust.toml
  amplitude-moloco check adjust.toml EVENTS.jsonl""",
    ),
    Partner.ADBRIX: Starter(
        _ADBRIX_SETTINGS,
        _CODE.format(
            partner="adbrix",
            module="experimental.adbrix",
            kind="AdbrixDestination",
            device="",
        ),
        """\
  export ADBRIX_TOKEN=any       the sandbox takes any token
  amplitude-moloco sandbox      in another terminal
  amplitude-moloco ping adbrix.toml
  amplitude-moloco check adbrix.toml EVENTS.jsonl""",
    ),
}
