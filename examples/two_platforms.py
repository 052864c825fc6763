"""One client, two platforms: a shop in two countries, each with its own account at Moloco.

Each platform has a destination, a key and a buffer of its own: an outage of one does not delay the
other. Needs no account: a local sandbox answers for Amplitude and Moloco. Needs
`pip install 'amplitude-moloco[sandbox]'`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.sandbox import Sandbox


def destination_for(country: str, platform_id: str, url: str, folder: Path) -> MolocoDestination:
    """Return a destination that takes the events of one country."""
    is_of_country = f"event_properties.country == '{country}'"
    return MolocoDestination(
        api_key=f"moloco-key-{country}",
        platform_id=platform_id,
        base_url=url,  # in production: platform_name="my-shop-kr"
        channel_type="SITE",
        # A file belongs to one platform: it is refused for another.
        buffer=f"sqlite:///{folder}/moloco-{country}.db?drain_at_exit=1",
        syncs=[
            Sync("HOME", events="Home Viewed", where=is_of_country),
            Sync(
                "SEARCH",
                events="Products Searched",
                where=is_of_country,
                mapping={"search_query": "event_properties.query"},
            ),
        ],
    )


with Sandbox() as sandbox, TemporaryDirectory() as folder:
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    korea = destination_for("kr", "MY_SHOP_KR", sandbox.url, Path(folder))
    germany = destination_for("de", "MY_SHOP_DE", sandbox.url, Path(folder))
    client.add(korea)
    client.add(germany)

    for name, properties in (
        ("Home Viewed", {"country": "kr"}),
        ("Home Viewed", {"country": "de"}),
        ("Products Searched", {"country": "de", "query": "Schuhe"}),
    ):
        client.track(BaseEvent(name, user_id="shopper-1", event_properties=properties))

    client.shutdown()  # sends what waits for either
    received = Counter(request.platform_id for request in sandbox.requests if request.platform_id)
    for platform_id, events in sorted(received.items()):
        print(platform_id, "received", events)
    print("Amplitude received", len(sandbox.amplitude_events))
