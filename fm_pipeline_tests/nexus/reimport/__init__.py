"""The one transaction."""
