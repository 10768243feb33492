"""What a lab would see: replays of measured screens."""
