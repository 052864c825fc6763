"""The API of a shop's mobile app, on FastAPI. What shoppers do reaches Amplitude and Moloco.

Start it with ``uvicorn app:app``; ``examples/README.md`` has the environment that it needs. The app
sends its ids in headers: the same device id and session id that Amplitude's SDK uses on the phone,
so that the events fit together.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from amplitude import Amplitude, BaseEvent, Config
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, PositiveInt

from amplitude_moloco import MolocoDestination

client = Amplitude(
    os.environ["AMPLITUDE_API_KEY"],
    # Amplitude's SDK may hold up the end of a process for as long as flush_interval_millis.
    Config(server_url=os.environ.get("AMPLITUDE_URL"), flush_interval_millis=1_000),
)
destination = MolocoDestination.from_file(Path(__file__).with_name("moloco.toml"))
client.add(destination)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Send what waits before the process ends: uvicorn runs no exit hooks."""
    yield
    client.shutdown()


app = FastAPI(lifespan=lifespan)


class Phone(BaseModel):
    """Who it is, and where in the app: the headers X-Device-Id, X-Session-Id and so on."""

    x_device_id: str
    x_session_id: int
    x_os: Literal["iOS", "Android"]
    x_screen: str = ""
    """The screen that the shopper comes from."""
    x_user_id: str | None = None
    """Stands in for your own login: take it from the token that you verify."""


FromPhone = Annotated[Phone, Header()]


class Product(BaseModel):
    """What is sold. Money is in cents: only events have fractions."""

    id: str
    name: str
    cents: int


class Line(BaseModel):
    """How many pieces of a product."""

    product_id: str
    quantity: PositiveInt = 1


CURRENCY = "USD"
PRODUCTS = {
    product.id: product
    for product in (
        Product(id="shoes-1", name="Running shoes", cents=5990),
        Product(id="socks-7", name="Wool socks", cents=450),
    )
}


def track(phone: Phone, name: str, insert_id: str | None = None, **properties: object) -> None:
    """Track what a shopper does. It never waits for the network, so async handlers may call it."""
    client.track(
        BaseEvent(
            name,
            insert_id=insert_id,
            user_id=phone.x_user_id,
            device_id=phone.x_device_id,
            session_id=phone.x_session_id,
            platform=phone.x_os,
            event_properties={"referrer": phone.x_screen, **properties},
        )
    )


def as_item(line: Line) -> dict[str, Any]:
    """Return a product as the events have it. The price is of one piece."""
    return {
        "product_id": line.product_id,
        "price": product_of(line.product_id).cents / 100,
        "currency": CURRENCY,
        "quantity": line.quantity,
    }


@app.post("/opened", status_code=204)
async def opened(phone: FromPhone, link: str) -> None:
    """The app was opened by a link in an ad or a message."""
    track(phone, "Landing Page Viewed", referrer=link)


@app.get("/home")
async def home(phone: FromPhone) -> list[Product]:
    """Everything there is."""
    track(phone, "Home Viewed")
    return [*PRODUCTS.values()]


@app.post("/screens/{screen}", status_code=204)
async def show_screen(phone: FromPhone, screen: str) -> None:
    """A screen that needs nothing of the server, such as the help."""
    track(phone, "Page Viewed", page_id=screen)


@app.get("/search")
async def search(phone: FromPhone, q: str) -> list[Product]:
    """The products whose name has the words."""
    track(phone, "Products Searched", query=q)
    return [product for product in PRODUCTS.values() if q.lower() in product.name.lower()]


@app.get("/products/{id}")
async def show_product(phone: FromPhone, id: str) -> Product:
    """A product."""
    track(phone, "Product Viewed", **as_item(Line(product_id=id)))
    return product_of(id)


@app.put("/wishlist/{id}", status_code=204)
async def add_to_wishlist(phone: FromPhone, id: str) -> None:
    """A product for later."""
    track(phone, "Product Added to Wishlist", **as_item(Line(product_id=id)))


@app.post("/cart", status_code=204)
async def add_to_cart(phone: FromPhone, line: Line) -> None:
    """Some pieces of a product, for now."""
    track(phone, "Product Added", **as_item(line))


@app.put("/orders/{id}", status_code=204)
async def order(phone: FromPhone, id: str, lines: list[Line]) -> None:
    """Sell some products. The app repeats the request, with the same id, until it is answered."""
    cents = sum(product_of(line.product_id).cents * line.quantity for line in lines)
    track(
        phone,
        "Order Completed",
        insert_id=f"order-{id}",  # so that it counts once
        products=[as_item(line) for line in lines],
        revenue=cents / 100,
        currency=CURRENCY,
    )


def product_of(id: str) -> Product:
    """Return a product, or answer 404."""
    if id not in PRODUCTS:
        raise HTTPException(404)
    return PRODUCTS[id]
