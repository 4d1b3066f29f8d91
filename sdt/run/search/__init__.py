"""A search over any keys: what is tried next, for how long, and what is chosen in the end."""
