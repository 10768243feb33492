"""How a condition becomes numbers: fingerprints, similarities, features, pairs."""
