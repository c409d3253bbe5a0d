"""Jobs and history."""
