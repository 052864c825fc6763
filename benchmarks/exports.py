"""Writes an export of Amplitude with events of realistic shapes, the same for the same seed.

    python benchmarks/exports.py DIR [--events 100000] [--hours 24] [--seed 1] [--zip]

One file for each hour, as Amplitude writes them to cloud storage; with ``--zip``, one zip as the
Export API gives it. Five kinds of senders track a shop: a server in Python, a browser, an app on
iOS, an app on Android, and Segment. Events of users have dozens of properties, as in practice.
"""

from __future__ import annotations

import argparse
import gzip
import random
import uuid
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

PROJECT = 187520
FIRST_HOUR = datetime(2026, 1, 1, tzinfo=timezone.utc)
SENDERS = ("python", "browser", "ios", "android", "segment")
NAMES = ("Page Viewed", "Product Viewed", "Products Searched", "Product Added", "Order Completed")
NAME_WEIGHTS = (40, 30, 14, 10, 6)
# Every record has all of these keys.
_NULLS: dict[str, Any] = dict.fromkeys(
    (
        *("$insert_key", "$schema", "adid", "amplitude_attribution_ids", "amplitude_event_type"),
        *("city", "country", "device_brand", "device_carrier", "device_family", "device_id"),
        *("device_manufacturer", "device_model", "device_type", "dma", "global_user_properties"),
        *("idfa", "ip_address", "is_attribution_event", "language", "location_lat"),
        *("location_lng", "os_name", "os_version", "partner_id", "paying", "platform", "region"),
        *("sample_rate", "source_id", "start_version", "user_creation_time", "user_id"),
        "version_name",
    )
)
_DEVICES: dict[str, dict[str, Any]] = {
    "python": {"library": "amplitude-python/1.3.0", "platform": "Web", "language": "Korean"},
    "browser": {
        "library": "amplitude-ts/2.11.1",
        "platform": "Web",
        "language": "English",
        "os_name": "Chrome",
        "os_version": "137",
        "device_type": "Mac",
        "device_family": "Mac OS X",
        "version_name": "4.12.0",
    },
    "ios": {
        "library": "amplitude-swift/1.11.6",
        "platform": "iOS",
        "language": "Japanese",
        "os_name": "ios",
        "os_version": "18.2",
        "device_model": "iPhone17,1",
        "device_family": "Apple iPhone",
        "device_type": "Apple iPhone 16 Pro",
        "device_brand": "Apple",
        "device_manufacturer": "Apple",
        "device_carrier": "SoftBank",
        "version_name": "8.3.1",
        "idfa": "00000000-0000-0000-0000-000000000000",
    },
    "android": {
        "library": "amplitude-analytics-android/1.20.2",
        "platform": "Android",
        "language": "German",
        "os_name": "android",
        "os_version": "14",
        "device_model": "SM-S921B",
        "device_brand": "samsung",
        "device_family": "Samsung",
        "device_manufacturer": "samsung",
        "device_type": "Samsung Galaxy S24",
        "device_carrier": "Telekom.de",
        "version_name": "8.3.0",
    },
    "segment": {"library": "segment", "platform": "Web", "language": "French"},
}


