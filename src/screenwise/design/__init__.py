"""What to measure next: pure functions on arrays."""
