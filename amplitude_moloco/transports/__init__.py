"""How a request reaches the server."""
