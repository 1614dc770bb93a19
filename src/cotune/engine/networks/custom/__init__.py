"""A user's own networks, and what the engine must know of them."""
