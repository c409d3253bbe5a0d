"""Proof that a reimport that is killed at any moment leaves Nexus old or new, never between, and nothing in the way."""
