"""Show it: figures, cards, one self-contained page."""
