"""A small shop on Flask. What shoppers do reaches Amplitude and Moloco Commerce Media.

Start it with ``gunicorn app:app``; ``examples/README.md`` has the environment that it needs. What
you copy is the client, ``meet_shopper()``, ``remember_shopper()`` and ``track()``.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from amplitude import Amplitude, BaseEvent, Config
from flask import Flask, Response, abort, g, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from amplitude_moloco import MolocoDestination

YEAR, HALF_HOUR = 365 * 86400, 30 * 60
"""Seconds for which a browser keeps its device id, and its session after the last click."""


@dataclass(frozen=True)
class Product:
    """What is sold. Money is in cents: only events have fractions."""

    id: str
    name: str
    category: str
    cents: int


CURRENCY = "USD"
PRODUCTS = {
    product.id: product
    for product in (
        Product("shoes-1", "Running shoes", "shoes", 5990),
        Product("shoes-2", "Hiking boots", "shoes", 12900),
        Product("socks-7", "Wool socks", "socks", 450),
    )
}

# One client and one destination for each process, made when the app starts.
client = Amplitude(
    os.environ["AMPLITUDE_API_KEY"],
    # Amplitude's SDK may hold up the end of a process for as long as flush_interval_millis.
    Config(server_url=os.environ.get("AMPLITUDE_URL"), flush_interval_millis=1_000),
)
destination = MolocoDestination.from_file(Path(__file__).with_name("moloco.toml"))
client.add(destination)

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]


# -- who it is ---------------------------------------------------------------------------------


@app.before_request
def meet_shopper() -> None:
    """Recognize the browser and its session, and note where a shopper comes from."""
    g.device_id = request.cookies.get("device_id") or str(uuid.uuid4())
    # Amplitude's session id is the time at which the session began.
    g.session_id = request.cookies.get("session_id", type=int) or int(time.time() * 1000)
    referrer = urlsplit(request.referrer or "").netloc
    source = request.args.get("utm_source") or (referrer if referrer != request.host else "")
    if source:
        track("Landing Page Viewed", referrer=source)


@app.after_request
def remember_shopper(response: Response) -> Response:
    """Have the browser keep its ids. Ask shoppers first, where the law says so."""
    for name, value, seconds in (
        ("device_id", g.device_id, YEAR),
        ("session_id", str(g.session_id), HALF_HOUR),
    ):
        response.set_cookie(
            name, value, seconds, httponly=True, samesite="Lax", secure=request.is_secure
        )
    return response


def track(name: str, insert_id: str | None = None, **properties: object) -> None:
    """Track what this request's shopper does. It never waits for the network, and never raises."""
    came_from = urlsplit(request.referrer or "")
    if came_from.netloc == request.host:
        properties.setdefault("referrer", came_from.path)
    client.track(
        BaseEvent(
            name,
            insert_id=insert_id,
            user_id=session.get("user_id"),
            device_id=g.device_id,
            session_id=g.session_id,
            platform="Web",
            ip=request.remote_addr,
            language=request.accept_languages.best,
            user_agent=request.user_agent.string,
            event_properties=properties,
        )
    )


def as_item(product: Product, quantity: int = 1) -> dict[str, Any]:
    """Return a product as the events have it. The price is of one piece."""
    price = product.cents / 100
    return {"product_id": product.id, "price": price, "currency": CURRENCY, "quantity": quantity}


# -- the shop ----------------------------------------------------------------------------------


@app.get("/")
def home() -> str:
    """Show everything."""
    track("Home Viewed")
    return page("Welcome", PRODUCTS.values())


@app.get("/about")
def about() -> str:
    """Show a page that is about no product."""
    track("Page Viewed", page_id=request.path)
    return page("About us")


@app.get("/category/<category>")
def show_category(category: str) -> str:
    """Show the products of a category."""
    track("Product List Viewed", page_id=request.path)
    found = [product for product in PRODUCTS.values() if product.category == category]
    return page(category.capitalize(), found)


@app.get("/search")
def search() -> str:
    """Show the products whose name has the words."""
    query = request.args["q"]
    track("Products Searched", query=query)
    found = [product for product in PRODUCTS.values() if query.lower() in product.name.lower()]
    return page(f"Found for {query}", found)


@app.get("/product/<id>")
def show_product(id: str) -> str:
    """Show a product."""
    product = product_of(id)
    track("Product Viewed", **as_item(product))
    return page(product.name, [product])


@app.post("/wishlist/<id>")
def add_to_wishlist(id: str) -> ResponseReturnValue:
    """Keep a product for later."""
    product = product_of(id)
    session["wishlist"] = [*session.get("wishlist", []), product.id]
    track("Product Added to Wishlist", **as_item(product))
    return redirect(f"/product/{id}")


@app.post("/cart/<id>")
def add_to_cart(id: str) -> ResponseReturnValue:
    """Put some pieces of a product into the cart."""
    product, quantity = product_of(id), max(1, request.form.get("quantity", 1, type=int))
    cart = session.get("cart", {})
    session["cart"] = {**cart, id: cart.get(id, 0) + quantity}
    track("Product Added", **as_item(product, quantity))
    return redirect("/cart")


@app.get("/cart")
def show_cart() -> str:
    """Show what is in the cart."""
    track("Page Viewed", page_id=request.path)
    session.setdefault("order_id", str(uuid.uuid4()))
    return page("Your cart", cart=session.get("cart", {}))


@app.post("/checkout")
def check_out() -> ResponseReturnValue:
    """Sell what is in the cart."""
    cart = session.pop("cart", {})
    if not cart:
        return redirect("/cart")
    bought = [(PRODUCTS[id], quantity) for id, quantity in cart.items()]
    track(
        "Order Completed",
        # One id for each order: however often it is tracked, it counts once.
        insert_id=f"order-{session.pop('order_id', uuid.uuid4())}",
        products=[as_item(product, quantity) for product, quantity in bought],
        revenue=sum(product.cents * quantity for product, quantity in bought) / 100,
        currency=CURRENCY,
    )
    return redirect("/about")


@app.post("/login")
def log_in() -> ResponseReturnValue:
    """Stand in for your own login."""
    session["user_id"] = request.form["email"].strip().lower()
    return redirect("/")


def product_of(id: str) -> Product:
    """Return a product, or answer 404."""
    return PRODUCTS.get(id) or abort(404)


def page(title: str, products: object = (), cart: object = None) -> str:
    """Return a page of the shop."""
    return render_template("page.html", title=title, products=products, cart=cart)
