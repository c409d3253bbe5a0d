"""The state of `fm-pipeline serve`: its parts, its health, its numbers."""
