"""The journeys, top to bottom; the only place where the stages meet."""
