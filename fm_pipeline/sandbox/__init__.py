"""A clinic to try the pipeline on: stand-ins for the servers that it talks to, filled with invented people.

Nothing outside this package imports it, but for the commands `demo`, `filemaker replay` and `stack`.
"""
