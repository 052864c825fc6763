"""Records as Amplitude exports them, the same events as live code tracks them, and their files."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from amplitude import BaseEvent

EVENT_TIME = "2025-06-17 09:30:00.123000"
EVENT_MILLIS = 1_750_152_600_123
NOW_MILLIS = 1_760_000_000_000
HISTORY_CONFIG = """
platform_id = "SHOP"
channel_type = "SITE"
transport = "requests"
base_url = "{url}"
connections = {connections}
[[syncs]]
event_type = "HOME"
events = ["Page Viewed"]
[[syncs]]
event_type = "PAGE_VIEW"
events = ["Article Read"]
mapping.page_id = "event_properties.page"
"""
"""Settings that send two of the event types of an export, with one request on each connection."""

_ABSENT = dict.fromkeys(
    (
        *("$insert_id", "$insert_key", "$schema", "adid", "amplitude_attribution_ids"),
        *("amplitude_event_type", "city", "client_event_time", "client_upload_time", "country"),
        *("data_type", "device_brand", "device_carrier", "device_family", "device_id"),
        *("device_manufacturer", "device_model", "device_type", "dma", "event_id"),
        *("global_user_properties", "idfa", "ip_address", "is_attribution_event", "language"),
        *("library", "location_lat", "location_lng", "os_name", "os_version", "partner_id"),
        *("paying", "platform", "region", "sample_rate", "session_id", "source_id"),
        *("start_version", "user_creation_time", "user_id", "uuid", "version_name"),
    )
)


def record(**values: Any) -> dict[str, Any]:
    """A record with all keys that every exported one has, and these values."""
    return {
        **_ABSENT,
        "amplitude_id": 923_476_234_876,
        "app": 187_520,
        "client_event_time": EVENT_TIME,
        "client_upload_time": "2025-06-17 09:30:01.456000",
        "data": {"path": "/2/httpapi", "group_first_seen": {}, "group_ids": {}},
        "event_properties": {},
        "event_time": EVENT_TIME,
        "event_type": "Page Viewed",
        "group_properties": {},
        "groups": {},
        "plan": {},
        "processed_time": "2025-06-17 09:30:04.000000",
        "server_received_time": "2025-06-17 09:30:01.456000",
        "server_upload_time": "2025-06-17 09:30:03.000000",
        "user_properties": {},
        "uuid": "1b9e2c7c-4b5e-11f0-8d3a-0242ac120003",
        "$insert_id": "6bb6d4f3-6a4e-4f0b-9f06-0a4c6a7c6c1d",
        **values,
    }


_SHOES = {"product_id": "shoes-1", "price": 59.9, "quantity": 1}
_SOCKS = {"product_id": "socks-7", "price": 4, "quantity": 2}

SENDERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "python": (
        record(
            event_type="Order Completed",
            user_id="shopper-1",
            device_id="server-7",
            library="amplitude-python/1.3.0",
            platform="Web",
            language="Korean",
            session_id=-1,
            event_id=355175889,
            ip_address="203.0.113.7",
            country="South Korea",
            location_lat=37,
            location_lng=127.5,
            user_properties={"plan": "gold", "initial_utm_source": "EMPTY"},
            event_properties={
                "products": [_SHOES, _SOCKS],
                "coupon": None,
                "$revenue": 67.9,
                "$currency": "USD",
            },
        ),
        {
            "event_type": "Order Completed",
            "user_id": "shopper-1",
            "device_id": "server-7",
            "platform": "Web",
            "language": "ko",
            "ip": "203.0.113.7",
            "country": "South Korea",
            "location_lat": 37.0,
            "location_lng": 127.5,
            "revenue": 67.9,
            "currency": "USD",
            "library": "amplitude-python/1.3.0",
            "event_properties": {"products": [_SHOES, _SOCKS]},
        },
    ),
    "browser": (
        record(
            event_type="Product Viewed",
            device_id="Zq1mBrowser",
            library="amplitude-ts/2.11.1",
            platform="Web",
            os_name="Chrome",
            os_version="137",
            device_type="Mac",
            device_family="Mac OS X",
            language="English",
            session_id=1_750_152_000_000,
            event_id=17,
            version_name="4.12.0",
            event_properties={**_SHOES, "currency": "EUR", "referrer": "https://www.example.com/"},
        ),
        {
            "event_type": "Product Viewed",
            "device_id": "Zq1mBrowser",
            "platform": "Web",
            "os_name": "Chrome",
            "os_version": "137",
            "language": "en-US",
            "session_id": 1_750_152_000_000,
            "app_version": "4.12.0",
            "library": "amplitude-ts/2.11.1",
            "event_properties": {
                **_SHOES,
                "currency": "EUR",
                "referrer": "https://www.example.com/",
            },
        },
    ),
    "ios": (
        record(
            event_type="Product Added",
            user_id="shopper-2",
            device_id="0B7A9F6C-2C35-4E7C-8E3B-5A2C9B1D7F10",
            library="amplitude-swift/1.11.6",
            platform="iOS",
            os_name="ios",
            os_version="18.2",
            device_brand="Apple",
            device_manufacturer="Apple",
            device_model="iPhone17,1",
            device_type="Apple iPhone 16 Pro",
            device_family="Apple iPhone",
            device_carrier="SoftBank",
            idfa="6D92078A-8246-4BA4-AE5B-76104861E7DC",
            language="Japanese",
            session_id=1_750_152_100_000,
            event_id=4,
            version_name="8.3.1",
            event_properties={**_SOCKS, "currency": "JPY"},
        ),
        {
            "event_type": "Product Added",
            "user_id": "shopper-2",
            "device_id": "0B7A9F6C-2C35-4E7C-8E3B-5A2C9B1D7F10",
            "platform": "iOS",
            "os_name": "ios",
            "os_version": "18.2",
            "device_brand": "Apple",
            "device_manufacturer": "Apple",
            "device_model": "iPhone17,1",
            "carrier": "SoftBank",
            "idfa": "6D92078A-8246-4BA4-AE5B-76104861E7DC",
            "language": "ja",
            "session_id": 1_750_152_100_000,
            "app_version": "8.3.1",
            "library": "amplitude-swift/1.11.6",
            "event_properties": {**_SOCKS, "currency": "JPY"},
        },
    ),
    "android": (
        record(
            event_type="Products Searched",
            user_id="shopper-3",
            device_id="f3b1c1b0-7a3f-4a52-9b57-a4f3c2f0e1d9R",
            library="amplitude-analytics-android/1.20.2",
            platform="Android",
            os_name="android",
            os_version="14",
            device_brand="samsung",
            device_manufacturer="samsung",
            device_model="SM-S921B",
            device_type="Samsung Galaxy S24",
            device_carrier="Telekom.de",
            adid="cdda802e-fb9c-47ad-9866-0794d394c912",
            language="German",
            session_id=1_750_152_200_000,
            event_id=211,
            version_name="8.3.0",
            # A clock that was 3.2 seconds behind.
            client_event_time="2025-06-17 09:29:56.923000",
            event_properties={"query": "Schuhe\u2028Größe 43"},
        ),
        {
            "event_type": "Products Searched",
            "user_id": "shopper-3",
            "device_id": "f3b1c1b0-7a3f-4a52-9b57-a4f3c2f0e1d9R",
            "platform": "Android",
            "os_name": "android",
            "os_version": "14",
            "device_brand": "samsung",
            "device_manufacturer": "samsung",
            "device_model": "SM-S921B",
            "carrier": "Telekom.de",
            "adid": "cdda802e-fb9c-47ad-9866-0794d394c912",
            "language": "de",
            "session_id": 1_750_152_200_000,
            "app_version": "8.3.0",
            "library": "amplitude-analytics-android/1.20.2",
            "event_properties": {"query": "Schuhe\u2028Größe 43"},
        },
    ),
    "segment": (
        record(
            **{"$insert_id": "ajs-next-1750152600123-4f0b9f06:Order Completed"},
            event_type="Order Completed",
            user_id="shopper-4",
            device_id="c2f6f0d2-0b59-4a44-8bb0-3c5b2e5f9a3e",
            library="segment",
            platform="Web",
            os_name="Firefox",
            language="French",
            session_id=-1,
            event_id=355175889,
            groups={"company": ["acme"]},
            event_properties={
                "order_id": "o-9",
                "products": [{**_SHOES, "currency": "EUR"}],
                "total": 65,
                "revenue": 59.9,
                "shipping": 5.1,
                "currency": "EUR",
                "$revenue": 59.9,
            },
        ),
        {
            "event_type": "Order Completed",
            "user_id": "shopper-4",
            "device_id": "c2f6f0d2-0b59-4a44-8bb0-3c5b2e5f9a3e",
            "insert_id": "ajs-next-1750152600123-4f0b9f06:Order Completed",
            "platform": "Web",
            "os_name": "Firefox",
            "language": "fr",
            "library": "segment",
            "groups": {"company": ["acme"]},
            "event_properties": {
                "order_id": "o-9",
                "products": [{**_SHOES, "currency": "EUR"}],
                "total": 65,
                "revenue": 59.9,
                "shipping": 5.1,
                "currency": "EUR",
            },
        },
    ),
}
"""Each known sender's record, and the arguments of the event that live code tracks."""


def live_event(arguments: Mapping[str, Any]) -> BaseEvent:
    """The event as a destination gets it from the SDK, with an id, a time and a library."""
    more = dict(arguments)
    library = more.pop("library")
    more.setdefault("insert_id", "6bb6d4f3-6a4e-4f0b-9f06-0a4c6a7c6c1d")
    event = BaseEvent(time=EVENT_MILLIS, **more)
    event["library"] = library
    return event


def as_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records as JSON lines, each with its line end."""
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in records)


def as_gzip(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records as JSON lines, compressed."""
    return gzip.compress(as_lines(records), mtime=0)


def as_zip(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as files:
        for name, data in members.items():
            files.writestr(name, data)
    return archive.getvalue()


def numbered(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Records whose ids are their numbers: ``id-0``, ``id-1`` and so on."""
    return [record(**{"$insert_id": f"id-{first + number}"}) for number in range(count)]


def write_hour(folder: Path, hour: str, records: Iterable[Mapping[str, Any]]) -> Path:
    """Writes the file of an hour, such as ``2026-01-31_9``, as Amplitude names it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"187520_{hour}#627.json.gz"
    path.write_bytes(as_gzip(records))
    return path
