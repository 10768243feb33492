"""The loop that lasts: the only stateful thing."""