def records(events: int, hours: int, seed: int) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Yields each record with the hour of its upload, in the order of the hours."""
    chance = random.Random(seed)  # noqa: S311  # the same each time
    for number in range(events):
        hour = FIRST_HOUR + timedelta(hours=number * hours // events)
        yield hour, _record(number, hour, chance)


def _record(number: int, hour: datetime, chance: random.Random) -> dict[str, Any]:
    sender = chance.choice(SENDERS)
    name = chance.choices(NAMES, NAME_WEIGHTS)[0]
    uploaded = hour + timedelta(seconds=chance.uniform(0, 3600))
    happened = uploaded - timedelta(seconds=chance.expovariate(1 / 60))
    user = chance.randrange(200_000)
    is_server = sender == "python"
    return {
        **_NULLS,
        **_DEVICES[sender],
        "$insert_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "amplitude_id": 100_000_000_000 + user,
        "app": PROJECT,
        "city": "Seoul",
        "client_event_time": _time(happened),
        "client_upload_time": _time(uploaded),
        "country": "South Korea",
        "data": {"group_first_seen": {}, "group_ids": {}, "path": "/2/httpapi"},
        "data_type": "event",
        "device_id": str(uuid.UUID(int=user, version=4)) + ("R" if sender == "android" else ""),
        "event_id": 355175889 if is_server else number % 400,
        "event_properties": _properties(name, chance),
        "event_time": _time(happened),
        "event_type": name,
        "group_properties": {},
        "groups": {},
        "ip_address": f"203.0.113.{chance.randrange(256)}",
        "plan": {},
        "processed_time": _time(uploaded + timedelta(seconds=2)),
        "region": "Seoul",
        "server_received_time": _time(uploaded),
        "server_upload_time": _time(uploaded + timedelta(seconds=1)),
        "session_id": -1 if is_server else int(happened.timestamp() * 1000) - 60_000,
        "user_id": f"user-{user}" if user % 3 else None,
        "user_properties": _user_properties(user),
        "uuid": str(uuid.UUID(int=chance.getrandbits(128), version=1)),
    }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def _properties(name: str, chance: random.Random) -> dict[str, Any]:
    if name == "Page Viewed":
        return {
            "path": f"/category/{chance.randrange(300)}",
            "[Amplitude] Page Title": "Summer sale: everything must go",
            "[Amplitude] Page URL": "https://shop.example/category?utm_source=news",
            "referrer": "https://www.google.com/",
        }
    if name == "Products Searched":
        return {"query": f"running shoes {chance.randrange(50)}", "results": 48, "page": 1}
    if name == "Order Completed":
        products = [_product(chance) for _ in range(chance.randint(1, 5))]
        total = round(sum(each["price"] * each["quantity"] for each in products), 2)
        order = f"order-{chance.randrange(10**9)}"
        return {"order_id": order, "products": products, "revenue": total, "currency": "USD"}
    return {**_product(chance), "currency": "USD", "list": "recommended", "position": 3}


def _product(chance: random.Random) -> dict[str, Any]:
    number = chance.randrange(5_000)
    return {
        "product_id": f"sku-{number}",
        "name": f"Running shoe no. {number}",
        "category": "Shoes/Running/Men",
        "price": 10 + number % 90 + 0.9,
        "quantity": 1 + number % 3,
        "coupon": None,
    }


def _user_properties(user: int) -> dict[str, Any]:
    return {
        "plan": ("gold", "silver", "free")[user % 3],
        "orders": user % 17,
        "newsletter": bool(user % 2),
        "initial_utm_source": "EMPTY",
        "initial_utm_medium": "EMPTY",
        "initial_referrer": "https://www.google.com/",
        "favourite_categories": ["shoes", "socks"],
    }


def write(folder: Path, events: int, hours: int, seed: int, *, as_zip: bool = False) -> list[Path]:
    """Writes an export below a folder, and returns its files."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for hour, of_hour in groupby(records(events, hours, seed), key=lambda each: each[0]):
        files.append(folder / f"{PROJECT}_{hour:%Y-%m-%d}_{hour.hour}#0.json.gz")
        with gzip.open(files[-1], "wb", compresslevel=1) as lines:
            for _, record in of_hour:
                lines.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    return [_zipped(folder, files)] if as_zip else files


def _zipped(folder: Path, files: list[Path]) -> Path:
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, f"{PROJECT}/{file.name}")
            file.unlink()
    return path


def main() -> None:
    """Writes an export, and prints where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zip", action="store_true")
    given = parser.parse_args()
    files = write(given.folder, given.events, given.hours, given.seed, as_zip=given.zip)
    print(f"{given.events:,} events in {len(files)} file(s) in {given.folder}")


if __name__ == "__main__":
    main()
