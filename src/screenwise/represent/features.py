"""Numbers given per entity."""
