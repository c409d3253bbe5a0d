"""Compares the stand-in with a recording of a real server: a file made after it, and the same questions again."""
