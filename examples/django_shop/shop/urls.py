"""The addresses of the shop."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("about", views.about, name="about"),
    path("category/<category>", views.show_category, name="category"),
    path("search", views.search, name="search"),
    path("product/<id>", views.show_product, name="product"),
    path("wishlist/<id>", views.add_to_wishlist, name="wishlist"),
    path("cart/<id>", views.add_to_cart, name="add"),
    path("cart", views.show_cart, name="cart"),
    path("checkout", views.check_out, name="checkout"),
    path("login", views.log_in, name="login"),
]
