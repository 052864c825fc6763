"""The pages of the shop. Each tracks its event."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from shop.tracking import track


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


def as_item(product: Product, quantity: int = 1) -> dict[str, Any]:
    """Return a product as the events have it. The price is of one piece."""
    price = product.cents / 100
    return {"product_id": product.id, "price": price, "currency": CURRENCY, "quantity": quantity}


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Show everything."""
    track(request, "Home Viewed")
    return page(request, "Welcome", [*PRODUCTS.values()])


@require_GET
def about(request: HttpRequest) -> HttpResponse:
    """Show a page that is about no product."""
    track(request, "Page Viewed", page_id=request.path)
    return page(request, "About us")


@require_GET
def show_category(request: HttpRequest, category: str) -> HttpResponse:
    """Show the products of a category."""
    track(request, "Product List Viewed", page_id=request.path)
    found = [product for product in PRODUCTS.values() if product.category == category]
    return page(request, category.capitalize(), found)


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Show the products whose name has the words."""
    query = request.GET.get("q", "")
    track(request, "Products Searched", query=query)
    found = [product for product in PRODUCTS.values() if query.lower() in product.name.lower()]
    return page(request, f"Found for {query}", found)


@require_GET
def show_product(request: HttpRequest, id: str) -> HttpResponse:
    """Show a product."""
    product = product_of(id)
    track(request, "Product Viewed", **as_item(product))
    return page(request, product.name, [product])


@require_POST
def add_to_wishlist(request: HttpRequest, id: str) -> HttpResponse:
    """Keep a product for later."""
    product = product_of(id)
    request.session["wishlist"] = [*request.session.get("wishlist", []), id]
    track(request, "Product Added to Wishlist", **as_item(product))
    return redirect("product", id)


@require_POST
def add_to_cart(request: HttpRequest, id: str) -> HttpResponse:
    """Put some pieces of a product into the cart."""
    quantity = request.POST.get("quantity", "")
    product, quantity = product_of(id), int(quantity) if quantity.isdecimal() else 1
    cart = request.session.get("cart", {})
    request.session["cart"] = {**cart, id: cart.get(id, 0) + quantity}
    track(request, "Product Added", **as_item(product, quantity))
    return redirect("cart")


@require_GET
def show_cart(request: HttpRequest) -> HttpResponse:
    """Show what is in the cart."""
    track(request, "Page Viewed", page_id=request.path)
    request.session.setdefault("order_id", str(uuid.uuid4()))
    return page(request, "Your cart", cart=request.session.get("cart", {}))


@require_POST
def check_out(request: HttpRequest) -> HttpResponse:
    """Sell what is in the cart."""
    cart = request.session.pop("cart", {})
    if not cart:
        return redirect("cart")
    bought = [(PRODUCTS[id], quantity) for id, quantity in cart.items()]
    track(
        request,
        "Order Completed",
        # One id for each order: however often it is tracked, it counts once.
        insert_id=f"order-{request.session.pop('order_id', uuid.uuid4())}",
        products=[as_item(product, quantity) for product, quantity in bought],
        revenue=sum(product.cents * quantity for product, quantity in bought) / 100,
        currency=CURRENCY,
    )
    return redirect("about")


@require_POST
def log_in(request: HttpRequest) -> HttpResponse:
    """Stand in for your own login."""
    request.session["user_id"] = request.POST["email"].strip().lower()
    return redirect("home")


def product_of(id: str) -> Product:
    """Return a product, or answer 404."""
    if id not in PRODUCTS:
        raise Http404
    return PRODUCTS[id]


def page(
    request: HttpRequest, title: str, products: object = (), cart: object = None
) -> HttpResponse:
    """Return a page of the shop."""
    return render(request, "page.html", {"title": title, "products": products, "cart": cart})
