"""The stand-in held against a recording of a real server: a file made after it, and the same questions again."""
