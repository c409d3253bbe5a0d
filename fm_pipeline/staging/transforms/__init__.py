"""One record of each entity as a staged row: pure functions."""
