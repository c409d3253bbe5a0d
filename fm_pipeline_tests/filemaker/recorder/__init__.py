"""Recordings of how a server answers."""
