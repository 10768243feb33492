"""What was measured, and what is known: tables, chemistry, splits, named datasets."""
