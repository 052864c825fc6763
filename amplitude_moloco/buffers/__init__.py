"""Where events wait until the server has accepted them."""
