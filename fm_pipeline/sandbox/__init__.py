"""A clinic to try the pipeline on: stand-ins for the servers that it talks to, filled with invented people."""
